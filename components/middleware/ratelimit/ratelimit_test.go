package ratelimit

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/session"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{
			Name:     "by header",
			Settings: func(*testing.T) Config { return config(func(c *Config) { c.By, c.Header = byHeader, "X-Api-Key" }) },
			Request:  func(r *http.Request) { r.Header.Set("X-Api-Key", "1") },
		},
		registrytest.Case[Config]{
			Name:     "by session",
			Settings: func(*testing.T) Config { return config(func(c *Config) { c.By = bySession }) },
			Environ:  func(b *environ.Base) { session.Key.Preset(b, nobody{}) },
		},
	)
}

// config returns the default settings, changed by f.
func config(f func(c *Config)) Config {
	c := Component.Default
	f(&c)
	return c
}

// site is the middleware in front of an app that counts.
type site struct {
	wrap  registry.Wrap
	asked atomic.Int64
}

func newSite(t *testing.T, f func(c *Config)) *site {
	t.Helper()
	cfg := config(f)
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	if found := reg.All()[0].Check(&cfg); len(found) > 0 {
		t.Fatal(found)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{wrap: i.Product.(registry.Wrap)}
}

// ask sends a request from an address, prepared by each of the functions.
func (s *site) ask(addr string, prepare ...func(r *http.Request)) *httptest.ResponseRecorder {
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
	r.RemoteAddr = addr
	for _, f := range prepare {
		f(r)
	}
	w := httptest.NewRecorder()
	s.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.asked.Add(1) })).ServeHTTP(w, r)
	return w
}

func (s *site) status(addr string, prepare ...func(r *http.Request)) int {
	return s.ask(addr, prepare...).Code
}

func TestBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Requests, c.Per, c.Burst = 6, time.Minute, 3 })
		passes := func(when string, n int) {
			t.Helper()
			for i := range n {
				if got := s.status("192.0.2.1:1"); got != http.StatusOK {
					t.Fatalf("%s request %d answered %d", when, i+1, got)
				}
			}
			w := s.ask("192.0.2.1:1")
			if w.Code != http.StatusTooManyRequests {
				t.Fatalf("%s request %d answered %d, want 429", when, n+1, w.Code)
			}
		}
		passes("at first,", 3)
		w := s.ask("192.0.2.1:2")
		if w.Header().Get("Retry-After") != "10" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("a refusal has %v", w.Header())
		}
		time.Sleep(9500 * time.Millisecond) //nolint:forbidigo // the time is the bubble's
		if got := s.ask("192.0.2.1:1").Header().Get("Retry-After"); got != "1" {
			t.Errorf("half a second before, Retry-After is %q; want it rounded up", got)
		}
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // the time is the bubble's
		passes("when it said so,", 1)
		time.Sleep(time.Hour) //nolint:forbidigo // the time is the bubble's
		passes("after an hour,", 3)
		if n := s.asked.Load(); n != 7 {
			t.Errorf("%d requests reached the app, want 7", n)
		}
	})
}

func TestBurstIsRequests(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Requests, c.Per = 4, time.Hour })
	for range 6 {
		s.ask("192.0.2.1:1")
	}
	if n := s.asked.Load(); n != 4 {
		t.Errorf("%d requests reached the app, want 4", n)
	}
}

// Chains share the buckets, and concurrent requests take each only once.
func TestConcurrent(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Requests, c.Per = 20, time.Hour })
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { s.ask("192.0.2.1:1") })
	}
	wg.Wait()
	if n := s.asked.Load(); n != 20 {
		t.Errorf("%d requests reached the app, want 20", n)
	}
}

