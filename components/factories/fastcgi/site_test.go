package fastcgi_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stackd/stackd/components/factories/fastcgi"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	wire "github.com/stackd/stackd/registry/gateway/fcgi"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/response"
)

// site is a folder with scripts on a server. The first segment of a URL is the script's name, the rest
// is path info.
type site struct {
	t       *testing.T
	dir     string
	factory resource.Factory
	server  *httptest.Server
	base    environ.Base

	mu       sync.Mutex
	log      bytes.Buffer
	failures chan error // what was reported
}

// newSite starts a server whose scripts an application at address runs. Edit changes the default settings.
func newSite(t *testing.T, address net.Addr, edit func(*fastcgi.Config)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), failures: make(chan error, 1000)}
	s.write("script", "")
	cfg := fastcgi.Component.Default
	cfg.Address = addressOf(address)
	if edit != nil {
		edit(&cfg)
	}
	reg, err := registry.New(fastcgi.Component)
	if err != nil {
		t.Fatal(err)
	}
	def := reg.Lookup(registry.KindFactory, "fastcgi")
	if problems := def.Check(&cfg); len(problems) > 0 {
		t.Fatal(problems)
	}
	i, err := def.Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(s, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.factory = i.Product.(resource.Factory)
	s.server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.server.Close() // waits for the requests under way
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func addressOf(a net.Addr) registry.Address {
	if a.Network() == "unix" {
		return registry.Address("unix:" + a.String())
	}
	return registry.Address(a.String())
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Write takes what the component logs.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// ServeHTTP does what a finder and a catcher do.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var state struct {
		response.Writer
		sink
	}
	state.Init(w, nil)
	r = s.base.Open(r)
	failure.Key.Set(r, &state.sink)
	name, info, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if found {
		info = "/" + info
	}
	file := &resource.File{FS: os.DirFS(s.dir), Name: name, Root: s.dir}
	app, err := s.factory.Make(file)
	if err == nil {
		resource.Key.Set(r, &resource.Match{File: file, ScriptName: "/" + name, PathInfo: info})
		app.Handler.ServeHTTP(&state.Writer, r)
		err = state.err
	}
	if err == nil {
		return
	}
	s.failures <- err
	if state.Committed() {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "failed", failure.Status(err))
}

// sink remembers the first failure.
type sink struct{ err error }

func (s *sink) Fail(f failure.Failure) {
	if s.err == nil {
		s.err = f.Err
	}
}

// reply is a response whose body was read.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (s *site) get(path string) reply {
	s.t.Helper()
	return s.send(s.request("GET", path, nil))
}

func (s *site) send(r *http.Request) reply {
	s.t.Helper()
	res, err := s.server.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res, string(b), err}
}

func (s *site) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// failure returns what the last request reported, which must be something.
func (s *site) failure() error {
	s.t.Helper()
	select {
	case err := <-s.failures:
		return err
	default:
		s.t.Fatal("nothing was reported")
		return nil
	}
}

// quiet fails when something was reported.
func (s *site) quiet() {
	s.t.Helper()
	select {
	case err := <-s.failures:
		s.t.Errorf("it was reported: %v", err)
	default:
	}
}

// listen listens on a loopback port, or on a socket, and stops at the test's end.
func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "fcgi") // t.TempDir's path may be too long
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// application serves h by FastCGI as the standard library speaks it.
func application(t *testing.T, network string, h http.HandlerFunc) net.Addr {
	t.Helper()
	l := listen(t, network)
	var wg sync.WaitGroup
	wg.Go(func() { _ = fcgi.Serve(l, h) }) // it ends with the listener
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return l.Addr()
}

// peer is the application's end of a connection, in a test's hands.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// acting has f act an application, for one connection after the other.
func acting(t *testing.T, f func(p *peer)) net.Addr {
	t.Helper()
	l := listen(t, "tcp")
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(&peer{t, c, bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return l.Addr()
}

// record reads the next record. At the end of the connection its type is 0.
func (p *peer) record() (wire.Header, string) {
	h, err := wire.ReadHeader(p.in)
	if err != nil {
		return wire.Header{}, ""
	}
	content := make([]byte, h.Length+h.Padding)
	if _, err := io.ReadFull(p.in, content); err != nil {
		return wire.Header{}, ""
	}
	return h, string(content[:h.Length])
}

// request reads a request, up to the end of its body, and reports whether there was one.
func (p *peer) request() bool {
	for {
		switch h, content := p.record(); {
		case h.Type == 0:
			return false
		case h.Type == wire.Stdin && content == "":
			return true
		}
	}
}

// say writes records of standard output.
func (p *peer) say(text string) { p.write(wire.AppendStream(nil, wire.Stdout, 1, []byte(text))) }

// end ends the request.
func (p *peer) end() { p.write(wire.AppendEnd(nil, 1, 0, wire.RequestComplete)) }

func (p *peer) write(b []byte) {
	// A client that has gone away is what some tests are about.
	_, _ = p.Write(b)
}

// needs skips a test that needs a program which isn't there, unless it must be.
func needs(t *testing.T, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		path, err := exec.LookPath(program)
		if err == nil {
			return path
		}
		if !errors.Is(err, exec.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if os.Getenv("STACKD_PEERS") == "required" {
		t.Fatalf("%s isn't installed", programs[0])
	}
	t.Skipf("%s isn't installed", programs[0])
	return ""
}
