package tests

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askMounts asks a site, one that is mounted in it, and one in that, for everything that has their prefix in it. Then
// it adds a site by a file in a folder, and changes one that is mounted.
func askMounts(t *testing.T, s *server) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	for path, to := range map[string]string{
		"/blog":              "./blog/",
		"/blog/home?a=b":     "/blog/?from=/home",
		"/blog/old/env.cgi":  "/blog/env.cgi",
		"/blog/old/env.cgi?": "/blog/env.cgi",
	} {
		if got := s.get(client, path); got.header.Get("Location") != to || got.status/100 != 3 {
			t.Errorf("%s is answered with %d to %q; want %q", path, got.status, got.header.Get("Location"), to)
		}
	}

	contains(t, "the site", s.get(client, "/").body, "<h1>Mounted</h1>", "You came 1 times.")
	blog := s.get(client, "/blog/")
	contains(t, "the blog", blog.body, "<h1>The blog</h1>", "mounted at “/blog”, and was asked for /.", `href="/blog/env.cgi/more"`, "You came 1 times.")
	contains(t, "the blog's cookie", blog.header.Get("Set-Cookie"), "blog=", "Path=/blog;")
	contains(t, "the site again", s.get(client, "/").body, "You came 2 times.")
	contains(t, "the blog again", s.get(client, "/blog/").body, "You came 2 times.")
	contains(t, "the archive", s.get(client, "/blog/archive/").body, "<h1>The archive</h1>", "mounted at “/blog/archive”, and was asked for /.")

	contains(t, "CGI", s.get(client, "/blog/env.cgi/a/b?c").body, "SCRIPT_NAME=/blog/env.cgi\n", "PATH_INFO=/a/b\n", "REQUEST_URI=/blog/env.cgi/a/b?c\n")
	contains(t, "CGI in the archive", s.get(client, "/blog/archive/env.cgi/a").body, "SCRIPT_NAME=/blog/archive/env.cgi\n", "PATH_INFO=/a\n")
	for _, path := range []string{"/blog/fail.html", "/blog/archive/fail.html"} {
		got := s.get(client, path, "Accept", "application/problem+json")
		contains(t, "the failure of "+path, got.body, `"instance": "`+path+"#", `"status": 500`)
	}
	if got := s.get(client, "/blogs/"); got.status != http.StatusNotFound {
		t.Errorf("what isn't below the prefix is answered with %d", got.status)
	}

	folder := filepath.Join(filepath.Dir(s.file), "mounts")
	s.reload(func() {
		replace(t, filepath.Join(folder, "urls.d", "news.yaml"), []byte("urls:\n  /news/: {finder: {use: respond, body: news}}\n"))
	})
	contains(t, "a site that was added", s.get(client, "/news/").body, "news")

	file := filepath.Join(folder, "blog", "stack.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.reload(func() { replace(t, file, []byte(strings.Replace(string(text), "The blog}", "The diary}", 1))) })
	contains(t, "the blog under another title, with the sessions as they were", s.get(client, "/blog/").body, "<h1>The diary</h1>", "You came 3 times.")
}
