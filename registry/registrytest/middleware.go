package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
)

const wrapper = "package response"

var middlewareRules = []rule{
	overBoth("body", "requests and responses pass through, body, headers and status", wrapper, passBody),
	overBoth("flush", "what is flushed reaches the client before the handler ends", wrapper, passFlush),
	overBoth("deadlines", "http.ResponseController sets deadlines through it", wrapper, passDeadlines),
	overBoth("full duplex", "a handler may write before it has read the request, after EnableFullDuplex", wrapper, passFullDuplex),
	overBoth("informational", "1xx responses pass, and don't count as the response", wrapper, passInformational),
	overBoth("trailers", "trailers pass, declared or not, and those that a request declares", wrapper, passTrailers),
	overBoth("head", "the answer to HEAD has the headers of GET's, and no body", wrapper, passHead),
	overBoth("range", "ranges and conditional requests pass", wrapper, passRange),
	overBoth("abort", "http.ErrAbortHandler passes through, and the connection is cut", mustKeepTo, passAbort),
	overBoth("panic", "a panic passes or is answered with an error, and cuts a response that has begun", "package failure", passPanic),
	overBoth("client gone", "the request's context ends inside when the client goes away", mustKeepTo, passClientGone),
	overBoth("concurrent", "requests run concurrently; each reaches the handler once and gets its own answer", mustKeepTo, passConcurrent),
	{name: "hijack", text: "http.ResponseController hijacks the connection through it", where: wrapper, check: passHijack},
	{name: "sendfile", text: "a file is copied by the connection, through io.ReaderFrom", where: wrapper, check: passReadFrom},
	{name: "chains", text: "Wrap is called for each chain the middleware stands in, and all of them work", where: "package registry, Wrap", check: passChains},
	{name: "context", text: "a request whose context has ended doesn't wait", where: mustKeepTo, check: passContext},
}

// overBoth makes a rule that is checked with a handler behind the middleware, over each protocol.
func overBoth(name, text, where string, check func(ctx context.Context, p *passage) error) rule {
	return rule{name: name, text: text, where: where, check: func(k *kit) error {
		c, err := k.chain()
		if err != nil {
			return err
		}
		for _, protocol := range protocols {
			if err := c.passes(protocol, check); err != nil {
				return fmt.Errorf("over %s: %w", protocol, err)
			}
		}
		return nil
	}}
}

// chain is a host with the middleware in front of a handler that a check chooses.
type chain struct {
	*host
	inner atomic.Pointer[http.HandlerFunc]
}

func (k *kit) chain() (*chain, error) {
	wrap, err := product[registry.Wrap](k)
	if err != nil {
		return nil, err
	}
	c := new(chain)
	c.host, err = k.serve(wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*c.inner.Load())(w, r)
	})))
	if err != nil {
		return nil, err
	}
	c.whole = true
	return c, nil
}

// passage is a chain that one check uses over one protocol.
type passage struct {
	*chain
	protocol string
	results  chan error // of the handler behind the middleware
}

// passes runs a check.
func (c *chain) passes(protocol string, check func(ctx context.Context, p *passage) error) error {
	p := &passage{chain: c, protocol: protocol, results: make(chan error, 1)}
	err := c.k.within("the exchange", func(ctx context.Context) error { return check(ctx, p) })
	if err != nil {
		select {
		case inside := <-p.results: // the handler may know better what is wrong
			err = errors.Join(err, inside)
		default:
		}
	}
	return err
}

// answer sets the handler behind the middleware. Errors that it returns are found by result.
func (p *passage) answer(h func(w http.ResponseWriter, r *http.Request) error) (result func(ctx context.Context) error) {
	f := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := errors.New("the handler behind the middleware didn't come to its end")
		defer func() {
			select {
			case p.results <- err:
			default: // it was called again; the concurrent check counts
			}
		}()
		err = h(w, r)
	})
	p.inner.Store(&f)
	return func(ctx context.Context) error {
		select {
		case err := <-p.results:
			return err
		case <-ctx.Done():
			return errors.New("no request ended in the handler behind the middleware")
		}
	}
}

