package registrytest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/stackd/stackd/registry/resource"
)

const hookContract = "package resource, Hook"

var hookRules = []rule{
	{name: "unknown", text: "the zero Answer and no error say that a hook has nothing", where: hookContract, check: hookUnknown},
	{name: "answer", text: "an answer is a handler, or a tree and a path in it", where: "package resource, Answer", check: hookAnswer},
	{name: "concurrent", text: "a hook is safe for concurrent use", where: hookContract, check: hookConcurrent},
	{name: "context", text: "a request whose context has ended doesn't wait", where: mustKeepTo, check: hookContext},
}

// ask asks a hook for a path as a finder does; the request must not change.
func (k *kit) ask(ctx context.Context, hook resource.Hook, path string) (answer resource.Answer, err error) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/"+path, nil)
	if k.request != nil {
		k.request(r)
	}
	root := k.root(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { answer, err = hook.Find(r, path) }))
	root.whole = true
	root.ServeHTTP(httptest.NewRecorder(), r)
	if len(root.changes) > 0 {
		k.fault(&requestKept, root.changes[0])
	}
	return answer, errors.Join(err, root.quiet())
}

// wanted is the path for which the hook of a case has an answer, or "".
func (k *kit) wanted() string { return strings.TrimPrefix(k.path, "/") }

func hookUnknown(k *kit) error {
	hook, err := product[resource.Hook](k)
	if err != nil {
		return err
	}
	return k.within("Find", func(ctx context.Context) error {
		const nowhere = "registrytest/no/such/page"
		a, err := k.ask(ctx, hook, nowhere)
		if err != nil {
			return fmt.Errorf("Find(%q): %w", nowhere, err)
		}
		if a.Handler != nil || a.Tree != nil || a.Path != "" || a.ScriptName != "" || a.Root != "" {
			return fmt.Errorf("Find(%q): got %+v, want the zero Answer", nowhere, a)
		}
		return nil
	})
}

func hookAnswer(k *kit) error {
	hook, err := product[resource.Hook](k)
	if err != nil || k.wanted() == "" {
		return err
	}
	var a resource.Answer
	err = k.within("Find", func(ctx context.Context) (err error) {
		a, err = k.ask(ctx, hook, k.wanted())
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("Find(%q): %w", k.wanted(), err)
	case a.Handler == nil && a.Tree == nil:
		return fmt.Errorf("Find(%q): got neither a handler nor a tree", k.wanted())
	case a.Handler != nil && a.Tree != nil:
		return fmt.Errorf("Find(%q): got both a handler and a tree", k.wanted())
	case a.Handler == nil:
		if p := strings.TrimSuffix(a.Path, "/"); p != "" && !fs.ValidPath(p) {
			return fmt.Errorf("Find(%q): the path in the tree is %q; it must be clean and relative", k.wanted(), a.Path)
		}
		return nil
	}
	for _, c := range common {
		if err := c.check(k, a.Handler, "/"+k.wanted(), nil); err != nil {
			return fmt.Errorf("the handler: %s: %w", c.name, err)
		}
	}
	return nil
}

func hookConcurrent(k *kit) error {
	hook, err := product[resource.Hook](k)
	if err != nil {
		return err
	}
	return k.together("Find", func(ctx context.Context, i int) error {
		path := k.wanted()
		if path == "" || i%2 == 1 {
			path = fmt.Sprintf("registrytest/%d", i)
		}
		a, err := k.ask(ctx, hook, path)
		if err != nil {
			return fmt.Errorf("Find(%q): %w", path, err)
		}
		if has := a.Handler != nil || a.Tree != nil; has != (path == k.wanted()) {
			return fmt.Errorf("Find(%q): got %+v, alone it got another answer", path, a)
		}
		return nil
	})
}

func hookContext(k *kit) error {
	hook, err := product[resource.Hook](k)
	if err != nil {
		return err
	}
	return k.ends(func(ctx context.Context) error {
		_, _ = k.ask(ctx, hook, k.wanted()) // it may well be an error
		return nil
	})
}
