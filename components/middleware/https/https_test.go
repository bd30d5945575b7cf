package https

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	overTLS := Component
	// The kit's server speaks no TLS: each request counts as if it had, for the middleware alone.
	overTLS.Build = func(env *registry.Env, cfg Config) (registry.Wrap, error) {
		wrap, err := build(env, cfg)
		if err != nil {
			return nil, err
		}
		return func(next http.Handler) http.Handler {
			return mark(new(tls.ConnectionState), wrap(mark(nil, next)))
		}, nil
	}
	registrytest.Run(t, overTLS)
}

// mark sets what the request says of its TLS.
func mark(state *tls.ConnectionState, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		copied := *r
		copied.TLS = state
		next.ServeHTTP(w, &copied)
	})
}

func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		name, method, host, target string
		port                       uint16
		want                       string // "" for 400
	}{
		{"start page", "GET", "example.org", "/", 443, "https://example.org/"},
		{"path and query", "GET", "example.org", "/a%20b//c?d=%2f&e", 443, "https://example.org/a%20b//c?d=%2f&e"},
		{"empty query", "GET", "example.org", "/?", 443, "https://example.org/?"},
		{"another method", "POST", "example.org", "/a", 443, "https://example.org/a"},
		{"HEAD", "HEAD", "example.org", "/a", 443, "https://example.org/a"},
		{"with a port", "GET", "example.org:80", "/", 443, "https://example.org/"},
		{"to a port", "GET", "example.org:8080", "/", 8443, "https://example.org:8443/"},
		{"IPv6", "GET", "[::1]:8080", "/", 8443, "https://[::1]:8443/"},
		{"IPv6 without a port", "GET", "[::1]", "/", 443, "https://[::1]/"},
		{"a path that looks like a host", "GET", "example.org", "//elsewhere.example/", 443, "https://example.org//elsewhere.example/"},
		{"all of the server", "OPTIONS", "example.org", "*", 443, "https://example.org/"},
		{"no host", "GET", "", "/", 443, ""},
		{"a host with a user", "GET", "example.org@elsewhere.example", "/", 443, ""},
		{"a host with a path", "GET", "elsewhere.example/example.org", "/", 443, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := registrytest.Build(t, Component, Config{Port: test.port, HSTS: time.Hour}, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Error("the stack was asked")
			}))
			r := httptest.NewRequest(test.method, test.target, nil)
			r.Host = test.host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			status := http.StatusPermanentRedirect
			if test.want == "" {
				status = http.StatusBadRequest
			}
			if got := w.Header().Get("Location"); got != test.want || w.Code != status {
				t.Errorf("got %d to %q, want %d to %q", w.Code, got, status, test.want)
			}
			if got := w.Header().Get("Strict-Transport-Security"); got != "" {
				t.Errorf("without TLS it says Strict-Transport-Security: %s", got) // RFC 6797, 7.2
			}
			if test.method == "HEAD" && w.Body.Len() > 0 {
				t.Errorf("HEAD got %q", w.Body)
			}
		})
	}
}

func TestHSTS(t *testing.T) {
	for hsts, want := range map[time.Duration]string{0: "", 8760 * time.Hour: "max-age=31536000", 500 * time.Millisecond: ""} {
		ran := false
		h := registrytest.Build(t, Component, Config{Port: 443, HSTS: hsts}, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		r := httptest.NewRequest("GET", "/", nil)
		r.TLS = new(tls.ConnectionState)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != want || !ran {
			t.Errorf("%v: got %q, want %q; the stack was asked: %t", hsts, got, want, ran)
		}
	}
}
