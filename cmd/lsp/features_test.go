package lsp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
)

// site is a stack file with nothing wrong; what a test writes comes behind it.
const site = `servers: [{use: http, listen: "127.0.0.1:8080"}]
vars: {theme: light}
stack:
  - errors
  - use: session
    lifetime: 12h
  - {use: respond, as: answer, status: 201}
`

func TestCompletion(t *testing.T) {
	e := started(t)
	dir := t.TempDir()
	write(t, dir, "base.yaml", "stack: [errors, {use: respond, as: hello}]\n")
	for _, tt := range []struct {
		name, text  string
		want, lacks []string // labels, or "label > what is written"
	}{
		{"keys of the file", "stack: []\n‸", []string{"servers > servers: ", "urls"}, []string{"stack", "session"}},
		{"a key that is begun", "st‸\nservers: [http]\n", []string{"stack > stack: "}, []string{"servers"}},
		{"a key that has its colon", "st‸: []\nservers: []\n", []string{"stack > stack"}, nil},
		{"servers", "servers:\n  - ‸\n", []string{"http > http", "use > use: "}, []string{"session", "finder", "memory"}},
		{"servers in brackets", "servers: [‸", []string{"http"}, []string{"session", "use"}},
		{"the stack", "stack:\n  - errors\n  - ses‸\n  - finder\n", []string{"session", "finder"}, []string{"http", "memory", "static"}},
		{"after use", "stack:\n  - use: ‸\n    lifetime: 3h\n", []string{"session", "finder"}, []string{"http", "use"}},
		{"after use in brackets", "stack: [{use: \"‸\"}]\n", []string{"session > session"}, []string{"http"}},
		{"settings", "stack:\n  - use: session\n    ‸\n  - finder\n", []string{"lifetime > lifetime: ", "store", "as", "off"}, []string{"use", "root"}},
		{"settings above use", "stack:\n  - lif‸\n    use: session\n", []string{"lifetime", "as"}, []string{"use", "root"}},
		{"settings in brackets", "stack:\n  - {use: session, ‸}\n", []string{"lifetime > lifetime: "}, []string{"use", "root"}},
		{"settings in brackets that are open", "stack:\n  - {use: session, idle: 3h, li‸\n  - finder\n", []string{"lifetime"}, []string{"idle", "root"}},
		{"settings within a setting", "stack:\n  - use: session\n    cookie: {name: x, ‸}\n", []string{"secure", "path"}, []string{"name", "lifetime"}},
		{"a store", "stack:\n  - use: session\n    store: ‸\n", []string{"memory", "sqlite"}, []string{"session", "use"}},
		{"settings of a store", "stack:\n  - use: session\n    store: {use: sqlite, ‸}\n", []string{"path"}, []string{"as", "off", "lifetime"}},
		{"a factory", "stack:\n  - use: finder\n    factories:\n      .html: ‸\n", []string{"template", "static"}, []string{"memory"}},
		{"reporters", "stack:\n  - use: errors\n    reporters: [log, ‸]\n", []string{"mail"}, []string{"memory"}},
		{"words", "stack:\n  - use: session\n    cookie: {secure: ‸}\n", []string{"auto > auto", "always", "never"}, []string{"lax"}},
		{"true and false", "stack:\n  - {use: session, off: ‸}\n", []string{"true", "false"}, nil},
		{"slots", site + "urls:\n  /a/:\n    ‸\n", []string{"answer > answer: ", "session", "vars", "on_reload"}, []string{"respond", "finder"}},
		{"slots in brackets", site + "urls:\n  /a/: {vars: {a: b}, ‸}\n", []string{"session"}, []string{"vars"}},
		{"no slots without brackets", site + "urls:\n  /a/: ‸\n", nil, []string{"session"}},
		{"slots of what is extended", "extends: base.yaml\nurls:\n  /a/:\n    he‸\n", []string{"hello", "errors"}, []string{"respond"}},
		{"on and off", site + "urls:\n  /a/: {session: ‸}\n", []string{"on", "off"}, []string{"lifetime"}},
		{"settings of a slot", site + "urls:\n  /a/:\n    answer: {‸}\n", []string{"status", "use"}, []string{"lifetime", "as"}},
		{"settings of what takes a slot", site + "urls:\n  /a/:\n    answer: {use: finder, ‸}\n", []string{"root"}, []string{"status"}},
		{"settings of the store that the slot has", "stack: [{use: session, store: {use: sqlite, path: x}}]\nurls: {/a: {session: {store: {‸}}}}\n", []string{"path", "use"}, []string{"max_sessions"}},
		{"settings of the factory that the slot has", "stack: [{use: finder, factories: {.x: template}}]\nurls: {/a: {finder: {factories: {.x: {‸}}}}}\n", []string{"layouts"}, nil},
		{"deadlines", "deadlines:\n  drain: 3s\n  ‸\n", []string{"stop", "check"}, []string{"drain", "lint"}},
		{"tests", "tests:\n  - ask: /\n    expect: {‸}\n", []string{"status", "answered"}, []string{"ask"}},
		{"tests' steps", "tests:\n  - ask: /\n    then:\n      - a‸\n", []string{"ask"}, []string{"then"}},
		{"a stack that is mounted", "stack:\n  - use: stack\n    mount:\n      ‸\n", []string{"urls", "stack"}, []string{"servers", "tests"}},
		{"on_reload", "on_reload: ‸\n", []string{"drain", "keep", "close"}, nil},
		{"rules", "stack:\n  - errors # stackd:allow sl‸\n", []string{"slot-off > slot-off", "guard-gap"}, []string{"invalid", "errors"}},
		{"the reason", "stack:\n  - errors # stackd:allow slot-off for ‸\n", nil, []string{"slot-off", "errors"}},
		{"another comment", "stack:\n  # ‸\n", nil, []string{"errors", "slot-off", "urls"}},
		{"other YAML", "on: push\njobs: {}\n‸", nil, []string{"stack", "servers"}},
		{"a list", "- ‸", nil, []string{"stack", "errors"}},
		{"a new file", "‸", []string{"servers", "stack"}, nil},
		{"vars", "vars:\n  ‸\n", nil, []string{"stack", "session"}},
		{"beside what can't be read", "urls: [}\nvars: \"a\nstack:\n  - &\n  - use: session\n   : x\n    ‸\n\tx\n", []string{"lifetime"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			params := e.at(fileURI(filepath.Join(dir, "stack.yaml")), tt.text)
			var items []completionItem
			e.call("textDocument/completion", params, &items)
			var got []string
			for _, i := range items {
				got = append(got, i.Label, i.Label+" > "+i.TextEdit.NewText)
				if i.Documentation.Kind != "markdown" || i.Documentation.Value == "" && i.Kind != kindValue {
					t.Errorf("%s has no manual", i.Label)
				}
			}
			for _, want := range tt.want {
				if !slices.Contains(got, want) {
					t.Errorf("there is no %q in %q", want, got)
				}
			}
			for _, bad := range tt.lacks {
				if slices.Contains(got, bad) {
					t.Errorf("there is %q", bad)
				}
			}
		})
	}
	t.Run("what is replaced", func(t *testing.T) {
		var items []completionItem
		e.call("textDocument/completion", e.at("file:///x/s.yaml", "vars: {é: \"😀\"}\nstack:\n  - {use: se‸ss, a: b}\n"), &items)
		if want := (span{position{2, 10}, position{2, 14}}); len(items) == 0 || items[0].TextEdit.Range != want {
			t.Errorf("%v; want %v", items, want)
		}
	})
}

