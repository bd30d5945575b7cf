package requestid

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "trust", Settings: func(*testing.T) Config { return Config{Header: "X-Trace", Trust: true} }},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)(app)
}

func TestID(t *testing.T) {
	long := strings.Repeat("a", maxLength)
	for _, test := range []struct {
		name    string
		trust   bool
		brought []string
		kept    bool
	}{
		{"none", false, nil, false},
		{"brought", false, []string{"abc"}, false},
		{"none, trusted", true, nil, false},
		{"trusted", true, []string{"aZ09-_.:=+/"}, true},
		{"as long as may be", true, []string{long}, true},
		{"too long", true, []string{long + "a"}, false},
		{"empty", true, []string{""}, false},
		{"a space", true, []string{"a b"}, false},
		{"quotes", true, []string{`a"b`}, false},
		{"not ASCII", true, []string{"ä"}, false},
		{"two", true, []string{"abc", "def"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if test.brought != nil {
				r.Header["X-Request-Id"] = test.brought
			}
			r.Header["Connection"] = []string{"x-request-id"}
			var inside []string
			var key string
			h := wrap(t, Config{Header: "x-request-id", Trust: test.trust}, func(_ http.ResponseWriter, r *http.Request) {
				inside, key = r.Header["X-Request-Id"], environ.RequestID.Get(r)
				if dropped := r.Header.Get("Connection") != ""; dropped != test.kept {
					t.Errorf("a proxy further in is told to drop it: %t", dropped)
				}
			})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, new(environ.Base).Open(r))

			if len(inside) != 1 || inside[0] != key || w.Header().Get("X-Request-Id") != key {
				t.Fatalf("the request has %q, the environ %q, the response %q; want the same id", inside, key, w.Header()["X-Request-Id"])
			}
			if kept := test.brought != nil && key == test.brought[0]; kept != test.kept {
				t.Errorf("the id is %q; want the one brought: %t", key, test.kept)
			}
			if !test.kept && (len(key) != 26 || !wellFormed(key)) {
				t.Errorf("the id made is %q, want 26 letters and digits", key)
			}
			if got := r.Header["X-Request-Id"]; len(got) != len(test.brought) {
				t.Errorf("the request given was changed: it has %q", got)
			}
		})
	}
}

func TestIDsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	h := wrap(t, Component.Default, func(_ http.ResponseWriter, r *http.Request) { seen[environ.RequestID.Get(r)] = true })
	for range 100 {
		h.ServeHTTP(httptest.NewRecorder(), new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil)))
	}
	if len(seen) != 100 {
		t.Errorf("100 requests got %d ids", len(seen))
	}
}

func TestValidate(t *testing.T) {
	for name, ok := range map[string]bool{"X-Request-Id": true, "traceparent": true, "X Request": false, "X:": false} {
		t.Run(name, func(t *testing.T) {
			if err := (Config{Header: name}).Validate(); (err == nil) != ok {
				t.Errorf("got %v, want it valid: %t", err, ok)
			}
		})
	}
}
