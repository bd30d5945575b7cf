package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPieces proves that a piece of an answer without a length doesn't wait for the next one, even if that has
// begun.
func TestPieces(t *testing.T) {
	for _, begun := range []string{"", "\r", "\r\n", "\r\n5", "\r\n5\r"} {
		t.Run(fmt.Sprintf("%q", begun), func(t *testing.T) {
			read := make(chan struct{})
			upstream := script(t, func(_ int, c net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst%s", begun)
				<-read
				say(c, "%s", strings.TrimPrefix("\r\n5\r\nother\r\n0\r\n\r\n", begun))
			})
			s := front(t, to(upstream))
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			first := make([]byte, 5)
			if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "first" {
				t.Errorf("the first piece is %q, %v", first, err)
			}
			close(read)
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "other" {
				t.Errorf("the rest is %q, %v", rest, err)
			}
		})
	}
}

// TestSlow proves that an answer may take its time before it begins and before its body goes on, with TLS
// as without.
func TestSlow(t *testing.T) {
	wait := func(r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*soon)
		defer cancel()
		<-ctx.Done()
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/header" {
			wait(r)
		}
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/body" {
			wait(r)
		}
		io.WriteString(w, "other")
	})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	defer plain.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	for _, upstream := range []*httptest.Server{plain, secure} {
		p := open(t, to(upstream.URL)).(*proxy)
		if config := p.upstreams[0].tls; config != nil {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AddCert(upstream.Certificate())
		}
		s := httptest.NewServer(catcher{p})
		defer s.Close()
		for _, path := range []string{"/", "/header", "/body", "/"} {
			t.Run(upstream.URL[:5]+path, func(t *testing.T) {
				ask(t, s, "GET", path, nil).want(t, 200, "firstother")
			})
		}
	}
}

// TestGoneAmid proves that the upstream's connection ends with the client's when a part of the answer is there.
func TestGoneAmid(t *testing.T) {
	for name, header := range map[string]string{"with a length": "Content-Length: 9000", "events": "Content-Type: text/event-stream"} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			upstream := script(t, func(_ int, c net.Conn) {
				b := bufio.NewReader(c)
				if _, err := http.ReadRequest(b); err == nil {
					say(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n%s", header, strings.Repeat("x", 8000))
					drain(b)
					close(gone)
				}
			})
			s := front(t, to(upstream))
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close() // net/http's client closes the connection then
			<-gone
		})
	}
}

// TestDeadline proves that the end of the request's context ends the exchange, however soon it is.
func TestDeadline(t *testing.T) {
	upstream := script(t, func(_ int, c net.Conn) { drain(c) })
	for _, d := range []time.Duration{0, time.Millisecond, soon + time.Millisecond} {
		t.Run(d.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			w := httptest.NewRecorder()
			catcher{open(t, to(upstream))}.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
			answer{w.Code, w.Header(), w.Body.String()}.want(t, 504, "deadline exceeded")
		})
	}
}

// TestHints proves that a 1xx response has the upstream's fields and no others, and leaves those of the response.
func TestHints(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		io.WriteString(w, "hello")
	})
	p := catcher{open(t, to(upstream))}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outer", "1")
		p.ServeHTTP(w, r)
	}))
	defer s.Close()
	var hints []textproto.MIMEHeader
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, h)
			return nil
		},
	}), "GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if diff := cmp.Diff([]textproto.MIMEHeader{{"Link": {"</a>; rel=preload"}}}, hints); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
	if got := resp.Header; got.Get("X-Outer") != "1" || got["Link"] != nil {
		t.Errorf("the response's header is %v; want X-Outer and no Link", got)
	}
	// RFC 9110, 15.2: who speaks HTTP/1.0 doesn't know them.
	old, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	say(old, "GET / HTTP/1.0\r\n\r\n")
	if text, err := io.ReadAll(old); err != nil || !strings.HasPrefix(string(text), "HTTP/1.0 200 OK\r\n") {
		t.Errorf("over HTTP/1.0 the answer is %q, %v", text, err)
	}
}

// TestUpgrade proves that what a client says before the protocol is switched isn't lost, that each side hears of the
// other's end, and that only the protocol which was asked for is switched to.
func TestUpgrade(t *testing.T) {
	upstream := script(t, func(_ int, c net.Conn) {
		b := bufio.NewReader(c)
		r, err := http.ReadRequest(b)
		if err != nil {
			return
		}
		say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\nX-Path: %s\r\n\r\n", strings.TrimPrefix(r.URL.Path, "/"), r.URL.Path)
		all, _ := io.ReadAll(b)
		say(c, "%s", strings.ToUpper(string(all)))
	})
	s := front(t, to(upstream))
	dial := func(t *testing.T, path string) (*net.TCPConn, *bufio.Reader) {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		say(c, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: nothing, Echo\r\n\r\nearly, ", path)
		return c.(*net.TCPConn), bufio.NewReader(c)
	}
	t.Run("through", func(t *testing.T) {
		c, b := dial(t, "/echo")
		resp, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" || resp.Header.Get("X-Path") != "/echo" {
			t.Errorf("the answer is %d, %v", resp.StatusCode, resp.Header)
		}
		say(c, "late")
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if text, err := io.ReadAll(b); err != nil || string(text) != "EARLY, LATE" {
			t.Errorf("what came back is %q, %v", text, err)
		}
	})
	t.Run("another protocol", func(t *testing.T) {
		_, b := dial(t, "/other")
		resp, err := http.ReadResponse(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, resp.ContentLength))
		answer{resp.StatusCode, resp.Header, string(text)}.want(t, 502, `the protocol "other"`)
	})
}

