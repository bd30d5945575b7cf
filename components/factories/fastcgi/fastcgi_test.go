package fastcgi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/factories/fastcgi"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	wire "github.com/stackd/stackd/registry/gateway/fcgi"
	"github.com/stackd/stackd/registry/registrytest"
)

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "hello ")
	if r.ContentLength > 0 { // the standard library's requests share their empty body, which is a data race
		_, _ = io.Copy(w, r.Body)
	}
}

func TestComponent(t *testing.T) {
	on := func(network string, edit func(*fastcgi.Config)) func(t *testing.T) fastcgi.Config {
		return func(t *testing.T) fastcgi.Config {
			cfg := fastcgi.Component.Default
			cfg.Address = addressOf(application(t, network, hello))
			edit(&cfg)
			return cfg
		}
	}
	files := map[string]string{"hello.php": "<?php"}
	registrytest.Run(t, fastcgi.Component,
		registrytest.Case[fastcgi.Config]{Name: "tcp", Settings: on("tcp", func(*fastcgi.Config) {}), Files: files},
		registrytest.Case[fastcgi.Config]{Name: "unix", Settings: on("unix", func(c *fastcgi.Config) { c.MaxConnections = 50 }), Files: files},
		registrytest.Case[fastcgi.Config]{Name: "no keep-alive", Settings: on("tcp", func(c *fastcgi.Config) { c.KeepAlive = false }), Files: files},
	)
}

func TestVariables(t *testing.T) {
	seen := make(chan map[string]string, 1)
	address := acting(t, func(p *peer) {
		var params []byte
		for {
			h, content := p.record()
			switch {
			case h.Type == 0:
				return
			case h.Type == wire.Params:
				params = append(params, content...)
			case h.Type == wire.Stdin && content == "":
				env := make(map[string]string)
				for rest := params; len(rest) > 0; {
					name, value, tail, err := wire.CutPair(rest)
					if err != nil {
						t.Error(err)
						return
					}
					env[name], rest = value, tail
				}
				params = nil
				seen <- env
				p.say("Content-Type: text/plain\n\n")
				p.end()
			}
		}
	})
	edit := func(c *fastcgi.Config) {
		c.Env = map[string]string{"PHP_VALUE": "memory_limit=1G", "SCRIPT_NAME": "faked"}
		c.Secrets = map[string]registry.Secret{"PASSWORD": registry.NewSecret("sesame")}
	}
	s := newSite(t, address, edit)
	environ.Vars.Preset(&s.Base, map[string]any{"theme": "dark"})
	elsewhere := newSite(t, address, func(c *fastcgi.Config) { c.Root = "/srv/www" })
	const absent = "(absent)"
	long := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name, path string
		site       *site
		body       io.Reader
		want       map[string]string
	}{
		{name: "script", path: "/script?a=b", site: s, want: map[string]string{
			"SCRIPT_FILENAME": filepath.Join(s.Dir, "script"), "DOCUMENT_ROOT": s.Dir, "SCRIPT_NAME": "/script", "PATH_INFO": "", "PATH_TRANSLATED": absent,
			"QUERY_STRING": "a=b", "REQUEST_URI": "/script?a=b", "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "stackd", "REDIRECT_STATUS": "200",
			"REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": "GET", "CONTENT_LENGTH": absent, "HTTP_AUTHORIZATION": absent,
		}},
		{name: "path info", path: "/script/a/../b", site: s, want: map[string]string{"PATH_INFO": "/a/../b", "PATH_TRANSLATED": filepath.Join(s.Dir, "b")}},
		{name: "settings", path: "/script", site: s, want: map[string]string{"PHP_VALUE": "memory_limit=1G", "PASSWORD": "sesame", "STACKD_VAR_THEME": "dark"}},
		{name: "another root", path: "/script/a", site: elsewhere, want: map[string]string{
			"SCRIPT_FILENAME": "/srv/www/script", "DOCUMENT_ROOT": "/srv/www", "PATH_TRANSLATED": "/srv/www/a",
		}},
		{name: "body", path: "/script", site: s, body: strings.NewReader("12345"), want: map[string]string{"CONTENT_LENGTH": "5"}},
		{name: "chunked body", path: "/script", site: s, body: io.MultiReader(strings.NewReader("12345")), want: map[string]string{"CONTENT_LENGTH": "5"}},
		{name: "longer than a record", path: "/script?" + long, site: s, want: map[string]string{"QUERY_STRING": long}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := "GET"
			if tt.body != nil {
				method = "POST"
			}
			r := tt.site.Request(method, tt.path, tt.body)
			r.SetBasicAuth("ada", "secret")
			if res := tt.site.Send(r); res.StatusCode != 200 {
				t.Fatalf("the status is %d", res.StatusCode)
			}
			env, got := <-seen, make(map[string]string)
			for name := range tt.want {
				value, ok := env[name]
				if !ok {
					value = absent
				}
				got[name] = value
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
		})
	}
}

