package finder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stackd/stackd/registry/resource"
)

// tree is a tree of files, with what was found in it.
type tree struct {
	*names
	fs   fs.FS
	root string // the folder on disk, or empty

	apps *cache[*app] // by name of the file

	outside error // the reason that disks give for refusing a path that leads out of them

	prefix string // of a hook's tree: the part of the URL that leads to it

	// Of the finder's own tree only:
	urls    *cache[*found] // by path of the URL
	disk    *os.Root
	info    fs.FileInfo  // the folder, to tell when it was exchanged
	checked atomic.Int64 // when it was compared with what is at root
}

func newTree(n *names, fsys fs.FS, root string, capacity int) *tree {
	return &tree{names: n, fs: fsys, root: root, apps: newCache[*app](capacity)}
}

// place is what the path of a URL leads to.
type place struct {
	// name is the file's, info what it is.
	name string
	info fs.FileInfo
	// split is where in the path the file ends and the path info begins.
	split int
	// folder says that it is no file but a folder, asked for without a slash.
	folder bool
}

// find looks for a path, which is relative to the tree and clean, on the disk. What visitors don't
// see and what isn't there are both fs.ErrNotExist.
func (t *tree) find(path string) (place, error) {
	name := strings.TrimSuffix(path, "/")
	slash := len(name) < len(path) || path == ""
	if name == "" {
		name = "."
	}
	if !t.hides(name) {
		info, err := t.stat(name)
		switch {
		case err == nil && info.IsDir() && slash:
			return t.indexOf(name, len(path))
		case err == nil && info.IsDir():
			return place{folder: true}, nil
		case !missing(err) && err != nil:
			return place{}, err
		case !slash || t.pathInfo:
			if found, err := t.file(name, info); !missing(err) {
				found.split = len(name)
				return found, err
			}
		}
	}
	if t.pathInfo {
		return t.before(name)
	}
	return place{}, fs.ErrNotExist
}

// before looks for a file in front of path, behind which the path goes on.
func (t *tree) before(path string) (place, error) {
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		name := path[:i]
		if t.hides(name) {
			break
		}
		info, err := t.stat(name)
		switch {
		case err == nil && info.IsDir():
			continue
		case err != nil && !missing(err):
			return place{}, err
		}
		found, err := t.file(name, info)
		found.split = i
		return found, err
	}
	return place{}, fs.ErrNotExist
}

// indexOf looks for the file that stands for a folder.
func (t *tree) indexOf(folder string, split int) (place, error) {
	for _, index := range t.index {
		name := path.Join(folder, index)
		if t.hides(index) {
			continue
		}
		info, err := t.stat(name)
		if err != nil && !missing(err) {
			return place{}, err
		}
		if found, err := t.file(name, info); !missing(err) {
			found.split = split
			return found, err
		}
	}
	return place{}, fs.ErrNotExist
}

// file returns the file of that name, whose info is nil when it isn't there, or the first one that has
// one of the extensions in addition.
func (t *tree) file(name string, info fs.FileInfo) (place, error) {
	if info != nil {
		if info.Mode().IsRegular() && !t.copies(path.Base(name)) {
			return place{name: name, info: info}, nil
		}
		return place{}, fs.ErrNotExist
	}
	if !t.cascades(name) || name == "." {
		return place{}, fs.ErrNotExist
	}
	for _, ext := range t.extensions {
		longer := name + ext
		if t.hidden(longer) {
			continue
		}
		info, err := t.stat(longer)
		if err != nil && !missing(err) {
			return place{}, err
		}
		if err == nil && info.Mode().IsRegular() {
			return place{name: longer, info: info}, nil
		}
	}
	return place{}, fs.ErrNotExist
}

// stat returns what the file of that name is, and nil when there is an error.
func (t *tree) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(t.fs, name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// missing reports whether an error says that there is no such file, in one of the ways
// that a disk has for it.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ELOOP)
}

