package stackfile

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Check is [Load] for somebody who wants to be told everything. It returns the problems that Load
// does, and beside them the warnings that no comment allows; none for a stack that is as it should
// be. With [Options].Allowed it returns those that a comment allows, too.
//
// With environment it also looks at the machine that it runs on: whether folders are there, upstreams
// answer, and addresses are free. It takes no longer than [EnvironmentTimeout] for that. Without, it is as pure as
// Load.
func Check(ctx context.Context, reg *registry.Registry, path string, o Options, environment bool) (Problems, error) {
	plan, files, ps := load(ctx, reg, path, o)
	faulty := len(ps.list) > 0
	if plan != nil && plan.none != nil {
		all := newLinter(ctx, plan, plan, ps).all(ctx)
		for _, c := range all {
			c.warn(ctx, faulty)
		}
		if environment {
			look(ctx, all)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: the check was given up: %w", path, context.Cause(ctx))
	}
	ps.allow(files.comments, o.Allowed, func(rule string) bool {
		return !faulty && (environment || rule != ruleEnvironment && rule != ruleReadable)
	})
	found, _ := errors.AsType[Problems](ps.err())
	return found, nil
}

// linter looks at what a load came to for what is legal and hardly wanted.
type linter struct {
	*effects
	plan  *Plan
	found *problems
	site  registry.Site
	// public says which server others may reach.
	public string
	// word is a segment, a label and a method that no pattern names, and deepest how many segments
	// the longest pattern has.
	word    string
	deepest int
	// areasOf are, for each override, the areas in which it applies.
	areasOf [][]int32
}

// newLinter returns the linter of a plan, which adds what it finds to ps. A mounted stack is served by the servers of
// the outer one.
func newLinter(ctx context.Context, plan, outer *Plan, ps *problems) *linter {
	// What it tries out is nobody's problem.
	l, d := *plan.layers.loader, *plan.layers.decoder
	l.problems = &problems{}
	d.problems, d.mounted = l.problems, func(n *node, within string) *Plan { return l.mounted(ctx, n, within) }
	e := &effects{loader: &l, decoder: &d, memo: make(map[string]*effect), memoVar: make(map[string]*node), leaves: make(map[int][]leaf), sorted: make(map[int][]leaf), covering: plan.layers.covering, speaks: plan.layers.speaks}
	c := &linter{effects: e, plan: plan, found: ps, word: "X"}
	for keys := strings.ToUpper(strings.Join(plan.keys, " ")); strings.Contains(keys, c.word); {
		c.word += "X"
	}
	for _, p := range plan.patterns {
		c.deepest = max(c.deepest, len(p.segments))
	}
	for _, s := range outer.servers {
		site, listens := siteOf(s)
		if site.Public && !c.site.Public {
			c.public = fmt.Sprintf("%s listens on %s", s.path, listens)
		}
		c.site.Public = c.site.Public || site.Public
		c.site.Clear = c.site.Clear || site.Clear
	}
	return c
}

// all returns c and the linters of the stacks that are mounted in it, at any depth, each once.
func (c *linter) all(ctx context.Context) []*linter {
	linters := []*linter{c}
	seen := make(map[*Plan]bool)
	for i := 0; i < len(linters); i++ {
		linters[i].eachEffect(func(f *effect) {
			if f.checked == nil {
				return
			}
			f.checked.walk(func(p *planned) {
				for _, m := range p.mounts {
					if !seen[m.plan] && m.plan.none != nil {
						seen[m.plan] = true
						linters = append(linters, newLinter(ctx, m.plan, c.plan, c.found))
					}
				}
			})
		})
	}
	return linters
}

// siteOf tells of one server where it can be reached, and on which address.
func siteOf(s *planned) (site registry.Site, listens registry.Address) {
	addresses, _ := s.listen()
	for _, a := range addresses {
		if a.Public() {
			return registry.Site{Public: true, Clear: !s.def.Traits(s.cfg).TLS}, a
		}
	}
	return registry.Site{}, ""
}

// warn looks at everything. What a plan comes to as a whole is left out when it has faults.
func (c *linter) warn(ctx context.Context, faulty bool) {
	for _, s := range c.plan.servers {
		site, _ := siteOf(s)
		s.walk(func(p *planned) { c.settings(p, site, "") })
	}
	reached := c.withoutTLS()
	c.eachEffect(func(f *effect) {
		if f.checked != nil {
			f.checked.walk(c.secrets)
		}
		if f.instance != nil {
			site := registry.Site{Public: c.site.Public}
			_, site.Clear = reached[f]
			f.instance.walk(func(p *planned) { c.settings(p, site, c.public) })
		}
	})
	for _, s := range c.plan.servers {
		s.walk(c.secrets)
	}
	if c.plan.checks.Lint && c.public != "" {
		c.found.report(ruleDevelopment, c.linterAt, []string{"check"}, "lint is on, which costs time and is for development; it should be off where others can reach the server (%s)", c.public)
	}
	for _, r := range c.chains() {
		c.order(r)
	}
	if faulty || ctx.Err() != nil {
		return
	}
	c.slotsOff()
	c.bareHosts()
	c.gaps()
	for i := range c.overrides {
		if i%256 == 0 {
			if ctx.Err() != nil {
				return
			}
			// What was worked out for these overrides is hardly wanted for the next.
			clear(c.memo)
			clear(c.memoVar)
			if len(c.leaves) > 4096 {
				clear(c.leaves)
				clear(c.sorted)
			}
		}
		if !c.unreachable(i) {
			c.same(i)
		}
	}
}

// chains returns all, that of no override first.
func (c *linter) chains() []*route {
	return slices.DeleteFunc(append([]*route{c.plan.none}, c.plan.routes...), func(r *route) bool { return r == nil })
}

// eachEffect calls f once for each thing that a slot comes to, in the order of the stack.
func (c *linter) eachEffect(f func(*effect)) {
	seen := make(map[*effect]bool)
	for _, r := range c.chains() {
		for _, e := range r.effects {
			if !seen[e] {
				seen[e] = true
				f(e)
			}
		}
	}
}

// withoutTLS returns what a request that came without TLS gets to, for some URL, and whether it gets no further.
func (c *linter) withoutTLS() map[*effect]bool {
	reached := make(map[*effect]bool)
	if !c.site.Clear {
		return reached
	}
	for _, r := range c.chains() {
		for _, f := range r.effects {
			last, seen := reached[f]
			if !seen {
				last = f.instance != nil && f.def.Traits(f.instance.cfg).TLS
				reached[f] = last
			}
			if last {
				break
			}
		}
	}
	return reached
}

// place returns where a setting was written, or else where the component was.
func (p *planned) place(setting string) (at pos, where string) {
	for path := setting; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		if n := p.origins.at(path); n != nil {
			return n.pos, n.where
		}
	}
	return p.at, p.where
}