// TestArchive proves that no application is asked for a file in an archive: below another root it would run one that
// happens to have the same name.
func TestArchive(t *testing.T) {
	for _, root := range []string{"", "/srv/www"} {
		s := newSite(t, listen(t, "unix").Addr(), func(c *fastcgi.Config) { c.Root = root })
		file := s.File("script")
		file.Root = ""
		if _, err := s.Factory.Make(file); err == nil || err.Error() != "script isn't a file on disk, so no application can read it" {
			t.Errorf("with the root %q the error is %v", root, err)
		}
	}
}

// What can go wrong with an answer.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		act    func(p *peer)
		method string
		status int
		body   string
		header http.Header
		fails  string // what is reported
		detail string // its text
		logs   string
		cut    bool // the body can't be read to its end
	}{
		{name: "document", act: func(p *peer) { p.say("Content-Type: text/plain\n\nhello"); p.end() }, status: 200, body: "hello", header: http.Header{"Content-Length": {"5"}, "Content-Type": {"text/plain"}}},
		{name: "in pieces", act: func(p *peer) {
			for _, c := range "Status: 404 No\r\n\r\nnone" {
				p.say(string(c))
			}
			p.write(wire.AppendRecord(nil, wire.Stdout, 1)) // the stream's end, which is optional before END_REQUEST
			p.end()
		}, status: 404, body: "none"},
		{name: "padding", act: func(p *peer) {
			p.write([]byte("\x01\x06\x00\x01\x00\x12\x06\x00Content-Type: a/b\n??????"))
			p.write([]byte("\x01\x06\x00\x01\x00\x03\x05\x00\nok?????\x01\x03\x00\x01\x00\x08\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00???"))
		}, status: 200, body: "ok"},
		{name: "unknown records", act: func(p *peer) {
			p.write(wire.AppendRecord(nil, wire.GetValuesResult, 0, 1, 2, 3))
			p.write(wire.AppendRecord(nil, 99, 1, 1, 2, 3))
			p.say("Content-Type: a/b\n\nok")
			p.end()
		}, status: 200, body: "ok"},
		{name: "stderr", act: func(p *peer) {
			p.write(wire.AppendStream(nil, wire.Stderr, 1, []byte("a notice\n")))
			p.say("Content-Type: a/b\n\nok")
			p.end()
		}, status: 200, body: "ok", logs: `"script":"script","line":"a notice"`},
		{name: "redirect", act: func(p *peer) { p.say("Location: /there\n\n"); p.end() }, status: 302},
		{name: "head", method: "HEAD", act: func(p *peer) { p.say("Content-Type: a/b\nContent-Length: 5\n\nhello"); p.end() }, status: 200, header: http.Header{"Content-Length": {"5"}}},
		{name: "fatal", act: func(p *peer) {
			p.write(wire.AppendStream(nil, wire.Stderr, 1, []byte("PHP Fatal error: oh")))
			p.say("Status: 500\n\n")
			p.end()
		}, status: 500, fails: "script: it answered with the status 500 and no body", detail: "PHP Fatal error: oh"},
		{name: "fatal to head", method: "HEAD", act: func(p *peer) { p.say("Status: 500\n\n"); p.end() }, status: 500, fails: "script: it answered with the status 500 and no body"},
		{name: "own error page", act: func(p *peer) { p.say("Status: 500\n\nsorry"); p.end() }, status: 500, body: "sorry"},
		{name: "no answer", act: func(p *peer) { p.end() }, status: 502, fails: "script: it ended without writing anything"},
		{name: "no header", act: func(p *peer) { p.say("hello\n\n"); p.end() }, status: 502, fails: `script: line 1 of the header is "hello"; it must be a field such as Content-Type: text/html`},
		{name: "breaks off before", act: func(*peer) {}, status: 502, fails: "script: the application closed the connection before the answer's end"},
		{name: "breaks off in the header", act: func(p *peer) { p.say("Content-Type: a/b\n") }, status: 502, fails: "script: the application closed the connection before the answer's end"},
		{name: "breaks off in a record", act: func(p *peer) { p.write([]byte("\x01\x06\x00\x01\x00\x12\x06\x00Conte")) }, status: 502, fails: "script: the application closed the connection before the answer's end"},
		{name: "breaks off in the body", act: func(p *peer) { p.say("Content-Type: a/b\n\nhalf") }, status: 200, body: "half", cut: true, fails: "script: the application closed the connection before the answer's end"},
		{name: "shorter than it says", act: func(p *peer) {
			p.say("Content-Type: a/b\nContent-Length: 100000\n\n" + strings.Repeat("x", 50000))
			p.end()
		}, status: 200, body: strings.Repeat("x", 50000), cut: true, fails: "script: the body ends 50000 bytes before its Content-Length"},
		{name: "longer than it says", act: func(p *peer) {
			p.say("Content-Type: a/b\nContent-Length: 50000\n\n" + strings.Repeat("x", 40000))
			p.say(strings.Repeat("x", 20000))
			p.end()
		}, status: 200, body: strings.Repeat("x", 50000), cut: true, fails: "script: the body is longer than its Content-Length"},
		{name: "another request's", act: func(p *peer) { p.write(wire.AppendRecord(nil, wire.Stdout, 2, 'x')) }, status: 502, fails: "script: the application sent a record of request 2, which it wasn't asked"},
		{name: "overloaded", act: func(p *peer) { p.write(wire.AppendEnd(nil, 1, 0, wire.Overloaded)) }, status: 503, fails: "script: the application is overloaded"},
		{name: "another role", act: func(p *peer) { p.write(wire.AppendEnd(nil, 1, 0, wire.UnknownRole)) }, status: 502, fails: "script: the application isn't a responder"},
		{name: "not FastCGI", act: func(p *peer) { p.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, status: 502, fails: `script: it isn't FastCGI 1: it begins with "HTTP/1.1"`},
		{name: "endless header", act: func(p *peer) { p.say("Content-Type: a/b\nX: " + strings.Repeat("x", 1<<20)); p.end() }, status: 502, fails: "script: the header is longer than max_header, 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, acting(t, func(p *peer) {
				for p.request() {
					tt.act(p)
					if tt.cut || tt.status >= 500 {
						return
					}
				}
			}), nil)
			method := "GET"
			if tt.method != "" {
				method = tt.method
			}
			s.Server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			res := s.Send(s.Request(method, "/script", nil))
			if tt.fails != "" && !tt.cut {
				tt.body = res.Text // the catcher's
			}
			if res.StatusCode != tt.status || !strings.HasPrefix(tt.body, res.Text) || !tt.cut && (res.Text != tt.body || res.Err != nil) {
				t.Errorf("it is answered with %d and %q (%v); it must be %d and %q", res.StatusCode, res.Text, res.Err, tt.status, tt.body)
			}
			if tt.cut && res.Err == nil {
				t.Error("the client takes the body for a whole one")
			}
			for name, want := range tt.header {
				if diff := cmp.Diff(want, res.Header[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if tt.fails == "" {
				s.Quiet()
			} else if err := s.Failure(); err.Error() != tt.fails {
				t.Errorf("it was reported: %v\nit must be %s", err, tt.fails)
			} else if d, ok := errors.AsType[failure.Detailed](err); tt.detail != "" && (!ok || d.Details()[0].Text != tt.detail) {
				t.Errorf("the details are %v", d)
			}
			if !strings.Contains(s.Logged(), tt.logs) {
				t.Errorf("it was logged:\n%s", s.Logged())
			}
		})
	}
}

