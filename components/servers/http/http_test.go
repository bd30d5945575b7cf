package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "HTTP/1.1 only", Settings: func(*testing.T) Config {
			cfg := Component.Default
			cfg.Protocols = []string{"http/1.1"}
			return cfg
		}},
	)
}

// running is a server that was started for a test.
type running struct {
	network, addr string
	stop          context.CancelFunc
	done          chan error // gets what serve returned
	log           *bytes.Buffer
}

// start serves h with the default settings as changed by change, on a loopback port
// unless another listener is given, until the test ends.
func start(t *testing.T, h http.HandlerFunc, change func(*Config), on ...net.Listener) *running {
	t.Helper()
	cfg := Component.Default
	if change != nil {
		change(&cfg)
	}
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	s := &running{done: make(chan error, 1), log: new(bytes.Buffer)}
	instance, err := reg.Lookup(registry.KindServer, "http").Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if len(on) > 0 {
		l = on[0]
	} else if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.network, s.addr = l.Addr().Network(), l.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop = stop
	serve := instance.Product.(registry.ServeFunc)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.done <- serve(ctx, l, h)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := instance.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial(s.network, s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	length int64 // as announced
	close  bool
	text   string
}

// receive reads one response.
func receive(t *testing.T, from *bufio.Reader, method string) answer {
	t.Helper()
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("a body cut short: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, resp.ContentLength, resp.Close, string(text)}
}

// echo answers with the request as it was understood.
func echo(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), failure.Status(err))
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, r.URL.Path, text)
}

// TestRequests sends bytes as they stand and reads all that comes back until the server
// closes the connection.
func TestRequests(t *testing.T) {
	small := func(cfg *Config) { cfg.MaxBody, cfg.MaxHeader = 8, 4096 }
	tests := []struct {
		name, send string
		want       []int  // the statuses, in order
		body       string // what the last response must hold
	}{
		{"a request", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200}, `GET /a ""`},
		{"pipelined", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200, 200, 200}, `GET /c ""`},
		{"http/1.0", "GET /a HTTP/1.0\r\n\r\n", []int{200}, `GET /a ""`},
		{"no request at all", "hello, is anybody there\r\n\r\n", []int{400}, ""},
		{"no version", "GET /a/longer/path\r\n\r\n", []int{400}, ""},
		{"unknown version", "GET / HTTP/3.7\r\nHost: x\r\n\r\n", []int{505}, ""},
		{"space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"method with a space before it", " GET / HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"no host", "GET / HTTP/1.1\r\n\r\n", []int{400}, ""},
		{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}, ""},
		{"NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", []int{400}, ""},
		{"NUL in a name", "GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", []int{400}, ""},
		{"bare CR in a value", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", []int{400}, ""},
		{"space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", []int{400}, ""},
		{"bare LF ends lines, as RFC 9112 2.2 allows", "GET /a HTTP/1.1\nHost: x\nConnection: close\n\n", []int{200}, `GET /a ""`},
		{"folded field, joined by a space as RFC 9112 5.2 has it", "GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n Content-Length: 3\r\nConnection: close\r\n\r\n", []int{200}, `GET /a ""`},
		{"folded first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", []int{400}, ""},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", []int{400}, ""},
		{"signed length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", []int{400}, ""},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\na", []int{501}, ""},
		{"two codings", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", []int{501}, ""},
		{"length and chunked: the coding counts", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n", []int{200}, `POST /a "hello"`},
		{"malformed chunk", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nxyz\r\n", []int{500}, "invalid byte in chunk length"},
		{"header too long", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("b", 16<<10) + "\r\n\r\n", []int{431}, ""},
		{"request line too long", "GET /" + strings.Repeat("b", 16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431}, ""},
		{"body announced too long", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", []int{413}, "at most 8 bytes"},
		{"body announced too long, waiting to be asked for it", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", []int{413}, "at most 8 bytes"},
		{"body as long as it may be", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nConnection: close\r\n\r\n12345678", []int{200}, `"12345678"`},
		{"chunked body too long", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n", []int{413}, "too long"},
		{"coding in http/1.0, which has none", "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200}, `POST /a ""`},
		{"the whole server", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200}, ""},
		{"the whole server, and a coding in http/1.0", "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200}, ""},
		{"unknown expectation", "GET / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n", []int{417}, ""},
	}
	s := start(t, echo, small)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := s.dial(t)
			send(t, c, test.send)
			all, err := io.ReadAll(c)
			if err != nil {
				t.Fatalf("reading until the server closes: %v", err)
			}
			var got []int
			from := bufio.NewReader(bytes.NewReader(all))
			var body string
			for {
				if _, err := from.Peek(1); err != nil {
					break
				}
				a := receive(t, from, "GET")
				got, body = append(got, a.status), a.text
				if h := a.header.Get("Server"); h != "" {
					t.Errorf("the response says Server: %s", h)
				}
			}
			if !slices.Equal(got, test.want) || !strings.Contains(body, test.body) {
				t.Errorf("got %v; want %v and %q in the body:\n%s", got, test.want, test.body, all)
			}
		})
	}
}

func TestHead(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, nil)
	c := s.dial(t)
	from := bufio.NewReader(c)
	send(t, c, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
	head, get := receive(t, from, "HEAD"), receive(t, from, "GET")
	if head.length != 5 || head.text != "" || get.text != "hello" || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
		t.Errorf("HEAD got %v, GET %v; want the same header, and no body for HEAD", head, get)
	}
	if get.header.Get("Date") == "" {
		t.Error("there is no Date")
	}
}

// client returns a client that speaks one protocol only.
func client(t *testing.T, http2 bool) *http.Client {
	var speaks http.Protocols
	speaks.SetHTTP1(!http2)
	speaks.SetUnencryptedHTTP2(http2)
	tr := &http.Transport{Protocols: &speaks}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestHTTP2(t *testing.T) {
	proto := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }
	s := start(t, proto, nil)
	for want, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		resp, err := client(t, http2).Get("http://" + s.addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("the request was taken as %q, %v; want %q", got, err, want)
		}
	}
	t.Run("body over the limit", func(t *testing.T) {
		s := start(t, echo, func(cfg *Config) { cfg.MaxBody = 8 })
		for name, body := range map[string]io.Reader{"announced": strings.NewReader("123456789"), "streamed": io.MultiReader(strings.NewReader("123456789"))} {
			resp, err := client(t, true).Post("http://"+s.addr, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: got %s; want 413", name, resp.Status)
			}
		}
	})
}

func TestSlowHeader(t *testing.T) {
	s := start(t, echo, func(cfg *Config) { cfg.ReadHeaderTimeout = 50 * time.Millisecond })
	for _, text := range []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n"} {
		c := s.dial(t)
		send(t, c, text)
		got, err := io.ReadAll(c)
		if err != nil || len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 400 Bad Request\r\n") {
			t.Errorf("after %q the server sent %q, %v; want it to close, with 400 at most", text, got, err)
		}
	}
}

