package finder

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/registry/resource"
)

// Find tells which file a URL leads to on the disk as it is now, and which factory would make an app of
// it. The hooks, which come first, aren't asked.
func (c Config) Find(path string) *inspect.Found {
	found := &inspect.Found{}
	var notes []string
	for _, hook := range c.Hooks {
		if !hook.IsZero() {
			notes = append(notes, fmt.Sprintf("the hook %s is asked before, and may know better", hook.Name()))
		}
	}
	notes = append(notes, c.find(path, found))
	found.Note = strings.Join(slices.DeleteFunc(notes, func(s string) bool { return s == "" }), "; ")
	return found
}

// find fills in what is found, and returns what else there is to know.
func (c Config) find(path string, found *inspect.Found) string {
	if status, reason := refusal(&url.URL{Path: path}); status != 0 {
		return "it is answered with " + reason
	}
	t, err := c.plain()
	if err != nil {
		return fmt.Sprintf("the root can't be looked at: %s", reasonOf(err))
	}
	defer t.disk.Close()
	place, err := t.find(path[1:])
	switch {
	case missing(err):
		return "there is no file for it: 404"
	case t.refused(err):
		return "there is a file for it that may not be served: 404"
	case err != nil:
		return fmt.Sprintf("the disk can't be asked: %s", reasonOf(err))
	case place.folder:
		return "it is a folder, and is redirected to the URL with a slash at its end"
	}
	f := &resource.File{FS: t.fs, Name: place.name, Info: place.info}
	found.File = filepath.Join(t.root, filepath.FromSlash(place.name))
	found.PathInfo = path[1:][place.split:]
	factory, err := t.choose(f)
	switch {
	case errors.Is(err, errNoFactory):
		return "no factory is for such files: 404"
	case err != nil:
		return fmt.Sprintf("the file can't be read: %s", reasonOf(err))
	}
	found.Factory = factory.(named).use
	if found.PathInfo != "" {
		return "it is found if the app that " + found.Factory + " makes takes the path info, and otherwise 404"
	}
	return ""
}

// plain returns the tree of the root, with factories that have nothing but their names.
func (c Config) plain() (*tree, error) {
	factories := make(map[string]registry.Ref[resource.Factory], len(c.Factories))
	for key, ref := range c.Factories {
		if !ref.IsZero() {
			factories[key] = registry.Bound[resource.Factory](named{use: ref.Name()})
		}
	}
	c.Factories = factories
	f := &finder{names: newNames(c), root: string(c.Root)}
	return f.openSite()
}

// named stands for a factory of that name.
type named struct {
	resource.Factory
	use string
}

// reasonOf leaves out of an error what its reader knows.
func reasonOf(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}
