package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// Single serves a protocol whose connections carry one request each: its variables, as many bytes of body as
// CONTENT_LENGTH says, none without it, and then the answer up to the end of the connection. All its fields but HalfClose
// and MaxBody must be set.
type Single struct {
	// Protocol and Through are what a [Refusal] says.
	Protocol, Through string
	// Variables reads a request's variables from in, and nothing behind them. They may have at most so many bytes. Its
	// error is [ErrForeign], is given a status by [failure.WithStatus] and a text that the client is told, or means that the
	// connection is of no use.
	Variables func(in *bufio.Reader, most int) ([]Variable, error)
	// HalfClose says that clients end their direction behind the body, so that this doesn't mean that they left.
	HalfClose bool

	// ReadHeaderTimeout and the others are the limits that every server has.
	ReadHeaderTimeout, BodyIdleTimeout, WriteIdleTimeout time.Duration
	MaxHeader, MaxBody                                   int64
	MaxConnections                                       int
	// Log is told of panics, and what an [Acceptor] says.
	Log *slog.Logger
}

// ErrForeign says that what came is another protocol.
var ErrForeign = errors.New("it is another protocol")

// Serve is a registry.ServeFunc.
func (s *Single) Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	life := context.WithoutCancel(ctx) // requests under way finish
	a := Acceptor{Max: s.MaxConnections, WriteIdle: s.WriteIdleTimeout, Log: s.Log, Serve: func(c *Conn) { s.converse(life, c, h) }}
	return a.Run(ctx, l)
}

// converse serves a connection.
func (s *Single) converse(ctx context.Context, c *Conn, h http.Handler) {
	in := bufio.NewReaderSize(c, 8<<10)
	if !c.Patience(s.ReadHeaderTimeout) {
		return
	}
	if _, err := in.Peek(1); err != nil || !c.Begin() {
		return
	}
	vars, err := s.Variables(in, int(s.MaxHeader))
	switch {
	case errors.Is(err, ErrForeign):
		came, _ := in.Peek(min(8, in.Buffered())) // they are there
		_, _ = c.Write(Refusal(s.Protocol, s.Through, came))
		c.Linger(in)
		return
	case err != nil && failure.Status(err) >= http.StatusInternalServerError:
		return
	}
	var r *http.Request
	if err == nil {
		r, err = NewRequest(ctx, vars, s.MaxBody)
	}
	if err != nil {
		_, _ = c.Write(Decline(err)) // it is closed in any case
		c.Linger(in)
		return
	}
	_ = s.Answer(c, in, r, h) // the client has seen what there is
}

// Answer has h answer r, whose body comes from in. With an error the answer isn't whole, and the connection is closed.
func (s *Single) Answer(c *Conn, in *bufio.Reader, r *http.Request, h http.Handler) error {
	ctx, gone := context.WithCancel(r.Context())
	defer gone()
	r.ContentLength = max(r.ContentLength, 0)
	b := &oneBody{conn: c, in: in, left: r.ContentLength, idle: s.BodyIdleTimeout, halfClose: s.HalfClose, gone: gone}
	r = r.WithContext(ctx)
	if b.left > 0 {
		r.Body = b
	} else {
		b.whole()
	}
	w := NewResponse(c, r)
	err := Run(h, w, r, w.Finish, func(value any) {
		s.Log.ErrorContext(ctx, "handler panicked", "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	})
	b.stop()
	switch {
	case err != nil:
		c.Abort()
	case b.left > 0:
		c.Linger(in)
	}
	return err
}

// Decline returns the answer to a request that can't be handed to a handler: the error's text, with its status.
func Decline(err error) []byte {
	status := failure.Status(err)
	text := strconv.Itoa(status) + " " + http.StatusText(status) + ": " + err.Error() + "\n"
	return []byte("Status: " + text[:3] + "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text)
}

// oneBody is the body of a connection's only request.
type oneBody struct {
	conn      *Conn
	in        *bufio.Reader
	idle      time.Duration
	halfClose bool
	gone      context.CancelFunc // the client is

	stopped atomic.Bool // the handler is done

	mu    sync.Mutex
	left  int64
	armed time.Time     // when the deadline was set
	watch chan struct{} // closed when the goroutine that waits for the client to leave has ended; nil before it began
}

func (b *oneBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return 0, io.EOF
	}
	if now := time.Now(); now.Sub(b.armed) > b.idle/4 {
		if !b.conn.Patience(b.idle) {
			return 0, net.ErrClosed
		}
		b.armed = now
	}
	if b.stopped.Load() { // its deadline may be gone
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		b.whole()
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = failure.WithStatus(fmt.Errorf("the request body stalled for %v: %w", b.idle, err), http.StatusRequestTimeout)
	case err != nil:
		b.gone()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the body ends %d bytes before its CONTENT_LENGTH: %w", b.left, io.ErrUnexpectedEOF)
		}
		err = failure.WithStatus(err, http.StatusBadRequest)
	}
	return n, err
}

// Close does nothing: what isn't read is passed over when the answer is finished.
func (*oneBody) Close() error { return nil }

// whole begins to wait for the client to leave. There is nothing else that it could do.
func (b *oneBody) whole() {
	if _, ok := b.conn.Conn.(Process); ok || !b.conn.Patience(0) || b.stopped.Load() {
		return
	}
	b.watch = make(chan struct{})
	go func() { // stop waits for it
		defer close(b.watch)
		_, err := io.Copy(io.Discard, b.in) // more than its body means nothing
		if err == nil && b.halfClose {
			err = hangup(b.conn.Conn)
		}
		if !b.stopped.Load() && !errors.Is(err, errors.ErrUnsupported) {
			b.gone()
		}
	}()
}

// stop ends what still reads.
func (b *oneBody) stop() {
	b.stopped.Store(true)
	_ = b.conn.SetReadDeadline(time.Unix(1, 0)) // it fails for a connection that is closed, on which nobody waits
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watch != nil {
		<-b.watch
	}
}
