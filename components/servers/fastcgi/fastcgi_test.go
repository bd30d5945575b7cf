package fastcgi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/servers/fastcgi"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway/fcgi"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, fastcgi.Component,
		registrytest.Case[fastcgi.Config]{Name: "defaults", Client: func(addr net.Addr) http.RoundTripper { return client{addr} }},
	)
}

// start serves h until the test ends.
func start(t *testing.T, h http.HandlerFunc, change func(*fastcgi.Config)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, h, change)
	return l.Addr()
}

// serve has a server accept from l until the test ends.
func serve(t testing.TB, l net.Listener, h http.HandlerFunc, change func(*fastcgi.Config)) {
	t.Helper()
	cfg := fastcgi.Component.Default
	if change != nil {
		change(&cfg)
	}
	accept := registrytest.Build(t, fastcgi.Component, cfg, t.Output())
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
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), failure.Status(err))
		return
	}
	w.Header()["Content-Type"] = nil
	_, _ = fmt.Fprintf(w, "%s %s", r.URL.Path, body)
}

func request(id uint16, flags byte, body string, vars ...string) []byte {
	all := map[string]string{"REQUEST_METHOD": "POST", "REQUEST_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}
	for i := 0; i < len(vars); i += 2 {
		all[vars[i]] = vars[i+1]
	}
	records := append(fcgi.AppendBegin(nil, id, flags), params(id, all)...)
	return fcgi.AppendRecord(fcgi.AppendStream(records, fcgi.Stdin, id, []byte(body)), fcgi.Stdin, id)
}

func output(id uint16, body string) string {
	return fmt.Sprintf("STDOUT %d %q", id, fmt.Sprintf("Status: 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// What is sent, and the records that come back.
func TestRecords(t *testing.T) {
	addr := start(t, answer, func(c *fastcgi.Config) { c.MaxHeader, c.MaxBody, c.MaxConnections = 1024, 100, 7 })
	values := fcgi.AppendPair(fcgi.AppendPair(fcgi.AppendPair(nil, "FCGI_MAX_CONNS", ""), "FCGI_MPXS_CONNS", ""), "OTHER", "")
	refused := func(status, why string) []string {
		text := status + ": " + why + "\n"
		return []string{fmt.Sprintf("STDOUT 1 %q", "Status: "+status[:3]+"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+text), "END_REQUEST 1, status 0", "gone"}
	}
	for _, tt := range []struct {
		name string
		send []byte
		want []string
	}{
		{"request", request(1, 0, "body", "CONTENT_LENGTH", "4"), []string{output(1, "/a body"), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone"}},
		{"empty", request(1, 0, ""), []string{output(1, "/a "), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone"}},
		{"of unknown length", request(1, 0, "body"), []string{output(1, "/a body"), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone"}},
		{"values", append(fcgi.AppendRecord(nil, fcgi.GetValues, 0, values...), request(1, 0, "")...), []string{
			fmt.Sprintf("GET_VALUES_RESULT 0 %q", fcgi.AppendPair(fcgi.AppendPair(nil, "FCGI_MAX_CONNS", "7"), "FCGI_MPXS_CONNS", "0")),
			output(1, "/a "), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone",
		}},
		{"unknown type", append(fcgi.AppendRecord(nil, 99, 0, 1), request(1, 0, "")...), []string{
			`UNKNOWN_TYPE 0 "c\x00\x00\x00\x00\x00\x00\x00"`, output(1, "/a "), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone",
		}},
		{"another role", fcgi.AppendRecord(nil, fcgi.BeginRequest, 1, 0, 2, 0, 0, 0, 0, 0, 0), []string{"END_REQUEST 1, status 3", "gone"}},
		{"multiplexed", append(fcgi.AppendBegin(fcgi.AppendBegin(nil, 1, 0), 2, 0), request(1, 0, "")[16:]...), []string{
			"END_REQUEST 2, status 1", output(1, "/a "), `STDOUT 1 ""`, "END_REQUEST 1, status 0", "gone",
		}},
		{"aborted at once", fcgi.AppendRecord(fcgi.AppendBegin(nil, 1, 0), fcgi.AbortRequest, 1), []string{"END_REQUEST 1, status 0", "gone"}},
		{"no method", request(1, 0, "", "REQUEST_METHOD", ""), refused("400 Bad Request", `REQUEST_METHOD is ""; it must be a method such as GET`)},
		{"no path", request(1, 0, "", "REQUEST_URI", "a"), refused("400 Bad Request", `REQUEST_URI is "a"; it must be a path such as /a?b=c`)},
		{"no length", request(1, 0, "", "CONTENT_LENGTH", "-1"), refused("400 Bad Request", `CONTENT_LENGTH is "-1"; it must be a number of bytes`)},
		{"header injection", request(1, 0, "", "HTTP_X", "a\r\nb: c"), refused("400 Bad Request", `HTTP_X is "a\r\nb: c"; it can't be a field of a header`)},
		{"broken pair", fcgi.AppendRecord(fcgi.AppendRecord(fcgi.AppendBegin(nil, 1, 0), fcgi.Params, 1, 9, 9), fcgi.Params, 1), refused("400 Bad Request", "the variables of the request: a name-value pair goes on behind the end")},
		{"too many variables", request(1, 0, "", "HTTP_X", strings.Repeat("x", 1024)), refused("431 Request Header Fields Too Large", "the variables of the request are longer than max_header, 1024 bytes")},
		{"body too long", request(1, 0, strings.Repeat("x", 101), "CONTENT_LENGTH", "101"), refused("413 Request Entity Too Large", "the request body may have at most 100 bytes")},
		{"nonsense", []byte("\x01\x01\x00\x01\x00\x01\x00\x00x"), []string{"gone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := connect(t, addr)
			f.send(t, tt.send)
			var got []string
			for len(got) == 0 || got[len(got)-1] != "gone" {
				got = append(got, f.next(t))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// A connection that is kept carries one request after the other.
func TestKept(t *testing.T) {
	f := connect(t, start(t, answer, nil))
	for id := range uint16(300) {
		f.send(t, request(id+1, fcgi.KeepConn, "x", "CONTENT_LENGTH", "1"))
		got := []string{f.next(t), f.next(t), f.next(t)}
		want := []string{output(id+1, "/a x"), fmt.Sprintf(`STDOUT %d ""`, id+1), fmt.Sprintf("END_REQUEST %d, status 0", id+1)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("records of request %d (-want +got):\n%s", id+1, diff)
		}
	}
}

// It is kept whether or not the handler has waited for the end of the body.
func TestKeptUnread(t *testing.T) {
	for name, vars := range map[string][]string{"none": nil, "empty": {"CONTENT_LENGTH", "0"}, "short": {"CONTENT_LENGTH", "4"}, "long": {"CONTENT_LENGTH", "200000"}} {
		t.Run(name, func(t *testing.T) {
			f := connect(t, start(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil))
			size := 0
			if vars != nil {
				size, _ = strconv.Atoi(vars[1]) // it is a number
			}
			for id := range uint16(300) {
				f.send(t, request(id+1, fcgi.KeepConn, strings.Repeat("x", size), vars...))
				got := []string{f.next(t), f.next(t), f.next(t)}
				want := []string{fmt.Sprintf(`STDOUT %d "Status: 204 No Content\r\n\r\n"`, id+1), fmt.Sprintf(`STDOUT %d ""`, id+1), fmt.Sprintf("END_REQUEST %d, status 0", id+1)}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("records of request %d (-want +got):\n%s", id+1, diff)
				}
			}
		})
	}
}

// What is wrong with a body shows at a read.
func TestBodies(t *testing.T) {
	addr := start(t, answer, func(c *fastcgi.Config) { c.MaxBody, c.BodyIdleTimeout = 100, 50*time.Millisecond })

	stalls := append(fcgi.AppendBegin(nil, 1, 0), params(1, map[string]string{"REQUEST_METHOD": "POST", "REQUEST_URI": "/", "CONTENT_LENGTH": "4"})...)
	for _, tt := range []struct {
		name string
		send []byte
		want string
	}{
		{"too long", request(1, 0, strings.Repeat("x", 101)), "http: request body too large"},
		{"shorter than announced", request(1, 0, "x", "CONTENT_LENGTH", "2"), "the body ends 1 bytes before its CONTENT_LENGTH"},
		{"longer than announced", request(1, 0, "xx", "CONTENT_LENGTH", "1"), "the body is longer than its CONTENT_LENGTH"},
		{"stalls", stalls, "Status: 408 Request Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := connect(t, addr)
			f.send(t, tt.send)
			if got := f.next(t); !strings.Contains(got, tt.want) {
				t.Errorf("it is answered with %s; that must have %q", got, tt.want)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	type seen struct {
		Method, URL, Host, RemoteAddr, Proto, RequestURI string
		TLS                                              bool
		Local                                            string
		Header                                           http.Header
	}
	got := make(chan seen, 1)
	addr := start(t, func(_ http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		got <- seen{r.Method, r.URL.String(), r.Host, r.RemoteAddr, r.Proto, r.RequestURI, r.TLS != nil, fmt.Sprint(local), r.Header}
	}, nil)
	for _, tt := range []struct {
		name string
		vars []string
		want seen
	}{
		{"nginx", []string{
			"REQUEST_METHOD", "GET", "REQUEST_URI", "/a%2fb/../c?d=%20", "SCRIPT_NAME", "/c", "DOCUMENT_URI", "/c", "QUERY_STRING", "d=%20", "SERVER_PROTOCOL", "HTTP/2.0",
			"REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "1234", "SERVER_ADDR", "192.0.2.2", "SERVER_PORT", "443", "SERVER_NAME", "_", "HTTPS", "on",
			"HTTP_HOST", "example.org", "HTTP_COOKIE", "a=1; b=2", "HTTP_CONTENT_LENGTH", "", "CONTENT_LENGTH", "", "CONTENT_TYPE", "", "HTTP_PROXY", "evil",
		}, seen{"GET", "/a%2fb/../c?d=%20", "example.org", "192.0.2.1:1234", "HTTP/2.0", "/a%2fb/../c?d=%20", true, "192.0.2.2:443", http.Header{"Cookie": {"a=1; b=2"}}}},
		{
			"without REQUEST_URI",
			[]string{"REQUEST_URI", "", "SCRIPT_NAME", "/a b", "PATH_INFO", "/c?", "QUERY_STRING", "d", "SERVER_NAME", "example.org", "CONTENT_TYPE", "a/b", "REMOTE_ADDR", "::1"},
			seen{"POST", "/a%20b/c%3F?d", "example.org", "[::1]:0", "HTTP/1.1", "/a%20b/c%3F?d", false, "<nil>", http.Header{"Content-Type": {"a/b"}}},
		},
		{
			"to a proxy",
			[]string{"REQUEST_URI", "http://example.net/x", "HTTP_HOST", "example.org", "HTTPS", "off"},
			seen{"POST", "/x", "example.net", "@", "HTTP/1.1", "http://example.net/x", false, "<nil>", http.Header{}},
		},
		{"the whole server", []string{"REQUEST_METHOD", "OPTIONS", "REQUEST_URI", "*"}, seen{"OPTIONS", "*", "", "@", "HTTP/1.1", "*", false, "<nil>", http.Header{}}},
		{
			"of the connection",
			[]string{"HTTP_CONNECTION", "close", "HTTP_TRANSFER_ENCODING", "chunked", "HTTP_UPGRADE", "x", "HTTP_EXPECT", "100-continue", "HTTP_X_A", "b"},
			seen{"POST", "/a", "", "@", "HTTP/1.1", "/a", false, "<nil>", http.Header{"X-A": {"b"}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := connect(t, addr)
			f.send(t, request(1, 0, "", tt.vars...))
			if diff := cmp.Diff(tt.want, <-got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// The request's context ends when the front server says that nobody waits.
func TestAbort(t *testing.T) {
	ended := make(chan error, 1)
	addr := start(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- r.Context().Err()
	}, nil)
	f := connect(t, addr)
	f.send(t, fcgi.AppendRecord(request(1, fcgi.KeepConn, ""), fcgi.AbortRequest, 1))
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	for _, want := range []string{`STDOUT 1 "Status: 200`, `STDOUT 1 ""`, "END_REQUEST 1, status 0"} {
		if got := f.next(t); !strings.HasPrefix(got, want) {
			t.Errorf("%s comes; it must be %s", got, want)
		}
	}
}

// It ends as well when the handler wants no more of the body, or has waited for it in vain.
func TestAbortAmidBody(t *testing.T) {
	for name, body := range map[string]string{"closed": strings.Repeat("x", 100_000), "stalled": "x"} {
		t.Run(name, func(t *testing.T) {
			over, ended := make(chan struct{}), make(chan error, 1)
			addr := start(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.ReadFull(r.Body, make([]byte, 10))
				if name == "closed" {
					err = r.Body.Close()
				}
				close(over)
				<-r.Context().Done()
				ended <- err
			}, func(c *fastcgi.Config) { c.BodyIdleTimeout = 50 * time.Millisecond })
			f := connect(t, addr)
			begun := append(fcgi.AppendBegin(nil, 1, fcgi.KeepConn), params(1, map[string]string{"REQUEST_METHOD": "POST", "REQUEST_URI": "/", "CONTENT_LENGTH": "200000"})...)
			f.send(t, fcgi.AppendStream(begun, fcgi.Stdin, 1, []byte(body)))
			<-over
			// The rest may come or not.
			f.send(t, fcgi.AppendRecord(fcgi.AppendRecord(nil, fcgi.GetValues, 0), fcgi.AbortRequest, 1))
			if err := <-ended; name == "stalled" && failure.Status(err) != http.StatusRequestTimeout {
				t.Errorf("reading the body gave %v", err)
			}
			if got := f.next(t); !strings.HasPrefix(got, "GET_VALUES_RESULT 0") {
				t.Errorf("%s comes first", got)
			}
		})
	}
}

// A handler that reads nothing of a long body can answer, and the front server gets to the answer.
func TestUnreadBody(t *testing.T) {
	addr := start(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil)
	f := connect(t, addr)
	body := strings.Repeat("x", 4<<20)
	go func() { _, _ = f.Write(request(1, fcgi.KeepConn, body)) }() // it may not get all of it away
	if got := f.next(t); !strings.Contains(got, "403") {
		t.Errorf("it is answered with %s", got)
	}
}

// Slow variables don't hold a connection, and an idle one isn't held for ever either.
func TestTimeouts(t *testing.T) {
	for name, send := range map[string][]byte{"nothing": nil, "half a request": fcgi.AppendBegin(nil, 1, 0), "half a record": {1, 1}, "idle": request(1, fcgi.KeepConn, "")} {
		t.Run(name, func(t *testing.T) {
			addr := start(t, answer, func(c *fastcgi.Config) { c.ReadHeaderTimeout, c.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond })
			f := connect(t, addr)
			f.send(t, send)
			if got := f.next(t); name == "idle" {
				for ; got != "gone"; got = f.next(t) {
					t.Log(got)
				}
			} else if got != "gone" {
				t.Errorf("%s comes", got)
			}
		})
	}
}

func TestWrongProtocol(t *testing.T) {
	addr := start(t, answer, nil)
	f := connect(t, addr)
	f.send(t, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(f), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 400 || !strings.HasPrefix(string(text), "This port speaks FastCGI, and not HTTP.") {
		t.Errorf("it is answered with %d and %q (%v)", res.StatusCode, text, err)
	}
}

// FuzzServer sends any bytes. The server goes on.
func FuzzServer(f *testing.F) {
	f.Add(request(1, 0, "body"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(bytes.Repeat([]byte{1}, 100))
	// One server for all, on a unix socket: ports would run out.
	l, err := net.Listen("unix", filepath.Join(f.TempDir(), "s"))
	if err != nil {
		f.Fatal(err)
	}
	serve(f, l, answer, func(c *fastcgi.Config) { c.ReadHeaderTimeout, c.BodyIdleTimeout = time.Second, time.Second })
	addr := l.Addr()
	f.Fuzz(func(t *testing.T, data []byte) {
		c := connect(t, addr)
		_, _ = c.Write(data) // it may be closed meanwhile
		_ = c.Conn.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c.in)
		again := connect(t, addr)
		again.send(t, request(1, 0, ""))
		if got := again.next(t); got != output(1, "/a ") {
			t.Errorf("then %s comes", got)
		}
	})
}