func TestIdleConnection(t *testing.T) {
	s := start(t, echo, func(cfg *Config) { cfg.IdleTimeout = 50 * time.Millisecond })
	c := s.dial(t)
	from := bufio.NewReader(c)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, from, "GET")
	if got, err := io.ReadAll(from); len(got) > 0 || err != nil {
		t.Errorf("got %q, %v; want the connection closed", got, err)
	}
}

func TestStalledBody(t *testing.T) {
	short := func(cfg *Config) { cfg.BodyIdleTimeout = 50 * time.Millisecond }
	t.Run("an app that reads it gets an error that stands for 408", func(t *testing.T) {
		s := start(t, echo, short)
		c := s.dial(t)
		send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
		from := bufio.NewReader(c)
		if a := receive(t, from, "POST"); a.status != http.StatusRequestTimeout || !strings.Contains(a.text, "the request body stalled for 50ms") {
			t.Errorf("got %d, %q", a.status, a.text)
		}
		if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v; want the connection closed", rest, err)
		}
	})
	t.Run("over HTTP/2", func(t *testing.T) {
		s := start(t, echo, short)
		body, more := io.Pipe()
		defer more.Close()
		resp, err := client(t, true).Post("http://"+s.addr, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s; want 408", resp.Status)
		}
	})
	t.Run("an app that doesn't read it isn't waited for", func(t *testing.T) {
		s := start(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") }, short)
		for _, framing := range []string{"Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n5\r\nhe"} {
			c := s.dial(t)
			send(t, c, "POST / HTTP/1.1\r\nHost: x\r\n"+framing)
			from := bufio.NewReader(c)
			if a := receive(t, from, "POST"); a.text != "done" {
				t.Errorf("got %q", a.text)
			}
			if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v; want the connection closed", rest, err)
			}
		}
	})
	t.Run("what isn't asked of the app", func(t *testing.T) {
		cert := certify(t, nil, "example.org")
		for scheme, change := range map[string]func(*Config){"http": func(*Config) {}, "https": cert.speaks} {
			s := start(t, echo, func(cfg *Config) { short(cfg); change(cfg) })
			for _, begin := range []string{"POST / HTTP/1.1\r\nExpect: a-miracle", "OPTIONS * HTTP/1.1"} {
				c := s.dial(t)
				if scheme == "https" {
					c = encrypt(t, c, trust(cert))
				}
				send(t, c, begin+"\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
				from := bufio.NewReader(c)
				if a := receive(t, from, "POST"); a.status != http.StatusExpectationFailed && a.status != http.StatusOK {
					t.Errorf("over %s: got %d", scheme, a.status)
				}
				if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
					t.Errorf("over %s: got %q, %v; want the connection closed", scheme, rest, err)
				}
			}
		}
	})
	t.Run("one that moves isn't cut off", func(t *testing.T) {
		const idle = 200 * time.Millisecond
		s := start(t, echo, func(cfg *Config) { cfg.BodyIdleTimeout = idle })
		c := s.dial(t)
		send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		tick := time.NewTicker(idle / 4)
		defer tick.Stop()
		for range 10 { // altogether longer than idle
			<-tick.C
			send(t, c, "x")
		}
		if a := receive(t, bufio.NewReader(c), "POST"); a.text != `POST / "xxxxxxxxxx"` {
			t.Errorf("got %q", a.text)
		}
	})
}

