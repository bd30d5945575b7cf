package fastcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// exchange is a request that is being answered.
type exchange struct {
	*conn
	preamble
	body   *io.PipeWriter // nil when there is none
	left   int64          // of CONTENT_LENGTH, -1 when it isn't known
	whole  bool           // the end of the body has come
	vain   bool           // the handler takes no more of it
	until  time.Time      // when the rest of it must have come, after the handler is done; zero before
	rest   int            // how much of it has come since then
	amid   bool           // a record has begun, and its end wasn't reached
	cancel context.CancelFunc

	ended  atomic.Bool   // what comes now is the next request
	done   chan struct{} // closed when the handler is done
	failed bool          // to be read after done: the response wasn't finished
	held   []byte        // records that wait for the last one
	final  bool          // the last one is about to come
}

// run answers r, and reports whether another request may come.
func (x *exchange) run(r *http.Request) bool {
	x.left = r.ContentLength
	if x.left < 0 { // an empty body is told by its end alone
		if !x.net.Patience(x.cfg.BodyIdleTimeout) {
			return false
		}
		if b, err := x.in.Peek(6); err != nil {
			return false
		} else if fcgi.Type(b[1]) == fcgi.Stdin && b[4] == 0 && b[5] == 0 {
			x.left, r.ContentLength = 0, 0
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	x.cancel = cancel
	r = r.WithContext(ctx)
	w := gateway.NewResponse(x, r)
	var body *io.PipeReader
	if x.left != 0 {
		body, x.body = io.Pipe()
		r.Body = body
		if limit := int64(x.cfg.MaxBody); limit > 0 {
			r.Body = http.MaxBytesReader(w, body, limit)
		}
	}
	x.done = make(chan struct{})
	go func() { // run waits for it
		defer close(x.done)
		x.answer(w, r)
		if body != nil {
			_ = body.Close() // what still comes is of no use
		}
		x.ended.Store(true)
		// It lets take go on; for a connection that is closed there is no need.
		_ = x.net.SetReadDeadline(time.Unix(1, 0))
	}()
	x.take()
	<-x.done
	over := x.whole && !x.amid // where the next request would begin
	if !over && !x.failed {
		x.net.Linger(x.in)
	}
	return x.keep && over && !x.failed
}

// answer has the handler answer r, and ends the request.
func (x *exchange) answer(w *gateway.Response, r *http.Request) {
	finish := func() error {
		x.final = true
		return w.Finish()
	}
	err := gateway.Run(x.handler, w, r, finish, func(value any) {
		x.log.ErrorContext(r.Context(), "handler panicked", "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	})
	if err == nil {
		x.ended.Store(true)
		x.held = fcgi.AppendRecord(x.held, fcgi.Stdout, x.id)
		err = x.write(fcgi.AppendEnd(x.held, x.id, 0, fcgi.RequestComplete))
	}
	if err != nil {
		x.failed = true
		_ = x.net.Close() // without an end the front server knows that it isn't whole
	}
}

// Write sends data of the response. It is what the Response writes to.
func (x *exchange) Write(data []byte) (int, error) {
	if x.final {
		x.held = fcgi.AppendStream(x.held, fcgi.Stdout, x.id, data)
		return len(data), nil
	}
	if err := x.write(fcgi.AppendStream(nil, fcgi.Stdout, x.id, data)); err != nil {
		return 0, err
	}
	return len(data), nil
}

// take takes what comes while the handler runs: its body, and the news that nobody wants the answer any more. It returns
// when the handler is done, or must be soon.
func (x *exchange) take() {
	for {
		err := x.next()
		switch {
		case err == nil:
			continue
		case x.ended.Load():
			return
		}
		if x.body != nil && !x.whole {
			if errors.Is(err, io.EOF) || errors.Is(err, errAborted) {
				err = io.ErrUnexpectedEOF
			}
			_ = x.body.CloseWithError(err) // never fails
		}
		x.cancel()
		return
	}
}

// errAborted says that ABORT_REQUEST came.
var errAborted = errors.New("the front server aborted the request")

// What may come of a body when the handler is done, so that the connection can be kept.
const (
	restSize = 256 << 10 // which is what net/http skips
	restTime = time.Second
)

// awaitRest is await when the handler is done. What comes behind the body is the next request.
func (x *exchange) awaitRest(n int) error {
	if x.until.IsZero() {
		x.until = time.Now().Add(restTime)
	}
	for !x.whole && x.keep && x.rest <= restSize && time.Now().Before(x.until) {
		if x.net.SetReadDeadline(x.until) != nil {
			return os.ErrClosed
		}
		if _, err := x.in.Peek(n); !errors.Is(err, os.ErrDeadlineExceeded) { // which may be one that was set to wake us
			return err
		}
	}
	return os.ErrDeadlineExceeded
}

// await waits for n bytes to come. A body that stalls is over for the handler, but the visitor may still be there.
func (x *exchange) await(n int) error {
	for {
		if x.ended.Load() {
			return x.awaitRest(n)
		}
		wait := x.cfg.BodyIdleTimeout
		if x.whole || x.vain {
			wait = 0
		}
		if !x.net.Patience(wait) {
			return os.ErrClosed
		}
		if x.ended.Load() { // its deadline may be gone
			continue
		}
		_, err := x.in.Peek(n)
		switch {
		case x.ended.Load():
			continue
		case wait == 0 || !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
		x.vain = true
		if x.body != nil {
			err = failure.WithStatus(fmt.Errorf("the request body stalled for %v: %w", wait, err), http.StatusRequestTimeout)
			_ = x.body.CloseWithError(err) // never fails
		}
	}
}

// next takes a record.
func (x *exchange) next() error {
	if err := x.await(fcgi.HeaderSize); err != nil {
		return err
	}
	h, err := fcgi.ReadHeader(x.in)
	if err != nil {
		return err
	}
	err = x.record(h)
	x.amid = err != nil && !errors.Is(err, errAborted)
	return err
}

// record takes the content of a record.
func (x *exchange) record(h fcgi.Header) error {
	switch {
	case h.ID == 0:
		return x.manage(h)
	case h.ID != x.id:
		return x.decline(h)
	case h.Type == fcgi.AbortRequest:
		if err := x.skip(h); err != nil {
			return err
		}
		return errAborted
	case h.Type != fcgi.Stdin || x.whole:
		return x.skip(h)
	case h.Length == 0:
		return x.end(h)
	}
	return x.feed(h)
}

// end takes the end of the body.
func (x *exchange) end(h fcgi.Header) error {
	if err := x.skip(h); err != nil {
		return err
	}
	if x.left > 0 {
		return fmt.Errorf("the body ends %d bytes before its CONTENT_LENGTH", x.left)
	}
	x.whole = true
	if x.body != nil {
		_ = x.body.Close() // never fails
	}
	return nil
}

// feed hands a part of the body to the handler.
func (x *exchange) feed(h fcgi.Header) error {
	if x.left >= 0 {
		if x.left -= int64(h.Length); x.left < 0 {
			return errors.New("the body is longer than its CONTENT_LENGTH")
		}
	}
	for left := h.Length; left > 0; {
		if err := x.await(1); err != nil {
			return err
		}
		data, _ := x.in.Peek(min(left, x.in.Buffered())) // it is there
		if !x.vain {
			_, err := x.body.Write(data)
			x.vain = err != nil // the handler has closed it
		}
		if left -= len(data); x.ended.Load() {
			x.rest += len(data)
		}
		_, _ = x.in.Discard(len(data)) // as above
	}
	return x.pass(h.Padding)
}

// skip passes over the content of a record.
func (x *exchange) skip(h fcgi.Header) error { return x.pass(h.Length + h.Padding) }

// pass passes over n bytes.
func (x *exchange) pass(n int) error {
	for n > 0 {
		if err := x.await(1); err != nil {
			return err
		}
		passed, _ := x.in.Discard(min(n, x.in.Buffered())) // they are there
		n -= passed
	}
	return nil
}
