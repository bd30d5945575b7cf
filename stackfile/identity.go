package stackfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
)

// identity returns what tells instances apart, and is the same for those that are one: the slot, the
// component, the effective settings and the instances referred to. It is a hash, since settings may
// be secret. Whoever only checks a stack never asks, and is spared a quarter of the time.
func (p *planned) identity() string {
	p.once.Do(func() { p.hashed = p.hash(true) })
	return p.hashed
}

// hash is identity, with the stacks that are mounted or without.
func (p *planned) hash(mounted bool) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q\n", p.full(), p.def.Kind, p.def.Name)
	for _, f := range p.def.Settings.Fields {
		if p.def.Kind == registry.KindServer && (f.Name == listenSetting || f.Name == modeSetting) {
			continue // where it listens is no part of what it does, and the other addresses go on
		}
		fmt.Fprintf(h, "%q:", f.Name)
		digest(h, f.Type, reflect.ValueOf(p.cfg).Elem().Field(f.Index))
	}
	for _, ref := range p.refs {
		fmt.Fprintf(h, "%q %s\n", ref.path, ref.identity())
	}
	for _, m := range p.mounts {
		if !mounted {
			break
		}
		fmt.Fprintf(h, "%q %s\n", m.path, m.plan.sum)
	}
	return p.full() + " " + hex.EncodeToString(h.Sum(nil))
}

// digest writes settings so that different ones never look the same.
func digest(h hash.Hash, t *registry.Type, v reflect.Value) {
	switch t.Form {
	case registry.FormSecret:
		fmt.Fprintf(h, "%q,", v.Interface().(registry.Secret).Reveal())
	case registry.FormStruct:
		for _, f := range t.Fields {
			fmt.Fprintf(h, "%q:", f.Name)
			digest(h, f.Type, v.Field(f.Index))
		}
	case registry.FormList:
		fmt.Fprintf(h, "[%d]", v.Len())
		for i := range v.Len() {
			digest(h, t.Elem, v.Index(i))
		}
	case registry.FormMap:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		fmt.Fprintf(h, "{%d}", len(keys))
		for _, k := range keys {
			fmt.Fprintf(h, "%q:", k.String())
			digest(h, t.Elem, v.MapIndex(k))
		}
	default:
		fmt.Fprintf(h, "%q,", t.Format(v))
	}
}
