package cmd

import (
	"cmp"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) explain() *cobra.Command {
	var asJSON bool
	var other string
	c := &cobra.Command{
		Use:   "explain FILE [METHOD] URL",
		Short: "Tell what a URL meets, and which line said so",
		Long: `explain tells what a request for a URL meets: the overrides that match it, the
vars, and the chain of components with each setting, its value, the line of the
stack file that set it, and what that overrode. For a finder it tells the file and
the factory, as the disk is now. Secrets are not shown.

The URL may be a path (/admin/), a host and path (example.org/admin/) or a whole URL.`,
		Example:           "  stackd explain stack.yaml /admin/\n  stackd explain stack.yaml POST https://example.org/upload/7\n  stackd explain stack.yaml / --diff /admin/",
		ValidArgsFunction: p.urls,
		Args:              wants(2, 3, "explain wants a stack file and a URL, such as stackd explain stack.yaml /admin/"),
		RunE: func(c *cobra.Command, args []string) error {
			method := http.MethodGet
			if len(args) == 3 {
				method = args[1]
			}
			for _, url := range []string{args[len(args)-1], cmp.Or(other, "/")} {
				if _, _, err := inspect.ParseURL(url); err != nil {
					return err
				}
			}
			plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
			if err != nil {
				p.problems(p.err, err)
				return &failed{}
			}
			if other != "" {
				deltas, err := plan.DiffURLs(method, args[len(args)-1], method, other)
				switch {
				case err != nil:
					return &failed{err}
				case asJSON:
					return p.json(deltas)
				case len(deltas) == 0:
					p.out.printf("both meet the same\n")
				}
				p.deltas(deltas)
				return nil
			}
			e, err := plan.ExplainURL(method, args[len(args)-1])
			if err != nil {
				return &failed{err}
			}
			if asJSON {
				return p.json(e)
			}
			p.out.printf("%s", e)
			return nil
		},
	}
	c.Flags().StringVar(&other, "diff", "", "tell only what this other `URL` meets that URL doesn't")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}
