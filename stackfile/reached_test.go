package stackfile

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// A component that says so learns how far in a request came; nobody else pays for it.
func TestReached(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, `servers: [async]
stack:
  - tag
  - follow
  - {use: tag, as: inner}
  - {use: refuse, as: door, off: true}
  - {use: say, as: page}
urls:
  /closed/: {door: on}
  /short/: {inner: off}
  /alone/: {follow: off}
`)
	reg, err := registry.New(append(corpus(),
		registry.Middleware[noSettings]{Name: "follow", Traits: needing(safe, environ.Reached), Build: func(*registry.Env, noSettings) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(w, r)
					if reached, ok := environ.Reached.Lookup(r); ok {
						w.Header().Add("Reached", environ.Matched.Get(r).Slots[reached].Name)
					}
				})
			}, nil
		}},
		registry.Middleware[noSettings]{Name: "refuse", Traits: safe, Build: func(*registry.Env, noSettings) (registry.Wrap, error) {
			return func(http.Handler) http.Handler { return http.NotFoundHandler() }, nil
		}},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	for path, want := range map[string][]string{"/": {"page"}, "/closed/": {"door"}, "/short/": {"page"}, "/alone/": nil} {
		t.Run(path, func(t *testing.T) {
			if got := get(t, s, "GET", path).Header()["Reached"]; !slices.Equal(got, want) {
				t.Errorf("the request came to %q, want %q", got, want)
			}
		})
	}
	for _, path := range []string{"/", "/alone/"} {
		if outermost, ok := s.chains.router.find("GET", "", path).handler.(lastResort).next.(*passing); !ok || outermost.slot >= 0 {
			t.Errorf("%s: it is noted that slot %d is reached, and nobody further out asks", path, outermost.slot)
		}
	}
}
