// Package http accepts HTTP/1.1 and HTTP/2 requests, over TCP or a unix socket, with TLS or without.
//
//	servers:
//	  - {use: http, listen: "127.0.0.1:8080"}
//
// A public site, where those who come without TLS are sent to https:
//
//	servers:
//	  - {use: http, listen: ":80"}
//	  - use: http
//	    listen: ":443"
//	    tls: {certificate: etc/tls/fullchain.pem, key: etc/tls/privkey.pem}
//	stack:
//	  - errors
//	  - https
//	  - finder
//
// A server with several addresses is the same on each. One that is added to the file, or taken away, while
// stackd runs is opened or closed, and no request at the others is lost.
//
// # TLS
//
// TLS 1.2 and 1.3 are spoken, 1.2 only with forward secrecy, and in 1.3 with a key exchange that withstands quantum
// computers (X25519MLKEM768) when the client knows it. Session tickets are renewed daily, and die with the server.
//
// When a file of the certificates changes, a server with the new ones takes the place of the old: from
// then on they are what clients get, while requests under way are finished with the old. Files that don't fit
// together, as when only the certificate has been renewed yet, are refused and the old ones stay; it is tried again at the
// next change. That a certificate has expired, or that everybody can read the key, is logged as
// a warning.
//
// A client that speaks HTTP where TLS is spoken gets a 400 that says so. One that speaks TLS where HTTP is spoken
// gets a 400, too, as well as it will understand it.
//
// # Behind a load balancer
//
// One that passes bytes on without looking into them hides the visitor's address, and tells of it in a PROXY header before all
// else, in version 1 (text) or 2 (binary), before TLS. With proxy_protocol those that it lists must
// send one, whole within read_header_timeout, and it is believed: the address in it is the visitor's for all that
// follows. A connection that the load balancer makes for itself, to see whether the server is well (LOCAL, or
// UNKNOWN in version 1), counts as what it is. A header of more than 4 KiB, one in pieces in version 1, or none closes the
// connection.
//
// A client that isn't listed can't forge its address: its PROXY header is no HTTP, and answered with 400. Without one
// it is served as itself, so a server that only the load balancer should reach must listen where only that
// can.
//
// A proxy that speaks HTTP tells of the visitor in fields instead, which the middleware real_ip looks at.
//
// # Limits
//
// Every wait for a client has a limit, and none of them is a limit on how long a whole
// request may take: an upload of hours and a stream of events that never ends go on for
// as long as something moves.
//
//   - A header which isn't complete within read_header_timeout closes the connection, and
//     one longer than max_header is answered with 431. A TLS handshake, and a PROXY header, have as long
//     again.
//   - A body announced longer than max_body is answered with 413 before the stack runs. One
//     that turns out longer fails, with a [net/http.MaxBytesError], at the read that crosses
//     the limit.
//   - A body of which nothing comes for body_idle_timeout fails at the read that waits for
//     it; an app that reports the error answers 408.
//   - A client that takes nothing of its response for write_idle_timeout is cut off. The time
//     is kept roughly: it is three quarters of the setting at least. And what a client takes is
//     seen only when the system has room for more, which after a fast start may mean that it must
//     take a megabyte.
//   - A connection without a request is closed after idle_timeout.
//
// An app may set deadlines of its own through a [net/http.ResponseController]; they then
// stand in the place of write_idle_timeout until the response is finished. A connection
// that an app took over (a WebSocket) has no limits but the app's.
//
// # What is refused
//
// Requests that can't be understood in only one way are answered with 400 or 501 and
// the connection is closed: a malformed request line or header field, control characters
// in one, two different lengths, an unknown transfer coding. Where a request has both a
// length and the chunked coding, the coding counts (RFC 9112, 6.3): a proxy in front must not pass on both. HTTP/1.0 has no
// codings: so that a body which has one nevertheless is never taken for another request, a connection
// has one request over HTTP/1.0, and no more.
//
// # HTTP/2
//
// Over TLS clients choose it (ALPN). Without TLS the server speaks it to clients that begin with it ("prior knowledge",
// RFC 9113, 3.3), as proxies do; there is no upgrade from HTTP/1.1. With protocols a server speaks only one of them:
//
//	servers:
//	  - {use: http, listen: "unix:run/grpc.sock", protocols: [h2]}
//
// Where only HTTP/2 is spoken a client of HTTP/1.1 gets a 505 that says so, without TLS, and no connection over TLS.
// What is neither is closed.
//
// A request with a field that is about the connection (Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, or
// TE with more than trailers) is malformed: its stream is reset (RFC 9113, 8.2.2), maybe after a 400.
//
// # Ending
//
// When it is told to end, the server stops accepting, closes the connections that wait
// for their next request, and lets the requests under way finish. A connection that was
// accepted just before may still bring its first request, within read_header_timeout.
package http

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the http server.
var Component = registry.Server[Config]{
	Name: "http",
	Default: Config{
		Listen:            []registry.Address{"127.0.0.1:8080"},
		Mode:              "0660",
		TLS:               encryption{MinVersion: "tls1.2", ClientCertificate: "required"},
		Protocols:         []string{"http/1.1", "h2"},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BodyIdleTimeout:   30 * time.Second,
		WriteIdleTimeout:  time.Minute,
		MaxHeader:         64 << 10,
		MaxBody:           1 << 30,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says where the server listens, and how long it waits for a client.
type Config struct {
	// Listen are the addresses to accept connections on. By default only this machine can
	// reach the server; write ":8080" for every interface.
	Listen []registry.Address `yaml:"listen" validate:"min=1,unique,dive,required"`
	// Mode is the permission of a unix socket, in octal. By default its owner and group may
	// connect. It has no meaning for TCP.
	Mode string `yaml:"mode"`
	// Protocols are the versions of HTTP that are spoken, with TLS and without: http/1.1, h2, or both, as the client chooses.
	Protocols []string `yaml:"protocols" validate:"min=1,unique,dive,oneof=http/1.1 h2"`
	// TLS has the server speak it, and nothing else, on all of its addresses.
	TLS encryption `yaml:"tls"`
	// ProxyProtocol are the load balancers that begin each connection with a PROXY header, which tells the visitor's
	// address: their addresses or networks, such as 10.0.0.0/8, and the word unix for those that
	// connect to a unix socket. They must send it; all others must not.
	ProxyProtocol []registry.Network `yaml:"proxy_protocol"`
	// ReadHeaderTimeout is how long a client may take to send the header of a request.
	// It is what ends clients that send a byte now and then to hold connections.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" validate:"min=1ms"`
	// IdleTimeout is how long a connection is kept open between two requests. Behind a proxy
	// it should be longer than the proxy's, so that it is the proxy that closes.
	IdleTimeout time.Duration `yaml:"idle_timeout" validate:"min=1ms"`
	// BodyIdleTimeout is how long a request body may stall. It starts anew with every byte, so
	// that a slow upload isn't cut off, but one that stopped is.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// WriteIdleTimeout is how long a client may take nothing of a response that is
	// ready for it. It starts anew whenever something was taken, and runs only while something is
	// to be sent: an event stream may be silent for longer.
	WriteIdleTimeout time.Duration `yaml:"write_idle_timeout" validate:"min=1ms"`
	// MaxHeader is the longest header of a request, request line included. A few kilobytes
	// more may pass, since it is read in blocks.
	MaxHeader registry.Size `yaml:"max_header" validate:"min=1024,max=16777216"`
	// MaxBody is the longest body of a request, 0 for no limit. It is the last resort for
	// the whole server; what single URLs accept is better limited there. Bodies aren't
	// collected in memory, so a generous limit costs nothing by itself.
	MaxBody registry.Size `yaml:"max_body" validate:"min=0"`
}

// Validate checks that the mode is one.
func (c Config) Validate() error { return registry.CheckMode("mode", c.Mode) }

func build(env *registry.Env, cfg Config) (registry.ServeFunc, error) {
	encrypted, err := cfg.TLS.open(env)
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, log: env.Logger(), tls: encrypted, sendsHeader: registry.Clients(cfg.ProxyProtocol)}
	s.http2Only = encrypted == nil && !slices.Contains(cfg.Protocols, "http/1.1")
	return s.serve, nil
}

// server serves any number of listeners with the same settings.
type server struct {
	cfg Config
	log *slog.Logger
	tls *tls.Config // nil without TLS
	// http2Only says that each connection must begin as HTTP/2 does: over TLS it wouldn't have come about.
	http2Only bool
	// sendsHeader says of whom a PROXY header is expected, and believed.
	sendsHeader func(remoteAddr string) bool
}

func (s *server) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var speaks http.Protocols
	http2 := slices.Contains(s.cfg.Protocols, "h2")
	speaks.SetHTTP1(slices.Contains(s.cfg.Protocols, "http/1.1"))
	speaks.SetUnencryptedHTTP2(http2 && s.tls == nil)
	speaks.SetHTTP2(http2 && s.tls != nil)
	t := newTally()
	var srv *http.Server
	srv = &http.Server{
		Handler:           &limiter{next: h, maxBody: int64(s.cfg.MaxBody), bodyIdle: s.cfg.BodyIdleTimeout, writeIdle: s.cfg.WriteIdleTimeout},
		Protocols:         &speaks,
		TLSConfig:         s.tls,
		HTTP2:             &http.HTTP2Config{MaxReadFrameSize: maxFrame},
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    int(s.cfg.MaxHeader),
		// net/http's own would wait for a body without a limit. The limiter is one.
		DisableGeneralOptionsHandler: true,
		ConnContext:                  remember,
		BaseContext: func(net.Listener) context.Context {
			s.handOver(srv.TLSNextProto) // which is there when the server begins to accept, and not before
			return context.Background()
		},
		ConnState: t.follow,
		ErrorLog:  log.New(lines{s.log}, "", 0),
	}
	served := make(chan error, 1)
	go func() {
		if l := (&listener{l, s}); s.tls != nil {
			served <- srv.ServeTLS(l, "", "")
		} else {
			served <- srv.Serve(l)
		}
	}()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		// Before any connection is closed: who sees that, and connects anew, must come to another server.
		_ = l.Close() // Serve says what came of it
		srv.SetKeepAlivesEnabled(false)
		if err = <-served; errors.Is(err, net.ErrClosed) {
			// These waits have no deadline: whoever called serve cuts the connections that take
			// too long.
			t.wait()
			return srv.Shutdown(context.WithoutCancel(ctx))
		}
	}
	// It can't accept any more, and wasn't told to stop.
	_ = srv.Close() // closes what is left after err, which says more
	return err
}

// maxFrame is the longest frame that an HTTP/2 client may send. It is what clients send unless they are told that more
// is taken (RFC 9113, 4.2), and a connection may need as much memory.
const maxFrame = 16 << 10

// lines logs what net/http says. What only tells of a client that left or spoke
// nonsense is for debugging; the rest is an app's fault.
type lines struct{ log *slog.Logger }

func (l lines) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	level := slog.LevelWarn
	if strings.HasPrefix(text, "http2: ") || strings.HasPrefix(text, "http: TLS") || strings.HasPrefix(text, "http: URL query") {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "net/http", "text", text)
	return len(line), nil
}
