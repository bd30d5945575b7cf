package errors

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// page is an error as of a template: it brings its own place, source and details.
type page struct{ cause error }

func (p *page) Error() string { return "page index.html: " + p.cause.Error() }
func (p *page) Unwrap() error { return p.cause }

func (*page) Frames() []failure.Frame {
	return []failure.Frame{{
		Function: "template index.html", File: "site/index.html", Line: 4, Column: 9, First: 1,
		Source: []string{"<html>", "<body>", "<h1>Start</h1>", "<p>{{.User.Nmae}}</p>", "</body>", "</html>"},
	}}
}

func (*page) Details() []failure.Detail {
	return []failure.Detail{{Title: "Standard error", Text: "warning: token=hunter2 <b>\n"}}
}

// rich is a stack and a request in which everything that can be shown is there, with the
// secret hunter2 wherever one may be.
func rich() (*stack, func(*http.Request)) {
	s := &stack{show: showLoopback}
	environ.Vars.Preset(&s.base, map[string]any{"theme": "solarized", "db": map[string]any{"dsn": "postgres://me:hunter2@db/x", "password": "hunter2"}})
	environ.Matched.Preset(&s.base, &environ.Route{
		Patterns: []string{"/", "/fail"},
		Slots: []environ.Slot{
			{Name: "errors", Component: "errors", Kind: "middleware", Origin: "stack.yaml:12", Settings: []environ.Setting{
				{Name: "show", Value: "loopback", Origin: "stack.yaml:13"}, {Name: "source_lines", Value: "5"},
			}},
			{Name: "guard", Component: "auth_basic", Kind: "middleware", Off: true, Origin: "stack.yaml:15"},
			{Name: "finder", Component: "finder", Kind: "app", Origin: "stack.yaml:17", Settings: []environ.Setting{{Name: "root", Value: "site", Origin: "urls.yaml:3"}}},
		},
	})
	return s, func(r *http.Request) {
		r.URL.RawQuery = "page=7&password=hunter2"
		r.Header.Set("Authorization", "Bearer hunter2")
		r.Header.Set("Cookie", "id=hunter2")
		r.Header.Set("Referer", "http://localhost/login?token=hunter2")
		r.Header.Set("User-Agent", "test")
		r.PostForm = map[string][]string{"name": {"me"}, "passwd": {"hunter2"}}
	}
}

// failRichly fails with an error that has everything.
func failRichly(_ http.ResponseWriter, r *http.Request) {
	cause := fmt.Errorf("render: %w", errors.Join(errors.New("no field Nmae in <User>"), errors.New("get http://me:hunter2@api/: refused")))
	failure.Report(r, failure.WithStatus(&page{cause}, http.StatusBadGateway))
	failure.Report(r, errors.New("could not write the session"))
}

func TestDebugPage(t *testing.T) {
	for _, accepted := range []string{"text/html", "application/json", "text/plain"} {
		t.Run(accepted, func(t *testing.T) {
			s, request := rich()
			w := s.get(t, failRichly, request, accept(accepted))
			text := w.Body.String()
			if strings.Contains(text, "hunter2") {
				t.Errorf("the page tells a secret:\n%s", text)
			}
			wanted := []string{
				"no field Nmae in ", "*errors.page", "could not write the session", // the errors
				"site/index.html", "{{.User.Nmae}}", // the error's own place
				"failRichly", "debug_test.go", "failure.Report(r, failure.WithStatus(", // the code's
				"Standard error", "warning: token=[redacted]",
				"/fail?page=7", "password=[redacted]", "127.0.0.1:4711", "User-Agent", "name", "passwd",
				"theme", "solarized",
				"stack.yaml:13", "urls.yaml:3", "auth_basic", "source_lines",
				w.Header().Get("Incident-Id"),
			}
			for _, want := range wanted {
				escaped := strings.NewReplacer("<", "&lt;", ">", "&gt;", "+", "&#43;").Replace(want)
				if !strings.Contains(text, want) && !strings.Contains(text, escaped) {
					t.Errorf("the page doesn't tell %q:\n%s", want, text)
				}
			}
			if w.Code != http.StatusBadGateway || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %d, %v", w.Code, w.Header())
			}
			if accepted == "text/html" && (strings.Contains(text, "<User>") || strings.Contains(text, "hunter2 <b>")) {
				t.Error("a text isn't escaped")
			}
			if accepted == "application/json" {
				var a answer
				if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
					t.Error(err)
				}
				if a.Status != http.StatusBadGateway || a.Debug == nil || a.Debug.Route == nil {
					t.Errorf("the problem is %+v", a)
				}
			}
		})
	}
}