// refused reports whether the disk has it and doesn't give it: it may not be read, or a symbolic link
// leads out of the tree.
func (t *tree) refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || t.outside != nil && errors.Is(err, t.outside)
}

// app is the app made of one version of a file.
type app struct {
	resource.App
	file  *resource.File
	get   bool   // it understands GET
	allow string // the methods that it understands

	// made is closed when the app is made; err says why it couldn't be.
	made chan struct{}
	err  error
	// unsettled says that the file was so young that it may change without a trace.
	unsettled bool
}

// app returns the app for a file, which is made when there is none for this version of it. One that
// somebody else is making is waited for.
func (t *tree) app(ctx context.Context, name string, info fs.FileInfo) (*app, error) {
	mine := &app{made: make(chan struct{}), unsettled: unsettled(info, time.Now())}
	a := t.apps.update(name, func(old *app) *app {
		if old != nil && same(old.file.Info, info) && (!old.unsettled || !old.done()) {
			return old
		}
		mine.file = &resource.File{FS: t.fs, Name: name, Info: info, Root: t.root, Hidden: t.hidden}
		return mine
	})
	if a != mine {
		select {
		case <-a.made:
			return a, a.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer close(a.made)
	if a.err = t.make(a); a.err != nil {
		t.apps.drop(name)
	}
	return a, a.err
}

// brokenError says why no app can be made of a file that is there. It hides what is wrong from
// errors.Is: a file that isn't there may well be another one.
type brokenError struct{ reason error }

func (e *brokenError) Error() string { return e.reason.Error() }

func (a *app) done() bool {
	select {
	case <-a.made:
		return true
	default:
		return false
	}
}

// make makes the app of a.file. When that file has gone or may not be read the error is as find's,
// otherwise it is a brokenError.
func (t *tree) make(a *app) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &brokenError{fmt.Errorf("panic while an app is made of %s: %v\n%s", a.file.Name, p, debug.Stack())}
		}
	}()
	factory, err := t.choose(a.file)
	if err == nil {
		a.App, err = factory.Make(a.file)
	}
	if of, ok := errors.AsType[*fs.PathError](err); ok && of.Path == a.file.Name && (missing(of) || t.refused(of)) {
		return of
	} else if err != nil && !errors.Is(err, errNoFactory) {
		return &brokenError{err}
	}
	a.get, a.allow = allowed(a.Methods)
	return err
}

// errNoFactory says that no factory handles such files, so that they aren't served.
var errNoFactory = fmt.Errorf("no factory: %w", fs.ErrNotExist)

// choose sets the type of the file, and returns its factory.
func (t *tree) choose(f *resource.File) (resource.Factory, error) {
	ext := strings.ToLower(path.Ext(f.Name))
	f.Type = t.typeOf(ext)
	script := false
	if t.scripts != nil && f.Info.Mode()&0o111 != 0 {
		var err error
		if script, err = isScript(t.fs, f.Name); err != nil {
			return nil, err
		}
	}
	if factory := t.factory(ext, script); factory != nil {
		return factory, nil
	}
	return nil, errNoFactory
}

func isScript(fsys fs.FS, name string) (bool, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var begin [2]byte
	if _, err := io.ReadFull(f, begin[:]); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return begin == [2]byte{'#', '!'}, nil
}

// same reports whether two looks at a name saw the same version of the same file.
func same(a, b fs.FileInfo) bool {
	onDisk := os.SameFile(a, a)
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode() && (!onDisk || os.SameFile(a, b))
}

// unsettled reports whether the file was changed so shortly before now that another change may leave
// the time as it is. The clocks of file systems tick every 10 ms or faster, except for
// those that know only seconds.
func unsettled(info fs.FileInfo, now time.Time) bool {
	tick := 20 * time.Millisecond
	if info.ModTime().Nanosecond() == 0 {
		tick = 2 * time.Second
	}
	age := now.Sub(info.ModTime())
	return age < tick && age > -tick
}
