package tests

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askProxy puts applications behind the proxy and asks for their pages.
func askProxy(t *testing.T, s *server) {
	if got := s.get(http.DefaultClient, "/").status; got != http.StatusBadGateway && got != http.StatusServiceUnavailable {
		t.Errorf("without an application the answer is %d", got)
	}
	app := func(name string) string {
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // an error shows in what is missing
			fmt.Fprintf(w, "%s: %s %s on %s for %s: %s\n", name, r.Method, r.RequestURI, r.Host, r.Header.Get("X-Forwarded-For"), body)
		}))
		t.Cleanup(up.Close)
		return up.URL
	}
	wiki := app("wiki")
	s.reload(func() {
		edit(t, s.file, `http://127\.0\.0\.1:9001", "http://127\.0\.0\.1:9002`, app("one")+`", "`+app("two"))
	})
	s.reload(func() { edit(t, s.file, `http://127\.0\.0\.1:9003`, wiki) })

	seen := map[string]bool{}
	host := strings.TrimPrefix(s.url, "http://")
	for i := range 20 {
		cookie := fmt.Sprintf("session=%d", i)
		first := s.get(http.DefaultClient, "/page?a=b", "Cookie", cookie, "X-Forwarded-For", "192.0.2.1").body
		contains(t, "the page", first, ": GET /page?a=b on "+host+" for 127.0.0.1: \n")
		seen[first[:3]] = true
		if again := s.get(http.DefaultClient, "/page?a=b", "Cookie", cookie).body; again != first {
			t.Errorf("the same visitor got %q, and then %q", first, again)
		}
	}
	if !seen["one"] || !seen["two"] {
		t.Errorf("twenty visitors came to %v", seen)
	}
	form, err := http.NewRequest(http.MethodPost, s.url+"/form", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the answer to a form", s.do(http.DefaultClient, form).body, ": POST /form on", ": hello\n")
	contains(t, "the wiki", s.get(http.DefaultClient, "/wiki/Main").body, "wiki: GET /w/wiki/Main on "+strings.TrimPrefix(wiki, "http://"))

	ready := func(status int, text string) {
		t.Helper()
		if got := s.get(http.DefaultClient, "/health/ready"); got.status != status || got.body != text {
			t.Errorf("the load balancer is told %d %q, want %d %q", got.status, got.body, status, text)
		}
	}
	ready(http.StatusOK, "up\n")
	file := filepath.Join(filepath.Dir(s.file), "maintenance")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ready(http.StatusServiceUnavailable, "down\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ready(http.StatusOK, "up\n")

	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	moved := s.get(stay, "/blog/2026/post?a=b")
	if got := moved.header.Get("Location"); moved.status != http.StatusPermanentRedirect || got != "https://blog.example.org/blog/2026/post?a=b" {
		t.Errorf("the blog's posts are redirected with %d to %q", moved.status, got)
	}
}