// settings lets the settings of an instance warn. Public is which server others may reach, if that
// isn't the instance itself.
func (c *linter) settings(p *planned, site registry.Site, public string) {
	alone := p.def.Warnings(p.cfg, registry.Site{})
	for _, w := range p.def.Warnings(p.cfg, site) {
		at, where := p.place(w.Setting)
		text := strings.TrimSpace(w.Setting + " " + w.Problem)
		if public != "" && !slices.Contains(alone, w) {
			text += " (" + public + ")"
		}
		c.found.report(string(w.Concern), at, []string{where, p.full()}, "%s", text)
	}
}

// secrets finds those of an instance that stand in the file.
func (c *linter) secrets(p *planned) {
	if len(p.secrets) == 0 {
		return
	}
	for _, path := range p.origins.paths() {
		n := p.origins.at(path)
		if n.form == scalar && n.text != "" && !n.expanded() && secretAt(p.def.Settings, path) {
			c.found.report(ruleSecretClear, n.pos, []string{n.where, p.full()}, "%s is written into the stack file; keep it out, by ${file:path} or ${env:NAME}", path)
		}
	}
}

// secretAt reports whether the setting at a path within a t is a secret.
func secretAt(t *registry.Type, path string) bool {
	switch {
	case path == "":
		return t.Form == registry.FormSecret
	case path[0] == '[':
		_, rest, _ := strings.Cut(path, "]")
		return t.Elem != nil && secretAt(t.Elem, rest)
	}
	path = strings.TrimPrefix(path, ".")
	end := strings.IndexAny(path+".", ".[")
	f := t.Field(path[:end])
	return f != nil && secretAt(f.Type, path[end:])
}

