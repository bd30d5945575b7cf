package cors

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/registrytest"
)

// settings are the defaults with these origins.
func settings(origins ...string) Config {
	cfg := Component.Default
	cfg.Origins = origins
	return cfg
}

func TestComponent(t *testing.T) {
	origin := func(r *http.Request) { r.Header.Set("Origin", "https://app.example.org") }
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "all", Settings: func(*testing.T) Config { return settings("*") }, Request: origin},
		registrytest.Case[Config]{Name: "one", Settings: func(*testing.T) Config { return settings("https://app.example.org") }, Request: origin},
		registrytest.Case[Config]{Name: "another", Settings: func(*testing.T) Config { return settings("https://example.net") }, Request: origin},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)(app)
}

func TestExchange(t *testing.T) {
	full := Config{
		Origins: []string{"https://app.example.org"}, Methods: []string{"GET", "PUT"}, Headers: []string{"Content-Type", "X-A"},
		Expose: []string{"X-B"}, Credentials: true, MaxAge: time.Hour,
	}
	varies := http.Header{"Vary": {"Origin"}}
	for _, test := range []struct {
		name   string
		cfg    Config
		method string
		have   http.Header
		passes bool
		want   http.Header
	}{
		{"no origin", full, "GET", http.Header{}, true, varies},
		{"allowed", full, "GET", http.Header{"Origin": {"https://app.example.org"}}, true, http.Header{
			"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://app.example.org"},
			"Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-B"},
		}},
		{"not allowed", full, "GET", http.Header{"Origin": {"https://evil.example"}}, true, varies},
		{"two origins", full, "GET", http.Header{"Origin": {"https://app.example.org", "https://evil.example"}}, true, varies},
		{"a preflight", full, "OPTIONS", http.Header{"Origin": {"https://app.example.org"}, "Access-Control-Request-Method": {"PUT"}}, false, http.Header{
			"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://app.example.org"},
			"Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Methods": {"GET, PUT"},
			"Access-Control-Allow-Headers": {"Content-Type, X-A"}, "Access-Control-Max-Age": {"3600"},
		}},
		{"a preflight, not allowed", full, "OPTIONS", http.Header{"Origin": {"https://evil.example"}, "Access-Control-Request-Method": {"PUT"}}, false, varies},
		{"OPTIONS that isn't a preflight", full, "OPTIONS", http.Header{"Origin": {"https://app.example.org"}}, true, http.Header{
			"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://app.example.org"},
			"Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-B"},
		}},
		{"a preflight without an origin", full, "OPTIONS", http.Header{"Access-Control-Request-Method": {"PUT"}}, true, varies},
		// Without Vary a cache hands this one to pages of other origins, too.
		{"all, no origin", settings("*"), "GET", http.Header{}, true, http.Header{"Access-Control-Allow-Origin": {"*"}}},
		{"all", settings("*"), "POST", http.Header{"Origin": {"null"}}, true, http.Header{"Access-Control-Allow-Origin": {"*"}}},
		{"all, a preflight", settings("*"), "OPTIONS", http.Header{"Origin": {"null"}, "Access-Control-Request-Method": {"PUT"}}, false, http.Header{
			"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Methods": {"GET, HEAD, POST"}, "Access-Control-Max-Age": {"600"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			passed := false
			h := wrap(t, test.cfg, func(w http.ResponseWriter, _ *http.Request) {
				passed = true
				io.WriteString(w, "answer")
			})
			r := httptest.NewRequest(test.method, "/", nil)
			r.Header = test.have
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			w.Header().Del("Content-Type")
			if diff := cmp.Diff(test.want, w.Header()); diff != "" {
				t.Errorf("the header (-want +got):\n%s", diff)
			}
			if want := map[bool]int{true: 200, false: 204}[test.passes]; passed != test.passes || w.Code != want {
				t.Errorf("got the status %d, and the app ran: %t; want %d, %t", w.Code, passed, want, test.passes)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	p := newPolicy(settings("https://app.example.org", "http://localhost:3000", "https://*.example.net", "https://*.example.com:8443"))
	for origin, want := range map[string]bool{
		"https://app.example.org":             true,
		"http://app.example.org":              false,
		"https://app.example.org:444":         false,
		"https://app.example.org.evil":        false,
		"https://APP.example.org":             false, // browsers write lower case
		"http://localhost:3000":               true,
		"http://localhost":                    false,
		"https://a.example.net":               true,
		"https://a.b.example.net":             true,
		"https://example.net":                 false,
		"https://.example.net":                false,
		"https://evilexample.net":             false,
		"https://evil/a.example.net":          false,
		"https://evil:1.example.net":          false,
		"https://evil#.example.net":           false,
		"https://user@a.example.net":          false,
		"https://a.example.net.evil":          false,
		"http://a.example.net":                false,
		"https://a.example.com:8443":          true,
		"https://a.example.com":               false,
		"null":                                false,
		"":                                    false,
		"*":                                   false,
		"https://a.example.net\nX: https://b": false,
	} {
		t.Run(origin, func(t *testing.T) {
			if got := p.allows(origin); got != want {
				t.Errorf("allowed: %t, want %t", got, want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	const origin = "; it must be a scheme and a host in lower case, such as https://app.example.org, without a path"
	with := func(change func(c *Config)) Config {
		cfg := settings("https://example.org")
		change(&cfg)
		return cfg
	}
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"fine", settings("*", "https://example.org", "http://[::1]:8080", "https://*.example.org:8443", "chrome-extension://abc"), ""},
		{"a path", settings("https://example.org/"), `origins[0] is "https://example.org/"` + origin},
		{"no scheme", settings("example.org"), `origins[0] is "example.org"` + origin},
		{"null", settings("*", "null"), `origins[1] is "null"` + origin},
		{"upper case", settings("https://Example.org"), `origins[0] is "https://Example.org"` + origin},
		{"a star amid", settings("https://a.*.org"), `origins[0] is "https://a.*.org"` + origin},
		{"a star for a part", settings("https://*example.org"), `origins[0] is "https://*example.org"` + origin},
		{"the port of the scheme", settings("https://example.org:443"), `origins[0] is "https://example.org:443"` + origin},
		{"a user", settings("https://a@example.org"), `origins[0] is "https://a@example.org"` + origin},
		{"everybody with credentials", with(func(c *Config) { c.Origins, c.Credentials = []string{"*"}, true }), "origins[0] is *; it must be an origin when credentials is true"},
		{"a method", with(func(c *Config) { c.Methods = []string{"GET", "P T"} }), `methods[1] is "P T"; it must be a method such as PUT`},
		{"a header", with(func(c *Config) { c.Headers = []string{"*"} }), `headers[0] is "*"; it must be the name of a field`},
		{"a header to expose", with(func(c *Config) { c.Expose = []string{""} }), `expose[0] is ""; it must be the name of a field`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
