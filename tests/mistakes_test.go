package tests

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakes makes mistakes in the essay's stack that a new user makes, one at a time. What check says must be enough to
// mend it: the line, what is wrong, and what must be there.
func TestMistakes(t *testing.T) {
	for _, m := range []struct{ name, from, to, want string }{
		{"a component misspelt", "use: session", "use: sesion", `28:10: unknown middleware or app "sesion"; did you mean "session"?`},
		{"a setting misspelt", "lifetime: 12h", "life_time: 12h", `30:5: session has no setting "life_time"; did you mean "lifetime"?`},
		{"a duration in words", "lifetime: 12h", "lifetime: 12 hours", `30:15: session: lifetime is "12 hours"; it must be a duration such as 30s, 5m or 12h`},
		{"less than nothing", "lifetime: 12h", "lifetime: -1h", `30:15: session: lifetime is -1h; it must be at least 1s`},
		{"a tab", "    store: memory", "\tstore: memory", `29:1: a tab stands in the indentation; it must be spaces`},
		{"no dash", "  - use: session", "    use: session", `28:5: "use" stands twice; the first is on line 23; the next entry of a list begins with a dash`},
		{"a port that is none", `listen: "127.0.0.1:`, `listen: "127.0.0.1:9`, `9:25: http: listen is "127.0.0.1:98080"; the port is "98080"; it must be a number from 0 to 65535`},
		{"a port alone", `listen: "127.0.0.1:8080"`, `listen: 8080`, `9:25: http: listen is "8080"; it must be host:port, such as 127.0.0.1:8080, or unix:path`},
		{"a map where a list is", "  - {use: http, listen", "  http: {listen", `9:3: servers is a map; it must be a list, each entry on a line of its own that begins with a dash`},
		{"no slash before a path", "  /admin/:", "  admin/:", `43:3: warning: admin/: the pattern is for the host "admin"; for that path it must begin with a slash: "/admin/" [bare-host]`},
		{"a star in a path", "  /style.css:", "  /*.css:", `46:3: the pattern "/*.css": the segment "*.css" has a "*"; write {name} for one whole segment, a final slash for all below, or %2A for a star`},
		{"a slot that isn't there", "  /style.css: {session: off}", "  /style.css: {compress: off}", `46:16: /style.css: the stack has no slot "compress"; an override can't add one: place it in stack: with {use: compress, off: true} and switch it on here`},
		{"an extension without its dot", "      .cgi: cgi", "      cgi: cgi", `39:12: finder: factories[cgi] is for "cgi"; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`},
		{"a factory misspelt", "use: template,", "use: templates,", `38:20: finder: factories[.html]: unknown factory "templates"; did you mean "template"?`},
		{"a setting in the slot before", "show: loopback", "show: loopback\n    lifetime: 1h", `25:5: errors has no setting "lifetime"; session (line 29) has`},
		{"a store's setting beside it", "store: memory", "store: sqlite\n    path: sessions.db", `30:5: session has no setting "path"; sqlite has: write store: {use: sqlite, path: …}`},
		{"a switch where a word is wanted", "show: loopback", "show: true", `24:11: errors: show is "true"; it must be never or loopback`},
		{"a brace left open", "{session: off}", "{session: off", `46:3: a map that begins with { must have commas between its entries and be closed with }`},
		{"something after the app", "# 2 again", "  - request_id\n# 2 again", `35:5: finder is an app, and what stands after it never runs; an app must be the last entry`},
		{"a key twice", "\nurls:", "\nvars: {theme: dark}\nurls:", `42:1: "vars" stands twice; the first is on line 14`},
		{"a key misspelt", "\nstack:", "\nstacks:", `19:1: unknown key "stacks"; did you mean "stack"?`},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(copyStacks(t), "webware.yaml")
			text := string(read(t, filepath.Join("..", "stacks", "webware.yaml")))
			if strings.Count(text, m.from) != 1 {
				t.Fatalf("%q stands %d times in the file", m.from, strings.Count(text, m.from))
			}
			replace(t, file, []byte(strings.Replace(text, m.from, m.to, 1)))
			check := exec.Command(built(t), "check", "webware.yaml")
			check.Dir = filepath.Dir(file)
			out, err := check.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(out), "\n")
			if want := "webware.yaml:" + m.want; first != want {
				t.Errorf("check says\n%s\nand must say first\n%s", out, want)
			}
		})
	}
}
