package stackfile

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
)

// Explain tells what a request would meet. Path is that of the URL, decoded; host may be
// empty.
func (p *Plan) Explain(method, host, path string) inspect.Explanation {
	r := p.find(method, host, path)
	e := inspect.Explanation{Method: method, Host: host, Path: path, Patterns: []inspect.Pattern{}, Vars: p.varsOf(r.set), OnReload: p.onReloadOf(r.set)}
	for _, o := range r.set {
		e.Patterns = append(e.Patterns, inspect.Pattern{Pattern: p.keys[o], Origin: p.layers.overrides[o].at.String()})
	}
	for i, f := range r.effects {
		e.Slots = append(e.Slots, p.history(i, f, r.set))
	}
	if app := r.effects[len(r.effects)-1].instance; app != nil {
		if inner, asked := app.def.Inside(app.cfg, path); asked && len(app.mounts) > 0 {
			within := app.mounts[0].plan.Explain(method, host, inner)
			e.Mounted = &within
		}
		if e.Found = app.def.Find(app.cfg, path); e.Found != nil {
			e.Found.File = near(e.Found.File, app.at.source.dir)
		}
	}
	return e
}

// ExplainURL is Explain for what a user would call a URL; see [inspect.ParseURL]. The error says what is
// wrong with it, or why requests for it are refused.
func (p *Plan) ExplainURL(method, url string) (inspect.Explanation, error) {
	host, path, err := inspect.ParseURL(url)
	if err != nil {
		return inspect.Explanation{}, err
	}
	if problem := checkPath(path); problem != "" {
		return inspect.Explanation{}, errors.New("such a request is answered with 400: " + problem)
	}
	return p.Explain(method, host, path), nil
}

// spare returns what works out effects without leaving a trace in the plan: of slots under fewer
// overrides than match together anywhere, so there may be problems with them.
func (p *Plan) spare() *effects {
	scratch := &problems{}
	l, d := *p.layers.loader, *p.layers.decoder
	d.mounted = nil
	l.problems, d.problems = scratch, scratch
	return &effects{loader: &l, decoder: &d, covering: p.layers.covering}
}

// history shows a slot, which f is under the overrides in set, with what each of them has replaced.
func (p *Plan) history(i int, f *effect, set []int) inspect.Slot {
	shown := f.show()
	s := inspect.Slot{Name: shown.Name, Component: shown.Component, Kind: shown.Kind, On: !f.off, Origin: f.at.String()}
	if f.switched != f.slot.at || f.off {
		s.Switched = f.switched.String()
	}
	steps := p.steps(i, f, set)
	last := len(steps) - 1
	settings := make([]map[string]inspect.Former, len(steps))
	for n, step := range steps {
		settings[n] = formers(step)
	}
	off := f.off
	for n, step := range slices.Backward(steps[:last]) {
		if step.off != off {
			off = step.off
			s.Overrode = append(s.Overrode, inspect.Former{Value: switchWord(off), Origin: step.switched.String()})
		}
		if step.def != f.def {
			// What was set for another component isn't what these settings were before.
			s.Overrode = append(s.Overrode, inspect.Former{Value: step.def.Name, Origin: step.at.String()})
			settings = settings[n+1:]
			break
		}
	}
	for _, set := range shown.Settings {
		s.Settings = append(s.Settings, inspect.Setting{
			Name: set.Name, Value: set.Value, Origin: set.Origin,
			Overrode: before(set.Name, settings),
		})
	}
	return s
}