func (p *passage) get(ctx context.Context, method string) (*answer, error) {
	return p.host.get(ctx, p.protocol, method, "/")
}

// has compares an answer with what the handler sent; a middleware may add headers.
func (a *answer) has(status int, body string, headers ...string) error {
	var errs []error
	if a.status != status {
		errs = append(errs, fmt.Errorf("the status is %d, want %d", a.status, status))
	}
	if a.body != body {
		errs = append(errs, fmt.Errorf("the body is %s, want %s", short(a.body), short(body)))
	}
	for i := 0; i < len(headers); i += 2 {
		if got := a.header.Get(headers[i]); got != headers[i+1] {
			errs = append(errs, fmt.Errorf("the header %s is %q, want %q", headers[i], got, headers[i+1]))
		}
	}
	return errors.Join(errs...)
}

// reads returns an error unless r holds exactly that text.
func reads(r io.Reader, want string) error {
	got, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("after %s: %w", short(string(got)), err)
	}
	if string(got) != want {
		return fmt.Errorf("got %s, want %s", short(string(got)), short(want))
	}
	return nil
}

func passBody(ctx context.Context, p *passage) error {
	sent := strings.Repeat("0123456789abcdef", 48)
	for _, chunked := range []bool{false, true} {
		const target = "/some%20path/?a=b&a=c"
		var body io.Reader = strings.NewReader(sent)
		if chunked {
			body = io.MultiReader(body) // of unknown length
		}
		r, err := p.request(ctx, http.MethodPost, target, body)
		if err != nil {
			return err
		}
		r.Header.Set("X-Probe", "1")
		host := r.Host
		result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
			if r.Host != host || r.RequestURI != target || r.RemoteAddr == "" || !strings.HasPrefix(r.Proto, p.protocol) {
				return fmt.Errorf("the handler got the Host %q, the RequestURI %q, the RemoteAddr %q and the Proto %q; want %q, %q, an address and %s",
					r.Host, r.RequestURI, r.RemoteAddr, r.Proto, host, target, p.protocol)
			}
			got, err := io.ReadAll(r.Body)
			if err != nil {
				return fmt.Errorf("reading the request's body: %w", err)
			}
			if string(got) != sent {
				return fmt.Errorf("the handler got the body %s, want %s", short(string(got)), short(sent))
			}
			if r.Method != http.MethodPost || r.URL.Path != "/some path/" || r.URL.RawQuery != "a=b&a=c" || r.Header.Get("X-Probe") != "1" {
				return fmt.Errorf("the handler got %s %s with X-Probe %q", r.Method, r.URL, r.Header.Get("X-Probe"))
			}
			if want := map[bool]int64{false: int64(len(sent)), true: -1}[chunked]; r.ContentLength != want {
				return fmt.Errorf("the handler got the ContentLength %d, want %d", r.ContentLength, want)
			}
			h := w.Header()
			h.Set("Content-Type", "application/x-probe")
			h.Set("X-Answer", "1")
			h["X-Many"] = []string{"1", "2"}
			w.WriteHeader(http.StatusAccepted)
			if _, err := io.WriteString(w, sent[:100]); err != nil {
				return err
			}
			_, err = io.WriteString(w, sent[100:])
			return err
		})
		a, err := p.do(p.protocol, r)
		if err != nil {
			return err
		}
		if err := errors.Join(result(ctx), a.has(http.StatusAccepted, sent, "Content-Type", "application/x-probe", "X-Answer", "1")); err != nil {
			return err
		}
		if n := len(a.header["X-Many"]); n != 2 {
			return fmt.Errorf("a header with two values arrived with %d", n)
		}
	}
	// Nothing written at all is a 200 of length 0.
	result := p.answer(func(http.ResponseWriter, *http.Request) error { return nil })
	a, err := p.get(ctx, http.MethodGet)
	if err != nil {
		return err
	}
	return errors.Join(result(ctx), a.has(http.StatusOK, "", "Content-Length", "0"), p.quiet())
}

