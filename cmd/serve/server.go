package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// Server is one listener and what answers on it.
type Server struct {
	// Name tells the operator in messages which server it is.
	Name string
	// Slot is what the server is called in the stack file, by which a socket may be handed in for it.
	Slot string
	// Address is where it listens: "host:port", where port 0 lets the system choose,
	// "unix:" and the path of a socket, or [Stdio].
	Address string
	// Mode is who may connect to a unix socket. Default: 0660.
	Mode fs.FileMode
	// ID tells servers apart that behave differently. If a server of the same ID runs at
	// this address, it goes on and Serve is not called. A server without ID is always started.
	ID string
	// Serve accepts connections on l and answers each request with h until ctx ends; then it
	// stops accepting, closes idle connections, lets requests under way finish, and returns
	// nil. It calls l.Accept at once: that is how one knows that it has started. The
	// connections that l accepts have the methods of *net.TCPConn or *net.UnixConn. On Stdio, where
	// there is only one connection, it returns nil too when Accept has given io.EOF.
	Serve func(ctx context.Context, l net.Listener, h http.Handler) error
	// Held says that the socket is opened and held here, and that other processes accept from it, to which Generation.Agree
	// hands it. Serve isn't called.
	Held bool
	// Hold keeps what Serve uses open until what it returns is called, also when the generation is closed. It is
	// called for a server whose requests outlast the generations that name it. It may be nil.
	Hold func() (release func())
	// Optional says that a generation serves without it too, if its address can't be had; the log
	// says so. It is for Generation.Control alone.
	Optional bool

	control bool // it is a Generation's Control
}

// mode returns Mode or the default.
func (s *Server) mode() fs.FileMode {
	if s.Mode == 0 {
		return defaultMode
	}
	return s.Mode.Perm()
}

// server is a Server that runs.
type server struct {
	Server
	ln     *listener
	cancel context.CancelFunc
	done   chan struct{} // closed when Serve has returned
	err    error         // why Serve returned though it was not told to; read it after done
}

// listener is what one server accepts from: a duplicate of the shared socket. It accepts
// nothing before it is opened, so that no request comes to a server whose generation is not
// the current one yet.
type listener struct {
	net.Listener
	owner   *server
	tracker *tracker

	asked  chan struct{} // closed at the first Accept
	ask    sync.Once
	opened chan struct{} // closed at the swap
	closed chan struct{} // by Close
	shut   func() error  // closes the duplicate, once
	close  func() error  // shut and Close, once
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	l.ask.Do(func() { close(l.asked) })
	select {
	case <-l.opened:
	case <-l.closed:
		return nil, fmt.Errorf("accept on %s: %w", l.Addr(), net.ErrClosed)
	}
	c, err := l.Listener.Accept()
	if err != nil {
		if errors.Is(err, net.ErrClosed) { // by retire, maybe: the server is to see first that its context has ended
			<-l.closed
		}
		return nil, err
	}
	if l.owner.control { // a stop waits for the connections that are tracked, and those of the control wait for the stop
		return c, nil
	}
	return l.tracker.add(c, l.owner), nil
}

// Close implements [net.Listener]. A second call does nothing.
func (l *listener) Close() error { return l.close() }

// startServer runs a server on the socket, and waits until it is about to accept its first
// connection.
func (r *Runtime) startServer(ctx context.Context, what Server, on *socket) (*server, error) {
	dup, err := on.duplicate()
	if err != nil {
		return nil, fmt.Errorf("server %q on %q: %w", what.Name, what.Address, err)
	}
	s := &server{Server: what, done: make(chan struct{})}
	s.ln = &listener{
		Listener: dup,
		owner:    s,
		tracker:  &r.conns,
		asked:    make(chan struct{}),
		opened:   make(chan struct{}),
		closed:   make(chan struct{}),
	}
	s.ln.shut = sync.OnceValue(dup.Close)
	s.ln.close = sync.OnceValue(func() error {
		close(s.ln.closed)
		return s.ln.shut()
	})
	if what.Held {
		s.Serve = wait
		close(s.ln.asked)
	}
	life, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go r.runServer(life, s) // done tells when it has returned
	select {
	case <-s.ln.asked:
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("server %q on %q: %w", what.Name, what.Address, s.err)
	case <-ctx.Done():
		r.endServer(s)
		return nil, fmt.Errorf("server %q on %q did not start to accept: %w", what.Name, what.Address, context.Cause(ctx))
	}
}

// runServer calls Serve and sees what came of it.
func (r *Runtime) runServer(ctx context.Context, s *server) {
	err := s.Serve(ctx, s.ln, entrance{r.root, s})
	told := ctx.Err() != nil
	s.cancel()
	_ = s.ln.Close() // Serve should have; what that gave is its affair
	switch {
	case told && err != nil:
		r.log.Error("server ended with an error", slog.String("server", s.Name), slog.String("address", s.Address), slog.Any("err", err))
	case !told && err == nil && s.Address == Stdio:
		s.err = errServed
	case !told && err == nil:
		s.err = errors.New("it ended by itself")
	case !told:
		s.err = err
	}
	close(s.done)
	// Before the swap startServer or reload sees this; afterwards it is for the process.
	select {
	case <-s.ln.opened:
		if !told {
			r.died(s)
		}
	default:
	}
}

// open lets a started server accept. The swap is done: from now on its death is the process's.
func (r *Runtime) open(s *server) {
	close(s.ln.opened)
	select {
	case <-s.done:
		r.died(s)
	default:
	}
}

// retire tells a server to end. When it returns, the server accepts nothing more, however long it takes to notice: who
// connects now comes to another one of the same socket.
func (s *server) retire() {
	s.cancel()
	_ = s.ln.shut() // what waits in the queue stays there
}

// endServer ends a server that has not been opened, and so has no connection, or the control.
func (r *Runtime) endServer(s *server) {
	s.cancel()
	_ = s.ln.Close() // for a Serve that looks at nothing but Accept
	ctx, cancel := context.WithTimeout(context.Background(), r.grace)
	defer cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
		r.log.Error("server does not end", slog.String("server", s.Name), slog.String("address", s.Address))
	}
}
