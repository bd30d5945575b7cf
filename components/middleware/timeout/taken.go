package timeout

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

// taken is a connection that an app has taken over.
type taken struct {
	net.Conn
	x *exchange
}

// adopt has rw go through the connection, too. What was read already stays in its buffer.
func (c *taken) adopt(rw *bufio.ReadWriter) {
	early, _ := rw.Peek(rw.Reader.Buffered()) // it is there
	if len(early) == 0 {
		rw.Reader.Reset(c)
	} else {
		early = slices.Clone(early)
		rw.Reader.Reset(io.MultiReader(bytes.NewReader(early), c))
		_, _ = rw.Peek(len(early)) // it fitted before
	}
	rw.Writer.Reset(c) // nothing is in it
}

func (c *taken) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved(n)
	return n, err
}

func (c *taken) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved(n)
	return n, err
}

func (c *taken) moved(n int) {
	if n > 0 {
		c.x.mu.Lock()
		c.x.last = time.Now()
		c.x.mu.Unlock()
	}
}

// CloseWrite ends one direction, where the connection can do that.
func (c *taken) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *taken) Close() error {
	c.x.mu.Lock()
	c.x.stop()
	c.x.mu.Unlock()
	return c.Conn.Close()
}
