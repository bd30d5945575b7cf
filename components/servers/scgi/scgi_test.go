package scgi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/components/servers/scgi"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, scgi.Component,
		registrytest.Case[scgi.Config]{Name: "defaults", Client: func(addr net.Addr) http.RoundTripper { return client{addr} }},
	)
}

// start serves h until the test ends.
func start(t *testing.T, h http.HandlerFunc, change func(*scgi.Config)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, h, change)
	return l.Addr()
}

// serve has a server accept from l until the test ends.
func serve(t testing.TB, l net.Listener, h http.HandlerFunc, change func(*scgi.Config)) {
	t.Helper()
	cfg := scgi.Component.Default
	if change != nil {
		change(&cfg)
	}
	accept := registrytest.Build(t, scgi.Component, cfg, t.Output())
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- accept(ctx, l, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// answer answers with the body, or what is wrong with it.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = nil
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(failure.Status(err))
		_, _ = io.WriteString(w, err.Error()) // the client looks at it
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s", r.URL.Path, r.Header.Get("X-A"), body) // as above
}

// ask sends text, ends that direction if half says so, and returns what comes back.
func ask(t *testing.T, addr net.Addr, text string, half bool) string {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, text) // it may be refused meanwhile
	if half {
		_ = c.(*net.TCPConn).CloseWrite() // as above
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

func TestHeader(t *testing.T) {
	addr := start(t, answer, func(c *scgi.Config) { c.MaxHeader, c.MaxBody, c.BodyIdleTimeout = 1024, 100, 50*time.Millisecond })
	good := func(more ...string) string {
		return netstring(append([]string{"CONTENT_LENGTH", "4", "SCGI", "1", "REQUEST_METHOD", "POST", "REQUEST_URI", "/a"}, more...)...)
	}
	refused := func(text string) string { return "Status: " + text[:3] + "\r\n…" + text + "\n" }
	for _, tt := range []struct {
		name, send string
		half       bool
		want       string
	}{
		{"request", good("HTTP_X_A", "b") + "body", false, "Status: 200 OK\r\n…/a b body"},
		{"half closed", good() + "body", true, "Status: 200 OK\r\n…/a  body"},
		{"another behind it", good() + "body" + good() + "body", false, "Status: 200 OK\r\n…/a  body"},
		{"empty value", good("HTTP_X_A", "") + "body", false, "Status: 200 OK\r\n…/a  body"},
		{"no variables", "0:,", false, refused("400 Bad Request: the header is empty; it must begin with CONTENT_LENGTH")},
		{"another first", netstring("SCGI", "1", "CONTENT_LENGTH", "4"), false, refused(`400 Bad Request: the header begins with "SCGI"; it must begin with CONTENT_LENGTH`)},
		{"no length", netstring("CONTENT_LENGTH", "", "SCGI", "1"), false, refused("400 Bad Request: CONTENT_LENGTH is empty; it must be a number of bytes")},
		{"negative length", netstring("CONTENT_LENGTH", "-4", "SCGI", "1", "REQUEST_METHOD", "GET"), false, refused(`400 Bad Request: CONTENT_LENGTH is "-4"; it must be a number of bytes`)},
		{"two lengths", good("CONTENT_LENGTH", "8") + "body", false, refused(`400 Bad Request: CONTENT_LENGTH is "4" and "8"; it must not have two values`)},
		{"no version", netstring("CONTENT_LENGTH", "4"), false, refused(`400 Bad Request: SCGI is ""; it must be "1" (in nginx: scgi_param SCGI 1)`)},
		{"another version", netstring("CONTENT_LENGTH", "4", "SCGI", "2"), false, refused(`400 Bad Request: SCGI is "2"; it must be "1" (in nginx: scgi_param SCGI 1)`)},
		{"no name", good("", "x"), false, refused(`400 Bad Request: the value "x" has no name`)},
		{"no value", "15:CONTENT_LENGTH\x00,", false, refused(`400 Bad Request: the header ends within "CONTENT_LENGTH"; a NUL must end every name and every value`)},
		{"value without an end", "16:CONTENT_LENGTH\x004,", false, refused(`400 Bad Request: the header ends within "CONTENT_LENGTH"; a NUL must end every name and every value`)},
		{"no comma", "17:CONTENT_LENGTH\x004\x00;", false, refused(`400 Bad Request: the header is followed by ';'; it must be a comma`)},
		{"length longer than the header", "18:CONTENT_LENGTH\x004\x00,b", false, refused(`400 Bad Request: the header is followed by 'b'; it must be a comma`)},
		{"zero before the length", "017:CONTENT_LENGTH\x004\x00,", false, refused(`400 Bad Request: the length of the header begins with 01; it must be a number such as 70`)},
		{"header injection", good("HTTP_X_A", "b\r\nc: d"), false, refused(`400 Bad Request: HTTP_X_A is "b\r\nc: d"; it can't be a field of a header`)},
		{"too long", "1025:", false, refused("431 Request Header Fields Too Large: the header is longer than max_header, 1024 bytes")},
		{"much too long", strings.Repeat("9", 1<<20), false, refused("431 Request Header Fields Too Large: the header is longer than max_header, 1024 bytes")},
		{"body too long", netstring("CONTENT_LENGTH", "101", "SCGI", "1", "REQUEST_METHOD", "POST", "REQUEST_URI", "/"), false, refused("413 Request Entity Too Large: the request body may have at most 100 bytes")},
		{"body too short", good() + "bod", true, "Status: 400 Bad Request\r\n…the body ends 1 bytes before its CONTENT_LENGTH: unexpected EOF"},
		{"body stalls", good() + "bod", false, "Status: 408 Request Timeout\r\n…the request body stalled for 50ms: "},
		{"half a header", good()[:20], true, ""},
		{"half a length", "12", true, ""},
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, "HTTP/1.1 400 Bad Request\r\n…This port speaks SCGI, and not HTTP. Connect through a web server that does, as nginx' scgi_pass.\n"},
		{"a number", "12 ", false, "HTTP/1.1 400 Bad Request\r\n…This port speaks SCGI, and not what you sent. Connect through a web server that does, as nginx' scgi_pass.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(t, addr, tt.send, tt.half)
			if head, body, ok := strings.Cut(got, "\r\n\r\n"); ok {
				line, _, _ := strings.Cut(head, "\r\n")
				got = line + "\r\n…" + body
			}
			if got != tt.want && (tt.name != "body stalls" || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("it is answered with %q; it must be %q", got, tt.want)
			}
		})
	}
}

