package stackfile

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
)

// loaded returns the plan of a stack file, which is called stack.yaml.
func loaded(t testing.TB, reg *registry.Registry, text string) *Plan {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, text)
	plan, _, err := Load(t.Context(), reg, file, Options{Env: func(name string) (string, bool) { return "from " + name, name == "SET" }})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

const outlined = `servers:
  - {use: http, listen: "unix:run/s.sock"}
  - {use: http, listen: "127.0.0.1:1", off: true}
vars: {theme: light}
stack:
  - {use: session, lifetime: 1h}
  - {use: tag, as: mark, off: true}
  - {use: site, root: www}
urls:
  /a/b/: {mark: {off: false, text: x}, site: {use: say, text: "y"}}
  /a/:
    session: {store: {use: file, password: hunter2}}
    mark: on
    vars: {theme: dark, size: {big: 1}}
`

func TestOutline(t *testing.T) {
	plan := loaded(t, testRegistry(t), outlined)
	at := func(line int) string { return fmt.Sprintf("%s:%d", plan.name, line) }
	want := inspect.Outline{
		File:    plan.name,
		Servers: []inspect.Server{{Component: "http", Addresses: []string{"unix:run/s.sock"}, Origin: at(2)}},
		Vars:    []inspect.Setting{{Name: "theme", Value: "light", Origin: at(4)}},
		Slots: []inspect.Slot{
			{Name: "session", Component: "session", Kind: "middleware", On: true, Origin: at(6), Settings: []inspect.Setting{{Name: "lifetime", Value: "1h", Origin: at(6)}}},
			{Name: "mark", Component: "tag", Kind: "middleware", Origin: at(7), Switched: at(7), Settings: []inspect.Setting{}},
			{Name: "site", Component: "site", Kind: "app", On: true, Origin: at(8), Settings: []inspect.Setting{{Name: "root", Value: "www", Origin: at(8)}}},
		},
		Overrides: []inspect.Override{
			{
				Pattern: inspect.Pattern{Pattern: "/a/", Origin: at(11)},
				Slots: []inspect.Change{
					{Slot: "session", Origin: at(12), Settings: []inspect.Setting{{Name: "store", Value: "file", Origin: at(12)}, {Name: "store.password", Value: "[redacted]", Origin: at(12)}}},
					{Slot: "mark", Switch: "on", Origin: at(13)},
				},
				Vars: []inspect.Setting{{Name: "theme", Value: "dark", Origin: at(14)}, {Name: "size.big", Value: "1", Origin: at(14)}},
			},
			{
				Pattern: inspect.Pattern{Pattern: "/a/b/", Origin: at(10)},
				Within:  []string{"/a/"},
				Slots: []inspect.Change{
					{Slot: "mark", Switch: "on", Origin: at(10), Settings: []inspect.Setting{{Name: "text", Value: "x", Origin: at(10)}}},
					{Slot: "site", Use: "say", Origin: at(10), Settings: []inspect.Setting{{Name: "text", Value: "y", Origin: at(10)}}},
				},
			},
		},
	}
	if diff := cmp.Diff(want, plan.Outline()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestInspect asks the stack that runs, as a component does.
func TestInspect(t *testing.T) {
	var told inspect.Stack
	asks := registry.App[noSettings]{Name: "asks", Traits: safe, Build: func(*registry.Env, noSettings) (http.Handler, error) {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told = inspect.Key.Get(r) }), nil
	}}
	reg, err := registry.New(append(corpus(), asks)...)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [http]\nstack: [session, asks]\nurls: {/a/: {session: {lifetime: 1h}}}\n")
	plan, _, err := Load(t.Context(), reg, file, Options{Purpose: func(d *registry.Definition) string { return "is " + d.Name }})
	if err != nil {
		t.Fatal(err)
	}
	stack, err := plan.Build(t.Context(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Close()
	stack.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if told == nil {
		t.Fatal("the stack isn't there to be asked")
	}
	components := told.Components()
	if len(components) != len(reg.All()) || components[0].Kind != "server" || components[0].Purpose != "is "+components[0].Name {
		t.Errorf("the components are said to be %v", components)
	}
	if o := told.Outline(); len(o.Slots) != 2 || o.File != file {
		t.Errorf("the outline is %+v", o)
	}
	e, err := told.Explain("GET", "example.org/a/x")
	if err != nil || e.Host != "example.org" || len(e.Patterns) != 1 || e.Slots[0].Settings[1].Overrode[0].Value != "12h" {
		t.Errorf("it explains %+v, %v", e, err)
	}
	for url, want := range map[string]string{"%zz": "is not a URL", "/a/../b": "400: the path must not", "/%00": "control characters"} {
		if _, err := told.Explain("GET", url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v; it must say that %s", url, err, want)
		}
	}
}
