// Package ratelimit refuses requests of clients that make too many.
//
// Put it inside of real_ip, if there is a proxy in front, and outside of what is dear:
//
//	stack:
//	  - errors
//	  - {use: rate_limit, requests: 600, per: 1m}
//	  - {use: rate_limit, as: log_in_limit, off: true, requests: 5, per: 1m}
//	  - finder
//	urls:
//	  "POST /login": {log_in_limit: on}
//
// # What is counted
//
// Each client has a bucket of burst requests, which fills at the rate of requests in the time per (the
// token bucket algorithm). A request takes one out. From an empty bucket it is answered with 429, and
// with how long to wait in Retry-After; such a request isn't counted.
//
// URLs that share a slot with the same settings share its buckets; those for which urls: has other
// settings have their own.
//
// # Who is a client
//
// By default, an address: the peer's, or the one that real_ip found. Of IPv6 the first 64 bits
// count, since a client has all the others to choose from. Requests over a unix socket
// without real_ip all come from one client.
//
// With by: session, a visitor with a session is a client wherever he comes from; one without counts by
// address. For this it reads the session of every request, and keeps a random text in it under
// "rate_limit". A visitor for whom nothing was stored has no session; nor does he if the store
// can't be reached. Who begins many sessions has many buckets, so let nobody begin one that
// easily, or use two limits.
//
// With by: header, the value of a field is the client, such as an API key; who sends none counts by
// address. The limit is worth nothing unless something else refuses values that are made up.
//
// # Memory
//
// The buckets are kept in the memory of this process, each in some 250 bytes; several processes
// would each count on their own. A bucket that is full again is forgotten. When there are more than
// clients, those not used for longest are forgotten: their clients may begin anew, but nobody
// else is refused for it.
package ratelimit

import (
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/session"
)

func init() { registry.Register(Component) }

// Component is the rate_limit middleware.
var Component = registry.Middleware[Config]{
	Name:    "rate_limit",
	Default: Config{Requests: 600, Per: time.Minute, By: byIP, Clients: 50_000},
	Traits:  registry.Traits{Processes: registry.SingleProcess, Calls: registry.NonBlocking},
	Build:   build,
}

// The values of Config.By.
const (
	byIP      = "ip"
	bySession = "session"
	byHeader  = "header"
)

// Config says how many requests are too many, and whose.
type Config struct {
	// Requests is how many requests a client may make in the time per, in the long run.
	Requests int `yaml:"requests" validate:"min=1"`
	// Per is the time that requests is about.
	Per time.Duration `yaml:"per" validate:"min=1ms"`
	// Burst is how many requests a client that was quiet may make at once; 0 means as many as
	// requests.
	Burst int `yaml:"burst" validate:"min=0"`
	// By is what a client is told by: its address (ip), its session, or a field of its
	// requests (header).
	By string `yaml:"by" validate:"oneof=ip session header"`
	// Header is the field for by: header, such as X-Api-Key.
	Header string `yaml:"header"`
	// Clients is how many clients are remembered at most.
	Clients int `yaml:"clients" validate:"min=1"`
}

// Traits says that sessions must be there to count by them, and that visitors are told apart by their addresses.
func (c Config) Traits(t registry.Traits) registry.Traits {
	switch c.By {
	case bySession:
		t.Needs = []environ.Name{session.Key}
	case byIP:
		t.Uses = []environ.Name{environ.Client}
	}
	return t
}

// Validate checks that there is a field exactly when it is counted by one.
func (c Config) Validate() error {
	switch {
	case c.By == byHeader && c.Header == "":
		return &registry.SettingError{Setting: "header", Problem: "is missing; it must be the name of a field, for by: header"}
	case c.By != byHeader && c.Header != "":
		return &registry.SettingError{Setting: "header", Problem: "is set, and by is " + c.By + "; by must be header, or header be left out"}
	case c.Header != "" && !httpguts.ValidHeaderFieldName(c.Header):
		return &registry.SettingError{Setting: "header", Problem: "has a character that no field name may have; it must be like X-Api-Key"}
	}
	return nil
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	l := newLimiter(cfg.Requests, cfg.Per, cfg.Burst, cfg.Clients)
	client := clientOf(cfg.By, cfg.Header)
	return func(next http.Handler) http.Handler {
		return &handler{limiter: l, client: client, next: next}
	}, nil
}

// handler is the middleware in one chain.
type handler struct {
	limiter *limiter
	client  func(r *http.Request) key
	next    http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if wait := h.limiter.take(h.client(r), time.Now()); wait > 0 {
		refuse(w, wait)
		return
	}
	h.next.ServeHTTP(w, r)
}
