package stackfile

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
)

// noOps builds a stack of that many middlewares that do nothing, around an app that does nothing, with an override for
// another URL.
func noOps(tb testing.TB, n int) *Stack {
	tb.Helper()
	pass := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })
	}
	reg, err := registry.New(
		registry.Server[serverConfig]{Name: "http", Default: serverConfig{Listen: "127.0.0.1:8080"}, Traits: safe, Build: func(*registry.Env, serverConfig) (registry.ServeFunc, error) {
			return func(context.Context, net.Listener, http.Handler) error { return nil }, nil
		}},
		registry.Middleware[noSettings]{Name: "pass", Traits: safe, Build: func(*registry.Env, noSettings) (registry.Wrap, error) { return pass, nil }},
		registry.App[noSettings]{Name: "nothing", Traits: safe, Build: func(*registry.Env, noSettings) (http.Handler, error) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil
		}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("servers: [http]\nstack:\n")
	for i := range n {
		fmt.Fprintf(&text, "  - {use: pass, as: pass%d}\n", i)
	}
	text.WriteString("  - nothing\nurls: {/elsewhere/: {vars: {a: b}}}\n")
	file := filepath.Join(tb.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	plan, _, err := Load(tb.Context(), reg, file, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	stack, err := plan.Build(tb.Context(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(stack.Close)
	return stack
}

// TestNoOpAllocates proves that a middleware costs no allocation that it doesn't make itself.
func TestNoOpAllocates(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/page", http.NoBody)
	allocations := func(n int) float64 {
		stack := noOps(t, n)
		return testing.AllocsPerRun(100, func() { stack.ServeHTTP(w, r) })
	}
	if none, ten := allocations(0), allocations(10); ten != none {
		t.Errorf("a request allocates %v times without middleware, and %v times with ten that do nothing", none, ten)
	}
}

// BenchmarkNoOp tells what a middleware costs that does nothing: a hundredth of what a stack of a hundred does.
func BenchmarkNoOp(b *testing.B) {
	const n = 100
	stack := noOps(b, n)
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/page", http.NoBody)
	b.ReportAllocs()
	for b.Loop() {
		stack.ServeHTTP(w, r)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/middleware")
}
