package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Registry is a table of components. It never changes once it is made, and is safe for
// concurrent use.
type Registry struct {
	all    []*Definition
	byName map[slot]*Definition
}

// slot is where a name must be unique.
type slot struct {
	kind Kind
	name string
}

// slotOf puts middleware and apps in one name space, since both stand in a stack.
func slotOf(kind Kind, name string) slot {
	if kind == KindApp {
		kind = KindMiddleware
	}
	return slot{kind, name}
}

// New makes a registry of these components. The error names every fault in their
// declarations, and every name that two of them share.
func New(components ...Declaration) (*Registry, error) {
	r := &Registry{byName: make(map[slot]*Definition, len(components))}
	var errs []error
	for _, c := range components {
		d, err := c.define()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s := slotOf(d.Kind, d.Name)
		if first, taken := r.byName[s]; taken {
			errs = append(errs, fmt.Errorf("%s %q is declared by %s and by %s", d.Kind, d.Name, first.Package, d.Package))
			continue
		}
		r.byName[s] = d
		r.all = append(r.all, d)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	kinds := Kinds()
	slices.SortFunc(r.all, func(a, b *Definition) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return r, nil
}

// All returns the components by kind, in the order of [Kinds], then by name.
func (r *Registry) All() []*Definition { return slices.Clone(r.all) }

// Lookup returns the component of that kind and name, or nil.
func (r *Registry) Lookup(kind Kind, name string) *Definition {
	if d := r.byName[slotOf(kind, name)]; d != nil && d.Kind == kind {
		return d
	}
	return nil
}

// Named returns the components of that name, whatever their kind.
func (r *Registry) Named(name string) []*Definition {
	var found []*Definition
	for _, d := range r.all {
		if d.Name == name {
			found = append(found, d)
		}
	}
	return found
}

// compiled are the components that registered themselves, which they do before
// main begins.
var compiled struct {
	sync.Mutex
	components []Declaration
	taken      map[slot]string
}

// Register adds a component to those compiled in. It is for a component's own init,
// and panics when the declaration has faults, with all of them, or when the name is taken,
// with both packages.
func Register(c Declaration) {
	d, err := c.define()
	if err != nil {
		panic("registry: " + err.Error())
	}
	compiled.Lock()
	defer compiled.Unlock()
	s := slotOf(d.Kind, d.Name)
	if first, taken := compiled.taken[s]; taken {
		panic(fmt.Sprintf("registry: %s %q is declared by %s and by %s", d.Kind, d.Name, first, d.Package))
	}
	if compiled.taken == nil {
		compiled.taken = make(map[slot]string)
	}
	compiled.taken[s] = d.Package
	compiled.components = append(compiled.components, c)
}

// Compiled returns the components compiled into this program.
func Compiled() *Registry {
	compiled.Lock()
	defer compiled.Unlock()
	r, err := New(compiled.components...)
	if err != nil {
		panic("registry: " + err.Error()) // each one was checked as it registered
	}
	return r
}
