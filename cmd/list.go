package cmd

import (
	"fmt"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the components, by kind, with what each is for",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			columns := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
			w := &output{Writer: columns}
			var kind registry.Kind
			for _, d := range p.registry.All() {
				if d.Kind != kind {
					if kind != "" {
						w.printf("\n")
					}
					kind = d.Kind
					w.printf("%s\n", kind)
				}
				w.printf("  %s\t%s\n", d.Name, schema.Synopsis(d))
			}
			return columns.Flush()
		},
	}
}

func (p *program) doc() *cobra.Command {
	return &cobra.Command{
		Use:   "doc NAME",
		Short: "Print the manual of a component, a key of stack files, or a rule",
		Long: `doc prints the manual of a component, of a key of the stack file such as urls,
or of a rule of check. Components of several kinds that share a name are all
printed; KIND:NAME says which.`,
		Example:           "  stackd doc session\n  stackd doc factory:cgi\n  stackd doc urls\n  stackd doc rule:guard-gap",
		ValidArgsFunction: p.names(true),
		Args:              wants(1, 1, "doc wants the name of a component; stackd list names them"),
		RunE: func(_ *cobra.Command, args []string) error {
			if id, ok := strings.CutPrefix(args[0], "rule:"); ok {
				return p.rule(id)
			}
			found := p.registry.Named(args[0])
			if kind, name, ok := strings.Cut(args[0], ":"); ok {
				if d := p.registry.Lookup(registry.Kind(kind), name); d != nil {
					found = append(found, d)
				}
			}
			key := schema.Key(args[0])
			p.out.printf("%s", key)
			if len(found) == 0 && key == "" {
				return &failed{fmt.Errorf("there is no component %q%s", args[0], p.suggest(args[0]))}
			}
			for i, d := range found {
				if i > 0 || key != "" {
					p.out.printf("\n")
				}
				p.out.printf("%s", schema.Component(d))
			}
			return nil
		},
	}
}

// rule prints the page on a rule.
func (p *program) rule(id string) error {
	text := schema.Rule(id)
	if text == "" {
		var ids []string
		for _, r := range stackfile.Rules() {
			ids = append(ids, r.ID)
		}
		return &failed{fmt.Errorf("there is no rule %q; there is %s", id, strings.Join(ids, ", "))}
	}
	p.out.printf("%s", text)
	return nil
}

// suggest returns what name was probably meant to be, or where to look.
func (p *program) suggest(name string) string {
	var names []string
	for _, d := range p.registry.All() {
		names = append(names, d.Name)
	}
	if hint := stackfile.DidYouMean(name, names); hint != "" {
		return hint
	}
	return "; stackd list names them"
}

func (p *program) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of stack files, for editors",
		Long: `schema prints the JSON Schema of stack files with the components of this
program. Editors complete and explain settings by it, in files whose first line
names it:

  # yaml-language-server: $schema=stack.schema.json`,
		Example: "  stackd schema > stack.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p.out.printf("%s", schema.JSONSchema(p.registry))
			return nil
		},
	}
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of stackd and of Go",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return &failed{fmt.Errorf("this program was built without build information")}
			}
			version, revision := info.Main.Version, ""
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					revision = " " + s.Value
				}
			}
			p.out.printf("stackd %s%s %s\n", version, revision, info.GoVersion)
			return nil
		},
	}
}
