package webkit_test

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

	"github.com/stackd/stackd/components/servers/webkit"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, webkit.Component,
		registrytest.Case[webkit.Config]{Name: "defaults", Client: func(addr net.Addr) http.RoundTripper { return client{addr} }},
	)
}

// start serves h until the test ends.
func start(t *testing.T, h http.HandlerFunc, change func(*webkit.Config)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, h, change)
	return l.Addr()
}

// serve has a server accept from l until the test ends.
func serve(t testing.TB, l net.Listener, h http.HandlerFunc, change func(*webkit.Config)) {
	t.Helper()
	cfg := webkit.Component.Default
	if change != nil {
		change(&cfg)
	}
	accept := registrytest.Build(t, webkit.Component, cfg, t.Output())
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
	addr := start(t, answer, func(c *webkit.Config) { c.MaxHeader, c.MaxBody, c.BodyIdleTimeout = 1024, 100, 50*time.Millisecond })
	good := func(more ...string) string {
		return request(append([]string{"REQUEST_METHOD", "POST", "REQUEST_URI", "/a", "CONTENT_LENGTH", "4"}, more...)...)
	}
	refused := func(text string) string { return "Status: " + text[:3] + "\r\n…" + text + "\n" }
	wrong := func(text string) string { return refused("400 Bad Request: the dictionary: " + text) }
	foreign := func(line, what string) string {
		return line + "\r\n…This port speaks WebKit's adapter protocol, and not " + what + ". Connect through an adapter that does, such as mod_webkit.\n"
	}
	for _, tt := range []struct {
		name, send string
		half       bool
		want       string
	}{
		{"request", good("HTTP_X_A", "b") + "body", false, "Status: 200 OK\r\n…/a b body"},
		{"half closed", good() + "body", true, "Status: 200 OK\r\n…/a  body"},
		{"no length", request("REQUEST_METHOD", "GET", "REQUEST_URI", "/a") + "body", true, "Status: 200 OK\r\n…/a  "},
		{"another behind it", good() + "body" + good() + "body", false, "Status: 200 OK\r\n…/a  body"},
		{"interned", announced("{" + str("format") + "t\x03\x00\x00\x00CGI" + str("x") + "R\x00\x00\x00\x00" + str("environ") + "{t\x0e\x00\x00\x00REQUEST_METHOD" +
			"t\x03\x00\x00\x00GET" + str("REQUEST_URI") + str("/a") + str("HTTP_X_A") + "R\x02\x00\x00\x0000"), true, "Status: 200 OK\r\n…/a GET "},
		{"interned, and said again and again", announced("{" + str("environ") + "{t\x64\x00\x00\x00HTTP_" + strings.Repeat("a", 95) + str("") + strings.Repeat("R\x00\x00\x00\x00"+str(""), 15) + "00"), false, wrong("it is longer than max_header, 1024 bytes, with its references written out")},
		{"unicode, None and numbers", announced("{u\x06\x00\x00\x00formatNu\x04\x00\x00\x00timeg12345678" + str("a") + "I12345678" + str("b") + "f\x031.0" + str("environ") + "{" +
			str("REQUEST_METHOD") + str("GET") + str("REQUEST_URI") + str("/a") + str("HTTP_X_A") + "u\x02\x00\x00\x00é" + str("HTTP_HOST") + "N00"), true, "Status: 200 OK\r\n…/a é "},
		{"status", announced("{" + str("format") + str("STATUS") + "0"), false, wrong(`format is "STATUS"; it must be "CGI"`)},
		{"quit", announced("{" + str("format") + str("QUIT") + "0"), false, wrong(`format is "QUIT"; it must be "CGI"`)},
		{"no environ", announced("{" + str("format") + str("CGI") + "0"), false, wrong("environ is missing; it must be a dictionary with the variables of the request")},
		{"number in environ", announced("{" + str("environ") + "{" + str("A") + "i123400"), false, wrong(`"A" in environ isn't a text; it must be`)},
		{"code", announced("{" + str("environ") + "c00000"), false, wrong(`there is a value of type "c" in it; it must be made of texts, numbers, None and dictionaries`)},
		{"list", announced("{" + str("environ") + "[\xff\xff\xff\x7f0"), false, wrong(`there is a value of type "[" in it; it must be made of texts, numbers, None and dictionaries`)},
		{"marked for reference", announced("{" + str("environ") + "\xfb00"), false, wrong(`there is a value of type "\xfb" in it; it must be made of texts, numbers, None and dictionaries`)},
		{"reference to nothing", announced("{R\x00\x00\x00\x000"), false, wrong("it refers to a text that hasn't come")},
		{"deep", announced("{" + str("environ") + "{" + str("A") + "{000"), false, wrong("a dictionary lies where there can be none")},
		{"very deep", announced(strings.Repeat("{"+str("a"), 100)), false, wrong("a dictionary lies where there can be none")},
		{"key that is a dictionary", announced("{{0N0"), false, wrong("a dictionary lies where there can be none")},
		{"key that is a number", announced("{i1234N0"), false, wrong("a key isn't a text; it must be")},
		{"key without value", announced("{" + str("a") + "0"), false, wrong(`"a" has no value`)},
		{"more behind it", announced("{" + str("environ") + "{000"), false, wrong("1 bytes stand behind it; there must be none")},
		{"without an end", announced("{" + str("environ") + "{0"), false, wrong("it ends too early")},
		{"text beyond the end", announced("{s\xff\xff\xff\xff0"), false, wrong("it ends too early")},
		{"half a number", announced("{" + str("a") + "i12"), false, wrong("it ends too early")},
		{"not UTF-8", announced("{u\x01\x00\x00\x00\xff"), false, wrong(`"\xff" isn't UTF-8; it must be`)},
		{"no dictionary", "i\x00\x00\x00\x00{", false, wrong("it ends too early")},
		{"header injection", good("HTTP_X_A", "b\r\nc: d"), false, refused(`400 Bad Request: HTTP_X_A is "b\r\nc: d"; it can't be a field of a header`)},
		{"two lengths", good("CONTENT_LENGTH", "8") + "body", false, refused(`400 Bad Request: CONTENT_LENGTH is "4" and "8"; it must not have two values`)},
		{"negative length", request("REQUEST_METHOD", "GET", "CONTENT_LENGTH", "-4"), false, refused(`400 Bad Request: CONTENT_LENGTH is "-4"; it must be a number of bytes`)},
		{"too long", "i\x01\x04\x00\x00{", false, refused("431 Request Header Fields Too Large: the dictionary is longer than max_header, 1024 bytes")},
		{"negative", "i\xff\xff\xff\xff{", false, refused("431 Request Header Fields Too Large: the dictionary is longer than max_header, 1024 bytes")},
		{"body too long", request("CONTENT_LENGTH", "101", "REQUEST_METHOD", "POST", "REQUEST_URI", "/"), false, refused("413 Request Entity Too Large: the request body may have at most 100 bytes")},
		{"body too short", good() + "bod", true, "Status: 400 Bad Request\r\n…the body ends 1 bytes before its CONTENT_LENGTH: unexpected EOF"},
		{"body stalls", good() + "bod", false, "Status: 408 Request Timeout\r\n…the request body stalled for 50ms: "},
		{"half a dictionary", good()[:20], true, ""},
		{"half a length", "i\x01", true, ""},
		{"http", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, foreign("HTTP/1.1 400 Bad Request", "HTTP")},
		{"scgi", "70:CONTENT_LENGTH", false, foreign("Status: 502 Bad Gateway", "SCGI")},
		{"a word", "information\n", false, foreign("HTTP/1.1 400 Bad Request", "what you sent")},
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

// A dictionary that doesn't come holds no connection for long.
func TestTimeout(t *testing.T) {
	for name, send := range map[string]string{"nothing": "", "half a length": "i", "no dictionary": announced(""), "half a dictionary": request()[:10]} {
		t.Run(name, func(t *testing.T) {
			addr := start(t, answer, func(c *webkit.Config) { c.ReadHeaderTimeout = 50 * time.Millisecond })
			if got := ask(t, addr, send, false); got != "" {
				t.Errorf("it is answered with %q", got)
			}
		})
	}
}

// FuzzServer sends any bytes. The server goes on.
func FuzzServer(f *testing.F) {
	good := request("REQUEST_METHOD", "POST", "REQUEST_URI", "/a", "CONTENT_LENGTH", "4")
	for _, seed := range []string{good + "body", good, good[:20], "GET / HTTP/1.1\r\n\r\n", announced("{0"), announced("{N0"), announced("{R0000"), "i\xff\xff\xff\x7f{"} {
		f.Add(seed)
	}
	// One server for all, on a unix socket: ports would run out.
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "s"))
	if err != nil {
		f.Fatal(err)
	}
	serve(f, l, answer, func(c *webkit.Config) { c.ReadHeaderTimeout, c.BodyIdleTimeout = time.Second, time.Second })
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
