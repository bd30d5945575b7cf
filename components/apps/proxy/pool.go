package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// pool keeps the connections to one upstream that nobody uses.
type pool struct {
	limit int

	mu     sync.Mutex
	idle   []*link // the one used last is at the end
	closed bool
}

// get returns the connection used last, or nil.
func (p *pool) get() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	l := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return l
}

// put keeps a connection, or closes it when there are enough.
func (p *pool) put(l *link) {
	l.since = time.Now()
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < p.limit
	if keep {
		p.idle = append(p.idle, l)
	}
	p.mu.Unlock()
	if !keep {
		l.cut()
	}
}

// expire closes the connections that nobody used since a time.
func (p *pool) expire(since time.Time) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && p.idle[n].since.Before(since) {
		n++
	}
	old := slices.Clone(p.idle[:n])
	p.idle = slices.Delete(p.idle, 0, n)
	p.mu.Unlock()
	for _, l := range old {
		l.cut()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	old := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, l := range old {
		l.cut()
	}
}

// link is a connection to an upstream. One exchange uses it at a time: one goroutine reads, and one writes.
type link struct {
	net.Conn
	raw   net.Conn // the same without TLS
	br    *bufio.Reader
	bw    *bufio.Writer
	head  []byte    // for the header of a request
	since time.Time // when it was used last
	idle  time.Duration

	phase         phase
	budget        int          // how many bytes the header may still have
	read, written time.Time    // when the deadlines were set
	due           time.Time    // when the read that may wait must end; zero for never
	early         time.Time    // when it is interrupted for onDelay
	onDelay       func()       // called when reading takes longer than soon; nil for nothing to do
	beforeRead    func() error // called before reading may wait; nil for nothing to do
}

// phase is what is being read.
type phase int

const (
	inHeader phase = iota
	inBody
	inStream // which may be silent
)

func newLink(conn, raw net.Conn, idle time.Duration) *link {
	l := &link{Conn: conn, raw: raw, idle: idle}
	l.br, l.bw = bufio.NewReader(l), bufio.NewWriter(l)
	return l
}

// maxHeader is how long the header of an answer may be.
const maxHeader = 1 << 20

var errHeaderTooLong = fmt.Errorf("the header of the answer is longer than %d bytes", maxHeader)

func (l *link) Read(p []byte) (int, error) {
	if l.beforeRead != nil {
		if err := l.beforeRead(); err != nil {
			return 0, err
		}
	}
	switch l.phase {
	case inHeader:
		if l.budget <= 0 {
			return 0, errHeaderTooLong
		}
	case inBody:
		if now := time.Now(); now.Sub(l.read) > l.idle/4 {
			l.read = now
			if err := l.expect(now, l.idle); err != nil {
				return 0, err
			}
		}
	case inStream:
	}
	n, err := l.Conn.Read(p)
	if l.onDelay != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		l.onDelay()
		l.early = time.Time{}
		if err := l.SetReadDeadline(l.due); err != nil {
			return n, err
		}
		n, err = l.Conn.Read(p)
	}
	l.budget -= n
	return n, err
}

// expect says that what is read next must come within d from now, if that isn't 0.
func (l *link) expect(now time.Time, d time.Duration) error {
	l.due = time.Time{}
	if d > 0 {
		l.due = now.Add(d)
	}
	if l.onDelay == nil || d > 0 && d <= soon {
		l.early = time.Time{}
		return l.SetReadDeadline(l.due)
	}
	if left := l.early.Sub(now); left > soon/2 && left <= soon {
		return nil // the one of the request before will do
	}
	l.early = now.Add(soon)
	return l.SetReadDeadline(l.early)
}

func (l *link) Write(p []byte) (int, error) { return l.write(time.Now(), p) }

func (l *link) write(now time.Time, p []byte) (int, error) {
	if now.Sub(l.written) > l.idle/4 {
		l.written = now
		if err := l.SetWriteDeadline(now.Add(l.idle)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Write(p)
}

// cut closes the connection, whoever waits for it. TLS has no say: its farewell would wait.
func (l *link) cut() { _ = l.raw.Close() } // nobody needs it any more

// CloseWrite tells the upstream that no more will come.
func (l *link) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// usable reports whether a kept connection is still open and quiet, as far as can be known without waiting. What the upstream
// has said unasked would be taken for the answer to the next question, which may be somebody else's.
func (l *link) usable() bool {
	if raw, ok := l.raw.(interface{ Quiet() bool }); ok && !raw.Quiet() {
		return false
	}
	if l.Conn == l.raw {
		return true
	}
	// TLS may have read more than it has handed out.
	l.early = time.Time{}
	if l.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	var b [1]byte
	n, err := l.Conn.Read(b[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}
