package tests

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// askHooks asks for what hooks have an answer for, and changes the list of redirects.
func askHooks(t *testing.T, s *server) {
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	leads := func(path string, status int, to string) {
		t.Helper()
		if got := s.get(stay, path); got.status != status || got.header.Get("Location") != to {
			t.Errorf("%s is answered with %d to %q, want %d to %q", path, got.status, got.header.Get("Location"), status, to)
		}
	}
	leads("/start.html", 301, "/")
	leads("/docs/install?a=b", 301, "/manual/install?a=b")
	leads("/news", 302, "https://news.example.org/")
	leads("/manual", 308, "./manual/")
	leads("/shared?a", 308, "./shared/?a")
	leads("/old", 404, "")

	for path, want := range map[string]string{
		"/":                 "Not all in one folder",
		"/start.html":       "Not all in one folder",
		"/shared/style.css": "font:",
		"/manual/":          "The manual, 1.0",
		"/docs/install":     "nothing to install",
	} {
		got := s.get(http.DefaultClient, path)
		contains(t, path, got.body, want)
		if got.status != http.StatusOK {
			t.Errorf("%s is answered with %d", path, got.status)
		}
	}
	for _, path := range []string{"/manual/.secret", "/manual/nothing", "/shared/", "/shared/index.html"} {
		if got := s.get(http.DefaultClient, path); got.status != http.StatusNotFound {
			t.Errorf("%s is answered with %d, want 404", path, got.status)
		}
	}

	list := filepath.Join(filepath.Dir(s.file), "hooks", "redirects.txt")
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	s.reload(func() { replace(t, list, append(data, "/old /new\n"...)) })
	leads("/old", 301, "/new")

	// A list with a fault leaves the old one in place.
	n := s.seen()
	replace(t, list, []byte("/old\n"))
	s.awaitAfter(n, "reload refused, the old generation serves on", nil)
	leads("/old", 301, "/new")
}
