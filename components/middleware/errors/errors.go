// Package errors answers requests that failed, and tells reporters about them.
//
// It catches the panics of everything further in, and the errors that apps report. Put it
// outermost, so that nothing can fail outside of it:
//
//	stack:
//	  - use: errors
//	    show: loopback
//	  - use: finder
//	    root: site
//
// # The answer
//
// A visitor gets a small page with the id of the incident, and nothing about the inside.
// The id is also in the header field Incident-Id, and in what the reporters write, so that
// somebody who complains can be helped. The status is the one that the error asks for
// (502 for a script that gave no valid answer, 413 for a body that is too long), else 500; a
// panic is always 500.
//
// The Accept field of the request decides between HTML, JSON (application/problem+json, RFC
// 9457, with the member "incident") and plain text, which is what a client gets that
// doesn't care. Header fields that described the lost answer are removed, cookies that it
// would have set too, and nobody may store the page.
//
// When the header of an answer is already on its way it is too late for another. The
// connection is then cut (over HTTP/2, the stream is reset), so that no client takes half
// a page for a whole one.
//
// Answers with an error status that an app makes itself are not touched. When an app reports a failure and answers
// by itself, as one that speaks JSON-RPC does, its answer goes out with the field Incident-Id.
// A site's own pages, for these answers and for those made here, are what error_pages has.
//
// # The debug page
//
// With show: loopback, requests from this very machine get the error with all that it wraps,
// the stack with source lines, the request, the vars, and how the stack was put together for
// the URL: each setting, and where it was set. As JSON and as text too.
//
// Loopback means all of this: the peer's address is loopback; the Host, and the Origin where
// there is one, is localhost, a name under it, 127.0.0.0/8 or [::1]; and no header field says
// that a proxy passed the request on. Behind a proxy on the same machine everybody has a
// loopback address, and not every proxy says what it is: don't set it on a server that others
// can reach.
//
// What looks like a secret is shown as [redacted], by name (password, token, cookie and the
// like) and by form (a password in a URL, a bearer token). Reporters get the request redacted
// as well, with all values of its query.
//
// # Who left
//
// A client that goes away makes much fail that is in order: reads and writes, and
// what waits for the request's context. Such an error is no incident; it is logged at level
// debug. A panic is one, client or not.
package errors

import (
	"net/http"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the errors middleware.
var Component = registry.Middleware[Config]{
	Name: "errors",
	Default: Config{
		Show:        showNever,
		SourceLines: 5,
		Reporters:   []registry.Ref[failure.Reporter]{registry.Use[failure.Reporter]("log")},
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Provides:  []environ.Name{failure.Key},
		Uses:      []environ.Name{failure.Made},
	},
	Build: build,
}

// The values of Config.Show.
const (
	showNever    = "never"
	showLoopback = "loopback"
)

// Config says who is told what.
type Config struct {
	// Show says who gets the debug page: never, nobody; loopback, those who ask from this
	// machine itself, without a proxy. The page shows source code and settings.
	Show string `yaml:"show" validate:"oneof=never loopback"`
	// SourceLines is how many lines of source the debug page shows before and after the one
	// that failed.
	SourceLines int `yaml:"source_lines" validate:"min=0,max=50"`
	// Reporters are told about every incident, in this order, after the answer was made.
	Reporters []registry.Ref[failure.Reporter] `yaml:"reporters"`
}

// Traits says that the debug page reads source files.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if c.Show == showLoopback {
		t.Calls = registry.Blocking
	}
	return t
}

// Warnings says who may get the debug page.
func (c Config) Warnings(site registry.Site) []registry.Warning {
	if c.Show == showNever || !site.Public {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Exposed, Setting: "show",
		Problem: "is " + c.Show + "; it should be never on a server that others can reach, since a proxy on this machine may make them look local",
	}}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	c := &catcher{log: env.Logger(), debug: cfg.Show == showLoopback, sourceLines: cfg.SourceLines}
	for _, ref := range cfg.Reporters {
		c.reporters = append(c.reporters, named{ref.Name(), ref.Get()})
	}
	return c.wrap, nil
}

func (c *catcher) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(next, w, r) })
}
