package registrytest_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

type greeting struct {
	Text string `yaml:"text" validate:"required"`
}

func TestBuild(t *testing.T) {
	closed := false
	component := registry.App[greeting]{
		Name:   "greeting",
		Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build: func(env *registry.Env, cfg greeting) (http.Handler, error) {
			env.Logger().Info("greeting", "text", cfg.Text)
			env.OnClose(func() error { closed = true; return nil })
			return http.NotFoundHandler(), nil
		},
	}
	t.Run("built", func(t *testing.T) {
		var log bytes.Buffer
		if app := registrytest.Build(t, component, greeting{"hello"}, &log); app == nil {
			t.Error("it built nothing")
		}
		if !strings.Contains(log.String(), `"text":"hello"`) {
			t.Errorf("the log is %q", log.String())
		}
	})
	if !closed {
		t.Error("it was not closed at the test's end")
	}
	if got := registrytest.Problems(t, component, greeting{}); !slices.Equal(got, []string{"text is missing; it must be a text"}) {
		t.Errorf("the problems are %q", got)
	}
}
