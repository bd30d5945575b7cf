package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }

// open builds a store as a stack does, and closes it when the test ends.
func open(t *testing.T, cfg Config, log *slog.Logger) *store {
	t.Helper()
	table, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := table.Lookup(registry.KindStore, "memory").Open(context.Background(), &cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(*store)
}

func commit(t *testing.T, s *store, token, data string, life time.Duration) {
	t.Helper()
	if err := s.Commit(t.Context(), token, []byte(data), time.Now().Add(life)); err != nil {
		t.Fatal(err)
	}
}

// pass lets that much of a bubble's time pass, and what it sets off happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// present returns which of the tokens are found, with their data.
func present(t *testing.T, s *store, tokens ...string) string {
	t.Helper()
	var found []string
	for _, token := range tokens {
		data, ok, err := s.Find(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			found = append(found, token+"="+string(data))
		}
	}
	return strings.Join(found, " ")
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{MaxSessions: 10, SweepInterval: time.Hour}, slog.New(slog.DiscardHandler))
		commit(t, s, "short", "1", time.Minute)
		commit(t, s, "long", "2", 2*time.Hour)
		commit(t, s, "past", "3", -time.Second)
		commit(t, s, "moved", "4", time.Minute)
		commit(t, s, "moved", "5", 3*time.Hour)

		steps := []struct {
			name  string
			wait  time.Duration
			found string
			held  int
		}{
			{"at first", 0, "short=1 long=2 moved=5", 4},
			{"just before it expires", time.Minute - 1, "short=1 long=2 moved=5", 4},
			{"at its expiry, not swept yet", 1, "long=2 moved=5", 4},
			{"after a sweep", time.Hour, "long=2 moved=5", 2},
			{"after all", 3 * time.Hour, "", 0},
		}
		for _, step := range steps {
			pass(step.wait)
			if diff := cmp.Diff(step.found, present(t, s, "short", "long", "past", "moved")); diff != "" {
				t.Errorf("%s: found (-want +got):\n%s", step.name, diff)
			}
			s.mu.Lock()
			if len(s.byToken) != step.held || len(s.queue) != step.held {
				t.Errorf("%s: holds %d by token and %d by expiry, want %d", step.name, len(s.byToken), len(s.queue), step.held)
			}
			s.mu.Unlock()
		}
	})
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := open(t, Config{MaxSessions: 3, SweepInterval: time.Minute}, slog.New(slog.NewTextHandler(&log, nil)))
		commit(t, s, "a", "1", 3*time.Hour)
		commit(t, s, "b", "1", 1*time.Hour)
		commit(t, s, "c", "1", 2*time.Hour)
		commit(t, s, "b", "2", 1*time.Hour) // there already: nobody goes
		if got, want := present(t, s, "a", "b", "c"), "a=1 b=2 c=1"; got != want {
			t.Errorf("a store just full: found %q, want %q", got, want)
		}
		commit(t, s, "d", "1", time.Minute) // the soonest of all, but the newest
		commit(t, s, "e", "1", 4*time.Hour)
		if got, want := present(t, s, "a", "b", "c", "d", "e"), "a=1 c=1 e=1"; got != want {
			t.Errorf("two more: found %q, want %q", got, want)
		}
		pass(time.Minute)
		if !strings.Contains(log.String(), "dropped=2") {
			t.Errorf("the log doesn't say that 2 were dropped:\n%s", &log)
		}
		log.Reset()
		pass(3 * time.Hour) // a, c expire and are swept
		commit(t, s, "f", "1", time.Hour)
		commit(t, s, "g", "1", time.Hour)
		pass(time.Minute)
		if log.Len() > 0 {
			t.Errorf("room made by expired sessions is logged:\n%s", &log)
		}
	})
}

// A sweep of more than it does in one go leaves nothing behind.
func TestSweepMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Component.Default, slog.New(slog.DiscardHandler))
		for i := range 2500 {
			commit(t, s, fmt.Sprint(i), "x", time.Second)
		}
		commit(t, s, "stays", "x", time.Hour)
		pass(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.byToken) != 1 {
			t.Errorf("%d sessions left, want 1", len(s.byToken))
		}
	})
}

func TestBytesAreCopied(t *testing.T) {
	s := open(t, Component.Default, slog.New(slog.DiscardHandler))
	in := []byte("data")
	if err := s.Commit(t.Context(), "a", in, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	in[0] = 'X'
	out, _, err := s.Find(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	out[1] = 'X'
	if got, want := present(t, s, "a"), "a=data"; got != want {
		t.Errorf("after both slices were written to: %q, want %q", got, want)
	}
}

func TestContextEnded(t *testing.T) {
	s := open(t, Component.Default, slog.New(slog.DiscardHandler))
	commit(t, s, "a", "1", time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, find := s.Find(ctx, "a")
	for name, err := range map[string]error{
		"Find":   find,
		"Commit": s.Commit(ctx, "a", nil, time.Now().Add(time.Hour)),
		"Delete": s.Delete(ctx, "a"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want %v", name, err, context.Canceled)
		}
	}
	if got, want := present(t, s, "a"), "a=1"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
}

// The map and the queue stay one set whatever is done at the same time.
func TestConcurrent(t *testing.T) {
	s := open(t, Config{MaxSessions: 20, SweepInterval: time.Hour}, slog.New(slog.DiscardHandler))
	ctx := t.Context()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 500 {
				token := fmt.Sprint((worker*7 + i) % 40)
				err := s.Commit(ctx, token, []byte(token), time.Now().Add(time.Duration(i%3)*time.Hour))
				data, ok, errFind := s.Find(ctx, token)
				if ok && string(data) != token {
					t.Errorf("token %s has the data %q", token, data)
				}
				var errDelete error
				if i%5 == 0 {
					errDelete = s.Delete(ctx, token)
				}
				if err := errors.Join(err, errFind, errDelete); err != nil {
					t.Error(err)
				}
				if i%100 == 0 {
					s.sweep()
				}
			}
		})
	}
	wg.Wait()
	if len(s.byToken) != len(s.queue) || len(s.queue) > 20 {
		t.Fatalf("%d by token, %d by expiry, at most 20 allowed", len(s.byToken), len(s.queue))
	}
	for i, e := range s.queue {
		if e.place != i || s.byToken[e.token] != e {
			t.Errorf("entry %d of the queue believes to be at %d", i, e.place)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s := &store{max: 10, byToken: make(map[string]*entry)}
	if err := s.Commit(b.Context(), "a", make([]byte, 256), time.Now().Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := s.Find(b.Context(), "a"); !ok {
			b.Fatal("not found")
		}
	}
}