// A header that doesn't come holds no connection for long.
func TestTimeout(t *testing.T) {
	for name, send := range map[string]string{"nothing": "", "half a length": "1", "half a header": "70:CONTENT_LENGTH\x004\x00"} {
		t.Run(name, func(t *testing.T) {
			addr := start(t, answer, func(c *scgi.Config) { c.ReadHeaderTimeout = 50 * time.Millisecond })
			if got := ask(t, addr, send, false); got != "" {
				t.Errorf("it is answered with %q", got)
			}
		})
	}
}

// FuzzServer sends any bytes. The server goes on.
func FuzzServer(f *testing.F) {
	good := netstring("CONTENT_LENGTH", "4", "SCGI", "1", "REQUEST_METHOD", "POST", "REQUEST_URI", "/a")
	for _, seed := range []string{good + "body", good, good[:20], "GET / HTTP/1.1\r\n\r\n", "0:,", "1:\x00,", "3:a\x00b,", "99999999999:"} {
		f.Add(seed)
	}
	// One server for all, on a unix socket: ports would run out.
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "s"))
	if err != nil {
		f.Fatal(err)
	}
	serve(f, l, answer, func(c *scgi.Config) { c.ReadHeaderTimeout, c.BodyIdleTimeout = time.Second, time.Second })
	addr := l.Addr()
	f.Fuzz(func(t *testing.T, data string) {
		c, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, data) // it may be closed meanwhile
		_ = c.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		if got := ask(t, addr, good+"body", false); !strings.HasSuffix(got, "\r\n\r\n/a  body") {
			t.Errorf("then it answers %q", got)
		}
	})
}
