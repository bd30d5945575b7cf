// Package fastcgi accepts requests from a web server in front, by FastCGI.
//
//	servers:
//	  - {use: fastcgi, listen: "unix:run/stackd.sock"}
//
// In nginx:
//
//	location / {
//		include fastcgi_params;
//		fastcgi_pass unix:/srv/run/stackd.sock;
//	}
//
// The server is a responder in the words of FastCGI 1.0. It is made for nginx, Apache (mod_proxy_fcgi) and lighttpd
// (mod_fastcgi).
//
// # What the stack sees
//
// The URL is the one that the visitor asked for (REQUEST_URI), whatever the front server made of it for its own use,
// and the path in it is the whole path. Without REQUEST_URI it is SCRIPT_NAME and PATH_INFO. The visitor's
// address is REMOTE_ADDR, and the request came over TLS when HTTPS is on. All this is the front server's word: who can
// connect can claim anything, so a socket in a folder of its own, or a port that only the front server
// reaches, is part of the set-up.
//
// Bodies stream in both directions, as far as the front server lets them. When it breaks off or sends ABORT_REQUEST, the
// request's context ends.
//
// # Connections
//
// A connection is kept for more requests when the front server asks for that, and carries one at a time:
// a second one amid the first is declined with FCGI_CANT_MPX_CONN. FCGI_GET_VALUES is answered. What is left of a body when
// the answer is finished is passed over if that is no more than 256 KiB and comes within a second; otherwise the connection is closed.
//
// # Limits
//
//   - A request whose variables aren't complete within read_header_timeout closes the connection, and one with
//     more than max_header of them is answered with 431.
//   - A body longer than max_body is answered with 413, or fails with a [net/http.MaxBytesError] at the read that crosses the
//     limit.
//   - A body of which nothing comes for body_idle_timeout fails.
//   - A front server that takes nothing of a response for write_idle_timeout is cut off.
//   - More than max_connections wait to be accepted.
//
// What isn't FastCGI is refused with a text that says so. A response that can't be finished cuts the connection
// without FCGI_END_REQUEST, so that the front server doesn't take it for a whole one.
//
// # Ending
//
// When it is told to end, the server stops accepting, closes the connections that have no request, and lets the
// requests under way finish.
package fastcgi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/gateway"
)

func init() { registry.Register(Component) }

// Component is the fastcgi server.
var Component = registry.Server[Config]{
	Name: "fastcgi",
	Default: Config{
		Listen:            []registry.Address{"127.0.0.1:9000"},
		Mode:              "0660",
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BodyIdleTimeout:   30 * time.Second,
		WriteIdleTimeout:  time.Minute,
		MaxHeader:         64 << 10,
		MaxBody:           1 << 30,
		MaxConnections:    1024,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says where the server listens, and how long it waits for the front server.
type Config struct {
	// Listen are the addresses to accept connections on, such as unix:run/stackd.sock.
	Listen []registry.Address `yaml:"listen" validate:"min=1,unique,dive,required"`
	// Mode is the permission of a unix socket, in octal. By default its owner and group may
	// connect. It has no meaning for TCP.
	Mode string `yaml:"mode"`
	// ReadHeaderTimeout is how long the front server may take to send the variables of a request.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" validate:"min=1ms"`
	// IdleTimeout is how long a connection is kept open between two requests. It should be longer than the
	// front server's own, so that it is the front server that closes.
	IdleTimeout time.Duration `yaml:"idle_timeout" validate:"min=1ms"`
	// BodyIdleTimeout is how long a request body may stall. It starts anew with every byte.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// WriteIdleTimeout is how long the front server may take nothing of a response that is ready for it.
	WriteIdleTimeout time.Duration `yaml:"write_idle_timeout" validate:"min=1ms"`
	// MaxHeader is how much memory the variables of a request may take.
	MaxHeader registry.Size `yaml:"max_header" validate:"min=1024,max=16777216"`
	// MaxBody is the longest body of a request, 0 for no limit.
	MaxBody registry.Size `yaml:"max_body" validate:"min=0"`
	// MaxConnections is how many connections there are at a time.
	MaxConnections int `yaml:"max_connections" validate:"min=1"`
}

// Validate checks that the mode is one.
func (c Config) Validate() error { return registry.CheckMode("mode", c.Mode) }

// Warnings says what a client could claim that isn't the web server.
func (c Config) Warnings(site registry.Site) []registry.Warning { return registry.FrontWarnings(site) }

func build(env *registry.Env, cfg Config) (registry.ServeFunc, error) {
	s := &server{cfg: cfg, log: env.Logger()}
	return s.serve, nil
}

// server serves any number of listeners with the same settings.
type server struct {
	cfg Config
	log *slog.Logger
}

func (s *server) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	life := context.WithoutCancel(ctx) // requests under way finish
	a := gateway.Acceptor{Max: s.cfg.MaxConnections, WriteIdle: s.cfg.WriteIdleTimeout, Log: s.log, Serve: func(c *gateway.Conn) { newConn(s, c, h).run(life) }}
	return a.Run(ctx, l)
}
