package proxy

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	hello := func(w http.ResponseWriter, r *http.Request) {
		drain(r.Body)
		if r.URL.Path != "/" && r.URL.Path != "/health" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "hello")
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "one", Settings: func(t *testing.T) Config {
			return to(serve(t, hello))
		}},
		registrytest.Case[Config]{Name: "several, checked", Settings: func(t *testing.T) Config {
			cfg := to(serve(t, hello), serve(t, hello))
			cfg.Check.Path = "/health"
			return cfg
		}},
		registrytest.Case[Config]{Name: "unix", Settings: func(t *testing.T) Config {
			return to(serveUnix(t, hello))
		}},
		registrytest.Case[Config]{Name: "by hash", Settings: func(t *testing.T) Config {
			cfg := to(serve(t, hello), serve(t, hello))
			cfg.Balance, cfg.HashBy = "hash", "path"
			return cfg
		}},
	)
}

// to returns settings for these upstreams.
func to(upstreams ...string) Config {
	cfg := Component.Default
	cfg.To = upstreams
	return cfg
}

// serve starts an upstream and returns its URL.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func serveUnix(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return "unix:" + path
}

// script starts an upstream that speaks by hand: f is given each connection, which is closed when it returns.
func script(t testing.TB, f func(n int, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(n, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// dead returns the URL of an upstream that takes no connections.
func dead(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// open builds the component as a loader does.
func open(t testing.TB, cfg Config) http.Handler {
	t.Helper()
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup(registry.KindApp, "proxy")
	if found := d.Check(&cfg); len(found) > 0 {
		t.Fatalf("the settings are refused: %v", found)
	}
	i, err := d.Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(http.Handler)
}

// front starts a server with the proxy, that answers failures as a catcher does: with their text.
func front(t testing.TB, cfg Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(catcher{open(t, cfg)})
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

type catcher struct{ next http.Handler }

type sink struct{ err error }

func (s *sink) Fail(f failure.Failure) { s.err = f.Err }

func (c catcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &sink{}
	r = new(environ.Base).Open(r)
	failure.Key.Set(r, s)
	c.next.ServeHTTP(w, r)
	if s.err != nil {
		http.Error(w, s.err.Error(), failure.Status(s.err))
	}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request.
func ask(t testing.TB, s *httptest.Server, method, path string, body io.Reader, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// want checks a status and that the body has a text in it.
func (a answer) want(t testing.TB, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) {
		t.Errorf("the answer is %d %q; want %d with %q", a.status, a.body, status, text)
	}
}

// drain reads to the end; what stops it doesn't matter to the test.
func drain(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// say writes what a test expects to be read, and would miss.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// name answers with a name.
func name(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}
