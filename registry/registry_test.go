package registry_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

type none struct{}

var promises = registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}

// builds is a Build that makes a product's zero value.
func builds[C, T any](*registry.Env, C) (T, error) {
	var zero T
	return zero, nil
}

// named returns a component of that name, which makes a T of settings C.
func named[C, T any](name string) registry.Component[C, T] {
	return registry.Component[C, T]{Name: name, Traits: promises, Build: builds[C, T]}
}

// Settings with all sorts of faults. Each holds the one that its name says.
type (
	pointer struct {
		A *int `yaml:"a"`
	}
	inner struct {
		A int `yaml:"a"`
	}
	embedded  struct{ inner }
	unexposed struct{ a int }
	untagged  struct{ A int }
	badTag    struct {
		A int `yaml:"Max-Size"`
	}
	option struct {
		A int `yaml:"a,omitempty"`
	}
	reserved struct {
		Use string `yaml:"use"`
	}
	twice struct {
		A int `yaml:"a"`
		B int `yaml:"a"`
	}
	instant struct {
		A time.Time `yaml:"a"`
	}
	keyed struct {
		A map[int]string `yaml:"a"`
	}
	endless struct {
		A []endless `yaml:"a"`
	}
	anything struct {
		A any `yaml:"a"`
	}
	small struct {
		A int8 `yaml:"a"`
	}
	badRef struct {
		A registry.Ref[int] `yaml:"a"`
	}
	noRule struct {
		A string `yaml:"a" validate:"email"`
	}
	boolMin struct {
		A bool `yaml:"a" validate:"min=1"`
	}
	badMin struct {
		A int `yaml:"a" validate:"min=few"`
	}
	badSpan struct {
		A time.Duration `yaml:"a" validate:"min=5"`
	}
	emptyOne struct {
		A string `yaml:"a" validate:"oneof="`
	}
	noDive struct {
		A []struct {
			B string `yaml:"b" validate:"required"`
		} `yaml:"a" validate:"required"`
	}
	dive struct {
		A int `yaml:"a" validate:"dive,min=1"`
	}
	nested struct {
		A []inside `yaml:"a"`
	}
	inside struct {
		B *int `yaml:"b"`
	}
	permitted struct {
		A insideOff `yaml:"a"`
	}
	insideOff struct {
		Off bool `yaml:"off"`
	}
)

