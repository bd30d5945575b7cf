package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry/failure"
)

// RoundTrip sends a request to one upstream after another, as long as that is safe. It is how
// [httputil.ReverseProxy] calls for an answer.
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	body, _ := ctx.Value(uploadKey{}).(*upload)
	if r.Body == nil {
		body = nil
	}
	var failures []error
	var tried []*upstream
	for {
		u := p.choose(r, tried)
		if u == nil {
			failures = append(failures, failure.WithStatus(errors.New("no upstream is up"), http.StatusServiceUnavailable))
			return nil, join(failures)
		}
		resp, err := u.ask(ctx, p.ctx, r, body)
		if err == nil {
			u.succeeded()
			return resp, nil
		}
		if ctx.Err() != nil || body != nil && body.failed() != nil {
			return nil, err
		}
		u.failed(err)
		failures = append(failures, fmt.Errorf("upstream %s: %w", u.name, err))
		if len(failures) > p.cfg.Retries || !repeatable(r, body, err) {
			return nil, join(failures)
		}
		tried = append(tried, u)
	}
}

// join returns the last failure, which decides the status, with the texts of those before.
func join(failures []error) error {
	last := failures[len(failures)-1]
	for _, f := range slices.Backward(failures[:len(failures)-1]) {
		last = fmt.Errorf("%w; before that, %s", last, f.Error())
	}
	return last
}

// repeatable reports whether a request that failed so can be made again without doing anything twice.
func repeatable(r *http.Request, body *upload, err error) bool {
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return body == nil || !body.begun.Load()
	}
	_, broken := errors.AsType[*brokenError](err)
	return broken && body == nil && idempotent(r.Method)
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// brokenError says that the connection broke before the answer began.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// ask sends a request, over a kept connection if there is one. A kept one that turns out to be closed is no
// failure of the upstream, which may close it at any time.
func (u *upstream) ask(ctx, life context.Context, r *http.Request, body *upload) (*http.Response, error) {
	u.active.Add(1)
	safe := body == nil && idempotent(r.Method)
	for {
		l := u.pool.get()
		if l != nil && !l.usable(!safe) {
			l.cut()
			continue
		}
		if l == nil {
			var err error
			if l, err = u.dial(ctx); err != nil {
				u.active.Add(-1)
				return nil, err
			}
		}
		kept := l.used
		l.used = true
		x := &exchange{upstream: u, life: life, link: l, request: r, body: body, counted: true}
		resp, err := x.do(ctx)
		if err == nil {
			return resp, nil
		}
		if _, broken := errors.AsType[*brokenError](err); !kept || !broken || !safe || ctx.Err() != nil {
			u.active.Add(-1)
			return nil, err
		}
	}
}

// exchange is one request and its answer on a connection.
type exchange struct {
	*upstream
	*link
	life    context.Context // ends when the instance retires
	request *http.Request
	body    *upload // nil when there is none
	counted bool
	stop    func() bool // ends the watch over the request's context

	sent  chan struct{} // closed when the body is sent, when that is done beside reading the answer
	whole bool          // it was sent to its end; after sent is closed

	mu       sync.Mutex
	answered bool // the header is there, and its deadline over

	once sync.Once
}

// do sends the request and returns the answer. When there is an error the connection is closed.
func (x *exchange) do(ctx context.Context) (*http.Response, error) {
	x.stop = context.AfterFunc(ctx, x.cut)
	resp, err := x.converse(ctx)
	if err != nil {
		x.stop()
		x.cut()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		resp.Body = x.tunnel()
	case resp.Body == http.NoBody:
		x.reuse(resp)
	default:
		x.phase, x.read = inBody, time.Now()
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			x.phase = inStream
			err = x.SetReadDeadline(time.Time{})
		} else if x.br.Buffered() == 0 || resp.ContentLength != int64(x.br.Buffered()) {
			err = x.SetReadDeadline(x.read.Add(x.idle))
		}
		if err != nil {
			x.finish(false)
			return nil, err
		}
		resp.Body = &download{ReadCloser: resp.Body, x: x, resp: resp}
	}
	return resp, nil
}

