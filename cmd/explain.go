package cmd

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/stackfile"
)

func (p *program) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain FILE [METHOD] URL",
		Short: "Tell what a URL meets, and which line said so",
		Long: `explain tells what a request for a URL meets: the overrides that match it, the
vars, and the chain of components with each setting, its value, and the line of the
stack file that set it. Secrets are not shown.

The URL may be a path (/admin/), a host and path (example.org/admin/) or a whole URL.`,
		Example: "  stackd explain stack.yaml /admin/\n  stackd explain stack.yaml POST https://example.org/upload/7",
		Args:    wants(2, 3, "explain wants a stack file and a URL, such as stackd explain stack.yaml /admin/"),
		RunE: func(c *cobra.Command, args []string) error {
			method := http.MethodGet
			if len(args) == 3 {
				method = args[1]
			}
			host, path, err := splitURL(args[len(args)-1])
			if err != nil {
				return err
			}
			plan, _, err := stackfile.Load(c.Context(), p.registry, args[0], stackfile.Options{})
			if err != nil {
				p.problems(p.err, err)
				return &failed{}
			}
			p.out.printf("%s", plan.Explain(method, host, path))
			return nil
		},
	}
}

// splitURL reads what a user would call a URL: its host, which may be empty, and its path,
// decoded.
func splitURL(s string) (host, path string, err error) {
	if !strings.HasPrefix(s, "/") && !strings.Contains(s, "://") {
		s = "//" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" && !strings.HasPrefix(u.Path, "/") {
		return "", "", fmt.Errorf("%q is not a URL; it must be like /path, host/path or https://host/path", strings.TrimPrefix(s, "//"))
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.Host, u.Path, nil
}