func TestClients(t *testing.T) {
	header := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-Api-Key"] = values }
	}
	with := func(values map[string]any) func(*http.Request) {
		return func(r *http.Request) { session.Key.Set(r, visitor(values)) }
	}
	some := func(id string) map[string]any { return map[string]any{"name": "Ada", mark: id} }
	type client struct {
		addr    string
		prepare func(*http.Request)
	}
	for _, test := range []struct {
		name   string
		by     string
		first  client
		second client
		same   bool
	}{
		{"one address, two ports", byIP, client{addr: "192.0.2.1:1"}, client{addr: "192.0.2.1:2"}, true},
		{"two addresses", byIP, client{addr: "192.0.2.1:1"}, client{addr: "192.0.2.2:1"}, false},
		{"IPv4 in IPv6", byIP, client{addr: "192.0.2.1:1"}, client{addr: "[::ffff:192.0.2.1]:1"}, true},
		{"one network of IPv6", byIP, client{addr: "[2001:db8::1]:1"}, client{addr: "[2001:db8::ffff:ffff:ffff:ffff]:1"}, true},
		{"two networks of IPv6", byIP, client{addr: "[2001:db8::1]:1"}, client{addr: "[2001:db8:0:1::1]:1"}, false},
		{"a unix socket", byIP, client{addr: "@"}, client{addr: ""}, true},
		{"a header isn't looked at", byIP, client{"192.0.2.1:1", header("a")}, client{"192.0.2.1:1", header("b")}, true},

		{"one key", byHeader, client{"192.0.2.1:1", header("a")}, client{"192.0.2.2:1", header("a")}, true},
		{"two keys", byHeader, client{"192.0.2.1:1", header("a")}, client{"192.0.2.1:1", header("b")}, false},
		{"no key", byHeader, client{addr: "192.0.2.1:1"}, client{addr: "192.0.2.1:1"}, true},
		{"no key, two addresses", byHeader, client{addr: "192.0.2.1:1"}, client{addr: "192.0.2.2:1"}, false},
		{"a second key added", byHeader, client{"192.0.2.1:1", header("a")}, client{"192.0.2.1:1", header("a", "b")}, false},

		{"one session", bySession, client{"192.0.2.1:1", with(some("x"))}, client{"192.0.2.2:1", with(some("x"))}, true},
		{"two sessions", bySession, client{"192.0.2.1:1", with(some("x"))}, client{"192.0.2.1:1", with(some("y"))}, false},
		{"no session", bySession, client{"192.0.2.1:1", with(nil)}, client{"192.0.2.1:1", with(nil)}, true},
		{"session and none", bySession, client{"192.0.2.1:1", with(some("x"))}, client{"192.0.2.1:1", with(nil)}, false},
		{
			"the store is away", bySession,
			client{"192.0.2.1:1", func(r *http.Request) { session.Key.Set(r, session.Session(away{})) }},
			client{"192.0.2.1:1", with(nil)},
			true,
		},
		{"the mark is something else", bySession, client{"192.0.2.1:1", with(map[string]any{mark: 7})}, client{"192.0.2.1:1", with(nil)}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, func(c *Config) {
				if c.Requests, c.Per, c.By = 1, time.Hour, test.by; test.by == byHeader {
					c.Header = "x-api-key"
				}
			})
			ask := func(c client) int {
				if c.prepare == nil {
					return s.status(c.addr)
				}
				return s.status(c.addr, c.prepare)
			}
			if got := ask(test.first); got != http.StatusOK {
				t.Fatalf("the first one got %d", got)
			}
			if got := ask(test.second); (got == http.StatusTooManyRequests) != test.same {
				t.Errorf("the second one got %d, want them to be the same: %t", got, test.same)
			}
		})
	}
}

// A session that is there gets a mark, one that isn't stays as it is.
func TestMark(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Requests, c.Per, c.By = 1, time.Hour, bySession })
	set := func(v visitor) func(*http.Request) {
		return func(r *http.Request) { session.Key.Set(r, session.Session(v)) }
	}
	known, unknown := visitor{"name": "Ada"}, visitor{}
	if got := s.status("192.0.2.1:1", set(known)); got != http.StatusOK || len(known) != 2 {
		t.Fatalf("the first request got %d, and the session is %v", got, known)
	}
	if got := s.status("192.0.2.2:1", set(known)); got != http.StatusTooManyRequests {
		t.Errorf("the second request got %d; want it to be the same client", got)
	}
	if s.status("192.0.2.3:1", set(unknown)); len(unknown) != 0 {
		t.Errorf("the session that nobody had begun is %v", unknown)
	}
}

