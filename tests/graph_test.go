package tests

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPictures proves that the picture in the README is that of the stack.
func TestPictures(t *testing.T) {
	have, err := os.ReadFile("../stacks/webware.svg")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stackd(t, "../stacks", "graph", "webware.yaml"), string(have)); diff != "" {
		t.Errorf("stacks/webware.svg is out of date; run go generate ./cmd/graph:\n%s", diff)
	}
}