// A body is passed on while it comes, and the answer to it as well.
func TestStreaming(t *testing.T) {
	s := newSite(t, application(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	}), nil)
	in, out := io.Pipe()
	r := s.Request("POST", "/script", in)
	r.ContentLength = 10
	var wg sync.WaitGroup
	defer wg.Wait()
	defer out.Close()
	wg.Go(func() { _, _ = io.WriteString(out, "hello") })
	res, err := s.Server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, tt := range []struct{ send, want string }{{"", "HELLO"}, {"world", "WORLD"}} {
		if tt.send != "" {
			wg.Go(func() { _, _ = io.WriteString(out, tt.send) })
		}
		got := make([]byte, len(tt.want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != tt.want {
			t.Fatalf("%q comes back (%v); it must be %q", got, err, tt.want)
		}
	}
	s.Quiet()
}

func TestLarge(t *testing.T) {
	s := newSite(t, application(t, "unix", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	for name, body := range map[string]io.Reader{"known length": bytes.NewReader(data), "chunked": io.MultiReader(bytes.NewReader(data))} {
		t.Run(name, func(t *testing.T) {
			if res := s.Send(s.Request("POST", "/script", body)); res.Err != nil || res.Text != string(data) {
				t.Errorf("%d bytes of %d come back (%v)", len(res.Text), len(data), res.Err)
			}
			s.Quiet()
		})
	}
}

// counting counts the connections that an application is asked over.
func counting(t *testing.T, l net.Listener, h http.HandlerFunc) *atomic.Int64 {
	t.Helper()
	n := new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() { _ = fcgi.Serve(countingListener{l, n}, h) }) // it ends with the listener
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return n
}

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

func TestConnections(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*fastcgi.Config)
		// A client may ask again before the connection is back in the pool.
		least, most int64
	}{
		{"kept", func(*fastcgi.Config) {}, 1, 3},
		{"not kept", func(c *fastcgi.Config) { c.KeepAlive = false }, 10, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, "unix")
			n := counting(t, l, hello)
			s := newSite(t, l.Addr(), tt.edit)
			for range 5 {
				s.Get("/script")
				if res := s.Send(s.Request("POST", "/script", strings.NewReader("body"))); res.Text != "hello body" {
					t.Errorf("the body is %q", res.Text)
				}
			}
			if n.Load() < tt.least || n.Load() > tt.most {
				t.Errorf("there were %d connections; it must be %d to %d", n.Load(), tt.least, tt.most)
			}
		})
	}
	t.Run("never more than max_connections", func(t *testing.T) {
		var now, most atomic.Int64
		s := newSite(t, application(t, "unix", func(w http.ResponseWriter, r *http.Request) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			hello(w, r)
			now.Add(-1)
		}), func(c *fastcgi.Config) { c.MaxConnections = 3 })
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				if res := s.Get("/script"); res.Text != "hello " {
					t.Errorf("it is answered with %d and %q", res.StatusCode, res.Text)
				}
			})
		}
		wg.Wait()
		if most.Load() > 3 {
			t.Errorf("%d requests ran at once", most.Load())
		}
	})
	t.Run("closed when idle", func(t *testing.T) {
		closed := make(chan struct{})
		s := newSite(t, acting(t, func(p *peer) {
			p.request()
			p.say("Content-Type: a/b\n\nok")
			p.end()
			if h, _ := p.record(); h.Type == 0 {
				close(closed)
			}
		}), func(c *fastcgi.Config) { c.IdleTimeout = time.Millisecond })
		s.Get("/script")
		<-closed
	})
}

