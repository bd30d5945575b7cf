package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// socket is a listening socket of the process. It never accepts: the duplicates do.
type socket struct {
	ln   net.Listener
	path string      // of a unix socket, or ""
	mode fs.FileMode // of path
	made fs.FileInfo // of path, as it was when it was made

	inherited bool        // another process has opened it
	ours      func() bool // of an inherited one: whether the file at path is to be removed
}

// defaultMode lets the group connect, which is how a front server on the same machine does.
const defaultMode fs.FileMode = 0o660

// openSocket listens on address: "host:port", "unix:" and a path, or Stdio.
func openSocket(ctx context.Context, address string, mode fs.FileMode) (*socket, error) {
	if address == Stdio {
		return &socket{ln: newStdio()}, nil
	}
	path, isUnix := strings.CutPrefix(address, "unix:")
	if isUnix {
		return openUnix(ctx, path, mode)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, reason(err))
	}
	return &socket{ln: ln}, nil
}

// reason strips from a network error what says again where it happened.
func reason(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// openUnix makes a unix socket of that mode at path. Nobody can connect before it has the
// mode: between bind and listen the kernel refuses.
func openUnix(ctx context.Context, path string, mode fs.FileMode) (*socket, error) {
	if longest := len(syscall.RawSockaddrUnix{}.Path) - 1; path == "" || path[0] == '@' || len(path) > longest {
		return nil, fmt.Errorf("unix socket %q: it must be a file path of at most %d bytes", path, longest)
	}
	if err := clearStale(ctx, path); err != nil {
		return nil, err
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("unix socket %q: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // net.FileListener duplicates it
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("unix socket %q: %w", path, err)
	}
	s, err := listenUnix(f, path, mode)
	if err != nil {
		_ = os.Remove(path)
		return nil, fmt.Errorf("unix socket %q: %w", path, err)
	}
	return s, nil
}

// listenUnix opens the socket bound to path.
func listenUnix(f *os.File, path string, mode fs.FileMode) (*socket, error) {
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	// The kernel cuts the queue to its own limit, which an operator can change.
	if err := syscall.Listen(int(f.Fd()), 1<<16-1); err != nil {
		return nil, err
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return &socket{ln: ln, path: path, mode: mode, made: made}, nil
}

// clearStale removes a socket file that nobody answers. Anything else at path is an error.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // bind says so if the folder is missing
	}
	if err != nil {
		return fmt.Errorf("unix socket %q: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("unix socket %q: something else is there (%s); remove it or choose another path", path, info.Mode())
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("unix socket %q: %w: somebody answers there", path, syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unix socket %q: nobody answers there, but it can't be replaced: %w", path, err)
		}
		return nil
	default:
		return fmt.Errorf("unix socket %q: a socket is there, and whether it is in use can't be told: %w", path, reason(err))
	}
}

// lost reports whether the socket's file was removed, so that nobody can connect any more and another has to be made.
func (s *socket) lost() bool {
	if s.path == "" || s.inherited && !s.ours() {
		return false
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	folder, err := os.Stat(filepath.Dir(s.path))
	return err == nil && folder.IsDir()
}

// setMode changes who may connect from now on.
func (s *socket) setMode(mode fs.FileMode) error {
	if s.path == "" || s.mode == mode {
		return nil
	}
	if err := os.Chmod(s.path, mode); err != nil {
		return err
	}
	s.mode = mode
	return nil
}

// duplicate returns a listener with a descriptor of its own on the same socket. The descriptor isn't taken through the
// listener's File, since net.FileListener would put that into blocking mode for a moment, and with it all duplicates.
func (s *socket) duplicate() (net.Listener, error) {
	own, ok := s.ln.(syscall.Conn)
	if !ok { // a *stdio accepts once
		return s.ln, nil
	}
	if _, ok := s.ln.(*held); ok {
		return idle{s.ln}, nil
	}
	fd, err := descriptor(own)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), s.ln.Addr().String())
	defer f.Close()
	return net.FileListener(f)
}

// close ends the socket when its last duplicate is closed too, and removes its file, unless that is
// another process's or somebody has put another there.
func (s *socket) close() error {
	var removed error
	if s.path != "" && (!s.inherited || s.ours()) {
		if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.made) {
			removed = os.Remove(s.path)
		}
	}
	return errors.Join(removed, s.ln.Close())
}
