package stackfile

import (
	"reflect"
	"slices"
)

// Succession tells what becomes of the requests of one stack when another takes its place. It may be used until the
// first of the two is closed, by one goroutine at a time.
type Succession struct {
	old, next *Stack
	known     map[[2]*chain]likeness
}

// Succeed returns the succession of a stack and the one that was built with it before it.
func (s *Stack) Succeed(old *Stack) *Succession {
	return &Succession{old: old, next: s, known: make(map[[2]*chain]likeness)}
}

// Fate is what becomes of a request under way.
type Fate struct {
	// Stays says that the next stack answers such a request in just the same way: by the same instances with
	// the same vars, also in stacks that are mounted. Then the request needs nothing of the old stack, beyond
	// what it holds.
	Stays bool
	// OnReload is what the old stack says of a request that doesn't stay.
	OnReload OnReload
	// Release gives back what the request holds, so that what nobody uses any more is closed; call it once, when
	// the request has ended. It is nil for one that holds nothing: that goes on with what the next stack holds,
	// or drains or is closed with the old one.
	Release func()
}

// Fate tells what becomes of a request that came with that method, host and path.
func (s *Succession) Fate(method, host, path string) Fate {
	if checkPath(path) != "" {
		return Fate{OnReload: OnReloadDrain} // it is answered already
	}
	r := target{method, host, path}
	old := s.old.chains.find(r)
	stays, carried := s.compare(old, s.next.chains.find(r), r)
	f := Fate{Stays: stays, OnReload: OnReloadDrain}
	if !stays {
		if said := old.said(r); said != "" {
			f.OnReload = said
		}
	}
	if stays && !carried || !stays && f.OnReload == OnReloadKeep {
		f.Release = s.old.depot.hold(old.links...)
	}
	return f
}

// target is what decides about a request's chain.
type target struct{ method, host, path string }

func (s chains) find(r target) *chain { return s.router.find(r.method, r.host, matched(r.path)) }

// likeness is how two chains compare.
type likeness int

const (
	unlike likeness = iota
	// alike chains have the same vars and instances.
	alike
	// alikeOutside are alike but for the stack that their last instances mount.
	alikeOutside
)

// compare tells whether a chain is as good as another for a request, and whether all of its instances were carried
// over.
func (s *Succession) compare(old, next *chain, r target) (same, carried bool) {
	pair := [2]*chain{old, next}
	like, ok := s.known[pair]
	if !ok {
		like = liken(old, next)
		s.known[pair] = like
	}
	if like != alikeOutside {
		return like == alike, true
	}
	before, after := old.last().mounting, next.last().mounting
	inner, asked := before.inside(r.path)
	if !asked {
		return true, false
	}
	r.path = inner
	same, _ = s.compare(before.stacks[0].find(r), after.stacks[0].find(r), r)
	return same, false
}

func liken(old, next *chain) likeness {
	old.begin()
	next.begin()
	if len(old.links) != len(next.links) || !reflect.DeepEqual(old.vars, next.vars) {
		return unlike
	}
	last := len(old.links) - 1
	if !slices.Equal(old.links[:last], next.links[:last]) {
		return unlike
	}
	if old.links[last] == next.links[last] {
		return alike
	}
	before, after := old.last().mounting, next.last().mounting
	switch {
	case before == nil, after == nil, before.shell != after.shell, !slices.Equal(before.refs, after.refs),
		len(before.stacks) != 1, len(after.stacks) != 1,
		old.last().built.Changed(),
		old.rewrites():
		return unlike
	}
	return alikeOutside
}

// rewrites tells whether nobody knows which URL the last instance is asked for.
func (c *chain) rewrites() bool {
	return slices.ContainsFunc(c.links, func(i *instance) bool { return i.rewrites })
}

func (c *chain) last() *instance { return c.links[len(c.links)-1] }

// said returns what the stack file says of a request: the mounted stack's word counts more than that of the
// stack around it.
func (c *chain) said(r target) OnReload {
	if m := c.last().mounting; m != nil && len(m.stacks) == 1 && !c.rewrites() {
		if inner, asked := m.inside(r.path); asked {
			within := r
			within.path = inner
			if said := m.stacks[0].find(within).said(within); said != "" {
				return said
			}
		}
	}
	return c.onReload
}

// mounting is what there is to know of an instance that mounts stacks.
type mounting struct {
	// shell is its identity but for the stacks, and refs what it was bound to but for these.
	shell  string
	refs   []*instance
	stacks []chains
	inside func(path string) (inner string, asked bool)
}

// holder returns hold for one instance. It knows nothing else of the stack.
func (d *depot) holder(i *instance) func() (release func()) {
	return func() func() { return d.hold(i) }
}

// hold makes sure that instances, and all that they refer to, are open until what it returns is called. They must be open.
func (d *depot) hold(roots ...*instance) (release func()) {
	var held []*instance
	seen := make(map[*instance]bool)
	var add func(*instance)
	add = func(i *instance) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, ref := range i.refs {
			add(ref)
		}
		held = append(held, i)
	}
	for _, i := range roots {
		add(i)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range held {
		i.users++
	}
	return func() { d.release(held, func(*instance) {}) }
}