// TestNotShown proves that one thing out of order is enough to get what everybody gets.
func TestNotShown(t *testing.T) {
	tests := []struct {
		name   string
		show   string
		change func(*http.Request)
	}{
		{"not asked for", showNever, func(*http.Request) {}},
		{"peer elsewhere", showLoopback, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:99" }},
		{"host elsewhere", showLoopback, func(r *http.Request) { r.Host = "example.org" }},
		{"through a proxy", showLoopback, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }},
		{"for another origin", showLoopback, func(r *http.Request) { r.Header.Set("Origin", "https://example.org") }},
	}
	for _, test := range tests {
		for _, accepted := range []string{"text/html", "application/json", "text/plain"} {
			t.Run(test.name+"/"+accepted, func(t *testing.T) {
				s, request := rich()
				s.show = test.show
				text := s.get(t, failRichly, request, accept(accepted), test.change).Body.String()
				for _, inside := range []string{"Nmae", "debug", "site/index.html", "stack.yaml", "User-Agent", "solarized", "hunter2"} {
					if strings.Contains(text, inside) {
						t.Errorf("the page tells %q:\n%s", inside, text)
					}
				}
			})
		}
	}
}

// TestOtherOrigins proves that no other page can read a debug page, even where the app lets
// everybody in.
func TestOtherOrigins(t *testing.T) {
	s := &stack{show: showLoopback}
	w := s.get(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		failure.Report(r, errors.New("boom"))
	})
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" || !strings.Contains(w.Body.String(), "boom") {
		t.Errorf("Access-Control-Allow-Origin: %s on\n%s", got, w.Body)
	}
}

// TestPolicy proves that the pages' own policy lets their style through, and nothing else. With
// go test -artifacts it leaves the pages to be looked at.
func TestPolicy(t *testing.T) {
	for _, show := range []string{showNever, showLoopback} {
		s, request := rich()
		s.show = show
		w := s.get(t, failRichly, request, accept("text/html"))
		if err := os.WriteFile(filepath.Join(t.ArtifactDir(), show+".html"), w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(w.Body.String())
		if found == nil {
			t.Fatal("the page has no style")
		}
		hash := sha256.Sum256([]byte(found[1]))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
		if got := w.Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("the policy is\n%s\nand must be\n%s", got, want)
		}
		if strings.Contains(w.Body.String(), "style=") || strings.Contains(w.Body.String(), "<script") {
			t.Error("the page needs what its policy forbids")
		}
	}
}

// noMap returns nil, without the compiler's tools seeing that it does.
func noMap() map[string]int { return nil }

