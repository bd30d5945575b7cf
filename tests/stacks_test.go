package tests

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestStacks checks, starts and asks every file in stacks/.
func TestStacks(t *testing.T) {
	asks := map[string]func(*testing.T, *server){
		"webware.yaml": askWebware,
		"static.yaml":  askStatic,
		"git.yaml":     askGit,
	}
	files, err := filepath.Glob("../stacks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stacks: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ask := asks[name]
			if ask == nil {
				t.Fatalf("nothing asks %s; add it to this test", name)
			}
			if out, err := exec.Command(built(t), "check", file).CombinedOutput(); err != nil {
				t.Fatalf("check: %v\n%s", err, out)
			}
			ask(t, start(t, filepath.Join(copyStacks(t), name)))
		})
	}
}

func askWebware(t *testing.T, s *server) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}

	_, start := s.get(client, "/")
	contains(t, "the start page", start, "<h2>errors</h2>", "<h2>session</h2>", "<h2>finder</h2>", "webware.yaml:", `data-theme="light"`)
	if u, _ := url.Parse(s.url); len(jar.Cookies(u)) > 0 {
		t.Error("the start page set a cookie, and uses no session")
	}

	_, page := s.get(client, "/counter")
	contains(t, "the counter", page, `id="count">0<`)
	for _, want := range []string{`id="count">1<`, `id="count">2<`} {
		r, err := client.PostForm(s.url+"/counter", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		_, page := s.get(client, "/counter")
		contains(t, "the counter", page, want)
	}

	_, admin := s.get(client, "/admin/")
	contains(t, "the administration", admin, `data-theme="dark"`, "<code>/admin/</code>", "<code>15m</code>")

	r, env := s.get(client, "/environment.cgi/some/path?a=1")
	contains(t, "the script's output", env, "PATH_INFO=/some/path\n", "QUERY_STRING=a=1\n", "SCRIPT_NAME=/environment.cgi\n", "STACKD_VAR_THEME=light\n")
	if r.StatusCode != http.StatusOK {
		t.Errorf("the script answered %s", r.Status)
	}

	r, fail := s.get(client, "/fail", "Accept", "text/html")
	if r.StatusCode != http.StatusInternalServerError {
		t.Errorf("the page that fails answered %s", r.Status)
	}
	contains(t, "the traceback", fail, "the page was asked to fail, and did", "fail.html", "webware.yaml:")
	r, plain := s.get(client, "/fail", "Accept", "text/html", "X-Forwarded-For", "192.0.2.1")
	if r.StatusCode != http.StatusInternalServerError || strings.Contains(plain, "fail.html") {
		t.Errorf("a forwarded request was shown the traceback, with %s", r.Status)
	}

	r, _ = s.get(client, "/admin", "Accept", "text/html")
	if r.Request.URL.Path != "/admin/" {
		t.Errorf("/admin ended at %s", r.Request.URL)
	}
	for path, status := range map[string]int{"/nothing": 404, "/.env": 404, "/layouts/base.html": 404} {
		if r, _ := s.get(client, path); r.StatusCode != status {
			t.Errorf("%s answered %s, want %d", path, r.Status, status)
		}
	}
}

func askStatic(t *testing.T, s *server) {
	r, page := s.get(http.DefaultClient, "/")
	contains(t, "the page", page, "A folder of files")
	if tag := r.Header.Get("ETag"); tag == "" {
		t.Error("the page has no ETag")
	} else if again, body := s.get(http.DefaultClient, "/", "If-None-Match", tag); again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("the same page again is %s with %d bytes", again.Status, len(body))
	}
	_, hello := s.get(http.DefaultClient, "/hello")
	contains(t, "hello", hello, "<p>Hello.</p>")
	part, body := s.get(http.DefaultClient, "/hello", "Range", "bytes=0-8")
	if part.StatusCode != http.StatusPartialContent || body != hello[:9] {
		t.Errorf("a part is %s: %q", part.Status, body)
	}
}
