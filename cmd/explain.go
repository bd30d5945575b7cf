package cmd

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) explain() *cobra.Command {
	var asJSON bool
	var other, slot string
	c := &cobra.Command{
		Use:   "explain FILE [METHOD] URL",
		Short: "Tell what a URL meets, and which line said so",
		Long: `explain tells what a request for a URL meets: the overrides that match it, the
vars, and the chain of components with each setting, its value, the line of the
stack file that set it, and what that overrode. For a finder it tells the file
and the factory, as the disk is now. Secrets are not shown.

The URL may be a path (/admin/), a host and path (example.org/admin/) or a
whole URL. In a long chain, --slot shows what stands in one of its slots alone.`,
		Example:           "  stackd explain stack.yaml /admin/\n  stackd explain stack.yaml POST https://example.org/upload/7\n  stackd explain stack.yaml / --diff /admin/\n  stackd explain stack.yaml /admin/ --slot session",
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
			if err := hasSlot(plan, slot); err != nil {
				return &failed{err}
			}
			if other != "" {
				deltas, err := plan.DiffURLs(method, args[len(args)-1], method, other)
				if slot != "" {
					deltas = slices.DeleteFunc(deltas, func(d stackfile.Delta) bool { return d.Name != slot && !strings.HasPrefix(d.Name, slot+".") })
				}
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
			if slot != "" {
				only(&e, slot)
			}
			if asJSON {
				return p.json(e)
			}
			p.out.printf("%s", e)
			return nil
		},
	}
	c.Flags().StringVar(&other, "diff", "", "tell only what this other `URL` meets that URL doesn't")
	c.Flags().StringVar(&slot, "slot", "", "tell only what stands in the slot of this `name`")
	_ = c.RegisterFlagCompletionFunc("slot", p.slots)
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// hasSlot returns an error when a stack has no slot of that name; none is asked for with "".
func hasSlot(plan *stackfile.Plan, name string) error {
	var names []string
	for _, s := range plan.Outline().Slots {
		names = append(names, s.Name)
	}
	if name == "" || slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("the stack has no slot %q%s", name, cmp.Or(stackfile.DidYouMean(name, names), "; it has "+strings.Join(names, ", ")))
}

// only leaves of an explanation what is about one slot. What the app finds and mounts is about the app.
func only(e *inspect.Explanation, slot string) {
	app := e.Slots[len(e.Slots)-1].Name
	e.Slots = slices.DeleteFunc(e.Slots, func(s inspect.Slot) bool { return s.Name != slot })
	e.Vars = []inspect.Setting{}
	if slot != app {
		e.Found, e.Mounted = nil, nil
	}
}
