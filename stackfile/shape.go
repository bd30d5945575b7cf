package stackfile

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/stackd/stackd/registry"
)

// A shape tells the order of keys in one part of a stack file: given the value that stands there, it returns what
// tells the rank of a key in it, and the shape of what is under that key. For a list it is the shape of the
// items. Nil keeps the order.
type shape func(n *yaml.Node) func(key string) (rank int, under shape)

// unranked is the rank of what is not known; it comes last, in the order written.
const unranked = 1 << 20

func (s shape) of(n *yaml.Node) func(string) (int, shape) {
	if s != nil {
		if keys := s(n); keys != nil {
			return keys
		}
	}
	return func(string) (int, shape) { return 0, nil }
}

// each is the shape of a map whose keys keep their order.
func each(under shape) shape {
	return func(*yaml.Node) func(string) (int, shape) {
		return func(string) (int, shape) { return 0, under }
	}
}

// fileShape is the shape of a whole stack file.
func fileShape(reg *registry.Registry, top *yaml.Node) shape {
	slots := yamlSlots(reg, top)
	under := map[string]shape{
		"servers":   entryShape(reg, nil, registry.KindServer),
		"deadlines": typeShape(reg, registry.Describe[Deadlines]()),
		"reload":    typeShape(reg, registry.Describe[Reload]()),
		"check":     typeShape(reg, registry.Describe[Checks]()),
		"stack":     entryShape(reg, nil, registry.KindMiddleware, registry.KindApp),
		"urls":      each(overrideShape(reg, slots)),
		"tests":     typeShape(reg, registry.Describe[[]Test]()),
	}
	return func(*yaml.Node) func(string) (int, shape) {
		return func(key string) (int, shape) {
			if i := slices.Index(Keys(), key); i >= 0 {
				return i, under[key]
			}
			return unranked, nil
		}
	}
}

// yamlSlot is a slot as far as YAML tells.
type yamlSlot struct {
	name string
	def  *registry.Definition // nil for an unknown one
}

// yamlSlots returns the slots under stack:.
func yamlSlots(reg *registry.Registry, top *yaml.Node) []yamlSlot {
	stack := yamlGet(top, "stack")
	if stack == nil || stack.Kind != yaml.SequenceNode {
		return nil
	}
	var slots []yamlSlot
	for _, item := range stack.Content {
		use, as := item.Value, ""
		if item.Kind == yaml.MappingNode {
			use, as = yamlText(item, "use"), yamlText(item, "as")
		}
		if as == "" {
			as = use
		}
		slots = append(slots, yamlSlot{as, lookup(reg, use, registry.KindMiddleware, registry.KindApp)})
	}
	return slots
}

func overrideShape(reg *registry.Registry, slots []yamlSlot) shape {
	return func(*yaml.Node) func(string) (int, shape) {
		return func(key string) (int, shape) {
			i := slices.IndexFunc(slots, func(s yamlSlot) bool { return s.name == key })
			if i < 0 {
				return unranked, nil
			}
			return i, entryShape(reg, slots[i].def, registry.KindMiddleware, registry.KindApp)
		}
	}
}

// entryShape is that of a component's settings with use: beside them. Without use: the component is def.
func entryShape(reg *registry.Registry, def *registry.Definition, kinds ...registry.Kind) shape {
	return func(n *yaml.Node) func(string) (int, shape) {
		def := def
		if use := yamlText(n, "use"); use != "" {
			def = lookup(reg, use, kinds...)
		}
		own := entryKeys()
		return func(key string) (int, shape) {
			if i := slices.Index(own, key); i >= 0 {
				return i, nil
			}
			if def == nil {
				return unranked, nil
			}
			rank, under := fieldShape(reg, def.Settings, key)
			return len(own) + rank, under
		}
	}
}

// fieldShape returns the rank and shape of a setting among those of t.
func fieldShape(reg *registry.Registry, t *registry.Type, key string) (int, shape) {
	i := slices.IndexFunc(t.Fields, func(f registry.Field) bool { return f.Name == key })
	if i < 0 {
		return unranked, nil
	}
	return i, typeShape(reg, t.Fields[i].Type)
}

func typeShape(reg *registry.Registry, t *registry.Type) shape {
	switch t.Form {
	case registry.FormStruct:
		return func(*yaml.Node) func(string) (int, shape) {
			return func(key string) (int, shape) { return fieldShape(reg, t, key) }
		}
	case registry.FormList:
		return typeShape(reg, t.Elem)
	case registry.FormMap:
		return each(typeShape(reg, t.Elem))
	case registry.FormRef:
		return entryShape(reg, nil, t.Kind)
	}
	return nil
}

func lookup(reg *registry.Registry, name string, kinds ...registry.Kind) *registry.Definition {
	for _, kind := range kinds {
		if def := reg.Lookup(kind, name); def != nil {
			return def
		}
	}
	return nil
}

// yamlGet returns the value of a key, or nil.
func yamlGet(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// yamlText returns the text of a key, or "".
func yamlText(n *yaml.Node, key string) string {
	if v := yamlGet(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}
