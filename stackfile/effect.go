package stackfile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// effect is what a slot comes to for some URLs: the same for all URLs for which the same
// overrides speak to the slot.
type effect struct {
	slot *slot
	off  bool
	// switched is what switched it on or off last.
	switched pos
	// instance is nil for a slot that is off, and for one with problems.
	instance *planned
	// shown is how the slot is shown to people.
	shown environ.Slot
}

// effects works out effects, each once.
type effects struct {
	*loader
	decoder *decoder
	memo    map[string]*effect
	// covering are, for each override, those that apply wherever it does, and itself.
	covering map[int][]int
}

// addressed returns the component that override o speaks to in a slot: the one that stands
// there wherever o applies.
func (e *effects) addressed(s *slot, o int) *registry.Definition {
	def := s.def
	for _, index := range e.covering[o] {
		if so := e.overrides[index].slots[s.name]; so != nil && so.def != nil {
			def = so.def
		}
	}
	return def
}

// of returns the effect on slot i of the overrides in set, which are in the order in which
// they apply.
func (e *effects) of(i int, set []int) *effect {
	s := e.slots[i]
	var b strings.Builder
	b.WriteString(s.name)
	for _, o := range set {
		if e.overrides[o].slots[s.name] != nil {
			fmt.Fprintf(&b, " %d", o)
		}
	}
	key := b.String()
	if known, ok := e.memo[key]; ok {
		return known
	}
	made := e.make(s, set)
	e.memo[key] = made
	return made
}

func (e *effects) make(s *slot, set []int) *effect {
	f := &effect{slot: s, off: s.off, switched: s.at}
	def, settings, at, where := s.def, s.node, s.at, ""
	for _, index := range set {
		o := e.overrides[index]
		so := o.slots[s.name]
		if so == nil {
			continue
		}
		if so.off != nil {
			f.off, f.switched = *so.off, so.at
		}
		if so.def != nil && so.def != def {
			// Another component begins from its own defaults.
			def, settings, at, where = so.def, nil, so.at, o.key
		}
		// Settings for a component that another override has replaced have nobody to speak to.
		if so.node != nil && e.addressed(s, index) == def {
			settings = e.lay(settings, so.node, def)
		}
	}
	// A slot that is off is checked like any other: it may be switched on tomorrow.
	instance := e.decoder.plan(s.name, def, settings, at, where, "use", "as", "off")
	f.shown = environ.Slot{Name: s.name, Component: def.Name, Kind: string(def.Kind), Off: f.off, Origin: at.String()}
	if f.off {
		f.shown.Origin = f.switched.String()
	}
	if instance != nil {
		f.shown.Settings = shownSettings(instance, "")
	}
	if !f.off {
		f.instance = instance
	}
	return f
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
	patterns := make([]pattern, len(e.overrides))
	for i, o := range e.overrides {
		patterns[i] = o.pattern
	}
	areas, err := regions(patterns)
	if err != nil {
		e.problems.add(e.overrides[0].at, nil, "urls: %s", err)
		return
	}
	plan.patterns, plan.areas = patterns, areas
	own := make(map[string][]int, len(areas))
	for _, area := range areas {
		own[area.pattern.language()] = area.set
	}
	e.covering = make(map[int][]int, len(patterns))
	for i, p := range patterns {
		e.covering[i] = own[p.language()]
	}
	plan.none = e.route(nil, vars, "")
	plan.routes = make([]*route, len(areas))
	for i, area := range areas {
		if i%1024 == 0 && ctx.Err() != nil {
			return
		}
		e.conflicts(area)
		plan.routes[i] = e.route(area.set, vars, area.pattern.example())
	}
}

// route is the chain of one set of overrides.
type route struct {
	effects []*effect
	vars    *node
	shown   *environ.Route
}

func (e *effects) route(set []int, vars *node, example string) *route {
	r := &route{vars: vars, shown: &environ.Route{}}
	for _, o := range set {
		r.vars = mergeFree(r.vars, e.overrides[o].vars)
		r.shown.Patterns = append(r.shown.Patterns, e.overrides[o].key)
	}
	for i := range e.slots {
		f := e.of(i, set)
		r.effects = append(r.effects, f)
		r.shown.Slots = append(r.shown.Slots, f.shown)
	}
	e.needs(r, example)
	return r
}

// needs checks that what each instance needs is provided further out.
func (e *effects) needs(r *route, example string) {
	provided := make(map[string]bool)
	for _, f := range r.effects {
		if f.instance == nil {
			continue
		}
		f.instance.walk(func(p *planned) {
			for _, need := range p.def.Traits(p.cfg).Needs {
				if !provided[need.Name()] {
					e.missing(r, f, p, need.Name(), example)
				}
			}
		})
		for _, key := range f.instance.def.Traits(f.instance.cfg).Provides {
			provided[key.Name()] = true
		}
	}
}

