package registrytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// protocols are what each host speaks.
var protocols = []string{"HTTP/1.1", "HTTP/2"}

// host serves a handler as the root of a stack does, on a loopback address, and watches what
// comes out of it.
type host struct {
	k       *kit
	handler http.Handler
	base    environ.Base
	whole   bool // compare what a handler at the end of a chain may fill in too
	addr    string
	server  *http.Server
	serving sync.WaitGroup
	clients map[string]*http.Client
	closed  sync.Once

	mu        sync.Mutex
	begun     int // requests, and how many of them have ended
	ended     int
	failures  []error // reported to the sink at the root
	panics    []any   // that reached the root
	changes   []error // of requests
	readsFrom int64   // bytes copied by ReadFrom at the root
}

// root puts what stands at the root of a stack around a handler, without a server.
func (k *kit) root(h http.Handler) *host {
	s := &host{k: k, handler: h}
	environ.Vars.Preset(&s.base, map[string]any{"theme": "light"})
	environ.Matched.Preset(&s.base, &environ.Route{Slots: []environ.Slot{
		{Name: k.Name, Component: k.Name, Kind: string(k.Kind), Origin: "stack.yaml:1"},
	}})
	if k.environ != nil {
		k.environ(&s.base)
	}
	return s
}

// serve starts a host; it is closed when the check is over.
func (k *kit) serve(h http.Handler) (*host, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := k.root(h)
	s.addr, s.clients = l.Addr().String(), make(map[string]*http.Client)
	for _, p := range protocols {
		// Without a proxy, without compression of its own.
		tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: concurrency, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(p == protocols[0])
		tr.Protocols.SetUnencryptedHTTP2(p != protocols[0])
		s.clients[p] = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s.server = &http.Server{Handler: s, Protocols: new(http.Protocols)}
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	s.serving.Go(func() { _ = s.server.Serve(l) }) // http.ErrServerClosed
	k.first(s.close)
	return s, nil
}

// close stops the host, even when a handler hangs. A second call does nothing.
func (s *host) close() { s.closed.Do(s.stop) }

func (s *host) stop() {
	for _, c := range s.clients {
		c.CloseIdleConnections()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.k.patience+grace)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		s.mu.Lock()
		inside := s.begun - s.ended
		s.mu.Unlock()
		if inside > 0 { // and not a connection alone, of which a component knows nothing
			s.k.hangs.Store(true)
			s.k.fault(&ends, fmt.Errorf("a handler didn't return within %v of the end of its request", s.k.patience))
		}
		_ = s.server.Close() // there is nothing more to be done
	}
	s.serving.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changes) > 0 {
		s.k.fault(&requestKept, s.changes[0])
	}
}

var requestKept = rule{
	name:  "request kept",
	text:  "a request is copied, never changed",
	where: mustKeepTo,
}

var ends = rule{
	name:  "waits end",
	text:  "every wait ends with the request's context",
	where: mustKeepTo,
}

// ServeHTTP is the root of the stack.
func (s *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = s.base.Open(r)
	failure.Key.Set(r, sink{s})
	root := &rootWriter{host: s}
	root.Init(w, nil)
	before := snapshot(r)
	s.mu.Lock()
	s.begun++
	s.mu.Unlock()
	defer func() {
		p := recover()
		s.mu.Lock()
		s.ended++
		if err := before.compare(r, s.whole); err != nil {
			s.changes = append(s.changes, err)
		}
		if p != nil {
			s.panics = append(s.panics, p)
		}
		s.mu.Unlock()
		if p != nil {
			// So that the client sees it as from a catcher: without a log entry.
			panic(http.ErrAbortHandler)
		}
	}()
	s.handler.ServeHTTP(root, r)
	s.mu.Lock()
	failed := len(s.failures) > 0
	s.mu.Unlock()
	if failed && !root.Committed() {
		http.Error(w, "a failure was reported", http.StatusInternalServerError)
	}
}

// sink is the catcher at the root.
type sink struct{ *host }

func (s sink) Fail(f failure.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, f.Err)
}