// order finds what stands outside of what it makes use of.
func (c *linter) order(r *route) {
	for i, f := range r.effects {
		if f.instance == nil {
			continue
		}
		f.instance.walk(func(p *planned) {
			for _, key := range p.def.Traits(p.cfg).Uses {
				provides := func(e *effect) bool { return slices.Contains(e.provides, key.Name()) }
				if slices.ContainsFunc(r.effects[:i], provides) {
					continue
				}
				if inner := slices.IndexFunc(r.effects[i+1:], provides); inner >= 0 {
					other := r.effects[i+1+inner]
					c.found.report(ruleOrder, p.at, []string{p.where}, "%s makes use of the %s of %s (%s), which stands further in; it should stand before",
						p.full(), key.Name(), other.slot.name, other.slot.at.seenFrom(p.at))
				}
			}
		})
	}
}

// bareHosts finds paths that lack their first slash, and so are taken for hosts.
func (c *linter) bareHosts() {
	for _, o := range c.overrides {
		host := o.pattern.host
		if host == "" || host == "localhost" || strings.ContainsAny(host, ".:") {
			continue
		}
		path := strings.TrimSpace(strings.TrimPrefix(o.key, o.pattern.method))
		c.found.report(ruleBareHost, o.at, []string{o.key}, "the pattern is for the host %q; for that path it must begin with a slash: %q", host, "/"+path)
	}
}

// slotsOff finds what is on for no URL.
func (c *linter) slotsOff() {
	for i, s := range c.slots {
		if !slices.ContainsFunc(c.chains(), func(r *route) bool { return !r.effects[i].off }) {
			c.found.report(ruleSlotOff, s.at, nil, "%s is off for every URL; switch it on under urls, or take it out", s.name)
		}
	}
}

// requests calls f for requests that a pattern matches: for all that it leaves open, with what no other
// pattern names. Whatever the patterns say of all requests of one shape, they say of the one that f
// gets. It goes on until f returns false.
func (c *linter) requests(p pattern, f func(method, host, path string) bool) {
	methods := []string{p.method}
	switch p.method {
	case "":
		methods = []string{c.word}
	case "GET":
		methods = []string{"GET", "HEAD"}
	}
	host := p.host
	if strings.HasPrefix(host, ".") {
		host = strings.ToLower(c.word) + host
	}
	path, open := "", false
	for _, s := range p.segments {
		path += "/"
		switch s.kind {
		case segmentLiteral:
			path += s.text
		case segmentOne:
			path += c.word
		case segmentRest:
			open = true
		}
	}
	for _, method := range methods {
		if !open {
			if !f(method, host, path) {
				return
			}
			continue
		}
		for depth := c.deepest - len(p.segments) + 1; depth >= 0; depth-- {
			rest := strings.Join(slices.Repeat([]string{c.word}, depth), "/")
			if depth > 0 && !f(method, host, path+rest+"/") || !f(method, host, path+rest) {
				return
			}
		}
	}
}

