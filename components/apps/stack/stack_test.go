package stack

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

// tell answers with what a mounted stack sees.
var tell = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s + %s raw %s of %s", environ.Prefix.Get(r), r.URL.Path, r.URL.RawPath, r.RequestURI)
})

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "prefix", Settings: func(*testing.T) Config {
			return Config{Mount: registry.BoundStack(tell), Prefix: "/blog"}
		}},
		registrytest.Case[Config]{Name: "no prefix", Settings: func(*testing.T) Config {
			return Config{Mount: registry.BoundStack(tell)}
		}},
	)
}

func TestPrefix(t *testing.T) {
	for _, tt := range []struct{ name, prefix, target, want string }{
		{"below", "/blog", "/blog/a?b=c", "200 /p/blog + /a raw  of /blog/a?b=c"},
		{"its root", "/blog", "/blog/", "200 /p/blog + / raw  of /blog/"},
		{"two segments", "/a/b", "/a/b/c/", "200 /p/a/b + /c/ raw  of /a/b/c/"},
		{"escaped below", "/blog", "/blog/a%2Fb%20c", "200 /p/blog + /a/b c raw /a%2Fb%20c of /blog/a%2Fb%20c"},
		{"escaped itself", "/blog", "/%62log/a%2Fb", "200 /p/blog + /a/b raw /a%2Fb of /%62log/a%2Fb"},
		{"another name that begins so", "/blog", "/blogs/", "404 "},
		{"above", "/a/b", "/a/", "404 "},
		{"another case", "/blog", "/Blog/", "404 "},
		{"a slash that is escaped", "/blog", "/blog%2Fa", "404 "},
		{"no slash", "/blog", "/blog", "308 ./blog/"},
		{"no slash, two segments", "/a/b", "/a/b?x=%20y", "308 ./b/?x=%20y"},
		{"no prefix", "", "/blog/a", "200 /p + /blog/a raw  of /blog/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := registrytest.Build(t, Component, Config{Mount: registry.BoundStack(tell), Prefix: tt.prefix}, nil)
			r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, tt.target, nil))
			environ.Prefix.Set(r, "/p")
			before := *r.URL
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			got := fmt.Sprintf("%d %s", w.Code, w.Header().Get("Location"))
			if w.Code == http.StatusOK {
				got += w.Body.String()
			}
			if got != tt.want {
				t.Errorf("the answer is %q; want %q", got, tt.want)
			}
			if diff := cmp.Diff(before, *r.URL); diff != "" || environ.Prefix.Get(r) != "/p" {
				t.Errorf("the request around it has changed: %s", diff)
			}
			if l := w.Header().Get("Location"); l != "" {
				base, _ := url.Parse("https://example.org" + tt.target)
				if to, err := base.Parse(l); err != nil || to.Host != "example.org" || to.Path != tt.prefix+"/" {
					t.Errorf("it leads to %s, %v", to, err)
				}
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for prefix, want := range map[string]string{
		"":         "",
		"/":        `prefix is "/"; it must not end with a slash`,
		"/a/b-c_1": "",
		"blog":     `prefix is "blog"; it must begin with a slash`,
		"/blog/":   `prefix is "/blog/"; it must not end with a slash`,
		"/a//b":    `prefix is "/a//b"; it must have no empty segment, . or .. in it`,
		"//a":      `prefix is "//a"; it must have no empty segment, . or .. in it`,
		"/a/../b":  `prefix is "/a/../b"; it must have no empty segment, . or .. in it`,
		"/a/.":     `prefix is "/a/."; it must have no empty segment, . or .. in it`,
		"/a b":     `prefix is "/a b"; it must consist of letters, digits, slashes and any of - . _ ~`,
		"/{x}":     `prefix is "/{x}"; it must consist of letters, digits, slashes and any of - . _ ~`,
	} {
		t.Run(prefix, func(t *testing.T) {
			var expected []string
			if want != "" {
				expected = []string{want}
			}
			if diff := cmp.Diff(expected, registrytest.Problems(t, Component, Config{Mount: registry.BoundStack(tell), Prefix: prefix})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff([]string{"mount is missing; it must be the path of a stack file, or a map with stack:"}, registrytest.Problems(t, Component, Config{})); diff != "" {
		t.Errorf("without a stack: -want +got:\n%s", diff)
	}
}
