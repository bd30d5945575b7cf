package fastcgi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/direct"
	"github.com/stackd/stackd/registry/failure"
)

// pool are the connections to the application.
type pool struct {
	cfg   Config
	slots chan struct{} // has an entry for each request that may use a connection

	mu     sync.Mutex
	idle   []*conn // the one used last is at the end
	timer  *time.Timer
	closed bool
}

func newPool(cfg Config) *pool {
	p := &pool{cfg: cfg, slots: make(chan struct{}, cfg.MaxConnections)}
	p.timer = time.AfterFunc(cfg.IdleTimeout, p.reap)
	p.timer.Stop()
	return p
}

// errBusy says that all connections are in use.
var errBusy = errors.New("max_connections requests were running for as long as queue_timeout")

// acquire waits until another connection may be used. Who got in calls release.
func (p *pool) acquire(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(p.cfg.QueueTimeout)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return failure.WithStatus(errBusy, http.StatusServiceUnavailable)
	}
}

func (p *pool) release() { <-p.slots }

// reuse returns a connection that was used before, is still open and has nothing to say that nobody asked for, or nil.
func (p *pool) reuse() *conn {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		p.mu.Unlock()
		if kept, ok := c.net.(interface{ Quiet() bool }); !ok || kept.Quiet() {
			return c
		}
		c.close()
	}
}

// dial opens another connection. When ctx ends meanwhile, that is the error, which the application is not to blame for.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	// The deadline of ctx is left to ctx: a dialer that knew it might find it over a moment before ctx has ended.
	dialing, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	var d net.Dialer
	network, address := p.cfg.Address.Network()
	nc, err := d.DialContext(dialing, network, address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, failure.WithStatus(fmt.Errorf("the application can't be reached: %w", err), http.StatusBadGateway)
	}
	return newConn(direct.Wrap(nc), p.cfg.Timeout), nil
}

// put keeps a connection for another request.
func (p *pool) put(c *conn) {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if len(p.idle) == 1 {
		p.timer.Reset(p.cfg.IdleTimeout)
	}
}

// reap closes the connections that were idle for too long.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].idleSince) >= p.cfg.IdleTimeout {
		p.idle[n].close()
		n++
	}
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	if rest > 0 && !p.closed {
		p.timer.Reset(p.cfg.IdleTimeout - time.Since(p.idle[0].idleSince))
	}
}

// close closes all connections. No request is under way.
func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.timer.Stop()
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
	return nil
}
