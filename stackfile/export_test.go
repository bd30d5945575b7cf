package stackfile

import (
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/stackd/stackd/registry"
)

// The corpus, for tests that look at the package from outside.

func CorpusRegistry(t testing.TB) *registry.Registry { t.Helper(); return testRegistry(t) }

func OpenCorpus(t *testing.T, file string) (*txtar.Archive, Options) {
	t.Helper()
	return openCorpus(t, file)
}
