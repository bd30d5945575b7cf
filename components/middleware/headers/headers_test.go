package headers

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "both", Settings: func(*testing.T) Config {
			some := changes{
				Set:    map[string]string{"X-Set": "1"},
				Add:    map[string]string{"X-Added": "1"},
				Remove: []string{"X-Removed"}, Default: map[string]string{"X-Default": "1"},
			}
			return Config{Request: some, Response: some}
		}},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.Handler) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)(app)
}

// edits are what is done to a header, and what comes out.
var edits = []struct {
	name       string
	changes    changes
	have, want http.Header
}{
	{"nothing", changes{}, http.Header{"A": {"1"}}, http.Header{"A": {"1"}}},
	{"set", changes{Set: map[string]string{"a": "2"}}, http.Header{"A": {"1", "1"}}, http.Header{"A": {"2"}}},
	{"set to nothing", changes{Set: map[string]string{"a": ""}}, http.Header{"A": {"1"}}, http.Header{"A": {""}}},
	{"set a new one", changes{Set: map[string]string{"A": "2"}}, http.Header{}, http.Header{"A": {"2"}}},
	{"add", changes{Add: map[string]string{"a": "2"}}, http.Header{"A": {"1"}}, http.Header{"A": {"1", "2"}}},
	{"add a new one", changes{Add: map[string]string{"A": "2"}}, http.Header{}, http.Header{"A": {"2"}}},
	{"remove", changes{Remove: []string{"a", "c"}}, http.Header{"A": {"1", "1"}, "B": {"1"}}, http.Header{"B": {"1"}}},
	{"default", changes{Default: map[string]string{"a": "2", "b": "2"}}, http.Header{"A": {"1"}}, http.Header{"A": {"1"}, "B": {"2"}}},
	{
		"in order",
		changes{
			Remove:  []string{"A", "B", "C"},
			Set:     map[string]string{"A": "set"},
			Add:     map[string]string{"A": "added", "B": "added"},
			Default: map[string]string{"B": "default", "C": "default"},
		},
		http.Header{"A": {"1"}, "B": {"1"}, "C": {"1"}},
		http.Header{"A": {"set", "added"}, "B": {"added"}, "C": {"default"}},
	},
}

func TestRequest(t *testing.T) {
	for _, test := range edits {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = test.have.Clone()
			var got http.Header
			h := wrap(t, Config{Request: test.changes}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
			h.ServeHTTP(httptest.NewRecorder(), r)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the header further in (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.have, r.Header); diff != "" {
				t.Errorf("the request given was changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnderscore looks whether what is removed comes through in a form that many apps can't tell from it.
func TestUnderscore(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{"X-Debug": {"1"}, "X_debug": {"1"}, "X_other": {"1"}}
	h := wrap(t, Config{Request: changes{Remove: []string{"x-debug"}}}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if diff := cmp.Diff(http.Header{"X_other": {"1"}}, r.Header); diff != "" {
			t.Errorf("the header further in (-want +got):\n%s", diff)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), r)
}

// TestClaimed looks whether a client can have a proxy further in drop what is set here.
func TestClaimed(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{"Connection": {"a, b, c, d"}}
	settings := Config{Request: changes{Set: map[string]string{"A": "1"}, Add: map[string]string{"B": "1"}, Default: map[string]string{"C": "1"}}}
	h := wrap(t, settings, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Connection"); got != "d" {
			t.Errorf("for one connection only are %q; want d", got)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func TestResponse(t *testing.T) {
	for _, test := range edits {
		for way, write := range map[string]func(w http.ResponseWriter){
			"nothing written": func(http.ResponseWriter) {},
			"header":          func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
			"body":            func(w http.ResponseWriter) { io.WriteString(w, "body") },
			"flush":           func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, //nolint:errcheck // a recorder can
		} {
			t.Run(test.name+"/"+way, func(t *testing.T) {
				app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					maps.Copy(w.Header(), test.have)
					write(w)
				})
				server := httptest.NewServer(wrap(t, Config{Response: test.changes}, app))
				defer server.Close()
				resp, err := server.Client().Get(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				for _, name := range []string{"Date", "Content-Length", "Content-Type"} {
					resp.Header.Del(name) // net/http's own
				}
				if diff := cmp.Diff(test.want, resp.Header); diff != "" {
					t.Errorf("the header (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestShared looks whether what one response adds to a field is seen by the next.
func TestShared(t *testing.T) {
	outer := wrap(t, Config{Response: changes{Set: map[string]string{"A": "1"}}},
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 2 {
		w := httptest.NewRecorder()
		outer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		w.Header().Add("A", "2")
		if diff := cmp.Diff([]string{"1", "2"}, w.Header()["A"]); diff != "" {
			t.Errorf("the field (-want +got):\n%s", diff)
		}
	}
}

func TestInformational(t *testing.T) {
	h := wrap(t, Config{Response: changes{Remove: []string{"Link"}}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		if w.Header().Get("Link") == "" {
			t.Error("early hints were changed")
		}
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := w.Header().Get("Link"); got != "" {
		t.Errorf("the response has the Link %q", got)
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"fine", Config{Response: changes{Set: map[string]string{"Server": "stackd", "server2": ""}, Remove: []string{"Date"}}}, ""},
		{"host in a response", Config{Response: changes{Remove: []string{"host"}}}, ""},
		{"a name", Config{Request: changes{Set: map[string]string{"A B": "1"}}}, `request.set[A B] has the name "A B"; it must be letters, digits and hyphens`},
		{"no name", Config{Response: changes{Remove: []string{"A", ""}}}, `response.remove[1] has the name ""; it must be letters, digits and hyphens`},
		{"a value", Config{Response: changes{Default: map[string]string{"A": "1\r\nB: 2"}}}, "response.default[A] has a control character; it must be one line of text"},
		{"framing", Config{Response: changes{Remove: []string{"content-length"}}}, "response.remove[0] is there; it must be left to stackd"},
		{"host", Config{Request: changes{Add: map[string]string{"host": "x"}}}, "request.add[host] is there; it must be left to stackd"},
		{"twice", Config{Request: changes{Set: map[string]string{"A": "1", "a": "2"}}}, "request.set[a] is there twice, in other letters; it must be there once"},
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
