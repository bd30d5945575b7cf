package stackfile

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/stackd/stackd/registry/inspect"
)

// Outline tells what stands in the stack file.
func (p *Plan) Outline() inspect.Outline {
	o := inspect.Outline{File: p.name, Servers: []inspect.Server{}, Vars: p.varsOf(nil), Overrides: []inspect.Override{}}
	for _, s := range p.servers {
		o.Servers = append(o.Servers, inspect.Server{Component: s.def.Name, Addresses: p.addresses(s), Origin: s.at.String()})
	}
	for i, f := range p.none.effects {
		slot := p.history(i, f, nil)
		slot.Settings = slices.DeleteFunc(slot.Settings, func(s inspect.Setting) bool { return s.Origin == "" })
		o.Slots = append(o.Slots, slot)
	}
	e := p.spare()
	e.speaks = make([][]int, len(e.overrides))
	for index, over := range e.overrides {
		for i, s := range e.slots {
			if over.speaks(s) != nil {
				e.speaks[index] = append(e.speaks[index], i)
			}
		}
		o.Overrides = append(o.Overrides, e.outline(index))
	}
	return o
}

// outline tells what an override says.
func (e *effects) outline(index int) inspect.Override {
	o := e.overrides[index]
	shown := inspect.Override{Pattern: inspect.Pattern{Pattern: o.key, Origin: o.at.String()}}
	for _, outer := range e.covering[index] {
		if outer != index {
			shown.Within = append(shown.Within, e.overrides[outer].key)
		}
	}
	eachVar(o.vars, "", func(name string, n *node) {
		shown.Vars = append(shown.Vars, inspect.Setting{Name: name, Value: n.show(), Origin: n.pos.String()})
	})
	for _, i := range e.speaks[index] {
		so := o.speaks(e.slots[i])
		c := inspect.Change{Slot: so.slot.name, Origin: so.at.String()}
		if so.def != nil {
			c.Use = so.def.Name
		}
		if so.off != nil {
			c.Switch = switchWord(*so.off)
		}
		shown.Slots = append(shown.Slots, c)
	}
	for _, l := range e.findLeaves(index) {
		keys := strings.Split(l.path[1:], "\x00")
		if len(keys) < 3 || keys[0] == "vars" {
			continue // the vars, a component or a switch, told already
		}
		at := slices.IndexFunc(shown.Slots, func(c inspect.Change) bool { return c.Slot == keys[0] })
		c := &shown.Slots[at]
		c.Settings = append(c.Settings, inspect.Setting{Name: strings.TrimSuffix(strings.Join(keys[2:], "."), "."), Value: l.shown, Origin: l.at.String()})
	}
	return shown
}

// inspector tells of the stack that is running. A request that outlives its stack asks that of the stack which
// came after, and keeps nothing in memory that is over.
type inspector struct {
	own   atomic.Pointer[inspected] // nil when the stack is over
	depot *depot
}

// inspected is what there is to tell of a stack. Those that come after it have greater numbers.
type inspected struct {
	*Plan
	number     int
	components []inspect.Component
}

// inspector returns that of a stack of a depot.
func (p *Plan) inspector(d *depot) *inspector {
	d.mu.Lock()
	d.stacks++
	own := &inspected{Plan: p, number: d.stacks}
	d.mu.Unlock()
	for _, def := range p.layers.registry.All() {
		c := inspect.Component{Kind: string(def.Kind), Name: def.Name}
		if purpose := p.layers.options.Purpose; purpose != nil {
			c.Purpose = purpose(def)
		}
		own.components = append(own.components, c)
	}
	i := &inspector{depot: d}
	i.own.Store(own)
	return i
}

// over makes it tell of the last stack of the depot, which next is, unless it is over itself.
func (i *inspector) over(next *inspector) {
	i.depot.mu.Lock()
	defer i.depot.mu.Unlock()
	if known, runs := i.depot.runs.Load(), next.own.Load(); runs != nil && (known == nil || known.number < runs.number) {
		i.depot.runs.Store(runs)
	}
	i.own.Store(nil)
}

func (i *inspector) now() *inspected {
	if own := i.own.Load(); own != nil {
		return own
	}
	return i.depot.runs.Load()
}

func (i *inspector) Outline() inspect.Outline { return i.now().Outline() }

func (i *inspector) Components() []inspect.Component { return slices.Clone(i.now().components) }

func (i *inspector) Explain(method, url string) (inspect.Explanation, error) {
	return i.now().ExplainURL(method, url)
}
