package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry/gateway"
)

// pipes accepts one end of a net.Pipe for each value of the channel, until it is closed.
type pipes struct {
	ends   chan net.Conn
	closed chan struct{}
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
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

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
				l := &pipes{ends: make(chan net.Conn), closed: make(chan struct{})}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- a.Run(ctx, l) }()
				ours, theirs := net.Pipe()
				l.ends <- theirs
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
				if err := errors.Join(<-done, ours.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