func (x *exchange) converse(ctx context.Context) (*http.Response, error) {
	x.phase, x.header = inHeader, maxHeader
	var err error
	switch {
	case x.body == nil:
		if err = x.head(); err == nil {
			err = x.bw.Flush()
		}
	case x.body.short(x.request):
		if err = x.head(); err == nil {
			err = x.send()
		}
	default:
		if err = x.head(); err != nil {
			return nil, err
		}
		x.sent = make(chan struct{})
		x.body.started.Store(true)
		if err := x.SetReadDeadline(time.Time{}); err != nil {
			return nil, &brokenError{err}
		}
		go func() {
			defer close(x.sent)
			defer close(x.body.writing) // before sent: the handler may return then
			// When it fails, the answer may have come nevertheless; the reader will see.
			if err := x.send(); err == nil {
				x.whole = true
			} else if x.bw.Flush() == nil {
				x.cut() // it's the body that is broken
			}
			x.await()
		}()
	}
	if err != nil && (errors.Is(err, errUnsendable) || x.bw.Flush() == nil) {
		return nil, err // it's the request that is broken
	}
	// An upstream may answer and close before it has read everything, so that writing fails. What
	// it said counts.
	if x.sent == nil {
		x.await()
	}
	resp, readErr := x.receive(ctx)
	if readErr == nil {
		x.mu.Lock()
		x.answered = true
		x.mu.Unlock()
		if err != nil {
			resp.Close = true
		}
		return resp, nil
	}
	if x.body != nil && x.body.failed() != nil {
		return nil, x.body.failed()
	}
	return nil, readErr
}

// await gives the upstream its time to begin the answer.
func (x *exchange) await() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.answered {
		_ = x.SetReadDeadline(time.Now().Add(x.cfg.HeaderTimeout)) // fails for a closed connection, as the read will
	}
}

// receive reads the answer's header, and hands on the 1xx ones before it.
func (x *exchange) receive(ctx context.Context) (*http.Response, error) {
	if _, err := x.br.Peek(1); err != nil {
		if timeout(err) {
			return nil, failure.WithStatus(fmt.Errorf("no answer began within %v: %w", x.cfg.HeaderTimeout, err), http.StatusGatewayTimeout)
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("it closed the connection before it answered")
		}
		return nil, &brokenError{failure.WithStatus(err, http.StatusBadGateway)}
	}
	for {
		resp, err := http.ReadResponse(x.br, x.request)
		switch {
		case err != nil && timeout(err):
			return nil, failure.WithStatus(fmt.Errorf("the answer's header isn't complete within %v: %w", x.cfg.HeaderTimeout, err), http.StatusGatewayTimeout)
		case err != nil:
			return nil, failure.WithStatus(fmt.Errorf("its answer can't be understood: %w", err), http.StatusBadGateway)
		case resp.StatusCode == http.StatusSwitchingProtocols && x.request.Header.Get("Upgrade") == "":
			return nil, failure.WithStatus(errors.New("it switches protocols, and nobody asked it to"), http.StatusBadGateway)
		case resp.StatusCode < 100 || resp.StatusCode > 999:
			return nil, failure.WithStatus(fmt.Errorf("its status is %d", resp.StatusCode), http.StatusBadGateway)
		case resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
		trace := httptrace.ContextClientTrace(ctx)
		if resp.StatusCode == http.StatusContinue || trace == nil || trace.Got1xxResponse == nil {
			continue
		}
		if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
			return nil, err
		}
	}
}

// errUnsendable says that the request can't be written as HTTP/1.1.
var errUnsendable = failure.WithStatus(errors.New("the request can't be sent over HTTP/1.1"), http.StatusBadRequest)

// unsent are the fields that head writes itself.
var unsent = map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true, "User-Agent": true}

// head writes the request line and the header (RFC 9112, 3).
func (x *exchange) head() error {
	r, bw := x.request, x.bw
	url := r.URL
	if x.prefix != nil {
		url = x.prefix.JoinPath() // a copy
		url.Path, url.RawPath = strings.TrimSuffix(x.prefix.Path, "/")+r.URL.Path, strings.TrimSuffix(x.prefix.EscapedPath(), "/")+r.URL.EscapedPath()
		url.RawQuery, url.ForceQuery = r.URL.RawQuery, r.URL.ForceQuery
	}
	path := url.RequestURI()
	host := r.Host
	if host == "" || !x.cfg.KeepHost {
		host = x.host
	}
	unprintable := func(c rune) bool { return c <= ' ' || c == 0x7f }
	if strings.ContainsFunc(path, unprintable) || !httpguts.ValidHostHeader(host) || !httpguts.ValidHeaderFieldName(r.Method) {
		return errUnsendable
	}
	// The Writer keeps the first error, and Flush returns it.
	for _, s := range [...]string{r.Method, " ", path, " HTTP/1.1\r\nHost: ", host, "\r\n"} {
		_, _ = bw.WriteString(s)
	}
	// ReverseProxy sets an empty one where the client sent none.
	if agent := r.Header.Get("User-Agent"); agent != "" && httpguts.ValidHeaderFieldValue(agent) {
		_, _ = bw.WriteString("User-Agent: " + agent + "\r\n")
	}
	_ = r.Header.WriteSubset(bw, unsent)
	switch {
	case x.body == nil:
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			_, _ = bw.WriteString("Content-Length: 0\r\n")
		}
	case r.ContentLength > 0:
		_, _ = bw.WriteString("Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n")
	default:
		_, _ = bw.WriteString("Transfer-Encoding: chunked\r\n")
		if names := trailers(r.Trailer); len(names) > 0 {
			_, _ = bw.WriteString("Trailer: " + strings.Join(names, ", ") + "\r\n")
		}
	}
	_, err := bw.WriteString("\r\n")
	return err
}

