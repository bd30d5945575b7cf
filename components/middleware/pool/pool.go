// Package pool bounds how many requests run at a time, and finds those that hang.
//
// Put it around what is dear, such as pages that ask a database:
//
//	stack:
//	  - errors
//	  - access_log
//	  - {use: pool, workers: 20, queue: 100, queue_time: 5s, hung_after: 30s}
//	  - finder
//	urls:
//	  /assets/: {pool: off}
//	  /events:  {pool: off}
//
// URLs that share a slot with the same settings share its workers; those for which urls: has other settings
// have their own.
//
// # When all workers are busy
//
// A request waits in a queue for its turn, first come, first served. When the queue is full, or the turn doesn't
// come within queue_time, it is answered with 503 and with Retry-After, which costs next to nothing;
// the log tells how many were.
//
// A connection that an app has taken over, such as a WebSocket, needs no worker any more. An
// event stream needs one as long as it lasts; switch the pool off for such URLs.
//
// # Hung requests
//
// A request hangs when its app has neither read from it nor written to the response for
// hung_after. Time in which it waits for the client doesn't count: the server has limits for that. A clock
// finds it, whether or not other requests come.
//
// Its context ends, which most apps heed: then the answer is 504, made by the errors middleware further out, and
// the incident shows where each goroutine of the request stood. Go can't stop one that doesn't heed it.
// A second later the request is answered all the same, and another takes its place; what the app writes from
// then on goes nowhere. A response that was there as a whole goes out as it is. The request is a zombie, which is
// counted until it ends: the log says when one begins and ends, and stackd status where each hangs. A reload doesn't
// wait for zombies, and closes what they use.
//
// When there are more than max_zombies, a restart is the only help. Where several processes share the work
// (processes:), this one is replaced: it answers what it has begun, and ends. Elsewhere the log tells as an
// error that somebody must restart it.
//
// # Under an event loop
//
// A server that runs only what never waits leaves a request to the pool before it is asked. So whatever
// waits may stand in the pool, and a check refuses it outside.
//
// # For authors of apps
//
// The app runs in a goroutine of its own. A panic in it comes out of the pool as an error, with the stack of
// that goroutine. What it sets in the environ is seen further out once it has returned.
package pool

import (
	"net/http"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the pool middleware.
var Component = registry.Middleware[Config]{
	Name:    "pool",
	Default: Config{Workers: 64, Queue: 256, QueueTime: 10 * time.Second, HungAfter: time.Minute, MaxZombies: 10},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.Blocking,
		Workers:   true,
		Uses:      []environ.Name{failure.Key},
	},
	Build: build,
}

// Config sets the bounds.
type Config struct {
	// Workers is how many requests run at a time.
	Workers int `yaml:"workers" validate:"min=1"`
	// Queue is how many more may wait for their turn.
	Queue int `yaml:"queue" validate:"min=0"`
	// QueueTime is how long one may wait. It is also what Retry-After says, in whole seconds.
	QueueTime time.Duration `yaml:"queue_time" validate:"min=1ms"`
	// HungAfter is how long an app may neither read nor write before its request counts as hung.
	HungAfter time.Duration `yaml:"hung_after" validate:"min=1ms"`
	// MaxZombies is how many hung requests may go on running. With one more the process is replaced where there are
	// several, and elsewhere the log asks for a restart.
	MaxZombies int `yaml:"max_zombies" validate:"min=0"`
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	p := newPool(cfg, env.Logger(), env.Restart)
	env.OnClose(func() error {
		p.close()
		return nil
	})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(next, w, r) })
	}, nil
}
