package tests

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func askReporters(t *testing.T, s *server) {
	posts := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/hook" || !strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
			t.Errorf("%s was posted %v, %v", r.URL, r.Header, err)
		}
		posts <- string(body)
	}))
	defer hook.Close()
	s.reload(func() { edit(t, s.file, `http://localhost:8092`, hook.URL) })

	contains(t, "the start page", s.get(http.DefaultClient, "/").body, "<h1>Reporters</h1>")
	fail := s.get(http.DefaultClient, "/fail?token=hunter2")
	id := fail.header.Get("Incident-Id")
	if fail.status != http.StatusInternalServerError || id == "" {
		t.Fatalf("the page that fails answered %d, %v", fail.status, fail.header)
	}
	s.await("request failed", func(r record) bool { return r["incident"] == id })
	contains(t, "the POST", <-posts, `"id":"`+id+`"`, "the page was asked to fail, and did", "token=[redacted]")

	n := s.seen()
	s.reload(func() { edit(t, s.file, `max_files: 200`, `max_files: 100`) }) // what the old one has is written
	s.awaitAfter(n, "generation closed", nil)
	pages, err := filepath.Glob(filepath.Join(filepath.Dir(s.file), "reporters", "incidents", "*-"+id+".html"))
	if err != nil || len(pages) != 1 {
		t.Fatalf("the pages of incident %s are %q, %v", id, pages, err)
	}
	page, err := os.ReadFile(pages[0])
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the incident's page", string(page), "the page was asked to fail, and did", "fail.html:1", "token=[redacted]", "reporters.yaml:")
}
