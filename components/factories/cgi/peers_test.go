//go:build unix

package cgi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackd/stackd/components/factories/cgi"
)

// git runs git in a folder, away from the user's own settings.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"HOME="+t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
	)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// A repository is cloned, pushed to and cloned again through git's own CGI program.
func TestGit(t *testing.T) {
	needs(t, "git")
	if _, err := os.Stat(filepath.Join(git(t, "", "--exec-path"), "git-http-backend")); err != nil {
		needs(t, "git-http-backend")
	}
	repos, work := t.TempDir(), t.TempDir()
	git(t, repos, "init", "-q", "--bare", "-b", "main", "repo.git")
	git(t, filepath.Join(repos, "repo.git"), "config", "http.receivepack", "true")
	s := newSite(t, map[string]string{"git": "exec git http-backend\n"}, func(c *cgi.Config) {
		c.Env = map[string]string{"GIT_PROJECT_ROOT": repos, "GIT_HTTP_EXPORT_ALL": "1"}
	})
	url := s.Server.URL + "/git/repo.git"

	first, second := filepath.Join(work, "first"), filepath.Join(work, "second")
	git(t, work, "clone", "-q", url, first)
	commit := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(first, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		git(t, first, "add", name)
		git(t, first, "commit", "-q", "-m", "add "+name)
	}
	commit("small.txt", []byte("hello\n"))
	git(t, first, "push", "-q", "origin", "HEAD:main")
	big := noise(3 << 20)
	commit("big.bin", big)
	// More than the buffer is sent chunked.
	git(t, first, "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:main")

	git(t, work, "clone", "-q", url, second)
	if got, err := os.ReadFile(filepath.Join(second, "big.bin")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the clone has %d bytes (%v); it must have the %d that were pushed", len(got), err, len(big))
	}
	if a, b := git(t, first, "rev-parse", "HEAD"), git(t, second, "rev-parse", "HEAD"); a != b {
		t.Errorf("the clone is at %s; it must be at %s", b, a)
	}
	commit("more.txt", []byte("more\n"))
	git(t, first, "push", "-q", "origin", "HEAD:main")
	git(t, second, "pull", "-q")
	if a, b := git(t, first, "rev-parse", "HEAD"), git(t, second, "rev-parse", "HEAD"); a != b {
		t.Errorf("after a pull the clone is at %s; it must be at %s", b, a)
	}
	s.Quiet()
	if res := s.Get("/git/none.git/info/refs?service=git-upload-pack"); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown repository is answered with %d", res.StatusCode)
	}
}

// Python's standard library checks what it is given: wsgiref.validate raises at any variable that
// is wrong.
func TestWSGI(t *testing.T) {
	python := needs(t, "python3")
	s := newSite(t, nil, nil)
	s.write("app", `#!`+python+`
from wsgiref.handlers import CGIHandler
from wsgiref.validate import validator

def app(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    start_response("201 Created", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [environ["REQUEST_METHOD"].encode(), b" ", body]

CGIHandler().run(validator(app))
`)
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/app", "", "GET "},
		{"POST", "/app/a/b?c=d", "hello", "POST hello"},
		{"PUT", "/app/", strings.Repeat("x", 100000), "PUT " + strings.Repeat("x", 100000)},
	} {
		t.Run(tt.method, func(t *testing.T) {
			res := s.Send(s.Request(tt.method, tt.path, strings.NewReader(tt.body)))
			if res.StatusCode != 201 || res.Text != tt.want {
				t.Errorf("it is answered with %d and %.100q", res.StatusCode, res.Text)
			}
			s.Quiet()
		})
	}
	s.write("raises", "#!"+python+"\nraise KeyError('no such thing')\n")
	s.Get("/raises")
	if got := fmt.Sprintf("%+v", s.Failure()); got != "raises: it ended without writing anything (exit status 1)" {
		t.Errorf("it was reported: %s", got)
	}
}
