package cmd

import (
	"fmt"
	"os"
	"testing"
)

func TestTrim(t *testing.T) {
	before := resident(t)
	trim()
	after := resident(t)
	if after >= before {
		t.Errorf("%d pages of files were in memory before, %d are after", before, after)
	}
	t.Logf("pages of files in memory: %d, then %d", before, after)
}

// resident returns how many pages of files the process has in memory.
func resident(t *testing.T) int {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, all, shared int
	if _, err := fmt.Sscan(string(statm), &size, &all, &shared); err != nil {
		t.Fatal(err)
	}
	return shared
}