// rootWriter notes when a body is copied by the connection.
type rootWriter struct {
	response.Writer
	host *host
}

func (w *rootWriter) ReadFrom(src io.Reader) (int64, error) {
	n, err := w.Writer.ReadFrom(src)
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	w.host.readsFrom += n
	return n, err
}

// quiet returns an error when a failure was reported, or a panic reached the root.
func (s *host) quiet() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if len(s.failures) > 0 {
		errs = append(errs, fmt.Errorf("it reported a failure: %w", s.failures[0]))
	}
	if len(s.panics) > 0 {
		errs = append(errs, fmt.Errorf("it panicked: %v", s.panics[0]))
	}
	return errors.Join(errs...)
}

// request makes a request for a path as the case wants it.
func (s *host) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, body)
	if err != nil {
		return nil, err
	}
	if s.k.request != nil {
		s.k.request(r)
	}
	return r, nil
}

// answer is a response with its body read.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// do sends a request and reads the answer whole.
func (s *host) do(protocol string, r *http.Request) (*answer, error) {
	resp, err := s.clients[protocol].Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, trailer: resp.Trailer, body: string(body)}, nil
}

// get asks for a path.
func (s *host) get(ctx context.Context, protocol, method, path string) (*answer, error) {
	r, err := s.request(ctx, method, path, nil)
	if err != nil {
		return nil, err
	}
	return s.do(protocol, r)
}

// dial opens a connection for HTTP/1.1 spoken by hand. It is closed at the latest when ctx ends.
func (s *host) dial(ctx context.Context) (conn net.Conn, rd *bufio.Reader, closeConn func(), err error) {
	var d net.Dialer
	conn, err = d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, bufio.NewReader(conn), func() {
		stop()
		_ = conn.Close() // tidying up
	}, nil
}

// requestState is what a request was before a component was given it.
type requestState struct {
	copy    http.Request
	ctx     context.Context
	headers http.Header
	url     string
	body    io.ReadCloser
}

func snapshot(r *http.Request) requestState {
	s := requestState{copy: *r, ctx: r.Context(), headers: r.Header.Clone(), body: r.Body}
	if r.URL != nil {
		s.url = fmt.Sprintf("%#v", *r.URL)
	}
	s.copy.Trailer = r.Trailer.Clone()
	s.copy.TransferEncoding = slices.Clone(r.TransferEncoding)
	return s
}

// compare says what was changed. Whole includes what a handler at the end of the chain may fill in:
// the parsed form, and the pattern of a ServeMux.
func (s *requestState) compare(r *http.Request, whole bool) error {
	var changed []string
	note := func(field string, was, is any) {
		if !reflect.DeepEqual(was, is) {
			changed = append(changed, fmt.Sprintf("%s was %v and is %v", field, was, is))
		}
	}
	note("Method", s.copy.Method, r.Method)
	note("URL", s.url, fmt.Sprintf("%#v", *r.URL))
	note("Header", s.headers, r.Header)
	note("Host", s.copy.Host, r.Host)
	note("RequestURI", s.copy.RequestURI, r.RequestURI)
	note("RemoteAddr", s.copy.RemoteAddr, r.RemoteAddr)
	note("Proto", s.copy.Proto, r.Proto)
	note("ContentLength", s.copy.ContentLength, r.ContentLength)
	note("TransferEncoding", s.copy.TransferEncoding, r.TransferEncoding)
	note("TLS", s.copy.TLS == nil, r.TLS == nil)
	if s.body != r.Body {
		changed = append(changed, "Body is another one")
	}
	if s.ctx != r.Context() {
		changed = append(changed, "its context is another one")
	}
	if whole {
		note("Form", s.copy.Form, r.Form)
		note("PostForm", s.copy.PostForm, r.PostForm)
		note("MultipartForm", s.copy.MultipartForm, r.MultipartForm)
		note("Pattern", s.copy.Pattern, r.Pattern)
	}
	if len(changed) == 0 {
		return nil
	}
	return fmt.Errorf("the request was changed: %s", strings.Join(changed, "; "))
}
