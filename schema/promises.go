package schema

import (
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// promises returns the traits of a component with its default settings, a sentence each.
func promises(d *registry.Definition) []string {
	cfg := d.Default()
	traits := d.Traits(cfg)
	var said []string
	switch traits.Processes {
	case registry.ProcessSafe:
		said = append(said, "Process-safe: several processes may run it on the same settings.")
	case registry.SingleProcess:
		said = append(said, "Single-process: it keeps state in its process, which several can't share.")
	}
	switch blocking := traits.Calls == registry.Blocking; {
	case d.Kind == registry.KindServer && blocking:
		said = append(said, "Runs any stack, also one that waits.")
	case d.Kind == registry.KindServer:
		said = append(said, "Runs only stacks in which nothing waits.")
	case blocking:
		said = append(said, "Blocking: it may wait, for a disk, a network or another process.")
	default:
		said = append(said, "Non-blocking: it never waits.")
	}
	if traits.Workers {
		said = append(said, "Has workers: what stands further in may wait, also with a server that runs only what never waits.")
	}
	if len(traits.Provides) > 0 {
		said = append(said, "Provides to what stands further in: "+names(traits.Provides)+".")
	}
	// What the stack itself provides is nobody's to put there.
	needs := slices.DeleteFunc(slices.Clone(traits.Needs), func(n environ.Name) bool { return n.Name() == environ.Reached.Name() })
	if len(needs) > 0 {
		said = append(said, "Needs from what stands further out: "+names(needs)+".")
	}
	if _, depends := cfg.(interface {
		Traits(t registry.Traits) registry.Traits
	}); depends {
		said = append(said, "This is so with the default settings; others may change it.")
	}
	if slices.ContainsFunc(componentRows(d), func(r row) bool { return refers(r.typ) }) {
		said = append(said, "The components that its settings name make promises of their own.")
	}
	return said
}

func names(keys []environ.Name) string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.Name()
	}
	return strings.Join(all, ", ")
}

// refers reports whether settings of type t name components.
func refers(t *registry.Type) bool {
	for t.Elem != nil {
		t = t.Elem
	}
	return t.Form == registry.FormRef
}
