package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"
)

func TestReadHeader(t *testing.T) {
	for _, tt := range []struct {
		name, output string
		status       int
		fields       http.Header
		length       int64
		body         string
		fails        string
	}{
		{name: "document", output: "Content-Type: text/plain\n\nbody\n", status: 200, fields: http.Header{"Content-Type": {"text/plain"}}, length: -1, body: "body\n"},
		{name: "crlf", output: "Content-Type: text/plain\r\n\r\n\r\nbody", status: 200, fields: http.Header{"Content-Type": {"text/plain"}}, length: -1, body: "\r\nbody"},
		{name: "status", output: "Status: 404 Not Found\nContent-type:text/plain\n\n", status: 404, fields: http.Header{"Content-Type": {"text/plain"}}, length: -1},
		{name: "status alone", output: "status: 204\n\n", status: 204, fields: http.Header{}, length: -1},
		{name: "no length without content", output: "status: 204\nContent-Length: 0\n\n", status: 204, fields: http.Header{}, length: 0},
		{name: "redirect", output: "Location: https://example.org/\n\n", status: 302, fields: http.Header{"Location": {"https://example.org/"}}, length: -1},
		{name: "redirect with status", output: "Status: 301 Moved\nLocation: /there?a\n\n", status: 301, fields: http.Header{"Location": {"/there?a"}}, length: -1},
		{name: "length", output: "Content-Type: a/b\nContent-Length: 4\n\nbody", status: 200, fields: http.Header{"Content-Type": {"a/b"}, "Content-Length": {"4"}}, length: 4, body: "body"},
		{name: "repeated field", output: "Content-Type: a/b\nSet-Cookie: a=1\nset-cookie: b=2\n\n", status: 200, fields: http.Header{"Content-Type": {"a/b"}, "Set-Cookie": {"a=1", "b=2"}}, length: -1},
		{name: "empty value", output: "Content-Type: a/b\nX-Empty:\n\n", status: 200, fields: http.Header{"Content-Type": {"a/b"}, "X-Empty": {""}}, length: -1},
		{name: "left out", output: "Content-Type: a/b\nConnection: close\nTransfer-Encoding: chunked\nX-CGI-Foo: 1\nUpgrade: x\nKeep-Alive: 1\nTrailer: x\n\n", status: 200, fields: http.Header{"Content-Type": {"a/b"}}, length: -1},
		{name: "nothing", output: "", fails: "it ended without writing anything"},
		{name: "no empty line", output: "Content-Type: text/plain\n", fails: "the output ends within the header; an empty line must end it"},
		{name: "no line end", output: "Content-Type: text/plain", fails: "the output ends within the header; an empty line must end it"},
		{name: "no header", output: "\nbody", fails: "the header has none of Content-Type, Location and Status; it must have at least one"},
		{name: "no cgi field", output: "X-A: b\n\nbody", fails: "the header has none of Content-Type, Location and Status; it must have at least one"},
		{name: "text", output: "Traceback (most recent call last)\n\n", fails: `line 1 of the header is "Traceback (most recent call last)"; it must be a field such as Content-Type: text/html`},
		{name: "long text", output: strings.Repeat("x", 300) + "\n\n", fails: `line 1 of the header is "` + strings.Repeat("x", 100) + `…"; it must be a field such as Content-Type: text/html`},
		{name: "html", output: "<html><a href=\"x:y\">\n\n", fails: `line 1 of the header is "<html><a href=\"x:y\">"; it must be a field such as Content-Type: text/html`},
		{name: "space before the colon", output: "Content-Type : a/b\n\n", fails: `line 1 of the header is "Content-Type : a/b"; it must be a field such as Content-Type: text/html`},
		{name: "folded", output: "Content-Type: a/b\nX-A: b\n c\n\n", fails: `line 3 of the header is " c"; it must not be folded`},
		{name: "nul", output: "Content-Type: a/b\x00\n\n", fails: `line 1 of the header is "Content-Type: a/b\x00"; it must have no control characters`},
		{name: "lone cr", output: "Content-Type: a/b\rX: y\n\n", fails: `line 1 of the header is "Content-Type: a/b\rX: y"; it must have no control characters`},
		{name: "non-parsed header", output: "HTTP/1.0 200 OK\nContent-Type: a/b\n\n", fails: `line 1 of the header is "HTTP/1.0 200 OK"; it must be a field; scripts that write a whole response are not understood`},
		{name: "two types", output: "Content-Type: a/b\ncontent-type: c/d\n\n", fails: `line 2 of the header is "content-type: c/d"; it must not come twice`},
		{name: "two statuses", output: "Status: 200\nStatus: 200\n\n", fails: `line 2 of the header is "Status: 200"; it must not come twice`},
		{name: "two lengths", output: "Content-Length: 1\nContent-Length: 1\n\n", fails: `line 2 of the header is "Content-Length: 1"; it must not come twice`},
		{name: "empty location", output: "Location:\n\n", fails: `line 1 of the header is "Location:"; it must have a value`},
		{name: "length is no number", output: "Content-Length: +1\n\n", fails: `line 1 of the header is "Content-Length: +1"; it must be a number of bytes`},
		{name: "status too low", output: "Status: 101 Switching\n\n", fails: `line 1 of the header is "Status: 101 Switching"; it must be a number from 200 to 599, perhaps with a reason`},
		{name: "status too high", output: "Status: 600\n\n", fails: `line 1 of the header is "Status: 600"; it must be a number from 200 to 599, perhaps with a reason`},
		{name: "status is text", output: "Status: fine\n\n", fails: `line 1 of the header is "Status: fine"; it must be a number from 200 to 599, perhaps with a reason`},
		{name: "status is long", output: "Status: 0200\n\n", fails: `line 1 of the header is "Status: 0200"; it must be a number from 200 to 599, perhaps with a reason`},
		{name: "just fits", output: "Content-Type: a/b\nX: " + strings.Repeat("y", 477) + "\n\nbody", status: 200, fields: http.Header{"Content-Type": {"a/b"}, "X": {strings.Repeat("y", 477)}}, length: -1, body: "body"},
		{name: "too long", output: "Content-Type: a/b\nX: " + strings.Repeat("y", 500) + "\n\nbody", fails: "the header is longer than max_header, 500 bytes"},
		{name: "too many lines", output: "Content-Type: a/b\n" + strings.Repeat("X: y\n", 200) + "\n", fails: "the header is longer than max_header, 500 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReaderSize(strings.NewReader(tt.output), 16)
			a, err := ReadHeader(r, 500)
			if tt.fails != "" {
				if err == nil || err.Error() != tt.fails {
					t.Errorf("the error is\n%v\nit must be\n%s", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != tt.status || a.Length != tt.length || string(body) != tt.body {
				t.Errorf("status %d, length %d and body %q must be %d, %d and %q", a.Status, a.Length, body, tt.status, tt.length, tt.body)
			}
			if diff := cmp.Diff(tt.fields, a.Fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzResponseHeader feeds the header parser any output. What it takes can be sent, written
// again it reads as the same, and it never reads far beyond the limit.
func FuzzResponseHeader(f *testing.F) {
	for _, seed := range []string{
		"Content-Type: text/plain\n\nbody", "Status: 404 Not Found\r\nX-A:  b \r\n\r\n", "Location: /x\n\n", "HTTP/1.1 200 OK\n\n",
		"Content-Length: 5\nStatus: 200\nSet-Cookie: a\nSet-Cookie: b\n\n", " folded: x\n\n", "\n", "", "a:b", "Status: 99999999999999999999\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, output string) {
		const limit, buffer = 256, 32
		source := strings.NewReader(output)
		a, err := ReadHeader(bufio.NewReaderSize(source, buffer), limit)
		if read := len(output) - source.Len(); read > limit+2*buffer {
			t.Fatalf("it read %d bytes for a header of at most %d", read, limit)
		}
		if err != nil {
			if err.Error() == "" || errors.Is(err, io.EOF) {
				t.Fatalf("the error %q says nothing", err)
			}
			return
		}
		if a.Status < 200 || a.Status > 599 {
			t.Fatalf("the status is %d", a.Status)
		}
		again := fmt.Sprintf("Status: %d\n", a.Status)
		for _, name := range slices.Sorted(maps.Keys(a.Fields)) {
			for _, value := range a.Fields[name] {
				if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
					t.Fatalf("the field %q: %q can't be sent", name, value)
				}
				again += name + ": " + value + "\n"
			}
		}
		b, err := ReadHeader(bufio.NewReader(strings.NewReader(again+"\n")), limit*8)
		if err != nil {
			t.Fatalf("written again it isn't read: %v", err)
		}
		if diff := cmp.Diff(a.Fields, b.Fields); diff != "" || a.Status != b.Status {
			t.Fatalf("written again it is another (-first +second):\n%s", diff)
		}
	})
}

func TestServer(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	for _, tt := range []struct {
		name, host string
		local      net.Addr
		tls        bool
		want, port string
	}{
		{"host and port", "example.org:81", nil, false, "example.org", "81"},
		{"host", "example.org", nil, false, "example.org", "80"},
		{"tls", "example.org", nil, true, "example.org", "443"},
		{"the port it came in at", "example.org:81", tcp, false, "example.org", "8080"},
		{"unix socket", "example.org", &net.UnixAddr{Name: "x", Net: "unix"}, false, "example.org", "80"},
		{"ipv6 and port", "[::1]:81", nil, false, "[::1]", "81"},
		{"ipv6", "[::1]", nil, false, "[::1]", "80"},
		{"none", "", tcp, false, "127.0.0.1", "8080"},
		{"none, over ipv6", "", &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}, false, "[::1]", "8080"},
		{"none, by a unix socket", "", nil, false, "", "80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := "http://x/"
			if tt.tls {
				url = "https://x/"
			}
			r := httptest.NewRequest("GET", url, nil)
			r.Host = tt.host
			if tt.local != nil {
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.local))
			}
			name, port := server(r)
			if name != tt.want || port != tt.port {
				t.Errorf("it is %q, %q; it must be %q, %q", name, port, tt.want, tt.port)
			}
		})
	}
}
