package gateway

import (
	"context"
	"net"
	"sync"
)

// Acceptor accepts connections for a server. Its Run keeps the contract of a registry.ServeFunc as far as
// connections go.
type Acceptor struct {
	// Max is how many connections there are at a time; more wait to be accepted.
	Max int
	// Serve serves one connection, and returns when it is over. It is called on a goroutine of its own, and the
	// connection is closed behind it.
	Serve func(c *Conn)
}

// Conn is a connection that is idle as long as no request has begun.
type Conn struct {
	net.Conn
	all  *conns
	busy bool // guarded by all.mu
}

// conns are the connections of one call of Run.
type conns struct {
	mu     sync.Mutex
	open   map[*Conn]struct{}
	ending bool
}

// Run accepts connections on l until ctx ends. Then it closes l and the connections that are idle, and returns nil when the
// others are over. An error says why it can't accept before; the connections are closed then.
func (a *Acceptor) Run(ctx context.Context, l net.Listener) error {
	all := &conns{open: make(map[*Conn]struct{})}
	unbind := context.AfterFunc(ctx, func() { _ = l.Close() }) // lets Accept return
	var running sync.WaitGroup
	slots := make(chan struct{}, a.Max)
	err := func() error {
		for {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			nc, err := l.Accept()
			if err != nil {
				return err
			}
			c := all.add(nc)
			running.Go(func() {
				defer func() { <-slots }()
				defer all.remove(c)
				a.Serve(c)
			})
		}
	}()
	told := !unbind()
	_ = l.Close() // again, perhaps
	all.end(!told)
	running.Wait()
	if told {
		return nil
	}
	return err
}

func (s *conns) add(nc net.Conn) *Conn {
	c := &Conn{Conn: nc, all: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	return c
}

func (s *conns) remove(c *Conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	_ = c.Close() // the peer may have been quicker
}

// end closes the connections that are idle, or all.
func (s *conns) end(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for c := range s.open {
		if all || !c.busy {
			_ = c.Close() // the peer may have been quicker
		}
	}
}

// Begin says that a request begins. When it returns false the server is ending, and the connection closed.
func (c *Conn) Begin() bool {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.all.ending {
		return false
	}
	c.busy = true
	return true
}

// End says that the request is over, and reports whether there may be another.
func (c *Conn) End() bool {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.busy = false
	return !c.all.ending
}