// missing says that something an instance needs isn't provided, and who could.
func (e *effects) missing(r *route, f *effect, p *planned, need, example string) {
	where := []string{f.instance.where}
	if f.instance.where == "" && example != "" && len(e.overrides) > 0 {
		where = []string{example}
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
			e.problems.add(other.switched, where, "%s is off, but %s (line %d) needs its %s; switch it on, or %s off", other.slot.name, p.path, p.at.line, need, f.slot.name)
			return
		case provides && other.instance != nil && other.instance.def != other.slot.def:
			e.problems.add(other.instance.at, where, "%s stands in %s here, and does not provide the %s that %s (line %d) needs", other.instance.def.Name, other.slot.name, need, p.path, p.at.line)
			return
		case provides && after:
			e.problems.add(p.at, where, "%s needs the %s of %s (line %d), which stands further in; it must stand before", p.path, need, other.slot.name, other.slot.at.line)
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
	e.problems.add(p.at, where, "%s needs the %s, which nothing before it provides%s", p.path, need, hint)
}

// walk calls f for p and all that it refers to, the inner ones first.
func (p *planned) walk(f func(*planned)) {
	for _, ref := range p.refs {
		ref.walk(f)
	}
	f(p)
}

// conflicts finds what two overrides that apply together set differently, neither being more
// specific, and nothing more specific settling it.
func (e *effects) conflicts(area region) {
	chain := true
	for i := 1; i < len(area.set); i++ {
		chain = chain && e.overrides[area.set[i]].pattern.moreSpecific(e.overrides[area.set[i-1]].pattern)
	}
	if chain {
		return
	}
	type setter struct {
		override *override
		leaf
	}
	setters := make(map[string][]setter)
	var paths []string
	for _, index := range area.set {
		o := e.overrides[index]
		for _, l := range e.leaves(o) {
			if setters[l.path] == nil {
				paths = append(paths, l.path)
			}
			setters[l.path] = append(setters[l.path], setter{o, l})
		}
	}
	for _, path := range paths {
		all := setters[path]
		for i, b := range all {
			for _, a := range all[:i] {
				settled := a.value == b.value || a.override.pattern.moreSpecific(b.override.pattern) || b.override.pattern.moreSpecific(a.override.pattern) ||
					slices.ContainsFunc(all, func(c setter) bool {
						return c.override.pattern.moreSpecific(a.override.pattern) && c.override.pattern.moreSpecific(b.override.pattern)
					})
				if settled {
					continue
				}
				first, second := a, b
				if second.at.line < first.at.line {
					first, second = b, a
				}
				e.problems.add(second.at, []string{second.override.key}, "%s is %s here and %s for %q (line %d), and both match %s; an override for %q must say which",
					path, second.shown, first.shown, first.override.key, first.at.line, area.pattern.example(), area.pattern.String())
			}
		}
	}
}

// leaf is one thing that an override sets.
type leaf struct {
	// value is compared, shown is told to people.
	path, value, shown string
	at                 pos
}

// leaves returns what an override sets, each setting by itself.
func (e *effects) leaves(o *override) []leaf {
	var found []leaf
	var walk func(path string, n *node, t *registry.Type, at pos)
	walk = func(path string, n *node, t *registry.Type, at pos) {
		if n.form != mapping {
			l := leaf{path: path, value: n.show(), shown: n.show(), at: at}
			switch {
			case t != nil && t.Form == registry.FormSecret:
				l.shown = registry.NewSecret(n.text).String()
			case t != nil && t.Form == registry.FormList && t.Elem.Form != registry.FormString:
				l.shown = n.is() // there may be secrets in it
			}
			found = append(found, l)
			return
		}
		for _, p := range n.pairs {
			walk(path+"."+p.key, p.value, e.inner(t, p.key), p.keyPos)
		}
	}
	if o.vars != nil {
		walk("vars", o.vars, nil, o.vars.pos)
	}
	for _, s := range e.slots {
		so := o.slots[s.name]
		if so == nil {
			continue
		}
		if so.off != nil {
			state := map[bool]string{true: "off", false: "on"}[*so.off]
			found = append(found, leaf{s.name, state, state, so.at})
		}
		if so.node == nil {
			continue
		}
		def := s.def
		if so.def != nil {
			def = so.def
		}
		for _, p := range so.node.pairs {
			if p.key != "off" {
				walk(s.name+"."+p.key, p.value, e.inner(def.Settings, p.key), p.keyPos)
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

// show writes a node on one line, for comparing and for messages.
func (n *node) show() string {
	switch n.form {
	case mapping:
		parts := make([]string, len(n.pairs))
		for i, p := range n.pairs {
			parts[i] = p.key + ": " + p.value.show()
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case list:
		parts := make([]string, len(n.items))
		for i, item := range n.items {
			parts[i] = item.show()
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if n.isNull() {
		return "null"
	}
	return n.text
}

// calls checks that nothing in the stack waits when a server can't bear it.
func (l *loader) calls(plan *Plan) {
	for _, server := range plan.servers {
		if server.def.Traits(server.cfg).Calls != registry.NonBlocking {
			continue
		}
		plan.instances(func(p *planned, _ *effect) {
			if p.def.Traits(p.cfg).Calls == registry.Blocking {
				l.problems.add(p.at, []string{p.where}, "%s may wait, and the server %s (line %d) runs nothing that does; use another server, or another component here",
					p.path, server.def.Name, server.at.line)
			}
		})
	}
}

// processes checks that nothing keeps its state in one process when several shall run.
func (l *loader) processes(plan *Plan) {
	if l.options.Processes < 2 {
		return
	}
	plan.instances(func(p *planned, _ *effect) {
		if p.def.Traits(p.cfg).Processes != registry.SingleProcess {
			return
		}
		var others []string
		for _, d := range l.registry.All() {
			if d.Kind == p.def.Kind && d.Kind != registry.KindMiddleware && d.Kind != registry.KindApp && d.Traits(d.Default()).Processes == registry.ProcessSafe {
				others = append(others, d.Name)
			}
		}
		hint := ""
		if len(others) > 0 {
			hint = "; use " + oneOf(others)
		}
		l.problems.add(p.at, []string{p.where, p.path}, "%s %q keeps its state in one process, but %d are asked for%s", p.def.Kind, p.def.Name, l.options.Processes, hint)
	})
}