// TestDeadlinesEnd proves that what a request waited for isn't waited for in the same
// way afterwards: neither while its handler goes on, nor by the next request.
func TestDeadlinesEnd(t *testing.T) {
	const idle = 50 * time.Millisecond
	past := func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-r.Context().Done():
			text = []byte("cancelled")
		case <-time.After(2 * idle):
		}
		_, _ = w.Write(text)
	}
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 %v", http2), func(t *testing.T) {
			s := start(t, past, func(cfg *Config) { cfg.BodyIdleTimeout, cfg.WriteIdleTimeout = idle, idle })
			cl := client(t, http2)
			for range 3 { // on one connection
				resp, err := cl.Post("http://"+s.addr, "text/plain", strings.NewReader("hello"))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(text) != "hello" {
					t.Errorf("got %q, %v", text, err)
				}
			}
		})
	}
}

func TestStalledReader(t *testing.T) {
	flood := func(failed chan error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 256<<10); ; {
				if _, err := w.Write(block); err != nil {
					failed <- err
					return
				}
			}
		}
	}
	short := func(cfg *Config) { cfg.WriteIdleTimeout = 50 * time.Millisecond }
	t.Run("http/1", func(t *testing.T) {
		failed := make(chan error, 1)
		s := start(t, flood(failed), short)
		c := s.dial(t)
		send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the write failed with %v", err)
		}
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		// What the system still had to send is dropped.
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client's connection ended with %v", err)
		}
	})
	t.Run("http/2 stream with a closed window", func(t *testing.T) {
		failed := make(chan error, 1)
		s := start(t, flood(failed), short)
		resp, err := client(t, true).Get("http://" + s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := <-failed; err == nil {
			t.Error("the write did not fail")
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the response looks whole")
		}
	})
	t.Run("a file by sendfile", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "big")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, 64<<20); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		s := start(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			http.ServeFile(w, r, name)
		}, short)
		send(t, s.dial(t), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-ended
	})
	t.Run("one that reads slowly gets all", func(t *testing.T) {
		const size = 8 << 20
		name := filepath.Join(t.TempDir(), "big")
		if err := os.WriteFile(name, bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o600); err != nil {
			t.Fatal(err)
		}
		for how, h := range map[string]http.HandlerFunc{
			"sendfile": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) },
			"write": func(w http.ResponseWriter, _ *http.Request) {
				text, err := os.ReadFile(name)
				if err != nil {
					panic(err)
				}
				_, _ = w.Write(text)
			},
		} {
			t.Run(how, func(t *testing.T) {
				const idle = 400 * time.Millisecond // a busy machine takes some of it
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				s := start(t, h, func(cfg *Config) { cfg.WriteIdleTimeout = idle }, narrow{l})
				c := s.dial(t)
				if err := c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
					t.Fatal(err)
				}
				send(t, c, "GET / HTTP/1.0\r\n\r\n")
				tick := time.NewTicker(idle / 4)
				defer tick.Stop()
				var got bytes.Buffer
				for range 20 { // altogether much longer than idle
					<-tick.C
					if _, err := io.CopyN(&got, c, size/25); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := io.Copy(&got, c); err != nil {
					t.Fatal(err)
				}
				_, body, _ := bytes.Cut(got.Bytes(), []byte("\r\n\r\n"))
				if want := bytes.Repeat([]byte("0123456789abcdef"), size/16); !bytes.Equal(body, want) {
					t.Errorf("got %d bytes, or others; want the file's %d", len(body), size)
				}
			})
		}
	})
}

