package stackfile

import "github.com/stackd/stackd/registry"

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
	merged := &node{form: mapping, pos: over.pos, where: over.where, pairs: make([]pair, 0, len(base.pairs)+len(over.pairs))}
	for _, p := range base.pairs {
		o := over.pair(p.key)
		if o == nil {
			merged.pairs = append(merged.pairs, p)
			continue
		}
		laid := *o
		if t := typeOf(p.key); t != nil {
			laid.value = m.merge(p.value, o.value, t)
		}
		merged.pairs = append(merged.pairs, laid)
	}
	for _, p := range over.pairs {
		if base.pair(p.key) == nil {
			merged.pairs = append(merged.pairs, p)
		}
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
	merged := &node{form: mapping, pos: over.pos, where: over.where}
	for _, p := range base.pairs {
		if o := over.pair(p.key); o != nil {
			p = pair{key: o.key, keyPos: o.keyPos, value: mergeFree(p.value, o.value)}
		}
		merged.pairs = append(merged.pairs, p)
	}
	for _, p := range over.pairs {
		if base.pair(p.key) == nil {
			merged.pairs = append(merged.pairs, p)
		}
	}
	return merged
}
