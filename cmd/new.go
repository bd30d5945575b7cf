package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

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
that are named, in that order. Each has all its settings with their defaults, commented
out, and what they are for. Without a server it has http, without an app finder.`,
		Example:           "  stackd new errors session finder\n  stackd new -o stack.yaml errors compress proxy",
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

// chosen returns the components of those names, and those that a stack needs besides.
func (p *program) chosen(names []string) ([]*registry.Definition, error) {
	var found []*registry.Definition
	has := make(map[registry.Kind]string)
	for _, name := range names {
		var d *registry.Definition
		kinds := ""
		for _, known := range p.registry.Named(name) {
			kinds = string(known.Kind)
			switch known.Kind {
			case registry.KindServer, registry.KindMiddleware, registry.KindApp:
				if d == nil || known.Kind != registry.KindServer {
					d = known // a name of both is taken for what stands in the stack
				}
			}
		}
		switch {
		case d == nil && kinds != "":
			return nil, fmt.Errorf("%q is a %s, which a setting of another component names; it must be a server, a middleware or an app", name, kinds)
		case d == nil:
			return nil, fmt.Errorf("there is no component %q%s", name, p.suggest(name))
		case d.Kind == registry.KindApp && has[d.Kind] != "":
			return nil, fmt.Errorf("%s and %s are apps; a stack has one", has[d.Kind], name)
		}
		has[d.Kind] = name
		found = append(found, d)
	}
	for kind, name := range map[registry.Kind]string{registry.KindServer: usualServer, registry.KindApp: usualApp} {
		if d := p.registry.Lookup(kind, name); has[kind] == "" && d != nil {
			found = append(found, d)
		}
	}
	return found, nil
}
