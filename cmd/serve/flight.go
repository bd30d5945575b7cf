package serve

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/environ"
)

// flights are requests under way.
//
// These are kept in several short lists, each with its lock, so that requests on many cores
// rarely wait for each other.
type flights struct {
	shards  [shards]shard
	zombies *zombies      // where those are named that are abandoned
	left    atomic.Int64  // after seal: requests still inside
	idle    chan struct{} // closed when sealed and the last request has left
}

const shards = 16

// shard is one of the lists.
type shard struct {
	mu     sync.Mutex
	sealed bool
	n      int
	first  *flight
	of     *flights
	_      [24]byte // one shard, one cache line
}

func (l *flights) init() {
	l.idle = make(chan struct{})
	for i := range l.shards {
		l.shards[i].of = l
	}
}

// add puts a request in. It returns false if that is too late.
func (l *flights) add(f *flight) bool {
	s := &l.shards[rand.Uint32()%shards]
	f.shard.Store(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed {
		return false
	}
	s.link(f)
	return true
}

// link and unlink change the list. The lock is held.
func (s *shard) link(f *flight) {
	if s.first != nil {
		f.next = s.first
		s.first.prev = f
	}
	s.first = f
	s.n++
}

func (s *shard) unlink(f *flight) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
	s.n--
}

// lock locks the list that the request is in, which may change until then.
func (f *flight) lock() *shard {
	for {
		s := f.shard.Load()
		s.mu.Lock()
		if f.shard.Load() == s {
			return s
		}
		s.mu.Unlock()
	}
}

// leave takes the request out.
func (f *flight) leave() {
	f.finish()
	s := f.lock()
	f.over = true
	if release := f.release; release != nil {
		// Until it is done the request counts: a stop waits for it, too.
		f.release = nil
		s.mu.Unlock()
		release()
		s = f.lock()
	}
	s.unlink(f)
	f.w = nil // whoever keeps the context keeps neither its neighbours nor the response
	sealed := s.sealed
	s.mu.Unlock()
	if sealed {
		s.of.out()
	}
}

// move puts a request of l into the lists of another, which aren't sealed, and lets note write down what is
// new about it. It returns false if the request has left, or is about to. No two goroutines move at the same time.
func (l *flights) move(f *flight, to *flights, note func()) bool {
	from := f.lock()
	if f.over {
		from.mu.Unlock()
		return false
	}
	s := &to.shards[rand.Uint32()%shards]
	s.mu.Lock()
	from.unlink(f)
	s.link(f)
	f.shard.Store(s)
	note()
	s.mu.Unlock()
	sealed := from.sealed
	from.mu.Unlock()
	if sealed {
		l.out()
	}
	return true
}

// release gives back what is held for the requests inside.
func (l *flights) release() {
	var all []func()
	l.each(func(f *flight) {
		if f.release != nil {
			all = append(all, f.release)
			f.release = nil
		}
	})
	for _, release := range all {
		release()
	}
}

// seal lets no further request in. It may be called once.
func (l *flights) seal() {
	l.left.Store(1) // keeps idle open until all shards are counted
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.sealed = true
		l.left.Add(int64(s.n))
		s.mu.Unlock()
	}
	l.out()
}

// out counts one that has left sealed lists.
func (l *flights) out() {
	if l.left.Add(-1) == 0 {
		close(l.idle)
	}
}

// each calls f for the requests that have not left, with the lock of a list held.
func (l *flights) each(f func(*flight)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for in := s.first; in != nil; in = in.next {
			f(in)
		}
		s.mu.Unlock()
	}
}

// inside returns the requests that have not left.
func (l *flights) inside() (all []*flight) {
	l.each(func(f *flight) { all = append(all, f) })
	return all
}

// count returns how many requests have not left.
func (l *flights) count() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.n
		s.mu.Unlock()
	}
	return n
}

// cancel ends the contexts of the requests inside, and returns these.
func (l *flights) cancel() []*flight {
	all := l.inside()
	for _, f := range all {
		f.cut()
	}
	return all
}

// sever makes every read and write of the requests inside fail that are among these, for those which wait for
// their client and not for their context.
func (l *flights) sever(among func(*flight) bool) {
	past := time.Unix(1, 0)
	l.each(func(f *flight) { // while the lock is held the request can't leave, so w may be used
		if f.over || !among(f) {
			return
		}
		c := http.NewResponseController(f.w)
		_ = c.SetReadDeadline(past)  // a server that knows no deadlines
		_ = c.SetWriteDeadline(past) // has its connections cut instead
	})
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

	shard atomic.Pointer[shard]
	// The lock of the shard guards these.
	prev, next *flight
	w          http.ResponseWriter
	server     *server // that it came by
	over       bool    // it is about to leave
	release    func()  // gives back what is held for it; nil for nothing
	kept       uint64  // the generation that it was kept from

	began              time.Duration // since the epoch, which is half as costly to tell as the time
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
	if _, ok := key.(environ.HostKey); ok {
		return f
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
