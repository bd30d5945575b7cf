package tests

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
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

// eximConfig makes exim take every mail and keep it in its queue.
const eximConfig = `
primary_hostname = mx.example.org
acl_smtp_rcpt = accept
queue_only
tls_advertise_hosts =
keep_environment =
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
exim_user = %[2]d
exim_group = %[3]d
`

// receiveMail listens for a mail, for a real SMTP server that inetd would start, and returns the
// address and a channel that gets the mail as it is in the server's queue.
func receiveMail(t *testing.T) (string, <-chan string) {
	exim, dir := peer(t, "exim4"), t.TempDir()
	config := filepath.Join(dir, "exim.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, eximConfig, dir, os.Getuid(), os.Getgid()), 0o600); err != nil {
		t.Fatal(err)
	}
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
		f, err := conn.(*net.TCPConn).File()
		conn.Close()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		inetd := exec.CommandContext(t.Context(), exim, "-C", config, "-bs")
		inetd.Stdin, inetd.Stdout = f, f
		var said bytes.Buffer
		inetd.Stderr = &said
		if err := inetd.Run(); err != nil {
			t.Errorf("exim: %v\n%s", err, &said)
		}
		files, err := filepath.Glob(filepath.Join(dir, "spool/input/*-[DH]"))
		if err != nil || len(files) != 2 {
			t.Errorf("exim's queue has %q, %v; it must have one mail\n%s", files, err, &said)
		}
		var letter strings.Builder
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
			}
			letter.WriteString(strings.ReplaceAll(string(text), "=\n", "")) // quoted-printable's line breaks
		}
		letters <- letter.String()
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String(), letters
}
