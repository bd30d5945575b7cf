package tests

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
)

func askLimits(t *testing.T, s *server) {
	page := s.get(http.DefaultClient, "/", "Accept-Encoding", "identity")
	contains(t, "the page", page.body, "A guarded site")
	small := s.get(http.DefaultClient, "/", "Accept-Encoding", "gzip")
	if got := small.header.Get("Content-Encoding"); got != "gzip" || len(small.body) > len(page.body)*2/3 {
		t.Errorf("the page is %d bytes of %q, and %d bytes as it is", len(small.body), got, len(page.body))
	}
	z, err := gzip.NewReader(strings.NewReader(small.body))
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := io.ReadAll(z); err != nil || string(whole) != page.body {
		t.Errorf("the page is another one when compressed (%v)", err)
	}
}
