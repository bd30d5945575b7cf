// Package scgi accepts requests from a web server in front, by SCGI.
//
//	servers:
//	  - {use: scgi, listen: "unix:run/stackd.sock"}
//
// In nginx:
//
//	location / {
//		include scgi_params;
//		scgi_pass unix:/srv/run/stackd.sock;
//	}
//
// The server is made for nginx, Apache (mod_proxy_scgi) and lighttpd (mod_scgi). SCGI is simpler than FastCGI, which the
// fastcgi server speaks, and does less: every request has a connection of its own, and an answer that breaks off
// can be told from a whole one only over TCP, or when it has a Content-Length. Apache takes no bodies of unknown length
// for it. Where the front server speaks both, prefer FastCGI.
//
// # What the stack sees
//
// The URL is the one that the visitor asked for (REQUEST_URI), whatever the front server made of it for its own use,
// and the path in it is the whole path. Without REQUEST_URI it is SCRIPT_NAME and PATH_INFO. The visitor's
// address is REMOTE_ADDR, and the request came over TLS when HTTPS is on. All this is the front server's word: who can
// connect can claim anything, so a socket in a folder of its own, or a port that only the front server
// reaches, is part of the set-up.
//
// Bodies stream in both directions, as far as the front server lets them. When it closes the connection before it has
// the answer, the request's context ends.
//
// # Limits
//
//   - A header that isn't complete within read_header_timeout closes the connection, and one longer than
//     max_header is answered with 431.
//   - A body announced longer than max_body is answered with 413 before the stack runs.
//   - A body of which nothing comes for body_idle_timeout fails at the read that waits for it.
//   - A front server that takes nothing of a response for write_idle_timeout is cut off.
//   - More than max_connections wait to be accepted.
//
// A header that isn't as SCGI has it is answered with 400 and a text that says what is wrong, and what isn't SCGI at all is
// refused, in its own protocol where that is known. What comes behind the body is never taken for another request.
//
// # Ending
//
// When it is told to end, the server stops accepting, closes the connections that have no request, and lets the
// requests under way finish.
package scgi

import (
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/gateway"
)

func init() { registry.Register(Component) }

// Component is the scgi server.
var Component = registry.Server[Config]{
	Name: "scgi",
	Default: Config{
		Listen:            []registry.Address{"127.0.0.1:4000"},
		Mode:              "0660",
		ReadHeaderTimeout: 10 * time.Second,
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
	// ReadHeaderTimeout is how long the front server may take to send the header of a request.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" validate:"min=1ms"`
	// BodyIdleTimeout is how long a request body may stall. It starts anew with every byte.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// WriteIdleTimeout is how long the front server may take nothing of a response that is ready for it.
	WriteIdleTimeout time.Duration `yaml:"write_idle_timeout" validate:"min=1ms"`
	// MaxHeader is the longest header of a request.
	MaxHeader registry.Size `yaml:"max_header" validate:"min=1024,max=16777216"`
	// MaxBody is the longest body of a request, 0 for no limit.
	MaxBody registry.Size `yaml:"max_body" validate:"min=0"`
	// MaxConnections is how many connections, and so requests, there are at a time.
	MaxConnections int `yaml:"max_connections" validate:"min=1"`
}

// Validate checks that the mode is one.
func (c Config) Validate() error { return registry.CheckMode("mode", c.Mode) }

// Warnings says what a client could claim that isn't the web server.
func (c Config) Warnings(site registry.Site) []registry.Warning { return registry.FrontWarnings(site) }

func build(env *registry.Env, cfg Config) (registry.ServeFunc, error) {
	s := &gateway.Single{
		Protocol: "SCGI", Through: "a web server that does, as nginx' scgi_pass",
		Variables:         header,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout, BodyIdleTimeout: cfg.BodyIdleTimeout, WriteIdleTimeout: cfg.WriteIdleTimeout,
		MaxHeader: int64(cfg.MaxHeader), MaxBody: int64(cfg.MaxBody), MaxConnections: cfg.MaxConnections,
		Log: env.Logger(),
	}
	return s.Serve, nil
}
