package gateway

import (
	"errors"
	"net"
	"syscall"
)

// hangup waits, after the peer has ended its direction, until it can't be sent anything any more. A peer at a unix socket
// that closed it is noticed at once, one over TCP when its system has answered something sent to it with a reset. The error
// is the read deadline's, or [errors.ErrUnsupported] for what isn't a socket.
func hangup(c net.Conn) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		// Nothing is sent, but whether it could be is looked at.
		_, err := syscall.SendmsgN(int(fd), nil, nil, nil, 0)
		return err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
	})
}
