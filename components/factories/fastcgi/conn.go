package fastcgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// id is the one of all requests: a connection carries one at a time.
const id = 1

var (
	errTimeout = errors.New("it did nothing for longer than timeout")
	errBroken  = errors.New("the application closed the connection before the answer's end")
)

// conn is a connection to the application. Between reset and the end of its answer it belongs to one
// request.
type conn struct {
	net       net.Conn
	timeout   time.Duration
	in        *bufio.Reader // records
	out       *bufio.Reader // the standard output in them
	buf       []byte        // for the request's records
	idleSince time.Time
	written   time.Time // when the deadline of writing was set; zero when there is none

	// Of the request:
	beforeWait func() error // called before a read that may wait
	onDelay    func()       // called when a read has waited for soon, once; nil for nothing to do
	left, skip int          // of the record of standard output that is being read
	began      bool         // something of the answer has come
	ended      bool         // all has
	stderr     gateway.Tail
	progress   atomic.Int64 // counts what the feeder sends
	feeding    atomic.Bool  // the feeder waits for the client
	cut        atomic.Bool  // nobody wants the answer any more
}

func newConn(nc net.Conn, timeout time.Duration) *conn {
	c := &conn{net: nc, timeout: timeout}
	c.in = bufio.NewReaderSize(waiting{c}, 16<<10)
	c.out = bufio.NewReaderSize(stdout{c}, 4<<10)
	return c
}

// reset makes it ready for a request.
func (c *conn) reset() {
	c.out.Reset(stdout{c})
	c.beforeWait, c.onDelay = nil, nil
	c.left, c.skip, c.began, c.ended = 0, 0, false, false
	c.stderr = gateway.Tail{}
	c.progress.Store(0)
	c.feeding.Store(false)
}

func (c *conn) close() {
	_ = c.net.Close() // nothing is lost with it
}

// waiting reads from the network, for as long as the application may do nothing.
type waiting struct{ *conn }

func (w waiting) Read(p []byte) (int, error) {
	c := w.conn
	if c.beforeWait != nil {
		if err := c.beforeWait(); err != nil {
			return 0, err
		}
	}
	patience := c.timeout
	for {
		progress := c.progress.Load()
		if c.cut.Load() {
			return 0, os.ErrDeadlineExceeded
		}
		first := patience
		if c.onDelay != nil {
			first = min(soon, patience)
		}
		if err := c.net.SetReadDeadline(time.Now().Add(first)); err != nil {
			return 0, err
		}
		if c.cut.Load() { // stop came in between, and its deadline is gone
			return 0, os.ErrDeadlineExceeded
		}
		n, err := c.net.Read(p)
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded), c.cut.Load():
			return n, err
		case c.onDelay != nil && first < patience:
			c.onDelay()
			c.onDelay = nil
			patience -= first
			continue
		case c.feeding.Load(), c.progress.Load() != progress:
			continue // it is the client's turn, or the application has taken something
		}
		return n, errTimeout
	}
}

// stop lets reads and writes return at once.
func (c *conn) stop() {
	c.cut.Store(true)
	_ = c.net.SetDeadline(time.Unix(1, 0)) // fails for a closed connection, which nobody waits for
}

// stdout reads the standard output. Its end is the request's.
type stdout struct{ *conn }

func (s stdout) Read(p []byte) (int, error) {
	c := s.conn
	if err := c.next(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, unexpected(err)
}

// WriteTo passes on the rest of the standard output without another copy.
func (s stdout) WriteTo(w io.Writer) (written int64, err error) {
	c := s.conn
	for {
		if err := c.next(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return written, err
		}
		if _, err := c.in.Peek(1); err != nil {
			return written, unexpected(err)
		}
		data, _ := c.in.Peek(min(c.left, c.in.Buffered())) // it is there
		n, err := w.Write(data)
		written += int64(n)
		c.left -= len(data)
		_, _ = c.in.Discard(len(data)) // as above
		if err != nil {
			return written, err
		}
	}
}

// next comes to the next byte of standard output. It returns io.EOF at the end of the request.
func (c *conn) next() error {
	for c.left == 0 {
		if c.ended {
			return io.EOF
		}
		if _, err := c.in.Discard(c.skip); err != nil {
			return unexpected(err)
		}
		c.skip = 0
		h, err := fcgi.ReadHeader(c.in)
		if err != nil {
			return unexpected(err)
		}
		c.began = true
		if h.ID != id && h.ID != 0 {
			return fmt.Errorf("the application sent a record of request %d, which it wasn't asked", h.ID)
		}
		switch h.Type {
		case fcgi.Stdout:
			c.left = h.Length
		case fcgi.Stderr:
			if _, err := io.CopyN(&c.stderr, c.in, int64(h.Length)); err != nil {
				return unexpected(err)
			}
		case fcgi.EndRequest:
			if err := c.end(h); err != nil {
				return err
			}
		default: // what nobody asked for, and may be left alone (3.3)
			h.Padding += h.Length
		}
		c.skip = h.Padding
	}
	return nil
}

// end reads how the request ended.
func (c *conn) end(h fcgi.Header) error {
	var b [8]byte
	if h.Length != len(b) {
		return fmt.Errorf("the application's END_REQUEST has %d bytes; it must have %d", h.Length, len(b))
	}
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return unexpected(err)
	}
	if _, err := c.in.Discard(h.Padding); err != nil {
		return unexpected(err)
	}
	c.ended = true
	switch status := b[4]; status {
	case fcgi.RequestComplete:
		return io.EOF
	case fcgi.Overloaded:
		return failure.WithStatus(errors.New("the application is overloaded"), http.StatusServiceUnavailable)
	case fcgi.UnknownRole:
		return errors.New("the application isn't a responder")
	default:
		return fmt.Errorf("the application refuses the request with the protocol status %d", status)
	}
}

// unexpected says that the end of the connection isn't the end of the answer.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errBroken
	}
	return err
}
