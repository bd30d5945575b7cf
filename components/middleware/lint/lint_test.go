package lint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/response"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component)
}

// site is the middleware around an app, with what it logs and reports.
type site struct {
	wrap registry.Wrap
	log  bytes.Buffer
	catcher
}

// catcher keeps what was reported.
type catcher []failure.Failure

func (c *catcher) Fail(f failure.Failure) { *c = append(*c, f) }

func newSite(t *testing.T, cfg Config) *site {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	s := new(site)
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	s.wrap = i.Product.(registry.Wrap)
	return s
}

// open makes a request as a stack does.
func (s *site) open(method string) *http.Request {
	var base environ.Base
	environ.Matched.Preset(&base, &environ.Route{Patterns: []string{"/page"}})
	r := base.Open(httptest.NewRequest(method, "/page", strings.NewReader("body")))
	failure.Key.Set(r, &s.catcher)
	return r
}

// rules returns the rules that the log tells of.
func (s *site) rules() string {
	var rules []string
	for line := range strings.Lines(s.log.String()) {
		_, rest, _ := strings.Cut(line, "rule=")
		rule, _, _ := strings.Cut(rest, " ")
		rules = append(rules, rule)
	}
	return strings.Join(rules, " ")
}

// text answers with a text as one should.
func text(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "text")
}

func TestInner(t *testing.T) {
	for _, test := range []struct {
		name   string
		method string // GET if empty
		app    http.HandlerFunc
		rules  string
	}{
		{"a text", "", text, ""},
		{"not found", "", http.NotFound, ""},
		{"a file", "", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "lint.go") }, ""},
		{"nothing but a status", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ""},
		{"early hints", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			text(w, r)
		}, ""},
		{"trailers", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum, x-count")
			text(w, r)
			w.Header().Set("X-Sum", "1")
			w.Header().Set("X-Count", "4")
			w.Header().Set(http.TrailerPrefix+"X-Late", "1")
		}, ""},
		{"a failure", "", func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("no")) }, ""},
		{"broken off", "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
		{"a form", http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			text(w, r)
		}, ""},

		{"two statuses", "", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			w.WriteHeader(http.StatusTeapot)
		}, "header-twice"},
		{"a status after the body", "", func(w http.ResponseWriter, r *http.Request) {
			text(w, r)
			w.WriteHeader(http.StatusOK)
		}, "header-twice"},
		{"hints too late", "", func(w http.ResponseWriter, r *http.Request) {
			text(w, r)
			w.WriteHeader(http.StatusEarlyHints)
		}, "informational"},
		{"100", "", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusContinue)
			text(w, r)
		}, "informational"},
		{"a header too late", "", func(w http.ResponseWriter, r *http.Request) {
			text(w, r)
			w.Header().Set("X-Late", "1")
			w.Header().Del("Content-Type")
			_, _ = io.WriteString(w, "more")
		}, "late-header late-header"},
		{"a header too late, at the end", "", func(w http.ResponseWriter, r *http.Request) {
			text(w, r)
			w.Header().Add("Content-Type", "text/html")
		}, "late-header"},
		{"a field's name", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["X Y"] = []string{"1"}
			text(w, r)
		}, "bad-field"},
		{"a field's value", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Y", "1\r\nSet-Cookie: a=b")
			text(w, r)
		}, "bad-field"},
		{"no type", "", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }, "no-content-type"},
		{"no type on purpose", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "text")
		}, ""},
		{"shorter than announced", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5")
			text(w, r)
		}, "content-length"},
		{"a length to HEAD", http.MethodHead, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(http.StatusOK)
		}, ""},
		{"a body to HEAD", http.MethodHead, text, "no-body"},
		{"an error to HEAD", http.MethodHead, http.NotFound, ""},
		{"a body with 304", "", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			text(w, r)
		}, "late-header no-body"},
		{"nothing", "", func(http.ResponseWriter, *http.Request) {}, "no-answer"},
		{"another URL", "", func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/"
			text(w, r)
		}, "request-changed"},
		{"another header", "", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("X-Inner", "1")
			text(w, r)
		}, "request-changed"},
		{"another context", "", func(w http.ResponseWriter, r *http.Request) {
			*r = *r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, 1))
			text(w, r)
		}, "request-changed"},
		{"a panic", "", func(http.ResponseWriter, *http.Request) { panic("boom") }, "panic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, Config{})
			h := s.wrap(test.app)
			for range 2 { // the second time nothing is said
				func() {
					defer func() {
						if p := recover(); (p != nil) != (strings.HasSuffix(test.name, "panic") || strings.HasPrefix(test.name, "broken")) {
							t.Errorf("panicked with %v", p)
						}
					}()
					method := test.method
					if method == "" {
						method = http.MethodGet
					}
					h.ServeHTTP(httptest.NewRecorder(), s.open(method))
				}()
			}
			if got := s.rules(); got != test.rules {
				t.Errorf("found %q; want %q\n%s", got, test.rules, &s.log)
			}
			if len(s.catcher) > 0 && test.name != "a failure" {
				t.Errorf("reported %v", s.catcher)
			}
		})
	}
}

