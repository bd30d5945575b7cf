package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func askDev(t *testing.T, s *server) {
	for path, status := range map[string]int{"/": 200, "/counter": 200, "/environment.cgi": 200, "/fail": 500, "/nothing": 404} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			r, err := http.NewRequest(method, s.url+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.do(http.DefaultClient, r); got.status != status && method == http.MethodGet {
				t.Errorf("%s answered %d, want %d", path, got.status, status)
			}
		}
	}
	if found := findings(s); len(found) > 0 {
		t.Errorf("found:\n%s", strings.Join(found, "\n"))
	}
}

// findings are the lines of the log in which lint tells of one.
func findings(s *server) []string {
	return regexp.MustCompile(`(?m)^.*component:lint .*\brule:.*$`).FindAllString(s.log(), -1)
}

// TestLintBetweenAll puts lint between every two pieces of the stack that has all of them.
func TestLintBetweenAll(t *testing.T) {
	t.Parallel()
	u := &upstream{sent: make(chan string)}
	app := httptest.NewServer(u)
	defer app.Close()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	everything := regexp.MustCompile(`(?m)^  - (\w+$|\{use: (metrics|trace|real_ip|error_pages|headers|cors|maintenance|rate_limit|auth_|body_limit|rewrite|proxy))`).ReplaceAllStringFunc(throughEverything, func(slot string) string {
		n++
		return fmt.Sprintf("  - {use: lint, as: lint_%d}\n%s", n, slot)
	})
	// A piece that breaks a rule shows that they are heard.
	everything = strings.Replace(everything, "  - {use: proxy,", "  - {use: headers, as: untyped, off: true, response: {remove: [Content-Type]}}\n  - {use: proxy,", 1)
	everything += "  /files/untyped.txt: {untyped: on}\n"
	file := filepath.Join(dir, "stack.yaml")
	for _, folder := range []string{"files", "pages"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"stack.yaml":        strings.ReplaceAll(everything, "UPSTREAM", app.URL),
		"users.htpasswd":    "ada:" + string(hash) + "\n",
		"pages/4xx.html":    "{{.Status}}",
		"files/page.txt":    strings.Repeat("a page\n", 1000),
		"files/untyped.txt": strings.Repeat("a page\n", 1000),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, file)
	c := &visitor{url: s.url}
	for _, path := range []string{"/files/page.txt", "/files/nothing", "/files/", "/door"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
			for _, fields := range [][]string{nil, {"Accept", "text/html"}, {"Accept-Encoding", "gzip"}, {"Range", "bytes=0-10"}, {"If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Authorization", "none"}} {
				r, err := http.NewRequest(method, s.url+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = c.header()
				for i := 0; i < len(fields); i += 2 {
					r.Header.Set(fields[i], fields[i+1])
				}
				s.do(http.DefaultClient, r)
			}
		}
	}
	if found := findings(s); len(found) > 0 {
		t.Errorf("found:\n%s", strings.Join(found, "\n"))
	}
	r, err := http.NewRequest(http.MethodGet, s.url+"/files/untyped.txt", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = c.header()
	s.do(http.DefaultClient, r)
	if found := findings(s); !strings.Contains(strings.Join(found, "\n"), "no-content-type") {
		t.Errorf("of %d lints none has found that Content-Type is missing", n)
	}
}
