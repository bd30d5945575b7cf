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
// served out of an archive. The URL without its slash is redirected to the one with it (308).
//
// The archive is opened when the stack is built, and anew when the file changes; one that can't be read then leaves
// the stack as it was. Exchange it by renaming a new one over it: while one is overwritten, what is read of it is
// neither the old nor the new one.
package archive

import (
	"archive/zip"
	"fmt"
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
	a := &archive{place: resource.Place(cfg.URL), tree: &z.Reader}
	if cfg.Folder != "" && cfg.Folder != "." {
		info, err := fs.Stat(z, cfg.Folder)
		if err != nil || !info.IsDir() {
			return nil, fmt.Errorf("folder: %s has no folder %q", cfg.File, cfg.Folder)
		}
		if a.tree, err = fs.Sub(z, cfg.Folder); err != nil {
			return nil, err
		}
	}
	return a, nil
}

type archive struct {
	place resource.Place
	tree  fs.FS
}

// Find answers for the paths below the place.
func (a *archive) Find(_ *http.Request, p string) (resource.Answer, error) {
	answer, below := a.place.Find(p)
	if below {
		answer.Tree = a.tree
	}
	return answer, nil
}
