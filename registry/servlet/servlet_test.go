package servlet_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
)

// trail is what a servlet's methods did, in order.
type trail struct{ steps []string }

func (t *trail) add(step string) { t.steps = append(t.steps, step) }

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// These have some of the methods each.
type (
	reader  struct{}
	full    struct{}
	whole   struct{}
	careful struct {
		*trail
		awake, get error
		crashes    bool
	}
	form struct{ procedures }
)

func (s reader) Get(w http.ResponseWriter, _ *http.Request) error { return write(w, "get") }

func (s full) Get(w http.ResponseWriter, _ *http.Request) error { return write(w, "get") }
func (s full) Head(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("X-Own", "1")
	return nil
}
func (s full) Post(w http.ResponseWriter, _ *http.Request) error   { return write(w, "post") }
func (s full) Put(w http.ResponseWriter, _ *http.Request) error    { return write(w, "put") }
func (s full) Patch(w http.ResponseWriter, _ *http.Request) error  { return write(w, "patch") }
func (s full) Delete(w http.ResponseWriter, _ *http.Request) error { return write(w, "delete") }
func (s full) Options(w http.ResponseWriter, _ *http.Request) error {
	return write(w, "options")
}

func (s whole) Respond(w http.ResponseWriter, r *http.Request) error { return write(w, r.Method) }

func (s careful) Awake(http.ResponseWriter, *http.Request) error {
	s.add("awake")
	return s.awake
}

func (s careful) Get(w http.ResponseWriter, _ *http.Request) error {
	s.add("get")
	if s.crashes {
		panic("crashed")
	}
	return errors.Join(write(w, "get"), s.get)
}

func (s careful) Sleep(*http.Request) { s.add("sleep") }

func (s form) Post(w http.ResponseWriter, _ *http.Request) error { return write(w, "form") }

