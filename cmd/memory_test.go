package cmd

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestLimited proves that a load leaves the limit of memory as it was: none, or one that somebody has set.
func TestLimited(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	end := limited()
	set := debug.SetMemoryLimit(-1)
	if set < loading || set == math.MaxInt64 {
		t.Errorf("the limit of a load is %d; it must be at least %d", set, loading)
	}
	limited()()
	if now := debug.SetMemoryLimit(-1); now != set {
		t.Errorf("a load within one has made the limit %d; it was %d", now, set)
	}
	end()
	if now := debug.SetMemoryLimit(-1); now != math.MaxInt64 {
		t.Errorf("after a load the limit is %d; there was none", now)
	}
}
