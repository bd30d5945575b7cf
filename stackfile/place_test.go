package stackfile

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// roomy is the context of a server that makes room.
type roomy struct {
	context.Context
	room environ.Room
}

func (c *roomy) Value(key any) any {
	if v := c.room.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// TestPlace asks in each slot, on the way in and back, where the request is.
func TestPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	write(t, file, `servers: [http]
stack:
  - {use: tell, as: a}
  - {use: tell, as: b}
  - {use: wait, as: c}
  - {use: tell, as: d}
  - {use: stack, mount: inner.yaml}
urls:
  /alone/: {a: off, c: off, d: off}
  /app/: {a: off, b: off, c: off, d: off, stack: {use: end}}
  /followed/: {a: {use: follow}}
`)
	write(t, filepath.Join(dir, "inner.yaml"), `stack:
  - {use: wait, as: e}
  - {use: tell, as: f}
  - {use: tell, as: g}
  - {use: end, as: h}
`)
	var now func() string
	var told []string
	tell := func(*registry.Env, noSettings) (registry.Wrap, error) {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				told = append(told, now())
				next.ServeHTTP(w, r)
				told = append(told, now())
			})
		}, nil
	}
	waiting := safe
	waiting.Calls = registry.Blocking
	reg, err := registry.New(append(corpus(),
		registry.Middleware[noSettings]{Name: "tell", Traits: safe, Build: tell},
		registry.Middleware[noSettings]{Name: "wait", Traits: waiting, Build: tell},
		registry.Middleware[noSettings]{Name: "follow", Traits: needing(safe, environ.Reached), Build: tell},
		registry.App[noSettings]{Name: "end", Traits: safe, Build: func(*registry.Env, noSettings) (http.Handler, error) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told = append(told, now()) }), nil
		}},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	for path, want := range map[string][]string{
		"/":          {"a to b", "a to b", "c", "d", "stack.mount/e", "stack.mount/f to g", "stack.mount/f to g", "stack.mount/h"},
		"/alone/":    {"b", "stack.mount/e", "stack.mount/f to g", "stack.mount/f to g", "stack.mount/h"},
		"/app/":      {"stack"},
		"/followed/": {"a", "b", "c", "d", "stack.mount/e", "stack.mount/f to g", "stack.mount/f to g", "stack.mount/h"},
	} {
		t.Run(path, func(t *testing.T) {
			ctx := &roomy{Context: t.Context()}
			now = func() string {
				slot, _ := ctx.room.Place()
				return s.Slot(slot)
			}
			told = nil
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody))
			back := slices.Clone(want[:len(want)-1]) // all but the last see the request again
			slices.Reverse(back)
			if diff := cmp.Diff(append(want, back...), told); diff != "" {
				t.Errorf("where the request was: -want +got:\n%s", diff)
			}
			if at := now(); at != "" {
				t.Errorf("at the end it is in %q", at)
			}
		})
	}
	next := mustBuild(t, reg, file, s)
	defer next.Close()
	for number := range uint32(100) {
		if was, is := s.Slot(number), next.Slot(number); was != is || number == 0 && was != "" {
			t.Errorf("%d was %q and is %q", number, was, is)
		}
	}
}
