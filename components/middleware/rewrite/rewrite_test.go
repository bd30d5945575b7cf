package rewrite

import (
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "another path", Settings: func(*testing.T) Config {
			return Config{Rules: []rule{{"/never", "/other"}}}
		}},
		registrytest.Case[Config]{Name: "the same path", Settings: func(*testing.T) Config {
			return Config{Rules: []rule{{"/(.*)", "/{1}"}}}
		}},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)(app)
}

func TestRewrite(t *testing.T) {
	rules := []rule{
		{`/blog/(\d{4})/([a-z-]+)`, "/post?year={1}&name={2}"},
		{`/~(?<user>\w+)/(?<rest>.*)`, "/people/{user}/{rest}"},
		{"/find/(.*)", "/search?q={1}&exact"},
		{"/(en|de)(/.*)?", "/lang{2}?lang={1}&rest={2}"},
		{"/blog/.*", "/second"},
		{"/a|/b", "/either"},
		{"/price", "/$5?$=$1"},
		{"/(?i)CASE", "/case"},
		{"/up/(.*)", "/down/{1}"},
		{"/slash/", "/slashed/"},
		{"/file/(.+)", "/{1}"},
		{"/name/(.*)", "/{1}x/{0}"},
	}
	for _, test := range []struct{ name, url, want string }{
		{"no rule", "/other?a=1", "/other?a=1"},
		{"numbers", "/blog/2004/a-wsgi-stack", "/post?year=2004&name=a-wsgi-stack"},
		{"a query of its own", "/blog/2004/a?b=%20&c", "/post?year=2004&name=a&b=%20&c"},
		{"names", "/~ada/x/y", "/people/ada/x/y"},
		{"a query that stays", "/~ada/x?a=1", "/people/ada/x?a=1"},
		{"only the first rule", "/blog/x", "/second"},
		{"not a part", "/x/blog/2004/a", "/x/blog/2004/a"},
		{"not the beginning", "/bb", "/bb"},
		{"either", "/b", "/either"},
		{"what matched nothing", "/en", "/lang?lang=en&rest="},
		{"what matched something", "/de/x", "/lang/x?lang=de&rest=%2Fx"},
		{"a dollar", "/price", "/$5?$=$1"},
		{"any case", "/Case", "/case"},
		{"all of it", "/name/a", "/ax/name/a"},
		{"encoded", "/up/a%20b%2Fc%3Fd", "/down/a%20b/c%3Fd"},
		{"a slash at the end", "/slash/", "/slashed/"},
		{"a slash at the end, matched", "/up/a/", "/down/a/"},
		{"only a slash", "/file//", "/"},
		{"another parameter", "/find/a&admin=1%26root=1%23?x=%26", "/search?q=a%26admin%3D1%26root%3D1%23&exact&x=%26"},
		{"up", "/up/../../etc/passwd", "/etc/passwd"},
		{"up, encoded", "/up/%2e%2e/%2e%2e/etc", "/etc"},
		{"two slashes", "/file///evil.example/x", "/evil.example/x"},
		{"a dot", "/up/./a//b", "/down/a/b"},
		{"several lines", "/up/a%0Ab", "/down/a%0Ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, test.url, nil)
			var got string
			wrap(t, Config{rules}, func(_ http.ResponseWriter, r *http.Request) {
				got = r.URL.String()
				if r.RequestURI != test.url {
					t.Errorf("RequestURI is %q", r.RequestURI)
				}
			}).ServeHTTP(httptest.NewRecorder(), r)
			if got != test.want {
				t.Errorf("the app sees %q, want %q", got, test.want)
			}
			if r.URL.String() != test.url {
				t.Errorf("the request given was changed to %q", r.URL)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		rule rule
		want string
	}{
		{"fine", rule{"/(a)(?<b>.)", "/{1}/{b}/{0}/{2}?{b}{1}&{ {}"}, ""},
		{"no expression", rule{"", "/"}, ""}, // "required" says so
		{"an open parenthesis", rule{"/(", "/"}, `match is "/("; it must be a regular expression (missing closing ))`},
		{"one that only looks closed", rule{"/a)|(b", "/"}, `match is "/a)|(b"; it must be a regular expression (unexpected ))`},
		{"a number too high", rule{"/(a)", "/{2}"}, "to refers to {2}; it must be something in parentheses in match"},
		{"a number far too high", rule{"/(a)", "/{99999999999999999999}"}, "to refers to {99999999999999999999}; it must be something in parentheses in match"},
		{"an unknown name", rule{"/(?<a>.)", "/{a}/{b}"}, "to refers to {b}; it must be something in parentheses in match"},
		{"a name in the query", rule{"/(a)", "/?{b}"}, "to refers to {b}; it must be something in parentheses in match"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.rule.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzRewrite looks for paths that get out of where a rule sends them, or add to its query.
func FuzzRewrite(f *testing.F) {
	for _, p := range []string{"", "a", "../x", "a/../../x", "//x", "a&b=c", "\x00", "$1", "%2e%2e"} {
		f.Add(p)
	}
	re, err := compile("/in/(.*)")
	if err != nil {
		f.Fatal(err)
	}
	all := []target{newTarget(re, "/{1}?p={1}&end")}
	f.Fuzz(func(t *testing.T, p string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = "/in/" + p
		to := rewritten(all, r).URL
		if cleaned := path.Clean(to.Path); to.Path != cleaned && to.Path != cleaned+"/" || to.Path[0] != '/' {
			t.Errorf("%q leads to %q", p, to.Path)
		}
		values, err := to.Parse("?" + to.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		if q := values.Query(); len(q) != 2 || q.Get("p") != p {
			t.Errorf("%q leads to the query %q", p, to.RawQuery)
		}
	})
}
