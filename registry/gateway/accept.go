package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Acceptor accepts connections for a server. Its Run keeps the contract of a registry.ServeFunc as far as
// connections go.
type Acceptor struct {
	// Max is how many connections there are at a time; more wait to be accepted.
	Max int
	// WriteIdle is how long a peer may take nothing of what is written to it.
	WriteIdle time.Duration
	// Log is told when no connection can be accepted for the moment.
	Log *slog.Logger
	// Serve serves one connection, and returns when it is over. It is called on a goroutine of its own, and the
	// connection is closed behind it.
	Serve func(c *Conn)
}

// Conn is a connection that is idle as long as no request has begun.
type Conn struct {
	net.Conn
	writeIdle time.Duration
	all       *conns
	busy      bool // guarded by all.mu
}

// conns are the connections of one call of Run.
type conns struct {
	mu     sync.Mutex
	open   map[*Conn]struct{}
	ending bool
}

// Run accepts connections on l until ctx ends. Then it closes l and the connections that are idle, and returns nil when the
// others are over. An error says why it can't accept before; the connections are closed then. When there are too many open
// files, that is none: it is tried again, and what waits to be accepted goes on waiting.
func (a *Acceptor) Run(ctx context.Context, l net.Listener) error {
	all := &conns{open: make(map[*Conn]struct{})}
	unbind := context.AfterFunc(ctx, func() { _ = l.Close() }) // lets Accept return
	var running sync.WaitGroup
	slots := make(chan struct{}, a.Max)
	err := func() error {
		for pause := time.Duration(0); ; {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			nc, err := l.Accept()
			switch {
			case err == nil:
				pause = 0
			case !scarce(err):
				return err
			default:
				<-slots
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				a.Log.Warn("no connection can be accepted for the moment", "error", err, "again_in", pause)
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
				continue
			}
			c := all.add(&Conn{Conn: nc, writeIdle: a.WriteIdle, all: all})
			running.Go(func() {
				defer func() { <-slots }()
				defer all.remove(c)
				a.Serve(c)
			})
		}
	}()
	told := ctx.Err() != nil // the function may not run yet
	unbind()
	_ = l.Close() // again, perhaps
	all.end(!told)
	running.Wait()
	if told {
		return nil
	}
	return err
}

// scarce reports whether a listener's error is that files or memory have run out, here or in the whole system. That passes.
func scarce(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok { // not a socket's: what there was to accept may be gone
		return false
	}
	for _, scarcity := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(op, scarcity) {
			return true
		}
	}
	return false
}

func (s *conns) add(c *Conn) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	return c
}

func (s *conns) remove(c *Conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.Close() // the peer may have been quicker
}

// end closes the connections that are idle, or all.
func (s *conns) end(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for c := range s.open {
		if all || !c.busy {
			_ = c.Close() // the peer may have been quicker
		}
	}
}

// Begin says that a request begins. When it returns false the server is ending, and the connection closed.
func (c *Conn) Begin() bool {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.all.ending {
		return false
	}
	c.busy = true
	return true
}

// End says that the request is over, and reports whether there may be another.
func (c *Conn) End() bool {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.busy = false
	return !c.all.ending
}

// Patience lets reads wait for d from now on, 0 for ever. It is false for a connection that is closed.
func (c *Conn) Patience(d time.Duration) bool {
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	return c.SetReadDeadline(deadline) == nil
}

// Write fails when the peer takes nothing for as long as the Acceptor's WriteIdle.
func (c *Conn) Write(p []byte) (written int, err error) {
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.writeIdle)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
	}
}

// linger is how long what a peer goes on sending after it was answered is taken, so that it gets to the
// answer before it sees the connection closed.
const linger = time.Second

// Linger says that no more will be written, and takes what comes from in, which reads from the connection, for a
// moment. Call it before a connection is closed on which more may come: what comes then makes the system take the answer back.
func (c *Conn) Linger(in io.Reader) {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil && c.Patience(linger) {
		_, _ = io.Copy(io.Discard, in) // its end is one way or the other
	}
}

// Abort closes the connection so that a TCP peer gets an error, and doesn't take what it has for the whole. The peer at a
// unix socket sees an end like any other.
func (c *Conn) Abort() {
	if tcp, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // fails for a connection that is closed
	}
	_ = c.Close() // the peer may have been quicker
}
