package registry_test

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/stackd/stackd/registry"
)

type stackConfig struct {
	One  registry.Stack            `yaml:"one" validate:"required"`
	More map[string]registry.Stack `yaml:"more"`
}

func (stackConfig) Inside(path string) (string, bool) { return path[1:], path != "/" }

// TestStack binds the stacks in settings, and leaves those alone that there are not.
func TestStack(t *testing.T) {
	var got stackConfig
	reg, err := registry.New(registry.App[stackConfig]{
		Name: "app", Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build: func(_ *registry.Env, c stackConfig) (http.Handler, error) { got = c; return c.One.Handler(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	d := reg.All()[0]
	cfg := d.Default().(*stackConfig)
	if problems := d.Check(cfg); len(problems) != 1 || problems[0].Error() != "one is missing; it must be the path of a stack file, or a map with stack:" {
		t.Errorf("the problems are %v", problems)
	}
	cfg.One.Choose("/a.yaml")
	two := registry.Stack{}
	two.Choose("/b.yaml")
	cfg.More = map[string]registry.Stack{"x": two, "none": {}}
	if problems := d.Check(cfg); len(problems) != 0 {
		t.Errorf("the problems are %v", problems)
	}
	var paths []string
	bound := d.Bind(cfg, func(path string) any { paths = append(paths, path); return http.NotFoundHandler() })
	if _, err := d.Open(t.Context(), bound, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if len(paths) != 2 || paths[0] != "one" || paths[1] != "more[x]" || got.More["x"].Handler() == nil || !got.More["none"].IsZero() {
		t.Errorf("bound were %q, which gave %+v", paths, got)
	}
	for _, path := range []string{"/", "/a"} {
		if inner, asked := d.Inside(cfg, path); asked != (path == "/a") || inner != path[1:] {
			t.Errorf("inside of %s is %q, %t", path, inner, asked)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a stack that isn't built has a handler")
		}
	}()
	cfg.One.Handler()
}
