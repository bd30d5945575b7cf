package serve

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// held is a listening socket that this process doesn't accept from. Other than a listener of package net it doesn't wake the
// process for each connection that others accept.
type held struct {
	addr net.Addr

	mu sync.RWMutex // for writing it is held to close
	fd int          // -1 when closed
}

// hold makes sockets of a listener that others accept from.
func (s *socket) hold() error {
	own, ok := s.ln.(syscall.Conn)
	if !ok {
		return nil
	}
	fd, err := descriptor(own)
	if err != nil {
		return err
	}
	before := s.ln
	s.ln = &held{addr: before.Addr(), fd: fd}
	return before.Close()
}

// descriptor duplicates that of a connection.
func descriptor(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, failed
}

// wait is the Serve of a server that is Held.
func wait(ctx context.Context, l net.Listener, _ http.Handler) error {
	<-ctx.Done()
	return l.Close()
}

// Accept implements [net.Listener].
func (h *held) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// Addr implements [net.Listener].
func (h *held) Addr() net.Addr { return h.addr }

// Close implements [net.Listener].
func (h *held) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return net.ErrClosed
	}
	err := unix.Close(h.fd)
	h.fd = -1
	return err
}

// SyscallConn implements [syscall.Conn].
func (h *held) SyscallConn() (syscall.RawConn, error) { return h, nil }

// Control implements [syscall.RawConn].
func (h *held) Control(f func(fd uintptr)) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(h.fd))
	return nil
}

// Read implements [syscall.RawConn].
func (h *held) Read(func(fd uintptr) bool) error { return net.ErrClosed }

// Write implements [syscall.RawConn].
func (h *held) Write(func(fd uintptr) bool) error { return net.ErrClosed }

// idle is the listener of a server that is Held: it stands for the socket, and closing it does nothing.
type idle struct{ net.Listener }

// Close implements [net.Listener].
func (idle) Close() error { return nil }
