package stackfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
)

// Difference is what changes when one stack file takes the place of another.
type Difference struct {
	// Settings are what changes for no URL in particular: servers, processes, deadlines, reload, check and control.
	Settings []Delta `json:"settings"`
	// Sections are what changes for URLs.
	Sections []Section `json:"urls"`
	// Built, Carried and Closed are the instances that a reload makes anew, takes over with their state, and
	// closes, by their place in the stack.
	Built   []string `json:"built"`
	Carried []string `json:"carried"`
	Closed  []string `json:"closed"`
}

// Empty reports whether nothing changes.
func (d Difference) Empty() bool { return len(d.Settings) == 0 && len(d.Sections) == 0 }

// Section is what changes for some URLs.
type Section struct {
	// Patterns match these URLs; "" stands for those that no pattern matches. Except match
	// those among them for which it doesn't change.
	Patterns []string `json:"patterns"`
	Except   []string `json:"except,omitempty"`
	Deltas   []Delta  `json:"changes"`
}

// Delta is one thing that is different.
type Delta struct {
	// Name is what it is, such as "session.lifetime".
	Name string `json:"name"`
	// Old and New are nil for nothing. What is secret differs in its value only, which is redacted.
	Old *Side `json:"old"`
	New *Side `json:"new"`
}

// Side is what a thing is on one side of a difference.
type Side struct {
	Value string `json:"value"`
	// Origin is the "file:line" that said so; empty where no line did. Default says that nobody wrote it.
	Origin  string `json:"origin,omitempty"`
	Default bool   `json:"default,omitempty"`
}

// Diff tells what changes when next takes the place of old. Files are compared as if they were in the same
// folder.
func Diff(old, next *Plan) (Difference, error) {
	c := &comparison{old: old, next: next, known: make(map[[2]*effect][]Delta)}
	d := Difference{Settings: c.settings()}
	var err error
	if d.Sections, err = c.sections(); err != nil {
		return d, err
	}
	d.Built, d.Carried, d.Closed = c.reload()
	return d, nil
}

// DiffURLs tells what a request for one URL meets that one for another doesn't.
func (p *Plan) DiffURLs(method, url, otherMethod, otherURL string) ([]Delta, error) {
	e, err := p.ExplainURL(method, url)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	f, err := p.ExplainURL(otherMethod, otherURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", otherURL, err)
	}
	c := &comparison{old: p, next: p, known: make(map[[2]*effect][]Delta)}
	deltas := append([]Delta{}, c.routes(p.find(e.Method, e.Host, e.Path), p.find(f.Method, f.Host, f.Path))...)
	for _, found := range []struct{ name, old, next string }{
		{"file found", found(e).File, found(f).File}, {"factory for it", found(e).Factory, found(f).Factory},
	} {
		if found.old != found.next {
			deltas = append(deltas, Delta{found.name, some(found.old), some(found.next)})
		}
	}
	return deltas, nil
}

func found(e inspect.Explanation) inspect.Found {
	if e.Found == nil {
		return inspect.Found{}
	}
	return *e.Found
}

// some returns a value without a place, or nil for none.
func some(value string) *Side {
	if value == "" {
		return nil
	}
	return &Side{Value: value}
}

// comparison compares two plans.
type comparison struct {
	old, next *Plan
	known     map[[2]*effect][]Delta // of the effects that were compared already
}

// fact is one effective setting of an instance, or of one that it refers to.
type fact struct {
	name          string
	value, origin string
	// text is what is compared: for secrets, it isn't what is shown.
	text string
}