func mustNew(t testing.TB, v any) *servlet.Servlet {
	t.Helper()
	s, err := servlet.New(v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMethods(t *testing.T) {
	nothing := procedures{"nothing": servlet.Func(func(*http.Request, struct{}) (any, error) { return nil, nil })}
	const all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	for _, test := range []struct {
		name, method string
		servlet      any
		status       int
		body, allow  string
	}{
		{"get", "GET", reader{}, 200, "get", ""},
		{"head by get", "HEAD", reader{}, 200, "get", ""}, // the server leaves it out
		{"options by themselves", "OPTIONS", reader{}, 204, "", "GET, HEAD, OPTIONS"},
		{"not there", "POST", reader{}, 405, "405 method not allowed\n", "GET, HEAD, OPTIONS"},
		{"unknown", "BREW", reader{}, 405, "405 method not allowed\n", "GET, HEAD, OPTIONS"},
		{"in other letters", "get", reader{}, 405, "405 method not allowed\n", "GET, HEAD, OPTIONS"},

		{"own get", "GET", full{}, 200, "get", ""},
		{"own head", "HEAD", full{}, 200, "", ""},
		{"own post", "POST", full{}, 200, "post", ""},
		{"own put", "PUT", full{}, 200, "put", ""},
		{"own patch", "PATCH", full{}, 200, "patch", ""},
		{"own delete", "DELETE", full{}, 200, "delete", ""},
		{"own options, with Allow", "OPTIONS", full{}, 200, "options", all},
		{"trace isn't among them", "TRACE", full{}, 405, "405 method not allowed\n", all},

		{"respond", "GET", whole{}, 200, "GET", ""},
		{"respond to options", "OPTIONS", whole{}, 200, "OPTIONS", ""},
		{"respond to anything", "BREW", whole{}, 200, "BREW", ""},

		{"procedures alone", "GET", nothing, 405, "405 method not allowed\n", "POST, OPTIONS"},
		{"procedures and a form", "POST", form{nothing}, 200, "form", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, failures := ask(mustNew(t, test.servlet), httptest.NewRequest(test.method, "/", nil))
			if w.Code != test.status || w.Body.String() != test.body || w.Header().Get("Allow") != test.allow || len(failures) > 0 {
				t.Errorf("answered with %d %q, Allow %q, failures %v; want %d %q, Allow %q",
					w.Code, w.Body, w.Header().Get("Allow"), failures, test.status, test.body, test.allow)
			}
		})
	}
	t.Run("procedures beside a form", func(t *testing.T) {
		w, _ := call(t, mustNew(t, form{nothing}), `{"jsonrpc": "2.0", "method": "nothing", "id": 1}`)
		same(t, w.Body.String(), `{"jsonrpc": "2.0", "result": null, "id": 1}`)
	})
}

func TestLife(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name     string
		servlet  careful
		steps    []string
		reported error
		panics   bool
	}{
		{"all is well", careful{}, []string{"awake", "get", "sleep"}, nil, false},
		{"get fails", careful{get: broken}, []string{"awake", "get", "sleep"}, broken, false},
		{"get is done", careful{get: servlet.ErrDone}, []string{"awake", "get", "sleep"}, nil, false},
		{"get panics", careful{crashes: true}, []string{"awake", "get", "sleep"}, nil, true},
		{"awake fails", careful{awake: broken}, []string{"awake"}, broken, false},
		{"awake is done", careful{awake: fmt.Errorf("login: %w", servlet.ErrDone)}, []string{"awake"}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.servlet.trail = new(trail)
			s := mustNew(t, test.servlet)
			defer func() {
				if p := recover(); (p == any("crashed")) != test.panics || p != nil && !test.panics {
					t.Errorf("it panicked with %v", p)
				}
				if diff := cmp.Diff(test.steps, test.servlet.steps); diff != "" {
					t.Errorf("the methods called (-want +got):\n%s", diff)
				}
			}()
			_, failures := ask(s, httptest.NewRequest(http.MethodGet, "/", nil))
			if test.reported == nil && len(failures) > 0 || test.reported != nil && (len(failures) != 1 || !errors.Is(failures[0].Err, test.reported)) {
				t.Errorf("reported %v, want %v", failures, test.reported)
			}
		})
	}
	for _, method := range []string{http.MethodOptions, http.MethodPost} {
		t.Run("not awake for "+method, func(t *testing.T) {
			s := careful{trail: new(trail)}
			ask(mustNew(t, s), httptest.NewRequest(method, "/", nil))
			if len(s.steps) > 0 {
				t.Errorf("it was called: %v", s.steps)
			}
		})
	}
}

// These can't be servlets.
type (
	wrongGet     struct{ http.Client }
	wrongSleep   struct{ reader }
	both         struct{ whole }
	onlyAwake    struct{}
	pointerGet   struct{}
	wrongRPC     struct{ reader }
	wrongPath    struct{ reader }
	wrongAwake   struct{ reader }
	wrongRespond struct{}
)

func (wrongSleep) Sleep()                                        {}
func (both) Get(_ http.ResponseWriter, _ *http.Request) error    { return nil }
func (onlyAwake) Awake(http.ResponseWriter, *http.Request) error { return nil }
func (*pointerGet) Get(http.ResponseWriter, *http.Request) error { return nil }
func (wrongRPC) RPC() map[string]any                             { return nil }
func (wrongPath) TakesPathInfo()                                 {}
func (wrongAwake) Awake(*http.Request) error                     { return nil }
func (wrongRespond) Respond(http.ResponseWriter, *http.Request)  {}