// unreachable reports whether all that an override says is settled by more specific ones.
func (c *linter) unreachable(index int) bool {
	leaves := c.leavesOf(index)
	if len(leaves) == 0 {
		return false
	}
	p := c.plan.patterns[index]
	var settling []int
	reached, asked := false, false
	c.requests(p, func(method, host, path string) bool {
		set := c.plan.find(method, host, path).set
		if !slices.Contains(set, index) {
			return true // the request isn't one that the pattern matches after all
		}
		asked = true
		for _, l := range leaves {
			by := c.settling(index, l, set)
			if by < 0 {
				reached = true
				return false
			}
			settling = append(settling, by)
		}
		return true
	})
	if reached || !asked {
		return false
	}
	slices.SortFunc(settling, func(a, b int) int { return c.overrides[a].at.compare(c.overrides[b].at) })
	var names []string
	for _, o := range slices.Compact(settling) {
		names = append(names, fmt.Sprintf("%q (%s)", c.overrides[o].key, c.overrides[o].at.seenFrom(c.overrides[index].at)))
	}
	c.found.report(ruleUnreachable, c.overrides[index].at, []string{c.overrides[index].key}, "the override comes to nothing: wherever it matches, %s %s the last word on all that it says",
		strings.Join(names[:len(names)-1], ", ")+map[bool]string{true: " and "}[len(names) > 1]+names[len(names)-1], map[bool]string{true: "have", false: "has"}[len(names) > 1])
	return true
}

// settling returns a more specific override in the set that settles a leaf of override index, or -1.
func (c *linter) settling(index int, l leaf, set []int) int {
	for _, o := range set {
		if !c.plan.patterns[o].moreSpecific(c.plan.patterns[index]) {
			continue
		}
		if slices.ContainsFunc(c.leavesOf(o), func(m leaf) bool { return m.path == l.path || !m.chooses && m.governs(l) }) {
			return o
		}
	}
	return -1
}

// gaps finds guards that something slips by.
func (c *linter) gaps() {
	for index, o := range c.overrides {
		p := c.plan.patterns[index]
		for _, so := range o.slots {
			if so.off == nil || *so.off {
				continue
			}
			i := slices.Index(c.slots, so.slot)
			// What holds in the override's own region, and beside it.
			own := c.of(i, c.covering[index])
			if own.instance == nil || !own.def.Traits(own.instance.cfg).Guards {
				continue
			}
			beside := func(method, host, path string) bool { return c.plan.find(method, host, path).effects[i].off }
			at, where := so.at, []string{o.key}
			method := p.method
			if method == "" {
				method = c.word
			} else {
				all := p
				all.method = ""
				c.requests(all, func(_, host, path string) bool {
					if beside(c.word, host, path) {
						c.found.report(ruleGuardGap, at, where, "%s is on for the method %s, and off for others; write the pattern without a method", so.slot.name, p.method)
					}
					return false
				})
			}
			last := len(p.segments) - 1
			if last == 0 || p.segments[last].kind != segmentRest {
				continue
			}
			bare := p
			bare.segments = p.segments[:last]
			c.requests(bare, func(_, host, path string) bool {
				if beside(method, host, path) {
					c.found.report(ruleGuardGap, at, where, "%s is on below %s, and off for %s itself, which is another path; write an override for that, too", so.slot.name, o.key, bare.String())
				}
				return false
			})
		}
	}
}

// same finds what an override says that would hold without it.
func (c *linter) same(index int) {
	o := c.overrides[index]
	for _, i := range c.speaks[index] {
		so := o.speaks(c.slots[i])
		seen := make(map[[2]*effect]bool)
		c.inVain(index, func(other *override) bool { return other.speaks(so.slot) != nil }, func(set, rest []int) (same []sameLeaf, again bool) {
			both := [2]*effect{c.of(i, rest), c.of(i, set)}
			if seen[both] {
				return nil, true
			}
			seen[both] = true
			return c.sameSettings(index, so, both[0], both[1]), false
		})
	}
	if o.onReload != nil {
		c.inVain(index, func(other *override) bool { return other.onReload != nil }, func(set, rest []int) ([]sameLeaf, bool) {
			before := c.reloads(rest)
			value := reloadFacts(before)[0].value
			if value != reloadFacts(c.reloads(set))[0].value {
				return nil, false
			}
			since := ", by default"
			if before != nil {
				since = " (" + before.pos.seenFrom(o.onReload.pos) + ")"
			}
			return []sameLeaf{{at: o.onReload.pos, text: onReloadKey + " is " + value + " already", since: since}}, false
		})
	}
	if o.vars != nil && o.vars.form == mapping {
		seen := make(map[*node]bool)
		c.inVain(index, func(other *override) bool { return other.vars != nil }, func(_, rest []int) (same []sameLeaf, again bool) {
			before := c.vars(c.plan.none.vars, rest)
			if before == nil || seen[before] {
				return nil, before != nil
			}
			seen[before] = true
			return sameVars(o.vars, before), false
		})
	}
}