// narrow gives connections a small send buffer, so that the kernel takes little at a time.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.(*net.TCPConn).SetWriteBuffer(64 << 10)
}

// TestOwnDeadline proves that an app's own write deadline holds, and only for its response.
func TestOwnDeadline(t *testing.T) {
	failed := make(chan error, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			fmt.Fprint(w, "ok")
			return
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/short" {
			fmt.Fprint(w, "short")
			return
		}
		for block := make([]byte, 256<<10); ; {
			if _, err := w.Write(block); err != nil {
				failed <- err
				return
			}
		}
	}, nil)
	c := s.dial(t)
	from := bufio.NewReader(c)
	for _, path := range []string{"/", "/short", "/"} {
		send(t, c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		receive(t, from, "GET")
	}
	<-time.After(100 * time.Millisecond) // the deadline of /short passes
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, from, "GET")
	send(t, c, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the write failed with %v", err)
	}
}

// TestHijacked proves that nothing is left on a connection that an app takes over: it
// waits longer than all timeouts, for the client to take something and to send something.
func TestHijacked(t *testing.T) {
	const idle = 20 * time.Millisecond
	taken := make(chan net.Conn, 1)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		// A body that was begun leaves a deadline behind, if anything does.
		if _, err := r.Body.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	}, func(cfg *Config) {
		cfg.BodyIdleTimeout, cfg.WriteIdleTimeout, cfg.IdleTimeout, cfg.ReadHeaderTimeout = idle, idle, idle, time.Second
	})
	c := s.dial(t)
	send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
	inside := <-taken
	if inside == nil {
		t.FailNow()
	}
	defer inside.Close()
	for _, can := range []bool{is[interface{ CloseWrite() error }](inside), is[io.ReaderFrom](inside), is[syscall.Conn](inside)} {
		if !can {
			t.Error("the connection has lost a method of the socket's")
		}
	}
	const size = 32 << 20 // more than the system takes on by itself
	wrote, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := inside.Write(make([]byte, size))
		wrote <- err
	}()
	go func() {
		_, err := io.ReadFull(inside, make([]byte, 4))
		read <- err
	}()
	<-time.After(10 * idle)
	if _, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Errorf("the client: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("writing: %v", err)
	}
	send(t, c, "more")
	if err := <-read; err != nil {
		t.Errorf("reading: %v", err)
	}
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func TestEnd(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
			if err := r.Context().Err(); err != nil {
				t.Errorf("the request under way: %v", err)
			}
		}
		fmt.Fprint(w, "whole")
	}, nil)
	idle, slow := s.dial(t), s.dial(t)
	fromIdle, fromSlow := bufio.NewReader(idle), bufio.NewReader(slow)
	send(t, idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, fromIdle, "GET")
	send(t, slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	s.stop()
	if rest, err := io.ReadAll(fromIdle); len(rest) > 0 || err != nil {
		t.Errorf("the idle connection got %q, %v; want it closed", rest, err)
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("a connection was accepted after the end")
	}
	select {
	case err := <-s.done:
		t.Fatalf("serve returned %v with a request under way", err)
	default:
	}
	close(finish)
	if a := receive(t, fromSlow, "GET"); a.text != "whole" || !a.close {
		t.Errorf("the request under way got %q, close %v", a.text, a.close)
	}
	if err := <-s.done; err != nil {
		t.Errorf("serve returned %v", err)
	}
}

// stopped waits until s accepts no more connections.
func stopped(t *testing.T, s *running) {
	t.Helper()
	s.stop()
	for t.Context().Err() == nil {
		c, err := net.Dial(s.network, s.addr)
		if err != nil {
			return
		}
		c.Close()
	}
}

