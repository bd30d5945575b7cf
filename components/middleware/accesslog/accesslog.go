// Package accesslog writes a line for every request.
//
// Put it outside of errors, so that it sees the answers to failures too, and inside of
// real_ip, request_id and trace, so that it can use what they find out:
//
//	stack:
//	  - request_id
//	  - {use: real_ip, trusted: [127.0.0.1]}
//	  - {use: access_log, file: var/access.log, format: combined}
//	  - errors
//	  - finder
//	urls:
//	  /health: {access_log: off}
//
// Without a file the lines go to stackd's own log, at level info and with the message "request".
//
// # What is in a line
//
// The attributes of a record, and the members of a line of JSON, are: method, host, url (as it was
// asked for), proto, remote (the client's address), status, bytes (of the body), duration (in
// seconds), and where there is such a thing:
//
//   - referer and user_agent, as the client says;
//   - user, as auth_basic or auth_forward knows the client;
//   - request_id and trace_id;
//   - generation, which tells what the stack file was: stackd logs the number when a stack begins
//     to serve, and it is one more with each reload;
//   - route, the most specific pattern under urls: that matched;
//   - answered_by, the slot of the stack that answered: the innermost that the request came to. A
//     request that rate_limit turned away has rate_limit here, and one that failed the app that it
//     failed in;
//   - incident, the id that the errors middleware gave the failure and showed the client;
//   - cut, which is true when the answer was broken off.
//
// A line of JSON begins with time.
//
// Status is 0 when the connection was cut before anything was answered, and 101 when an app took
// it over, such as for a WebSocket.
//
// The combined format is that of Apache and nginx, which most programs that read logs know. It has
// no more than theirs.
// Quotes, backslashes and whatever isn't printable ASCII are written as \xHH, so that no client
// can forge a line.
//
// A line is written when the request is done, so a stream of events appears at its end.
//
// # Rotation
//
// Each line is appended to the file by one write, so that several processes may share it. When the
// file is renamed or removed, a new one is begun within a second of the next request; nobody
// needs to be told. When a line can't be written, stackd's own log says so, once until it
// works again, and requests go on.
package accesslog

import (
	"io"
	"net/http"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the access_log middleware.
var Component = registry.Middleware[Config]{
	Name:    "access_log",
	Default: Config{Format: formatJSON, Query: true},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Needs:     []environ.Name{environ.Reached},
		Uses:      []environ.Name{environ.Client},
	},
	Build: build,
}

// The values of Config.Format.
const (
	formatJSON     = "json"
	formatCombined = "combined"
)

// Config says where the lines go, and what they are like.
type Config struct {
	// File is the file that lines are appended to. It is made, and its folder too, where it isn't
	// there. Without a file the lines go to stackd's own log.
	File registry.Path `yaml:"file"`
	// Format is how a line in the file is written: json, or combined as Apache does. The form of
	// stackd's own log isn't chosen here.
	Format string `yaml:"format" validate:"oneof=json combined"`
	// Query says whether what follows the ? of a URL is written. Switch it off where it may hold
	// secrets, such as links that reset a password.
	Query bool `yaml:"query"`
}

// Traits says that files may make a request wait, and that the combined format has no place for
// who answered.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if c.File != "" {
		t.Calls = registry.Blocking
	}
	if c.Format == formatCombined {
		t.Needs = nil
	}
	return t
}

// Validate checks that the format has a file.
func (c Config) Validate() error {
	if c.Format == formatCombined && c.File == "" {
		return &registry.SettingError{Setting: "format", Problem: "is combined; it must be json unless file is set"}
	}
	return nil
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	l := &logger{query: cfg.Query, own: env.Logger()}
	if cfg.File != "" {
		f, err := openFile(string(cfg.File), time.Now)
		if err != nil {
			return nil, err
		}
		env.OnClose(f.Close)
		l.format(f, cfg.Format)
	}
	return func(next http.Handler) http.Handler { return &handler{logger: l, next: next} }, nil
}

// format has the lines written to w.
func (l *logger) format(w io.Writer, format string) {
	l.file, l.line = w, jsonLine
	if format == formatCombined {
		l.line = combinedLine
	}
}
