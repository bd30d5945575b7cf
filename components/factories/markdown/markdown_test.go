package markdown_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/factories/markdown"
	"github.com/stackd/stackd/components/factories/template"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
)

const sample = "---\ntitle: A *text*\n---\n# Head\n\n## Part\n\nWords.\n"

func TestComponent(t *testing.T) {
	registrytest.Run(t, markdown.Component,
		registrytest.Case[markdown.Config]{Name: "alone", Files: map[string]string{"a.md": sample}},
		registrytest.Case[markdown.Config]{
			Name:  "in a layout",
			Files: map[string]string{"a.md": sample},
			Settings: func(t *testing.T) markdown.Config {
				return inLayout(t, map[string]string{"base.html": `<main>{{block "main" .}}{{end}}</main>`})
			},
		},
	)
}

// inLayout returns settings with the template factory, whose layout is base.html.
func inLayout(t *testing.T, layouts map[string]string) markdown.Config {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, layouts)
	pages := template.Component.Default
	pages.Layouts, pages.Layout = registry.Path(dir), "base.html"
	cfg := markdown.Component.Default
	cfg.Page = registry.Bound(registrytest.Build(t, template.Component, pages, nil))
	return cfg
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// makes converts a text and returns what Make does.
func makes(t *testing.T, cfg markdown.Config, text string) (resource.App, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.md": text})
	tree := os.DirFS(dir)
	info, err := fs.Stat(tree, "a.md")
	if err != nil {
		t.Fatal(err)
	}
	return registrytest.Build(t, markdown.Component, cfg, nil).Make(&resource.File{FS: tree, Name: "a.md", Info: info, Root: dir})
}

// get returns the response to a request for the text.
func get(t *testing.T, cfg markdown.Config, text string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	app, err := makes(t, cfg, text)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/a", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	var base environ.Base
	environ.Vars.Preset(&base, map[string]any{"theme": "dark"})
	app.Handler.ServeHTTP(w, base.Open(r))
	return w
}

func TestLanguage(t *testing.T) {
	unsafeHTML := markdown.Component.Default
	unsafeHTML.UnsafeHTML = true
	tests := []struct {
		name, text string
		cfg        markdown.Config
		want, not  []string
	}{
		{"emphasis and links", "A *text* with a [link](https://example.org/).", markdown.Component.Default, []string{"<em>text</em>", `<a href="https://example.org/">link</a>`}, nil},
		{"heading", "# The first `one`\n\n# Second", markdown.Component.Default, []string{`<h1 id="the-first-one">`, "<title>The first one</title>"}, nil},
		{"table", "|a|b|\n|-|-|\n|1|2|", markdown.Component.Default, []string{"<table>", "<td>1</td>"}, nil},
		{"task list", "- [x] done", markdown.Component.Default, []string{"<input checked", "done"}, nil},
		{"struck out", "~~old~~", markdown.Component.Default, []string{"<del>old</del>"}, nil},
		{"plain link", "See https://example.org/a", markdown.Component.Default, []string{`<a href="https://example.org/a">`}, nil},
		{"footnote", "Text[^1].\n\n[^1]: Note.", markdown.Component.Default, []string{`class="footnote-ref"`, "Note."}, nil},
		{"raw HTML", "<script>alert(1)</script>\n\nA <b>word</b>", markdown.Component.Default, []string{"word"}, []string{"<script", "<b>"}},
		{"raw HTML asked for", "A <b>word</b>", unsafeHTML, []string{"A <b>word</b>"}, nil},
		{"link that runs a script", "[x](javascript:alert%281%29)", markdown.Component.Default, []string{">x</a>"}, []string{"javascript:"}},
		{"title is escaped", "---\ntitle: a <b> & c\n---\ntext", markdown.Component.Default, []string{"<title>a &lt;b&gt; &amp; c</title>", "<p>text</p>"}, []string{"title:"}},
		{"a rule is no front matter", "text\n\n---\n\nmore", markdown.Component.Default, []string{"<p>text</p>", "<hr>", "<p>more</p>"}, nil},
		{"byte order mark", "\ufeff---\r\ntitle: T\r\n---\r\n# H", markdown.Component.Default, []string{"<title>T</title>", `<h1 id="h">H</h1>`}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := get(t, test.cfg, test.text)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("got %d, %v", w.Code, w.Header())
			}
			for _, want := range test.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the page lacks %q:\n%s", want, w.Body)
				}
			}
			for _, not := range test.not {
				if strings.Contains(w.Body.String(), not) {
					t.Errorf("the page has %q:\n%s", not, w.Body)
				}
			}
		})
	}
}

