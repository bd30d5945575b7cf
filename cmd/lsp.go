package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/lsp"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) lsp() *cobra.Command {
	return &cobra.Command{
		Use:   "lsp",
		Short: "Help an editor with stack files, over standard input and output",
		Long: `lsp speaks the Language Server Protocol with the editor that starts it. While a
stack file is written it shows what check says of it, the manual of what is
under the cursor, and where its value comes from; it completes names, finds the
entry of a slot, and formats. It writes no file and opens no socket.`,
		Example: "  vim.lsp.config('stackd', {cmd = {'stackd', 'lsp'}, filetypes = {'yaml'}})",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := lsp.Serve(c.Context(), p.in, p.out, lsp.Dependencies{
				Registry: p.registry,
				Check: func(ctx context.Context, name string, o stackfile.Options) (stackfile.Problems, error) {
					return p.find(ctx, name, o, false)
				},
			})
			if err != nil {
				return &failed{err}
			}
			return nil
		},
	}
}