func passFlush(ctx context.Context, p *passage) error {
	release := make(chan struct{}, 2)
	result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
		rc := http.NewResponseController(w)
		for _, part := range []string{"first,", "second,"} {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
			if err := rc.Flush(); err != nil {
				return fmt.Errorf("flushing: %w", err)
			}
			select {
			case <-release:
			case <-r.Context().Done():
				return r.Context().Err()
			}
		}
		_, err := io.WriteString(w, "third")
		return err
	})
	r, err := p.request(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return err
	}
	resp, err := p.clients[p.protocol].Do(r)
	if err != nil {
		return fmt.Errorf("the header that was flushed doesn't arrive: %w", err)
	}
	defer resp.Body.Close()
	for _, part := range []string{"first,", "second,"} {
		if err := reads(io.LimitReader(resp.Body, int64(len(part))), part); err != nil {
			return fmt.Errorf("what was flushed doesn't arrive: %w", err)
		}
		release <- struct{}{}
	}
	if err := reads(resp.Body, "third"); err != nil {
		return fmt.Errorf("after the flushes: %w", err)
	}
	return errors.Join(result(ctx), p.quiet())
}

func passDeadlines(ctx context.Context, p *passage) error {
	result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			return fmt.Errorf("SetWriteDeadline: %w", err)
		}
		if err := rc.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			return fmt.Errorf("SetReadDeadline: %w", err)
		}
		// The client sends nothing more.
		if _, err := io.ReadAll(r.Body); err == nil {
			return errors.New("the body was read whole, past the read deadline and though the client sends nothing more")
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("reading the body past the read deadline: got %w, want os.ErrDeadlineExceeded", err)
		}
		return nil
	})
	body, end := io.Pipe()
	defer end.Close()
	r, err := p.request(ctx, http.MethodPost, "/", body)
	if err != nil {
		return err
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		resp, err := p.clients[p.protocol].Do(r)
		if err == nil {
			_ = resp.Body.Close() // what comes after the deadline doesn't matter
		}
	}()
	err = result(ctx)
	_ = end.Close() // a pipe's never fails
	<-asked
	return errors.Join(err, p.quiet())
}

func passFullDuplex(ctx context.Context, p *passage) error {
	result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			return fmt.Errorf("EnableFullDuplex: %w", err)
		}
		if _, err := io.WriteString(w, "go on,"); err != nil {
			return err
		}
		if err := rc.Flush(); err != nil {
			return fmt.Errorf("flushing: %w", err)
		}
		if _, err := io.Copy(w, r.Body); err != nil {
			return fmt.Errorf("copying the body to the response: %w", err)
		}
		return nil
	})
	body, end := io.Pipe()
	defer end.Close()
	// A client waits for the body that it sends, though its request was given up.
	defer context.AfterFunc(ctx, func() { _ = end.Close() })()
	r, err := p.request(ctx, http.MethodPost, "/", body)
	if err != nil {
		return err
	}
	resp, err := p.clients[p.protocol].Do(r)
	if err != nil {
		return fmt.Errorf("no answer before the request was sent whole: %w", err)
	}
	defer resp.Body.Close()
	const first = "go on,"
	if err := reads(io.LimitReader(resp.Body, int64(len(first))), first); err != nil {
		return fmt.Errorf("no answer before the request was sent whole: %w", err)
	}
	if _, err := io.WriteString(end, "the rest"); err != nil {
		return err
	}
	if err := end.Close(); err != nil {
		return err
	}
	if err := reads(resp.Body, "the rest"); err != nil {
		return fmt.Errorf("after the request was sent whole: %w", err)
	}
	return errors.Join(result(ctx), p.quiet())
}

func passInformational(ctx context.Context, p *passage) error {
	result := p.answer(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("X-Answer", "1")
		w.WriteHeader(http.StatusTeapot)
		_, err := io.WriteString(w, "short and stout")
		return err
	})
	var early []string
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			early = append(early, strconv.Itoa(code)+" "+header.Get("Link"))
			return nil
		},
	})
	a, err := p.get(ctx, http.MethodGet)
	if err != nil {
		return err
	}
	if len(early) != 1 || early[0] != "103 </style.css>; rel=preload" {
		return fmt.Errorf("the client got the 1xx responses %q, want one 103 with its Link", early)
	}
	return errors.Join(result(ctx), a.has(http.StatusTeapot, "short and stout", "X-Answer", "1"), p.quiet())
}