// trailers returns the names of the fields that may be sent after a body (RFC 9110, 6.5.1).
func trailers(h http.Header) []string {
	var names []string
	for name := range h {
		if httpguts.ValidHeaderFieldName(name) && httpguts.ValidTrailerHeader(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// send writes the body, each piece as it comes.
func (x *exchange) send() error {
	r, bw := x.request, x.bw
	size := bufferSize
	if r.ContentLength > 0 {
		size = int(min(r.ContentLength, bufferSize))
	}
	buf := make([]byte, size)
	var dst io.Writer = bw
	chunked := r.ContentLength <= 0
	if chunked {
		dst = httputil.NewChunkedWriter(bw)
	}
	var written int64
	if !x.body.short(r) {
		if err := bw.Flush(); err != nil {
			return err
		}
	}
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if written += int64(n); !chunked && written > r.ContentLength {
				return errors.New("the request body is longer than announced")
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
			if written != r.ContentLength {
				if err := bw.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) || err == nil && written == r.ContentLength {
			break
		}
		if err != nil {
			return err
		}
	}
	switch {
	case !chunked && written < r.ContentLength:
		return io.ErrUnexpectedEOF
	case chunked:
		_, _ = bw.WriteString("0\r\n")
		for _, name := range trailers(r.Trailer) {
			_ = http.Header{name: r.Trailer[name]}.Write(bw)
		}
		_, _ = bw.WriteString("\r\n")
	}
	return bw.Flush()
}

// reuse keeps the connection if both sides are done with it, and closes it otherwise.
func (x *exchange) reuse(resp *http.Response) {
	ok := !resp.Close
	if ok && x.sent != nil {
		select {
		case <-x.sent:
		default:
			// Where the body was short the writer is about to end.
			timer := time.NewTimer(linger)
			defer timer.Stop()
			select {
			case <-x.sent:
			case <-timer.C:
				x.cut()
				ok = false
			}
		}
		ok = ok && x.whole
	}
	x.finish(ok && x.br.Buffered() == 0)
}

// finish ends the exchange. A second call does nothing.
func (x *exchange) finish(keep bool) {
	x.once.Do(func() {
		if running := x.stop(); keep && running {
			x.pool.put(x.link)
		} else {
			x.cut()
		}
		if x.counted {
			x.active.Add(-1)
		}
	})
}

// download is the body of an answer.
type download struct {
	io.ReadCloser
	x    *exchange
	resp *http.Response
	end  bool
}

func (d *download) Read(p []byte) (int, error) {
	if d.end {
		return 0, io.EOF
	}
	n, err := d.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		d.end = true
		d.x.reuse(d.resp)
		return n, io.EOF
	}
	d.x.finish(false)
	return n, fmt.Errorf("upstream %s: %w", d.x.name, err)
}

// Close closes the connection when there is more of the body; net/http's own would read it first.
func (d *download) Close() error {
	d.x.finish(false)
	return nil
}

// tunnel is what is left of a connection when the protocol was switched.
type tunnel struct {
	x       *exchange
	retires func() bool
}

func (x *exchange) tunnel() *tunnel {
	x.phase = inStream
	_ = x.SetDeadline(time.Time{}) // fails for a closed connection, as what follows will
	return &tunnel{x, context.AfterFunc(x.life, x.cut)}
}

func (t *tunnel) Read(p []byte) (int, error)  { return t.x.br.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.x.Conn.Write(p) }

// CloseWrite hands on that one side has finished.
func (t *tunnel) CloseWrite() error { return t.x.CloseWrite() }

func (t *tunnel) Close() error {
	t.retires()
	t.x.finish(false)
	return nil
}
