// Package finder turns the path of a URL into a file, and the file into an app.
//
// What answers for a file is made by a factory, chosen by the file's name or content: a
// picture is sent as it is, a template is filled in, a script is run.
//
//	stack:
//	  - use: finder
//	    root: site
//	    factories:
//	      .tmpl: {use: template, layouts: layouts}
//	      "#!": cgi
//
// # From the URL to the file
//
// The path is looked for below root. A file of exactly that name is taken first. A name
// without a known extension is tried with each of extensions, so that /about finds
// about.html; the first one that exists is taken, whatever others do. For a folder the names
// of index are tried likewise; a folder without one isn't found, and never listed. A
// folder asked for without its slash is redirected to the URL with it (308, the query kept).
//
// When path_info is on, a URL may go on behind a file whose app understands that, such as
// a script: /wiki/Main/edit finds the script wiki and hands it /Main/edit. For others
// the URL isn't found, and neither is a file asked for with a slash at its end.
//
// Symbolic links are followed within the root and never out of it. What they lead to is
// served as the name of the link says: linking a hidden file publishes it.
//
// # From the file to the app
//
// The keys of factories are tried in this order: the file's extension (.html), "#!" for a file
// that is executable and begins with these two characters, its MIME type (text/markdown), the
// first half of that (text/*), and "*" for everything else. Letters of extensions count as
// the same in upper and lower case.
//
// An app is made once for each version of a file and kept; it answers until the file
// changes. A file that was written a moment ago may be looked at twice, since its time of change
// doesn't tell two writes apart that follow fast upon each other.
//
// # What is refused
//
// A path that isn't clean is answered with 400: one with an empty segment, "." or "..", a NUL,
// a backslash, an encoded slash, or bytes which aren't UTF-8. A path longer than 4096 bytes is
// answered with 414.
//
// Hidden names aren't found (404), be they a file's or a folder's: those that hide lists, unless
// show lists them too. So aren't copies of sources: a name with the extension of a file that
// another factory than that for "*" handles, followed by something else, such as page.php.bak,
// page.php~ or page.php.gz. Otherwise a copy that an editor left would show what is
// only to be run.
//
// Other methods than an app understands are answered with 405, and OPTIONS with 204; both
// say which they are in Allow. A file that may not be read is not found; the log says why.
//
// # What is remembered
//
// What a URL led to is trusted for the time revalidate, then looked at again. Within that time a
// changed file is served as it was. When cache is full, some entry makes place. A root which is
// exchanged for another folder, as a symbolic link to the current release is, is
// noticed in the same time.
package finder

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the finder app.
var Component = registry.App[Config]{
	Name: "finder",
	Default: Config{
		Root:       "site",
		Index:      []string{"index"},
		Extensions: []string{".html", ".htm"},
		PathInfo:   true,
		Hide: []string{
			".*", "*~", "#*#", "*.bak", "*.backup", "*.old", "*.orig", "*.rej", "*.save", "*.swp", "*.swo", "*.tmp",
			"*.part", "*.pyc", "*.pyo", "__pycache__",
		},
		Show:       []string{".well-known"},
		Factories:  map[string]registry.Ref[resource.Factory]{"*": registry.Use[resource.Factory]("static")},
		Revalidate: time.Second,
		Cache:      4096,
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.Blocking,
		Provides:  []environ.Name{resource.Key},
	},
	Build: build,
}

// Config says where files are, and what becomes of them.
type Config struct {
	// Root is the folder with the site, by default the folder site beside the stack file. Nothing
	// outside of it is ever served.
	Root registry.Path `yaml:"root" validate:"required"`
	// Index are the names of the file that stands for its folder, the first one that exists
	// being taken. A name without an extension is tried with each of extensions.
	Index []string `yaml:"index" validate:"unique,dive,required"`
	// Extensions are tried for a URL without one, in this order, and after them those that have
	// a factory of another kind than "*" has, in alphabetical order.
	Extensions []string `yaml:"extensions" validate:"unique,dive,startswith=."`
	// PathInfo lets a URL go on behind a file whose app understands it.
	PathInfo bool `yaml:"path_info"`
	// Hide are patterns of names that aren't found, of files as well as of folders: * stands for
	// any characters, ? for one, [a-z] for one of these. Upper and lower case are the same. A list of one's own
	// takes the place of the default.
	Hide []string `yaml:"hide" validate:"dive,required"`
	// Show are patterns of names that are found although hide lists them, or although they look
	// like the copy of a source.
	Show []string `yaml:"show" validate:"dive,required"`
	// Types are the MIME types of further extensions, such as {.foo: application/x-foo}, or other ones for
	// those that stackd knows. A file of an unknown type is application/octet-stream.
	Types map[string]string `yaml:"types" validate:"dive,required"`
	// Factories make apps of files. A key is an extension (.html), "#!" (executable files that begin so), a MIME
	// type (text/markdown or text/*) or "*" (all others).
	Factories map[string]registry.Ref[resource.Factory] `yaml:"factories" validate:"required"`
	// Hooks are asked, in this order, before the disk is.
	Hooks []registry.Ref[resource.Hook] `yaml:"hooks"`
	// Revalidate is how long the finder trusts what it found before it asks the disk again; 0s
	// asks for each request.
	Revalidate time.Duration `yaml:"revalidate" validate:"min=0s"`
	// Cache is how many URLs and how many files are remembered; 0 remembers none.
	Cache int `yaml:"cache" validate:"min=0"`
}

