package serve

import (
	"context"
	"net"
	"sync"

	"github.com/stackd/stackd/registry/direct"
)

// tcpConn is a tracked connection. It embeds the concrete type, so that whoever asks finds
// io.ReaderFrom (and with it sendfile), CloseWrite and syscall.Conn.
type tcpConn struct {
	*direct.TCP
	tracker *tracker
}

// Close implements [net.Conn].
func (c *tcpConn) Close() error {
	c.tracker.remove(c)
	return c.TCPConn.Close()
}

// unixConn is tcpConn for unix sockets.
type unixConn struct {
	*direct.Unix
	tracker *tracker
}

// Close implements [net.Conn].
func (c *unixConn) Close() error {
	c.tracker.remove(c)
	return c.UnixConn.Close()
}

// tracker knows the connections that are open, hijacked ones too, and whose they are. The zero
// value is ready.
type tracker struct {
	mu    sync.Mutex
	open  map[net.Conn]*server
	empty chan struct{} // closed and forgotten when open becomes empty; nil if nobody waits
}

// add tracks c until it is closed, and returns what is to be used in its place.
func (t *tracker) add(c net.Conn, owner *server) net.Conn {
	switch concrete := c.(type) {
	case *net.TCPConn:
		c = &tcpConn{direct.NewTCP(concrete), t}
	case *net.UnixConn:
		c = &unixConn{direct.NewUnix(concrete), t}
	case *stdioConn:
		concrete.tracker = t
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[net.Conn]*server)
	}
	t.open[c] = owner
	return c
}

func (t *tracker) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if len(t.open) == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// count returns how many connections each server has.
func (t *tracker) count() map[*server]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := make(map[*server]int)
	for _, owner := range t.open {
		n[owner]++
	}
	return n
}

// cut closes the connections of owner, or all if it is nil, and returns how many these were.
func (t *tracker) cut(owner *server) int {
	t.mu.Lock()
	var victims []net.Conn
	for c, whose := range t.open {
		if owner == nil || whose == owner {
			victims = append(victims, c)
		}
	}
	t.mu.Unlock()
	for _, c := range victims {
		_ = c.Close() // it is given up; what the peer still gets does not matter
	}
	return len(victims)
}

// wait returns when no connection is open or ctx has ended.
func (t *tracker) wait(ctx context.Context) {
	t.mu.Lock()
	if len(t.open) == 0 {
		t.mu.Unlock()
		return
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
