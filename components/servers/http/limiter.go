package http

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// limiter stands between net/http and the stack. A request without a body over HTTP/1
// passes it for the price of a call.
type limiter struct {
	next                http.Handler
	maxBody             int64
	bodyIdle, writeIdle time.Duration
}

func (l *limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.alone.Store(false)
		}
		if r.ProtoMinor == 0 {
			// A transfer coding would have been dropped, and what comes next may be a body in it (RFC 9112, 6.1).
			w.Header().Set("Connection", "close")
		}
	}
	if l.maxBody > 0 && r.ContentLength > l.maxBody {
		refuse(w, r, l.maxBody)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		b := &body{ReadCloser: r.Body, control: http.NewResponseController(w), idle: l.bodyIdle, rest: true}
		if l.maxBody > 0 {
			b.ReadCloser = http.MaxBytesReader(w, r.Body, l.maxBody)
		}
		copied := *r
		r = &copied
		r.Body = b
		defer b.leave(r)
	}
	if r.Method == http.MethodOptions && r.RequestURI == "*" {
		w.Header().Set("Content-Length", "0") // it is about no URL, and so about no chain
		return
	}
	if r.ProtoMajor == 2 {
		s := &stream{idle: l.writeIdle}
		s.Init(w, nil)
		defer s.leave()
		w = s
	}
	l.next.ServeHTTP(w, r)
}

// linger is how long net/http may take what a client goes on sending after it was
// refused, so that the client gets to the answer before it sees the connection closed.
const linger = time.Second

// refuse answers a body that is announced too long. The connection is closed, since
// nobody is going to read it.
func refuse(w http.ResponseWriter, r *http.Request, limit int64) {
	h := w.Header()
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close")
		// It fails only for a connection that is gone.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(linger))
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, "413 Content Too Large: the request body may have at most "+strconv.FormatInt(limit, 10)+" bytes\n")
}

// body fails a read that waits for longer than idle.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	armed   time.Time
	ended   bool // a read failed, at the end or before
	rest    bool // net/http may want to skip what wasn't read
}

func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return b.ReadCloser.Read(p)
	}
	if now := time.Now(); now.Sub(b.armed) > b.idle/4 {
		b.armed = now
		if err := b.control.SetReadDeadline(now.Add(b.idle)); err != nil {
			return 0, err
		}
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.ended, b.rest = true, false
		err = failure.WithStatus(fmt.Errorf("the request body stalled for %v: %w", b.idle, err), http.StatusRequestTimeout)
	default:
		// At its end net/http begins to watch whether the client leaves, and lifts the deadline
		// for that.
		b.ended, b.rest = true, !errors.Is(err, io.EOF)
	}
	return n, err
}

// leave gives net/http as much time to skip the rest of a body as the handler had
// to read on. With the next request it sets other deadlines.
func (b *body) leave(r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if r.ProtoMajor != 1 || !b.rest || !ok || c.hijacked.Load() {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(b.idle)) // fails for a closed connection, which nobody reads from
}