// Validate checks the patterns, extensions and keys.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string, args ...any) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: fmt.Sprintf(problem, args...)})
	}
	for i, name := range c.Index {
		if strings.Contains(name, "/") || name == "." || name == ".." {
			wrong(fmt.Sprintf("index[%d]", i), "is %q; it must be the name of a file in the folder", name)
		}
	}
	for i, ext := range c.Extensions {
		if !isExtension(ext) && strings.HasPrefix(ext, ".") {
			wrong(fmt.Sprintf("extensions[%d]", i), "is %q; it must be a dot and what follows the last dot of a name", ext)
		}
	}
	pattern := func(setting string, i int, pattern string) {
		if _, err := path.Match(pattern, ""); err != nil || strings.Contains(pattern, "/") {
			wrong(fmt.Sprintf("%s[%d]", setting, i), "is %q; it must be a pattern of one name, such as *.bak", pattern)
		}
	}
	for i, p := range c.Hide {
		pattern("hide", i, p)
	}
	for i, p := range c.Show {
		pattern("show", i, p)
	}
	for _, ext := range slices.Sorted(maps.Keys(c.Types)) {
		if !isExtension(ext) {
			wrong("types["+ext+"]", "is for %q; it must be for an extension such as .foo", ext)
		}
		if _, _, err := mime.ParseMediaType(c.Types[ext]); err != nil || strings.ContainsAny(c.Types[ext], "\r\n") {
			wrong("types["+ext+"]", "is %q; it must be a MIME type such as text/html; charset=utf-8", c.Types[ext])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Factories)) {
		if kindOfKey(key) == badKey {
			wrong("factories["+key+"]", "is for %q; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *", key)
		}
	}
	return errors.Join(errs...)
}

// Expects says that the folder must be there.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Folder("root", string(c.Root))}
}

// Warnings says which names are found that the default keeps from visitors.
func (c Config) Warnings(registry.Site) []registry.Warning {
	hide, show := lower(c.Hide), lower(c.Show)
	var names, patterns, shown []string
	for _, of := range [][2]string{{".env", ".*"}, {"notes.txt~", "*~"}, {"notes.txt.bak", "*.bak"}} {
		switch name, pattern := of[0], of[1]; {
		case !matches(hide, name):
			names, patterns = append(names, name), append(patterns, pattern)
		case matches(show, name):
			shown = append(shown, name)
		}
	}
	var warnings []registry.Warning
	if names != nil {
		warnings = append(warnings, registry.Warning{
			Concern: registry.Unsafe, Setting: "hide",
			Problem: "lets " + strings.Join(names, ", ") + " be found, as it takes the place of the default; it should have " +
				strings.Join(patterns, ", ") + ", too",
		})
	}
	if shown != nil {
		warnings = append(warnings, registry.Warning{
			Concern: registry.Unsafe, Setting: "show",
			Problem: "lets " + strings.Join(shown, ", ") + " be found; it should have single names, such as .well-known",
		})
	}
	return warnings
}

func build(env *registry.Env, cfg Config) (http.Handler, error) {
	f := &finder{
		names:      newNames(cfg),
		log:        env.Logger(),
		root:       string(cfg.Root),
		revalidate: cfg.Revalidate,
		capacity:   cfg.Cache,
		began:      time.Now(),
	}
	for _, hook := range cfg.Hooks {
		if !hook.IsZero() {
			f.hooks = append(f.hooks, hook.Get())
		}
	}
	site, err := f.openSite()
	if err != nil {
		return nil, fmt.Errorf("root: %w; it must be a folder that can be read", err)
	}
	f.site.Store(site)
	env.OnClose(func() error { return f.site.Load().disk.Close() })
	return f, nil
}