// TestConditional proves that a plain document has an ETag and the time of the file.
func TestConditional(t *testing.T) {
	first := get(t, markdown.Component.Default, sample)
	tag := first.Header().Get("ETag")
	if tag == "" || first.Header().Get("Last-Modified") == "" {
		t.Fatalf("the header is %v", first.Header())
	}
	if again := get(t, markdown.Component.Default, sample, "If-None-Match", tag); again.Code != http.StatusNotModified {
		t.Errorf("the same text again is %d", again.Code)
	}
	if other := get(t, markdown.Component.Default, sample+"More.", "If-None-Match", tag); other.Code != http.StatusOK {
		t.Errorf("another text is %d", other.Code)
	}
}

func TestLayout(t *testing.T) {
	layouts := map[string]string{
		"base.html": `<title>{{block "title" .}}Site{{end}}</title>` +
			`<meta content="{{block "description" .}}{{end}}"><i>{{block "tags" .}}none{{end}}</i>` +
			`<nav>{{block "contents" .}}{{end}}</nav><main class="{{.Vars.theme}}">{{block "main" .}}{{end}}</main>`,
		"wide.html": `<wide>{{block "main" .}}{{end}}</wide>`,
	}
	tests := []struct{ name, text, want string }{
		{"nothing but a text", "text", `<title>Site</title><meta content=""><i>none</i><nav></nav><main class="dark"><p>text</p>` + "\n</main>"},
		{"title from the heading", "# A & *B*", `<title>A &amp; B</title><meta content=""><i>none</i><nav></nav><main class="dark"><h1 id="a--b">A &amp; <em>B</em></h1>` + "\n</main>"},
		{
			"front matter", "---\n# a comment\ntitle: \"Prices: \\\"all\\\"\"\ndescription: 'it''s <\"x\"> {{.Vars}}'\ntags: [shop, 'prices']\n---\ntext",
			`<title>Prices: &#34;all&#34;</title><meta content="it&#39;s &lt;&#34;x&#34;&gt; {{.Vars}}"><i>shop, prices</i><nav></nav><main class="dark"><p>text</p>` + "\n</main>",
		},
		{"list of lines", "---\ntags:\n  - a\n  - b # comment\n---\ntext", `<title>Site</title><meta content=""><i>a, b</i><nav></nav><main class="dark"><p>text</p>` + "\n</main>"},
		{
			"contents", "## One <two>\n### Three\n#### Four",
			`<title>Site</title><meta content=""><i>none</i><nav><ul class="contents">` + "\n" + `<li class="level2"><a href="#one-two">One</a></li>` + "\n" +
				`<li class="level3"><a href="#three">Three</a></li>` + "\n</ul>\n</nav>" + `<main class="dark"><h2 id="one-two">One </h2>` + "\n" +
				`<h3 id="three">Three</h3>` + "\n" + `<h4 id="four">Four</h4>` + "\n</main>",
		},
		{"another layout", "---\nlayout: wide.html\n---\ntext", "<wide><p>text</p>\n</wide>"},
		{"no layout", "---\ntitle: A\nlayout: ''\n---\n# Head", `<h1 id="head">Head</h1>` + "\n"},
		{"braces are braces", "`{{.Vars.theme}}` {{{x}}}", `<title>Site</title><meta content=""><i>none</i><nav></nav><main class="dark"><p><code>{{.Vars.theme}}</code> {{{x}}}</p>` + "\n</main>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := get(t, inLayout(t, layouts), test.text)
			if diff := cmp.Diff(test.want, w.Body.String()); diff != "" || w.Code != http.StatusOK {
				t.Errorf("%d (-want +got)\n%s", w.Code, diff)
			}
		})
	}
}

