package template_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/factories/template"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/session"
)

// site is a folder of pages with the factory that renders them.
type site struct {
	t       *testing.T
	dir     string // with the folders site and layouts
	factory resource.Factory
	base    environ.Base
}

// newSite makes a site of files, whose names begin with site/ or layouts/. Edit changes the
// default settings.
func newSite(t *testing.T, files map[string]string, edit func(*template.Config)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	for name, text := range files {
		s.write(name, text)
	}
	cfg := template.Component.Default
	cfg.Revalidate = 0
	if _, err := os.Stat(filepath.Join(s.dir, "layouts")); err == nil {
		cfg.Layouts = registry.Path(filepath.Join(s.dir, "layouts"))
	}
	if edit != nil {
		edit(&cfg)
	}
	s.factory = open(t, cfg)
	return s
}

func open(t *testing.T, cfg template.Config) resource.Factory {
	t.Helper()
	reg, err := registry.New(template.Component)
	if err != nil {
		t.Fatal(err)
	}
	def := reg.Lookup(registry.KindFactory, "template")
	if problems := def.Check(&cfg); len(problems) > 0 {
		t.Fatal(problems)
	}
	i, err := def.Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(resource.Factory)
}

func (s *site) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) app(name string) (resource.App, error) {
	s.t.Helper()
	root := filepath.Join(s.dir, "site")
	tree, err := os.OpenRoot(root)
	if err != nil {
		s.t.Fatal(err)
	}
	defer tree.Close()
	info, err := tree.Stat(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.factory.Make(&resource.File{FS: tree.FS(), Name: name, Info: info, Root: root})
}

// sink is a catcher that only remembers.
type sink struct{ failures []failure.Failure }

func (s *sink) Fail(f failure.Failure) { s.failures = append(s.failures, f) }

func (s *sink) err() error {
	if len(s.failures) == 0 {
		return nil
	}
	return s.failures[0].Err
}

// serve asks a page for r and returns what it answered and what it reported.
func (s *site) serve(name string, r *http.Request) (*httptest.ResponseRecorder, error) {
	s.t.Helper()
	app, err := s.app(name)
	if err != nil {
		return nil, err
	}
	var caught sink
	r = s.base.Open(r)
	failure.Key.Set(r, &caught)
	w := httptest.NewRecorder()
	app.Handler.ServeHTTP(w, r)
	if err := caught.err(); err != nil {
		if len(w.Header()) > 0 || w.Body.Len() > 0 {
			s.t.Errorf("a page that failed sent the header %v and %q", w.Header(), w.Body)
		}
		return nil, err
	}
	return w, nil
}

// text is the body of a page, which must not fail.
func (s *site) text(name string) string {
	s.t.Helper()
	res, err := s.serve(name, httptest.NewRequest("GET", "/"+name, nil))
	if err != nil {
		s.t.Fatal(err)
	}
	return res.Body.String()
}

// visitor is a session in memory.
type visitor map[string]any

func (v visitor) Get(key string) (any, error) {
	if key == "broken" {
		return nil, errors.New("the store is gone")
	}
	return v[key], nil
}
func (v visitor) Set(key string, value any) error { v[key] = value; return nil }
func (v visitor) Delete(key string) error         { delete(v, key); return nil }
func (v visitor) Keys() ([]string, error)         { return slices.Sorted(maps.Keys(v)), nil }
func (v visitor) Renew() error                    { v["renewed"] = true; return nil }
func (v visitor) Destroy() error                  { clear(v); return nil }

func TestData(t *testing.T) {
	route := &environ.Route{
		Patterns: []string{"/admin/"},
		Slots:    []environ.Slot{{Name: "errors"}, {Name: "pages", Component: "finder", Settings: []environ.Setting{{Name: "root", Value: "site"}}}},
	}
	for _, tt := range []struct{ name, page, want string }{
		{"path", `{{.Path}}`, "/wiki/Some%20Topic"},
		{"path info", `{{.PathInfo}}`, "/Some Topic"},
		{"query", `{{.Query.Get "q"}}|{{.Query.Get "none"}}`, "a b|"},
		{"method", `{{.Request.Method}}`, "GET"},
		{"host", `{{.Request.Host}}`, "example.org"},
		{"protocol", `{{.Request.Proto}}`, "HTTP/1.1"},
		{"peer", `{{.Request.RemoteAddr}}`, "192.0.2.1:1234"},
		{"url", `{{.Request.URL.RawQuery}}`, "q=a&#43;b"},
		{"header", `{{.Request.Header.Get "x-color"}}`, "blue"},
		{"cookie", `{{.Request.Cookie "taste"}}|{{.Request.Cookie "none"}}`, "sweet|"},
		{"header is a copy", `{{.Request.Header.Set "X-Color" "red"}}`, "error"},
		{"vars", `{{.Vars.theme}}|{{.Vars.none}}`, "dark|"},
		{"route", `{{range .Route.Slots}}{{.Name}} {{.Component}}{{range .Settings}} {{.Name}}={{.Value}}{{end}};{{end}}`, "errors ;pages finder root=site;"},
		{"patterns", `{{join ", " .Route.Patterns}}`, "/admin/"},
		{"session get", `{{.Session.Get "name"}}|{{.Session.Get "none"}}`, "Ada|"},
		{"session set", `{{.Session.Set "name" "Eve"}}{{.Session.Get "name"}}`, "Eve"},
		{"session add", `{{.Session.Add "count" 1}} {{.Session.Add "count" 2}}`, "42 44"},
		{"session delete", `{{.Session.Delete "name"}}{{.Session.Keys}}`, "[count]"},
		{"session renew", `{{.Session.Renew}}{{.Session.Get "renewed"}}`, "true"},
		{"session destroy", `{{.Session.Destroy}}{{.Session.Keys}}`, "[]"},
		{"session is true", `{{if .Session}}yes{{else}}no{{end}}`, "yes"},
		{"session of another type", `{{.Session.Add "name" 1}}`, "error"},
		{"session without store", `{{.Session.Get "broken"}}`, "error"},
		{"now", `{{with date "2006" .Now}}{{eq . (date "2006" $.Now)}}{{end}}`, "true"},
		{"default", `{{.Vars.none | default "light"}} {{.Vars.theme | default "light"}}`, "light dark"},
		{"case", `{{upper "a"}}{{lower "B"}}`, "Ab"},
		{"join", `{{join "-" .Vars.list}}{{join "-" .Vars.none}}`, "1-two"},
		{"join of no list", `{{join "-" 1}}`, "error"},
		{"fail", `before {{fail "on purpose"}}`, "error"},
		{"html is escaped", `<a title="{{.Vars.evil}}">{{.Vars.evil}}</a>`, `<a title="&lt;b&gt;&#34;">&lt;b&gt;&#34;</a>`},
		{"script is escaped", `<script>x = {{.Vars.evil}}</script>`, `<script>x = "\u003cb\u003e\""</script>`},
		{"range over zero", `{{range 0}}x{{else}}none{{end}}`, "none"},
		{"range", `{{range $i, $x := .Vars.list}}{{$i}}={{.}} {{end}}`, "0=1 1=two "},
		{"range in an attribute", `<p class="{{range .Vars.list}} {{.}}{{end}}">`, `<p class=" 1 two">`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"site/wiki": tt.page}, nil)
			environ.Vars.Preset(&s.base, map[string]any{"theme": "dark", "evil": `<b>"`, "list": []any{1, "two"}})
			environ.Matched.Preset(&s.base, route)
			session.Key.Preset(&s.base, visitor{"name": "Ada", "count": 41})
			resource.Key.Preset(&s.base, &resource.Match{ScriptName: "/wiki", PathInfo: "/Some Topic"})
			r := httptest.NewRequest("GET", "/wiki/Some%2520Topic?q=a+b", nil)
			r.Host = "example.org"
			r.Header.Set("X-Color", "blue")
			r.AddCookie(&http.Cookie{Name: "taste", Value: "sweet"})
			res, err := s.serve("wiki", r)
			got := "error"
			if err == nil {
				got = res.Body.String()
			}
			if got != tt.want {
				t.Errorf("%s is %q (%v); it must be %q", tt.page, got, err, tt.want)
			}
			if r.Header.Get("X-Color") != "blue" {
				t.Error("the page changed the request")
			}
		})
	}
}

