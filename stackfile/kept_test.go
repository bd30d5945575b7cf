package stackfile

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// carriedOf returns how many instances a stack took over, and how many it has.
func carriedOf(s *Stack) (carried, all int) {
	c := s.Changes()
	return len(c.Carried), len(c.Carried) + len(c.Built)
}

// TestFiles proves that a stack can be loaded as it was, when its files are others or gone.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"stack.yaml":    "extends: base.yaml\ninclude: [urls.d/*.yaml]\nvars: {secret: \"${file:secret}\"}\n",
		"base.yaml":     "servers: [http]\nstack: [{use: say, text: base}]\n",
		"urls.d/a.yaml": "urls: {/a/: {say: {text: a}}}\n",
		"secret":        "one\n",
	}
	file := filepath.Join(dir, "stack.yaml")
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), text)
	}
	reg := testRegistry(t)
	load := func(o Options) *Plan {
		t.Helper()
		plan, _, err := Load(t.Context(), reg, file, o)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first := load(Options{})
	sum := sha256.Sum256([]byte(files["stack.yaml"] + files["urls.d/a.yaml"] + files["base.yaml"]))
	if got, want := first.Files().Hash(), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the hash is %s; want %s", got, want)
	}
	size := 0
	for _, text := range files {
		size += len(text)
	}
	if got := first.Files().Size(); got != size {
		t.Errorf("the size is %d; want %d", got, size)
	}
	write(t, filepath.Join(dir, "urls.d/b.yaml"), "urls: {/b/: {say: {text: b}}}\n")
	write(t, filepath.Join(dir, "secret"), "two\n")
	if now := load(Options{}); len(now.keys) != 2 {
		t.Fatalf("the new file is not in %q", now.keys)
	}
	for _, name := range []string{"base.yaml", "urls.d/a.yaml", "secret", "stack.yaml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	again := load(Options{Files: first.Files()})
	if diff := cmp.Diff(first.Explain("GET", "", "/a/x").String(), again.Explain("GET", "", "/a/x").String()); diff != "" {
		t.Errorf("-first +again:\n%s", diff)
	}
	if len(again.keys) != 1 {
		t.Errorf("the overrides are %q; want that of then alone", again.keys)
	}
	// And so once more, of what was read the second time.
	if last := load(Options{Files: again.Files()}); last.Files().Hash() != first.Files().Hash() {
		t.Error("the hash is another after two loads")
	}
}

func TestChanges(t *testing.T) {
	reg := testRegistry(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [http]\nstack: [errors, {use: tag, text: a}, say]\n")
	before := mustBuild(t, reg, file, nil)
	write(t, file, "servers: [http]\nstack: [errors, {use: tag, text: b}, say]\n")
	after := mustBuild(t, reg, file, before)
	if diff := cmp.Diff(Changes{Built: []string{"tag"}, Carried: []string{"errors", "say", "http"}, Retired: []string{"tag"}}, after.Changes()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
