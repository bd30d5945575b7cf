package cmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/graph"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) graph() *cobra.Command {
	format, output := "svg", ""
	c := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a stack",
		Long: `graph draws a stack: its slots, the outermost on top, and the ways of requests
through them. Each override branches off from what it is within, and has on it
what it changes.

The picture is SVG, for light and dark pages, or a text in the language of
Mermaid or of Graphviz (dot). Secrets are not in it.`,
		Example:           "  stackd graph -o stack.svg stack.yaml\n  stackd graph --format dot stack.yaml | dot -Tpng > stack.png",
		ValidArgsFunction: yamlFiles,
		Args:              wants(1, 1, "graph wants one stack file, such as stackd graph stack.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			draw := map[string]func(inspect.Outline) []byte{"svg": graph.SVG, "mermaid": graph.Mermaid, "dot": graph.DOT}[format]
			if draw == nil {
				return fmt.Errorf("--format is %q; it must be svg, mermaid or dot", format)
			}
			plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
			if err != nil {
				p.problems(p.err, err)
				return &failed{}
			}
			picture := draw(plan.Outline())
			if output != "" {
				if err := os.WriteFile(output, picture, 0o666); err != nil { //nolint:gosec // as a shell would make it
					return &failed{err}
				}
				return nil
			}
			_, _ = p.out.Write(picture) // the output remembers its error
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", format, "svg, mermaid or dot")
	c.Flags().StringVarP(&output, "output", "o", "", "write to this `FILE`, and not to the terminal")
	return c
}
