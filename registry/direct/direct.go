// Package direct reads and writes connections without telling Go's scheduler of each system call.
//
// The scheduler is told of a system call before and after it, since most may wait: when one takes more than some 20 µs,
// another thread goes on with the goroutines that this one had. A read or a write of a socket that isn't to wait never
// does. It may take long nevertheless, since the kernel does the peer's part in it, or lets another process run; all that
// comes of it is threads that wake each other. On two busy cores that was a fifth of the processor time of a request that
// is handed on to another server.
//
// A connection of this package is that of package net in everything else: its methods and their meaning, deadlines, what
// Close does to those that wait, and its errors. It waits, where it must, as package net does. Several goroutines may use it at
// a time.
//
// It is so on Linux. Elsewhere, and under the race detector, which learns from the calls of package net what happened before
// what, it is that of package net altogether.
package direct

import "net"

// Wrap returns a connection that reads and writes in this way: a *[TCP] for a [*net.TCPConn], a *[Unix] for a
// [*net.UnixConn]. Any other is returned as it is.
func Wrap(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn:
		return NewTCP(c)
	case *net.UnixConn:
		return NewUnix(c)
	}
	return c
}

// TCP is a TCP connection.
type TCP struct {
	*net.TCPConn
	calls calls
}

// NewTCP returns a connection in the place of c, which isn't used by itself any more.
func NewTCP(c *net.TCPConn) *TCP {
	t := &TCP{TCPConn: c}
	t.calls.init(c)
	return t
}

// Read implements [net.Conn].
func (t *TCP) Read(p []byte) (int, error) { return t.calls.read(t.TCPConn, p) }

// Write implements [net.Conn].
func (t *TCP) Write(p []byte) (int, error) { return t.calls.write(t.TCPConn, p) }

// Quiet reports whether nothing can be read, neither bytes nor the end, without waiting and without reading it. One who keeps
// a connection for later asks it before that: what the peer has said unasked would be taken for an answer.
func (t *TCP) Quiet() bool { return t.calls.quiet(t.TCPConn) }

// Unix is a connection by a unix socket, of the kind that is a stream.
type Unix struct {
	*net.UnixConn
	calls calls
}

// NewUnix returns a connection in the place of c, which isn't used by itself any more.
func NewUnix(c *net.UnixConn) *Unix {
	u := &Unix{UnixConn: c}
	u.calls.init(c)
	return u
}

// Read implements [net.Conn].
func (u *Unix) Read(p []byte) (int, error) { return u.calls.read(u.UnixConn, p) }

// Write implements [net.Conn].
func (u *Unix) Write(p []byte) (int, error) { return u.calls.write(u.UnixConn, p) }

// Quiet is [TCP.Quiet].
func (u *Unix) Quiet() bool { return u.calls.quiet(u.UnixConn) }