func TestHover(t *testing.T) {
	e := started(t)
	const urls = site + "urls:\n  /a/:\n    session: {lifetime: 15m}\n    vars: {theme: dark}\n  /b/{name}: {session: off}\n"
	for _, tt := range []struct {
		name, text string
		want       []string // nil for no hover
	}{
		{"a component", "stack:\n  - ses‸sion\n", []string{"**session** (middleware)", "Keeps data for a visitor", "`lifetime`"}},
		{"after use", "stack: [{use: ‸finder}]\n", []string{"**finder** (app)"}},
		{"a store", "stack: [{use: session, store: {use: sq‸lite}}]\n", []string{"**sqlite** (store)"}},
		{"a key of the file", "sta‸ck: []\n", []string{"**stack** (key of the stack file)"}},
		{"a setting", "stack: [{use: session, ‸lifetime: 3h}]\n", []string{"**`lifetime`**: duration, at least 1s; by default `12h`"}},
		{"its value", "stack: [{use: session, lifetime: 3‸h}]\n", []string{"**`lifetime`**: duration"}},
		{"one within another", "stack: [{use: session, cookie: {‸name: x}}]\n", []string{"**`cookie.name`**: text"}},
		{"one of a store that isn't named", "stack: [{use: session, store: {max_ses‸sions: 3}}]\n", []string{"**`max_sessions`**"}},
		{"one in a list", "tests: [{ask: /, then: [{‸ask: /a}]}]\n", []string{"**`then[].ask`**"}},
		{"a deadline", "deadlines: {dra‸in: 3s}\n", []string{"**`drain`**: duration"}},
		{"a rule", "stack:\n  - errors # stackd:allow slo‸t-off x\n", []string{"**slot-off**", "off"}},
		{"the reason of one", "stack:\n  - errors # stackd:allow slot-off rea‸son\n", nil},
		{"no rule", "stack:\n  - errors # stackd:allow slot‸\n", nil},
		{"nothing", "‸\nstack: []\n", nil},
		{"what isn't known", "stack: [{use: session, colo‸ur: red}]\n", nil},
		{"a var", "vars: {a‸: b}\n", nil},

		{"a setting under urls", strings.Replace(urls, "lifetime: 15m", "lifetime: ‸15m", 1), []string{"GET /a/\n", "lifetime: 15m", "stack.yaml:10\n", "overrode 12h", "stack.yaml:6\n", "**`lifetime`**"}},
		{"a var under urls", strings.Replace(urls, "theme: dark", "the‸me: dark", 1), []string{"theme: dark", "stack.yaml:11\n", "overrode light", "stack.yaml:2\n"}},
		{"a slot under urls", strings.Replace(urls, "session: off", "ses‸sion: off", 1), []string{"GET /b/name\n", "session: off", "stack.yaml:12\n", "**session** (middleware)"}},
		{"a setting that is overridden", strings.Replace(urls, "lifetime: 12h", "life‸time: 12h", 1), []string{"/a/: lifetime is 15m (stack.yaml:10)", "**`lifetime`**"}},
		{"a component that is overridden", strings.Replace(urls, "use: session", "use: ses‸sion", 1), []string{"/a/: lifetime is 15m (stack.yaml:10)", "/b/{name}: session is off (stack.yaml:12)"}},
		{"a factory under urls", "servers: [http]\nstack:\n  - {use: finder, root: ., factories: {.x: {use: template, layouts: a}}}\nurls:\n  /a: {finder: {factories: {.x: {layouts: ‸b}}}}\n", []string{"factories[.x].layouts: b", "overrode a", "**`layouts`**"}},
		{"reporters under urls", "servers: [http]\nstack: [errors, respond]\nurls:\n  POST *.example.org/a/{n}/{x...}: {errors: {reporters: [log, {use: files, ‸folder: y}]}}\n", []string{"POST x.example.org/a/n/x\n", "reporters[1].folder: y", "**`folder`**"}},
		{"what others have the last word on", site + "urls:\n  /{a}: {session: {life‸time: 15m}}\n  /a: {session: off}\n", []string{"**`lifetime`**"}},
		{"a secret", site + "urls:\n  /a: {errors: {reporters: [{use: mail, server: \"a:25\", from: a@b.c, to: [a@b.c], username: a, pass‸word: hunter2}]}}\n", []string{"reporters[0].password: [redacted]"}},
		{"in a file with problems", strings.Replace(urls, "lifetime: 15m", "lifetime: ‸15", 1), []string{"**`lifetime`**"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got *hover
			e.call("textDocument/hover", e.at("file:///x/stack.yaml", tt.text), &got)
			if got == nil || tt.want == nil {
				if got != nil || tt.want != nil {
					t.Errorf("%v; want %q", got, tt.want)
				}
				return
			}
			for _, want := range tt.want {
				if !strings.Contains(got.Contents.Value, want) {
					t.Errorf("there is no %q in\n%s", want, got.Contents.Value)
				}
			}
		})
	}
	t.Run("of no file", func(t *testing.T) {
		var got *hover
		e.call("textDocument/hover", e.at("untitled:1", strings.Replace(urls, "lifetime: 15m", "lifetime: ‸15m", 1)), &got)
		if got == nil || strings.Contains(got.Contents.Value, "overrode") {
			t.Errorf("%v; want the manual alone", got)
		}
	})
}

