package serve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Stdio is the address of the process's standard input and output: one connection, and with it one request, as a web server
// starts a CGI program for. When it is served, the process stops. It watches no files until then.
const Stdio = "stdio:"

// errServed is why a server on Stdio ended: there is nothing more to do.
var errServed = errors.New("the request is served")

// oneRequest reports whether the generation has a server on Stdio.
func oneRequest(g Generation) bool {
	return slices.ContainsFunc(g.Servers, func(s Server) bool { return s.Address == Stdio })
}

// stdio is a listener that accepts one connection. The next Accept waits until that is closed, and returns [io.EOF].
type stdio struct {
	first  chan struct{} // has a value before the first Accept
	over   chan struct{} // closed with the connection
	closed chan struct{}
	once   sync.Once
}

func newStdio() *stdio {
	s := &stdio{first: make(chan struct{}, 1), over: make(chan struct{}), closed: make(chan struct{})}
	s.first <- struct{}{}
	return s
}

// Accept implements [net.Listener].
func (s *stdio) Accept() (net.Conn, error) {
	select {
	case <-s.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case <-s.first:
		return openStdio(s.over)
	case <-s.over:
		return nil, io.EOF
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (s *stdio) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Addr implements [net.Listener].
func (*stdio) Addr() net.Addr { return stdioAddr{} }

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return Stdio }

// stdioConn is the standard input and output. It is a gateway.Process.
type stdioConn struct {
	in, out *os.File
	tracker *tracker
	over    chan<- struct{}
	once    sync.Once
	err     error
}

// openStdio opens them anew: writing to descriptor 1 itself would end the process when nobody reads.
func openStdio(over chan<- struct{}) (*stdioConn, error) {
	in, err := reopen(os.Stdin)
	if err != nil {
		return nil, err
	}
	out, err := reopen(os.Stdout)
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return &stdioConn{in: in, out: out, over: over}, nil
}

// reopen returns another file on the descriptor of f, which has deadlines if that is a pipe or a socket. Others may share
// a terminal, so it is left as it is.
func reopen(f *os.File) (*os.File, error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Dup(int(f.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if info, err := f.Stat(); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		_ = syscall.SetNonblock(fd, true) // without it there are no deadlines
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Environ returns the environment of the process.
func (*stdioConn) Environ() []string { return os.Environ() }

func (c *stdioConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *stdioConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// Close implements [net.Conn].
func (c *stdioConn) Close() error {
	c.once.Do(func() {
		c.tracker.remove(c)
		c.err = errors.Join(c.in.Close(), c.out.Close())
		close(c.over)
	})
	return c.err
}

func (*stdioConn) LocalAddr() net.Addr  { return stdioAddr{} }
func (*stdioConn) RemoteAddr() net.Addr { return stdioAddr{} }

// SetDeadline implements [net.Conn]. Files and terminals have no deadlines; that is no error.
func (c *stdioConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn], as SetDeadline does.
func (c *stdioConn) SetReadDeadline(t time.Time) error { return lenient(c.in.SetReadDeadline(t)) }

// SetWriteDeadline implements [net.Conn], as SetDeadline does.
func (c *stdioConn) SetWriteDeadline(t time.Time) error { return lenient(c.out.SetWriteDeadline(t)) }

func lenient(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}