// An application that is started again has closed its connections.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		when         func(p *peer) // what the application does with its second request
		status       int
	}{
		{"between requests", "POST", nil, 200},
		{"amid a request that may be repeated", "GET", func(p *peer) { p.request() }, 200},
		{"amid a request that may not", "POST", func(p *peer) { p.request() }, 502},
		{"amid an answer", "GET", func(p *peer) { p.request(); p.say("Content-Type: a/b\n") }, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var connections atomic.Int64
			gone := make(chan struct{})
			s := newSite(t, acting(t, func(p *peer) {
				n := connections.Add(1)
				for i := 0; p.request(); i++ {
					p.say("Content-Type: a/b\n\nok")
					p.end()
					if n == 1 {
						if tt.when != nil {
							tt.when(p)
						}
						break
					}
				}
				p.Close()
				if n == 1 {
					close(gone)
				}
			}), nil)
			if res := s.Get("/script"); res.Text != "ok" {
				t.Fatalf("the first request is answered with %d", res.StatusCode)
			}
			if tt.when == nil {
				<-gone
			}
			if res := s.Send(s.Request(tt.method, "/script", strings.NewReader(""))); res.StatusCode != tt.status {
				t.Errorf("the second request is answered with %d; it must be %d", res.StatusCode, tt.status)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l := listen(t, "tcp")
	l.Close()
	s := newSite(t, l.Addr(), nil)
	res := s.Get("/script")
	if err := s.Failure(); res.StatusCode != 502 || !strings.HasPrefix(err.Error(), "the application can't be reached: dial tcp 127.0.0.1:") {
		t.Errorf("the status is %d, and it was reported: %v", res.StatusCode, err)
	}
}

// due is a context that says that it has a deadline, and leaves it to others to keep to it.
type due struct {
	context.Context
	at time.Time
}

func (d due) Deadline() (time.Time, bool) { return d.at, true }

// Dialing ends with the request's context, and not a moment before.
func TestDialUntilTheEnd(t *testing.T) {
	s := newSite(t, application(t, "tcp", hello), nil)
	inner := s.Server.Config.Handler
	s.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(due{r.Context(), time.Unix(1, 0)}))
	})
	if res := s.Get("/script"); res.Text != "hello " {
		t.Errorf("got %d, %q", res.StatusCode, res.Text)
	}
}

