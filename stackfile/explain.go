package stackfile

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/stackd/stackd/registry/environ"
)

// Explanation tells what a URL meets.
type Explanation struct {
	// Method, Host and Path are what was asked about.
	Method, Host, Path string
	// Route is the chain, outermost first, with the origin of each setting.
	Route *environ.Route
	// Vars are the vars for the URL, by dotted name.
	Vars []environ.Setting
}

// Explain tells what a request would meet. Path is that of the URL, decoded; host may be
// empty.
func (p *Plan) Explain(method, host, path string) Explanation {
	r := p.find(method, host, path)
	e := Explanation{Method: method, Host: host, Path: path, Route: p.shown(r)}
	var walk func(name string, n *node)
	walk = func(name string, n *node) {
		if n.form == mapping {
			for _, q := range n.pairs {
				walk(strings.TrimPrefix(name+"."+q.key, "."), q.value)
			}
			return
		}
		e.Vars = append(e.Vars, environ.Setting{Name: name, Value: n.show(), Origin: n.pos.String()})
	}
	if r.vars != nil && r.vars.form == mapping {
		walk("", r.vars)
	}
	return e
}

// String returns the explanation as text, a line for each thing, with its origin.
func (e Explanation) String() string {
	var rows [][2]string
	add := func(origin, format string, args ...any) {
		rows = append(rows, [2]string{strings.Map(printable, fmt.Sprintf(format, args...)), origin})
	}
	add("", "%s %s%s", e.Method, e.Host, e.Path)
	add("", "")
	if len(e.Route.Patterns) == 0 {
		add("", "no override under urls: matches")
	} else {
		add("", "overrides, general to specific:")
		for _, p := range e.Route.Patterns {
			add("", "  %s", p)
		}
	}
	if len(e.Vars) > 0 {
		add("", "")
		add("", "vars:")
		for _, v := range e.Vars {
			add(v.Origin, "  %s: %s", v.Name, v.Value)
		}
	}
	add("", "")
	add("", "stack, outermost first:")
	for _, s := range e.Route.Slots {
		title := s.Name
		if s.Component != s.Name {
			title += " (" + s.Component + ")"
		}
		if s.Off {
			add(s.Origin, "  %s: off", title)
			continue
		}
		add(s.Origin, "  %s", title)
		for _, set := range s.Settings {
			origin := set.Origin
			if origin == "" {
				origin = "default"
			}
			add(origin, "    %s: %s", set.Name, set.Value)
		}
	}
	width := 0
	for _, row := range rows {
		if row[1] != "" {
			width = max(width, utf8.RuneCountInString(row[0]))
		}
	}
	width = min(width, 56) // so that an ordinary origin fits into 80 columns
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(row[0])
		if row[1] != "" {
			fmt.Fprintf(&b, "%s  %s", strings.Repeat(" ", max(width-utf8.RuneCountInString(row[0]), 0)), row[1])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
