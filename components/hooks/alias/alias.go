// Package alias shows another folder under a part of a finder's URLs.
//
//	stack:
//	  - use: finder
//	    root: site
//	    hooks:
//	      - {use: alias, url: /icons/, folder: /usr/share/icons}
//	      - {use: alias, url: /docs/, folder: ../manual/html}
//
// What is below the folder is found, hidden and served by the finder's rules: its index, extensions, hide and
// factories. Nothing of the finder's root shows through below the URL. The URL without its slash is
// redirected to the one with it (308).
//
// Symbolic links are followed within the folder and never out of it. A folder which is exchanged for another
// one, as a symbolic link to the current release is, is noticed within a second.
package alias

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the alias hook.
var Component = registry.Hook[Config]{
	Name:   "alias",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says which folder is shown where.
type Config struct {
	// URL is where it is shown: the path of a folder, such as /docs/.
	URL string `yaml:"url" validate:"required"`
	// Folder is what is shown there.
	Folder registry.Path `yaml:"folder" validate:"required"`
}

// Validate checks the path.
func (c Config) Validate() error {
	if c.URL == "" || resource.Place(c.URL).Valid() {
		return nil
	}
	return &registry.SettingError{Setting: "url", Problem: fmt.Sprintf("is %q; it must be the path of a folder, such as /docs/", c.URL)}
}

// Expects says that the folder must be there.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Folder("folder", string(c.Folder))}
}

func build(env *registry.Env, cfg Config) (resource.Hook, error) {
	a := &alias{place: resource.Place(cfg.URL), folder: string(cfg.Folder), log: env.Logger(), now: time.Now}
	first, err := a.open()
	if err != nil {
		return nil, fmt.Errorf("folder: %w; it must be a folder that can be read", err)
	}
	a.current.Store(first)
	env.OnClose(func() error { return a.current.Load().disk.Close() })
	return a, nil
}

type alias struct {
	place  resource.Place
	folder string
	log    *slog.Logger
	now    func() time.Time

	current atomic.Pointer[folder]
}

// folder is what was at the path at one time. One that was exchanged is closed when the last request has
// forgotten it, by [os.Root]'s finalizer.
type folder struct {
	disk    *os.Root
	fs      fs.FS
	info    fs.FileInfo
	checked atomic.Int64 // when it was last seen to be at the path, in Unix nanoseconds
}

func (a *alias) open() (*folder, error) {
	disk, err := os.OpenRoot(a.folder)
	if err != nil {
		return nil, err
	}
	f := &folder{disk: disk, fs: disk.FS()}
	if f.info, err = disk.Stat("."); err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	f.checked.Store(a.now().UnixNano())
	return f, nil
}

// Find answers for the paths below the place.
func (a *alias) Find(_ *http.Request, p string) (resource.Answer, error) {
	answer, below := a.place.Find(p)
	if below {
		answer.Tree, answer.Root = a.look().fs, a.folder
	}
	return answer, nil
}

// look returns the folder that is at the path now, as of the last second.
func (a *alias) look() *folder {
	f := a.current.Load()
	now, then := a.now().UnixNano(), f.checked.Load()
	if now-then < int64(time.Second) || !f.checked.CompareAndSwap(then, now) {
		return f
	}
	info, err := os.Stat(a.folder)
	if err != nil || os.SameFile(info, f.info) {
		return f
	}
	next, err := a.open()
	if err != nil {
		a.log.Warn("the folder was exchanged and can't be opened", "error", err)
		return f
	}
	if !a.current.CompareAndSwap(f, next) {
		_ = next.disk.Close() // somebody else was quicker
	}
	return a.current.Load()
}