func TestBusy(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := newSite(t, application(t, "unix", func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-release
		hello(w, r)
	}), func(c *fastcgi.Config) { c.MaxConnections, c.QueueTimeout = 1, time.Millisecond })
	var wg sync.WaitGroup
	wg.Go(func() {
		if res := s.Get("/script"); res.Text != "hello " {
			t.Errorf("the first is answered with %q", res.Text)
		}
	})
	<-begun
	if res := s.Get("/script"); res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("the status is %d, Retry-After %q; they must be 503 and 1", res.StatusCode, res.Header.Get("Retry-After"))
	}
	close(release)
	wg.Wait()
}

func TestTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{20 * time.Millisecond, 150 * time.Millisecond} {
		t.Run("silent for "+timeout.String(), func(t *testing.T) {
			s := newSite(t, acting(t, func(p *peer) {
				p.request()
				p.write(wire.AppendStream(nil, wire.Stderr, 1, []byte("thinking")))
				p.record() // until it is closed
			}), func(c *fastcgi.Config) { c.Timeout = timeout })
			res := s.Get("/script")
			if err := s.Failure(); res.StatusCode != 504 || err.Error() != "script: it did nothing for longer than timeout" {
				t.Errorf("the status is %d, and it was reported: %v", res.StatusCode, err)
			}
		})
	}
	t.Run("slow, but in time", func(t *testing.T) {
		s := newSite(t, application(t, "unix", func(w http.ResponseWriter, r *http.Request) {
			<-time.After(200 * time.Millisecond) // it is about what a script may take
			hello(w, r)
		}), nil)
		for range 2 {
			if res := s.Get("/script"); res.Text != "hello " {
				t.Errorf("it is answered with %d and %q", res.StatusCode, res.Text)
			}
		}
	})
	for _, limit := range []time.Duration{time.Millisecond, 80 * time.Millisecond} {
		t.Run("the request's own of "+limit.String(), func(t *testing.T) {
			begun, closed := make(chan struct{}), make(chan struct{})
			s := newSite(t, acting(t, func(p *peer) {
				p.request()
				close(begun)
				p.record() // ABORT_REQUEST
				p.record() // the end
				close(closed)
			}), nil)
			inner := s.Server.Config.Handler
			s.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancelCause(r.Context())
				defer cancel(nil)
				go func() { // it has come to the application, however long that took
					<-begun
					time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
				}()
				inner.ServeHTTP(w, r.WithContext(due{ctx, time.Now().Add(limit)}))
			})
			s.Get("/script")
			<-closed
			if err := s.Failure(); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it was reported: %v", err)
			}
		})
	}
	t.Run("takes nothing", func(t *testing.T) {
		release := make(chan struct{})
		s := newSite(t, acting(t, func(*peer) { <-release }), func(c *fastcgi.Config) { c.Timeout = 50 * time.Millisecond })
		res := s.Send(s.Request("POST", "/script", bytes.NewReader(make([]byte, 32<<20))))
		close(release)
		if res.StatusCode != 504 {
			t.Errorf("the status is %d; it must be 504", res.StatusCode)
		}
	})
	t.Run("not while the client sends", func(t *testing.T) {
		s := newSite(t, application(t, "unix", hello), func(c *fastcgi.Config) { c.Timeout = 50 * time.Millisecond })
		in, out := io.Pipe()
		r := s.Request("POST", "/script", in)
		r.ContentLength = 1
		var wg sync.WaitGroup
		wg.Go(func() {
			<-time.After(200 * time.Millisecond) // four times the timeout, which is what this is about
			_, _ = io.WriteString(out, "x")
			out.Close()
		})
		if res := s.Send(r); res.Text != "hello x" {
			t.Errorf("it is answered with %d and %q", res.StatusCode, res.Text)
		}
		wg.Wait()
	})
}

