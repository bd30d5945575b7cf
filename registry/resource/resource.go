// Package resource is the contract between a finder, which turns the path of a URL
// into a file, the hooks it asks before it looks at the disk, and the factories that
// turn files into apps.
package resource

import (
	"io/fs"
	"net/http"

	"github.com/stackd/stackd/registry/environ"
)

// Key is what the finder found for the request.
var Key = environ.NewKey[*Match]("resource")

// Match is how the path of one URL was split.
type Match struct {
	// File is what was found.
	File *File
	// ScriptName is the part of the URL's path that led to the file, and PathInfo what
	// follows it, empty or beginning with a slash (RFC 3875, 4.1.5 and 4.1.13). Joined
	// they are the path.
	ScriptName, PathInfo string
}

// File is a file as a finder found it. It is shared by all requests for the file, and
// never changes: a file that changes on disk is found anew.
type File struct {
	// FS is the tree it was found in and Name its path there, as [fs.ValidPath] has it.
	// A tree on disk can't be left through symbolic links.
	FS   fs.FS
	Name string
	// Info is what it was when it was found.
	Info fs.FileInfo
	// Root is the tree's folder on disk, for programs that must be told a path; empty
	// when the tree isn't on disk, as in an archive.
	Root string
	// Type is its MIME type with parameters, such as "text/html; charset=utf-8".
	Type string
	// Hidden reports whether the finder keeps a name in this tree from visitors. A factory
	// that looks at neighbours of the file serves no hidden one.
	Hidden func(name string) bool
}

// App answers the requests for one file.
type App struct {
	// Handler answers them. It finds [Key] set.
	Handler http.Handler
	// Methods are the methods it understands; the finder answers others with 405 and
	// OPTIONS by itself. GET includes HEAD. Empty means that the handler decides.
	Methods []string
	// PathInfo says that the URL may go on behind the file. Without it such a URL isn't
	// found.
	PathInfo bool
}

// Factory makes apps of files. It is safe for concurrent use.
type Factory interface {
	// Make makes the app for f. The app is used until the file changes or is gone, or the
	// finder forgets it to make room; then Make is called again. An error is reported as
	// the failure of the request that asked; nothing is kept of it.
	Make(f *File) (App, error)
}

// Hook is asked for every request before the finder looks at the disk. It is safe for
// concurrent use.
type Hook interface {
	// Find says what it has for the path, which is clean and relative to the finder: without
	// a slash before it, with the one that ends it, and empty for the finder's own root. The zero
	// Answer means that it has nothing.
	Find(r *http.Request, path string) (Answer, error)
}

// Answer is what a hook has for a path: nothing, a handler, or another place to look.
type Answer struct {
	// Handler answers the request, when it isn't nil.
	Handler http.Handler
	// Tree is where the finder shall look instead, when it isn't nil, and Path what it
	// shall look for there. ScriptName is the part of the URL that led there.
	Tree       fs.FS
	Path       string
	ScriptName string
	// Root is the folder on disk that Tree stands for, empty if there is none.
	Root string
}
