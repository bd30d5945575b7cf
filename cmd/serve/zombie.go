package serve

import (
	"sync"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// zombies are the requests whose handlers go on running although they were answered without them. No generation waits
// for them: nobody is waiting for what they do. The zero value is ready.
type zombies struct {
	mu  sync.Mutex
	all map[*zombie]struct{}
}

// zombie is one of them.
type zombie struct {
	generation         uint64
	method, host, path string
	began              time.Duration // since the epoch
	place              uint32        // where it hangs
}

// add names one until it has ended.
func (z *zombies) add(one *zombie) (ended func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.all == nil {
		z.all = make(map[*zombie]struct{})
	}
	z.all[one] = struct{}{}
	return func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		delete(z.all, one)
	}
}

// requests describes them, so long after the epoch.
func (z *zombies) requests(now time.Duration, slot func(number uint32) string) (all []control.Request) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for one := range z.all {
		all = append(all, control.Request{
			Generation: one.generation, Method: one.method, Host: one.host, Path: one.path, Age: now - one.began,
			Slot: slot(one.place), State: control.Zombie,
		})
	}
	return all
}

// Abandon implements [environ.Host].
func (f *flight) Abandon() (ended func()) {
	place, _ := f.room.Place()
	return f.shard.Load().of.zombies.add(&zombie{
		generation: f.room.Generation(), method: f.method, host: f.host, path: f.path, began: f.began, place: place,
	})
}
