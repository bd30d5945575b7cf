package bench

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/stackd/stackd/components/standard" // the stack under test is made of them
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// newStack builds a stack of these entries, whose site has one page of 1 KiB.
func newStack(tb testing.TB, entries string) http.Handler {
	tb.Helper()
	dir := tb.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	for name, text := range map[string]string{
		file:                            "servers: [http]\nstack: [" + entries + "]\n",
		filepath.Join(dir, "page.html"): strings.Repeat("<p>sixteen bytes", 64),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	plan, _, err := stackfile.Load(context.Background(), registry.Compiled(), file, stackfile.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	stack, err := plan.Build(context.Background(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stack.Close)
	return stack
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) { s.status = status }

func (s *sink) Write(p []byte) (int, error) {
	s.bytes += len(p)
	return len(p), nil
}

// BenchmarkChain is what a stack does for a page, the server's part left out: what each further piece adds is what
// that piece costs.
func BenchmarkChain(b *testing.B) {
	const finder = "{use: finder, root: .}"
	for _, bench := range []struct{ name, entries string }{
		{"respond", "errors, {use: respond, body: hello}"},
		{"finder", finder},
		{"errors finder", "errors, " + finder},
		{"errors session finder", "errors, session, " + finder},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := newStack(b, bench.entries)
			w := &sink{header: http.Header{}}
			r := httptest.NewRequest(http.MethodGet, "/page.html", http.NoBody)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
			if w.status != http.StatusOK || w.bytes == 0 {
				b.Errorf("the answer had status %d and %d bytes; want 200 and some", w.status, w.bytes)
			}
		})
	}
}
