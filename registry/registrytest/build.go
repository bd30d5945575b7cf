package registrytest

import (
	"io"
	"log/slog"
	"testing"

	"github.com/stackd/stackd/registry"
)

// Build builds a component for a test of its own, as a stack does: the settings are checked
// first, and what was opened is closed at the test's end. What the component logs goes to
// log as JSON; nil discards it. References among the settings must be bound
// ([registry.Bound]).
func Build[C, T any](t testing.TB, c registry.Component[C, T], cfg C, log io.Writer) T {
	t.Helper()
	if problems := Problems(t, c, cfg); len(problems) > 0 {
		t.Fatalf("the settings are refused: %q", problems)
	}
	if log == nil {
		log = io.Discard
	}
	instance, err := define(t, c).Open(t.Context(), &cfg, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := instance.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return instance.Product.(T)
}

// Problems returns what is wrong with settings, each as a user is told: the setting, what it is,
// and what it must be.
func Problems[C, T any](t testing.TB, c registry.Component[C, T], cfg C) []string {
	t.Helper()
	var problems []string
	for _, wrong := range define(t, c).Check(&cfg) {
		problems = append(problems, wrong.Error())
	}
	return problems
}

func define[C, T any](t testing.TB, c registry.Component[C, T]) *registry.Definition {
	t.Helper()
	r, err := registry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r.All()[0]
}
