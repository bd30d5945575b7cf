package tests

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// askGit clones and pushes through git's own http-backend.
func askGit(t *testing.T, s *server) {
	git := peer(t, "git")
	if _, err := exec.Command(git, "http-backend").CombinedOutput(); err != nil && strings.Contains(err.Error(), "not a git command") {
		unable(t, "the peer git http-backend is missing")
	}
	home := t.TempDir()
	run := func(dir string, args ...string) string {
		t.Helper()
		c := exec.Command(git, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s\n%s", strings.Join(args, " "), err, out, s.log())
		}
		return string(out)
	}
	repository := filepath.Join(filepath.Dir(s.file), "git", "repositories", "demo.git")
	run(home, "init", "--quiet", "--bare", "--initial-branch=main", repository)
	run(repository, "config", "http.receivepack", "true")

	url := s.url + "/git/demo.git"
	run(home, "clone", "--quiet", url, "first")
	first := filepath.Join(home, "first")
	// More than http.postBuffer, so that git sends it chunked.
	big := make([]byte, 3<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(big)
	if err := os.WriteFile(filepath.Join(first, "big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	run(first, "checkout", "--quiet", "-B", "main")
	run(first, "add", ".")
	run(first, "commit", "--quiet", "--message=big")
	run(first, "push", "--quiet", "origin", "main")
	run(home, "clone", "--quiet", url, "second")
	got, err := os.ReadFile(filepath.Join(home, "second", "big"))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("the file that was pushed came back with %d bytes, not the same %d: %v", len(got), len(big), err)
	}
	if want, have := run(first, "rev-parse", "main"), run(repository, "rev-parse", "main"); want != have {
		t.Errorf("the repository is at %s, and the clone at %s", have, want)
	}
}
