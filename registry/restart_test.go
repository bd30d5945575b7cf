package registry_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
)

// TestRestart asks for a restart where somebody is there to be asked, and where nobody is.
func TestRestart(t *testing.T) {
	component := registry.Middleware[struct{}]{
		Name:   "hopeless",
		Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build: func(env *registry.Env, _ struct{}) (registry.Wrap, error) {
			env.Restart("nothing else helps")
			return func(next http.Handler) http.Handler { return next }, nil
		},
	}
	reg, err := registry.New(component)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var asked []string
	for _, ctx := range []struct {
		name string
		open func() (*registry.Instance, error)
	}{
		{"asked", func() (*registry.Instance, error) {
			return reg.All()[0].Open(registry.WithRestart(t.Context(), func(reason string) { asked = append(asked, reason) }), &struct{}{}, slog.New(slog.NewTextHandler(&log, nil)))
		}},
		{"nobody", func() (*registry.Instance, error) {
			return reg.All()[0].Open(t.Context(), &struct{}{}, slog.New(slog.NewTextHandler(&log, nil)))
		}},
	} {
		before := log.Len()
		i, err := ctx.open()
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		if told := log.String()[before:]; strings.Contains(told, "nothing else helps") != (ctx.name == "nobody") {
			t.Errorf("%s: the log says %q", ctx.name, told)
		}
	}
	if !slices.Equal(asked, []string{"nothing else helps"}) {
		t.Errorf("who is to restart it was told %q", asked)
	}
}