// facts returns the settings of an instance. Paths are as in a file in that folder.
func facts(p *planned, prefix, dir string) []fact {
	var all []fact
	inner := make(map[string]*planned)
	for _, ref := range p.refs {
		inner[strings.TrimPrefix(ref.path, p.path+".")] = ref
	}
	var walk func(t *registry.Type, v reflect.Value, path string)
	walk = func(t *registry.Type, v reflect.Value, path string) {
		if t.Form == registry.FormStruct {
			for _, f := range t.Fields {
				walk(f.Type, v.Field(f.Index), strings.TrimPrefix(path+"."+f.Name, "."))
			}
			return
		}
		if t.Form == registry.FormMap && v.Len() > 0 {
			for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
				walk(t.Elem, v.MapIndex(k), path+"["+k.String()+"]")
			}
			return
		}
		if t.Form == registry.FormList && (t.Elem.Form == registry.FormRef || t.Elem.Form == registry.FormStruct) {
			for i := range v.Len() {
				walk(t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
			return
		}
		f := fact{name: prefix + path, value: t.Format(v)}
		switch t.Form {
		case registry.FormPath:
			f.value = near(v.String(), dir)
		case registry.FormStack:
			f.value = near(f.value, dir)
		case registry.FormAddress:
			if network, socket := registry.Address(v.String()).Network(); network == "unix" {
				f.value = "unix:" + near(socket, dir)
			}
		}
		h := sha256.New()
		digest(h, t, v)
		if f.text = f.value; strings.Contains(f.value, redacted) {
			f.text = hex.EncodeToString(h.Sum(nil))
		}
		if n := p.origins.at(path); n != nil {
			f.origin = n.pos.String()
		}
		all = append(all, f)
		if ref := inner[path]; ref != nil {
			all = append(all, facts(ref, prefix+path+".", dir)...)
		}
	}
	walk(p.def.Settings, reflect.ValueOf(p.cfg).Elem(), "")
	return all
}

func (p *Plan) dir() string { return p.layers.source.dir }

// settings compares what stands beside the stack, vars and urls.
func (c *comparison) settings() []Delta {
	deltas := []Delta{}
	left := slices.Clone(c.next.servers)
	for _, s := range c.old.servers {
		addresses := c.old.addresses(s)
		i := slices.IndexFunc(left, func(n *planned) bool {
			return slices.ContainsFunc(c.next.addresses(n), func(a string) bool { return slices.Contains(addresses, a) })
		})
		name := c.old.serverName(s)
		if i < 0 {
			deltas = append(deltas, Delta{Name: "server " + name, Old: &Side{Value: s.def.Name, Origin: s.at.String()}})
			continue
		}
		n := left[i]
		left = slices.Delete(left, i, i+1)
		if n.def != s.def {
			deltas = append(deltas, Delta{"server " + name, &Side{Value: s.def.Name, Origin: s.at.String()}, &Side{Value: n.def.Name, Origin: n.at.String()}})
			continue
		}
		deltas = append(deltas, compareFacts("server "+name+": ", facts(s, "", c.old.dir()), facts(n, "", c.next.dir()))...)
	}
	for _, n := range left {
		deltas = append(deltas, Delta{Name: "server " + c.next.serverName(n), New: &Side{Value: n.def.Name, Origin: n.at.String()}})
	}
	if was, is := c.old.processes.String(), c.next.processes.String(); was != is {
		deltas = append(deltas, Delta{"processes", some(was), some(is)})
	}
	deltas = append(deltas, settingsDeltas("deadlines", c.old.deadlines, c.next.deadlines)...)
	deltas = append(deltas, settingsDeltas("reload", c.old.reload, c.next.reload)...)
	deltas = append(deltas, settingsDeltas("check", c.old.checks, c.next.checks)...)
	if was, is := c.old.controlled(), c.next.controlled(); was != is {
		deltas = append(deltas, Delta{"control", some(was), some(is)})
	}
	for _, note := range []struct {
		key      string
		old, now Note
	}{{"pid_file", c.old.pidFile, c.next.pidFile}, {"address_file", c.old.addressFile, c.next.addressFile}} {
		if was, is := note.old.written(c.old.dir()), note.now.written(c.next.dir()); was != is {
			deltas = append(deltas, Delta{note.key, some(was), some(is)})
		}
	}
	return deltas
}

// settingsDeltas compares settings of the runtime's, which stand under a key.
func settingsDeltas[C any](key string, old, next C) (deltas []Delta) {
	before, after := reflect.ValueOf(old), reflect.ValueOf(next)
	for _, f := range registry.Describe[C]().Fields {
		if was, is := f.Type.Format(before.Field(f.Index)), f.Type.Format(after.Field(f.Index)); was != is {
			deltas = append(deltas, Delta{key + "." + f.Name, some(was), some(is)})
		}
	}
	return deltas
}

// controlled says where the stack is controlled, as a file in the plan's folder does.
func (p *Plan) controlled() string {
	if network, path := p.control.Address.Network(); network == "unix" {
		return "unix:" + near(path, p.dir())
	}
	return p.control.String()
}

// addresses are those of a server, as a file in the plan's folder has them.
func (p *Plan) addresses(s *planned) []string {
	var all []string
	addresses, _ := s.listen()
	for _, a := range addresses {
		if network, path := a.Network(); network == "unix" {
			a = registry.Address("unix:" + near(path, p.dir()))
		}
		all = append(all, string(a))
	}
	return all
}

// serverName tells servers apart for people.
func (p *Plan) serverName(s *planned) string {
	return strings.TrimSpace(s.def.Name + " " + strings.Join(p.addresses(s), " "))
}

// compareFacts compares settings by name, in the order of the new ones.
func compareFacts(prefix string, before, after []fact) []Delta {
	var deltas []Delta
	former := func(f fact) *Side { return &Side{f.value, f.origin, f.origin == ""} }
	index := make(map[string]fact, len(before))
	for _, f := range before {
		index[f.name] = f
	}
	for _, f := range after {
		was, ok := index[f.name]
		delete(index, f.name)
		switch {
		case !ok:
			deltas = append(deltas, Delta{Name: prefix + f.name, New: former(f)})
		case was.text != f.text:
			if was.value == f.value && !strings.Contains(f.value, redacted) {
				was.value, f.value = was.text, f.text // they differ in what is a text
			}
			deltas = append(deltas, Delta{prefix + f.name, former(was), former(f)})
		}
	}
	for _, f := range before {
		if _, gone := index[f.name]; gone {
			deltas = append(deltas, Delta{Name: prefix + f.name, Old: former(f)})
		}
	}
	return deltas
}

// routes compares what two routes come to.
func (c *comparison) routes(before, after *route) []Delta {
	deltas := compareFacts("", reloadFacts(before.onReload), reloadFacts(after.onReload))
	deltas = append(deltas, compareFacts("vars.", varFacts(before.vars), varFacts(after.vars))...)
	names := func(r *route, other *route) (common []string) {
		for _, f := range r.effects {
			if other.effect(f.slot.name) != nil {
				common = append(common, f.slot.name)
			}
		}
		return common
	}
	if was, is := names(before, after), names(after, before); !slices.Equal(was, is) {
		deltas = append(deltas, Delta{"the order of the slots", some(strings.Join(was, ", ")), some(strings.Join(is, ", "))})
	}
	for _, f := range before.effects {
		if after.effect(f.slot.name) == nil {
			deltas = append(deltas, Delta{Name: f.slot.name, Old: f.word()})
		}
	}
	for _, f := range after.effects {
		was := before.effect(f.slot.name)
		pair := [2]*effect{was, f}
		known, ok := c.known[pair]
		if !ok {
			known = c.effects(was, f)
			c.known[pair] = known
		}
		deltas = append(deltas, known...)
	}
	return deltas
}

// effect returns what a slot of that name comes to, or nil.
func (r *route) effect(slot string) *effect {
	if i := slices.IndexFunc(r.effects, func(f *effect) bool { return f.slot.name == slot }); i >= 0 {
		return r.effects[i]
	}
	return nil
}

// word is what a slot comes to, in a word.
func (f *effect) word() *Side {
	if f.off {
		return &Side{Value: "off", Origin: f.switched.String()}
	}
	return &Side{Value: f.def.Name, Origin: f.at.String()}
}

// effects compares what a slot comes to; before is nil for a slot that is new.
func (c *comparison) effects(before, after *effect) []Delta {
	name := after.slot.name
	written := func(fs []fact) []fact {
		return slices.DeleteFunc(fs, func(f fact) bool { return f.origin == "" })
	}
	switch {
	case before == nil || before.off != after.off || before.def != after.def && !after.off:
		d := Delta{Name: name, New: after.word()}
		if before != nil {
			d.Old = before.word()
			if before.off && before.def == after.def {
				d.New = &Side{Value: "on", Origin: after.switched.String()}
			}
			if after.off && before.def == after.def {
				d.Old.Value = "on"
			}
		}
		deltas := []Delta{d}
		if !after.off {
			// It had no settings that mattered, so tell those that somebody chose.
			deltas = append(deltas, compareFacts(name+".", nil, written(facts(after.checked, "", c.next.dir())))...)
		}
		return deltas
	case after.off:
		return nil // its settings make no difference
	}
	deltas := compareFacts(name+".", facts(before.checked, "", c.old.dir()), facts(after.checked, "", c.next.dir()))
	return append(deltas, mounted(name, before.checked, after.checked)...)
}

// mounted compares the stacks that two instances mount, for the URLs that these see.
func mounted(name string, before, after *planned) []Delta {
	var deltas []Delta
	for _, m := range after.mounts {
		i := slices.IndexFunc(before.mounts, func(was mount) bool { return was.path == m.path })
		if i < 0 {
			continue // its being there is told already
		}
		d, err := Diff(before.mounts[i].plan, m.plan)
		if err != nil {
			continue // it has more overlaps than a plan may have
		}
		for _, s := range d.Sections {
			where := strings.Join(slices.DeleteFunc(slices.Clone(s.Patterns), func(p string) bool { return p == "" }), ", ")
			if where != "" {
				where = ", " + where
			}
			if len(s.Except) > 0 {
				where += ", except " + strings.Join(s.Except, ", ")
			}
			for _, inner := range s.Deltas {
				inner.Name = name + "." + m.path + where + ": " + inner.Name
				deltas = append(deltas, inner)
			}
		}
	}
	return deltas
}

func reloadFacts(n *node) []fact {
	if n == nil {
		return []fact{{name: onReloadKey, value: string(OnReloadDrain), text: string(OnReloadDrain)}}
	}
	return []fact{{name: onReloadKey, value: string(n.reloading()), text: string(n.reloading()), origin: n.pos.String()}}
}

func varFacts(vars *node) []fact {
	var all []fact
	eachVar(vars, "", func(name string, n *node) {
		all = append(all, fact{name: name, value: n.show(), text: n.line(true), origin: n.pos.String()})
	})
	return all
}

// area is the URLs for which the same patterns of both plans match.
type area struct {
	pattern string
	around  []int // the areas that cover it, general to specific
	deltas  []Delta
}

// sections compares the plans for all URLs.
func (c *comparison) sections() ([]Section, error) {
	areas, err := c.areas()
	if err != nil {
		return nil, err
	}
	// For each thing that changes, the areas for which it does.
	type change struct {
		delta Delta
		where map[int]bool
	}
	var changes []*change
	index := make(map[string]*change)
	for i, a := range areas {
		for _, d := range a.deltas {
			key := d.key()
			if index[key] == nil {
				index[key] = &change{d, make(map[int]bool)}
				changes = append(changes, index[key])
			}
			index[key].where[i] = true
		}
	}
	sections := []Section{}
	at := make(map[string]int)
	for _, ch := range changes {
		var s Section
		named := make(map[int]bool) // whether the change holds, for the areas that are named
		for i, a := range areas {
			holds := false
			for _, outer := range slices.Backward(a.around) {
				if said, ok := named[outer]; ok {
					holds = said
					break
				}
			}
			switch is := ch.where[i]; {
			case is == holds:
				continue
			case is:
				s.Patterns = append(s.Patterns, a.pattern)
			default:
				s.Except = append(s.Except, a.pattern)
			}
			named[i] = !holds
		}
		key := fmt.Sprintf("%q %q", s.Patterns, s.Except)
		if n, ok := at[key]; ok {
			sections[n].Deltas = append(sections[n].Deltas, ch.delta)
			continue
		}
		at[key] = len(sections)
		s.Deltas = []Delta{ch.delta}
		sections = append(sections, s)
	}
	return sections, nil
}

func (d Delta) key() string {
	side := func(s *Side) string {
		if s == nil {
			return ""
		}
		return fmt.Sprintf("%q %s", s.Value, s.Origin)
	}
	return d.Name + "\x00" + side(d.Old) + "\x00" + side(d.New)
}

// areas returns the areas of both plans, the one of the URLs that no pattern matches first, and each after the one
// around it.
func (c *comparison) areas() ([]area, error) {
	var patterns []pattern
	number := make(map[string]int)
	in := func(p *Plan) map[int]int { // from the number of a pattern to its index in the plan
		of := make(map[int]int, len(p.patterns))
		for i, pat := range p.patterns {
			n, ok := number[pat.language()]
			if !ok {
				n = len(patterns)
				number[pat.language()] = n
				patterns = append(patterns, pat)
			}
			of[n] = i
		}
		return of
	}
	inOld, inNext := in(c.old), in(c.next)
	found, err := regions(patterns)
	if err != nil {
		return nil, err
	}
	oldRoutes, nextRoutes := c.old.bySet(), c.next.bySet()
	slices.SortStableFunc(found, func(a, b region) int { return a.pattern.compare(b.pattern) })
	areas := []area{{deltas: c.routes(c.old.none, c.next.none)}}
	places := forest[[]located]{}
	for _, r := range found {
		a := area{pattern: r.pattern.String(), around: []int{0}}
		for host := range widerHosts(r.pattern.host) {
			places[host].covering(r.pattern.segments, func(at *[]located) {
				for _, l := range *at {
					if methodCovers(l.method, r.pattern.method) {
						a.around = append(a.around, l.index)
					}
				}
			})
		}
		slices.Sort(a.around)
		at := places.at(r.pattern)
		*at = append(*at, located{r.pattern.method, len(areas)})
		a.deltas = c.routes(oldRoutes.find(c.old, r.set, inOld), nextRoutes.find(c.next, r.set, inNext))
		if len(a.around) == 1 && r.pattern.host == "" && r.pattern.method == "" && r.pattern.segments[0].kind == segmentRest {
			areas[0].deltas = a.deltas // it matches every URL, so nothing is left to the first area
		}
		areas = append(areas, a)
	}
	return areas, nil
}

// bySet are the routes of a plan, by the patterns that match.
type bySet map[string]*route

func setKey(set []int) string { return fmt.Sprint(slices.Sorted(slices.Values(set))) }

func (p *Plan) bySet() bySet {
	all := make(bySet, len(p.areas))
	for i, a := range p.areas {
		all[setKey(a.set)] = p.routes[i]
	}
	return all
}

// find returns the route of a plan for the patterns in set, of which in says which are the plan's.
func (b bySet) find(p *Plan, set []int, in map[int]int) *route {
	var own []int
	for _, n := range set {
		if i, ok := in[n]; ok {
			own = append(own, i)
		}
	}
	if r := b[setKey(own)]; r != nil {
		return r
	}
	return p.none
}

// reload tells what becomes of the instances.
func (c *comparison) reload() (built, carried, closed []string) {
	before, after := c.old.fingerprints(), c.next.fingerprints()
	built, carried, closed = []string{}, []string{}, []string{}
	had := make(map[string]bool)
	for _, i := range before {
		had[i.print] = true
	}
	has := make(map[string]bool)
	for _, i := range after {
		has[i.print] = true
		if had[i.print] {
			carried = append(carried, i.path)
		} else {
			built = append(built, i.path)
		}
	}
	for _, i := range before {
		if !has[i.print] {
			closed = append(closed, i.path)
		}
	}
	return built, carried, closed
}

type fingerprint struct{ path, print string }

// fingerprints returns the instances of a plan, each with what tells it from others wherever the file is.
func (p *Plan) fingerprints() []fingerprint {
	var all []fingerprint
	seen := make(map[string]bool)
	add := func(inst *planned) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s %s\n", inst.full(), inst.def.Kind, inst.def.Name)
		for _, f := range facts(inst, "", p.dir()) {
			fmt.Fprintf(&b, "%s: %q\n", f.name, f.text)
		}
		for _, m := range inst.mounts {
			fmt.Fprintf(&b, "%s: %q\n", m.path, m.plan.said())
		}
		if !seen[b.String()] {
			seen[b.String()] = true
			all = append(all, fingerprint{inst.full(), b.String()})
		}
	}
	p.instances(func(inst *planned) { add(inst) })
	for _, s := range p.servers {
		s.walk(add)
	}
	return all
}

// said is what a mounted stack does, wherever its file is.
func (p *Plan) said() []string {
	var all []string
	for _, i := range p.fingerprints() {
		all = append(all, i.print)
	}
	for _, r := range append([]*route{p.none}, p.routes...) {
		all = append(all, fmt.Sprintf("%#v %s", plainVars(r.vars), r.onReload.reloading()))
		for _, o := range r.set {
			all = append(all, p.keys[o])
		}
		for _, f := range r.effects {
			all = append(all, fmt.Sprintf("%s %s %t", f.slot.name, f.def.Name, f.off))
		}
	}
	return all
}
