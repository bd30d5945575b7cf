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
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		open = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && open
}