func TestWithoutSession(t *testing.T) {
	for _, tt := range []struct{ name, page, want string }{
		{"if", `{{if .Session}}yes{{else}}no{{end}}`, "no"},
		{"get", `[{{.Session.Get "name"}}]`, "[]"},
		{"keys", `{{len .Session.Keys}}`, "0"},
		{"delete", `{{.Session.Delete "name"}}{{.Session.Destroy}}ok`, "ok"},
		{"set", `{{.Session.Set "name" 1}}`, "error"},
		{"add", `{{.Session.Add "count" 1}}`, "error"},
		{"renew", `{{.Session.Renew}}`, "error"},
		{"route", `{{if .Route}}yes{{else}}no{{end}}`, "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"site/a": tt.page}, nil)
			res, err := s.serve("a", httptest.NewRequest("GET", "/a", nil))
			got := "error"
			if err == nil {
				got = res.Body.String()
			}
			if got != tt.want {
				t.Errorf("%s is %q (%v); it must be %q", tt.page, got, err, tt.want)
			}
		})
	}
}

func TestLayouts(t *testing.T) {
	layouts := map[string]string{
		"layouts/base.html":       `[{{block "title" .}}Site{{end}}|{{template "parts/nav.html" .}}|{{block "main" .}}empty{{end}}]`,
		"layouts/zebra.html":      `({{block "title" .}}Zebra{{end}}|{{block "main" .}}none{{end}})`,
		"layouts/parts/nav.html":  `nav {{.Path}}`,
		"layouts/parts/defs.html": `{{define "sign"}}signed{{end}}`,
		"layouts/.hidden":         `{{broken`,
		"layouts/base.html~":      `{{broken`,
		"layouts/#base.html#":     `{{broken`,
	}
	for _, tt := range []struct{ name, layout, page, want string }{
		{"body is main", "base.html", `<p>{{.Path}}`, "[Site|nav /p|<p>/p]"},
		{"main is defined", "base.html", `{{define "main"}}own{{end}} {{/* space */}} `, "[Site|nav /p|own]"},
		{"title too", "base.html", "{{define \"title\"}}Mine{{end}}\ntext", "[Mine|nav /p|\ntext]"},
		{"empty page", "base.html", ``, "[Site|nav /p|empty]"},
		{"shared definition", "base.html", `{{template "sign"}}`, "[Site|nav /p|signed]"},
		{"other layout", "base.html", `{{define "layout"}} zebra.html {{end}}x`, "(Zebra|x)"},
		{"own layout wins over later files", "base.html", `x`, "[Site|nav /p|x]"},
		{"no layout for this one", "base.html", `{{define "layout"}}{{end}}x{{template "parts/nav.html" .}}`, "xnav /p"},
		{"none by default", "", `x`, "x"},
		{"main is defined, and no layout", "", "{{define \"main\"}}own{{end}}\n", "own"},
		{"main is used, and no layout", "", `{{define "main"}}own{{end}}({{template "main"}})`, "(own)"},
		{"layout without default", "", `{{define "layout"}}zebra.html{{end}}x`, "(Zebra|x)"},
		{"layout used as a page's name", "base.html", `{{define "base.html"}}replaced {{template "main" .}}{{end}}x`, "replaced x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := maps.Clone(layouts)
			files["site/p"] = tt.page
			s := newSite(t, files, func(c *template.Config) { c.Layout = tt.layout })
			if got := s.text("p"); got != tt.want {
				t.Errorf("the page is %q; it must be %q", got, tt.want)
			}
		})
	}
}

