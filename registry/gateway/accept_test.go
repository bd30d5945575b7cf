package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry/gateway"
)

// pipes accepts one end of a net.Pipe for each value of the channel, until it is closed.
type pipes struct {
	ends   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ends:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial returns our end of a connection that is about to be accepted.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.ends <- theirs
	return ours
}

// run runs a until stop is called.
func run(t *testing.T, a *gateway.Acceptor) (l *pipes, stop func()) {
	l = &pipes{ends: make(chan net.Conn, 10), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, l) }()
	return l, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// More connections than there may be wait.
func TestMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served, end := 0, make(chan struct{})
		a := gateway.Acceptor{Max: 2, Serve: func(*gateway.Conn) {
			served++ // nobody else looks, but when all wait
			<-end
		}}
		l, stop := run(t, &a)
		for range 3 {
			l.dial()
			synctest.Wait()
		}
		if served != 2 {
			t.Errorf("%d connections are served", served)
		}
		end <- struct{}{}
		if synctest.Wait(); served != 3 {
			t.Errorf("%d connections were served when one had ended", served)
		}
		close(end)
		stop()
	})
}

// At the end connections without a request are closed, and a request under way is finished.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		a := gateway.Acceptor{Max: 3, WriteIdle: time.Minute, Serve: func(c *gateway.Conn) {
			for {
				if _, err := c.Read(make([]byte, 1)); err != nil || !c.Begin() {
					return
				}
				<-finish
				if _, err := c.Write([]byte("x")); err != nil || !c.End() {
					return
				}
			}
		}}
		l, stop := run(t, &a)
		ask := func(c net.Conn) {
			if _, err := c.Write([]byte("?")); err != nil {
				t.Error(err)
			}
		}
		answer := func(c net.Conn, want string) {
			if got, err := io.ReadAll(io.LimitReader(c, 1)); string(got) != want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		unused, idle, busy := l.dial(), l.dial(), l.dial()
		ask(idle)
		finish <- struct{}{}
		answer(idle, "x")
		ask(busy)
		synctest.Wait()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			stop()
		}()
		answer(unused, "")
		answer(idle, "")
		synctest.Wait()
		select {
		case <-ended:
			t.Error("it returned while a request was under way")
		default:
		}
		finish <- struct{}{}
		answer(busy, "x")
		answer(busy, "")
		<-ended
	})
}

// A write may take as long as it likes if something of it is taken now and then.
func TestConnWrite(t *testing.T) {
	const idle = time.Minute
	for _, tt := range []struct {
		name  string
		pause time.Duration // between two bytes that the peer takes
		fails error
	}{
		{"slow", idle - 1, nil},
		{"stalled", idle + 1, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				written := make(chan error, 1)
				a := gateway.Acceptor{Max: 1, WriteIdle: idle, Serve: func(c *gateway.Conn) {
					n, err := c.Write(make([]byte, 10))
					if err == nil && n != 10 {
						t.Errorf("%d bytes are written", n)
					}
					written <- err
				}}
				l, stop := run(t, &a)
				ours := l.dial()
				for range 10 {
					<-time.After(tt.pause) // it is the bubble's
					if _, err := io.ReadFull(ours, make([]byte, 1)); err != nil {
						break
					}
				}
				if err := <-written; !errors.Is(err, tt.fails) {
					t.Errorf("it ends with %v; it must be %v", err, tt.fails)
				}
				stop()
			})
		})
	}
}