// TestPlace looks whether a finding names the line that is to be changed.
func TestPlace(t *testing.T) {
	s := newSite(t, Config{})
	s.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "text") // this line
	})).ServeHTTP(httptest.NewRecorder(), s.open(http.MethodGet))
	if !strings.Contains(s.log.String(), "lint_test.go:") || !strings.Contains(s.log.String(), "path=/page") {
		t.Errorf("the log says %s", &s.log)
	}
}

// TestAfterReturn uses what belongs to others by then.
func TestAfterReturn(t *testing.T) {
	s := newSite(t, Config{Report: true})
	var late http.ResponseWriter
	var body io.Reader
	w := httptest.NewRecorder()
	s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text(w, r)
		late, body = w, r.Body
	})).ServeHTTP(w, s.open(http.MethodPost))
	late.Header().Set("X-Late", "1")
	late.WriteHeader(http.StatusTeapot)
	if _, err := io.WriteString(late, "late"); err == nil {
		t.Error("a late write went through")
	}
	if _, err := io.Copy(late, strings.NewReader("late")); err == nil {
		t.Error("a late copy went through")
	}
	if err := http.NewResponseController(late).Flush(); err == nil {
		t.Error("a late flush went through")
	}
	if _, err := io.ReadAll(body); err == nil {
		t.Error("a late read went through")
	}
	if got := strings.Count(s.rules(), "after-return"); got != 5 {
		t.Errorf("%d findings; want 5:\n%s", got, &s.log)
	}
	if w.Body.String() != "text" || w.Header().Get("X-Late") != "" || len(s.catcher) > 0 {
		t.Errorf("the response is %v, %q, and %v was reported", w.Header(), w.Body, s.catcher)
	}
}

// opaque hides what is in it.
type opaque struct{ http.ResponseWriter }

func TestOuter(t *testing.T) {
	for _, test := range []struct {
		name  string
		outer func(next http.Handler) http.HandlerFunc
		rules string
	}{
		{"nothing", func(next http.Handler) http.HandlerFunc { return next.ServeHTTP }, ""},
		{"the shared wrapper", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				var own struct{ response.Writer }
				own.Init(w, func() { own.Header().Set("X-Outer", "1") })
				next.ServeHTTP(&own, r)
			}
		}, ""},
		{"a header set while the response goes out", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				var own struct{ response.Writer }
				own.Init(w, func() { own.Header().Del("Content-Type") })
				next.ServeHTTP(&own, r)
				own.Header().Set("X-Outer", "after")
			}
		}, ""},
		{"an opaque writer", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(opaque{w}, r) }
		}, "writer-hides"},
		{"a context of its own", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r.WithContext(context.Background()))
			}
		}, "context-replaced"},
		{"no body", func(next http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				r = r.Clone(r.Context())
				r.Body = nil
				next.ServeHTTP(w, r)
			}
		}, "bad-request"},
		{"a stripped path", func(next http.Handler) http.HandlerFunc {
			return http.StripPrefix("/", next).ServeHTTP
		}, "bad-request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, Config{})
			h := test.outer(s.wrap(http.HandlerFunc(text)))
			h.ServeHTTP(httptest.NewRecorder(), s.open(http.MethodGet))
			if got := s.rules(); got != test.rules {
				t.Errorf("found %q; want %q\n%s", got, test.rules, &s.log)
			}
		})
	}
}

func TestReport(t *testing.T) {
	s := newSite(t, Config{Report: true})
	h := s.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 2 {
		h.ServeHTTP(httptest.NewRecorder(), s.open(http.MethodGet))
	}
	if len(s.catcher) != 1 || !s.catcher[0].Answered || !strings.HasPrefix(s.catcher[0].Err.Error(), "lint: no-answer: ") {
		t.Errorf("reported %v; want the finding, once", s.catcher)
	}
	if needs := (Config{Report: true}).Traits(Component.Traits).Needs; len(needs) != 1 || needs[0].Name() != failure.Key.Name() {
		t.Errorf("it needs %v", needs)
	}
}

// TestInnermost has several around pieces that do the same wrong: the nearest tells.
func TestInnermost(t *testing.T) {
	outer, middle, inner := newSite(t, Config{}), newSite(t, Config{}), newSite(t, Config{})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method = http.MethodPut
		r.URL.Path = "/"
		_, _ = io.WriteString(w, "text")
		w.Header().Set("X-Late", "1")
	})
	mounted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var base environ.Base
		environ.Matched.Preset(&base, &environ.Route{})
		inner.wrap(app).ServeHTTP(w, base.Open(r))
	})
	wrong := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middle.wrap(mounted).ServeHTTP(w, r)
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "2")
	})
	h := outer.wrap(wrong)
	for range 2 {
		h.ServeHTTP(httptest.NewRecorder(), outer.open(http.MethodGet))
	}
	for s, want := range map[*site]string{inner: "no-content-type request-changed late-header", middle: "", outer: "header-twice"} {
		if got := s.rules(); got != want {
			t.Errorf("it found %q, want %q", got, want)
		}
	}
}