func TestLayoutChanges(t *testing.T) {
	s := newSite(t, map[string]string{
		"layouts/base.html": `one {{template "main" .}}`,
		"site/p":            `x`,
	}, func(c *template.Config) { c.Layout = "base.html" })
	app, err := s.app("p")
	if err != nil {
		t.Fatal(err)
	}
	get := func() string {
		var caught sink
		r := new(environ.Base).Open(httptest.NewRequest("GET", "/p", nil))
		failure.Key.Set(r, &caught)
		w := httptest.NewRecorder()
		app.Handler.ServeHTTP(w, r)
		if err := caught.err(); err != nil {
			return err.Error()
		}
		return w.Body.String()
	}
	for _, step := range []struct {
		name, layout, want string
	}{
		{"as made", "", "one x"},
		{"edited", `three {{template "main" .}}`, "three x"},
		{"broken", `three {{template "main" .}`, `template: layouts/base.html:1: bad character U+007D '}'`},
		{"mended", `{{template "main" .}} again`, "x again"},
	} {
		if step.layout != "" {
			s.write("layouts/base.html", step.layout)
		}
		if got := get(); got != step.want {
			t.Errorf("%s: the page is %q; it must be %q", step.name, got, step.want)
		}
	}
	s.write("layouts/new.html", "new")
	if err := os.Remove(filepath.Join(s.dir, "layouts/base.html")); err != nil {
		t.Fatal(err)
	}
	if got, want := get(), `the layout isn't in the folder layouts: it is "base.html"; it must be one of new.html`; got != want {
		t.Errorf("the page is %q; it must be %q", got, want)
	}
}