// TestOuterFields proves that what middleware has set before the upstream answers stands beside the answer's fields, or is
// replaced where there can be only one: two Access-Control-Allow-Origin, say, are none for a browser.
func TestOuterFields(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{"Access-Control-Allow-Origin": "*", "Set-Cookie": "up=1", "Vary": "Accept"} {
			w.Header().Set(name, value)
		}
	})
	w := httptest.NewRecorder()
	for name, value := range map[string]string{"Access-Control-Allow-Origin": "https://a.example", "Set-Cookie": "outer=1", "Vary": "Origin", "X-Outer": "1"} {
		w.Header().Set(name, value)
	}
	catcher{open(t, to(upstream))}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	for name, want := range map[string][]string{
		"Access-Control-Allow-Origin": {"*"}, "Set-Cookie": {"outer=1", "up=1"}, "Vary": {"Origin", "Accept"}, "X-Outer": {"1"},
	} {
		if diff := cmp.Diff(want, w.Header()[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestPath proves that the upstream is asked for the path that was asked for.
func TestPath(t *testing.T) {
	h := open(t, to(serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })))
	below := open(t, to(serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.TrimPrefix(r.RequestURI, "/%2Fa"))
	})+"/%2Fa/"))
	for path, want := range map[string]string{
		"/":               "/",
		"/?":              "/?",
		"/a%2fb?%2f":      "/a%2fb?%2f",
		"/a[b]'%27":       "/a[b]'%27",
		"/Z\xc3\xbcrich":  "/Z%C3%BCrich",
		"/Z\xc3\xbc/%2Fa": "/Z%C3%BC/%2Fa",
		`/"%2F%22{%7d?{`:  `/%22%2F%22%7B%7d?{`,
	} {
		for _, h := range []http.Handler{h, below} {
			w := httptest.NewRecorder()
			catcher{h}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
			if got := w.Body.String(); got != want {
				t.Errorf("for %q the upstream is asked for %q; want %q", path, got, want)
			}
		}
	}
	// As rewrite does it.
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/\xc3%2F", nil)
	r.URL.Path = "/new"
	w := httptest.NewRecorder()
	catcher{h}.ServeHTTP(w, r)
	if got := w.Body.String(); got != "/new" {
		t.Errorf("for a path that was changed to /new the upstream is asked for %q", got)
	}
}

// together is a connection that can hold back what is written, until there is more of it.
type together struct {
	net.Conn
	hold bool
	held []byte
}

func (c *together) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	if c.hold {
		return len(p), nil
	}
	_, err := c.Conn.Write(c.held)
	c.held = nil
	return len(p), err
}

// TestUnasked proves that what an upstream says without being asked, such as the body of an answer to HEAD, isn't taken for
// the answer to the next question.
func TestUnasked(t *testing.T) {
	const unasked = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	more, said := make(chan struct{}), make(chan struct{})
	talk := func(c net.Conn, together *together) {
		b := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(b)
			if err != nil {
				return
			}
			switch {
			case r.URL.Path == "/at-once":
				together.hold = true
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
				together.hold = false
				say(c, unasked)
			case r.Method == http.MethodHead:
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
				<-more
				say(c, unasked)
				said <- struct{}{}
			default:
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
			}
		}
	}
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	plain := script(t, func(_ int, c net.Conn) {
		one := &together{Conn: c}
		talk(one, one)
	})
	secure := "https" + strings.TrimPrefix(script(t, func(_ int, c net.Conn) {
		one := &together{Conn: c}
		talk(tls.Server(one, &tls.Config{Certificates: certified.TLS.Certificates}), one)
	}), "http")
	for _, upstream := range []string{plain, secure} {
		for _, path := range []string{"/", "/at-once"} {
			t.Run(upstream[:5]+path, func(t *testing.T) {
				h := open(t, to(upstream))
				if config := h.(*proxy).upstreams[0].tls; config != nil {
					config.RootCAs = roots
				}
				for range 3 {
					w := httptest.NewRecorder()
					catcher{h}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "HEAD", path, nil))
					answer{w.Code, w.Header(), w.Body.String()}.want(t, 200, "")
					if path == "/" {
						more <- struct{}{}
						<-said
					}
					w = httptest.NewRecorder()
					catcher{h}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/good", nil))
					answer{w.Code, w.Header(), w.Body.String()}.want(t, 200, "good")
				}
			})
		}
	}
}

// TestUntyped proves that an answer without a type isn't given one.
func TestUntyped(t *testing.T) {
	s := front(t, to(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header().Set("X-Content-Type-Options", "nosniff")
		io.WriteString(w, "<script>")
	})))
	if got := ask(t, s, "GET", "/", nil).header["Content-Type"]; got != nil {
		t.Errorf("its type is %q; it must have none", got)
	}
}
