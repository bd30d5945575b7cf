package stackfile

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Whether it makes a difference which of two overrides comes first is not for those two to say: what a setting
// comes to depends on the component that it meets, and so on all overrides that name one, or restore the default of what it
// is part of. So all of those that have to do with a setting are laid over each other, in every order that their
// patterns allow.

// maxSteps is how many overrides are laid over each other in all orders, maxTries how many steps are tried for one thing, and
// maxTried for all of a stack file. What isn't known by then is a conflict, which one more specific override ends that says all
// of it: the component with the setting.
const (
	maxSteps = 64 // they are bits
	maxTries = 1 << 14
	maxTried = 1 << 21
)

// A question is whether the order of some overrides makes a difference to what stands at a path.
type question struct {
	path string
	// levels are the places on the way where some of the overrides choose a component.
	levels []level
	// steps are those that may come to something, and before has for each, as bits, those that must come before it.
	steps  []step
	before []uint64
	// values are what they set there, each once.
	values []leaf
	// all are what may stand there, and numbers their numbers, those of the bases first; laid has for each what it comes to
	// after each step, plus one.
	all     []standing
	numbers map[string]int
	bases   int
	laid    [][]int
}

// level is a place where a component may be chosen.
type level struct {
	path string
	// names are the components that are chosen there.
	names []string
	// def is, of a slot, the component that the rest of the path speaks to; what stands there in the end is base.
	def, base string
}

// step is what one override does to what stands at the path.
type step struct {
	override int
	// names are the components that it chooses at the levels; empty for none.
	names []string
	// from is the first level that it sets anew with all below, and name the component that it puts there; none
	// if from is beyond the levels.
	from int
	name string
	// says tells that it has to do with the value, which is 0 for the default, or the number of one of the values.
	says  bool
	value int
}

// standing is what stands at the path: the components on the way to it, empty for the default one, and the value.
type standing struct {
	names []string
	value int
}

func (s standing) key() string { return strings.Join(s.names, "\x00") + "\x00" + strconv.Itoa(s.value) }

// matters reports whether what stands at a path in the end can depend on whether override a or b comes first.
func (e *effects) matters(area region, path string, a, b int) bool {
	q, ok := e.questions[path]
	if !ok {
		q = e.question(area, path, a)
		if e.questions == nil {
			e.questions = make(map[string]*question)
		}
		e.questions[path] = q
	}
	first := slices.IndexFunc(q.steps, func(s step) bool { return s.override == a })
	second := slices.IndexFunc(q.steps, func(s step) bool { return s.override == b })
	switch {
	case first < 0 || second < 0:
		return false // one of them comes to nothing
	case len(q.levels) == 0:
		return q.steps[first].value != q.steps[second].value // any of them may come last
	case len(q.steps) > maxSteps || e.tried > maxTried:
		return true
	}
	// Whatever stands there, if they come to the same one after the other, nobody can tell.
	apart := false
	for on := range q.all {
		apart = apart || q.after(q.after(on, first), second) != q.after(q.after(on, second), first)
	}
	if !apart {
		return false
	}
	o := orders{question: q, first: first, second: second, tried: &e.tried, known: make(map[progress]bool)}
	for base := range q.bases {
		if o.differ(progress{0, base, base}) {
			return true
		}
	}
	return false
}

// question gathers what the overrides of a region do to what stands at a path that override a has to do with.
func (e *effects) question(area region, path string, a int) *question {
	q := &question{path: path, numbers: make(map[string]int)}
	var about []int
	named := false
	for _, o := range area.set {
		if !e.topics[o].meets(&e.topics[a]) {
			continue
		}
		about = append(about, o)
		for l := range over(e.byPath(o), path) {
			switch {
			case l.path == path:
				named = named || l.names
			case l.chooses && !l.free:
				q.choose(l)
			}
		}
	}
	slices.SortFunc(q.levels, func(l, m level) int { return len(l.path) - len(m.path) })
	for i := range q.levels {
		q.levels[i].def, q.levels[i].base = e.slotAt(q.levels[i].path, path)
	}
	for _, o := range about {
		if s, ok := q.step(e.byPath(o), named); ok {
			s.override = o
			q.steps = append(q.steps, s)
		}
	}
	e.prune(q)
	return q
}

