package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/stackfile"
)

func (p *program) check() *cobra.Command {
	var processes int
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Say every problem of stack files",
		Long: `check says every problem of stack files, one on a line: the place, what is wrong
there, and what must be. It opens no network, runs nothing and writes nothing. What
it finds good, run accepts.

The exit status is 0 when all files are good, 1 when one has a problem, and 2
when the command line can't be understood.`,
		Args: wants(1, -1, "check wants at least one stack file, such as stackd check stack.yaml"),
		RunE: func(c *cobra.Command, files []string) error {
			if processes < 1 {
				return fmt.Errorf("--processes is %d; it must be at least 1", processes)
			}
			bad := false
			for _, file := range files {
				if _, _, err := stackfile.Load(c.Context(), p.registry, file, stackfile.Options{Processes: processes}); err != nil {
					p.problems(p.out, err)
					bad = true
					continue
				}
				p.out.printf("%s: good\n", file)
			}
			if bad {
				return &failed{}
			}
			return nil
		},
	}
	c.Flags().IntVar(&processes, "processes", 1, "how many processes will run the stack, here or behind one balancer")
	return c
}
