// Package archive shows the files in a zip archive under a part of a finder's URLs.
//
//	stack:
//	  - use: finder
//	    root: site
//	    hooks:
//	      - {use: archive, url: /manual/, file: manual.zip, folder: v2}
//
// The files are found, hidden and served by the finder's rules, as if the archive were a folder on disk, without ever
// being unpacked there. What isn't a file to be read, such as a CGI script that would have to be run, can't be
// served out of an archive, and an archive with a password can't be shown. The URL without its slash is redirected to the one with it (308).
//
// The archive is opened when the stack is built, and anew when the file changes; one that can't be read then leaves
// the stack as it was. Exchange it by renaming a new one over it: while one is overwritten, what is read of it is
// neither the old nor the new one.
package archive

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the archive hook.
var Component = registry.Hook[Config]{
	Name:   "archive",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says which archive is shown where.
type Config struct {
	// URL is where it is shown: the path of a folder, such as /manual/.
	URL string `yaml:"url" validate:"required"`
	// File is the archive.
	File registry.Path `yaml:"file" validate:"required"`
	// Folder is the folder in the archive that is shown, such as manual-2.1; by default all of it.
	Folder string `yaml:"folder"`
}

// Validate checks the paths.
func (c Config) Validate() error {
	if c.URL != "" && !resource.Place(c.URL).Valid() {
		return &registry.SettingError{Setting: "url", Problem: fmt.Sprintf("is %q; it must be the path of a folder, such as /manual/", c.URL)}
	}
	if c.Folder != "" && !fs.ValidPath(c.Folder) {
		return &registry.SettingError{Setting: "folder", Problem: fmt.Sprintf("is %q; it must be a path in the archive, such as manual-2.1", c.Folder)}
	}
	return nil
}

// Expects says that the archive must be there.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.File("file", string(c.File))}
}

func build(env *registry.Env, cfg Config) (resource.Hook, error) {
	env.DependsOn(string(cfg.File))
	z, err := zip.OpenReader(string(cfg.File))
	if err != nil {
		return nil, fmt.Errorf("file: %s: %w; it must be a zip archive", cfg.File, err)
	}
	env.OnClose(z.Close)
	for _, f := range z.File {
		if f.Flags&encrypted != 0 {
			return nil, fmt.Errorf("file: %s: %q in it is encrypted; it must be an archive without a password", cfg.File, f.Name)
		}
	}
	a := &archive{place: resource.Place(cfg.URL), tree: &tree{&z.Reader}}
	if cfg.Folder != "" && cfg.Folder != "." {
		info, err := fs.Stat(z, cfg.Folder)
		if err != nil || !info.IsDir() {
			return nil, fmt.Errorf("folder: %s has no folder %q", cfg.File, cfg.Folder)
		}
		sub, err := fs.Sub(z, cfg.Folder)
		if err != nil {
			return nil, err
		}
		a.tree = &tree{sub}
	}
	return a, nil
}

// encrypted is the flag of a file that zip would read as it is.
const encrypted = 1

// tree is what is shown of an archive. Its errors say, as those of a disk do, of which file they are.
type tree struct{ fs.FS }

func (t *tree) Open(name string) (fs.File, error) {
	f, err := t.FS.Open(name)
	if err != nil {
		return nil, named("open", name, err)
	}
	if _, folder := f.(fs.ReadDirFile); folder {
		return f, nil
	}
	return &file{f, name}, nil
}

type file struct {
	fs.File
	name string
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = named("read", f.name, err)
	}
	return n, err
}

func named(op, name string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

type archive struct {
	place resource.Place
	tree  *tree
}

// Find answers for the paths below the place.
func (a *archive) Find(_ *http.Request, p string) (resource.Answer, error) {
	answer, below := a.place.Find(p)
	if below {
		answer.Tree = a.tree
	}
	return answer, nil
}