func TestForget(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	client := func(i int) key {
		r := &http.Request{RemoteAddr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1).String()}
		return fromAddress(r)
	}

	t.Run("never more than clients", func(t *testing.T) {
		l := newLimiter(1, time.Hour, 0, 100)
		for i := range 1000 {
			if wait := l.take(client(i), start); wait > 0 {
				t.Fatalf("client %d must wait %v", i, wait)
			}
			if len(l.buckets) > 100 || l.used.Len() != len(l.buckets) {
				t.Fatalf("after %d clients there are %d buckets, %d in order", i+1, len(l.buckets), l.used.Len())
			}
		}
		if wait := l.take(client(999), start); wait == 0 {
			t.Error("the last client was forgotten")
		}
	})
	t.Run("longest unused first", func(t *testing.T) {
		l := newLimiter(1, time.Hour, 0, 3)
		for _, i := range []int{1, 2, 3, 1, 4} { // 1 is refused, and so used again
			l.take(client(i), start)
		}
		if l.take(client(1), start) == 0 {
			t.Error("the one used again was forgotten")
		}
		if l.take(client(2), start) > 0 {
			t.Error("the one not used for longest was remembered")
		}
	})
	t.Run("full ones", func(t *testing.T) {
		l := newLimiter(1, time.Second, 0, 1000)
		for i := range 500 {
			l.take(client(i), start)
		}
		if n := len(l.buckets); n != 500 {
			t.Fatalf("there are %d buckets, want 500", n)
		}
		for i := range 300 {
			l.take(client(1000+i), start.Add(time.Second))
		}
		if n := len(l.buckets); n != 300 {
			t.Errorf("there are %d buckets, want those of the 300 who asked last", n)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		by, header string
		ok         bool
	}{
		{byIP, "", true},
		{bySession, "", true},
		{byHeader, "X-Api-Key", true},
		{byHeader, "", false},
		{byHeader, "X Api Key", false},
		{byIP, "X-Api-Key", false},
	} {
		t.Run(test.by+" "+test.header, func(t *testing.T) {
			err := config(func(c *Config) { c.By, c.Header = test.by, test.header }).Validate()
			if (err == nil) != test.ok {
				t.Errorf("got %v, want it valid: %t", err, test.ok)
			}
		})
	}
}

func TestTraits(t *testing.T) {
	for by, needs := range map[string][]environ.Name{byIP: nil, byHeader: nil, bySession: {session.Key}} {
		if got := config(func(c *Config) { c.By = by }).Traits(Component.Traits).Needs; !slices.Equal(got, needs) {
			t.Errorf("by %s it needs %v, want %v", by, got, needs)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	l := newLimiter(1<<30, time.Second, 0, 1000)
	client := key{addressKey}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.take(client, now)
	}
}

// visitor is a session in a map.
type visitor map[string]any

func (v visitor) Get(key string) (any, error)     { return v[key], nil }
func (v visitor) Set(key string, value any) error { v[key] = value; return nil }
func (v visitor) Delete(key string) error         { delete(v, key); return nil }
func (v visitor) Keys() ([]string, error)         { return slices.Sorted(maps.Keys(v)), nil }
func (v visitor) Renew() error                    { return nil }
func (v visitor) Destroy() error                  { clear(v); return nil }

// nobody is a session with nothing in it.
type nobody struct{ visitor }

// away is a session whose store can't be reached.
type away struct{ visitor }

func (away) Get(string) (any, error) { return nil, errors.New("no connection") }
