package serve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/environ"
)

// Generation is one built stack: what Load returns. It is not changed afterwards.
type Generation struct {
	// Handler answers every request, whichever server it came by.
	Handler http.Handler
	// Servers accept the connections. No two have the same address.
	Servers []Server
	// Watch is the files and folders that the generation was made of. A change of one of them
	// is a reason to reload. A folder changes when the list of its entries does.
	Watch []string
	// Close frees what is behind Handler and Servers. It is called once, when nothing uses
	// them any more. It may be nil.
	Close func() error
	// Current is called with the generation's number when it has become the current one, before
	// the next Load. It may be nil.
	Current func(number uint64)
	// Control is where the process is told what to do; nil for nowhere. It isn't of the stack: it serves requests by
	// itself, not by the handler that it is given, and goes on while the process stops, until all else has ended.
	Control *Server
	// Made tells people how the generation was made.
	Made control.Made

	// LoadTimeout is how long the reload after this one may take until the swap. Default: 60 s.
	LoadTimeout time.Duration
	// DrainTimeout is how long requests of this generation may go on when the next one has
	// replaced it. Default: 30 s.
	DrainTimeout time.Duration
	// StopTimeout is how long requests may go on when the process is told to stop. Default:
	// 30 s.
	StopTimeout time.Duration
}

const (
	defaultLoadTimeout  = time.Minute
	defaultDrainTimeout = 30 * time.Second
	defaultStopTimeout  = 30 * time.Second
)

// check returns what is wrong with a generation that Load returned.
func (g *Generation) check() error {
	var errs []error
	if g.Handler == nil {
		errs = append(errs, errors.New("the stack has no handler"))
	}
	names := make(map[string]string)
	for _, s := range g.all() {
		if s.Serve == nil {
			errs = append(errs, fmt.Errorf("server %q on %q has no function", s.Name, s.Address))
		}
		if first, taken := names[s.Address]; taken {
			errs = append(errs, fmt.Errorf("servers %q and %q both listen on %q; each needs an address of its own", first, s.Name, s.Address))
		}
		names[s.Address] = s.Name
	}
	return errors.Join(errs...)
}

// all returns the servers, and that of Control.
func (g *Generation) all() []Server {
	if g.Control == nil {
		return g.Servers
	}
	c := *g.Control
	c.control = true
	return append(slices.Clip(g.Servers), c)
}

// ErrRetired is the cause of a request's cancellation, as [context.Cause] tells it, when the
// stack that serves it was replaced or stopped and the drain deadline has passed.
var ErrRetired = errors.New("the stack that serves this request was replaced and its time to drain is over")

// generation is a Generation that serves, and the requests that it is serving.
//
// These are kept in several short lists, each with its lock, so that requests on many cores
// rarely wait for each other.
type generation struct {
	Generation
	number  uint64
	trigger string
	since   time.Time
	shards  [shards]shard
	left    atomic.Int64  // after seal: requests still inside
	idle    chan struct{} // closed when sealed and the last request has left
}

const shards = 16

// shard is one of a generation's lists of requests.
type shard struct {
	mu     sync.Mutex
	sealed bool
	n      int
	first  *flight
	gen    *generation
	_      [24]byte // one shard, one cache line
}

func newGeneration(g Generation, number uint64) *generation {
	gen := &generation{Generation: g, number: number, since: time.Now(), idle: make(chan struct{})}
	for i := range gen.shards {
		gen.shards[i].gen = gen
	}
	return gen
}

// enter puts a request into the generation. It returns nil if that is sealed; otherwise the
// caller calls leave when the request has ended.
func (g *generation) enter(w http.ResponseWriter, r *http.Request) *flight {
	s := &g.shards[rand.Uint32()%shards]
	f := &flight{Context: r.Context(), shard: s, w: w, began: time.Since(g.since), method: r.Method, host: r.Host, path: r.URL.Path}
	f.room.SetGeneration(g.number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		return nil
	}
	if s.first != nil {
		f.next = s.first
		s.first.prev = f
	}
	s.first = f
	s.n++
	return f
}

