package registry

import "net/http"

// Stack is a setting that holds a whole stack: what another stack file says, by its path, or a
// map with stack: and what else belongs to one. It is checked, and built, with the stack that the component
// stands in, before the component, and closed after it.
//
// The stack serves the requests that its handler is given, as a server gives them to it. It has an
// environ of its own; see [github.com/stackd/stackd/registry/environ.NewInherited] for what it takes over.
// A component that hands requests on with another path may tell, by a method on its settings,
// which; see [Definition.Inside].
type Stack struct {
	name    string
	handler http.Handler
}

// BoundStack returns a Stack that is already built, for tests of a component without a stack file.
func BoundStack(h http.Handler) Stack { return Stack{name: "bound", handler: h} }

// IsZero reports whether there is no stack.
func (s Stack) IsZero() bool { return s.name == "" }

// Handler returns what serves the stack's requests. It panics when there is no stack, and outside of Build.
func (s Stack) Handler() http.Handler {
	if s.handler == nil {
		panic("registry: Handler of a Stack that isn't built")
	}
	return s.handler
}

// Choose makes it the stack of that name, for a loader. Components don't need it.
func (s *Stack) Choose(name string) { *s = Stack{name: name} }

// Bind hands it what serves the stack, for a loader. Components don't need it.
func (s *Stack) Bind(h http.Handler) { s.handler = h }
