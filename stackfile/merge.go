package stackfile

import (
	"slices"

	"github.com/stackd/stackd/registry"
)

// merger lays settings over settings. It knows their types, so that only what names a
// component is treated so.
type merger struct{ registry *registry.Registry }

// merge returns base with over laid on it: maps by key, references as [merger.reference]
// says, and everything else replaced. A nil base or over is none.
func (m merger) merge(base, over *node, t *registry.Type) *node {
	switch {
	case over == nil:
		return base
	case base == nil:
		return over
	case t.Form == registry.FormRef:
		return m.reference(base, over, t.Kind)
	case t.Form == registry.FormStack && base.form == mapping && over.form == mapping:
		return byKey(base, over, func(b, o pair) *node {
			if o.key == "vars" {
				return mergeFree(b.value, o.value)
			}
			return o.value
		})
	case t.Form == registry.FormStruct || t.Form == registry.FormMap:
		return m.maps(base, over, func(key string) *registry.Type {
			if t.Form == registry.FormMap {
				return t.Elem
			}
			if f := t.Field(key); f != nil {
				return f.Type
			}
			return nil
		})
	}
	return over
}

// maps merges by key, when both are maps. A key whose type is unknown is replaced.
func (m merger) maps(base, over *node, typeOf func(key string) *registry.Type) *node {
	if base.form != mapping || over.form != mapping {
		return over
	}
	return byKey(base, over, func(b, o pair) *node {
		if t := typeOf(o.key); t != nil {
			return m.merge(b.value, o.value, t)
		}
		return o.value
	})
}

// byKey lays over on base, both maps. Lay merges the values of a key that both have.
func byKey(base, over *node, lay func(base, over pair) *node) *node {
	var index map[string]int
	if len(base.pairs) > few {
		index = make(map[string]int, len(base.pairs))
		for i, p := range base.pairs {
			index[p.key] = i
		}
	}
	merged := &node{form: mapping, pos: over.pos, where: over.where}
	merged.pairs = append(make([]pair, 0, len(base.pairs)+len(over.pairs)), base.pairs...)
	for _, o := range over.pairs {
		i, both := index[o.key]
		if index == nil {
			i = slices.IndexFunc(base.pairs, func(p pair) bool { return p.key == o.key })
			both = i >= 0
		}
		if !both {
			merged.pairs = append(merged.pairs, o)
			continue
		}
		o.value = lay(base.pairs[i], o)
		merged.pairs[i] = o
	}
	return merged
}

// reference lays one reference over another. Settings speak to the component that stands
// there; another component by name, or the same one by its bare name, begins from its
// own defaults.
func (m merger) reference(base, over *node, kind registry.Kind) *node {
	if over.form != mapping || base.isNull() {
		return over
	}
	was, is := useOf(base), useOf(over)
	if is != "" && is != was {
		return over
	}
	if base.form == scalar {
		base = &node{form: mapping, pos: base.pos, where: base.where, pairs: []pair{{key: "use", keyPos: base.pos, value: base}}}
	}
	d := m.registry.Lookup(kind, was)
	return m.maps(base, over, func(key string) *registry.Type {
		if d == nil {
			return nil
		}
		if f := d.Settings.Field(key); f != nil {
			return f.Type
		}
		return nil
	})
}

// useOf returns the component that a reference names, or "" when it leaves that open.
func useOf(n *node) string {
	if n.form == scalar {
		if n.isNull() {
			return ""
		}
		return n.text
	}
	if use := n.get("use"); use != nil && use.form == scalar {
		return use.text
	}
	return ""
}

// mergeFree lays free-form values over each other: maps by key, anything else replaced.
func mergeFree(base, over *node) *node {
	switch {
	case over == nil:
		return base
	case base == nil || base.form != mapping || over.form != mapping:
		return over
	}
	return byKey(base, over, func(b, o pair) *node { return mergeFree(b.value, o.value) })
}
