package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
)

// listener makes a conn of each connection.
type listener struct {
	net.Listener
	*server
}

func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, server: l.server, writeIdle: l.cfg.WriteIdleTimeout, since: time.Now()}
	if l.sendsHeader(inner.RemoteAddr().String()) {
		// Nothing is read here: one slow sender would keep all others waiting.
		c.header = proxyproto.NewConn(inner, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(l.cfg.ReadHeaderTimeout))
	}
	return c, nil
}

// conn fails a write of which the peer takes nothing for writeIdle, and reads the PROXY header.
//
// The deadline sits here rather than around a ResponseWriter, so that it covers what
// net/http sends after the handler returned, costs no allocation for a request, and
// sendfile goes on working. Under TLS it is below that, where the bytes are those that are sent.
type conn struct {
	net.Conn
	server    *server
	header    *proxyproto.Conn // what reads the PROXY header and all that follows; nil when none is expected
	begun     bool             // something was read
	writeIdle time.Duration
	since     time.Time    // when it was accepted
	armed     atomic.Int64 // when the deadline was set, in nanoseconds after since; 0 if it isn't
	foreign   atomic.Bool  // an app has set its own write deadline
	stalled   atomic.Bool  // a write has failed for want of progress
	hijacked  atomic.Bool  // it belongs to an app
	busy      atomic.Bool  // the tally counts it
	http2     atomic.Bool  // HTTP/2 is spoken
	alone     atomic.Bool  // net/http has read a header, and hasn't handed the request on: it may answer by itself
}

// Read reads what follows the PROXY header.
func (c *conn) Read(p []byte) (int, error) {
	if c.begun {
		return c.source().Read(p)
	}
	c.begun = true
	n, err := c.source().Read(p)
	switch {
	case c.header != nil && c.header.ProxyHeader() == nil:
		c.server.log.Debug("refused a connection that doesn't begin with a PROXY header", "peer", c.Conn.RemoteAddr().String(), "error", err)
	case n > 0 && c.server.tls == nil && startsTLS(p[:n]):
		c.server.log.Debug("refused a connection", "error", errTLS, "peer", c.RemoteAddr().String())
		return 0, errTLS
	case n > 0 && c.server.http2Only && !strings.HasPrefix(preface, string(p[:min(n, len(preface))])):
		c.refuse(p[:n])
		return 0, errPreface
	}
	return n, err
}

// refuse ends a connection that doesn't begin with the preface. The rest of what was sent is taken, for a while, since
// the client would lose the answer with a connection that is closed before.
func (c *conn) refuse(begin []byte) {
	c.server.log.Debug("refused a connection", "error", errPreface, "peer", c.RemoteAddr().String())
	method, _, _ := bytes.Cut(begin, []byte{' '})
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"}, string(method)) {
		_, _ = io.WriteString(c, "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+
			"505 HTTP Version Not Supported: only HTTP/2 is spoken here\n")
	}
	// All of these fail for a connection that is gone.
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.source(), 64<<10))
}

// source is what is read from.
func (c *conn) source() net.Conn {
	if c.header != nil {
		return c.header
	}
	return c.Conn
}

// RemoteAddr is the address that the PROXY header tells, and otherwise the peer's. It waits for the
// header.
func (c *conn) RemoteAddr() net.Addr { return c.source().RemoteAddr() }

// LocalAddr is the address that the visitor connected to, like RemoteAddr.
func (c *conn) LocalAddr() net.Addr { return c.source().LocalAddr() }

// arm gives the write that follows its time. A deadline that was set a short while
// ago will do: on a busy connection most writes cost a look at the clock.
func (c *conn) arm() error {
	elapsed := time.Since(c.since)
	if armed := c.armed.Load(); armed != 0 && int64(elapsed)-armed < int64(c.writeIdle/4) {
		return nil
	}
	c.armed.Store(max(int64(elapsed), 1))
	return c.Conn.SetWriteDeadline(c.since.Add(elapsed + c.writeIdle))
}

// again reports whether a write that ended with err made progress in its time, and may
// have as much again.
func (c *conn) again(n int64, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.unlimited() {
		return false
	}
	if n == 0 {
		c.stalled.Store(true)
		if tcp, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok {
			_ = tcp.SetLinger(0) // or the system would keep what the peer doesn't take, for minutes
		}
		return false
	}
	c.armed.Store(0)
	return true
}

func (c *conn) unlimited() bool { return c.foreign.Load() || c.hijacked.Load() }

func (c *conn) Write(p []byte) (written int, err error) {
	if c.stalled.Load() {
		return 0, os.ErrDeadlineExceeded // TLS would say goodbye, and wait for long
	}
	if c.unlimited() {
		return c.Conn.Write(p)
	}
	if c.alone.Load() { // as with 417; a body that was announced is skipped then, for which net/http has no limit
		_ = c.SetReadDeadline(time.Now().Add(linger)) // fails for a connection that is closed
	}
	for {
		if err := c.arm(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if !c.again(int64(n), err) {
			return written, err
		}
	}
}

// ReadFrom has the kernel copy a file. Anything else goes through Write: from a
// file alone it is known that nothing was read which wasn't sent.
func (c *conn) ReadFrom(src io.Reader) (written int64, err error) {
	file := src
	if limited, ok := src.(*io.LimitedReader); ok {
		file = limited.R
	}
	kernel, able := c.Conn.(io.ReaderFrom)
	if _, ok := file.(*os.File); able && (ok || c.unlimited()) {
		for {
			if !c.unlimited() {
				if err := c.arm(); err != nil {
					return written, err
				}
			}
			n, err := kernel.ReadFrom(src)
			written += n
			if !c.again(n, err) {
				return written, err
			}
		}
	}
	return io.Copy(struct{ io.Writer }{c}, src)
}

// WriteTo keeps the inner connection's own way of copying, for those that take it over.
func (c *conn) WriteTo(dst io.Writer) (int64, error) { return io.Copy(dst, c.source()) }

// SetWriteDeadline takes an app's own deadline, until net/http lifts it after
// the response.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !c.unlimited() {
		return nil // ours may stay: the next write sees to it
	}
	c.foreign.Store(!t.IsZero())
	c.armed.Store(0)
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// CloseWrite lets net/http tell the client that no more will come, and still read.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn gives access to the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// connOf returns the conn that net/http has, or that is below its TLS and its frames.
func connOf(nc net.Conn) (*conn, bool) {
	for {
		if c, ok := nc.(*conn); ok {
			return c, true
		}
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		nc = over.NetConn()
	}
}

type connKey struct{}

// remember lets the limiter find the connection of a request. It is the server's
// ConnContext.
func remember(ctx context.Context, nc net.Conn) context.Context {
	c, ok := connOf(nc)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, c)
}
