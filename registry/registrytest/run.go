package registrytest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// Case is one way to use a component, and what the kit must know to try it. The zero Case
// tries the default settings.
type Case[C any] struct {
	// Name is the case's in the output of go test.
	Name string
	// Settings makes the settings, anew for each rule; nil means the defaults. Paths in
	// them must be absolute, and references built: see [registry.Bound]. What it opens for the
	// component to use it closes with t.Cleanup, and may not open more of later.
	Settings func(t *testing.T) C
	// Environ presets the keys that the component needs from what stands further out.
	Environ func(b *environ.Base)
	// Request prepares each request before it is sent to a middleware or an app: it may add
	// credentials, say.
	Request func(r *http.Request)
	// Path is the path of the URL that a GET asks an app for, the path that a hook has an answer for,
	// or the name of the file that a factory is tried on. Empty means "/" for an app, the only one
	// of Files for a factory, and for a hook that it is only asked for what it doesn't have.
	Path string
	// Files are the file that a factory is tried on and those around it, by name. One that
	// begins with #! is executable.
	Files map[string]string
	// Persistent says that a store still has its data after it was closed and built again
	// on the same settings.
	Persistent bool
	// Client sends requests to a server that speaks another protocol than HTTP. The kit closes its
	// idle connections, if it has a method for that.
	Client func(addr net.Addr) http.RoundTripper
	// Process says that the connections of a server are processes that a web server has started for one
	// request each, see registry/gateway.Process. Such a server can't see that a client left, and can't tell
	// one that its answer broke off; the rules about that aren't tried.
	Process bool
}

// patience is how long the kit waits for what must happen. Only a component that breaks a
// rule makes it wait that long.
const patience = 10 * time.Second

// Run checks that a component keeps to the rules, for each of the cases and in a subtest for each
// rule; with no cases, for its default settings. It watches the open files of the whole
// process, so it must not run beside parallel tests.
func Run[C, T any](t *testing.T, c registry.Component[C, T], cases ...Case[C]) {
	t.Helper()
	if len(cases) == 0 {
		cases = []Case[C]{{Name: "defaults"}}
	}
	var d *registry.Definition
	t.Run(declaration.name, func(t *testing.T) {
		var err error
		if d, err = declare(c); err != nil {
			t.Error(fault{&declaration, err})
		}
	})
	if d == nil {
		return
	}
	for i, cs := range cases {
		if cs.Name == "" {
			cs.Name = "case " + strconv.Itoa(i+1)
		}
		s := newSubject(d, cs)
		t.Run(cs.Name, func(t *testing.T) {
			for _, r := range rulesFor(d.Kind) {
				ok := t.Run(r.name, func(t *testing.T) {
					for _, f := range s.try(t, r, patience) {
						t.Error(f)
					}
				})
				if !ok && r.first {
					return // the others would only say so again
				}
			}
		})
	}
}

// rule is one thing that a component must keep to.
type rule struct {
	name  string // the subtest's
	text  string // the rule in a sentence
	where string // where it is written
	first bool   // without it, no other rule can be tried
	check func(k *kit) error
}

// fault says that a rule is broken.
type fault struct {
	rule *rule
	err  error
}

func (f fault) String() string {
	return fmt.Sprintf("%v\n\trule: %s (%s)", f.err, f.rule.text, f.rule.where)
}

// Where the rules are written.
const (
	mustKeepTo = "package registry, What a component must keep to"
	life       = "package registry, Life of an instance"
	settings   = "package registry, Settings"
)

// rulesFor returns the rules for a kind of component, in the order in which they are tried.
func rulesFor(kind registry.Kind) []*rule {
	var rules []rule
	switch kind {
	case registry.KindServer:
		rules = serverRules
	case registry.KindMiddleware:
		rules = middlewareRules
	case registry.KindApp:
		rules = appRules
	case registry.KindHook:
		rules = hookRules
	case registry.KindFactory:
		rules = factoryRules
	case registry.KindServlet:
		rules = servletRules
	case registry.KindStore:
		rules = storeRules
	case registry.KindReporter:
		rules = reporterRules
	}
	var all []*rule
	for _, list := range [][]rule{settingsRules, lifeRules, rules} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

// subject is a component with one case, its types erased.
type subject struct {
	*registry.Definition
	settings   func(t *testing.T) any // as Definition.Default returns them
	defaults   bool                   // settings are the defaults
	environ    func(b *environ.Base)
	request    func(r *http.Request)
	path       string
	files      map[string]string
	persistent bool
	client     func(addr net.Addr) http.RoundTripper
	process    bool
}

func newSubject[C any](d *registry.Definition, c Case[C]) *subject {
	s := &subject{
		Definition: d,
		settings:   func(*testing.T) any { return d.Default() },
		defaults:   c.Settings == nil,
		environ:    c.Environ,
		request:    c.Request,
		path:       c.Path,
		files:      maps.Clone(c.Files),
		persistent: c.Persistent,
		client:     c.Client,
		process:    c.Process,
	}
	if c.Settings != nil {
		s.settings = func(t *testing.T) any {
			cfg := c.Settings(t)
			return &cfg
		}
	}
	if s.path == "" && d.Kind == registry.KindFactory && len(s.files) == 1 {
		s.path = slices.Collect(maps.Keys(s.files))[0]
	}
	return s
}
