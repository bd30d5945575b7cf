package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Inherited is a listening socket that another process has opened for this one.
type Inherited struct {
	// File is its descriptor, or nil for no socket. Who gets it closes it, which leaves the socket of the other
	// process open.
	File *os.File
	// Ours tells whether the file of a unix socket is this process's own: whether it removes it when it
	// listens there no longer. It is asked at that moment, since a process may hand its sockets over and go
	// on as if it had not, if nobody takes them. If Ours is nil, the file is somebody
	// else's: it is never removed, and its mode is left as it is.
	Ours func() bool
}

// listen returns the socket that a server is to accept from: one that was handed in, or a new one.
func (r *Runtime) listen(ctx context.Context, s Server) (*socket, error) {
	s.Mode = s.mode()
	if r.options.Inherit == nil || s.Address == Stdio {
		return openSocket(ctx, s.Address, s.Mode)
	}
	in, err := r.options.Inherit(ctx, s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a socket for %q: %w", s.Address, err)
	case in.File == nil:
		return openSocket(ctx, s.Address, s.Mode)
	}
	sock, err := adopt(in, s.Address)
	if err != nil {
		return nil, fmt.Errorf("the socket handed in for %q: %w", s.Address, err)
	}
	return sock, nil
}

// adopt makes a socket of one that was handed in, and closes its descriptor.
func adopt(in Inherited, address string) (*socket, error) {
	defer in.File.Close() // net.FileListener duplicates it
	if err := listens(in.File); err != nil {
		return nil, err
	}
	ln, err := net.FileListener(in.File)
	if err != nil {
		return nil, reason(err)
	}
	s := &socket{ln: ln, inherited: true, ours: in.Ours}
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix || in.Ours == nil {
		return s, nil
	}
	if info, err := os.Lstat(path); err == nil { // without its file nobody reaches it, and there is nothing to remove
		s.path, s.mode, s.made = path, info.Mode().Perm(), info
	}
	return s, nil
}

// listens returns what is wrong with a descriptor that is to be a listening socket.
func listens(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var kind, accepts int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if kind, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); failed == nil {
			accepts, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		}
	}); err != nil {
		return err
	}
	switch {
	case errors.Is(failed, unix.ENOTSOCK):
		return errors.New("it is no socket")
	case failed != nil:
		return failed
	case kind != unix.SOCK_STREAM:
		return errors.New("it is no stream socket")
	case accepts == 0:
		return errors.New("it does not listen")
	}
	return nil
}
