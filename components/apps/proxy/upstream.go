package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/direct"
	"github.com/stackd/stackd/registry/failure"
)

// target is where an upstream is.
type target struct {
	name             string // as the stack file has it
	network, address string
	host             string // for the field Host
	prefix           *url.URL
	tls              *tls.Config
}

// parseTarget reads one of the settings to.
func parseTarget(s string) (target, error) {
	want := errors.New("it must be http://host:port, https://host:port or unix:/path")
	if socket, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case !path.IsAbs(socket):
			return target{}, errors.New("the path of the socket must be absolute")
		case len(socket) > 107: // sockaddr_un.sun_path, less the final NUL
			return target{}, fmt.Errorf("the path of the socket is %d bytes long; it must be at most 107", len(socket))
		}
		return target{name: s, network: "unix", address: socket, host: "localhost"}, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return target{}, want
	}
	t := target{name: s, network: "tcp", host: u.Host}
	port := u.Port()
	switch u.Scheme {
	case "http":
		if port == "" {
			port = "80"
		}
	case "https":
		if port == "" {
			port = "443"
		}
		t.tls = &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	default:
		return target{}, want
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return target{}, errors.New("it must have no user, query or fragment")
	}
	if strings.Trim(u.Path, "/") != "" {
		t.prefix = u
	}
	t.address = net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// upstream is one of the servers that requests go to.
type upstream struct {
	target
	cfg  Config
	log  *slog.Logger
	seed uint64 // its own, for hashing
	pool pool

	active atomic.Int64 // requests under way

	fails  atomic.Int64 // in a row
	downTo atomic.Int64 // until when it is left out for them, in Unix nanoseconds
	unwell atomic.Bool  // by the last checks
}

func newUpstream(t target, cfg Config, log *slog.Logger) *upstream {
	return &upstream{target: t, cfg: cfg, log: log, seed: hash(0, t.name), pool: pool{limit: cfg.MaxIdle}}
}

// dial makes a connection. When ctx ends meanwhile, that is the error, which the upstream is not to blame for.
func (u *upstream) dial(ctx context.Context) (*link, error) {
	// The deadline of ctx is left to ctx: a dialer that knew it might find it over a moment before ctx has ended.
	dialing, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	var d net.Dialer
	raw, err := d.DialContext(dialing, u.network, u.address)
	raw = direct.Wrap(raw)
	conn := raw
	if err == nil && u.tls != nil {
		t := tls.Client(raw, u.tls)
		if err = t.HandshakeContext(dialing); err != nil {
			_ = raw.Close() // of no use
		}
		conn = t
	}
	switch {
	case err == nil:
		return newLink(conn, raw, u.cfg.BodyIdleTimeout), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, unreachable(err)
}

// unreachableError says that nothing was sent.
type unreachableError struct{ error }

func (e *unreachableError) Unwrap() error { return e.error }

func unreachable(err error) error {
	status := http.StatusBadGateway
	if timeout(err) {
		status = http.StatusGatewayTimeout
	}
	return &unreachableError{failure.WithStatus(err, status)}
}

func timeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// succeeded and failed note how an attempt ended.
func (u *upstream) succeeded() {
	if u.fails.Load() != 0 {
		u.fails.Store(0)
	}
}

func (u *upstream) failed(err error) {
	if n := u.fails.Add(1); u.cfg.MaxFails > 0 && n >= int64(u.cfg.MaxFails) {
		now := time.Now()
		if u.downTo.Swap(now.Add(u.cfg.FailTime).UnixNano()) < now.UnixNano() {
			u.log.Warn("an upstream fails", "upstream", u.name, "fails", n, "for", u.cfg.FailTime, "error", err)
		}
	}
}

// tend closes connections that were idle for too long, until ctx ends.
func (u *upstream) tend(ctx context.Context) {
	tick := time.NewTicker(max(u.cfg.IdleTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.pool.expire(time.Now().Add(-u.cfg.IdleTimeout))
		case <-ctx.Done():
			return
		}
	}
}

// watch asks the upstream whether it is well, until ctx ends.
func (u *upstream) watch(ctx context.Context, c Check) {
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for bad := 0; ; {
		err := u.check(ctx, c)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			bad = 0
			if u.unwell.CompareAndSwap(true, false) {
				u.log.Info("an upstream is well again", "upstream", u.name)
			}
		default:
			if bad++; bad >= 2 && u.unwell.CompareAndSwap(false, true) {
				u.log.Warn("an upstream isn't well", "upstream", u.name, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (u *upstream) check(ctx context.Context, c Check) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.host+c.Path, nil)
	if err != nil {
		return err
	}
	l, err := u.dial(ctx)
	if err != nil {
		return err
	}
	x := &exchange{upstream: u, link: l, question: &question{Request: r}, ctx: ctx}
	if err := x.do(time.Now()); err != nil {
		return err
	}
	x.close() // which makes it the last request on it
	if status := x.answer.StatusCode; status < 200 || status > 399 {
		return fmt.Errorf("%s is answered with the status %d; it must be 200 to 399", c.Path, status)
	}
	return nil
}