// inVain reports what an override says in vain about a topic. What is in vain in its own region may make a difference
// where it meets another override, so it must be in vain there, too. Same tells what is, under a set of
// overrides and without this one, or that it has told the same before.
func (c *linter) inVain(index int, about func(o *override) bool, same func(set, rest []int) (same []sameLeaf, again bool)) {
	in := func(set []int) ([]sameLeaf, bool) {
		rest, ok := c.without(index, set, about)
		if !ok {
			return nil, false
		}
		return same(set, rest)
	}
	found, _ := in(c.covering[index])
	for _, area := range c.areas(index) {
		if len(found) == 0 {
			return
		}
		set := c.plan.areas[area].set
		there, again := in(set)
		if again {
			continue
		}
		kept := make(map[pos]bool, len(there))
		for _, l := range there {
			kept[l.at] = true
		}
		found = slices.DeleteFunc(found, func(l sameLeaf) bool { return !kept[l.at] })
	}
	for _, l := range found {
		c.found.report(ruleSame, l.at, []string{c.overrides[index].key}, "%s%s; leave it out", l.text, l.since)
	}
}

// areas returns those of the plan in which an override applies.
func (c *linter) areas(index int) []int32 {
	if c.areasOf == nil {
		c.areasOf = make([][]int32, len(c.overrides))
		for i, area := range c.plan.areas {
			for _, o := range area.set {
				c.areasOf[o] = append(c.areasOf[o], int32(i))
			}
		}
	}
	return c.areasOf[index]
}

// sameLeaf is a thing that an override says and that holds without it.
type sameLeaf struct {
	at   pos
	text string // what is what
	// since tells who else says so.
	since string
}

// without returns a set less one override; ok is false when what remains needs that one to settle what it says of a
// topic.
func (c *linter) without(index int, set []int, about func(o *override) bool) (rest []int, ok bool) {
	rest = slices.DeleteFunc(slices.Clone(set), func(o int) bool { return o == index })
	for n, b := range rest {
		for _, a := range rest[:n] {
			if about(c.overrides[a]) && about(c.overrides[b]) && !c.plan.patterns[b].moreSpecific(c.plan.patterns[a]) {
				return nil, false
			}
		}
	}
	return rest, true
}

// sameSettings returns what an override says to a slot in vain, which is after under the override, and before without.
func (c *linter) sameSettings(index int, so *slotOverride, before, after *effect) []sameLeaf {
	var found []sameLeaf
	if so.off != nil && before.off == after.off {
		state := map[bool]string{true: "off", false: "on"}[before.off]
		found = append(found, sameLeaf{at: so.at, text: so.slot.name + " is " + state + " already", since: " (" + before.switched.seenFrom(so.at) + ")"})
	}
	if so.node == nil || before.def != after.def || before.checked == nil || after.checked == nil || c.addressed(so.slot, index) != after.def {
		return found
	}
	l := samer{before: before.checked, refsBefore: referring(before.checked), refsAfter: referring(after.checked), slot: so.slot.name}
	l.fields(before.def.Settings, so.node, reflect.ValueOf(before.checked.cfg).Elem(), reflect.ValueOf(after.checked.cfg).Elem(), "")
	return append(found, l.found...)
}

