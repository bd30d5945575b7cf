package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
)

// The components of a new stack that names none of their kind.
const (
	usualServer = "http"
	usualApp    = "finder"
)

func (p *program) new() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "new NAME...",
		Short: "Write a stack file with all settings of some components",
		Long: `new writes a stack file to begin with, of the servers, middleware and the app
that are named, in that order. Each has all its settings with their defaults,
commented out, and what they are for. Without a server it has http, without an
app finder.

A component of another kind, such as a store, stands in the setting that it is
for, of the component that has one. Where several kinds share a name, KIND:NAME
says which.`,
		Example:           "  stackd new errors session finder\n  stackd new -o stack.yaml errors compress proxy\n  stackd new sqlite factory:fastcgi",
		Args:              wants(1, -1, "new wants the names of components; stackd list has them"),
		ValidArgsFunction: p.names(false),
		RunE: func(_ *cobra.Command, args []string) error {
			chosen, err := p.chosen(args)
			if err != nil {
				return &failed{err}
			}
			text := schema.Skeleton(p.registry, chosen)
			if file == "" {
				p.out.printf("%s", text)
				return nil
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return &failed{fmt.Errorf("%s is there already; it is left as it is", file)}
			}
			if err != nil {
				return &failed{err}
			}
			_, err = f.WriteString(text)
			if err = errors.Join(err, f.Close()); err != nil {
				return &failed{err}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write it to this `file`, which must not be there")
	return c
}

// meant returns the component of a name, or of a kind and a name; nil if there is none. A name of several is taken for
// what stands in the stack.
func (p *program) meant(name string) *registry.Definition {
	if kind, name, ok := strings.Cut(name, ":"); ok {
		return p.registry.Lookup(registry.Kind(kind), name)
	}
	named := p.registry.Named(name)
	for _, kind := range []registry.Kind{registry.KindApp, registry.KindMiddleware, registry.KindServer} {
		if i := slices.IndexFunc(named, func(d *registry.Definition) bool { return d.Kind == kind }); i >= 0 {
			return named[i]
		}
	}
	if len(named) == 0 {
		return nil
	}
	return named[0]
}

// chosen returns the components of those names, and those that a stack needs besides.
func (p *program) chosen(names []string) ([]*registry.Definition, error) {
	var found []*registry.Definition
	has := make(map[registry.Kind]string)
	for _, name := range names {
		d := p.meant(name)
		if d == nil {
			return nil, fmt.Errorf("there is no component %q%s", name, p.suggest(name))
		}
		if d.Kind == registry.KindApp && has[d.Kind] != "" && has[d.Kind] != d.Name {
			return nil, fmt.Errorf("%s and %s are apps; a stack has one", has[d.Kind], d.Name)
		}
		has[d.Kind] = d.Name
		found = append(found, d)
	}
	for _, d := range slices.Clone(found) {
		host := schema.Host(p.registry, d.Kind)
		if host == nil || slices.Contains(found, host) {
			continue
		}
		if host.Kind == registry.KindApp && has[host.Kind] != "" {
			return nil, fmt.Errorf("%s is a %s, which stands in a setting of %s; %s and %s are apps, and a stack has one", d.Name, d.Kind, host.Name, has[host.Kind], host.Name)
		}
		has[host.Kind] = host.Name
		found = append(found, host)
	}
	for kind, name := range map[registry.Kind]string{registry.KindServer: usualServer, registry.KindApp: usualApp} {
		if d := p.registry.Lookup(kind, name); has[kind] == "" && d != nil {
			found = append(found, d)
		}
	}
	return found, nil
}
