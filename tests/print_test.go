package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrintedStacks prints every file in stacks/; what is printed is as good as the file.
func TestPrintedStacks(t *testing.T) {
	dir := copyStacks(t)
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no stacks: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasSuffix(name, ".test.yaml") {
			continue // what goes beside a stack file
		}
		t.Run(name, func(t *testing.T) {
			text := stackd(t, dir, "print", name)
			if err := os.WriteFile(filepath.Join(dir, "printed-"+name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			stackd(t, dir, "check", "printed-"+name)
			if diff := stackd(t, dir, "diff", name, "printed-"+name); diff != "nothing changes\n" && !strings.Contains(text, "withheld") {
				t.Errorf("it isn't the same:\n%s", diff)
			}
		})
	}
}

// stackd runs the program in a folder, which must exit with 0, and returns what it prints.
func stackd(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(built(t), args...)
	c.Dir = dir
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}
