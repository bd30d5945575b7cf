package servlet

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
)

// says is a servlet with one text.
type says string

func (s says) Get(w http.ResponseWriter, r *http.Request) error {
	_, err := io.WriteString(w, string(s)+servlet.PathInfo(r))
	return err
}

// deep goes on behind its URL.
type deep struct{ says }

func (deep) TakesPathInfo() bool { return true }

func ref(t testing.TB, v any) registry.Ref[*servlet.Servlet] {
	t.Helper()
	s, err := servlet.New(v)
	if err != nil {
		t.Fatal(err)
	}
	return registry.Bound(s)
}

func settings(t testing.TB) Config {
	t.Helper()
	return Config{Servlets: map[string]registry.Ref[*servlet.Servlet]{
		"hello": ref(t, says("hello")), "notes": ref(t, deep{"notes"}), "v1.2": ref(t, says("dotted")), "gone": {},
	}}
}

func TestComponent(t *testing.T) {
	var cases []registrytest.Case[Config]
	for _, name := range []string{"hello.servlet", "notes.servlet"} {
		cases = append(cases, registrytest.Case[Config]{
			Name:     name,
			Settings: func(t *testing.T) Config { return settings(t) },
			Files:    map[string]string{name: ""},
		})
	}
	registrytest.Run(t, Component, cases...)
}

func TestMake(t *testing.T) {
	f, err := build(nil, settings(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file, body string
		pathInfo   bool
		problem    string
	}{
		{"hello.servlet", "hello/x", false, ""},
		{"a/b/hello.servlet", "hello/x", false, ""},
		{"hello.go", "hello/x", false, ""}, // the finder says which files are servlets
		{"hello", "hello/x", false, ""},
		{"notes.servlet", "notes/x", true, ""},
		{"v1.2.servlet", "dotted/x", false, ""},
		{"a/helo.servlet", "", false, `a/helo.servlet: there is no servlet "helo" among servlets, which has hello, notes, v1.2`},
		{"Hello.servlet", "", false, `Hello.servlet: there is no servlet "Hello" among servlets, which has hello, notes, v1.2`},
		{"gone.servlet", "", false, `gone.servlet: there is no servlet "gone" among servlets, which has hello, notes, v1.2`},
	} {
		t.Run(test.file, func(t *testing.T) {
			app, err := f.Make(&resource.File{Name: test.file})
			if test.problem != "" {
				if err == nil || err.Error() != test.problem {
					t.Errorf("got the error %v, want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			app.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
			if w.Body.String() != test.body || app.PathInfo != test.pathInfo || app.Methods != nil {
				t.Errorf("it says %q, takes path info: %v, methods %q; want %q, %v and none", w.Body, app.PathInfo, app.Methods, test.body, test.pathInfo)
			}
		})
	}
}
