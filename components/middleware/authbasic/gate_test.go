package authbasic

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry/environ"
)

// counted is a hash that counts how often it is tried.
type counted struct {
	password string
	tried    int
}

func (c *counted) matches(password string) bool {
	c.tried++
	return password == c.password
}

func TestTried(t *testing.T) {
	ada, bob := &counted{password: "a"}, &counted{password: "b"}
	g := newGate([]line{{"ada", ada}, {"bob", bob}}, 1, time.Second)
	for _, step := range []struct {
		name, password string
		want           verdict
		ada, bob       int // how often they were tried by then
	}{
		{"ada", "b", refused, 1, 0},
		{"ada", "a", admitted, 2, 0},
		{"ada", "a", admitted, 2, 0}, // remembered
		{"ada", "b", refused, 3, 0},
		{"ada", "a", admitted, 3, 0}, // still remembered
		{"bob", "a", refused, 3, 1},  // only for ada
		{"eve", "a", refused, 4, 1},  // an unknown name is tried like the first one
		{"eve", "", refused, 5, 1},
		{"", "a", refused, 6, 1},
		{"bob", "b", admitted, 6, 2},
		{"ada", "a", admitted, 6, 2},
	} {
		if got := g.ask(t.Context(), step.name, step.password); got != step.want {
			t.Errorf("%s with %q: got %d, want %d", step.name, step.password, got, step.want)
		}
		if ada.tried != step.ada || bob.tried != step.bob {
			t.Errorf("%s with %q: ada's was tried %d times and bob's %d, want %d and %d", step.name, step.password, ada.tried, bob.tried, step.ada, step.bob)
		}
	}
}

// TestDigest looks whether a name and a password can be cut elsewhere.
func TestDigest(t *testing.T) {
	g := newGate(nil, 1, 0)
	if g.digest("ab", "c") == g.digest("a", "bc") {
		t.Error("ab with c and a with bc have the same digest")
	}
	if g.digest("a", "b") == newGate(nil, 1, 0).digest("a", "b") {
		t.Error("two instances make the same digest")
	}
}

// held is a hash that takes until it is let go.
type held struct {
	now, most atomic.Int64
	release   chan struct{}
}

func (h *held) matches(string) bool {
	if n := h.now.Add(1); n > h.most.Load() {
		h.most.Store(n)
	}
	<-h.release
	h.now.Add(-1)
	return true
}

func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{release: make(chan struct{})}
		g := newGate([]line{{"ada", h}}, 3, time.Minute)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if got := g.ask(t.Context(), "ada", string(rune('a'+i))); got != admitted {
					t.Errorf("got %d", got)
				}
			})
		}
		synctest.Wait()
		if got := h.now.Load(); got != 3 {
			t.Errorf("%d are tried, want 3", got)
		}
		close(h.release)
		wg.Wait()
		if got := h.most.Load(); got > 3 {
			t.Errorf("%d were tried at a time, want 3", got)
		}
	})
}

func TestCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{release: make(chan struct{})}
		g := newGate([]line{{"ada", h}}, 1, 5*time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { g.ask(t.Context(), "ada", "first") })
		synctest.Wait()

		start := time.Now()
		if got := g.ask(t.Context(), "ada", "second"); got != crowded || time.Since(start) != 5*time.Second {
			t.Errorf("got %d after %v, want to be sent away after 5s", got, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if got := g.ask(ctx, "ada", "third"); got != crowded || time.Since(start) != time.Second {
			t.Errorf("with a request that ends after 1s: got %d after %v", got, time.Since(start))
		}
		if got := g.ask(ctx, "ada", "fourth"); got != crowded {
			t.Errorf("with a request that has ended: got %d", got)
		}

		r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
		r.SetBasicAuth("ada", "fifth")
		w := httptest.NewRecorder()
		(&handler{gate: g, next: http.NotFoundHandler()}).ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("got %d with %v, want 503 with Retry-After", w.Code, w.Header())
		}
		close(h.release)
		wg.Wait()
	})
}
