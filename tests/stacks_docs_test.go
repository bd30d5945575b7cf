package tests

import (
	"net/http"
	"strings"
	"testing"
)

func askDocs(t *testing.T, s *server) {
	contains(t, "the start page", s.get(http.DefaultClient, "/").body,
		"<title>Welcome · The handbook</title>", `content="A site of texts, and nothing to build"`, `<h1 id="welcome">Welcome</h1>`, `type="checkbox"`)
	writing := s.get(http.DefaultClient, "/writing").body
	contains(t, "a page", writing, "<title>Writing · The handbook</title>", `<a href="/writing" aria-current="page">`,
		`<li class="level2"><a href="#tables">Tables</a></li>`, "<td><code>/writing</code></td>", "<del>gone</del>", `class="footnotes"`)
	if strings.Contains(writing, "tags:") || strings.Contains(writing, "<code>The handbook</code>") {
		t.Errorf("the page shows its front matter, or ran an action in its text:\n%s", writing)
	}
	contains(t, "the page about the layout", s.get(http.DefaultClient, "/layout").body, `<code class="language-html">`, "{{block")
	for path, status := range map[string]int{"/nothing": 404, "/writing.md~": 404, "/layouts/base.html": 404} {
		if got := s.get(http.DefaultClient, path).status; got != status {
			t.Errorf("%s answered %d, want %d", path, got, status)
		}
	}
}
