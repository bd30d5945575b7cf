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
// came after, and keeps no plan in memory that is over.
type inspector struct {
	plan       atomic.Pointer[Plan]
	next       atomic.Pointer[inspector] // set when the stack is over
	components []inspect.Component
}

func (p *Plan) inspector() *inspector {
	i := &inspector{}
	i.plan.Store(p)
	for _, d := range p.layers.registry.All() {
		c := inspect.Component{Kind: string(d.Kind), Name: d.Name}
		if purpose := p.layers.options.Purpose; purpose != nil {
			c.Purpose = purpose(d)
		}
		i.components = append(i.components, c)
	}
	return i
}

// follow makes it tell of a stack that came after.
func (i *inspector) follow(next *inspector) {
	i.next.Store(next)
	i.plan.Store(nil)
}

// current returns the plan that it tells of.
func (i *inspector) current() *Plan {
	for {
		if p := i.plan.Load(); p != nil {
			return p
		}
		i = i.next.Load()
	}
}

func (i *inspector) Outline() inspect.Outline { return i.current().Outline() }

func (i *inspector) Components() []inspect.Component { return slices.Clone(i.components) }

func (i *inspector) Explain(method, url string) (inspect.Explanation, error) {
	return i.current().ExplainURL(method, url)
}
