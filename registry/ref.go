package registry

import "reflect"

// Ref is a setting that names another component, whose Build makes a T. A stack file
// writes a name (store: memory) or the name with settings (store: {use: sqlite,
// path: …}). What it names is built before the component that refers to it, and closed
// after it.
type Ref[T any] struct {
	name    string
	product T
	bound   bool
}

// Use returns a Ref to the component of that name with its default settings, for a
// component's own defaults.
func Use[T any](name string) Ref[T] { return Ref[T]{name: name} }

// Bound returns a Ref that is already built, for tests of a component without a
// stack.
func Bound[T any](product T) Ref[T] { return Ref[T]{name: "bound", product: product, bound: true} }

// Name returns the name of the component referred to, empty when there is none.
func (r Ref[T]) Name() string { return r.name }

// IsZero reports whether it refers to nothing.
func (r Ref[T]) IsZero() bool { return r.name == "" }

// Get returns what the component referred to was built into. It panics for a Ref that
// refers to nothing, and outside of Build.
func (r Ref[T]) Get() T {
	if !r.bound {
		panic("registry: Get of a Ref that isn't built")
	}
	return r.product
}

// Reference is what a loader sees of a *Ref[T], whatever T is. Components don't need it.
type Reference interface {
	// Kind is the kind of component it refers to.
	Kind() Kind
	// Name is the component's name, empty for none.
	Name() string
	// Choose makes it refer to another component.
	Choose(name string)
	// Bind hands it the built component.
	Bind(product any)
}

// Kind returns the kind of component that it refers to.
func (r *Ref[T]) Kind() Kind { return kindOf(reflect.TypeFor[T]()) }

// Choose makes it refer to the component of that name.
func (r *Ref[T]) Choose(name string) { *r = Ref[T]{name: name} }

// Bind hands it what the component referred to was built into, which must be a T.
func (r *Ref[T]) Bind(product any) { r.product, r.bound = product.(T), true }
