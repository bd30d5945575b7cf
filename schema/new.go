package schema

import (
	"fmt"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Skeleton returns a stack file to begin with: these servers, middleware and apps in the order in which they are given, each
// with every setting and what it is for. Settings are commented out, with their defaults; those that must be written
// have a value to be replaced.
func Skeleton(reg *registry.Registry, components []*registry.Definition) string {
	return embedded().skeleton(reg, components)
}

func (p Prose) skeleton(reg *registry.Registry, components []*registry.Definition) string {
	var b strings.Builder
	b.WriteString("# Settings behind a # without a space have that value by default. stackd check says what is missing.\n")
	part := ""
	for _, kinds := range [][]registry.Kind{{registry.KindServer}, {registry.KindMiddleware}, {registry.KindApp}} {
		for _, d := range components {
			if d.Kind != kinds[0] {
				continue
			}
			key := "stack"
			if d.Kind == registry.KindServer {
				key = "servers"
			}
			if key != part {
				fmt.Fprintf(&b, "\n%s:\n", key)
			} else {
				b.WriteByte('\n')
			}
			part = key
			if s := p[d.Package].Synopsis; s != "" {
				hanging(&b, "  # ", "  # ", upperFirst(plain(parse(s)))+".")
			}
			fmt.Fprintf(&b, "  - use: %s\n", d.Name)
			p.skeletonSettings(&b, reg, componentRows(d))
		}
	}
	return b.String()
}

func (p Prose) skeletonSettings(b *strings.Builder, reg *registry.Registry, rows []row) {
	for i, r := range rows {
		if strings.Contains(r.name, "[]") || strings.Contains(r.name, ".*") {
			continue // of the entries of a list or map, which are the user's
		}
		levels := strings.Split(r.name, ".")
		indent := strings.Repeat("  ", 1+len(levels))
		text, named := p.about(r)
		if named {
			text = levels[len(levels)-1] + text
		}
		about, _, _ := strings.Cut(plain(parse(text)), "\n")
		if about != "" {
			hanging(b, indent+"# ", indent+"# ", about)
		}
		must := r.missing()
		for _, inner := range rows[i+1:] {
			must = must || r.group() && inner.missing() && strings.HasPrefix(inner.name, r.name+".") && !strings.ContainsAny(inner.name, "[*")
		}
		line := levels[len(levels)-1] + ":"
		switch standard := r.standard(); {
		case r.missing():
			line += " " + example(reg, r.typ, r.rules)
		case standard != "" && standard != "none":
			line += " " + standard
		}
		if !must {
			indent += "#"
		}
		b.WriteString(indent + line + "\n")
	}
}

// example returns something that may be written for a setting.
func example(reg *registry.Registry, t *registry.Type, rules []registry.Rule) string {
	switch {
	case rule(rules, "oneof") != nil:
		return strings.Fields(rule(rules, "oneof").Arg)[0]
	case rule(rules, "url") != nil:
		return "http://localhost:9000/"
	case rule(rules, "startswith") != nil:
		return rule(rules, "startswith").Arg
	}
	switch t.Form {
	case registry.FormPath:
		return "."
	case registry.FormAddress:
		return "127.0.0.1:8080"
	case registry.FormNetwork:
		return "127.0.0.1"
	case registry.FormSecret:
		return `"${env:SECRET:-to be replaced, and kept from others}"`
	case registry.FormRef:
		for _, d := range reg.All() {
			if d.Kind == t.Kind {
				return needed(reg, "use: "+d.Name, d.Settings)
			}
		}
	case registry.FormStack:
		return "{stack: [respond]}"
	case registry.FormList:
		return "[" + example(reg, t.Elem, t.ElemRules) + "]"
	case registry.FormMap:
		return "{name: " + example(reg, t.Elem, t.ElemRules) + "}"
	case registry.FormStruct:
		return needed(reg, "", t)
	}
	return "https://example.org" // a text that is good for most
}

// needed returns a map with the settings that must be written, after what stands first in it.
func needed(reg *registry.Registry, first string, t *registry.Type) string {
	var parts []string
	if first != "" {
		parts = append(parts, first)
	}
	for _, f := range t.Fields {
		if rule(f.Rules, "required") != nil {
			parts = append(parts, f.Name+": "+example(reg, f.Type, f.Rules))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