func passTrailers(ctx context.Context, p *passage) error {
	result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return fmt.Errorf("reading the request's body: %w", err)
		}
		if got := r.Trailer.Get("X-Request"); got != "3" {
			return fmt.Errorf("the request's trailer X-Request is %q, want 3: a copy of a request must keep its Trailer, which is filled behind the body", got)
		}
		w.Header().Set("Trailer", "X-Declared")
		if _, err := io.WriteString(w, "body"); err != nil {
			return err
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return fmt.Errorf("flushing: %w", err)
		}
		w.Header().Set("X-Declared", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
		return nil
	})
	r, err := p.request(ctx, http.MethodPost, "/", io.MultiReader(strings.NewReader("body"))) // of unknown length
	if err != nil {
		return err
	}
	r.Trailer = http.Header{"X-Request": {"3"}}
	a, err := p.do(p.protocol, r)
	if err != nil {
		return err
	}
	if err := result(ctx); err != nil {
		return err
	}
	if a.trailer.Get("X-Declared") != "1" || a.trailer.Get("X-Late") != "2" {
		return fmt.Errorf("the trailers are %v, want X-Declared: 1 and X-Late: 2", a.trailer)
	}
	return errors.Join(a.has(http.StatusOK, "body"), p.quiet())
}

func passHead(ctx context.Context, p *passage) error {
	for _, written := range []string{"", "a body that must not be sent"} {
		result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != http.MethodHead {
				return fmt.Errorf("the handler got the method %s, want HEAD", r.Method)
			}
			w.Header().Set("Content-Length", "28")
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, written) // net/http says that there is no body
			return nil
		})
		a, err := p.get(ctx, http.MethodHead)
		if err != nil {
			return err
		}
		if err := errors.Join(result(ctx), a.has(http.StatusOK, "", "Content-Length", "28", "Etag", `"x"`)); err != nil {
			return err
		}
	}
	return p.quiet()
}

func passRange(ctx context.Context, p *passage) error {
	content := strings.Repeat("0123456789", 6000)
	modified := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, test := range []struct {
		header, value string
		status        int
		body          string
		want          []string
	}{
		{"Range", "bytes=10005-10014", http.StatusPartialContent, "5678901234", []string{"Content-Range", "bytes 10005-10014/60000", "Content-Length", "10"}},
		{"Range", "bytes=-3", http.StatusPartialContent, "789", []string{"Content-Range", "bytes 59997-59999/60000"}},
		{"Range", "bytes=70000-", http.StatusRequestedRangeNotSatisfiable, "invalid range: failed to overlap\n", []string{"Content-Range", "bytes */60000"}},
		{"If-None-Match", `"x"`, http.StatusNotModified, "", []string{"Etag", `"x"`}},
		{"If-Modified-Since", modified.Format(http.TimeFormat), http.StatusNotModified, "", nil},
		{"If-Match", `"y"`, http.StatusPreconditionFailed, "", nil},
		{"Accept", "*/*", http.StatusOK, content, []string{"Content-Length", "60000", "Accept-Ranges", "bytes"}},
	} {
		result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
			if test.header != "If-Modified-Since" {
				w.Header().Set("Etag", `"x"`)
			}
			http.ServeContent(w, r, "file.txt", modified, strings.NewReader(content))
			return nil
		})
		r, err := p.request(ctx, http.MethodGet, "/", nil)
		if err != nil {
			return err
		}
		r.Header.Set(test.header, test.value)
		a, err := p.do(p.protocol, r)
		if err != nil {
			return err
		}
		if err := errors.Join(result(ctx), a.has(test.status, test.body, test.want...)); err != nil {
			return fmt.Errorf("%s: %s: %w", test.header, test.value, err)
		}
	}
	return p.quiet()
}