// The application is told that the visitor has gone away.
func TestAbort(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
	}{{"get", ""}, {"with a body", "body"}} {
		t.Run(tt.name, func(t *testing.T) {
			begun, last := make(chan struct{}), make(chan wire.Header, 2)
			s := newSite(t, acting(t, func(p *peer) {
				p.request()
				close(begun)
				for {
					h, _ := p.record()
					last <- h
					if h.Type == 0 {
						return
					}
				}
			}), nil)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				res, err := s.Server.Client().Do(s.Request("POST", "/script", strings.NewReader(tt.body)).WithContext(ctx))
				if err == nil {
					res.Body.Close()
					t.Error("it is answered")
				}
			})
			<-begun
			cancel()
			if h := <-last; h.Type != wire.AbortRequest {
				t.Errorf("the application gets %v; it must be ABORT_REQUEST", h.Type)
			}
			if h := <-last; h.Type != 0 {
				t.Errorf("then it gets %v; the connection must be closed", h.Type)
			}
			wg.Wait()
		})
	}
}

// A client that breaks off its own body ends the request.
func TestBodyBreaksOff(t *testing.T) {
	done := make(chan struct{})
	s := newSite(t, acting(t, func(p *peer) {
		defer close(done)
		for h, _ := p.record(); h.Type != 0; h, _ = p.record() {
			if h.Type == wire.Stdin && h.Length == 0 {
				t.Error("half a body is passed on as a whole one")
			}
		}
	}), nil)
	c, err := net.Dial("tcp", s.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST /script HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-done
	if err := <-s.Failures; failure.Status(err) != http.StatusBadRequest && !errors.Is(err, context.Canceled) {
		t.Errorf("it was reported: %v", err)
	}
}

// A script that wants no more of the body may answer, and the next request isn't mistaken for the rest.
func TestAnswerBeforeBody(t *testing.T) {
	s := newSite(t, acting(t, func(p *peer) {
		for {
			h, _ := p.record()
			switch h.Type {
			case 0:
				return
			case wire.Stdin:
				p.say("Status: 413\n\ntoo much")
				p.end()
			}
		}
	}), nil)
	for range 3 {
		res := s.Send(s.Request("POST", "/script", bytes.NewReader(make([]byte, 8<<20))))
		if res.StatusCode != 413 || res.Text != "too much" {
			t.Errorf("it is answered with %d and %q (%v)", res.StatusCode, res.Text, res.Err)
		}
	}
	s.Quiet()
}

func TestSpoolLimit(t *testing.T) {
	s := newSite(t, application(t, "unix", hello), func(c *fastcgi.Config) { c.MaxSpool = 4 })
	for body, want := range map[string]int{"1234": 200, "12345": 413} {
		if res := s.Send(s.Request("POST", "/script", io.MultiReader(strings.NewReader(body)))); res.StatusCode != want {
			t.Errorf("%d bytes are answered with %d; it must be %d", len(body), res.StatusCode, want)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*fastcgi.Config)
		want string
	}{
		{"defaults", func(*fastcgi.Config) {}, "<nil>"},
		{"empty name", func(c *fastcgi.Config) { c.Env = map[string]string{"": "x"} }, "has an empty name; it must be the name of a variable"},
		{"twice", func(c *fastcgi.Config) {
			c.Env = map[string]string{"A": "x"}
			c.Secrets = map[string]registry.Secret{"A": registry.NewSecret("x")}
		}, `has the name "A", as env has; it must be in one of them`},
		{"relative root", func(c *fastcgi.Config) { c.Root = "site" }, `is "site"; it must be an absolute path`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := fastcgi.Component.Default
			tt.edit(&cfg)
			if got := fmt.Sprint(cfg.Validate()); !strings.Contains(got, tt.want) {
				t.Errorf("it is %s; it must have %s", got, tt.want)
			}
		})
	}
}
