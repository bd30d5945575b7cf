// Package webkit accepts requests from the adapters of WebKit, Webware's application server.
//
//	servers:
//	  - {use: webkit, listen: "127.0.0.1:8086"}
//
// In Apache with mod_webkit:
//
//	<Location />
//		WKServer localhost 8086
//		SetHandler webkit-handler
//	</Location>
//
// It is there for sites that have such an adapter in front and are to be moved without touching it: the port and the
// protocol are those of WebKit's AppServer. For anything new the fastcgi server is the better choice.
//
// An adapter sends a dictionary as Python's marshal module writes it, with the variables of the Common Gateway
// Interface in it, and the body behind; it gets a script's output back. The server reads the types that such a dictionary is
// made of (texts, numbers, None and dictionaries, as Python 2 and marshal's versions up to 2 write them), and takes
// anything else for a mistake. WebKit's command QUIT, by which anybody who could connect could stop the
// AppServer, is refused.
//
// # What the stack sees
//
// The URL is the one that the visitor asked for (REQUEST_URI), whatever the adapter made of it for its own use,
// and the path in it is the whole path. Without REQUEST_URI it is SCRIPT_NAME and PATH_INFO. The visitor's
// address is REMOTE_ADDR, and the request came over TLS when HTTPS is on. All this is the adapter's word: who can
// connect can claim anything, so a port that only the adapter reaches is part of the set-up.
//
// Bodies stream in both directions. Adapters end their direction of the connection behind the body, so that over TCP it shows
// late that one of them has left: when something was sent to it. Then the request's context ends.
//
// # Limits
//
//   - A dictionary that isn't complete within read_header_timeout closes the connection, and one longer than
//     max_header is answered with 431.
//   - A body announced longer than max_body is answered with 413 before the stack runs.
//   - A body of which nothing comes for body_idle_timeout fails at the read that waits for it.
//   - An adapter that takes nothing of a response for write_idle_timeout is cut off.
//   - More than max_connections wait to be accepted.
//
// A dictionary that can't be read is answered with 400 and a text that says what is wrong, and what isn't the adapter
// protocol at all is refused, in its own protocol where that is known. What comes behind the body is never taken for another
// request.
//
// # Ending
//
// When it is told to end, the server stops accepting, closes the connections that have no request, and lets the
// requests under way finish. Adapters try again for a while when nobody accepts, so a restart costs their visitors a
// wait.
package webkit

import (
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/gateway"
)

func init() { registry.Register(Component) }

// Component is the webkit server.
var Component = registry.Server[Config]{
	Name: "webkit",
	Default: Config{
		Listen:            []registry.Address{"127.0.0.1:8086"},
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

// Config says where the server listens, and how long it waits for an adapter.
type Config struct {
	// Listen are the addresses to accept connections on. Adapters look for 127.0.0.1:8086 if they
	// aren't told otherwise.
	Listen []registry.Address `yaml:"listen" validate:"min=1,unique,dive,required"`
	// Mode is the permission of a unix socket, in octal. By default its owner and group may
	// connect. It has no meaning for TCP.
	Mode string `yaml:"mode"`
	// ReadHeaderTimeout is how long an adapter may take to send the dictionary of a request.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout" validate:"min=1ms"`
	// BodyIdleTimeout is how long a request body may stall. It starts anew with every byte.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// WriteIdleTimeout is how long an adapter may take nothing of a response that is ready for it.
	WriteIdleTimeout time.Duration `yaml:"write_idle_timeout" validate:"min=1ms"`
	// MaxHeader is the longest dictionary of a request.
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
		Protocol: "WebKit's adapter protocol", Through: "an adapter that does, such as mod_webkit",
		Variables: header, HalfClose: true,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout, BodyIdleTimeout: cfg.BodyIdleTimeout, WriteIdleTimeout: cfg.WriteIdleTimeout,
		MaxHeader: int64(cfg.MaxHeader), MaxBody: int64(cfg.MaxBody), MaxConnections: cfg.MaxConnections,
		Log: env.Logger(),
	}
	return s.Serve, nil
}