// samer finds the settings in an override that change nothing.
type samer struct {
	before *planned
	// refsBefore and refsAfter are what the two refer to.
	refsBefore, refsAfter []referred
	slot                  string
	found                 []sameLeaf
}

func (s *samer) fields(t *registry.Type, n *node, before, after reflect.Value, path string) {
	for _, p := range n.pairs {
		if f := t.Field(p.key); f != nil {
			s.value(f.Type, p, before.Field(f.Index), after.Field(f.Index), strings.TrimPrefix(path+"."+p.key, "."))
		}
	}
}

func (s *samer) value(t *registry.Type, p pair, before, after reflect.Value, path string) {
	switch {
	case t.Form == registry.FormStruct && p.value.form == mapping:
		s.fields(t, p.value, before, after, path)
		return
	case t.Form == registry.FormMap && p.value.form == mapping:
		for _, q := range p.value.pairs {
			key := reflect.ValueOf(q.key)
			if b, a := before.MapIndex(key), after.MapIndex(key); b.IsValid() && a.IsValid() {
				s.value(t.Elem, q, b, a, path+"["+q.key+"]")
			}
		}
		return
	}
	same := reflect.DeepEqual(before.Interface(), after.Interface())
	shown := t.Format(after)
	if same && hasRef(t) {
		same = refersTo(s.refsBefore, path) == refersTo(s.refsAfter, path) // what they refer to has settings of its own
	}
	if !same {
		return
	}
	leaf := sameLeaf{at: p.keyPos, text: s.slot + "." + path + " is " + shortened(shown) + " already", since: ", by default"}
	for at := path; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if n := s.before.origins.at(at); n != nil {
			leaf.since = " (" + n.pos.seenFrom(p.keyPos) + ")"
			break
		}
	}
	s.found = append(s.found, leaf)
}

func hasRef(t *registry.Type) bool {
	for t.Elem != nil {
		t = t.Elem
	}
	return t.Form == registry.FormRef || t.Form == registry.FormStack || t.Form == registry.FormStruct && slices.ContainsFunc(t.Fields, func(f registry.Field) bool { return hasRef(f.Type) })
}

// referred is something that a setting refers to.
type referred struct {
	at  string        // the setting's path
	key func() string // what tells it apart
}

// referring returns what an instance refers to, by the paths of its settings.
func referring(p *planned) []referred {
	var all []referred
	for _, ref := range p.refs {
		all = append(all, referred{strings.TrimPrefix(ref.path, p.path+"."), ref.identity})
	}
	for _, m := range p.mounts {
		all = append(all, referred{m.path, func() string { return m.plan.sum }})
	}
	slices.SortFunc(all, func(a, b referred) int { return strings.Compare(a.at, b.at) })
	return all
}

// refersTo returns what tells apart what the setting at a path refers to.
func refersTo(sorted []referred, path string) string {
	var keys []string
	i, _ := slices.BinarySearchFunc(sorted, path, func(r referred, path string) int { return strings.Compare(r.at, path) })
	for _, r := range sorted[i:] {
		below, ok := strings.CutPrefix(r.at, path)
		if !ok {
			break
		}
		if below == "" || below[0] == '[' || below[0] == '.' {
			keys = append(keys, r.key())
		}
	}
	return strings.Join(keys, "\n")
}

// sameVars returns the vars that are before already.
func sameVars(vars, before *node) []sameLeaf {
	var found []sameLeaf
	var walk func(n, before *node, path string)
	walk = func(n, before *node, path string) {
		was := before.getter()
		for _, p := range n.pairs {
			was := was(p.key)
			switch {
			case was == nil:
			case p.value.form == mapping && was.form == mapping:
				walk(p.value, was, path+"."+p.key)
			case p.value.equals(was, true):
				found = append(found, sameLeaf{at: p.keyPos, text: path + "." + p.key + " is " + shortened(was.show()) + " already", since: " (" + was.pos.seenFrom(p.keyPos) + ")"})
			}
		}
	}
	walk(vars, before, "vars")
	return found
}
