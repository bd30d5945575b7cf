// Package factorytest serves what a factory makes of files, for the tests of a factory: it stands for the
// server, the catcher and the finder, and keeps what was reported and logged.
package factorytest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/response"
)

// Site is a folder of files on a server. The first segment of a URL is the file's name, the rest is path
// info.
type Site struct {
	// Dir is the folder, empty at first.
	Dir string
	// Factory makes the apps, anew for each request.
	Factory resource.Factory
	// Server speaks HTTP/1.1, and HTTP/2 to clients that begin so.
	Server *httptest.Server
	// Base is what each request's environ starts with.
	Base environ.Base
	// Failures has the first failure of each request that had one.
	Failures chan error

	t   testing.TB
	mu  sync.Mutex
	log bytes.Buffer
}

// New starts a server for a factory with these settings. It ends with the test, after the requests under way.
func New[C any](t testing.TB, c registry.Factory[C], cfg C) *Site {
	t.Helper()
	s := &Site{Dir: t.TempDir(), Failures: make(chan error, 1000), t: t}
	s.Factory = registrytest.Build(t, c, cfg, s)
	s.Server = httptest.NewUnstartedServer(s)
	s.Server.Config.Protocols = new(http.Protocols)
	s.Server.Config.Protocols.SetHTTP1(true)
	s.Server.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Server.Start()
	t.Cleanup(s.Server.Close)
	return s
}

// Write takes what the factory logs.
func (s *Site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// Logged returns what the factory has logged so far, as JSON.
func (s *Site) Logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// File returns the file of that name as a finder hands it to the factory.
func (s *Site) File(name string) *resource.File {
	return &resource.File{FS: os.DirFS(s.Dir), Name: name, Root: s.Dir}
}

// ServeHTTP does what a finder and a catcher do.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var state struct {
		response.Writer
		sink
	}
	state.Init(w, nil)
	r = s.Base.Open(r)
	failure.Key.Set(r, &state.sink)
	name, info, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if found {
		info = "/" + info
	}
	file := s.File(name)
	app, err := s.Factory.Make(file)
	if err == nil {
		resource.Key.Set(r, &resource.Match{File: file, ScriptName: "/" + name, PathInfo: info})
		app.Handler.ServeHTTP(&state.Writer, r)
		err = state.err
	}
	if err == nil {
		return
	}
	s.Failures <- err
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

// Reply is a response whose body was read.
type Reply struct {
	*http.Response
	// Text is the body, as far as it could be read, and Err why not to its end.
	Text string
	Err  error
}

// Request makes a request for a path.
func (s *Site) Request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.Server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// Do sends a request. The error says that there was no response.
func (s *Site) Do(client *http.Client, r *http.Request) (Reply, error) {
	res, err := client.Do(r)
	if err != nil {
		return Reply{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return Reply{res, string(b), err}, nil
}

// Send sends a request by the server's own client. There must be a response.
func (s *Site) Send(r *http.Request) Reply {
	s.t.Helper()
	return s.SendBy(s.Server.Client(), r)
}

// SendBy is Send by another client.
func (s *Site) SendBy(client *http.Client, r *http.Request) Reply {
	s.t.Helper()
	res, err := s.Do(client, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// Get asks for a path.
func (s *Site) Get(path string) Reply {
	s.t.Helper()
	return s.Send(s.Request(http.MethodGet, path, nil))
}

// Failure returns what the last request reported, which must be something.
func (s *Site) Failure() error {
	s.t.Helper()
	select {
	case err := <-s.Failures:
		return err
	default:
		s.t.Fatal("nothing was reported")
		return nil
	}
}

// Quiet fails the test when something was reported.
func (s *Site) Quiet() {
	s.t.Helper()
	select {
	case err := <-s.Failures:
		s.t.Errorf("it was reported: %v", err)
	default:
	}
}
