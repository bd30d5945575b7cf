package stackfile

import (
	"slices"

	"github.com/stackd/stackd/registry"
)

// An override that puts another component into a slot makes its settings begin anew. What was said before to
// the one that is put back later is lost, and so is what is said to it while another stands there. So the
// settings for a component count that come behind the last override with another one, and behind one that
// puts the component back.

// comings are the overrides of a region that put a component into a slot, and the last of those that put another
// one there: all others of that kind are more general than one of these.
type comings struct{ back, others []int }

func (e *effects) comings(area region, s *slot, def *registry.Definition) (c comings) {
	for _, o := range slices.Backward(area.set) { // the more specific first
		so := e.overrides[o].speaks(s)
		switch {
		case so == nil || so.def == nil:
		case so.def == def:
			c.back = append(c.back, o)
		case !slices.ContainsFunc(c.others, func(n int) bool { return e.more(n, o) }):
			c.others = append(c.others, o)
		}
	}
	return c
}

// open reports whether it is in conflict already which component comes to stand there.
func (e *effects) open(c comings) bool {
	return slices.ContainsFunc(c.others, func(n int) bool {
		return !slices.ContainsFunc(c.back, func(b int) bool { return e.more(b, n) })
	})
}

// puttingBack returns an override that can come behind all others and before the settings of o for
// the component, so that these count in some order; false when there is none.
func (e *effects) puttingBack(c comings, o int) (back int, ok bool) {
	before := func(n int) bool { return e.more(n, o) }
	if slices.ContainsFunc(c.others, before) {
		return 0, false
	}
	for _, b := range c.back {
		if b != o && e.more(b, o) || slices.ContainsFunc(c.others, func(n int) bool { return e.more(n, b) }) {
			continue
		}
		// One whose order is open is what people should hear of.
		if !ok || !e.more(o, b) && b != o {
			back, ok = b, true
		}
	}
	return back, ok
}

// always reports whether the settings of o for the component count in every order. If not, it returns
// what can come behind, or else before them with nothing putting the component back in between.
func (e *effects) always(c comings, o int) (other int, ok bool) {
	for _, n := range c.others {
		back := e.more(o, n) && slices.ContainsFunc(c.back, func(b int) bool {
			return e.more(b, n) && (b == o || e.more(o, b))
		})
		if !back {
			return n, false
		}
	}
	return 0, true
}

// unheard reports whether what override a or b says to what stands in a slot comes to nothing, in any order.
func (e *effects) unheard(area region, a, b int, s *slot) bool {
	if s == nil {
		return false
	}
	c := e.comings(area, s, e.addressed(s, a))
	if len(c.others) == 0 {
		return false
	}
	_, first := e.puttingBack(c, a)
	_, second := e.puttingBack(c, b)
	return !first || !second
}

// restarts finds settings that count or not, depending on the order of overrides of which neither is more
// specific. It reports whether there are any.
func (e *effects) restarts(area region) (found bool) {
	putting := 0
	for _, o := range area.set {
		if e.puts[o] {
			putting++
		}
	}
	if putting < 2 {
		return false // none is put back
	}
	known := make(map[*slot]map[*registry.Definition]comings)
	for _, o := range area.set {
		for _, so := range e.overrides[o].slots {
			if so.node == nil {
				continue
			}
			def := e.addressed(so.slot, o)
			c, ok := known[so.slot][def]
			if !ok {
				c = e.comings(area, so.slot, def)
				if known[so.slot] == nil {
					known[so.slot] = make(map[*registry.Definition]comings)
				}
				known[so.slot][def] = c
			}
			if len(c.others) == 0 || len(c.back) == 0 {
				continue
			}
			back, some := e.puttingBack(c, o)
			if other, all := e.always(c, o); some && !all && !e.open(c) {
				found = e.restart(area, so.slot, c, o, back, other) || found
			}
		}
	}
	return found
}

// restart says that the settings of override o in a slot count if they come behind override back, and not if they come
// before it or before override other. It reports whether nothing settles that.
func (e *effects) restart(area region, s *slot, c comings, o, back, other int) (found bool) {
	ordered := func(a int) bool { return a == o || e.more(a, o) || e.more(o, a) }
	for _, l := range e.leavesOf(o) {
		if l.slot != s || l.restores || e.outspoken(area, c, o, l) {
			continue
		}
		found = true
		switch {
		case !ordered(back):
			e.contrast(area, back, o, e.chosen(back, s), l)
		case !ordered(other):
			e.contrast(area, other, o, e.chosen(other, s), l)
		default: // what is between those two is lost or not
			e.contrast(area, other, back, e.chosen(other, s), e.chosen(back, s))
			return found
		}
	}
	return found
}

// chosen is the leaf by which an override puts a component into a slot.
func (e *effects) chosen(o int, s *slot) leaf {
	leaves := e.leavesOf(o)
	return leaves[slices.IndexFunc(leaves, func(l leaf) bool { return l.path == "\x00"+s.name+"\x00use" })]
}

// outspoken reports whether others make no difference of whether override o sets a leaf: something more specific,
// or something that sets the same in every order.
func (e *effects) outspoken(area region, cs comings, o int, l leaf) bool {
	for _, c := range area.set {
		above := e.more(c, o)
		if !above && (c == o || e.more(o, c)) {
			continue
		}
		for m := range over(e.byPath(c), l.path) {
			switch {
			case !above:
				if _, all := e.always(cs, c); all && m.path == l.path && !m.against(l) {
					return true
				}
			case !m.chooses || m.path == l.path && l.chooses,
				slices.ContainsFunc(l.uses, func(u use) bool { return u.path == m.path && u.name != m.value }):
				return true
			}
		}
	}
	return false
}
