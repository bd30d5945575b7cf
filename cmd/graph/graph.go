// Package graph draws a stack: as SVG, and in the languages of Mermaid and Graphviz.
//
// A stack is drawn as what it is, a pile of slots, the outermost on top. Requests come down from the
// servers on lanes. The first lane is that of every URL; each override branches off from the one
// that it is within, and has on it what it changes. The pictures hold no secrets, since an
// outline has none, and the same outline gives the same bytes.
package graph

//go:generate go run ../stackd graph --output ../../stacks/webware.svg ../../stacks/webware.yaml

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/inspect"
)

// chart is an outline as rows and lanes.
type chart struct {
	title   string
	servers []string
	rows    []row
	lanes   []lane
	// left is how many overrides have no lane, since there are too many.
	left int
}

// row is a slot, or the vars.
type row struct {
	name, component string
	settings        []string
	off, app        bool
}

// lane is the way of the requests for which one override is the last word; the first is that of all others.
type lane struct {
	label  string
	parent int
	depth  int
	// changes are by row. Inherited ones are those of the lanes that it branches off from.
	changes map[int]change
}

// change is what an override says to a row.
type change struct {
	word      string // on, off, the component that takes the slot, or nothing
	settings  []string
	inherited bool
}

// lines are what is written of it.
func (c change) lines() []string {
	if c.word == "" {
		return c.settings
	}
	return append([]string{c.word}, c.settings...)
}

// over lays c over what was said before.
func (c change) over(before change) change {
	if c.word != "" && c.word != "on" {
		return c // nothing else matters any more
	}
	if c.word == "" && before.word != "off" {
		c.word = before.word
	}
	all := slices.DeleteFunc(slices.Clone(before.settings), func(was string) bool {
		return slices.ContainsFunc(c.settings, func(is string) bool { return nameOf(is) == nameOf(was) })
	})
	c.settings = append(all, c.settings...)
	return c
}

// nameOf is the name of a setting that is written out.
func nameOf(setting string) string {
	name, _, _ := strings.Cut(setting, ": ")
	return name
}

// most is how many overrides a picture can hold.
const most = 40

func newChart(o inspect.Outline) chart {
	c := chart{title: filepath.Base(o.File)}
	for _, s := range o.Servers {
		c.servers = append(c.servers, strings.TrimSpace(s.Component+" "+strings.Join(s.Addresses, " ")))
	}
	vars := len(o.Vars) > 0 || slices.ContainsFunc(o.Overrides, func(o inspect.Override) bool { return len(o.Vars) > 0 })
	if vars {
		c.rows = append(c.rows, row{name: "vars", component: "vars", settings: written(o.Vars)})
	}
	for _, s := range o.Slots {
		c.rows = append(c.rows, row{name: s.Name, component: s.Component, settings: written(s.Settings), off: !s.On, app: s.Kind == "app"})
	}
	at := func(slot string) int { return slices.IndexFunc(c.rows, func(r row) bool { return r.name == slot }) }

	overrides := o.Overrides
	if len(overrides) > most {
		c.left = len(overrides) - most
		overrides = overrides[:most]
	}
	c.lanes = []lane{{label: "every URL", parent: -1}}
	if len(overrides) > 0 {
		c.lanes[0].label = "other URLs"
	}
	own := map[string]map[int]change{}
	children := map[string][]inspect.Override{}
	for _, over := range overrides {
		changes := map[int]change{}
		for _, s := range over.Slots {
			ch := change{word: s.Switch, settings: written(s.Settings)}
			if s.Use != "" {
				ch.word = "→ " + s.Use
			}
			changes[at(s.Slot)] = ch
		}
		if len(over.Vars) > 0 {
			changes[at("vars")] = change{settings: written(over.Vars)}
		}
		own[over.Pattern.Pattern] = changes
		parent := ""
		if n := len(over.Within); n > 0 {
			parent = over.Within[n-1]
		}
		children[parent] = append(children[parent], over)
	}
	var plant func(pattern string, parent int)
	plant = func(pattern string, parent int) {
		for _, over := range children[pattern] {
			l := lane{label: over.Pattern.Pattern, parent: parent, depth: c.lanes[parent].depth + 1, changes: map[int]change{}}
			for _, outer := range over.Within {
				for i, ch := range own[outer] {
					l.changes[i] = ch.over(l.changes[i])
				}
			}
			for i, ch := range l.changes {
				ch.inherited = true
				l.changes[i] = ch
			}
			for i, ch := range own[over.Pattern.Pattern] {
				l.changes[i] = ch.over(l.changes[i])
			}
			c.lanes = append(c.lanes, l)
			plant(over.Pattern.Pattern, len(c.lanes)-1)
		}
	}
	plant("", 0)
	return c
}

func written(settings []inspect.Setting) []string {
	var lines []string
	for _, s := range settings {
		lines = append(lines, inspect.Printable(s.Name+": "+s.Value))
	}
	return lines
}