// breaks asks for something that the handler breaks off, and returns an error when the client can
// take what it got for a whole answer.
func (p *passage) breaks(ctx context.Context, begun bool, value any) (*answer, error) {
	p.answer(func(w http.ResponseWriter, _ *http.Request) error {
		if begun {
			_, _ = io.WriteString(w, "half of a")
			_ = http.NewResponseController(w).Flush() // the flush check is about its error
		}
		panic(value)
	})
	return p.get(ctx, http.MethodGet)
}

func passAbort(ctx context.Context, p *passage) error {
	for _, begun := range []bool{false, true} {
		if a, err := p.breaks(ctx, begun, http.ErrAbortHandler); err == nil {
			return fmt.Errorf("the client got a whole answer (status %d, %s) of a handler that panicked with http.ErrAbortHandler", a.status, short(a.body))
		}
		// The client may know before the panic has come to the root.
		err := eventually(p.k.patience, func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.panics) == 0 {
				return errors.New("no panic came out of it")
			}
			return nil
		})
		if err != nil {
			return err
		}
		p.mu.Lock()
		for _, v := range p.panics {
			if v != any(http.ErrAbortHandler) {
				err = fmt.Errorf("%v came out of it, want http.ErrAbortHandler itself", v)
			}
		}
		if len(p.failures) > 0 {
			err = errors.Join(err, fmt.Errorf("it was reported as a failure: %w", p.failures[0]))
		}
		p.panics = nil
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func passPanic(ctx context.Context, p *passage) error {
	if a, err := p.breaks(ctx, false, "boom"); err == nil && a.status < 500 {
		return fmt.Errorf("the handler panicked before it wrote anything, and the client got the status %d", a.status)
	}
	if a, err := p.breaks(ctx, true, "boom"); err == nil {
		return fmt.Errorf("the handler panicked amid the body, and the client got a whole answer (status %d, %s)", a.status, short(a.body))
	}
	return nil
}

func passClientGone(ctx context.Context, p *passage) error {
	waiting := make(chan struct{})
	result := p.answer(func(_ http.ResponseWriter, r *http.Request) error {
		close(waiting)
		select {
		case <-r.Context().Done():
			return nil
		case <-ctx.Done():
			return errors.New("the client went away, and the request's context inside didn't end")
		}
	})
	gone, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = p.get(gone, http.MethodGet) // it is broken off
	}()
	defer func() { <-sent }()
	select {
	case <-waiting:
	case <-ctx.Done():
		return errors.New("the request doesn't reach the handler")
	}
	cancel()
	// The handler itself waits as long as ctx; give it the time to say so.
	return result(context.WithoutCancel(ctx))
}

func passConcurrent(_ context.Context, p *passage) error {
	var reached atomic.Int64
	f := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			failure.Report(r, err)
			return
		}
		w.Header().Set("X-Path", r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(bytes.ToUpper(body)) // the client looks at it
	})
	p.inner.Store(&f)
	err := p.k.together("the exchange", func(ctx context.Context, i int) error {
		path, body := "/"+strconv.Itoa(i), fmt.Sprintf("body %d", i)
		r, err := p.request(ctx, http.MethodPost, path, strings.NewReader(body))
		if err != nil {
			return err
		}
		a, err := p.do(p.protocol, r)
		if err != nil {
			return err
		}
		return a.has(http.StatusAccepted, strings.ToUpper(body), "X-Path", path)
	})
	if err == nil && reached.Load() != concurrency {
		err = fmt.Errorf("%d requests reached the handler, want %d", reached.Load(), concurrency)
	}
	return errors.Join(err, p.quiet())
}

