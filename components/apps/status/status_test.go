package status

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }

// stack is one that says the same each time.
type stack struct{}

func (stack) Components() []inspect.Component {
	return []inspect.Component{{Kind: "server", Name: "http", Purpose: "accepts <requests>"}, {Kind: "app", Name: "status"}}
}

func (stack) Outline() inspect.Outline {
	return inspect.Outline{
		File: "stack.yaml", Servers: []inspect.Server{{Component: "http", Addresses: []string{":80"}, Origin: "stack.yaml:1"}},
		Slots: []inspect.Slot{{Name: "login", Component: "auth_basic", Origin: "stack.yaml:3", Switched: "stack.yaml:3"}},
		Overrides: []inspect.Override{{
			Pattern: inspect.Pattern{Pattern: "/<a>/", Origin: "stack.yaml:5"},
			Slots:   []inspect.Change{{Slot: "login", Use: "auth_forward", Switch: "on", Origin: "stack.yaml:6", Settings: []inspect.Setting{{Name: "to", Value: "x", Origin: "stack.yaml:7"}}}},
			Vars:    []inspect.Setting{{Name: "theme", Value: "dark", Origin: "stack.yaml:8"}},
		}},
	}
}

func (stack) Explain(method, url string) (inspect.Explanation, error) {
	if url == "bad" {
		return inspect.Explanation{}, errors.New(`"bad" is <not> a URL`)
	}
	return inspect.Explanation{
		Method: method, Path: url,
		Vars:  []inspect.Setting{{Name: "theme", Value: "dark", Overrode: []inspect.Former{{Value: "light", Origin: "stack.yaml:2"}}}},
		Slots: []inspect.Slot{{Name: "finder", Component: "finder", On: true, Origin: "stack.yaml:4", Settings: []inspect.Setting{{Name: "root", Value: "<site>"}}}},
		Found: &inspect.Found{File: "site/a.html", Factory: "static", Note: "a note"},
	}, nil
}

// caught are the failures of a request.
type caught []error

func (c *caught) Fail(f failure.Failure) { *c = append(*c, f.Err) }

func ask(t *testing.T, method, target string, header ...string) (*httptest.ResponseRecorder, caught) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:1234", "localhost:8080"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	var c caught
	r = new(environ.Base).Open(r)
	failure.Key.Set(r, &c)
	inspect.Key.Set(r, stack{})
	w := httptest.NewRecorder()
	serve(w, r)
	return w, c
}

func TestWho(t *testing.T) {
	for _, test := range []struct {
		name, method string
		header       []string
		status       int
		allow        string
	}{
		{"this machine", "GET", nil, 200, ""},
		{"only the header", "HEAD", nil, 200, ""},
		{"what may be asked", "OPTIONS", nil, 204, "GET, HEAD, OPTIONS"},
		{"another method", "POST", nil, 405, "GET, HEAD, OPTIONS"},
		{"through a proxy", "GET", []string{"Via", "1.1 proxy"}, 403, ""},
		{"another method through a proxy", "POST", []string{"X-Forwarded-For", "192.0.2.1"}, 403, ""},
		{"a page of somebody else", "GET", []string{"Origin", "https://example.org"}, 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, _ := ask(t, test.method, "/", test.header...)
			h := w.Header()
			if w.Code != test.status || h.Get("Allow") != test.allow || h.Get("Cache-Control") != "no-store" {
				t.Errorf("it is answered with %d, %v", w.Code, h)
			}
			if body := w.Body.String(); (body == "") != (test.method == "HEAD" || test.status == 204) || strings.Contains(body, "stack.yaml") != (test.status == 200 && body != "") {
				t.Errorf("the body is %q", body)
			}
			if test.status == 403 && !strings.Contains(w.Body.String(), "without a proxy") {
				t.Errorf("it doesn't say why: %q", w.Body)
			}
			if test.method == "HEAD" && h.Get("Content-Length") == "" {
				t.Error("the length isn't told")
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, test := range []struct {
		name, target, accept string
		status               int
		want                 []string
	}{
		{"all", "/", "*/*", 200, []string{`"file": "stack.yaml"`, `"pattern": "/\u003ca\u003e/"`, `"switch": "on"`, `"purpose": "accepts`, `"addresses": [`}},
		{"a URL", "/?explain=/a", "", 200, []string{`"method": "GET"`, `"path": "/a"`, `"overrode": [`, `"file": "site/a.html"`}},
		{"a method", "/?explain=/a&method=post", "application/json", 200, []string{`"method": "POST"`}},
		{"a browser that wants it", "/?explain=/a&format=json", "text/html", 200, []string{`"path": "/a"`}},
		{"no URL", "/?explain=bad", "", 400, []string{`"problem": "\"bad\" is`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, _ := ask(t, "GET", test.target, "Accept", test.accept)
			if w.Code != test.status || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Vary") != "Accept" {
				t.Errorf("it is answered with %d, %v", w.Code, w.Header())
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("it is no JSON: %s", w.Body)
			}
			for _, want := range test.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("there is no %s in %s", want, w.Body)
				}
			}
		})
	}
}

func TestPage(t *testing.T) {
	for _, test := range []struct {
		name, target string
		status       int
		want         []string
	}{
		{"all", "/", 200, []string{"stack.yaml", "/&lt;a&gt;/", "accepts &lt;requests&gt;", "becomes <code>auth_forward</code>", "login.to", "vars.theme", "compiled into"}},
		{"a URL", "/?explain=/a&method=POST", 200, []string{"POST /a", "&lt;site&gt;", "overrode <code>light</code>", "site/a.html", "a note", "<option selected>POST", `value="/a"`, "explain=%2fa&amp;method=POST&amp;format=json"}},
		{"no URL", "/?explain=bad", 400, []string{"&#34;bad&#34; is &lt;not&gt; a URL"}},
		{"marks in the question", `/?explain="><script>`, 200, []string{"&#34;&gt;&lt;script&gt;"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, c := ask(t, "GET", test.target, "Accept", "text/html,*/*;q=0.8")
			if w.Code != test.status || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || len(c) > 0 {
				t.Fatalf("it is answered with %d, %v, %v", w.Code, w.Header(), c)
			}
			for _, want := range test.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("there is no %s in %s", want, w.Body)
				}
			}
			if strings.Contains(w.Body.String(), "<script") {
				t.Error("there is a script")
			}
		})
	}
}

// TestAlone is an app that nobody has put into a stack.
func TestAlone(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:1234", "localhost"
	w := httptest.NewRecorder()
	serve(w, new(environ.Base).Open(r))
	if w.Code != http.StatusNotFound {
		t.Errorf("it is answered with %d: %s", w.Code, w.Body)
	}
}
