package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// ask asks one upstream after another, as long as that is safe. Who gets an exchange finishes it.
func (p *proxy) ask(q *question) (*exchange, error) {
	ctx := q.Context()
	var failures []error
	var tried []*upstream
	for {
		u := p.choose(q.Request, tried)
		if u == nil {
			failures = append(failures, failure.WithStatus(errors.New("no upstream is up"), http.StatusServiceUnavailable))
			return nil, join(failures)
		}
		x, err := u.ask(ctx, q)
		if err == nil {
			u.succeeded()
			return x, nil
		}
		if ctx.Err() != nil || q.body != nil && q.body.failed() != nil || errors.Is(err, errUnsendable) {
			return nil, err // for which the upstream isn't to blame
		}
		u.failed(err)
		failures = append(failures, fmt.Errorf("upstream %s: %w", u.name, err))
		if len(failures) > p.cfg.Retries || !q.repeatable(err) {
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

// repeatable reports whether a question that failed so can be asked again without doing anything twice.
func (q *question) repeatable(err error) bool {
	if _, ok := errors.AsType[*unreachableError](err); ok {
		return q.body == nil || q.body.all != nil || !q.body.begun.Load()
	}
	_, broken := errors.AsType[*brokenError](err)
	return broken && q.safe()
}

// safe reports whether the question may be asked twice.
func (q *question) safe() bool { return q.body == nil && idempotent(q.Method) }

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
func (u *upstream) ask(ctx context.Context, q *question) (*exchange, error) {
	u.active.Add(1)
	for {
		now := time.Now()
		l := u.pool.get()
		if l != nil && (now.Sub(l.since) >= u.cfg.IdleTimeout || !l.usable()) {
			l.cut()
			continue
		}
		kept := l != nil
		if !kept {
			var err error
			if l, err = u.dial(ctx); err != nil {
				u.active.Add(-1)
				return nil, err
			}
			now = time.Now()
		}
		x := &exchange{upstream: u, link: l, question: q, ctx: ctx}
		err := x.do(now)
		if err == nil {
			return x, nil
		}
		if _, broken := errors.AsType[*brokenError](err); !kept || !broken || !q.safe() || ctx.Err() != nil {
			u.active.Add(-1)
			return nil, err
		}
	}
}

// exchange is one request and its answer on a connection.
type exchange struct {
	*upstream
	*link
	*question
	ctx    context.Context // the request's
	stop   func() bool     // ends the watch over it; nil when there is none
	answer *http.Response
	over   bool

	sent  chan struct{} // closed when the body is sent, when that is done beside reading the answer
	whole bool          // it was sent to its end; after sent is closed

	mu       sync.Mutex
	answered bool // the header is there, and its deadline over
}

// soon is how long an exchange may take before it is looked after that its context may end: for most that is never
// needed, and costs as much as everything else here.
const soon = 50 * time.Millisecond

// observe cuts the connection when the request's context ends.
func (x *exchange) observe() {
	if x.onDelay = nil; x.stop == nil {
		x.stop = context.AfterFunc(x.ctx, x.cut)
	}
}

// do sends the request and reads the answer's header. When there is an error the connection is closed.
func (x *exchange) do(now time.Time) error {
	err := x.converse(now)
	if err != nil {
		x.close()
		if x.ctx.Err() != nil {
			err = context.Cause(x.ctx)
		}
	}
	return err
}

func (x *exchange) converse(now time.Time) error {
	head, err := x.appendHead(x.head[:0], x.upstream)
	if err != nil {
		return err
	}
	if len(head) <= shortBody {
		x.head = head // for the next one
	}
	x.phase, x.budget = inHeader, maxHeader
	deadline, limited := x.ctx.Deadline()
	hurried := limited && deadline.Before(now.Add(soon))
	if x.body == nil && len(head) <= shortBody && !hurried {
		x.onDelay = x.observe // the kernel takes so little without waiting
	} else {
		x.observe()
	}
	switch {
	case x.body == nil:
		_, err = x.write(now, head)
	case x.body.all != nil:
		_, _ = x.bw.Write(head) // Flush says what went wrong
		_, _ = x.bw.Write(x.body.all)
		err = x.bw.Flush()
		now = time.Now()
	default:
		if _, err := x.bw.Write(head); err != nil {
			return err
		}
		x.sent = make(chan struct{})
		x.body.started.Store(true)
		if err := x.expect(now, 0); err != nil {
			return &brokenError{err}
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
			x.await(time.Now())
		}()
	}
	// An upstream may answer and close before it has read everything, so that writing fails. What
	// it said counts.
	if x.sent == nil {
		x.await(now)
	}
	if readErr := x.receive(); readErr != nil {
		if x.body != nil && x.body.failed() != nil {
			return x.body.failed()
		}
		return readErr
	}
	if err != nil {
		x.answer.Close = true
	}
	if x.sent != nil {
		x.mu.Lock()
		x.answered = true
		x.mu.Unlock()
	}
	return nil
}

// await gives the upstream its time to begin the answer.
func (x *exchange) await(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.answered {
		_ = x.expect(now, x.cfg.HeaderTimeout) // fails for a closed connection, as the read will
	}
}

// receive reads the answer's header, and hands on the 1xx ones before it.
func (x *exchange) receive() error {
	// It can't be there yet. Whatever else is to be done first may take as long as the upstream does, which saves
	// a read in vain and a wait for the poller.
	runtime.Gosched()
	if _, err := x.br.Peek(1); err != nil {
		if timeout(err) {
			return failure.WithStatus(fmt.Errorf("no answer began within %v: %w", x.cfg.HeaderTimeout, err), http.StatusGatewayTimeout)
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("it closed the connection before it answered")
		}
		return &brokenError{failure.WithStatus(err, http.StatusBadGateway)}
	}
	for {
		resp, err := http.ReadResponse(x.br, x.Request) //nolint:bodyclose // it ends with the exchange
		switch {
		case err != nil && timeout(err):
			return failure.WithStatus(fmt.Errorf("the answer's header isn't complete within %v: %w", x.cfg.HeaderTimeout, err), http.StatusGatewayTimeout)
		case err != nil:
			return failure.WithStatus(fmt.Errorf("its answer can't be understood: %w", err), http.StatusBadGateway)
		case resp.StatusCode == http.StatusSwitchingProtocols && len(x.upgrades) == 0:
			return failure.WithStatus(errors.New("it switches protocols, and nobody asked it to"), http.StatusBadGateway)
		case resp.StatusCode < 100 || resp.StatusCode > 999:
			return failure.WithStatus(fmt.Errorf("its status is %d", resp.StatusCode), http.StatusBadGateway)
		case resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols:
			x.answer = resp
			return nil
		}
		if resp.StatusCode != http.StatusContinue && x.w != nil && x.ProtoAtLeast(1, 1) {
			x.inform(resp)
		}
	}
}

// inform hands on a 1xx response.
func (x *exchange) inform(resp *http.Response) {
	h := x.w.Header()
	final := maps.Clone(h) // what is there is for the answer
	clear(h)
	add(h, resp.Header)
	x.w.WriteHeader(resp.StatusCode)
	clear(h)
	maps.Copy(h, final)
}

// send writes the body, each piece as it comes.
func (x *exchange) send() error {
	r, bw := x.Request, x.bw
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
	if err := bw.Flush(); err != nil {
		return err
	}
	for {
		n, err := x.body.Read(buf)
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
		for _, name := range x.trailers() {
			for _, value := range r.Trailer[name] {
				_, _ = bw.Write(appendField(nil, name, value))
			}
		}
		_, _ = bw.WriteString("\r\n")
	}
	return bw.Flush()
}

// reuse ends the exchange, and keeps the connection if both sides are done with it.
func (x *exchange) reuse() {
	ok := !x.answer.Close
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
	if x.over {
		return
	}
	x.over = true
	x.active.Add(-1)
	if !keep || x.stop != nil && !x.stop() {
		x.close()
		return
	}
	x.onDelay, x.beforeRead = nil, nil
	x.pool.put(x.link)
}

// close ends the watch, and the connection.
func (x *exchange) close() {
	if x.stop != nil {
		x.stop()
	}
	x.cut()
}

// linger is how long a request's body may go on to be sent when the answer is complete.
const linger = 50 * time.Millisecond
