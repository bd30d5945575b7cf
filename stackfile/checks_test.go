package stackfile

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
)

// TestLint asks a stack in which something stands between every two slots, mounted ones and those of overrides among them,
// and switches it on and off by reloads.
func TestLint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	const stack = `servers: [http]
stack:
  - errors
  - {use: tag, as: extra, off: true}
  - tag
  - {use: stack, mount: inner.yaml}
urls:
  /extra/: {extra: on}
  /plain/: {stack: {use: say}}
`
	write(t, file, stack)
	write(t, filepath.Join(dir, "inner.yaml"), "stack: [{use: tag, as: inner}, say]\n")
	reg := testRegistry(t)
	var log bytes.Buffer
	build := func(prev *Stack) *Stack {
		t.Helper()
		plan, _, err := Load(t.Context(), reg, file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := plan.Build(t.Context(), slog.New(slog.NewJSONHandler(&log, nil)), prev)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	watched := func(s *Stack, path string) (slots []string) {
		t.Helper()
		log.Reset()
		get(t, s, "GET", path)
		for line := range strings.Lines(log.String()) {
			var record struct{ Slot, Component string }
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Component != "lint" {
				t.Fatalf("the log has %s (%v)", line, err)
			}
			slots = append(slots, record.Slot)
		}
		return slots
	}
	off := build(nil)
	if got := watched(off, "/"); len(got) > 0 {
		t.Errorf("without check: there is %q", got)
	}
	write(t, file, strings.Replace(stack, "stack:", "check: {lint: true}\nstack:", 1))
	on := build(off)
	off.Close()
	inner := []string{"lint(stack.mount, stack.mount/inner)", "lint(stack.mount/inner, stack.mount/say)"}
	for path, want := range map[string][]string{
		"/":       append([]string{"lint(server, errors)", "lint(errors, tag)", "lint(tag, stack)"}, inner...),
		"/extra/": append([]string{"lint(server, errors)", "lint(errors, extra)", "lint(extra, tag)", "lint(tag, stack)"}, inner...),
		"/plain/": {"lint(server, errors)", "lint(errors, tag)", "lint(tag, stack)"},
	} {
		if diff := cmp.Diff(want, watched(on, path)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", path, diff)
		}
	}
	write(t, file, strings.Replace(stack, "stack:", "check: {lint: true}\nvars: {a: 1}\nstack:", 1))
	again := build(on)
	on.Close()
	if c := again.Changes(); len(c.Built) > 0 || !slices.Contains(c.Carried, "lint(errors, tag)") {
		t.Errorf("a reload that changes nothing of it made %q, and carried over %q", c.Built, c.Carried)
	}
	if got := watched(again, "/"); len(got) != 5 {
		t.Errorf("after it there is %q", got)
	}
	write(t, file, stack)
	last := build(again)
	again.Close()
	defer last.Close()
	if got := watched(last, "/"); len(got) > 0 {
		t.Errorf("when check: is gone there is %q", got)
	}
}

// TestNoLint has no middleware of that name.
func TestNoLint(t *testing.T) {
	reg, err := registry.New(slices.DeleteFunc(corpus(), func(d registry.Declaration) bool {
		m, ok := d.(registry.Middleware[noSettings])
		return ok && m.Name == "lint"
	})...)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [http]\ncheck: {lint: on}\nstack: [say]\n")
	_, _, err = Load(t.Context(), reg, file, Options{})
	if want := `2:9: check: lint is on, and no middleware "lint" is compiled into this program`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the problem is %v, want %s", err, want)
	}
}