func passHijack(k *kit) error {
	c, err := k.chain()
	if err != nil {
		return err
	}
	return c.passes(protocols[0], func(ctx context.Context, p *passage) error {
		result := p.answer(func(w http.ResponseWriter, _ *http.Request) error {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return fmt.Errorf("hijacking: %w", err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: probe\r\n\r\n"); err != nil {
				return err
			}
			line, err := rw.ReadString('\n')
			if err != nil {
				return fmt.Errorf("reading the hijacked connection: %w", err)
			}
			_, err = io.WriteString(conn, strings.ToUpper(line))
			return err
		})
		conn, rd, done, err := p.dial(ctx)
		if err != nil {
			return err
		}
		defer done()
		r, err := p.request(ctx, http.MethodGet, "/", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "probe")
		if err := r.Write(conn); err != nil {
			return err
		}
		resp, err := http.ReadResponse(rd, r)
		if err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("the status is %d, want 101", resp.StatusCode)
		}
		if _, err := io.WriteString(conn, "ping\n"); err != nil {
			return err
		}
		// To its end: nothing may be written behind the handler's back.
		if err := reads(rd, "PING\n"); err != nil {
			return fmt.Errorf("the hijacked connection: %w", err)
		}
		return errors.Join(result(ctx), p.quiet())
	})
}

func passReadFrom(k *kit) error {
	c, err := k.chain()
	if err != nil {
		return err
	}
	const size = 100_000
	name := filepath.Join(k.t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		return err
	}
	return c.passes(protocols[0], func(ctx context.Context, p *passage) error {
		result := p.answer(func(w http.ResponseWriter, r *http.Request) error {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			http.ServeContent(w, r, "file", time.Time{}, f)
			return nil
		})
		a, err := p.get(ctx, http.MethodGet)
		if err != nil {
			return err
		}
		if err := errors.Join(result(ctx), a.has(http.StatusOK, string(make([]byte, size))), p.quiet()); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.readsFrom != size {
			return fmt.Errorf("the connection copied %d bytes of a file of %d by itself", p.readsFrom, size)
		}
		return nil
	})
}

func passChains(k *kit) error {
	wrap, err := product[registry.Wrap](k)
	if err != nil {
		return err
	}
	says := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, s) // the client looks at it
		})
	}
	for range 2 {
		mux := http.NewServeMux()
		mux.Handle("/one", wrap(says("one")))
		mux.Handle("/two", wrap(says("two")))
		mux.Handle("/twice", wrap(wrap(says("twice"))))
		h, err := k.serve(mux)
		if err != nil {
			return err
		}
		err = k.within("the exchange", func(ctx context.Context) error {
			for _, want := range []string{"one", "two", "twice", "one"} {
				a, err := h.get(ctx, protocols[0], http.MethodGet, "/"+want)
				if err != nil {
					return err
				}
				if err := a.has(http.StatusOK, want); err != nil {
					return fmt.Errorf("chain %s: %w", want, err)
				}
			}
			return h.quiet()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// passContext sends requests whose context ends; behind the middleware nothing waits longer.
func passContext(k *kit) error {
	wrap, err := product[registry.Wrap](k)
	if err != nil {
		return err
	}
	h := wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-k.over:
		}
	}))
	return k.ends(func(ctx context.Context) error {
		return k.direct(ctx, h, "/")
	})
}

// ends runs f, first with a context that has ended, then with one that ends while f runs.
func (k *kit) ends(f func(ctx context.Context) error) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.within("it, with a context that has ended,", func(context.Context) error { return f(ended) }); err != nil {
		return err
	}
	during, cancel := context.WithCancel(context.Background())
	defer cancel()
	return k.within("it, whose context ended meanwhile,", func(context.Context) error {
		timer := time.AfterFunc(10*time.Millisecond, cancel)
		defer timer.Stop()
		return f(during)
	})
}

// direct calls a handler without a connection, for a POST of which no body comes. What is answered to
// nobody doesn't matter, nor that it is cut.
func (k *kit) direct(ctx context.Context, h http.Handler, path string) error {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, &stalled{ctx})
	if k.request != nil {
		k.request(r)
	}
	s := k.root(h)
	defer func() {
		if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
			panic(p)
		}
	}()
	s.ServeHTTP(httptest.NewRecorder(), r)
	return nil
}

// stalled is a body of which nothing comes before the request ends.
type stalled struct{ ctx context.Context }

func (s *stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
