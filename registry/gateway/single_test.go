package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
)

// words is a protocol whose header is a line of variables: POST / 4 is a request with four bytes of body.
func words(in *bufio.Reader, _ int) ([]gateway.Variable, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var method, uri, length string
	if _, err := fmt.Sscan(line, &method, &uri, &length); err != nil {
		return nil, failure.WithStatus(errors.New("it must be three words"), http.StatusBadRequest)
	}
	return []gateway.Variable{{Name: "REQUEST_METHOD", Value: method}, {Name: "REQUEST_URI", Value: uri}, {Name: "CONTENT_LENGTH", Value: length}}, nil
}

// single serves h until the test ends.
func single(t *testing.T, network string, h http.HandlerFunc, change func(*gateway.Single)) net.Addr {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &gateway.Single{
		Protocol: "Words", Through: "a friend", Variables: words,
		ReadHeaderTimeout: time.Minute, BodyIdleTimeout: time.Minute, WriteIdleTimeout: time.Minute, MaxHeader: 1 << 10, MaxConnections: 10,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(s)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr()
}

func dial(t *testing.T, addr net.Addr, text string) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// repeat answers with the body, or what is wrong with it.
func repeat(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = nil
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(failure.Status(err))
		_, _ = io.WriteString(w, err.Error()) // the client looks at it
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %q", r.Method, r.URL.Path, body) // as above
}

func TestSingle(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		addr := single(t, network, repeat, func(s *gateway.Single) { s.MaxBody, s.BodyIdleTimeout = 100, 50*time.Millisecond })
		for _, tt := range []struct {
			name, send string
			half       bool
			want       string
		}{
			{"request", "POST /a 4\nbody", false, "Status: 200 OK\r\nContent-Length: 14\r\n\r\nPOST /a \"body\""},
			{"half closed", "POST /a 4\nbody", true, "Status: 200 OK\r\nContent-Length: 14\r\n\r\nPOST /a \"body\""},
			{"empty", "GET /a 0\n", false, "Status: 200 OK\r\nContent-Length: 9\r\n\r\nGET /a \"\""},
			{"another behind it", "POST /a 4\nbodyPOST /b 4\nbody", false, "Status: 200 OK\r\nContent-Length: 14\r\n\r\nPOST /a \"body\""},
			{"no request", "POST\n", false, "Status: 400\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n400 Bad Request: it must be three words\n"},
			{"negative length", "POST /a -1\n", false, "Status: 400\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n400 Bad Request: CONTENT_LENGTH is \"-1\"; it must be a number of bytes\n"},
			{"too long", "POST /a 101\n", false, "Status: 413\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n413 Request Entity Too Large: the request body may have at most 100 bytes\n"},
			{"too short", "POST /a 5\nbody", true, "Status: 400 Bad Request\r\nContent-Length: 68\r\n\r\nthe body ends 1 bytes before its CONTENT_LENGTH: unexpected EOF"},
			{"stalled", "POST /a 5\nbody", false, "Status: 408 Request Timeout"},
			{"half a header", "POST", true, ""},
			{"nothing", "", true, ""},
		} {
			t.Run(network+"/"+tt.name, func(t *testing.T) {
				c := dial(t, addr, tt.send)
				if tt.half {
					closeWrite(t, c)
				}
				got, err := io.ReadAll(c)
				if err != nil {
					t.Error(err)
				}
				if tt.name == "too short" {
					tt.want = strings.Replace(tt.want, "68", fmt.Sprint(len(tt.want)-strings.Index(tt.want, "the body")), 1)
				}
				if string(got) != tt.want && (tt.name != "stalled" || !strings.HasPrefix(string(got), tt.want)) {
					t.Errorf("it is answered with %q; it must be %q", got, tt.want)
				}
			})
		}
	}
}

// A header that doesn't come ends the connection.
func TestSingleHeaderTimeout(t *testing.T) {
	for name, send := range map[string]string{"nothing": "", "half a header": "POST"} {
		t.Run(name, func(t *testing.T) {
			addr := single(t, "tcp", repeat, func(s *gateway.Single) { s.ReadHeaderTimeout = 50 * time.Millisecond })
			if got, err := io.ReadAll(dial(t, addr, send)); err != nil || len(got) > 0 {
				t.Errorf("it is answered with %q (%v)", got, err)
			}
		})
	}
}

// A handler that reads nothing of a long body can answer, and the client gets to the answer.
func TestSingleUnreadBody(t *testing.T) {
	addr := single(t, "tcp", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil)
	c := dial(t, addr, "POST / 4194304\n")
	go func() { _, _ = io.WriteString(c, strings.Repeat("x", 4<<20)) }() // it may not get all of it away
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "Status: 403") {
		t.Errorf("it is answered with %q (%v)", got, err)
	}
}

// The request's context ends when the client leaves, whichever way that shows, and not when it has only said all that it
// had to.
func TestSingleGone(t *testing.T) {
	leave := map[string]func(*testing.T, net.Conn){
		"closed": func(t *testing.T, c net.Conn) {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"reset": func(t *testing.T, c net.Conn) {
			if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, tt := range []struct {
		network, how string
		half         bool // the client ends its direction behind the body
	}{
		{"tcp", "closed", false}, {"tcp", "reset", false}, {"unix", "closed", false}, {"tcp", "reset", true}, {"unix", "closed", true},
	} {
		t.Run(fmt.Sprintf("%s %s half closed %v", tt.network, tt.how, tt.half), func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan error, 1)
			addr := single(t, tt.network, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)        // begins to watch
				_ = http.NewResponseController(w).Flush() // it comes, or the context ends
				close(began)
				<-r.Context().Done()
				ended <- r.Context().Err()
			}, func(s *gateway.Single) { s.HalfClose = tt.half })
			c := dial(t, addr, "POST / 1\nx")
			if tt.half {
				closeWrite(t, c)
			}
			<-began
			if _, err := io.ReadFull(c, make([]byte, len("Status"))); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				t.Fatalf("it ended with %v while the client waits", err)
			default:
			}
			leave[tt.how](t, c)
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// A client must not take an answer that broke off for a whole one.
func TestSingleAborts(t *testing.T) {
	addr := single(t, "tcp", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/amid" {
			_, _ = io.WriteString(w, "half of a")     // the client must not take it for a whole answer
			_ = http.NewResponseController(w).Flush() // as above
		}
		if r.URL.Path == "/panic" {
			panic("oh")
		}
		panic(http.ErrAbortHandler)
	}, nil)
	for _, path := range []string{"/before", "/amid", "/panic"} {
		if got, err := io.ReadAll(dial(t, addr, "GET "+path+" 0\n")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s is answered with %q (%v); it must be reset", path, got, err)
		}
	}
}
