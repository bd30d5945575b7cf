//go:build !race && !386

package direct

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// calls reads and writes one socket.
type calls struct {
	raw           syscall.RawConn // nil if it can't be had
	reads, writes direction
	peek          func(fd uintptr) // made once; who calls it holds reads
	nothing       bool             // what peek has found
}

// direction is one of the two. Who holds mu has the rest.
type direction struct {
	mu   sync.Mutex
	try  func(fd uintptr) (done bool) // of call; made once
	trap uintptr
	p    []byte
	n    int
	err  syscall.Errno
}

func (c *calls) init(of syscall.Conn) {
	c.raw, _ = of.SyscallConn() // read and write do without it
	c.reads.trap, c.reads.try = syscall.SYS_RECVFROM, c.reads.call
	c.writes.trap, c.writes.try = syscall.SYS_SENDTO, c.writes.call
	c.peek = func(fd uintptr) {
		var b byte
		_, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		c.nothing = err == syscall.EAGAIN
	}
}

// call makes the system call, which doesn't wait: also if somebody has put the socket into blocking mode, by
// the descriptor of a duplicate. It reports false if it would have to.
func (d *direction) call(fd uintptr) (done bool) {
	for {
		n, _, err := syscall.RawSyscall6(d.trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.p))), uintptr(len(d.p)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			d.n, d.err = int(n), err
			return true
		}
	}
}

// do makes the call for p by wait, which is that of a RawConn: it makes it again whenever the socket is ready.
func (d *direction) do(wait func(func(fd uintptr) (done bool)) error, p []byte) (n int, err syscall.Errno, waited error) {
	d.p = p
	waited = wait(d.try)
	d.p = nil
	return d.n, d.err, waited
}

func (c *calls) read(of net.Conn, p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 {
		return of.Read(p)
	}
	d := &c.reads
	d.mu.Lock()
	defer d.mu.Unlock()
	n, errno, err := d.do(c.raw.Read, p)
	switch {
	case err != nil: // it is closed, or its deadline is over: net says so in its own words
		return of.Read(p)
	case errno != 0:
		return 0, wrong("read", of, errno)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *calls) write(of net.Conn, p []byte) (written int, err error) {
	if c.raw == nil || len(p) == 0 {
		return of.Write(p)
	}
	d := &c.writes
	d.mu.Lock()
	defer d.mu.Unlock()
	for written < len(p) {
		n, errno, err := d.do(c.raw.Write, p[written:])
		switch {
		case err != nil: // as above
			n, err = of.Write(p[written:])
			return written + n, err
		case errno != 0:
			return written, wrong("write", of, errno)
		}
		written += n
	}
	return written, nil
}

func (c *calls) quiet(syscall.Conn) bool {
	c.reads.mu.Lock()
	defer c.reads.mu.Unlock()
	return c.raw != nil && c.raw.Control(c.peek) == nil && c.nothing
}

// wrong returns the error that net has for one of the system.
func wrong(op string, of net.Conn, err syscall.Errno) error {
	local := of.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: of.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
