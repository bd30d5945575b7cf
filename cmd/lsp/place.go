package lsp

import (
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// place says what may stand at a place of a stack file. The zero value is one of which nothing is known.
type place struct {
	// file are the keys of a whole stack, and top is where that begins.
	file []string
	top  *node
	// override says that it is what stands under a pattern.
	override bool
	// kinds are those of the component that stands here, which is def if nothing else is said; more are the keys that it may
	// have beside its settings. Named says that a text is the component's name.
	kinds []registry.Kind
	def   *registry.Definition
	more  []string
	named bool
	// typ is that of a setting, which goes by its path among those of a component or of a key.
	typ   *registry.Type
	owner *registry.Definition
	key   string
	path  string
	// words may be written here.
	words []string
	// reads says that a text is the path of a file that is part of the stack.
	reads bool
	// item is what each entry of a list is, each what is under each key of a map whose keys are the user's.
	item, each *place
}

// view is a document as it is looked at, its tree, and all that are open.
type view struct {
	registry  *registry.Registry
	documents []*document
	document  *document
	top       *node
}

// at returns the place of a value.
func (v *view) at(n *node) place {
	p := place{file: stackfile.Keys()}
	if n.in != nil {
		outer := v.at(n.in)
		switch {
		case n.of != nil:
			p = v.under(outer, n.in, n.of.key)
		case outer.item != nil:
			p = *outer.item
		default:
			p = place{}
		}
	}
	if p.file != nil {
		p.top = n
	}
	return p
}

// under returns the place under a key of a mapping.
func (v *view) under(outer place, in *node, key string) place {
	switch {
	case outer.file != nil && slices.Contains(outer.file, key):
		return underKey(outer, key)
	case outer.override && key == "on_reload":
		return place{words: onReloads()}
	case outer.override && key != "vars":
		def := v.slots(outer.top)[key]
		if def == nil {
			def = v.lookup(key, registry.KindMiddleware, registry.KindApp)
		}
		return place{kinds: []registry.Kind{registry.KindMiddleware, registry.KindApp}, def: def, more: []string{"use", "off"}, words: []string{"on", "off"}}
	case outer.each != nil:
		return *outer.each
	case slices.Contains(outer.more, key):
		switch key {
		case "use":
			return place{kinds: outer.kinds, named: true}
		case "off":
			return place{words: []string{"true", "false"}}
		}
	case outer.kinds != nil:
		if def := v.component(outer, in); def != nil {
			if f := def.Settings.Field(key); f != nil {
				return v.setting(f.Type, f.Rules, def, "", key)
			}
		}
	case outer.typ != nil && outer.typ.Form == registry.FormStruct:
		if f := outer.typ.Field(key); f != nil {
			return v.setting(f.Type, f.Rules, outer.owner, outer.key, strings.TrimPrefix(outer.path+"."+key, "."))
		}
	}
	return place{}
}

// underKey returns the place under a key of a stack.
func underKey(outer place, key string) place {
	entry := func(kinds ...registry.Kind) place {
		return place{item: &place{kinds: kinds, more: []string{"use", "as", "off"}, named: true}}
	}
	switch key {
	case "servers":
		return entry(registry.KindServer)
	case "stack":
		return entry(registry.KindMiddleware, registry.KindApp)
	case "urls":
		return place{each: &place{override: true, top: outer.top}}
	case "deadlines":
		return place{key: key, typ: registry.Describe[stackfile.Deadlines]()}
	case "reload":
		return place{key: key, typ: registry.Describe[stackfile.Reload]()}
	case "check":
		return place{key: key, typ: registry.Describe[stackfile.Checks]()}
	case "tests":
		return place{item: &place{key: key, typ: registry.Describe[stackfile.Test]()}}
	case "on_reload":
		return place{words: onReloads()}
	case "processes":
		return place{words: []string{"auto"}}
	case "extends":
		return place{reads: true}
	case "include":
		return place{reads: true, item: &place{reads: true}}
	}
	return place{}
}

// setting returns the place of a setting, which goes by its path among those of a component, or of a key.
func (v *view) setting(t *registry.Type, rules []registry.Rule, owner *registry.Definition, key, path string) place {
	p := place{typ: t, owner: owner, key: key, path: path}
	for _, r := range rules {
		if r.Name == "oneof" {
			p.words = strings.Fields(r.Arg)
		}
	}
	switch t.Form {
	case registry.FormBool:
		p.words = []string{"true", "false"}
	case registry.FormRef:
		p.kinds, p.more, p.named = []registry.Kind{t.Kind}, []string{"use"}, true
		if owner != nil {
			_ = owner.References(owner.Default(), func(at string, ref registry.Reference) error {
				if at == path {
					p.def = v.registry.Lookup(t.Kind, ref.Name())
				}
				return nil
			})
		}
	case registry.FormStack:
		p.file, p.reads = stackfile.MountedKeys(), true
	case registry.FormList:
		item := v.setting(t.Elem, t.ElemRules, owner, key, path+"[]")
		p.item = &item
	case registry.FormMap:
		each := v.setting(t.Elem, t.ElemRules, owner, key, path+".*")
		p.each = &each
	}
	return p
}

func onReloads() (words []string) {
	for _, o := range stackfile.OnReloads() {
		words = append(words, string(o))
	}
	return words
}

func (v *view) lookup(name string, kinds ...registry.Kind) *registry.Definition {
	for _, kind := range kinds {
		if def := v.registry.Lookup(kind, name); def != nil {
			return def
		}
	}
	return nil
}

// component returns what stands at a place, as a mapping there says, or what that is laid over; nil for something unknown.
func (v *view) component(p place, in *node) *registry.Definition {
	for _, n := range []*node{in, v.below(in)} {
		if n == nil {
			continue
		}
		name := n.text
		if use := n.get("use"); use != nil {
			name = use.text
		}
		if name != "" {
			return v.lookup(name, p.kinds...)
		}
	}
	return p.def
}

// below returns what stands under stack for what a value under urls is laid over; nil for nothing.
func (v *view) below(n *node) *node {
	way := n.way()
	if len(way) < 3 || way[0] != v.top.get("urls") || way[2].of == nil {
		return nil
	}
	for _, entry := range v.top.get("stack").all() {
		if name, _ := v.slotOf(entry); name == way[2].of.key {
			for _, n := range way[3:] {
				if n.of == nil || entry == nil {
					return nil
				}
				entry = entry.get(n.of.key)
			}
			return entry
		}
	}
	return nil
}

// slotOf returns the slot that an entry of a stack stands for.
func (v *view) slotOf(entry *node) (name string, def *registry.Definition) {
	name = entry.text
	if use := entry.get("use"); use != nil {
		name = use.text
	}
	def = v.lookup(name, registry.KindMiddleware, registry.KindApp)
	if as := entry.get("as"); as != nil {
		name = as.text
	}
	return name, def
}

// maxExtended is how many files are looked through that extend one another.
const maxExtended = 16

// slots returns the slots of a stack, and of what it extends, with their components; nil for an unknown one.
func (v *view) slots(top *node) map[string]*registry.Definition {
	slots := make(map[string]*registry.Definition)
	for range maxExtended {
		for _, entry := range top.get("stack").all() {
			if name, def := v.slotOf(entry); name != "" && slots[name] == nil {
				slots[name] = def
			}
		}
		base := top.get("extends")
		if base == nil || base.text == "" {
			break
		}
		text, ok := textOf(v.documents, v.document.beside(base.text))
		if !ok {
			break
		}
		top = read(text)
	}
	return slots
}

// keys returns the keys that a mapping at a place may have; in may be nil.
func (v *view) keys(p place, in *node) []string {
	var fields []registry.Field
	keys := slices.Clone(p.more)
	switch {
	case p.file != nil:
		return p.file
	case p.override:
		for name := range v.slots(p.top) {
			keys = append(keys, name)
		}
		slices.Sort(keys)
		return append(keys, "vars", "on_reload")
	case p.kinds != nil && p.more != nil:
		if def := v.component(p, in); def != nil {
			fields = def.Settings.Fields
		}
	case p.typ != nil && p.typ.Form == registry.FormStruct:
		fields = p.typ.Fields
	}
	for _, f := range fields {
		keys = append(keys, f.Name)
	}
	return keys
}

// about returns the manual on a key of a mapping at a place.
func (v *view) about(p place, in *node, key string) string {
	switch {
	case p.file != nil:
		return schema.KeyPage(key, "")
	case p.override && (key == "vars" || key == "on_reload"):
		return schema.KeyPage(key, "")
	case p.override:
		if def := v.under(p, in, key).def; def != nil {
			return schema.Page(def, "")
		}
	case slices.Contains(p.more, key):
		return map[string]string{
			"use": "**`use`** is the component that stands here.",
			"as":  "**`as`** is the name of the slot, when it is not the component's: one that stands twice needs it.",
			"off": "**`off`** leaves it out, until an override under urls says on.",
		}[key]
	case p.kinds != nil:
		if def := v.component(p, in); def != nil {
			return schema.Page(def, key)
		}
	case p.typ != nil && p.typ.Form == registry.FormStruct:
		path := strings.TrimPrefix(p.path+"."+key, ".")
		if p.owner == nil {
			return schema.KeyPage(p.key, path)
		}
		return schema.Page(p.owner, path)
	}
	return ""
}