// TestFailingLine proves that the page shows the very line that failed, first and with its source.
func TestFailingLine(t *testing.T) {
	type cart struct{ items []string }
	tests := []struct {
		name  string
		app   http.HandlerFunc
		line  string // what stands on it
		error string
	}{
		{"index out of range", func(http.ResponseWriter, *http.Request) {
			items := []string{"a", "b"}[:1]
			i := len(items)
			_ = items[i] // the index
		}, "_ = items[i] // the index", "runtime error: index out of range [1] with length 1"},
		{"nil map", func(http.ResponseWriter, *http.Request) {
			m := noMap()
			m["a"] = 1 // the map
		}, `m["a"] = 1 // the map`, "assignment to entry in nil map"},
		{"nil pointer", func(w http.ResponseWriter, _ *http.Request) {
			var c *cart
			fmt.Fprint(w, c.items) // the pointer
		}, "fmt.Fprint(w, c.items) // the pointer", "runtime error: invalid memory address or nil pointer dereference"},
		{"panic with a text", func(http.ResponseWriter, *http.Request) {
			panic("by hand")
		}, `panic("by hand")`, "by hand"},
		{"in the library", func(http.ResponseWriter, *http.Request) {
			_ = strings.Repeat("x", -1)
		}, `_ = strings.Repeat("x", -1)`, "strings: negative Repeat count"},
		{"reported", func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, errors.New("by report"))
		}, `failure.Report(r, errors.New("by report"))`, "by report"},
		{"panicking again", func(http.ResponseWriter, *http.Request) {
			defer func() {
				panic(recover()) // again
			}()
			panic("at first")
		}, "panic(recover()) // again", "at first"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &stack{show: showLoopback}
			w := s.get(t, test.app, accept("application/json"))
			var a answer
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(a.Debug.Error, test.error) {
				t.Errorf("the error is %q; want %q", a.Debug.Error, test.error)
			}
			code := slices.IndexFunc(a.Debug.Stack, func(g group) bool { return g.Origin == fromCode })
			if code < 0 || code > 1 {
				t.Fatalf("the code's frames are group %d of %+v", code, a.Debug.Stack)
			}
			f := a.Debug.Stack[code].Frames[0]
			here := slices.IndexFunc(f.Source, func(l line) bool { return l.Here })
			if here < 0 || strings.TrimSpace(f.Source[here].Text) != test.line || f.Source[here].Number != f.Line {
				t.Errorf("the first frame is %+v; want the line %q", f, test.line)
			}
			if last := a.Debug.Stack[len(a.Debug.Stack)-1]; last.Origin != fromServer {
				t.Errorf("the stack ends with %+v; want what called the catcher", last)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	root := libraryRoot()
	if _, err := os.Stat(filepath.Join(root, "net/http/server.go")); err != nil && root != "" {
		t.Fatalf("the library is at %q: %v", root, err)
	}
	tests := []struct {
		root, function, file string
		want                 bool
	}{
		{"/go/src/", "net/http.HandlerFunc.ServeHTTP", "/go/src/net/http/server.go", true},
		{"/go/src/", "main.main", "/home/dev/main.go", false},
		{"/go/src/", "example.org/m.F", "/home/dev/m/f.go", false},
		{"", "net/http.HandlerFunc.ServeHTTP", "net/http/server.go", true},
		{"", "runtime.gopanic", "runtime/panic.go", true},
		{"", "main.main", "shop/main.go", false},
		{"", "example.org/m.F", "example.org/m@v1.0.0/f.go", false},
	}
	for _, test := range tests {
		if got := isLibrary(test.root, failure.Frame{Function: test.function, File: test.file}); got != test.want {
			t.Errorf("%s in %s, root %q: library %v; want %v", test.function, test.file, test.root, got, test.want)
		}
	}
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("one\n\ttwo\nthree\n"+strings.Repeat("x", 1000)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "secret.env")
	if err := os.WriteFile(other, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name         string
		file         string
		line, around int
		want         string
	}{
		{"the middle", file, 2, 1, "[{1 one false} {2     two true} {3 three false}]"},
		{"no context", file, 2, 0, "[{2     two true}]"},
		{"the beginning", file, 1, 1, "[{1 one true} {2     two false}]"},
		{"a long line", file, 4, 0, "[{4 " + strings.Repeat("x", 300) + "… true}]"},
		{"behind the end", file, 99, 1, "[]"},
		{"no such file", filepath.Join(dir, "b.go"), 1, 1, "[]"},
		{"not Go", other, 1, 1, "[]"},
		{"relative", "a.go", 1, 1, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fmt.Sprint(readSource(failure.Frame{File: test.file, Line: test.line}, test.around)); got != test.want {
				t.Errorf("got %s; want %s", got, test.want)
			}
		})
	}
}

// treacherous is an error that panics when the page is half made.
type treacherous struct{ error }

func (treacherous) Details() []failure.Detail { panic("no details") }

// wordless is an error that can't say what it is.
type wordless struct{}

func (*wordless) Error() string { panic("no text") }

func TestPageFails(t *testing.T) {
	t.Run("a panic gives the least page", func(t *testing.T) {
		var reporter told
		s := &stack{show: showLoopback, reporters: []failure.Reporter{&reporter}}
		w := s.get(t, func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(treacherous{errors.New("boom")}, http.StatusBadGateway))
		}, accept("text/html"))
		if w.Code != 500 || w.Body.String() != "500 Internal Server Error\n\nIncident "+w.Header().Get("Incident-Id")+"\n" {
			t.Errorf("got %d, %q", w.Code, w.Body)
		}
		if !strings.Contains(s.log.String(), "no details") || len(reporter.all()) != 1 || reporter.all()[0].Status != 500 {
			t.Errorf("reported %v; the log:\n%s", reporter.all(), &s.log)
		}
	})
	t.Run("an error without words has a page", func(t *testing.T) {
		s := &stack{show: showLoopback}
		w := s.get(t, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, &wordless{}) })
		if !strings.Contains(w.Body.String(), "PANIC=Error method: no text") {
			t.Errorf("got %s", w.Body)
		}
	})
}

func TestLongTexts(t *testing.T) {
	s := &stack{show: showLoopback}
	w := s.get(t, func(_ http.ResponseWriter, r *http.Request) {
		failure.Report(r, errors.New(strings.Repeat("ä", 1<<20)))
	})
	if w.Body.Len() > 100<<10 || !strings.Contains(w.Body.String(), "… cut off") {
		t.Errorf("the page has %d bytes", w.Body.Len())
	}
}
