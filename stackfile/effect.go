package stackfile

import (
	"context"
	"encoding/binary"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// effect is what a slot comes to for some URLs: the same for all URLs for which the same
// overrides speak to the slot.
type effect struct {
	slot *slot
	off  bool
	// def stands in the slot, since at; switched is what switched it on or off last.
	def          *registry.Definition
	at, switched pos
	// checked is the instance, nil for one with problems. Instance is the same, but nil for a
	// slot that is off.
	checked, instance *planned
	// settings are what checked was made of, and where is the override that put its component there.
	settings *node
	where    string
	// provides are the environ keys it sets, when it is on.
	provides []string
	// needs are those that it and what it refers to must find; follows says that among them is
	// the one that the stack itself provides.
	needs   []need
	follows bool

	showing sync.Once
	shown   *environ.Slot
}

// need is an environ key that an instance needs.
type need struct {
	instance *planned
	key      string
}

// effects works out effects, each once.
type effects struct {
	*loader
	decoder *decoder
	memo    map[string]*effect
	// made are the effects by slot and by the overrides that speak to it, for the plan after this one; nil where none
	// will be.
	made    map[string]map[string]*effect
	memoVar map[string]*node
	// base has the effect of each slot where no override speaks to it.
	base []*effect
	// speaks are, for each override, the slots it speaks to, by index.
	speaks [][]int
	// topics are the same as bits, and the vars.
	topics []topics
	// leaves are what each override sets, once somebody asked.
	leaves map[int][]leaf
	// sorted are the same by path.
	sorted map[int][]leaf
	// questions are what was asked about a region, by path, and tried counts what was tried to answer them.
	questions map[string]*question
	tried     int
	// covering are, for each override, those that apply wherever it does, and itself.
	covering [][]int
	key      []byte
	touched  []bool
	// laid counts what vars and settings come to where overrides are laid over them, laidVars the vars alone.
	laid, laidVars int
	// places counts the slots of the sets that differ from the stack as it is written.
	places int
}

// maxLaid is how many vars there may be for all sets of overrides together, since what each set comes to is
// kept. A setting, decoded, takes as much memory as some vars do; defaults don't count.
const (
	maxLaid     = 1 << 20
	varsSetting = 4
)

// maxPlaces is how many slots all sets of overrides together may have: each set knows what stands in each of them.
const maxPlaces = 1 << 22

// topics are things that an override can be about, a bit for each slot, one for the vars and one for on_reload.
type topics [maxEntries/64 + 1]uint64

func (t *topics) add(i int) { t[i/64] |= 1 << (i % 64) }

func (t *topics) meets(u *topics) bool {
	for i := range t {
		if t[i]&u[i] != 0 {
			return true
		}
	}
	return false
}

// addressed returns the component that override o speaks to in a slot: the one that stands
// there wherever o applies.
func (e *effects) addressed(s *slot, o int) *registry.Definition {
	def := s.def
	for _, index := range e.covering[o] {
		if so := e.overrides[index].speaks(s); so != nil && so.def != nil {
			def = so.def
		}
	}
	return def
}

// of returns the effect on slot i of the overrides in set, which are in the order in which
// they apply.
func (e *effects) of(i int, set []int) *effect {
	s := e.slots[i]
	e.key = binary.AppendUvarint(e.key[:0], uint64(i))
	for _, o := range set {
		if e.overrides[o].speaks(s) != nil {
			e.key = binary.AppendUvarint(e.key, uint64(o))
		}
	}
	if known, ok := e.memo[string(e.key)]; ok {
		return known
	}
	made := e.make(s, set)
	e.memo[string(e.key)] = made
	if e.made != nil {
		e.madeOf(s)[e.named(s, set)] = made
	}
	return made
}

// vars returns the vars under the overrides in set.
func (e *effects) vars(vars *node, set []int) *node {
	e.key = e.key[:0]
	for _, o := range set {
		if e.overrides[o].vars != nil {
			e.key = binary.AppendUvarint(e.key, uint64(o))
		}
	}
	if len(e.key) == 0 {
		return vars
	}
	if known, ok := e.memoVar[string(e.key)]; ok {
		return known
	}
	for _, o := range set {
		vars = mergeFree(vars, e.overrides[o].vars)
	}
	e.memoVar[string(e.key)] = vars
	count := vars.count(maxLaid)
	e.laid, e.laidVars = e.laid+count, e.laidVars+count
	return vars
}

func (e *effects) make(s *slot, set []int) *effect {
	f := &effect{slot: s, def: s.def, at: s.at, off: s.off, switched: s.at}
	settings, where := s.node, ""
	for _, index := range set {
		o := e.overrides[index]
		so := o.speaks(s)
		if so == nil {
			continue
		}
		if so.off != nil {
			f.off, f.switched = *so.off, so.at
		}
		if so.def != nil && so.def != f.def {
			// Another component begins from its own defaults.
			f.def, f.at, settings, where = so.def, so.at, nil, o.key
		}
		// Settings for a component that another override has replaced have nobody to speak to.
		if so.node != nil && e.addressed(s, index) == f.def {
			settings = e.lay(settings, so.node, f.def)
		}
	}
	e.laid += varsSetting * settings.count(maxLaid)
	// A slot that is off is checked like any other: it may be switched on tomorrow.
	f.settings, f.where = settings, where
	if e.made != nil {
		f.checked = e.carry(f, e.named(s, set))
	}
	if f.checked == nil {
		f.checked = e.decoder.plan(s.name, f.def, settings, f.at, where, entryKeys()...)
	}
	if f.off || f.checked == nil {
		return f
	}
	f.instance = f.checked
	f.instance.walk(func(p *planned) {
		for _, key := range p.def.Traits(p.cfg).Needs {
			if key.Name() == environ.Reached.Name() {
				f.follows = true
				continue
			}
			f.needs = append(f.needs, need{p, key.Name()})
		}
	})
	for _, key := range f.def.Traits(f.instance.cfg).Provides {
		f.provides = append(f.provides, key.Name())
	}
	return f
}

// show returns how the slot is shown to people.
func (f *effect) show() environ.Slot {
	f.showing.Do(func() {
		f.shown = &environ.Slot{Name: f.slot.name, Component: f.def.Name, Kind: string(f.def.Kind), Off: f.off, Origin: f.at.String()}
		if f.off {
			f.shown.Origin = f.switched.String()
		}
		if f.checked != nil {
			f.shown.Settings = shownSettings(f.checked, "")
		}
	})
	return *f.shown
}

// lay merges an override's settings over a slot's.
func (e *effects) lay(base, over *node, def *registry.Definition) *node {
	if base == nil {
		return over
	}
	return e.merger.maps(base, over, func(key string) *registry.Type {
		if f := def.Settings.Field(key); f != nil {
			return f.Type
		}
		return nil
	})
}

// routes works out the chain of every set of overrides that can apply together, and checks
// each.
func (e *effects) routes(ctx context.Context, plan *Plan, vars *node) {
	var before *Plan // whose overrides are the same
	if e.again {
		before = e.before
		e.keep(before, plan)
		if vars.same(before.none.vars) {
			vars = before.none.vars
			e.laid, e.laidVars = e.laid+before.layers.laidVars, before.layers.laidVars
		}
	} else if !e.layOut(plan) {
		return
	}
	plan.layers = &effects{loader: e.loader, decoder: e.decoder, covering: e.covering, speaks: e.speaks}
	defer func() { plan.layers.laidVars = e.laidVars }()
	for i := range e.slots {
		if before != nil && e.kept[i] {
			e.base = append(e.base, before.none.effects[i])
			continue
		}
		e.base = append(e.base, e.of(i, nil))
	}
	plan.none = e.route(nil, vars, func() string { return "" }, nil)
	plan.routes = make([]*route, len(plan.areas))
	for i, area := range plan.areas {
		if i%1024 == 0 && ctx.Err() != nil {
			return
		}
		var was *route
		if before != nil {
			was = before.routes[i]
		} else if e.conflicts(area) {
			continue // what it comes to is open
		}
		if e.laid > maxLaid {
			e.problems.add(e.overrides[0].at, nil, "urls: the overrides come to more than %d vars or %d settings, those that they are laid over counted in for each; they must come to fewer", maxLaid, maxLaid/varsSetting)
			return
		}
		if e.places > maxPlaces {
			e.problems.add(e.overrides[0].at, nil, "urls: the overrides apply together in more than %d ways to a stack of %d entries; they must in fewer, or to fewer entries", maxPlaces/len(e.base), len(e.base))
			return
		}
		plan.routes[i] = e.route(area.set, vars, area.pattern.example, was)
	}
}

// layOut finds where overrides apply, and reports whether it could.
func (e *effects) layOut(plan *Plan) bool {
	if e.laidOut(plan) {
		return true
	}
	patterns := make([]pattern, len(e.overrides))
	for i, o := range e.overrides {
		patterns[i] = o.pattern
	}
	areas, err := regions(patterns)
	if err != nil {
		e.problems.add(e.overrides[0].at, nil, "urls: %s", err)
		return false
	}
	if e.within != "" {
		if e.files.meets += len(areas) - len(patterns); e.files.meets > maxMeets/2 {
			e.problems.add(e.overrides[0].at, nil, "urls: with those of other stacks that are mounted, its patterns overlap in more than %d places; they must in fewer", maxMeets/2)
			return false
		}
	}
	plan.patterns, plan.areas, plan.ways = patterns, areas, new(ways)
	e.cover(patterns, areas)
	e.speak()
	plan.keys = make([]string, len(e.overrides))
	for i, o := range e.overrides {
		plan.keys[i] = o.key
	}
	return true
}

// reloads returns what is said of requests under way by the overrides in set; nil for nothing.
func (e *effects) reloads(set []int) *node {
	said := e.onReloads
	for _, o := range set {
		if over := e.overrides[o].onReload; over != nil {
			said = over
		}
	}
	return said
}

// cover finds which overrides apply wherever another does.
func (e *effects) cover(patterns []pattern, areas []region) {
	e.covering = make([][]int, len(patterns))
	for _, area := range areas {
		// A pattern's own region is the one where it is the last to apply, and no smaller.
		if last := area.set[len(area.set)-1]; area.pattern.covers(patterns[last]) {
			e.covering[last] = area.set
		}
	}
}

// speak notes what each override is about.
func (e *effects) speak() {
	e.speaks = make([][]int, len(e.overrides))
	e.topics = make([]topics, len(e.overrides))
	for n, o := range e.overrides {
		for _, so := range o.slots {
			i := slices.Index(e.slots, so.slot)
			e.speaks[n] = append(e.speaks[n], i)
			e.topics[n].add(i)
		}
		slices.Sort(e.speaks[n])
		if o.vars != nil {
			e.topics[n].add(maxEntries)
		}
		if o.onReload != nil {
			e.topics[n].add(maxEntries + 1)
		}
	}
}

// route is the chain of one set of overrides.
type route struct {
	// set are the overrides, as indexes; effects what the slots come to.
	set     []int
	effects []*effect
	vars    *node
	// onReload is what was said of requests under way; nil for nothing.
	onReload *node
}

// route returns the chain of the overrides in set. Example returns a URL it is for. Was is the chain in the plan before, if
// the overrides there are the same.
func (e *effects) route(set []int, vars *node, example func() string, was *route) *route {
	r := &route{set: set, effects: e.base, onReload: e.reloads(set)}
	if was != nil && vars == e.before.none.vars {
		r.vars = was.vars
	} else {
		r.vars = e.vars(vars, set)
	}
	if e.touched == nil {
		e.touched = make([]bool, len(e.slots))
	}
	for _, o := range set {
		for _, i := range e.speaks[o] {
			if e.touched[i] {
				continue
			}
			e.touched[i] = true
			var f *effect
			if was != nil && e.kept[i] {
				f = was.effects[i]
			} else {
				f = e.of(i, set)
			}
			if f != r.effects[i] {
				if &r.effects[0] == &e.base[0] {
					r.effects = slices.Clone(e.base)
					e.places += len(e.base)
				}
				r.effects[i] = f
			}
		}
	}
	for _, o := range set {
		for _, i := range e.speaks[o] {
			e.touched[i] = false
		}
	}
	e.needs(r, example)
	return r
}

// shown returns how a route is shown to people.
func (p *Plan) shown(r *route) *environ.Route {
	shown := &environ.Route{Slots: make([]environ.Slot, len(r.effects))}
	for _, o := range r.set {
		shown.Patterns = append(shown.Patterns, p.keys[o])
	}
	for i, f := range r.effects {
		shown.Slots[i] = f.show()
	}
	return shown
}

// needs checks that what each instance needs is provided further out.
func (e *effects) needs(r *route, example func() string) {
	for i, f := range r.effects {
		for _, n := range f.needs {
			provided := slices.ContainsFunc(r.effects[:i], func(outer *effect) bool { return slices.Contains(outer.provides, n.key) })
			if !provided {
				e.missing(r, f, n.instance, n.key, example)
			}
		}
	}
}

// missing says that something an instance needs isn't provided, and who could.
func (e *effects) missing(r *route, f *effect, p *planned, need string, example func() string) {
	where := []string{f.instance.where}
	if f.instance.where == "" && len(e.overrides) > 0 {
		where = []string{example()}
	}
	after := false
	for _, other := range r.effects {
		if other == f {
			after = true
			continue
		}
		provides := slices.ContainsFunc(other.slot.def.Traits(other.slot.def.Default()).Provides, func(n environ.Name) bool { return n.Name() == need })
		switch {
		case provides && other.off:
			e.problems.report(ruleNeeds, other.switched, where, "%s is off, but %s (%s) needs its %s; switch it on, or %s off", other.slot.name, p.path, p.at.seenFrom(other.switched), need, f.slot.name)
			return
		case provides && other.instance != nil && other.instance.def != other.slot.def:
			e.problems.report(ruleNeeds, other.instance.at, where, "%s stands in %s here, and does not provide the %s that %s (%s) needs", other.instance.def.Name, other.slot.name, need, p.path, p.at.seenFrom(other.instance.at))
			return
		case provides && after:
			e.problems.report(ruleNeeds, p.at, where, "%s needs the %s of %s (%s), which stands further in; it must stand before", p.path, need, other.slot.name, other.slot.at.seenFrom(p.at))
			return
		}
	}
	var providers []string
	for _, d := range e.registry.All() {
		if slices.ContainsFunc(d.Traits(d.Default()).Provides, func(n environ.Name) bool { return n.Name() == need }) {
			providers = append(providers, d.Name)
		}
	}
	hint := "; no component compiled into this program provides it"
	if len(providers) > 0 {
		hint = "; put " + oneOf(providers) + " before it"
	}
	e.problems.report(ruleNeeds, p.at, where, "%s needs the %s, which nothing before it provides%s", p.path, need, hint)
}

// walk calls f for p and all that it refers to, the inner ones first.
func (p *planned) walk(f func(*planned)) {
	for _, ref := range p.refs {
		ref.walk(f)
	}
	f(p)
}

// conflicts finds what two overrides that apply together set differently, neither being more
// specific, and nothing more specific settling it. It reports whether there is such a thing.
func (e *effects) conflicts(area region) (found bool) {
	e.questions = nil
	for n, b := range area.set {
		for _, a := range area.set[:n] {
			if e.topics[a].meets(&e.topics[b]) && !e.more(b, a) && !e.more(a, b) {
				found = e.conflict(area, a, b) || found
			}
		}
	}
	return found
}

// more reports whether override a is more specific than b.
func (e *effects) more(a, b int) bool {
	return e.overrides[a].pattern.moreSpecific(e.overrides[b].pattern)
}

// conflict finds what overrides a and b set differently.
func (e *effects) conflict(area region, a, b int) (found bool) {
	said := ""
	for _, path := range e.contested(area, a, b) {
		switch {
		case said != "" && strings.HasPrefix(path, said+"\x00"):
			// It follows from what stands above it.
		case e.matters(area, path, a, b):
			found, said = true, path
			e.contrast(area, a, b, e.nearest(a, path), e.nearest(b, path))
		}
	}
	return found
}

// contested returns the paths, sorted, of all that may come out differently, depending on whether override a or
// b comes first.
func (e *effects) contested(area region, a, b int) (paths []string) {
	of := e.byPath(a)
	for _, second := range e.leavesOf(b) {
		for first := range related(of, second.path) {
			if !first.against(second) {
				continue
			}
			deeper := second
			if len(first.path) > len(second.path) || len(first.path) == len(second.path) && first.names {
				deeper = first
			}
			paths = append(paths, deeper.path)
			if !deeper.names {
				continue
			}
			// What others say counts or not, depending on the component that it meets.
			for _, o := range area.set {
				for _, l := range below(e.byPath(o), deeper.path) {
					paths = append(paths, l.path)
				}
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// nearest returns the leaf of override o that has most to do with a path.
func (e *effects) nearest(o int, path string) (nearest leaf) {
	for l := range related(e.byPath(o), path) {
		if nearest.path == "" || len(l.path) <= len(path) {
			nearest = l
		}
	}
	return nearest
}

// contrast says that overrides a and b set something differently.
func (e *effects) contrast(area region, a, b int, first, second leaf) {
	if len(e.problems.list) == maxProblems {
		e.problems.more++ // each is found once
		return
	}
	if first.at.compare(second.at) > 0 {
		a, b, first, second = b, a, second, first
	}
	if n, m := first.node, second.node; first.path == second.path && n != nil && m != nil && first.shown == n.show() && second.shown == n.show() {
		first.shown, second.shown = n.line(true), m.line(true) // they differ in what is a text
	}
	e.problems.report(ruleConflict, second.at, []string{e.overrides[b].key}, "%s is %s here and %s%s for %q (%s), and both match %s; an override for %q must say which",
		second.name(), second.shown, first.other(second), first.shown, e.overrides[a].key, first.at.seenFrom(second.at), area.pattern.example(), area.pattern.String())
}

// byPath returns what an override sets, sorted by path.
func (e *effects) byPath(o int) []leaf {
	sorted, ok := e.sorted[o]
	if !ok {
		sorted = slices.Clone(e.leavesOf(o))
		slices.SortStableFunc(sorted, func(l, m leaf) int { return strings.Compare(l.path, m.path) })
		e.sorted[o] = sorted
	}
	return sorted
}

// related yields those leaves that stand at a path, on the way to it, or below it.
func related(sorted []leaf, path string) iter.Seq[leaf] {
	return func(yield func(leaf) bool) {
		for l := range over(sorted, path) {
			if !yield(l) {
				return
			}
		}
		for _, l := range below(sorted, path) {
			if !yield(l) {
				return
			}
		}
	}
}

// below returns those leaves that stand below a path.
func below(sorted []leaf, path string) []leaf {
	from, to := firstAt(sorted, path+"\x00"), firstAt(sorted, path+"\x01")
	return sorted[from:to]
}

// over yields those leaves that stand at a path or on the way to it.
func over(sorted []leaf, path string) iter.Seq[leaf] {
	return func(yield func(leaf) bool) {
		for at := 1; at <= len(path); at++ {
			if at < len(path) && path[at] != 0 {
				continue
			}
			for _, l := range sorted[firstAt(sorted, path[:at]):] {
				if l.path != path[:at] {
					break
				}
				if !yield(l) {
					return
				}
			}
		}
	}
}

func firstAt(sorted []leaf, path string) int {
	i, _ := slices.BinarySearchFunc(sorted, path, func(l leaf, path string) int { return strings.Compare(l.path, path) })
	return i
}

// leaf is one thing that an override sets.
type leaf struct {
	// path has the keys that lead to it, each behind a NUL.
	path string
	// names says that it names the component that stands there. So does use: beside settings, which chooses
	// one and leaves what was said to the same one before. A map in a map of them chooses to be there, and an
	// empty map among the vars to be one.
	names, chooses bool
	// value is compared, or node where there is one; shown is told to people.
	value, shown string
	node         *node
	at           pos
	// restores says that it is a null that restores a default, free that it is a var.
	restores, free bool
	// uses are what the same override chooses on the way to it.
	uses []use
}

// use is a component named by use:, in a slot or in a reference.
type use struct{ path, name string }

// governs reports whether l takes away whatever else was said of m.
func (l leaf) governs(m leaf) bool {
	return m.path == l.path || strings.HasPrefix(m.path, l.path+"\x00")
}

// against reports whether it may make a difference which of two leaves is laid first.
func (l leaf) against(m leaf) bool {
	switch {
	case l.path == m.path:
		return !l.same(m)
	case l.restores && m.restores:
		return false
	case l.governs(m):
		return !l.chooses || !l.free && !slices.Contains(m.uses, use{l.path, l.value})
	case m.governs(l):
		return !m.chooses || !m.free && !slices.Contains(l.uses, use{m.path, m.value})
	}
	return false
}

// same reports whether two leaves of one path set the same.
func (l leaf) same(m leaf) bool {
	if l.node != nil && m.node != nil {
		return l.node.equals(m.node, l.free)
	}
	return l.value == m.value && l.node == m.node
}

// name is what people call it.
func (l leaf) name() string {
	var keys []string
	for key := range strings.SplitSeq(l.path[1:], "\x00") {
		if key != "" && key[0] != '(' {
			keys = append(keys, key)
		}
	}
	if l.chooses && !l.free && len(keys) == 1 {
		keys = append(keys, "use") // in a slot
	}
	return strings.Join(keys, ".")
}

// other returns the name of l and "is" where that is not the name of m.
func (l leaf) other(m leaf) string {
	if l.name() == m.name() {
		return ""
	}
	return l.name() + " is "
}

func (e *effects) leavesOf(o int) []leaf {
	found, ok := e.leaves[o]
	if !ok {
		found = e.findLeaves(o)
		e.leaves[o] = found
	}
	return found
}

// findLeaves returns what an override sets, each setting by itself.
func (e *effects) findLeaves(index int) []leaf {
	o := e.overrides[index]
	var found []leaf
	var walk func(path string, uses []use, n *node, t *registry.Type, at pos)
	walk = func(path string, uses []use, n *node, t *registry.Type, at pos) {
		ref := t != nil && t.Form == registry.FormRef
		if n.form != mapping {
			l := leaf{path: path, node: n, shown: n.show(), at: at, restores: t != nil && n.isNull(), free: t == nil, uses: uses}
			switch {
			case ref && n.form == scalar && !n.isNull():
				l.names, l.value, l.node = true, n.text, nil
			case t != nil && t.Form == registry.FormSecret:
				l.shown = registry.NewSecret(n.text).String()
			case t != nil && t.Form == registry.FormList && t.Elem.Form != registry.FormString:
				l.shown = n.is() // there may be secrets in it
			}
			found = append(found, l)
			return
		}
		if len(n.pairs) == 0 && t == nil {
			// Among vars an empty map differs from what is no map; as a setting it says nothing.
			found = append(found, leaf{path: path, chooses: true, value: "{}", shown: "{}", at: at, free: true, uses: uses})
		}
		if ref {
			if named := n.pair("use"); named != nil {
				name := named.value.text
				uses = append(slices.Clip(uses), use{path, name})
				found = append(found, leaf{path: path, value: name, shown: name, at: named.keyPos, names: true, chooses: true, uses: uses})
			}
		}
		for _, p := range n.pairs {
			inner, within := path+"\x00"+p.key, uses
			switch {
			case ref && p.key == "use":
				continue
			case t != nil && t.Form == registry.FormStack && p.key != "vars":
				// It is replaced as a whole. There may be secrets in it.
				found = append(found, leaf{path: inner, node: p.value, shown: p.value.is(), at: p.keyPos, free: true, uses: uses})
				continue
			case t != nil && t.Form == registry.FormMap && t.Elem.Form != registry.FormRef && p.value.form == mapping:
				within = append(slices.Clip(uses), use{inner, "{}"})
				found = append(found, leaf{path: inner, value: "{}", shown: p.value.is(), at: p.keyPos, names: true, chooses: true, uses: within})
			}
			walk(inner, within, p.value, e.inner(t, p.key), p.keyPos)
		}
	}
	if o.vars != nil {
		walk("\x00vars", nil, o.vars, nil, o.vars.pos)
	}
	if n := o.onReload; n != nil {
		found = append(found, leaf{path: "\x00" + onReloadKey, value: string(n.reloading()), shown: string(n.reloading()), at: n.pos})
	}
	for _, i := range e.speaks[index] {
		s := e.slots[i]
		so := o.speaks(s)
		if so.off != nil {
			state := map[bool]string{true: "off", false: "on"}[*so.off]
			found = append(found, leaf{path: "\x00(off)\x00" + s.name, value: state, shown: state, at: so.at})
		}
		slot, uses := "\x00"+s.name, []use(nil)
		if so.def != nil {
			uses = []use{{slot, so.def.Name}}
			found = append(found, leaf{path: slot, value: so.def.Name, shown: so.def.Name, at: so.node.pair("use").keyPos, names: true, chooses: true, uses: uses})
		}
		if so.node == nil {
			continue
		}
		// Settings for different components don't meet.
		def := e.addressed(s, index)
		for _, p := range so.node.pairs {
			if p.key != "off" && p.key != "use" {
				walk(slot+"\x00("+def.Name+")\x00"+p.key, uses, p.value, e.inner(def.Settings, p.key), p.keyPos)
			}
		}
	}
	return found
}

// inner returns the type of what stands under a key of a t; nil when unknown.
func (e *effects) inner(t *registry.Type, key string) *registry.Type {
	switch {
	case t == nil:
		return nil
	case t.Form == registry.FormMap:
		return t.Elem
	case t.Form == registry.FormRef:
		// Which component it is may be said elsewhere. A key that is a secret of one of them is
		// treated as one.
		var found *registry.Type
		for _, def := range e.registry.All() {
			if f := def.Settings.Field(key); def.Kind == t.Kind && f != nil && (found == nil || f.Type.Form == registry.FormSecret) {
				found = f.Type
			}
		}
		return found
	}
	if f := t.Field(key); f != nil {
		return f.Type
	}
	return nil
}

// equals reports whether two nodes set the same. As a var, 1 is not "1"; as a setting, one value is a list of it.
func (n *node) equals(m *node, free bool) bool {
	switch {
	case !free && n.form == scalar && m.form == list && len(m.items) == 1:
		return n.equals(m.items[0], free)
	case !free && n.form == list && m.form == scalar && len(n.items) == 1:
		return n.items[0].equals(m, free)
	case n.form != m.form || n.isNull() != m.isNull() || free && n.tag != m.tag:
		return false
	case n.form == list:
		return slices.EqualFunc(n.items, m.items, func(n, m *node) bool { return n.equals(m, free) })
	case n.form == mapping:
		return len(n.pairs) == len(m.pairs) && !slices.ContainsFunc(n.pairs, func(p pair) bool {
			v := m.get(p.key)
			return v == nil || !p.value.equals(v, free)
		})
	}
	return n.isNull() || n.text == m.text
}

// show writes a node on one line, for messages.
func (n *node) show() string { return n.line(false) }

// line writes a node on one line, its texts in quotes if these are asked for. Then it is another for another node.
func (n *node) line(quotes bool) string {
	switch n.form {
	case mapping:
		parts := make([]string, len(n.pairs))
		for i, p := range n.pairs {
			key := p.key
			if quotes && strings.ContainsAny(key, `:,{}[]"`) {
				key = strconv.Quote(key)
			}
			parts[i] = key + ": " + p.value.line(quotes)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case list:
		parts := make([]string, len(n.items))
		for i, item := range n.items {
			parts[i] = item.line(quotes)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if n.isNull() {
		return "null"
	}
	if quotes && n.tag == tagText {
		return strconv.Quote(n.text)
	}
	return n.text
}