// TestBraces proves that braces are braces in a layout, in HTML that is passed on too, and at the end of it.
func TestBraces(t *testing.T) {
	cfg := inLayout(t, map[string]string{"base.html": `{{block "main" .}}{{end}}`})
	cfg.UnsafeHTML = true
	for _, text := range []string{
		"<div>{", "<div>{{{", "<p title=\"{{.Path}}\">{ {{- a}}</p>", "<script>let a = {{b: `${{c: 1}.c}`}}; {{{{{ }}}}}</script>",
	} {
		if got := get(t, cfg, text); got.Code != 200 || strings.TrimSpace(got.Body.String()) != text {
			t.Errorf("%d %q; want %q", got.Code, got.Body, text)
		}
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name, text, want string
		line             int
	}{
		{"no end", "---\ntitle: A\n", "a.md:1: the front matter has no end; it must end with a line of three hyphens", 1},
		{"no setting", "---\ntitle: A\nwords\n---\n", `a.md:3: the line is "words"; it must be like title: A text`, 3},
		{"no space", "---\ntitle:A\n---\n", `a.md:2: the line is "title:A"; it must be like title: A text`, 2},
		{"a map", "---\na: {b: c}\n---\n", `a.md:2: a: "{b: c}" is no plain text; it must stand in quotes`, 2},
		{"twice", "---\na: b\n\na: c\n---\n", "a.md:4: a was set in line 2 already", 4},
		{"list without a name", "---\n- a\n---\n", "a.md:2: a list stands here; it must follow its name", 2},
		{"open list", "---\na: [b\n---\n", `a.md:2: a: the list "[b" has no end; it must end with a bracket`, 2},
		{"open quotes", "---\na: \"b\n---\n", `a.md:2: a: "b isn't a text in quotes; it must end with a quote, and have a backslash before those in it`, 2},
		{"quote in quotes", "---\na: 'b'c'\n---\n", `a.md:2: a: 'b'c' isn't a text in quotes; it must end with a quote, and have those in it twice`, 2},
		{"main", "---\nmain: x\n---\n", "a.md:2: main is made of the text; the front matter must not set it", 2},
		{"action in the layout", "---\nlayout: '{{.}}'\n---\n", `a.md:2: the layout is "{{.}}"; it must be the name of a file`, 2},
		{"no such layout", "---\ntitle: A\nlayout: none.html\n---\n", `the layout isn't in the folder layouts: it is "none.html"; it must be one of base.html`, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := makes(t, inLayout(t, map[string]string{"base.html": ""}), test.text)
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Fatalf("the error is %v\nwant %s", err, test.want)
			}
			traced, ok := errors.AsType[failure.Traced](err)
			if !ok || len(traced.Frames()) == 0 {
				t.Fatal("the error has no place")
			}
			if f := traced.Frames()[0]; f.Line != test.line || filepath.Base(f.File) != "a.md" {
				t.Errorf("the place is %s:%d, want line %d", f.File, f.Line, test.line)
			}
		})
	}
}

func TestMaxSource(t *testing.T) {
	cfg := markdown.Component.Default
	cfg.MaxSource = 3
	if _, err := makes(t, cfg, "abc"); err != nil {
		t.Error(err)
	}
	if _, err := makes(t, cfg, "abcd"); err == nil || err.Error() != "a.md has 4 bytes; it must have at most max_source, 3" {
		t.Errorf("the error is %v", err)
	}
}