func TestDefinition(t *testing.T) {
	e := started(t)
	dir := t.TempDir()
	base := fileURI(write(t, dir, "base.yaml", "stack: [respond]\n"))
	if err := os.Mkdir(filepath.Join(dir, "urls.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := fileURI(write(t, dir, "urls.d/a.yaml", "")), fileURI(write(t, dir, "urls.d/b.yaml", ""))
	uri := fileURI(filepath.Join(dir, "stack.yaml"))
	for _, tt := range []struct {
		name, text string
		want       []location
	}{
		{"a slot", site + "urls:\n  /a/: {ans‸wer: off}\n", []location{{uri, span{position{6, 4}, position{6, 4}}}}},
		{"a slot that isn't there", site + "urls:\n  /a/: {res‸pond: off}\n", nil},
		{"what is extended", "extends: ba‸se.yaml\n", []location{{base, span{}}}},
		{"what is included", "include: urls.d/‸*.yaml\n", []location{{a, span{}}, {b, span{}}}},
		{"one of those", "include:\n  - urls.d/b‸.yaml\n", []location{{b, span{}}}},
		{"a stack that is mounted", "stack: [{use: stack, mount: ‸base.yaml}]\n", []location{{base, span{}}}},
		{"what isn't there", "extends: no‸ne.yaml\n", nil},
		{"a setting", "stack: [{use: ses‸sion}]\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []location
			e.call("textDocument/definition", e.at(uri, tt.text), &got)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestFormatting(t *testing.T) {
	e := started(t)
	const uri = "file:///x/stack.yaml"
	var edits []textEdit
	e.call("textDocument/formatting", e.at(uri, "stack: [ respond ]‸\n\n\nservers: [http]"), &edits)
	if diff := cmp.Diff([]textEdit{{span{position{0, 0}, position{3, 15}}, "servers: [http]\nstack: [respond]\n"}}, edits); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	e.call("textDocument/formatting", e.at(uri, "servers: [http]\nstack: [respond]‸\n"), &edits)
	if len(edits) != 0 {
		t.Errorf("there is nothing to change, and the edits are %v", edits)
	}
	e.call("textDocument/formatting", e.at(uri, "on:  push‸\njobs:  {}\n"), &edits)
	if len(edits) != 0 {
		t.Errorf("it is no stack file, and the edits are %v", edits)
	}
	if _, err := e.Call(t.Context(), "textDocument/formatting", e.at(uri, "servers: [http‸\n")); err == nil || !strings.Contains(err.Error(), "stack.yaml:1:") {
		t.Errorf("the error is %v; want what is wrong, and where", err)
	}
}

// FuzzDocument asks for everything at any place of any text. Nothing panics, and what is to be replaced is in the text.
func FuzzDocument(f *testing.F) {
	for _, text := range []string{site, "a: [", "- - - {b: \"", "x: |\n  y\n z\n", "\uFEFF{\"a\":b,]}", "a:\r\n- b\r c", "stack: [{use: session, cookie: {", "urls:\n /:\n  a", "# stackd:allow x", "\u2028: \xff", strings.Repeat("[", 1e5), strings.Repeat("- ", 1e5), strings.Repeat("{a: ", 1e5), strings.Repeat("[\n ", 1e5)} {
		f.Add(text, 0, len(text)/2)
		f.Add(text, 1, 3)
	}
	registry := registry.Compiled()
	f.Fuzz(func(t *testing.T, text string, line, character int) {
		s := &server{Dependencies: Dependencies{Registry: registry}, documents: map[string]*document{"u:": {uri: "u:", text: text}}}
		p := documentParams{Position: position{line, character}}
		p.TextDocument.URI = "u:"
		l := editorLines(text, false)
		offset := l.offset(p.Position)
		if utf8.ValidString(text) && l.offset(l.position(offset)) != offset {
			t.Errorf("%v is at %d, which is %v", p.Position, offset, l.position(offset))
		}
		items, err := s.completion(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			if begin, end := l.offset(i.TextEdit.Range.Start), l.offset(i.TextEdit.Range.End); utf8.ValidString(text) && (begin > offset || end < offset) {
				t.Errorf("%s replaces %d to %d; the place is %d", i.Label, begin, end, offset)
			}
		}
		if _, err := s.hover(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if _, err := s.definition(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		_, _ = s.formatting(t.Context(), p)
		read(text).walk(func(n *node, p *pair) {
			if n != nil && n.form == scalar && (n.begin > n.end || n.end > len(text)) || p != nil && (p.begin > p.end || p.end > len(text)) {
				t.Errorf("%+v %+v is not in the text", n, p)
			}
		})
	})
}
