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

// TestStacks checks, tests, starts and asks every file in stacks/.
func TestStacks(t *testing.T) {
	asks := map[string]func(*testing.T, *server){
		"webware.yaml":       askWebware,
		"static.yaml":        askStatic,
		"git.yaml":           askGit,
		"front.yaml":         askFront,
		"docs.yaml":          askDocs,
		"php.yaml":           askPHP,
		"behind-nginx.yaml":  askBehindNginx,
		"behind-apache.yaml": askBehindApache,
		"limits.yaml":        askLimits,
		"proxy.yaml":         askProxy,
		"servlets.yaml":      askServlets,
		"reporters.yaml":     askReporters,
		"hooks.yaml":         askHooks,
		"site.yaml":          askSite,
		"tls.yaml":           askTLS,
		"status.yaml":        askStatus,
		"mounts.yaml":        askMounts,
		"dev.yaml":           askDev,
	}
	// Those that aren't started here.
	runs := map[string]func(t *testing.T, file string){"cgi-bin.yaml": runCGIBin}
	// What must be there before the file can run.
	prepares := map[string]func(t *testing.T, stacks string){"site.yaml": certify, "tls.yaml": prepareTLS}
	files, err := filepath.Glob("../stacks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stacks: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasSuffix(name, ".test.yaml") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ask := asks[name]
			run := runs[name]
			if ask == nil && run == nil {
				t.Fatalf("nothing asks %s; add it to this test", name)
			}
			if out, err := exec.Command(built(t), "check", file).CombinedOutput(); err != nil {
				t.Fatalf("check: %v\n%s", err, out)
			}
			if out, err := exec.Command(built(t), "fmt", "-d", file, strings.TrimSuffix(file, ".yaml")+".test.yaml").CombinedOutput(); err != nil {
				t.Errorf("fmt: %v\n%s", err, out)
			}
			// As it is shipped, and with lint between every two slots, so that each piece is seen to keep to the rules.
			for _, lint := range []bool{false, true} {
				stacks := copyStacks(t)
				copied := filepath.Join(stacks, name)
				if lint {
					replace(t, copied, withLint(t, copied))
				} else if out, err := exec.Command(built(t), "test", copied).CombinedOutput(); err != nil {
					t.Errorf("test: %v\n%s", err, out)
				}
				if prepare := prepares[name]; prepare != nil {
					prepare(t, stacks)
				}
				if run != nil {
					run(t, copied)
					return
				}
				s := start(t, copied)
				ask(t, s)
				s.clean()
				s.stop()
			}
		})
	}
}

func askWebware(t *testing.T, s *server) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}

	contains(t, "the start page", s.get(client, "/").body, "<h2>errors</h2>", "<h2>session</h2>", "<h2>finder</h2>", "webware.yaml:", `data-theme="light"`)
	if u, _ := url.Parse(s.url); len(jar.Cookies(u)) > 0 {
		t.Error("the start page set a cookie, and uses no session")
	}

	contains(t, "the counter", s.get(client, "/counter").body, `id="count">0<`)
	for _, want := range []string{`id="count">1<`, `id="count">2<`} {
		post, err := http.NewRequest(http.MethodPost, s.url+"/counter", nil)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "the counter", s.do(client, post).body, want)
	}

	contains(t, "the administration", s.get(client, "/admin/").body, `data-theme="dark"`, "<code>/admin/</code>", "<code>15m</code>")

	contains(t, "the script's output", s.get(client, "/environment.cgi/some/path?a=1").body,
		"PATH_INFO=/some/path\n", "QUERY_STRING=a=1\n", "SCRIPT_NAME=/environment.cgi\n", "STACKD_VAR_THEME=light\n")

	fail := s.get(client, "/fail", "Accept", "text/html")
	if fail.status != http.StatusInternalServerError {
		t.Errorf("the page that fails answered %d", fail.status)
	}
	contains(t, "the traceback", fail.body, "the page was asked to fail, and did", "fail.html", "webware.yaml:")
	plain := s.get(client, "/fail", "Accept", "text/html", "X-Forwarded-For", "192.0.2.1")
	if plain.status != http.StatusInternalServerError || strings.Contains(plain.body, "fail.html") {
		t.Errorf("a forwarded request was shown the traceback, with %d", plain.status)
	}

	if at := s.get(client, "/admin").url; at.Path != "/admin/" {
		t.Errorf("/admin ended at %s", at)
	}
	for path, status := range map[string]int{"/nothing": 404, "/.env": 404, "/layouts/base.html": 404} {
		if got := s.get(client, path).status; got != status {
			t.Errorf("%s answered %d, want %d", path, got, status)
		}
	}
}

func askStatic(t *testing.T, s *server) {
	page := s.get(http.DefaultClient, "/")
	contains(t, "the page", page.body, "A folder of files")
	if tag := page.header.Get("ETag"); tag == "" {
		t.Error("the page has no ETag")
	} else if again := s.get(http.DefaultClient, "/", "If-None-Match", tag); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("the same page again is %d with %d bytes", again.status, len(again.body))
	}
	hello := s.get(http.DefaultClient, "/hello").body
	contains(t, "hello", hello, "<p>Hello.</p>")
	if part := s.get(http.DefaultClient, "/hello", "Range", "bytes=0-8"); part.status != http.StatusPartialContent || part.body != hello[:9] {
		t.Errorf("a part is %d: %q", part.status, part.body)
	}
}
