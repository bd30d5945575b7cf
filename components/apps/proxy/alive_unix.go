//go:build unix

package proxy

import (
	"errors"
	"net"
	"syscall"
)

// probe looks whether there is something to be read from a connection.
type probe struct {
	raw   syscall.RawConn  // nil if it can't be had
	look  func(fd uintptr) // made once
	quiet bool             // there was nothing
}

func newProbe(c net.Conn) *probe {
	p := &probe{}
	if s, ok := c.(syscall.Conn); ok {
		p.raw, _ = s.SyscallConn() // nothing is known then
	}
	p.look = func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		p.quiet = errors.Is(err, syscall.EAGAIN)
	}
	return p
}

// alive reports whether there is nothing to be read from a connection that has no request: neither its end nor
// what nobody asked for.
func (p *probe) alive() bool {
	return p.raw == nil || p.raw.Control(p.look) == nil && p.quiet
}
