package stackfile

import "strings"

// Most of a stack file is as it was when it is loaded anew, and most of the work is to decode and check settings. What
// that came to is taken over from the plan before where what was written is the same. It may stand on other lines.

// named names the effect on a slot by what speaks to it.
func (e *effects) named(s *slot, set []int) string {
	var b strings.Builder
	for _, o := range set {
		if e.overrides[o].speaks(s) != nil {
			b.WriteString(e.overrides[o].key)
			b.WriteByte(0)
		}
	}
	return b.String()
}

// madeOf returns the effects on a slot by name, to be added to.
func (e *effects) madeOf(s *slot) map[string]*effect {
	known := e.made[s.name]
	if known == nil {
		known = make(map[string]*effect)
		e.made[s.name] = known
	}
	return known
}

// carry returns the instance for an effect that the plan before has already; nil if it must be worked out.
func (e *effects) carry(f *effect, name string) *planned {
	before := e.before
	if before == nil || before.layers.registry != e.registry || before.dir() != e.source.dir {
		return nil
	}
	was := before.made[f.slot.name][name]
	if was == nil || was.checked == nil || was.def != f.def || was.where != f.where {
		return nil
	}
	t := &transfer{nodes: make(map[*node]*node), places: make(map[pos]pos)}
	t.places[was.at] = f.at
	if !t.same(was.settings, f.settings) {
		return nil
	}
	p, ok := t.planned(was.checked)
	if !ok {
		return nil
	}
	p.walk(func(p *planned) {
		for _, n := range p.secrets {
			e.problems.secret(n)
		}
	})
	return p
}

// transfer tells what in one tree of nodes has the place of what in another.
type transfer struct {
	nodes  map[*node]*node
	places map[pos]pos
}

// same tells whether the same was written.
func (t *transfer) same(a, b *node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.form != b.form || a.tag != b.tag || a.text != b.text || a.where != b.where || (a.raw == nil) != (b.raw == nil) || a.raw != nil && *a.raw != *b.raw ||
		a.pos.source.dir != b.pos.source.dir || len(a.pairs) != len(b.pairs) || len(a.items) != len(b.items) {
		return false
	}
	t.nodes[a] = b
	t.places[a.pos] = b.pos
	for i, p := range a.pairs {
		if q := b.pairs[i]; p.key != q.key || !t.same(p.value, q.value) {
			return false
		}
		t.places[p.keyPos] = b.pairs[i].keyPos
	}
	for i := range a.items {
		if !t.same(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

// planned returns p as it stands in the other tree, with all that it refers to; false if it can't be told.
func (t *transfer) planned(p *planned) (*planned, bool) {
	at, ok := t.places[p.at]
	if !ok || len(p.mounts) > 0 {
		return nil, false
	}
	is := &planned{path: p.path, def: p.def, cfg: p.cfg, at: at, where: p.where, within: p.within}
	for _, o := range p.origins.few {
		n := t.nodes[o.node]
		if n == nil {
			return nil, false
		}
		is.origins.few = append(is.origins.few, origin{o.path, n})
	}
	for path, known := range p.origins.many {
		n := t.nodes[known]
		if n == nil {
			return nil, false
		}
		is.origins.set(path, n)
	}
	for _, known := range p.secrets {
		n := t.nodes[known]
		if n == nil {
			return nil, false
		}
		is.secrets = append(is.secrets, n)
	}
	for _, ref := range p.refs {
		inner, ok := t.planned(ref)
		if !ok {
			return nil, false
		}
		is.refs = append(is.refs, inner)
	}
	identity := p.identity()
	is.once.Do(func() { is.hashed = identity })
	return is, true
}
