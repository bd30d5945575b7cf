package finder

import (
	"hash/maphash"
	"sync"
)

// cache keeps values by string, up to a number of them. A get takes one lock that only
// writers of the same shard hold against it, and allocates nothing.
type cache[V any] struct {
	seed   maphash.Seed
	shards []shard[V]
	limit  int // of each shard
}

type shard[V any] struct {
	sync.RWMutex
	entries map[string]V
	_       [4]uint64 // keeps two shards' locks out of one cache line
}

// maxShards is how many shards a large cache has: more than cores that would meet in one.
const maxShards = 64

func newCache[V any](capacity int) *cache[V] {
	c := &cache[V]{seed: maphash.MakeSeed(), shards: make([]shard[V], 1)}
	if capacity >= 16*maxShards {
		c.shards = make([]shard[V], maxShards)
	}
	c.limit = capacity / len(c.shards)
	return c
}

func (c *cache[V]) shard(key string) *shard[V] {
	if len(c.shards) == 1 {
		return &c.shards[0]
	}
	return &c.shards[maphash.String(c.seed, key)%maxShards]
}

// get returns the value of key, or V's zero value.
func (c *cache[V]) get(key string) V {
	s := c.shard(key)
	s.RLock()
	v := s.entries[key]
	s.RUnlock()
	return v
}

// put sets the value of key.
func (c *cache[V]) put(key string, v V) {
	c.update(key, func(V) V { return v })
}

// update sets the value of key to what f makes of the one that was there, and returns it. f is
// called under the shard's lock.
func (c *cache[V]) update(key string, f func(old V) V) V {
	s := c.shard(key)
	s.Lock()
	defer s.Unlock()
	old, there := s.entries[key]
	v := f(old)
	switch {
	case c.limit == 0:
		return v
	case s.entries == nil:
		s.entries = make(map[string]V)
	case !there && len(s.entries) >= c.limit:
		for other := range s.entries {
			delete(s.entries, other)
			break
		}
	}
	s.entries[key] = v
	return v
}

// drop removes key.
func (c *cache[V]) drop(key string) {
	s := c.shard(key)
	s.Lock()
	defer s.Unlock()
	delete(s.entries, key)
}
