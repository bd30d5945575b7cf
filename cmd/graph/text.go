package graph

import (
	"fmt"
	"strings"

	"github.com/stackd/stackd/registry/inspect"
)

// arrow leads from one box to another, by their names.
type arrow struct {
	from, to, label string
	dashed          bool
}

// box is a server, a slot, or what becomes of a slot.
type box struct {
	name  string
	lines []string
	kind  string // server, slot, app, off or branch
}

// boxes are what the textual formats write: the slots below each other, and beside them what overrides make of them.
func (c chart) boxes() (boxes []box, arrows []arrow) {
	const entry = "requests"
	for i, s := range c.servers {
		name := fmt.Sprintf("server%d", i)
		boxes = append(boxes, box{name, []string{s}, "server"})
		arrows = append(arrows, arrow{from: name, to: entry})
	}
	boxes = append(boxes, box{entry, []string{c.title}, "server"})
	name := func(i int) string { return fmt.Sprintf("slot%d", i) }
	// before and after are the boxes that a request for other URLs meets around a row.
	before := func(i int) string {
		for i--; i >= 0; i-- {
			if !c.rows[i].off {
				return name(i)
			}
		}
		return entry
	}
	after := func(i int) string {
		for i++; i < len(c.rows); i++ {
			if !c.rows[i].off {
				return name(i)
			}
		}
		return ""
	}
	for i, r := range c.rows {
		kind := "slot"
		switch {
		case r.off:
			kind = "off"
		case r.app:
			kind = "app"
		}
		boxes = append(boxes, box{name(i), append([]string{r.title()}, few(r.settings)...), kind})
		if !r.off {
			arrows = append(arrows, arrow{from: before(i), to: name(i)})
		}
	}
	for n, l := range c.lanes {
		for i, r := range c.rows {
			ch, ok := l.changes[i]
			switch {
			case !ok || ch.inherited:
				continue
			case ch.word == "off":
				arrows = append(arrows, arrow{before(i), after(i), l.label, true})
				continue
			case ch.word == "on" && len(ch.settings) == 0 && r.off:
				arrows = append(arrows, arrow{before(i), name(i), l.label, false}, arrow{from: name(i), to: after(i)})
				continue
			}
			own := fmt.Sprintf("branch%d_%d", n, i)
			boxes = append(boxes, box{own, append([]string{r.name}, few(ch.lines())...), "branch"})
			arrows = append(arrows, arrow{before(i), own, l.label, false})
			if to := after(i); to != "" {
				arrows = append(arrows, arrow{from: own, to: to})
			}
		}
	}
	return boxes, arrows
}

// Mermaid draws a stack as a flowchart of Mermaid.
func Mermaid(o inspect.Outline) []byte {
	var b strings.Builder
	boxes, arrows := newChart(o).boxes()
	quote := strings.NewReplacer(`&`, "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;", "#", "#35;").Replace
	b.WriteString("flowchart TB\n")
	for _, x := range boxes {
		lines := make([]string, len(x.lines))
		for i, line := range x.lines {
			lines[i] = quote(line)
		}
		text := `"` + strings.Join(lines, "<br>") + `"`
		switch x.kind {
		case "server":
			text = "([" + text + "])"
		case "branch":
			text = "(" + text + ")"
		default:
			text = "[" + text + "]"
		}
		fmt.Fprintf(&b, "  %s%s:::%s\n", x.name, text, x.kind)
	}
	for _, a := range arrows {
		line := "-->"
		if a.dashed {
			line = "-.->"
		}
		if a.label != "" {
			line += `|"` + quote(a.label) + `"|`
		}
		fmt.Fprintf(&b, "  %s %s %s\n", a.from, line, a.to)
	}
	b.WriteString("  classDef off stroke-dasharray: 5 4\n  classDef app stroke-width: 3px\n  classDef branch stroke-width: 2px\n")
	return []byte(b.String())
}

// DOT draws a stack as a graph of Graphviz.
func DOT(o inspect.Outline) []byte {
	var b strings.Builder
	boxes, arrows := newChart(o).boxes()
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
	b.WriteString("digraph stack {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=11];\n")
	for _, x := range boxes {
		lines := make([]string, len(x.lines))
		for i, line := range x.lines {
			lines[i] = quote(line)
		}
		style := ""
		switch x.kind {
		case "server":
			style = ", shape=oval"
		case "off":
			style = `, style="rounded,dashed"`
		case "app":
			style = ", penwidth=2"
		}
		fmt.Fprintf(&b, "  %s [label=\"%s\"%s];\n", x.name, strings.Join(lines, `\n`), style)
	}
	for _, a := range arrows {
		var attributes []string
		if a.label != "" {
			attributes = append(attributes, `label="`+quote(a.label)+`"`)
		}
		if a.dashed {
			attributes = append(attributes, "style=dashed")
		}
		with := ""
		if len(attributes) > 0 {
			with = " [" + strings.Join(attributes, ", ") + "]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s;\n", a.from, a.to, with)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}
