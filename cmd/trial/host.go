package trial

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// host serves a stack over connections in memory, to one request at a time.
type host struct {
	server   *http.Server
	listener *pipes
	requests sync.WaitGroup
	served   chan struct{} // closed when the server has ended

	mu      sync.Mutex
	present *visit
	closing bool
	from    netip.Addr
}

// visit is what becomes of one request.
type visit struct {
	status int
	header http.Header
	body   []byte
	done   chan struct{} // closed when the stack has done with it

	mu    sync.Mutex
	slots []string // those that it came to
}

func newHost(stack http.Handler, log *slog.Logger) *host {
	h := &host{listener: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}, served: make(chan struct{})}
	h.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			v, closing := h.present, h.closing
			h.present = nil
			if !closing {
				h.requests.Add(1)
				defer h.requests.Done()
			}
			h.mu.Unlock()
			if v == nil || closing {
				http.Error(w, "one request at a time", http.StatusServiceUnavailable)
				return
			}
			defer close(v.done)
			stack.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
		}),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(h.served)
		_ = h.server.Serve(h.listener) // it ends when it is closed
	}()
	return h
}

// expect returns what will be noted of the next request, which comes from that address.
func (h *host) expect(from netip.Addr) *visit {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.present, h.from = &visit{done: make(chan struct{})}, from
	return h.present
}

// close ends the server and waits for its requests, but not for longer than patience. It reports whether
// all have ended.
func (h *host) close(patience time.Duration) bool {
	_ = h.server.Close() // connections in memory
	<-h.served
	h.mu.Lock()
	h.closing = true // a connection accepted before may bring one yet
	h.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		h.requests.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

type visitKey struct{}

// entered notes that a request came to a slot.
func entered(r *http.Request, slot string) {
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.slots = append(v.slots, slot)
	}
}

// transport makes a connection for each request. One for https is said to be over TLS, whose bytes nobody would see.
func (h *host) transport() *http.Transport {
	dial := func(ctx context.Context, port int) (net.Conn, error) {
		h.mu.Lock()
		from := h.from
		h.mu.Unlock()
		client, server := net.Pipe()
		visitor := net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))
		here := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		var end net.Conn = &conn{Conn: server, local: here, remote: visitor}
		if port == portTLS {
			end = &secure{end}
		}
		select {
		case h.listener.conns <- end:
			return client, nil
		case <-h.listener.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, portClear) },
		DialTLSContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, portTLS) },
		DisableKeepAlives:  true,
		DisableCompression: true, // a test says itself what its client understands
	}
}

const (
	portClear = 80
	portTLS   = 443
)

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements [net.Listener].
func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: portClear} }

// conn is a connection between addresses.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// secure is a connection that counts as one over TLS.
type secure struct{ net.Conn }

// ConnectionState says so to net/http.
func (*secure) ConnectionState() tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
}
