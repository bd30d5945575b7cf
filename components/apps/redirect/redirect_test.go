package redirect

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

func settings(to string) Config {
	cfg := Component.Default
	cfg.To = to
	return cfg
}

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "to a host", Settings: func(*testing.T) Config { return settings("https://{host}{port}{path}{query}") }},
		registrytest.Case[Config]{Name: "to a path", Settings: func(*testing.T) Config { return settings("/new/") }},
	)
}

func TestLocation(t *testing.T) {
	tests := []struct {
		name, to, method, target, host, prefix string
		status                                 int
		want                                   string
	}{
		{name: "another site", to: "https://example.org/", target: "/a?b", want: "https://example.org/"},
		{name: "the same URL over TLS", to: "https://{host}{path}{query}", target: "/a%2Fb//c%20d?e=f&g", host: "old.org:8080", want: "https://old.org/a%2Fb//c%20d?e=f&g"},
		{name: "without a query", to: "https://{host}{path}{query}", target: "/", host: "old.org", want: "https://old.org/"},
		{name: "with the port", to: "https://www.{host}{port}{path}", target: "/a", host: "old.org:8443", want: "https://www.old.org:8443/a"},
		{name: "an IPv6 host", to: "https://{host}{port}/", target: "/", host: "[::1]:80", want: "https://[::1]:80/"},
		{name: "an IPv6 host without a port", to: "https://{host}{port}/", target: "/", host: "[::1]", want: "https://[::1]/"},
		{name: "a path on this site", to: "/new{path}", target: "//evil.org", want: "/new//evil.org"},
		{name: "twice", to: "https://h{path}?from={path}", target: "/a", want: "https://h/a?from=/a"},
		{name: "POST", to: "/new", method: "POST", target: "/", status: 303, want: "/new"},
		{name: "the server as a whole", to: "https://h{path}", method: "OPTIONS", target: "*", want: "https://h/"},
		{name: "no host", to: "https://{host}/", target: "/", host: "-"},
		{name: "a host that isn't one", to: "https://{host}/", target: "/", host: "a@evil.org"},
		{name: "a host with a path", to: "https://{host}/", target: "/", host: "evil.org/"},
		{name: "mounted, to the same URL over TLS", to: "https://{host}{path}{query}", target: "/a?b", host: "old.org", prefix: "/blog", want: "https://old.org/blog/a?b"},
		{name: "mounted, to a path of that stack", to: "/new{path}", target: "/a", prefix: "/blog", want: "/blog/new/a"},
		{name: "a port that isn't one", to: "https://{host}{port}/", target: "/", host: "a:b", want: "https://a/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(tt.to)
			if tt.status != 0 {
				cfg.Status = tt.status
			}
			if tt.method == "" {
				tt.method = "GET"
			}
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.target, nil)
			if tt.host != "" {
				r.Host = strings.TrimPrefix(tt.host, "-")
			}
			if tt.prefix != "" {
				r = new(environ.Base).Open(r)
				environ.Prefix.Set(r, tt.prefix)
			}
			w := httptest.NewRecorder()
			registrytest.Build(t, Component, cfg, nil).ServeHTTP(w, r)
			status := cfg.Status
			if tt.want == "" {
				status = 400
			}
			if got := w.Header().Get("Location"); got != tt.want || w.Code != status {
				t.Errorf("%d to %q; want %d to %q", w.Code, got, status, tt.want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"nothing", Component.Default, []string{"to is missing; it must be a text"}},
		{"a status", Config{To: "/a", Status: 300}, []string{"status is 300; it must be 301, 302, 303, 307 or 308"}},
		{"no scheme", settings("example.org"), []string{`to is "example.org"; it must begin with http://, https:// or a slash`}},
		{"a script", settings("javascript:alert(1)"), []string{`to is "javascript:alert(1)"; it must begin with http://, https:// or a slash`}},
		{"a host in disguise", settings("//evil.org"), []string{`to is "//evil.org"; it must have a letter after the first slash, or the whole URL with http:// or https://`}},
		{"a path that could be one", settings("/{path}"), []string{`to is "/{path}"; it must have a letter after the first slash, or the whole URL with http:// or https://`}},
		{"an unknown part", settings("https://h/{user}"), []string{`to is "https://h/{user}"; {user} is unknown; it must be {host}, {port}, {path} or {query}`}},
		{"an open brace", settings("https://{host"), []string{`to is "https://{host"; it must have a } for each {`}},
		{"a space", settings("https://h/a b"), []string{`to is "https://h/a b"; it must have no spaces or letters that a URL writes as %XX`}},
		{"no host", settings("https:///a"), []string{`to is "https:///a"; it must be a URL such as https://example.org/`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, registrytest.Problems(t, Component, tt.cfg)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
