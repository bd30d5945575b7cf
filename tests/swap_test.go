package tests

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSwapByName changes one word of the stack file of a running server, and with it the
// component that stands there.
func TestSwapByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	for name, content := range map[string]string{
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:0"}]
stack:
  - errors
  - use: session
    store: memory
  - finder
urls:
  /count: {finder: {factories: {.html: template}}}
`,
		"site/index.html": "the finder's page",
		"site/count.html": `{{.Session.Add "n" 1}}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, file)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	count := func(want string) {
		t.Helper()
		if got := s.get(client, "/count").body; got != want {
			t.Errorf("the session counts %q, want %q\n%s", got, want, s.log())
		}
	}

	count("1")
	count("2")
	// A reload that leaves the store as it is leaves its sessions, too.
	s.reload(func() { edit(t, file, `- errors`, `- {use: errors, source_lines: 3}`) })
	count("3")
	s.reload(func() { edit(t, file, `store: memory`, `store: sqlite`) })
	count("1")
	count("2")
	if _, err := os.Stat(filepath.Join(dir, "var", "sessions.db")); err != nil {
		t.Errorf("the sessions are not in a file beside the stack file: %v", err)
	}

	// Sessions in a file survive the program.
	s.stop()
	s = start(t, file)
	count("3")

	if page := s.get(client, "/").body; page != "the finder's page" {
		t.Errorf("the finder answered %q", page)
	}
	s.reload(func() { edit(t, file, `(?s)- finder\n.*`, "- finder\n") }) // the override speaks to the finder
	s.reload(func() { edit(t, file, `- finder`, `- respond`) })
	if page := s.get(client, "/").body; page != "OK\n" {
		t.Errorf("respond answered %q", page)
	}

	// A broken save changes nothing, and the log says what and where.
	n := s.seen()
	edit(t, file, `- respond`, `- respnd`)
	s.awaitAfter(n, "reload refused, the old generation serves on", nil)
	s.awaitAfter(n, "problem", func(r record) bool {
		return r["at"] == "stack.yaml:6:5" && r["problem"] == `unknown middleware or app "respnd"; did you mean "respond"?`
	})
	if page := s.get(client, "/").body; page != "OK\n" {
		t.Errorf("after a broken save it answered %q", page)
	}
	if strings.Contains(s.log(), "panic") {
		t.Error(s.log())
	}
}