// prune leaves out what comes to nothing in any order, since something more specific sets it anew.
func (e *effects) prune(q *question) {
	above := func(s step, f func(step) bool) bool {
		return slices.ContainsFunc(q.steps, func(t step) bool { return f(t) && e.more(t.override, s.override) })
	}
	all := slices.Clone(q.steps)
	for i, s := range all {
		if s.says && s.from == len(q.levels) && above(s, func(t step) bool { return t.says }) {
			all[i].says, all[i].value = false, 0 // nobody asks for the value before it is set again
		}
	}
	q.steps = slices.DeleteFunc(all, func(s step) bool {
		return !s.says && !slices.ContainsFunc(s.names, func(name string) bool { return name != "" })
	})
	for len(q.levels) > 0 && len(q.steps) <= maxSteps {
		final := e.final(q)
		left := slices.DeleteFunc(slices.Clone(q.steps), func(s step) bool {
			return above(s, func(t step) bool {
				return final&(1<<slices.IndexFunc(q.steps, func(u step) bool { return u.override == t.override })) != 0
			})
		})
		done := len(left) == len(q.steps)
		q.steps = left
		if done {
			break
		}
	}
	if len(q.levels) == 0 || len(q.steps) > maxSteps {
		return
	}
	q.before = make([]uint64, len(q.steps))
	for i, s := range q.steps {
		for j, t := range q.steps {
			if e.more(s.override, t.override) {
				q.before[i] |= 1 << j
			}
		}
	}
}

// final returns, as bits, the steps that come to the same whatever was before. It finds all that may stand there in any order.
func (e *effects) final(q *question) (final uint64) {
	q.all, q.laid = nil, nil
	clear(q.numbers)
	for _, base := range q.first() {
		q.number(base)
	}
	q.bases = len(q.all)
	for on := 0; on < len(q.all); on++ {
		for step := range q.steps {
			q.after(on, step)
			if e.tried++; e.tried > maxTried {
				return 0
			}
		}
	}
	for step := range q.steps {
		if !slices.ContainsFunc(q.laid, func(laid []int) bool { return laid[step] != q.laid[0][step] }) {
			final |= 1 << step
		}
	}
	return final
}

// slotAt returns, for the path of a slot, the component that a path beneath it speaks to, and the one that stands there.
func (e *effects) slotAt(slot, path string) (def, base string) {
	for _, s := range e.slots {
		if slot == "\x00"+s.name {
			def, _, _ = strings.Cut(path[len(slot)+len("\x00("):], ")\x00")
			return def, s.def.Name
		}
	}
	return "", ""
}

// choose notes that a leaf on the way chooses a component.
func (q *question) choose(l leaf) {
	i := slices.IndexFunc(q.levels, func(at level) bool { return at.path == l.path })
	if i < 0 {
		i = len(q.levels)
		q.levels = append(q.levels, level{path: l.path})
	}
	if !slices.Contains(q.levels[i].names, l.value) {
		q.levels[i].names = append(q.levels[i].names, l.value)
	}
}

// step returns what an override with these leaves does to what stands at the path; false when it is nothing. Named says
// that what stands there is the name of a component, which what is said beneath it leaves as it is.
func (q *question) step(sorted []leaf, named bool) (s step, ok bool) {
	s = step{names: make([]string, len(q.levels)), from: len(q.levels)}
	for l := range over(sorted, q.path) {
		ok = true
		switch {
		case l.path == q.path:
			s.says = true
			if !l.restores {
				s.value = q.valued(l)
			}
		case l.chooses && l.free: // what stands beneath has no need of it
		case l.chooses:
			s.names[slices.IndexFunc(q.levels, func(at level) bool { return at.path == l.path })] = l.value
		default:
			s.says = true
			for s.from > 0 && len(q.levels[s.from-1].path) >= len(l.path) {
				s.from--
			}
			if l.names && s.from < len(q.levels) && q.levels[s.from].path == l.path {
				s.name = l.value
			}
		}
	}
	if beneath := below(sorted, q.path); !s.says && !named && len(beneath) > 0 {
		s.says, ok = true, true // it makes a map of it
		if beneath[0].free {
			s.value = q.valued(leaf{value: "{}"})
		}
	}
	return s, ok
}

// valued returns the number of what a leaf sets.
func (q *question) valued(l leaf) int {
	i := slices.IndexFunc(q.values, l.same)
	if i < 0 {
		i = len(q.values)
		q.values = append(q.values, l)
	}
	return i + 1
}

