package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secret is what must never come out.
const secret = "the content of a file that is nobody's business"

// TestRaw sends bytes that no decent client sends to the essay's stack, each on a connection of
// its own, and expects a clear 4xx (or 501), nothing leaked, and a server that goes on.
func TestRaw(t *testing.T) {
	t.Parallel()
	dir := copyStacks(t)
	site := filepath.Join(dir, "webware", "site")
	for name, content := range map[string]string{
		"webware/secret.txt": secret, "webware/site/.env": secret, "webware/site/.git/config": secret,
		"webware/site/page.html.bak": secret, "webware/site/counter.html~": secret, "webware/site/environment.cgi.orig": secret,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out.txt": "../secret.txt", "up": "..", "disk": "/"} {
		if err := os.Symlink(target, filepath.Join(site, link)); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, filepath.Join(dir, "webware.yaml"), `listen: "127.0.0.1:0"`, `listen: "127.0.0.1:0", read_header_timeout: 1s, body_idle_timeout: 1s, max_header: 16KiB, max_body: 64KiB`)
	s := start(t, filepath.Join(dir, "webware.yaml"))
	address := strings.TrimPrefix(s.url, "http://")

	ok := "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	form := "POST /counter HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	long := strings.Repeat("a", 100_000)
	for _, tt := range []struct {
		name, request string
		status        []int // of the answer; 0 for a connection closed without one
	}{
		{"dot dot", "GET /../secret.txt " + ok, []int{400}},
		{"dot dot deep", "GET /admin/../../secret.txt " + ok, []int{400}},
		{"encoded dots", "GET /%2e%2e/secret.txt " + ok, []int{400}},
		{"half encoded dots", "GET /.%2e/secret.txt " + ok, []int{400}},
		{"encoded slash", "GET /..%2fsecret.txt " + ok, []int{400, 404}},
		{"double encoding", "GET /%252e%252e/secret.txt " + ok, []int{404}},
		{"backslash", "GET /..\\secret.txt " + ok, []int{400}},
		{"encoded backslash", "GET /..%5csecret.txt " + ok, []int{400}},
		{"NUL", "GET /index.html%00.txt " + ok, []int{400}},
		{"empty segment", "GET //secret.txt " + ok, []int{400, 404}},
		{"empty segment inside", "GET /admin//index.html " + ok, []int{400, 404}},
		{"dot file", "GET /.env " + ok, []int{404}},
		{"dot folder", "GET /.git/config " + ok, []int{404}},
		{"encoded dot file", "GET /%2eenv " + ok, []int{404}},
		{"backup of a source", "GET /page.html.bak " + ok, []int{404}},
		{"backup of an editor", "GET /counter.html~ " + ok, []int{404}},
		{"copy of a script", "GET /environment.cgi.orig " + ok, []int{404}},
		{"link out of the root", "GET /out.txt " + ok, []int{404}},
		{"folder link out of the root", "GET /up/secret.txt " + ok, []int{404}},
		{"link to the root of the disk", "GET /disk/etc/passwd " + ok, []int{404}},
		{"overlong UTF-8 dots", "GET /%c0%ae%c0%ae/secret.txt " + ok, []int{400, 404}},
		{"absolute target elsewhere", "GET http://x/../secret.txt " + ok, []int{400}},
		{"no target", "GET " + ok, []int{400}},
		{"target without slash", "GET secret.txt " + ok, []int{400}},
		{"bad escape", "GET /%zz " + ok, []int{400}},
		{"no method", " / " + ok, []int{400}},
		{"bad method", "G@T / " + ok, []int{400}},
		{"unknown method", "BREW /style.css " + ok, []int{405}},
		{"no version", "GET /\r\n\r\n", []int{400}},
		{"bad version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", []int{400, 505}},
		{"no host", "GET / HTTP/1.1\r\n\r\n", []int{400}},
		{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}},
		{"bad host", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n", []int{400}},
		{"header without colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", []int{400}},
		{"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", []int{400}},
		{"obsolete folding first", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", []int{400}},
		{"NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", []int{400}},
		{"length not a number", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", []int{400}},
		{"negative length", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", []int{400}},
		{"two lengths", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", []int{400}},
		{"unknown coding", "POST /counter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", []int{400, 501}},
		{"coding in disguise", "POST /counter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", []int{400, 501}},
		{"bad chunk size", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", []int{400}},
		{"chunk size of more than 64 bits", form + "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na", []int{400}},
		{"signed chunk size", form + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", []int{400}},
		{"chunk size in disguise", form + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", []int{400}},
		{"chunk that goes on", form + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", []int{400}},
		{"chunk size ended by a line feed", form + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", []int{400}},
		{"chunk extension with a line feed", form + "Transfer-Encoding: chunked\r\n\r\n1;a=\nb\r\na\r\n0\r\n\r\n", []int{400}},
		{"endless chunk extension", form + "Transfer-Encoding: chunked\r\n\r\n1;" + long, []int{400}},
		{"many empty chunk extensions", form + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+long[:4000]+"\r\na\r\n", 30), []int{400}},
		{"chunked twice", form + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}},
		{"chunked and another", form + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", []int{400, 501}},
		{"empty coding", form + "Transfer-Encoding: \r\n\r\n", []int{400, 501}},
		{"two lengths in one", form + "Content-Length: 1, 2\r\n\r\nab", []int{400}},
		{"length of more than 64 bits", form + "Content-Length: 18446744073709551617\r\n\r\na", []int{400}},
		{"header too long", "GET / HTTP/1.1\r\nHost: x\r\nA: " + long + "\r\n\r\n", []int{431}},
		{"target too long", "GET /" + long + " " + ok, []int{414, 431}},
		{"body announced too long", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n", []int{413}},
		{"body turns out too long", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long, []int{413}},
		{"body stalls", "POST /counter HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nabc", []int{408}},
		{"header stalls", "GET / HTTP/1.1\r\nHost:", []int{0, 408}},
		{"nothing at all", "", []int{0, 408}},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []int{0, 400}},
		{"noise", strings.Repeat("\x00\xff\x13\x37\r\n", 100), []int{400}},
		{"another protocol", "SSH-2.0-OpenSSH_9.2p1\r\n", []int{400}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := exchange(t, address, tt.request)
			good := false
			for _, want := range tt.status {
				good = good || status == want
			}
			if !good {
				t.Errorf("the status is %d, want %v:\n%.600s", status, tt.status, answer)
			}
			for _, leak := range []string{secret, dir, "goroutine ", "root:", "{{"} {
				if strings.Contains(answer, leak) {
					t.Errorf("the answer has %q in it:\n%.600s", leak, answer)
				}
			}
		})
	}
	if page := s.get(http.DefaultClient, "/"); page.status != http.StatusOK || !strings.Contains(page.body, "A web server you assemble") {
		t.Errorf("after all that the start page is %d", page.status)
	}
	if strings.Contains(s.log(), "panic") {
		t.Errorf("something panicked:\n%s", s.log())
	}
}

// exchange sends a request and returns the status of the answer, 0 without one, and all of
// it.
func exchange(t *testing.T, address, request string) (status int, answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before it has read everything.
	_, _ = io.WriteString(conn, request)
	received, _ := io.ReadAll(io.LimitReader(conn, 1<<20))
	if _, err := fmt.Sscanf(string(received), "HTTP/1.%d %d", new(int), &status); err != nil {
		return 0, string(received)
	}
	return status, string(received)
}
