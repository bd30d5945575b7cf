package tests

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/trial"
	_ "github.com/stackd/stackd/components/standard" // what the stacks are made of
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// TestStacksLint runs the tests of each ready-made stack with lint between every two slots: the pieces keep to the
// rules of handlers.
func TestStacksLint(t *testing.T) {
	files, err := filepath.Glob("../stacks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stacks: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".test.yaml") {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text := withLint(t, file)
			plan, _, err := stackfile.Load(t.Context(), registry.Compiled(), file, stackfile.Options{Content: text, Tests: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range plan.Tests() {
				r := trial.Run(t.Context(), plan, c, 30*time.Second)
				for _, f := range r.Failures {
					t.Errorf("%s: %s\n%s", r.Name, f, f.Detail)
				}
				for line := range strings.Lines(r.Log) {
					if strings.Contains(line, "component=lint") {
						t.Errorf("%s: %s", r.Name, line)
					}
				}
			}
		})
	}
}

// withLint returns a stack file with lint between every two slots.
func withLint(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.TrimRight(text, "\n"), "\ncheck: {lint: true}\n"...)
}

// clean fails the test if lint has found something.
func (s *server) clean() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r["component"] == "lint" {
			s.t.Errorf("lint found %v", r)
		}
	}
}
