// Package timeout ends requests that take an app too long.
//
// A short time for most of the site, and a long one for the report that needs it:
//
//	stack:
//	  - errors
//	  - {use: timeout, after: 10s}
//	  - finder
//	urls:
//	  /reports/: {timeout: {after: 2m}}
//	  /events:   {timeout: {idle: 0s}}
//
// # Before the response begins
//
// An app that has not begun to answer when its time is over finds the context of the request ended, which
// is the sign to give up: database drivers, the proxy and whatever starts scripts heed it. If it
// then answers nothing, or fails, the answer is 504 with an incident, made by the errors middleware further out. An
// answer of its own is passed on, however late.
//
// The time counts from the last byte of the request that the app read, so that a large upload over a slow line
// takes nothing of it. While the app waits for the client, the clock stands still; the server has limits
// for clients that send or take nothing.
//
// An app that doesn't heed the context can't be stopped: it is answered for when it returns. Put what may
// hang behind the middleware pool, which doesn't wait for it.
//
// # Once it has begun
//
// A response that has begun, such as a download or an event stream, may take as long as it likes, as long
// as something moves: only when the app neither wrote nor read anything for the time idle, the
// context ends. What is then only half there is cut off and becomes an incident; an event
// stream just ends, and browsers come again. The same goes for a connection that the app has taken over, such as
// a WebSocket: it is closed when nothing was sent over it in either direction for the time idle.
//
// Nothing is held back on the way: what the app writes goes out as it would without this middleware.
package timeout

import (
	"net/http"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the timeout middleware.
var Component = registry.Middleware[Config]{
	Name:    "timeout",
	Default: Config{After: 30 * time.Second, Idle: 5 * time.Minute},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Uses:      []environ.Name{failure.Key},
	},
	Build: build,
}

// Config says how long is too long.
type Config struct {
	// After is how long an app may take to begin its response, counted from the last byte of the
	// request that it read.
	After time.Duration `yaml:"after" validate:"min=1ms"`
	// Idle is how long nothing may move once the response has begun, or the connection was taken
	// over as for a WebSocket; 0 means that it may rest for ever.
	Idle time.Duration `yaml:"idle" validate:"min=0s"`
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(next, cfg, w, r) })
	}, nil
}