// steps are what a slot comes to with one thing after another that is said of it: the entry, and the overrides in
// set, with all of which it is f. What an extended file said comes before what the file that extends it made of that.
func (p *Plan) steps(i int, f *effect, set []int) []*effect {
	var steps []*effect
	s := p.layers.slots[i]
	e := p.spare()
	for _, was := range e.formers(s.node) {
		if entry, ok := e.entry(was.value, registry.KindMiddleware, registry.KindApp); ok {
			steps = append(steps, e.make(&slot{name: s.name, def: entry.def, off: entry.off, node: entry.node, at: entry.at}, nil))
		}
	}
	steps = append(steps, p.none.effects[i])
	for n, index := range set {
		o := p.layers.overrides[index]
		says := o.speaks(s)
		if says == nil {
			continue
		}
		for _, was := range e.formers(says.said) {
			if so, ok := e.slotOverride(o, s, was); ok {
				before := p.spare()
				before.overrides = slices.Clone(before.overrides)
				before.overrides[index] = &override{key: o.key, at: o.at, pattern: o.pattern, slots: []*slotOverride{so}}
				steps = append(steps, before.make(s, set[:n+1]))
			}
		}
		if slices.ContainsFunc(set[n+1:], func(more int) bool { return p.layers.overrides[more].speaks(s) != nil }) {
			steps = append(steps, e.make(s, set[:n+1]))
		} else {
			steps = append(steps, f) // it is known, and may be large
		}
	}
	return steps
}

// formers returns the settings of a slot by name; none if there are problems with them.
func formers(f *effect) map[string]inspect.Former {
	all := make(map[string]inspect.Former)
	for _, s := range f.show().Settings {
		all[s.Name] = inspect.Former{Value: s.Value, Origin: s.Origin}
	}
	return all
}

// before returns what a thing was before the last of steps, the last first.
func before(name string, steps []map[string]inspect.Former) []inspect.Former {
	var found []inspect.Former
	last := steps[len(steps)-1]
	is := last[name]
	for _, step := range slices.Backward(steps) {
		for at, c := range name {
			// What was set for another component that a setting referred to isn't what this was.
			if owner, ok := step[name[:at]]; ok && c == '.' && owner.Value != last[name[:at]].Value {
				return found
			}
		}
		if was, ok := step[name]; ok && was != is {
			found = append(found, was)
			is = was
		}
	}
	return found
}

// varsOf returns the vars under the overrides in set, each with what it was before.
func (p *Plan) varsOf(set []int) []inspect.Setting {
	vars := p.none.vars
	var steps []map[string]inspect.Former
	for _, was := range p.layers.formers(vars) {
		steps = append(steps, flatVars(was.value))
	}
	steps = append(steps, flatVars(vars))
	for _, o := range set {
		if over := p.layers.overrides[o].vars; over != nil {
			for _, was := range p.layers.formers(over) {
				steps = append(steps, flatVars(mergeFree(vars, was.value)))
			}
			vars = mergeFree(vars, over)
			steps = append(steps, flatVars(vars))
		}
	}
	all := []inspect.Setting{}
	for _, name := range varNames(vars) {
		is := steps[len(steps)-1][name]
		all = append(all, inspect.Setting{Name: name, Value: is.Value, Origin: is.Origin, Overrode: before(name, steps)})
	}
	return all
}

// eachVar calls f for everything in vars that isn't a map with something in it, in the order written.
func eachVar(n *node, name string, f func(name string, n *node)) {
	switch {
	case n == nil || name == "" && n.form != mapping:
	case n.form == mapping && (name == "" || len(n.pairs) > 0):
		for _, q := range n.pairs {
			key := q.key
			if strings.Contains(key, ".") {
				key = strconv.Quote(key) // "a.b" is not b in a
			}
			eachVar(q.value, strings.TrimPrefix(name+"."+key, "."), f)
		}
	default:
		f(name, n)
	}
}

func varNames(vars *node) (names []string) {
	eachVar(vars, "", func(name string, _ *node) { names = append(names, name) })
	return names
}

func flatVars(vars *node) map[string]inspect.Former {
	all := make(map[string]inspect.Former)
	eachVar(vars, "", func(name string, n *node) { all[name] = inspect.Former{Value: n.show(), Origin: n.pos.String()} })
	return all
}

// switchWord is how a switch is written.
func switchWord(off bool) string {
	if off {
		return "off"
	}
	return "on"
}