// leave takes the request out.
func (f *flight) leave() {
	f.finish()
	s := f.shard
	s.mu.Lock()
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	// Whoever keeps the context keeps neither its neighbours nor the response.
	f.prev, f.next, f.w = nil, nil, nil
	s.n--
	sealed := s.sealed
	s.mu.Unlock()
	if sealed {
		s.gen.out()
	}
}

// seal lets no further request in. It may be called once.
func (g *generation) seal() {
	g.left.Store(1) // keeps idle open until all shards are counted
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		s.sealed = true
		g.left.Add(int64(s.n))
		s.mu.Unlock()
	}
	g.out()
}

// out counts one that has left a sealed generation.
func (g *generation) out() {
	if g.left.Add(-1) == 0 {
		close(g.idle)
	}
}

// inside returns the requests that have not left.
func (g *generation) inside() []*flight {
	var all []*flight
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for f := s.first; f != nil; f = f.next {
			all = append(all, f)
		}
		s.mu.Unlock()
	}
	return all
}

// count returns how many requests have not left.
func (g *generation) count() (n int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += s.n
		s.mu.Unlock()
	}
	return n
}

// cancel ends the contexts of the requests inside, and returns these.
func (g *generation) cancel() []*flight {
	all := g.inside()
	for _, f := range all {
		f.cut()
	}
	return all
}

// sever makes every read and write of the requests inside fail, for those which wait for
// their client and not for their context.
func (g *generation) sever() {
	past := time.Unix(1, 0)
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock() // while it is held the request can't leave, so w may be used
		for f := s.first; f != nil; f = f.next {
			c := http.NewResponseController(f.w)
			_ = c.SetReadDeadline(past)  // a server that knows no deadlines
			_ = c.SetWriteDeadline(past) // has its connections cut instead
		}
		s.mu.Unlock()
	}
}

// free calls Close.
func (g *generation) free() error {
	if g.Close == nil {
		return nil
	}
	return g.Close()
}

// flight is a request under way. It is the request's context too: the one that the server gave
// it, which ends early when the generation's time is over.
//
// Most requests never ask their context whether it is done. So the context that can be
// cancelled is made at the first such question, and a request costs no more than the flight.
type flight struct {
	context.Context // as the server gave it

	room environ.Room // for the handler's environ

	own   atomic.Pointer[cancellable]
	ended atomic.Bool

	shard      *shard
	prev, next *flight
	w          http.ResponseWriter

	began              time.Duration // since the generation, which is half as costly to tell as the time
	method, host, path string        // without the query, which may hold secrets
}

// cancellable is a context with its cancel function.
type cancellable struct {
	context.Context
	cancel context.CancelCauseFunc
}

// String tells a person which request it is.
func (f *flight) String() string { return f.method + " " + f.host + f.path }

// Done implements [context.Context].
func (f *flight) Done() <-chan struct{} { return f.cancellable().Done() }

// Err implements [context.Context].
func (f *flight) Err() error {
	if c := f.own.Load(); c != nil {
		return c.Err()
	}
	if f.ended.Load() {
		return context.Canceled
	}
	return f.Context.Err()
}

// Value implements [context.Context]. It asks the request's own context if there is one:
// that is how package context finds what it needs to cancel children, and the cause.
func (f *flight) Value(key any) any {
	if v := f.room.Value(key); v != nil {
		return v
	}
	if c := f.own.Load(); c != nil {
		return c.Value(key)
	}
	return f.Context.Value(key)
}

// cancellable returns the request's own context.
func (f *flight) cancellable() *cancellable {
	if c := f.own.Load(); c != nil {
		return c
	}
	ctx, cancel := context.WithCancelCause(f.Context)
	c := &cancellable{ctx, cancel}
	if !f.own.CompareAndSwap(nil, c) {
		cancel(nil)
		return f.own.Load()
	}
	if f.ended.Load() { // finish may have come before own was there to see
		cancel(nil)
	}
	return c
}

// cut cancels the request since its generation's time is over.
func (f *flight) cut() { f.cancellable().cancel(ErrRetired) }

// finish cancels the context since the request has ended.
func (f *flight) finish() {
	f.ended.Store(true)
	if c := f.own.Load(); c != nil {
		c.cancel(nil)
	}
}