// lay returns what stands at the path after a step.
func (q *question) lay(on standing, s step) standing {
	names, value := slices.Clone(on.names), on.value
	anew := func(i int, name string) {
		clear(names[i:])
		names[i], value = name, 0
	}
	for i, at := range q.levels {
		if i == s.from {
			anew(i, s.name)
			return standing{names, value}
		}
		if s.names[i] != "" && s.names[i] != names[i] {
			anew(i, s.names[i])
		}
		if at.def != "" && names[i] != at.def {
			return standing{names, value} // the rest is for another component
		}
	}
	if s.says {
		value = s.value
	}
	return standing{names, value}
}

// first returns what may stand there before all of the overrides. Whether there is a conflict doesn't depend on which components
// the references name there, so there is one if there is for any of them.
func (q *question) first() []standing {
	bases := []standing{{names: make([]string, len(q.levels))}}
	for i, at := range q.levels {
		if at.base != "" {
			bases[0].names[i] = at.base
			if at.base != at.def {
				return bases
			}
			continue
		}
		for _, base := range bases {
			if len(bases) > maxTries {
				return bases // they are tried anyway, and that ends
			}
			for _, name := range at.names {
				names := slices.Clone(base.names)
				names[i] = name
				bases = append(bases, standing{names: names})
			}
		}
	}
	return bases
}

// orders tries the orders of steps in which two of them come one after the other.
type orders struct {
	*question
	first, second int
	tried         *int
	known         map[progress]bool
}

// progress is how far an order has come: the steps that are done, and what stands there; both ways, when the two
// are among them.
type progress struct {
	done     uint64
	one, two int
}

// number returns the number of what stands there.
func (q *question) number(s standing) int {
	key := s.key()
	n, ok := q.numbers[key]
	if !ok {
		n = len(q.all)
		q.numbers[key] = n
		q.all, q.laid = append(q.all, s), append(q.laid, make([]int, len(q.steps)))
	}
	return n
}

// after returns what stands there after a step.
func (q *question) after(on, step int) int {
	if q.laid[on][step] == 0 {
		n := q.number(q.lay(q.all[on], q.steps[step]))
		q.laid[on][step] = n + 1
	}
	return q.laid[on][step] - 1
}

// differ reports whether from here on some order makes a difference in the end.
func (o *orders) differ(p progress) bool {
	two := uint64(1)<<o.first | uint64(1)<<o.second
	switch {
	case o.known[p]:
		return false
	case p.done&two != 0 && p.one == p.two:
		return false
	case bits.OnesCount64(p.done) == len(o.steps):
		return o.all[p.one].value != o.all[p.two].value
	case *o.tried > maxTried || len(o.known) > maxTries:
		return true
	}
	*o.tried++
	o.known[p] = true
	if i := o.anywhere(p); i >= 0 {
		return o.differ(progress{p.done | 1<<i, o.after(p.one, i), o.after(p.two, i)})
	}
	if p.done&two == 0 && (o.before[o.first]|o.before[o.second])&^p.done == 0 &&
		o.differ(progress{p.done | two, o.after(o.after(p.one, o.first), o.second), o.after(o.after(p.two, o.second), o.first)}) {
		return true
	}
	for i := range o.steps {
		if bit := uint64(1) << i; (p.done|two)&bit == 0 && o.before[i]&^p.done == 0 &&
			o.differ(progress{p.done | bit, o.after(p.one, i), o.after(p.two, i)}) {
			return true
		}
	}
	return false
}

// fewSteps are tried in all orders faster than one is found whose place makes no difference.
const fewSteps = 6

// anywhere returns a step that may come next and comes to the same at any later place, so that no other need be tried now; -1 if
// there is none. Such steps are most of many: those that choose a component which stands there from now on.
func (o *orders) anywhere(p progress) int {
	var left []int
	for i := range o.steps {
		if p.done>>i&1 == 0 {
			left = append(left, i)
		}
	}
	if len(left) <= fewSteps {
		return -1
	}
	reached := []int{p.one}
	if p.two != p.one {
		reached = append(reached, p.two)
	}
	for n := 0; n < len(reached); n++ {
		*o.tried++
		for _, i := range left {
			if on := o.after(reached[n], i); !slices.Contains(reached, on) {
				reached = append(reached, on)
			}
		}
	}
	for _, i := range left {
		if i == o.first || i == o.second || o.before[i]&^p.done != 0 {
			continue
		}
		if !slices.ContainsFunc(reached, func(on int) bool {
			*o.tried++
			return slices.ContainsFunc(left, func(j int) bool { return o.after(o.after(on, i), j) != o.after(o.after(on, j), i) })
		}) {
			return i
		}
	}
	return -1
}
