package cgi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/components/servers/cgi"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, cgi.Component, registrytest.Case[cgi.Config]{Name: "defaults", Process: true})
}

// process is a connection that is a process with that environment and input.
type process struct {
	net.Conn // nil
	environ  []string
	input    io.Reader
	output   bytes.Buffer
	closed   chan struct{}
}

func (p *process) Environ() []string              { return p.environ }
func (p *process) Read(b []byte) (int, error)     { return p.input.Read(b) }
func (p *process) Write(b []byte) (int, error)    { return p.output.Write(b) }
func (*process) SetReadDeadline(time.Time) error  { return nil }
func (*process) SetWriteDeadline(time.Time) error { return nil }
func (p *process) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// once accepts one connection, and then no other.
type once struct {
	conn   net.Conn
	wait   <-chan struct{}
	closed chan struct{}
}

func (l *once) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	select {
	case <-l.wait:
		return nil, io.EOF
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *once) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (*once) Addr() net.Addr { return &net.UnixAddr{Name: "process", Net: "unix"} }

// run answers one request, and returns the output.
func run(t *testing.T, h http.HandlerFunc, input string, environ ...string) (string, error) {
	t.Helper()
	cfg := cgi.Component.Default
	cfg.MaxBody = 100
	reg, err := registry.New(cgi.Component)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := reg.Lookup(registry.KindServer, "cgi").Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{environ: environ, input: strings.NewReader(input), closed: make(chan struct{})}
	err = instance.Product.(registry.ServeFunc)(context.WithoutCancel(t.Context()), &once{conn: p, wait: p.closed, closed: make(chan struct{})}, h)
	if err := instance.Close(); err != nil {
		t.Error(err)
	}
	return p.output.String(), err
}

// prefixIn is the prefix of a stack whose request has that room.
func prefixIn(room *environ.Room) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	return environ.Prefix.Get(new(environ.Base).Open(r.WithContext(roomContext{r.Context(), room})))
}

// roomContext is the context of a request that has a room, as the program's are.
type roomContext struct {
	context.Context
	room *environ.Room
}

func (c roomContext) Value(key any) any {
	if v := c.room.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// answer answers with what it was asked.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = nil
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(failure.Status(err))
		_, _ = io.WriteString(w, err.Error()) // the test looks at it
		return
	}
	var room environ.Room
	room.Mount(r)
	_, _ = fmt.Fprintf(w, "%s %q %s %s %q", r.Method, r.URL.Path, r.URL.RequestURI(), r.RequestURI, body) // as above
	if prefix := prefixIn(&room); prefix != "" {
		_, _ = fmt.Fprintf(w, " below %s", prefix) // as above
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		environ     []string
		want        string
	}{
		{
			"in a cgi-bin", "body more",
			[]string{"REQUEST_METHOD=POST", "REQUEST_URI=/cgi-bin/site.cgi/a%20b/%63?d=%20", "SCRIPT_NAME=/cgi-bin/site.cgi", "PATH_INFO=/a b/c", "QUERY_STRING=d=%20", "CONTENT_LENGTH=4", "PATH=/bin"},
			`POST "/a b/c" /a%20b/%63?d=%20 /cgi-bin/site.cgi/a%20b/%63?d=%20 "body" below /cgi-bin/site.cgi`,
		},
		{"rewritten to", "", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/a%2Cb", "SCRIPT_NAME=/cgi-bin/site.cgi", "PATH_INFO=/a,b"}, `GET "/a,b" /a,b /a%2Cb ""`},
		{"the program itself", "", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/cgi-bin/site.cgi?", "SCRIPT_NAME=/cgi-bin/site.cgi"}, `GET "/" /? /cgi-bin/site.cgi? "" below /cgi-bin/site.cgi`},
		{"a name that a URL escapes", "", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/a%20site/b", "SCRIPT_NAME=/a site", "PATH_INFO=/b"}, `GET "/b" /b /a%20site/b ""`},
		{"two slashes, which would begin a host", "", []string{"REQUEST_METHOD=GET", "REQUEST_URI=//evil.example/b", "SCRIPT_NAME=//evil.example", "PATH_INFO=/b"}, `GET "/b" /b //evil.example/b ""`},
		{"at the root", "", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/b", "SCRIPT_NAME=/", "PATH_INFO=/b"}, `GET "/b" /b /b ""`},
		{"least", "", []string{"REQUEST_METHOD=GET"}, `GET "/" / / ""`},
		{"no length", "body", []string{"REQUEST_METHOD=POST", "PATH_INFO=/a"}, `POST "/a" /a /a ""`},
		{"too short", "bod", []string{"REQUEST_METHOD=POST", "CONTENT_LENGTH=4"}, "the body ends 1 bytes before its CONTENT_LENGTH: unexpected EOF"},
		{"too long", "", []string{"REQUEST_METHOD=POST", "CONTENT_LENGTH=101"}, "413 Request Entity Too Large: the request body may have at most 100 bytes\n"},
		{"control character", "", []string{"REQUEST_METHOD=GET", "HTTP_X=a\x01b"}, "400 Bad Request: HTTP_X is \"a\\x01b\"; it can't be a field of a header\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t, answer, tt.input, tt.environ...)
			head, body, _ := strings.Cut(got, "\r\n\r\n")
			if err != nil || body != tt.want || !strings.HasPrefix(head, "Status: ") {
				t.Errorf("it is answered with %q (%v); it must be %q", got, err, tt.want)
			}
		})
	}
}

// What the web server can't be told is an error.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  http.HandlerFunc
		environ []string
		want    string
	}{
		{"from a shell", answer, []string{"PATH=/bin", "HOME=/"}, "this is a CGI program: a web server must start it, with REQUEST_METHOD and the other variables of RFC 3875 in its environment"},
		{"breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{"REQUEST_METHOD=GET"}, "the answer broke off: net/http: abort Handler"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := run(t, tt.answer, "", tt.environ...)
			if got != "" || err == nil || err.Error() != tt.want {
				t.Errorf("the error is %v, after %q; it must be %q", err, got, tt.want)
			}
		})
	}
}
