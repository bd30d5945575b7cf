package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// TestHistory proves what is kept, and what a rollback without a number goes back to.
func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stack.yaml")
	files := func(text string) *stackfile.Files {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, "servers: [http]\nstack: [{use: respond, body: %q}]\n", text), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, _, err := stackfile.Load(t.Context(), registry.Compiled(), file, stackfile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return plan.Files()
	}
	previous := func(h *history, want uint64) *kept {
		t.Helper()
		k, err := h.find(0)
		if got := err == nil; got != (want > 0) || got && k.generation != want {
			t.Errorf("before the current one is %+v, %v; want %d", k, err, want)
		}
		return k
	}
	var h history
	previous(&h, 0)
	h.served(1, files("a"), nil)
	previous(&h, 0)
	h.served(2, files("b"), nil)
	h.served(3, files("b"), nil) // the same
	h.served(4, files("c"), nil)
	if diff := cmp.Diff([]uint64{1, 2, 4}, h.numbers()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	h.served(5, nil, previous(&h, 2))
	h.served(6, nil, previous(&h, 1))
	previous(&h, 0)
	if _, err := h.find(0); err == nil || !strings.HasSuffix(err.Error(), "go back there: 2, 4") {
		t.Errorf("before the oldest is the error %v", err)
	}
	h.served(7, files("a"), nil) // by hand
	previous(&h, 4)
	if _, err := h.find(3); err == nil || !strings.Contains(err.Error(), "there is that of 1, 2, 4, 7") {
		t.Errorf("what isn't kept gives the error %v", err)
	}
	for n := range uint64(20) {
		h.served(8+n, files(fmt.Sprint(n)), nil)
	}
	if got := h.numbers(); len(got) != maxKept || got[maxKept-1] != 27 {
		t.Errorf("kept are %d", got)
	}
	big := strings.Repeat("x", 1<<20)
	for n := range uint64(18) {
		h.served(30+n, files(fmt.Sprint(n)+big), nil)
	}
	size := 0
	for _, k := range h.all {
		size += k.files.Size()
	}
	if size > maxKeptBytes || len(h.all) < 5 {
		t.Errorf("%d are kept, with %d bytes", len(h.all), size)
	}
}
