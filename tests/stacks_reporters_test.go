package tests

import (
	"bufio"
	"io"
	"net"
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
	server, letters := receiveMail(t)
	s.reload(func() { edit(t, s.file, `http://localhost:8092`, hook.URL) })
	s.reload(func() { edit(t, s.file, `localhost:25`, server) })

	contains(t, "the start page", s.get(http.DefaultClient, "/").body, "<h1>Reporters</h1>")
	fail := s.get(http.DefaultClient, "/fail?token=hunter2")
	id := fail.header.Get("Incident-Id")
	if fail.status != http.StatusInternalServerError || id == "" {
		t.Fatalf("the page that fails answered %d, %v", fail.status, fail.header)
	}
	s.await("request failed", func(r record) bool { return r["incident"] == id })
	contains(t, "the POST", <-posts, `"id":"`+id+`"`, "the page was asked to fail, and did", "token=[redacted]")

	contains(t, "the mail", <-letters, "From: \"The site\" <stackd@localhost>", "[stackd]_GET_127.0.0.1:", "the page was asked to fail, and did", id)

	n := s.seen()
	s.reload(func() { edit(t, s.file, `max_files: 200`, `max_files: 100`) }) // what the old one has is written
	s.awaitAfter(n, "generation closed", func(r record) bool { return r["generation"] == 3.0 })
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

// receiveMail listens for a mail by SMTP, and returns the address and a channel that gets it.
func receiveMail(t *testing.T) (string, <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	letters := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return // no mail came
		}
		defer conn.Close()
		say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
		say("220 mx.example.org")
		in := bufio.NewScanner(conn)
		for in.Scan() {
			switch in.Text() {
			case "DATA":
				say("354 go on")
				var letter strings.Builder
				for in.Scan() && in.Text() != "." {
					letter.WriteString(in.Text() + "\n")
				}
				letters <- strings.ReplaceAll(letter.String(), "=\n", "") // quoted-printable's line breaks
				say("250 taken")
			case "QUIT":
				say("221 bye")
				return
			default:
				say("250 ok")
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String(), letters
}