// TestEndWhileReading proves that a request of which the server has read a part when it is told to end is
// answered.
func TestEndWhileReading(t *testing.T) {
	const first, rest = "GET /b HTTP/1.1\r\nHo", "st: x\r\n\r\n"
	for name, before := range map[string]string{
		"the first of its connection, nothing read": "",
		"the first of its connection":               first,
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }, nil)
			c := s.dial(t)
			send(t, c, before)
			// What is accepted in order is accepted: this one came later.
			later := s.dial(t)
			send(t, later, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			receive(t, bufio.NewReader(later), "GET")
			stopped(t, s)
			select {
			case err := <-s.done:
				t.Fatalf("serve returned %v before the request was read", err)
			default:
			}
			send(t, c, strings.TrimPrefix(first, before)+rest)
			from := bufio.NewReader(c)
			if a := receive(t, from, "GET"); a.text != "/b" {
				t.Errorf("the request got %q", a.text)
			}
			// It may have been answered just before no connection was kept any more, and so without saying it.
			if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil {
				t.Errorf("got %q, %v; want the connection closed", rest, err)
			}
			if err := <-s.done; err != nil {
				t.Errorf("serve returned %v", err)
			}
		})
	}
}

// TestEndHTTP2 proves that a connection over HTTP/2 takes no new requests when the server was told to end,
// while those that it has are finished.
func TestEndHTTP2(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		fmt.Fprint(w, "whole")
	}, nil)
	cl := client(t, true)
	get := func(path string) (string, error) {
		resp, err := cl.Get("http://" + s.addr + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	slow := make(chan error, 1)
	go func() {
		text, err := get("/slow")
		if err == nil && text != "whole" {
			err = fmt.Errorf("got %q", text)
		}
		slow <- err
	}()
	<-begun
	stopped(t, s)
	// The client learns of the end a moment later, and then finds nobody to connect to.
	for {
		if _, err := get("/"); err != nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the connection takes requests for ever")
		}
	}
	close(finish)
	if err := <-slow; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-s.done; err != nil {
		t.Errorf("serve returned %v", err)
	}
}

func TestListenerFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, echo, nil, l)
	l.Close()
	if err := <-s.done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve returned %v; want net.ErrClosed", err)
	}
}

func TestUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, echo, nil, l)
	c := s.dial(t)
	send(t, c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := receive(t, bufio.NewReader(c), "GET"); a.text != `GET /a ""` {
		t.Errorf("got %q", a.text)
	}
}

func TestLog(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/twice" {
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusOK)
			return
		}
		panic("the stack has no catcher")
	}, nil)
	cl := client(t, false)
	if resp, err := cl.Get("http://" + s.addr + "/twice"); err == nil {
		resp.Body.Close()
	}
	if resp, err := cl.Get("http://" + s.addr); err == nil {
		resp.Body.Close()
		t.Error("a panic was answered")
	}
	s.stop()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"level=WARN", "superfluous response.WriteHeader", "the stack has no catcher"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, s.log)
		}
	}
	s.log.Reset()
	if _, err := (lines{slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}).Write([]byte("http2: server: error reading preface\n")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.log.String(), "level=DEBUG") {
		t.Errorf("a client's nonsense is logged as %s", s.log)
	}
}

func TestSettings(t *testing.T) {
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := reg.Lookup(registry.KindServer, "http")
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"defaults", func(*Config) {}, "[]"},
		{"mode of four digits", func(cfg *Config) { cfg.Mode = "0600" }, "[]"},
		{"mode in words", func(cfg *Config) { cfg.Mode = "rw" }, `[{mode is "rw"; it must be an octal permission such as "0660"}]`},
		{"mode too large", func(cfg *Config) { cfg.Mode = "10660" }, `[{mode is "10660"; it must be an octal permission such as "0660"}]`},
		{"no time for a header", func(cfg *Config) { cfg.ReadHeaderTimeout = 0 }, `[{read_header_timeout is 0s; it must be at least 1ms}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := d.Default().(*Config)
			test.change(cfg)
			if got := fmt.Sprint(d.Check(cfg)); got != test.want {
				t.Errorf("got %s; want %s", got, test.want)
			}
		})
	}
}

// TestFree proves that an ordinary request pays nothing for the limits.
func TestFree(t *testing.T) {
	l := &limiter{next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), maxBody: 1, bodyIdle: time.Minute, writeIdle: time.Minute}
	r, err := http.NewRequest(http.MethodGet, "/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { l.ServeHTTP(nil, r) }); n != 0 {
		t.Errorf("a request without a body costs %v allocations; want 0", n)
	}
}

// nowhere takes everything.
type nowhere struct{ net.Conn }

func (nowhere) Write(p []byte) (int, error)      { return len(p), nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

func BenchmarkWrite(b *testing.B) {
	c := &conn{Conn: nowhere{}, writeIdle: time.Minute, since: time.Now()}
	p := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Write(p)
		_ = c.SetWriteDeadline(time.Time{})
	}
}
