//go:build unix

package fastcgi

import (
	"errors"
	"net"
	"syscall"
)

// alive reports whether an idle connection is still open. Whatever can be read from it means that it
// isn't good any more: its end, or what nobody asked for.
func alive(c net.Conn) bool {
	raw, err := c.(syscall.Conn).SyscallConn() // TCP and unix connections have it
	if err != nil {
		return false
	}
	open := false
	// It is no Read, which the deadline of the last one that waited would forbid.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:]) // never waits, since Go's sockets don't
		open = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && open
}