func TestNew(t *testing.T) {
	procedure := servlet.Func(func(*http.Request, struct{}) (any, error) { return nil, nil })
	for _, test := range []struct {
		name    string
		servlet any
		want    []string
	}{
		{"nil", nil, []string{"it is nil; it must be a value with methods"}},
		{"no method", struct{}{}, []string{"has no method that answers; it must have Get, Post or another one"}},
		{"only before and after", onlyAwake{}, []string{"servlet servlet_test.onlyAwake: it has no method that answers"}},
		{"an embedded client", &wrongGet{}, []string{"its method Get is a func(string) (*http.Response, error); it must be a func(http.ResponseWriter, *http.Request) error", "its method Head is", "its method Post is"}},
		{"method of the pointer", pointerGet{}, []string{"its method Get is that of a pointer; New must be given the pointer"}},
		{"sleep", wrongSleep{}, []string{"its method Sleep is a func(); it must be a func(*http.Request)"}},
		{"awake", wrongAwake{}, []string{"its method Awake is a func(*http.Request) error"}},
		{"path info", wrongPath{}, []string{"its method TakesPathInfo is a func(); it must be a func() bool"}},
		{"respond", wrongRespond{}, []string{"its method Respond is a func(http.ResponseWriter, *http.Request); it must be a func(http.ResponseWriter, *http.Request) error"}},
		{"RPC", wrongRPC{}, []string{"its method RPC is a func() map[string]interface {}; it must be a func() servlet.RPC"}},
		{"respond and get", both{}, []string{"it has Respond, which takes every request, and others that answer; it must have one or the others"}},
		{"no procedures", procedures{}, []string{"RPC has no procedures; it must have at least one"}},
		{"reserved name", procedures{"rpc.x": procedure}, []string{`procedure "rpc.x": its name must not begin with "rpc."`}},
		{"empty procedure", procedures{"x": {}}, []string{`procedure "x" is empty; it must be made by Func`}},
		{"params of another type", procedures{
			"a": servlet.Func(func(*http.Request, int) (any, error) { return nil, nil }),
			"b": servlet.Func(func(*http.Request, map[int]int) (any, error) { return nil, nil }),
			"c": servlet.Func(func(*http.Request, struct{ operands }) (any, error) { return nil, nil }),
		}, []string{
			`procedure "a": its params are of the type int; they must be a struct, a slice, or a map with strings for keys`,
			`procedure "b": its params are of the type map[int]int`,
			`procedure "c": its params embed operands; they must not`,
		}},
		{"negative limit", &calculator{limits: servlet.RPC{MaxBatch: -1}}, []string{"RPC has a negative limit; it must be 0 or above"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := servlet.New(test.servlet)
			if err == nil {
				t.Fatal("it is a servlet")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New: %v; want it to say %s", err, want)
				}
			}
		})
	}
}

func TestProcedures(t *testing.T) {
	_, s := newCalculator(t, servlet.RPC{})
	if got := s.Procedures(); len(got) != 16 || !slices.IsSorted(got) || got[0] != "abort" {
		t.Errorf("the procedures are %q", got)
	}
	if got := mustNew(t, reader{}).Procedures(); len(got) > 0 {
		t.Errorf("one without RPC has the procedures %q", got)
	}
}

// deep says what its URL goes on with.
type deep struct{}

func (deep) TakesPathInfo() bool { return true }

func (deep) Get(w http.ResponseWriter, r *http.Request) error { return write(w, servlet.PathInfo(r)) }

func TestPathInfo(t *testing.T) {
	s := mustNew(t, deep{})
	if !s.TakesPathInfo() || mustNew(t, reader{}).TakesPathInfo() {
		t.Error("TakesPathInfo isn't what the value says")
	}
	for name, test := range map[string]struct {
		match *resource.Match
		want  string
	}{
		"a file":           {&resource.Match{ScriptName: "/notes", PathInfo: "/7"}, "/7"},
		"the file itself":  {&resource.Match{ScriptName: "/notes/7"}, ""},
		"no file: the app": {nil, "/notes/7"},
	} {
		r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/notes/7", nil))
		if test.match != nil {
			resource.Key.Set(r, test.match)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Body.String() != test.want {
			t.Errorf("%s: the path info is %q, want %q", name, w.Body, test.want)
		}
	}
}