// TestLayoutOfTheSameTime proves that a change is noticed which neither a file's time nor its size tells, as files from
// a package have one time all.
func TestLayoutOfTheSameTime(t *testing.T) {
	long := time.Unix(1, 0)
	for name, at := range map[string]time.Time{"overwritten at once": time.Now(), "exchanged": long} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, map[string]string{"layouts/base.html": "one", "site/p": ""}, func(c *template.Config) { c.Layout = "base.html" })
			layout := filepath.Join(s.dir, "layouts/base.html")
			for _, text := range []string{"one", "two"} {
				if at.Equal(long) {
					s.write("layouts/.new", text)
					if err := os.Rename(filepath.Join(s.dir, "layouts/.new"), layout); err != nil {
						t.Fatal(err)
					}
				} else {
					s.write("layouts/base.html", text)
				}
				if err := os.Chtimes(layout, at, at); err != nil {
					t.Fatal(err)
				}
				if got := s.text("p"); got != text {
					t.Errorf("the page is %q; it must be %q", got, text)
				}
			}
		})
	}
}

// TestFolderExchanged proves that a folder of layouts which is a link to the current release is followed to the next one.
func TestFolderExchanged(t *testing.T) {
	s := newSite(t, map[string]string{"1/layouts/base.html": "one", "2/layouts/base.html": "two", "site/page": ""}, nil)
	current := filepath.Join(s.dir, "current")
	release := func(name string) {
		t.Helper()
		if err := os.Symlink(name, current+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(current+".new", current); err != nil {
			t.Fatal(err)
		}
	}
	release("1")
	cfg := template.Component.Default
	cfg.Revalidate, cfg.Layouts, cfg.Layout = 0, registry.Path(filepath.Join(current, "layouts")), "base.html"
	s.factory = open(t, cfg)
	if got := s.text("page"); got != "one" {
		t.Fatalf("the page is %q", got)
	}
	release("2")
	if err := os.RemoveAll(filepath.Join(s.dir, "1")); err != nil {
		t.Fatal(err)
	}
	if got := s.text("page"); got != "two" {
		t.Errorf("the page is %q; it must be that of the new release", got)
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if got := s.text("page"); got != "two" {
		t.Errorf("the page is %q; it must be that of the new release, for as long as there is no other", got)
	}
}

func TestRevalidate(t *testing.T) {
	s := newSite(t, map[string]string{"layouts/base.html": `one`, "site/p": ``}, func(c *template.Config) {
		c.Layout = "base.html"
		c.Revalidate = time.Hour
	})
	if got := s.text("p"); got != "one" {
		t.Fatalf("the page is %q", got)
	}
	s.write("layouts/base.html", "changed")
	if got := s.text("p"); got != "one" {
		t.Errorf("the page is %q; the layouts must not be looked at before an hour has passed", got)
	}
}

func TestErrors(t *testing.T) {
	type place struct {
		Function, File string
		Line, Column   int
		At             string // the source line
	}
	base := "<html>\n{{block \"main\" .}}{{end}}\n{{template \"foot.html\" .}}\n"
	page := func(line, column int, at string) place {
		return place{`template "/p.html"`, "site/p.html", line, column, at}
	}
	for _, tt := range []struct {
		name   string
		layout string
		files  map[string]string
		want   string
		frames []place
	}{
		{
			name:   "parse",
			files:  map[string]string{"site/p.html": "a\nb\n{{if}}\nc\n"},
			want:   "template: /p.html:3: missing value for if",
			frames: []place{page(3, 0, "{{if}}")},
		},
		{
			name:   "unknown function",
			files:  map[string]string{"site/p.html": "{{nosuch}}"},
			want:   `template: /p.html:1: function "nosuch" not defined`,
			frames: []place{page(1, 0, "{{nosuch}}")},
		},
		{
			name:   "unknown template",
			files:  map[string]string{"site/p.html": "\n{{template \"none\"}}"},
			want:   `html/template:/p.html:2:11: no such template "none"`,
			frames: []place{page(2, 12, `{{template "none"}}`)},
		},
		{
			name:   "unknown field",
			files:  map[string]string{"site/p.html": "a\r\n  {{.Nosuch}}\r\nb"},
			want:   `template: /p.html:2:4: executing "/p.html" at <.Nosuch>: can't evaluate field Nosuch in type *template.data`,
			frames: []place{page(2, 5, "  {{.Nosuch}}")},
		},
		{
			name:   "called function",
			files:  map[string]string{"site/p.html": "{{fail \"on purpose\"}}"},
			want:   `template: /p.html:1:2: executing "/p.html" at <fail "on purpose">: error calling fail: on purpose`,
			frames: []place{page(1, 3, `{{fail "on purpose"}}`)},
		},
		{
			name:   "escaping",
			files:  map[string]string{"site/p.html": "<a href=\"{{if .Path}}x'{{else}}y\"{{end}}>"},
			want:   "html/template:/p.html:1:14: {{if}} branches end in different contexts: ",
			frames: []place{page(1, 15, "<a href=\"{{if .Path}}x'{{else}}y\"{{end}}>")},
		},
		{
			name:   "in the page through its layout",
			layout: "base.html",
			files:  map[string]string{"site/p.html": "x\n{{.Nosuch}}", "layouts/base.html": base, "layouts/foot.html": ""},
			want:   `template: /p.html:2:2: executing "main" at <.Nosuch>: can't evaluate field Nosuch in type *template.data`,
			frames: []place{
				{`template "main"`, "site/p.html", 2, 3, "{{.Nosuch}}"},
				{`template "base.html"`, "layouts/base.html", 2, 9, `{{block "main" .}}{{end}}`},
			},
		},
		{
			name:   "in a shared file",
			layout: "base.html",
			files:  map[string]string{"site/p.html": "x", "layouts/base.html": base, "layouts/foot.html": "{{.Nosuch}}"},
			want:   `template: layouts/foot.html:1:2: executing "foot.html" at <.Nosuch>: can't evaluate field Nosuch in type *template.data`,
			frames: []place{
				{`template "foot.html"`, "layouts/foot.html", 1, 3, "{{.Nosuch}}"},
				{`template "base.html"`, "layouts/base.html", 3, 12, `{{template "foot.html" .}}`},
			},
		},
		{
			name:   "in a file included twice",
			files:  map[string]string{"site/p.html": "{{template \"foot.html\" .}}{{template \"foot.html\" .}}", "layouts/foot.html": "{{.Nosuch}}"},
			want:   `template: layouts/foot.html:1:2: executing "foot.html" at <.Nosuch>: can't evaluate field Nosuch in type *template.data`,
			frames: []place{{`template "foot.html"`, "layouts/foot.html", 1, 3, "{{.Nosuch}}"}},
		},
		{
			name:   "in a script",
			files:  map[string]string{"site/p.html": "<script>{{template \"foot.html\" .}}</script>", "layouts/foot.html": "{{.Nosuch}}"},
			want:   `template: layouts/foot.html:1:2: executing "foot.html$htmltemplate_stateJS_elementScript" at <.Nosuch>: can't evaluate field Nosuch in type *template.data`,
			frames: []place{{`template "foot.html"`, "layouts/foot.html", 1, 3, "{{.Nosuch}}"}, page(1, 20, "<script>{{template \"foot.html\" .}}</script>")},
		},
		{
			name:   "in the layout's syntax",
			layout: "base.html",
			files:  map[string]string{"site/p.html": "x", "layouts/base.html": "<p>\n{{end}}"},
			want:   "template: layouts/base.html:2: unexpected {{end}}",
			frames: []place{{`template "layouts/base.html"`, "layouts/base.html", 2, 0, "{{end}}"}},
		},
		{
			name:   "stray text",
			layout: "base.html",
			files:  map[string]string{"site/p.html": "{{define \"main\"}}x{{end}}\n\nstray", "layouts/base.html": base},
			want:   `template: /p.html:1:25: this stands outside of the definitions; it must be in one, since the page defines "main"`,
			frames: []place{page(1, 26, "{{define \"main\"}}x{{end}}")},
		},
		{
			name:   "unknown layout",
			layout: "nosuch.html",
			files:  map[string]string{"site/p.html": "x", "layouts/base.html": base},
			want:   `the layout isn't in the folder layouts: it is "nosuch.html"; it must be one of base.html`,
		},
		{
			name:   "unknown layout of the page",
			files:  map[string]string{"site/p.html": "\n{{define \"layout\"}}nosuch.html{{end}}", "layouts/base.html": base},
			want:   `template: /p.html:2:19: the layout isn't in the folder layouts: it is "nosuch.html"; it must be one of base.html`,
			frames: []place{page(2, 20, "{{define \"layout\"}}nosuch.html{{end}}")},
		},
		{
			name:   "recursion without end",
			files:  map[string]string{"site/p.html": `{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}`},
			want:   `template: /p.html:1:25: executing "a" at <{{template "a" .}}>: exceeded maximum template depth (100000)`,
			frames: []place{{`template "a"`, "site/p.html", 1, 26, `{{define "a"}}{{template "a" .}}{{end}}{{template "a" .}}`}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.files, func(c *template.Config) { c.Layout = tt.layout })
			_, err := s.serve("p.html", httptest.NewRequest("GET", "/p.html", nil))
			if err == nil {
				t.Fatal("the page doesn't fail")
			}
			if got := err.Error(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("the error is\n%s\nit must be\n%s", got, tt.want)
			}
			var got []place
			if traced, ok := errors.AsType[failure.Traced](err); ok {
				for _, f := range traced.Frames() {
					file, err := filepath.Rel(s.dir, f.File)
					if err != nil {
						t.Fatal(err)
					}
					p := place{Function: f.Function, File: filepath.ToSlash(file), Line: f.Line, Column: f.Column}
					if i := f.Line - f.First; i >= 0 && i < len(f.Source) {
						p.At = f.Source[i]
					}
					got = append(got, p)
				}
			}
			if diff := cmp.Diff(tt.frames, got); diff != "" {
				t.Errorf("frames (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSourceAround(t *testing.T) {
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "line %d\n", i+1)
	}
	s := newSite(t, map[string]string{"site/p": text.String() + "{{fail \"x\"}}\nlast\n"}, nil)
	_, err := s.serve("p", httptest.NewRequest("GET", "/p", nil))
	traced, ok := errors.AsType[failure.Traced](err)
	if !ok {
		t.Fatalf("the error is %v; it must be traced", err)
	}
	f := traced.Frames()[0]
	want := []string{"line 16", "line 17", "line 18", "line 19", "line 20", `{{fail "x"}}`, "last"}
	if diff := cmp.Diff(want, f.Source); diff != "" || f.First != 16 {
		t.Errorf("the first line is %d; it must be 16; lines (-want +got):\n%s", f.First, diff)
	}
}

func TestResponse(t *testing.T) {
	for _, tt := range []struct {
		name, page string
		status     int
		header     map[string]string
		fails      string
	}{
		{name: "plain", page: `abc`, status: 200, header: map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Content-Length": "3", "X-Content-Type-Options": "nosniff",
		}},
		{name: "status", page: `abc{{.Status 404}}`, status: 404},
		{name: "header", page: `{{.SetHeader "x-robots-tag" "none"}}`, status: 200, header: map[string]string{"X-Robots-Tag": "none"}},
		{name: "type", page: `{{.SetHeader "Content-Type" "application/xml"}}`, status: 200, header: map[string]string{"Content-Type": "application/xml"}},
		{name: "header removed", page: `{{.SetHeader "X-Content-Type-Options" ""}}`, status: 200, header: map[string]string{"X-Content-Type-Options": ""}},
		{name: "redirect", page: `abc{{.SetHeader "X-A" "b"}}{{.Redirect "/there?a=b"}}{{fail "not reached"}}`, status: 303, header: map[string]string{"Location": "/there?a=b", "X-A": "b"}},
		{name: "redirect to a path that is no host", page: `{{.Redirect ".//example.org"}}`, status: 303, header: map[string]string{"Location": "/example.org"}},
		{name: "redirect from within", page: `{{define "a"}}{{.Redirect "/x"}}{{end}}{{range .Vars.list}}{{template "a" $}}{{end}}{{template "a" .}}`, status: 303},
		{name: "status too low", page: `{{.Status 101}}`, fails: "the status is 101; it must be from 200 to 599"},
		{name: "status without a body", page: `{{.Status 304}}`, fails: "the status is 304"},
		{name: "header name", page: `{{.SetHeader "a b" "c"}}`, fails: `the header field is "a b"`},
		{name: "header value", page: "{{.SetHeader \"a\" \"c\\r\\nd: e\"}}", fails: "the value of a is"},
		{name: "framing", page: `{{.SetHeader "content-length" "1"}}`, fails: "the header field is Content-Length"},
		{name: "redirect nowhere", page: `{{.Redirect ""}}`, fails: `the redirect goes to ""`},
		{name: "redirect in another disguise", page: `{{.Redirect "/\t/example.org"}}`, fails: `the redirect goes to "/\t/example.org"`},
		{name: "redirect in disguise", page: `{{.Redirect "/\\example.org"}}`, fails: `the redirect goes to "/\\example.org"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"site/p": tt.page}, nil)
			res, err := s.serve("p", httptest.NewRequest("GET", "/p", nil))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("the error is %v; it must say %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Code != tt.status {
				t.Errorf("the status is %d; it must be %d", res.Code, tt.status)
			}
			for name, want := range tt.header {
				if got := res.Header().Get(name); got != want {
					t.Errorf("%s is %q; it must be %q", name, got, want)
				}
			}
		})
	}
}

// TestRelativeRedirect proves that a redirect which is relative to the page holds where the stack is mounted.
func TestRelativeRedirect(t *testing.T) {
	for to, want := range map[string]string{
		"b": "/m/sub/b", "../b?c=d": "/m/b?c=d", "?page=2": "/m/sub/p?page=2", "ü": "/m/sub/%C3%BC",
		"/b": "/b", "https://example.org/b": "https://example.org/b", "//example.org/b": "//example.org/b",
	} {
		s := newSite(t, map[string]string{"site/sub/p": fmt.Sprintf("{{.Redirect %q}}", to)}, nil)
		environ.Prefix.Preset(&s.base, "/m")
		res, err := s.serve("sub/p", httptest.NewRequest("GET", "/sub/p", nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header().Get("Location"); got != want {
			t.Errorf("%s leads to %q; want %q", to, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	s := newSite(t, map[string]string{"site/p": "abc"}, nil)
	res, err := s.serve("p", httptest.NewRequest("HEAD", "/p", nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header().Get("Content-Length"); got != "3" {
		t.Errorf("Content-Length is %q; it must be that of GET, 3", got)
	}
	if got := res.Body.String(); got != "" {
		t.Errorf("the body is %q; HEAD must have none", got)
	}
}

func TestForm(t *testing.T) {
	var upload bytes.Buffer
	multi := multipart.NewWriter(&upload)
	if err := multi.WriteField("name", "Ada"); err != nil {
		t.Fatal(err)
	}
	file, err := multi.CreateFormFile("photo", "photo.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("pixels")); err != nil {
		t.Fatal(err)
	}
	if err := multi.Close(); err != nil {
		t.Fatal(err)
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, contentType, body string
		chunked                 bool
		want                    string
		status                  int
	}{
		{name: "urlencoded", contentType: urlencoded, body: "name=A%26B&name=2", want: "A&amp;B"},
		{name: "chunked", contentType: urlencoded, body: "name=Ada", chunked: true, want: "Ada"},
		{name: "query is not the form", contentType: urlencoded, body: "other=1", want: ""},
		{name: "multipart", contentType: multi.FormDataContentType(), body: upload.String(), want: "Ada"},
		{name: "another type", contentType: "application/json", body: `{"name": "Ada"}`, want: ""},
		{name: "malformed", contentType: urlencoded, body: "name=%zz", status: 400},
		{name: "malformed multipart", contentType: "multipart/form-data; boundary=x", body: "--x\r\nwhat", status: 400},
		{name: "too long", contentType: urlencoded, body: "name=" + strings.Repeat("x", 1024), status: 413},
		{name: "too long by far", contentType: urlencoded, body: "name=" + strings.Repeat("x", 10240), chunked: true, status: 413},
		{name: "too long multipart", contentType: multi.FormDataContentType(), body: strings.Repeat("x", 1024) + "\r\n" + upload.String(), chunked: true, status: 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"site/p": `{{.Form.Get "name"}}`}, func(c *template.Config) { c.MaxForm = 1024 })
			r := httptest.NewRequest("POST", "/p?name=query", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			if tt.chunked {
				r.ContentLength = -1
			}
			res, err := s.serve("p", r)
			if tt.status != 0 {
				if err == nil || failure.Status(err) != tt.status {
					t.Errorf("the error is %v; its status must be %d", err, tt.status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Body.String(); got != tt.want {
				t.Errorf("the field is %q; it must be %q", got, tt.want)
			}
			if r.Form != nil || r.MultipartForm != nil {
				t.Error("the page changed the request")
			}
		})
	}
}

func TestMaxOutput(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		fits bool
	}{{"just fits", 100, true}, {"too long", 101, false}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"site/p": fmt.Sprintf(`{{range %d}}x{{end}}`, tt.n)}, func(c *template.Config) { c.MaxOutput = 100 })
			_, err := s.serve("p", httptest.NewRequest("GET", "/p", nil))
			if got := err == nil; got != tt.fits {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// A loop that would take years and writes nothing ends when the visitor goes away.
func TestEndsWithRequest(t *testing.T) {
	s := newSite(t, map[string]string{"site/p": `{{with $x := 1}}{{range 1000000000000000}}{{end}}{{end}}`}, nil)
	app, err := s.app("p")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var caught sink
	r := new(environ.Base).Open(httptest.NewRequestWithContext(ctx, "GET", "/p", nil))
	failure.Key.Set(r, &caught)
	var wg sync.WaitGroup
	wg.Go(func() { app.Handler.ServeHTTP(httptest.NewRecorder(), r) })
	cancel()
	wg.Wait()
	if !errors.Is(caught.err(), context.Canceled) {
		t.Errorf("the error is %v; it must be that of the context", caught.err())
	}
}

func TestPathInfo(t *testing.T) {
	for _, want := range []bool{true, false} {
		s := newSite(t, map[string]string{"site/p": ""}, func(c *template.Config) { c.PathInfo = want })
		app, err := s.app("p")
		if err != nil {
			t.Fatal(err)
		}
		if app.PathInfo != want {
			t.Errorf("with path_info %v the app's is %v", want, app.PathInfo)
		}
		if diff := cmp.Diff([]string{"GET", "HEAD", "POST"}, app.Methods); diff != "" {
			t.Errorf("methods (-want +got):\n%s", diff)
		}
	}
}

// Layouts are edited while many ask for a page: each gets a whole page of one edition.
func TestConcurrentEdits(t *testing.T) {
	s := newSite(t, map[string]string{
		"layouts/base.html": `<p1>{{template "main" .}}</p1>`,
		"site/p":            `{{range 10}}{{.}}{{end}}`,
	}, func(c *template.Config) { c.Layout = "base.html" })
	app, err := s.app("p")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.Handler.ServeHTTP(w, new(environ.Base).Open(r))
	}))
	defer server.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				res, err := server.Client().Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if got := string(b); err != nil || len(got) < 10 || got != fmt.Sprintf("<p%[1]s>0123456789</p%[1]s>", got[2:3]) {
					t.Errorf("the page is %q (%v)", b, err)
				}
			}
		})
	}
	for i := range 20 {
		edit := fmt.Sprintf(`<p%[1]d>{{template "main" .}}</p%[1]d>`, i%10)
		// Renamed into place, as editors do: nobody reads half a file.
		s.write("layouts/.base", edit)
		if err := os.Rename(filepath.Join(s.dir, "layouts/.base"), filepath.Join(s.dir, "layouts/base.html")); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

// A layout that is a link out of the folder isn't read.
func TestLayoutOutside(t *testing.T) {
	s := newSite(t, map[string]string{"secret": "secret", "layouts/base.html": "x", "site/p": `{{template "link.html"}}`}, nil)
	if err := os.Symlink("../secret", filepath.Join(s.dir, "layouts/link.html")); err != nil {
		t.Fatal(err)
	}
	res, err := s.serve("p", httptest.NewRequest("GET", "/p", nil))
	if err == nil {
		t.Errorf("the page is %q; it must not hold what is outside", res.Body.String())
	}
}

func TestSettings(t *testing.T) {
	reg, err := registry.New(template.Component)
	if err != nil {
		t.Fatal(err)
	}
	def := reg.Lookup(registry.KindFactory, "template")
	for _, tt := range []struct {
		name string
		edit func(*template.Config)
		want []string
	}{
		{"defaults", func(*template.Config) {}, nil},
		{"layout without a folder", func(c *template.Config) { c.Layout = "base.html" }, []string{"layouts is missing; it must be the folder that the layout is in"}},
		{"no limits", func(c *template.Config) { c.MaxForm, c.MaxOutput = 0, 0 }, []string{"max_form is 0; it must be at least 1", "max_output is 0; it must be at least 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := template.Component.Default
			tt.edit(&cfg)
			var got []string
			for _, p := range def.Check(&cfg) {
				got = append(got, p.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no such folder", func(t *testing.T) {
		cfg := template.Component.Default
		cfg.Layouts = registry.Path(filepath.Join(t.TempDir(), "none"))
		if _, err := def.Open(t.Context(), &cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "layouts: ") {
			t.Errorf("the error is %v; it must say which setting", err)
		}
	})
}

func BenchmarkPage(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte(`<h1>{{.Path}}</h1>{{range 10}}<p>{{.}}</p>{{end}}`), 0o644); err != nil {
		b.Fatal(err)
	}
	cfg := template.Component.Default
	reg, err := registry.New(template.Component)
	if err != nil {
		b.Fatal(err)
	}
	i, err := reg.Lookup(registry.KindFactory, "template").Open(b.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer i.Close()
	app, err := i.Product.(resource.Factory).Make(&resource.File{FS: os.DirFS(dir), Name: "p", Root: dir})
	if err != nil {
		b.Fatal(err)
	}
	r := new(environ.Base).Open(httptest.NewRequest("GET", "/p", nil))
	b.ReportAllocs()
	for b.Loop() {
		app.Handler.ServeHTTP(httptest.NewRecorder(), r)
	}
}
