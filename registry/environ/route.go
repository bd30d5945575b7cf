package environ

// Vars are the stack file's vars for the URL asked for, overrides applied. They
// are shared by all requests of the route: read them, never change them.
var Vars = NewKey[map[string]any]("vars")

// Matched is the route that the request took through the stack.
var Matched = NewKey[*Route]("route")

// Reached is how far in the request has come: the index, among the Slots of [Matched], of the last one
// that it entered. When a middleware has handed the request on and gets it back, that is the slot
// that answered.
//
// The stack itself sets it, only for the chains in which a component lists it under Needs, and only for
// the slots further in.
var Reached = NewKey[int]("slot reached")

// Route tells how the stack was put together for a URL. It is made when the stack
// is built, shared by all requests that take it, and never changes. It is for
// showing to people: settings are text, with secrets already redacted.
type Route struct {
	// Patterns are the keys under urls: that matched, general to specific; empty
	// where no override applies.
	Patterns []string
	// Slots is the chain, outermost first. Slots that are off are listed too.
	Slots []Slot
}

// Slot is one entry of the stack as it stands for a route.
type Slot struct {
	// Name is what overrides call it, Component what stands in it.
	Name, Component string
	// Kind is the component's kind: "middleware" or "app".
	Kind string
	// Off says that requests of this route skip it.
	Off bool
	// Origin is where it was placed, or replaced, as "file:line".
	Origin string
	// Settings are the effective settings in the order of the manual.
	Settings []Setting
}

// Setting is one effective setting of a slot.
type Setting struct {
	// Name is the path to it, such as "cookie.name".
	Name string
	// Value is how it would be written in a stack file; "[redacted]" for a secret.
	Value string
	// Origin is the "file:line" that set it, or empty for the default.
	Origin string
}
