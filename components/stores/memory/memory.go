// Package memory keeps session data in the memory of this process.
//
// It needs no file and no other program, and is the fastest of the stores. The sessions
// are gone when the process ends; they survive a reload of the stack file as long as the
// store's own settings stay as they are. Several processes can't share it: use sqlite or a
// store on another machine there.
//
//	stack:
//	  - use: session
//	    store: {use: memory, max_sessions: 20000}
//
// # Bounds
//
// It holds max_sessions at most. A new one that finds the store full takes the place of
// the session that would expire soonest, which with an idle timeout is about the
// one unused for longest; that visitor starts anew. The log says how many were lost in
// this way. Nobody is refused because others fill the store.
//
// An expired session is never found, whether or not it was removed already.
package memory

import (
	"bytes"
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

func init() { registry.Register(Component) }

// Component is the memory session store.
var Component = registry.Store[Config]{
	Name:    "memory",
	Default: Config{MaxSessions: 100_000, SweepInterval: time.Minute},
	Traits:  registry.Traits{Processes: registry.SingleProcess, Calls: registry.NonBlocking},
	Build:   build,
}

// Config bounds the store.
type Config struct {
	// MaxSessions is how many sessions are kept. When there are more, those that would
	// expire soonest go first. Reckon with a kilobyte each, and with what the apps put in.
	MaxSessions int `yaml:"max_sessions" validate:"min=1"`
	// SweepInterval is how often the memory of expired sessions is freed. They are not
	// found any more from the moment they expire.
	SweepInterval time.Duration `yaml:"sweep_interval" validate:"min=1s"`
}

func build(env *registry.Env, cfg Config) (session.Store, error) {
	s := &store{max: cfg.MaxSessions, byToken: make(map[string]*entry)}
	env.Go(func(ctx context.Context) { s.sweepEvery(ctx, cfg.SweepInterval, env.Logger()) })
	return s, nil
}

// store keeps each entry twice: by its token, and in the order of expiry.
type store struct {
	max int

	mu      sync.Mutex
	byToken map[string]*entry
	queue   queue
	evicted int // since the last sweep
}

type entry struct {
	token  string
	data   []byte
	expiry time.Time
	place  int // in the queue
}

func (s *store) Find(ctx context.Context, token string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byToken[token]
	if e == nil || !time.Now().Before(e.expiry) {
		return nil, false, nil
	}
	return bytes.Clone(e.data), true, nil
}

func (s *store) Commit(ctx context.Context, token string, data []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data = bytes.Clone(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byToken[token]; e != nil {
		e.data, e.expiry = data, expiry
		heap.Fix(&s.queue, e.place)
		return nil
	}
	if len(s.queue) >= s.max {
		if time.Now().Before(s.queue[0].expiry) {
			s.evicted++
		}
		s.remove(s.queue[0])
	}
	e := &entry{token: token, data: data, expiry: expiry}
	s.byToken[token] = e
	heap.Push(&s.queue, e)
	return nil
}

func (s *store) Delete(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byToken[token]; e != nil {
		s.remove(e)
	}
	return nil
}

func (s *store) remove(e *entry) {
	delete(s.byToken, e.token)
	heap.Remove(&s.queue, e.place)
}

func (s *store) sweepEvery(ctx context.Context, interval time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if evicted := s.sweep(); evicted > 0 {
				log.WarnContext(ctx, "the store is full; sessions were dropped before they expired",
					"dropped", evicted, "max_sessions", s.max)
			}
		}
	}
}

// sweep removes what has expired, and returns how many others had to make room since it ran last.
func (s *store) sweep() (evicted int) {
	const batch = 1000 // so that no request waits long for the lock
	for now, more := time.Now(), true; more; {
		s.mu.Lock()
		for range batch {
			more = len(s.queue) > 0 && !now.Before(s.queue[0].expiry)
			if !more {
				break
			}
			s.remove(s.queue[0])
		}
		evicted += s.evicted
		s.evicted = 0
		s.mu.Unlock()
	}
	return evicted
}

// queue is a heap whose first entry expires soonest.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].expiry.Before(q[j].expiry) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.place = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
