package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Skeleton returns a stack file to begin with: these servers, middleware and apps in the order in which they are given, each
// with every setting and what it is for. Settings are commented out, with their defaults; those that must be written
// have a value to be replaced. Components of other kinds stand where a setting of those names one; see [Host].
func Skeleton(reg *registry.Registry, components []*registry.Definition) string {
	return proseOf(reg.All()...).skeleton(reg, components)
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
			p.skeletonSettings(&b, reg, d, "    ", components)
		}
	}
	return b.String()
}

// Host returns the first server, middleware or app of reg that has a setting for components of a kind; nil if there is
// none, or if they stand in a stack themselves.
func Host(reg *registry.Registry, kind registry.Kind) *registry.Definition {
	if stands(kind) {
		return nil
	}
	for _, d := range reg.All() {
		if stands(d.Kind) && slices.ContainsFunc(componentRows(d), func(r row) bool { return r.hosts() == kind }) {
			return d
		}
	}
	return nil
}

// stands reports whether components of a kind are entries of servers: or stack:.
func stands(k registry.Kind) bool {
	return k == registry.KindServer || k == registry.KindMiddleware || k == registry.KindApp
}

// hosts returns the kind of components that the setting names, one or several; "" if it is no such setting, or one of
// the entries of a list or map.
func (r row) hosts() registry.Kind {
	t := r.typ
	if t.Elem != nil {
		t = t.Elem
	}
	if t.Form != registry.FormRef || strings.ContainsAny(r.name, "[*") {
		return ""
	}
	return t.Kind
}

// hosted writes the components that stand in a setting, with their own settings. It reports whether there are any.
func (p Prose) hosted(b *strings.Builder, reg *registry.Registry, r row, name, indent string, components []*registry.Definition) bool {
	if !holds(r, components) {
		return false
	}
	inner := slices.DeleteFunc(slices.Clone(components), func(d *registry.Definition) bool { return d.Kind != r.hosts() })
	b.WriteString(indent + name + ":\n")
	for _, d := range inner {
		if s := p[d.Package].Synopsis; s != "" {
			hanging(b, indent+"  # ", indent+"  # ", upperFirst(plain(parse(s)))+".")
		}
		first, rest := indent+"  ", indent+"  "
		switch r.typ.Form {
		case registry.FormList:
			first, rest = first+"- ", rest+"  "
		case registry.FormMap:
			key := "." + d.Name // such as the extension that a factory is for
			for _, k := range sortedKeys(r.value) {
				if r.typ.Elem.Format(r.value.MapIndex(k)) == d.Name {
					key = k.String()
					break
				}
			}
			fmt.Fprintf(b, "%s%q:\n", first, key)
			first, rest = first+"  ", rest+"  "
		}
		fmt.Fprintf(b, "%suse: %s\n", first, d.Name)
		p.skeletonSettings(b, reg, d, rest, nil)
		if r.typ.Form == registry.FormRef {
			break // it names one
		}
	}
	return true
}

// skeletonSettings writes the settings, those that hold others with these components.
func (p Prose) skeletonSettings(b *strings.Builder, reg *registry.Registry, d *registry.Definition, margin string, components []*registry.Definition) {
	rows := componentRows(d)
	for i, r := range rows {
		if strings.Contains(r.name, "[]") || strings.Contains(r.name, ".*") {
			continue // of the entries of a list or map, which are the user's
		}
		levels := strings.Split(r.name, ".")
		indent := margin + strings.Repeat("  ", len(levels)-1)
		text, named := p.about(r)
		if named {
			text = levels[len(levels)-1] + text
		}
		about, _, _ := strings.Cut(plain(parse(text)), "\n")
		if about != "" {
			hanging(b, indent+"# ", indent+"# ", about)
		}
		if p.hosted(b, reg, r, levels[len(levels)-1], indent, components) {
			continue
		}
		must := r.missing()
		for _, inner := range rows[i+1:] {
			must = must || r.group() && inner.missing() && strings.HasPrefix(inner.name, r.name+".") && !strings.ContainsAny(inner.name, "[*")
			must = must || r.group() && holds(inner, components) && strings.HasPrefix(inner.name, r.name+".")
		}
		line := levels[len(levels)-1] + ":"
		switch standard := r.standard(); {
		case r.missing():
			line += " " + suited(reg, d, r)
		case standard != "" && standard != "none":
			line += " " + standard
		}
		if !must {
			indent += "#"
		}
		b.WriteString(indent + line + "\n")
	}
}

// holds reports whether one of the components stands in the setting.
func holds(r row, components []*registry.Definition) bool {
	kind := r.hosts()
	return kind != "" && !stands(kind) && slices.ContainsFunc(components, func(d *registry.Definition) bool { return d.Kind == kind })
}

// suited returns something that may be written for a setting of a component, which may have a rule of its own.
func suited(reg *registry.Registry, d *registry.Definition, r row) string {
	t, list := r.typ, r.typ.Form == registry.FormList
	if list {
		t = t.Elem
	}
	if t.Form == registry.FormString || t.Form == registry.FormSecret {
		for _, text := range []string{"https://example.org", "/docs/", "admin@example.org"} {
			cfg := d.Default()
			v, of := reflect.ValueOf(cfg).Elem(), d.Settings
			for name := range strings.SplitSeq(r.name, ".") {
				f := of.Field(name)
				v, of = v.Field(f.Index), f.Type
			}
			if list {
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
				v = v.Index(0)
			}
			written := text
			if t.Form == registry.FormSecret {
				written = `"${env:SECRET:-` + text + `}"`
				v.Set(reflect.ValueOf(registry.NewSecret(text)))
			} else {
				v.SetString(text)
			}
			if list {
				written = "[" + written + "]"
			}
			if !slices.ContainsFunc(d.Check(cfg), func(wrong registry.SettingError) bool { return strings.HasPrefix(wrong.Setting, r.name) }) {
				return written
			}
		}
	}
	return example(reg, r.typ, r.rules)
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
