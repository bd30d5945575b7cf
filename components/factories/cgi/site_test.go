//go:build unix

package cgi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stackd/stackd/components/factories/cgi"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/response"
)

// site is a folder of scripts on a server. The first segment of a URL is the script's name, the rest
// is path info.
type site struct {
	t       *testing.T
	dir     string
	factory resource.Factory
	server  *httptest.Server
	client  *http.Client
	base    environ.Base

	mu       sync.Mutex
	log      bytes.Buffer
	failures chan error // what was reported
}

// newSite starts a server for scripts. Edit changes the default settings.
func newSite(t *testing.T, scripts map[string]string, edit func(*cgi.Config)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), failures: make(chan error, 1000)}
	for name, text := range scripts {
		s.write(name, "#!/bin/sh\n"+text)
	}
	cfg := cgi.Component.Default
	if edit != nil {
		edit(&cfg)
	}
	reg, err := registry.New(cgi.Component)
	if err != nil {
		t.Fatal(err)
	}
	def := reg.Lookup(registry.KindFactory, "cgi")
	if problems := def.Check(&cfg); len(problems) > 0 {
		t.Fatal(problems)
	}
	i, err := def.Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(s, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s.factory = i.Product.(resource.Factory)
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.Protocols = new(http.Protocols)
	s.server.Config.Protocols.SetHTTP1(true)
	s.server.Config.Protocols.SetUnencryptedHTTP2(true)
	s.server.Start()
	s.client = s.server.Client()
	t.Cleanup(func() {
		s.server.Close() // waits for the requests under way
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// http2 returns a client that speaks HTTP/2 from the first byte.
func (s *site) http2() *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o755); err != nil {
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

func (s *site) file(name string) *resource.File {
	return &resource.File{FS: os.DirFS(s.dir), Name: name, Root: s.dir}
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
	file := s.file(name)
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

func (s *site) do(client *http.Client, r *http.Request) (reply, error) {
	res, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res, string(b), err}, nil
}

// get asks for a path.
func (s *site) get(path string) reply {
	s.t.Helper()
	return s.send(s.client, s.request("GET", path, nil))
}

func (s *site) send(client *http.Client, r *http.Request) reply {
	s.t.Helper()
	res, err := s.do(client, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
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

// fifo makes a named pipe, by which a test and a script wait for each other: opening it waits for the other
// side, and the end of it comes when no process has it open for writing any more.
func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, fifo string, mode int) *os.File {
	t.Helper()
	f, err := os.OpenFile(fifo, mode, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// say writes a line to whoever reads the fifo.
func say(t *testing.T, f *os.File, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}

// hear reads n bytes.
func hear(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// needs skips a test that needs a program which isn't there, unless it must be.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("STACKD_PEERS") == "required" {
			t.Fatalf("%s isn't installed", program)
		}
		t.Skipf("%s isn't installed", program)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