func TestDeclarationFaults(t *testing.T) {
	_ = unexposed{}.a
	unstated := named[none, registry.Wrap]("probe")
	unstated.Traits = registry.Traits{}
	misread := named[none, registry.Wrap]("probe")
	misread.Prose = []byte("Package probe")
	for _, test := range []struct {
		name string
		c    registry.Declaration
		want []string
	}{
		{"none", named[none, registry.Wrap]("probe"), nil},
		{"nested name of the stack file's", named[permitted, registry.Wrap]("probe"), nil},
		{"traits", unstated, []string{
			"its trait Processes is not stated; it must be ProcessSafe or SingleProcess",
			"its trait Calls is not stated; it must be NonBlocking or Blocking",
		}},
		{"prose", misread, []string{"its Prose is no JSON; it must be the prose.json that schema/generate has written"}},
		{"no name", named[none, registry.Wrap](""), []string{`its name is ""; it must be lower case letters, digits and underscores, and begin with a letter`}},
		{"upper case", named[none, registry.Wrap]("Probe"), []string{`its name is "Probe"; `}},
		{"digit first", named[none, registry.Wrap]("2nd"), []string{`its name is "2nd"; `}},
		{"hyphen", named[none, registry.Wrap]("body-limit"), []string{`its name is "body-limit"; `}},
		{"no kind", named[none, string]("probe"), []string{"its Build returns a string; declare it through the alias of a kind"}},
		{"settings no struct", named[int, registry.Wrap]("probe"), []string{"its settings are a int; they must be a struct"}},
		{"pointer", named[pointer, registry.Wrap]("probe"), []string{"setting a: its type is *int; it must be of the closed set in the comment of package registry"}},
		{"embedded", named[embedded, registry.Wrap]("probe"), []string{"setting inner: it is embedded; write a field with a name"}},
		{"not exported", named[unexposed, registry.Wrap]("probe"), []string{"setting a: it is not exported; settings must be"}},
		{"no tag", named[untagged, registry.Wrap]("probe"), []string{`setting A: its yaml tag is ""; it must be a name of lower case letters, digits and underscores`}},
		{"bad tag", named[badTag, registry.Wrap]("probe"), []string{`setting A: its yaml tag is "Max-Size"; `}},
		{"tag with an option", named[option, registry.Wrap]("probe"), []string{`setting a: its yaml tag has the options "omitempty"; it must have none`}},
		{"name of the stack file's", named[reserved, registry.Wrap]("probe"), []string{"setting use: the name belongs to the stack file"}},
		{"name twice", named[twice, registry.Wrap]("probe"), []string{"setting a: the name is used twice"}},
		{"time", named[instant, registry.Wrap]("probe"), []string{"setting a: its type is time.Time; "}},
		{"map by number", named[keyed, registry.Wrap]("probe"), []string{"setting a: its type is map[int]string; "}},
		{"struct in itself", named[endless, registry.Wrap]("probe"), []string{"setting a[]: registry_test.endless holds itself; settings must have an end"}},
		{"interface", named[anything, registry.Wrap]("probe"), []string{"setting a: its type is interface {}; "}},
		{"small number", named[small, registry.Wrap]("probe"), []string{"setting a: its type is int8; "}},
		{"reference to no kind", named[badRef, registry.Wrap]("probe"), []string{"setting a: a Ref to registry.Ref[int]; it must be to what a kind of component is built into"}},
		{"unknown rule", named[noRule, registry.Wrap]("probe"), []string{`setting a: the constraint "email" is not of the closed set: required, omitempty, min, max, oneof, startswith, url, unique, dive`}},
		{"rule on another form", named[boolMin, registry.Wrap]("probe"), []string{`setting a: the constraint "min=1" can't stand on true or false`}},
		{"bound no number", named[badMin, registry.Wrap]("probe"), []string{`setting a: the constraint "min=few" must be given a number`}},
		{"bound no duration", named[badSpan, registry.Wrap]("probe"), []string{`setting a: the constraint "min=5" must be given a duration`}},
		{"rule without a value", named[emptyOne, registry.Wrap]("probe"), []string{`setting a: the constraint "oneof=" must be given a value`}},
		{"no dive into maps", named[noDive, registry.Wrap]("probe"), []string{"setting a: its entries have constraints that nothing would check; its validate tag must have dive"}},
		{"dive into a number", named[dive, registry.Wrap]("probe"), []string{"setting a: dive stands on a whole number; it must be on a list or a map"}},
		{"fault in a list", named[nested, registry.Wrap]("probe"), []string{"setting a[].b: its type is *int; "}},
		{"all at once", registry.Component[pointer, string]{Name: "Probe"}, []string{
			"a component", "its name", "its type is *int", "it has no Build function", "its Build returns a string", "Processes is not stated", "Calls is not stated",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := registry.New(test.c)
			if (err != nil) != (test.want != nil) {
				t.Fatalf("New: got %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("New: got\n%v\nwant it to say\n%s", err, want)
				}
			}
			if err != nil && len(test.want) < 3 && !strings.HasPrefix(err.Error(), "github.com/stackd/stackd/registry_test: ") {
				t.Errorf("New: got\n%v\nwant it to name the package first", err)
			}
		})
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := registry.New(
		named[none, registry.Wrap]("one"), named[none, http.Handler]("one"),
		named[none, session.Store]("Two"), named[none, session.Store]("three"), named[none, session.Store]("three"),
	)
	const here = "github.com/stackd/stackd/registry_test"
	want := strings.Join([]string{
		// Middleware and apps share their names, since both stand in a stack.
		fmt.Sprintf("app %q is declared by %s and by %s", "one", here, here),
		fmt.Sprintf("%s: store %q: its name is %q; it must be lower case letters, digits and underscores, and begin with a letter", here, "Two", "Two"),
		fmt.Sprintf("store %q is declared by %s and by %s", "three", here, here),
	}, "\n")
	if err == nil {
		t.Fatal("New: got no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("New (-want +got):\n%s", diff)
	}
}

func TestRegistry(t *testing.T) {
	r, err := registry.New(
		named[none, failure.Reporter]("log"),
		named[none, session.Store]("memory"),
		named[none, *servlet.Servlet]("poll"),
		named[none, resource.Factory]("static"),
		named[none, resource.Hook]("alias"),
		named[none, http.Handler]("finder"),
		named[none, registry.Wrap]("session"),
		named[none, registry.Wrap]("errors"),
		named[none, registry.ServeFunc]("http"),
		named[none, resource.Factory]("fastcgi"),
		named[none, registry.ServeFunc]("fastcgi"),
	)
	if err != nil {
		t.Fatal(err)
	}
	list := func(all []*registry.Definition) (names []string) {
		for _, d := range all {
			names = append(names, string(d.Kind)+" "+d.Name)
		}
		return names
	}
	t.Run("All", func(t *testing.T) {
		want := []string{
			"server fastcgi", "server http", "middleware errors", "middleware session", "app finder", "hook alias",
			"factory fastcgi", "factory static", "servlet poll", "store memory", "reporter log",
		}
		if diff := cmp.Diff(want, list(r.All())); diff != "" {
			t.Errorf("All (-want +got):\n%s", diff)
		}
		r.All()[0] = nil
		if diff := cmp.Diff(want, list(r.All())); diff != "" {
			t.Errorf("All, after the caller changed what it had got (-want +got):\n%s", diff)
		}
	})
	t.Run("Named", func(t *testing.T) {
		if diff := cmp.Diff([]string{"server fastcgi", "factory fastcgi"}, list(r.Named("fastcgi"))); diff != "" {
			t.Errorf("Named(fastcgi) (-want +got):\n%s", diff)
		}
		if got := r.Named("nobody"); got != nil {
			t.Errorf("Named(nobody): got %v", list(got))
		}
	})
	for _, test := range []struct {
		kind  registry.Kind
		name  string
		found bool
	}{
		{registry.KindStore, "memory", true},
		{registry.KindServer, "fastcgi", true},
		{registry.KindFactory, "fastcgi", true},
		{registry.KindMiddleware, "errors", true},
		{registry.KindApp, "errors", false}, // it is a middleware
		{registry.KindMiddleware, "finder", false},
		{registry.KindApp, "finder", true},
		{registry.KindStore, "sqlite", false},
		{"", "memory", false},
	} {
		t.Run(fmt.Sprintf("Lookup %s %s", test.kind, test.name), func(t *testing.T) {
			d := r.Lookup(test.kind, test.name)
			if found := d != nil; found != test.found || found && (d.Kind != test.kind || d.Name != test.name) {
				t.Errorf("Lookup: got %+v, want found %t", d, test.found)
			}
		})
	}
}

// caught returns what f panics with.
func caught(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

func TestRegister(t *testing.T) {
	name := "t" + strings.ToLower(rand.Text()) // what is registered stays so when the test runs again
	registry.Register(registry.Elsewhere(name))
	registry.Register(named[none, session.Store](name)) // names are unique within a kind
	if registry.Compiled().Lookup(registry.KindMiddleware, name) == nil {
		t.Error("Compiled: has no middleware that registered itself")
	}
	for _, test := range []struct {
		name string
		c    registry.Declaration
		want string
	}{
		{"taken", named[none, registry.Wrap](name), `registry: middleware "` + name + `" is declared by github.com/stackd/stackd/registry and by github.com/stackd/stackd/registry_test`},
		{"taken by a middleware", named[none, http.Handler](name), `registry: app "` + name + `" is declared by github.com/stackd/stackd/registry and by github.com/stackd/stackd/registry_test`},
		{"faults", registry.App[none]{Name: "probe", Traits: promises}, `registry: a component: app "probe": it has no Build function`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(any(test.want), caught(func() { registry.Register(test.c) })); diff != "" {
				t.Errorf("Register panics (-want +got):\n%s", diff)
			}
		})
	}
	if n := len(registry.Compiled().Named(name)); n != 2 {
		t.Errorf("Compiled: has %d components of the name after refused ones, want 2", n)
	}
}

func TestTraits(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{registry.ProcessSafe.String(), "process-safe"},
		{registry.SingleProcess.String(), "single-process"},
		{registry.Processes(0).String(), "unstated"},
		{registry.NonBlocking.String(), "non-blocking"},
		{registry.Blocking.String(), "blocking"},
		{registry.Calls(0).String(), "unstated"},
	} {
		if test.got != test.want {
			t.Errorf("String: got %q, want %q", test.got, test.want)
		}
	}
}
