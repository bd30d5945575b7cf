package cacheheaders

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "types", Settings: func(*testing.T) Config {
			return Config{Types: map[string]string{"application/x-probe": "public, max-age=1"}}
		}},
		registrytest.Case[Config]{Name: "nothing", Settings: func(*testing.T) Config { return Config{} }},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i.Product.(registry.Wrap)(app)
}

func TestResponses(t *testing.T) {
	byType := Config{Default: "default", Types: map[string]string{
		"text/css": "css", "text/*": "text", "image/*": "image",
	}}
	all := Config{Default: "default", Types: map[string]string{"*/*": "all", "text/css": "css"}}
	one := Config{Default: "default"}
	typed := func(contentType string) http.Header { return http.Header{"Content-Type": {contentType}} }
	for _, test := range []struct {
		name   string
		cfg    Config
		method string // and perhaps a path
		status int    // 0 to write a body without one, -1 to write nothing
		header http.Header
		want   string
	}{
		{"an exact type", byType, "GET", 200, typed("text/css"), "css"},
		{"a type with a parameter", byType, "GET", 200, typed("Text/CSS ; charset=utf-8"), "css"},
		{"a kind of types", byType, "GET", 200, typed("text/html"), "text"},
		{"another type", byType, "GET", 200, typed("application/json"), "default"},
		{"no type", byType, "GET", 200, nil, "default"},
		{"nonsense for a type", byType, "GET", 200, typed("image"), "default"},
		{"any type", all, "GET", 200, typed("application/json"), "all"},
		{"no type of any", all, "GET", 200, nil, "all"},
		{"an exact type of any", all, "GET", 200, typed("text/css"), "css"},
		{"no default", Config{Types: map[string]string{"text/css": "css"}}, "GET", 200, typed("text/html"), ""},

		{"HEAD", one, "HEAD", 200, nil, "default"},
		{"POST", one, "POST", 200, nil, ""},
		{"a body without a status", one, "GET", 0, nil, "default"},
		{"nothing written", one, "GET", -1, nil, "default"},
		{"a part", one, "GET", 206, nil, "default"},
		{"moved for good", one, "GET", 301, nil, "default"},
		{"moved for now", one, "GET", 302, nil, ""},
		{"moved for good, with the method", one, "GET", 308, nil, "default"},
		{"not modified", one, "GET", 304, nil, "default"},
		{"not modified, of a type", byType, "GET", 304, http.Header{"Cache-Control": {"no-cache"}}, "css"},
		{"not modified, nobody knows what", byType, "GET /page", 304, http.Header{"Cache-Control": {"no-cache"}}, "no-cache"},
		{"not modified, with a type", byType, "GET", 304, typed("text/css"), "css"},
		{"not found", one, "GET", 404, nil, ""},
		{"failed", one, "GET", 500, nil, ""},

		{"the app's own", one, "GET", 200, http.Header{"Cache-Control": {"max-age=1"}}, "max-age=1"},
		{"the app's own time", one, "GET", 200, http.Header{"Expires": {"0"}}, ""},
		{"the app's own, of another type", byType, "GET", 200, http.Header{"Content-Type": {"a/b"}, "Cache-Control": {"max-age=1"}}, "max-age=1"},
		{"the app's own, of a type", byType, "GET", 200, http.Header{"Content-Type": {"text/css"}, "Cache-Control": {"no-cache"}}, "css"},
		{"private", byType, "GET", 200, http.Header{"Content-Type": {"text/css"}, "Cache-Control": {"max-age=1", "must-revalidate, Private"}}, "max-age=1; must-revalidate, Private"},
		{"private in part", byType, "GET", 200, http.Header{"Content-Type": {"text/css"}, "Cache-Control": {`private="X-Name"`}}, `private="X-Name"`},
		{"not to be stored", byType, "GET", 200, http.Header{"Content-Type": {"text/css"}, "Cache-Control": {"no-store"}}, "no-store"},
		{"a cookie", one, "GET", 200, http.Header{"Set-Cookie": {"a=1"}}, ""},
		{"a cookie, of a type", byType, "GET", 200, http.Header{"Content-Type": {"text/css"}, "Set-Cookie": {"a=1"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := wrap(t, test.cfg, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), test.header)
				switch {
				case test.status > 0:
					w.WriteHeader(test.status)
				case test.status == 0:
					io.WriteString(w, "body")
				}
			})
			w := httptest.NewRecorder()
			method, path, ok := strings.Cut(test.method, " ")
			if !ok {
				path = "/style.css"
			}
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if got := strings.Join(w.Header()["Cache-Control"], "; "); got != test.want {
				t.Errorf("Cache-Control is %q, want %q", got, test.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	const known = "; it must be of public, private, no-cache, no-store, no-transform, must-revalidate, proxy-revalidate, must-understand, immutable" +
		" and max-age=, s-maxage=, stale-while-revalidate=, stale-if-error="
	const name = " is for no type; the name must be like text/css, image/* or */*, in lower case"
	types := func(name, value string) Config { return Config{Types: map[string]string{name: value}} }
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"fine", Config{Default: "public, max-age=3600,immutable", Types: map[string]string{
			"*/*": "no-store", "text/*": "private", "image/svg+xml": "s-maxage=0 , stale-while-revalidate=60",
		}}, ""},
		{"a slip", Config{Default: "public, maxage=3600"}, `default has the directive "maxage=3600"` + known},
		{"no number", Config{Default: "max-age"}, `default has "max-age"; it must have a number of seconds, such as max-age=3600`},
		{"a duration", Config{Default: "max-age=1h"}, `default has "max-age=1h"; it must have a number of seconds, such as max-age=3600`},
		{"a number too many", Config{Default: "no-store=1"}, `default has the directive "no-store=1"` + known},
		{"a comma too many", Config{Default: "no-store,"}, `default has the directive ""` + known},
		{"an empty value", types("text/css", ""), `types[text/css] has the directive ""` + known},
		{"a line too many", types("text/css", "no-store\r\n"), `types[text/css] has the directive "no-store\r\n"` + known},
		{"a type without a slash", types("css", "no-store"), "types[css]" + name},
		{"a star before", types("*/css", "no-store"), "types[*/css]" + name},
		{"upper case", types("Text/css", "no-store"), "types[Text/css]" + name},
		{"two slashes", types("a/b/c", "no-store"), "types[a/b/c]" + name},
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
