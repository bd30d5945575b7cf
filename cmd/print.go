package cmd

import (
	"github.com/spf13/cobra"

	"github.com/stackd/stackd/stackfile"
)

func (p *program) print() *cobra.Command {
	return &cobra.Command{
		Use:   "print FILE",
		Short: "Print a stack file with everything written out",
		Long: `print prints a stack file that says what FILE does and refers to no other: what
FILE extends and includes, its aliases and references are written out, and each
setting has its value. A comment marks the values that nobody wrote (default),
and those that stand in another file. Settings without a value are left out.

What it prints is a stack file, too: beside FILE it does the same.

Secrets that are written as references, such as ${env:PASSWORD}, stay these.
One that stands in the file in clear is withheld, and a comment says so. Other
values are written out, also those from the environment.`,
		Example:           "  stackd print stack.yaml\n  stackd print stack.yaml > flat.yaml",
		ValidArgsFunction: yamlFiles,
		Args:              wants(1, 1, "print wants one stack file, such as stackd print stack.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
			if err != nil {
				p.problems(p.err, err)
				return &failed{}
			}
			text, err := plan.Print()
			if err != nil {
				return &failed{err}
			}
			_, _ = p.out.Write(text) // the output remembers its error
			return nil
		},
	}
}
