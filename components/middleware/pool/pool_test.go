package pool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "few workers", Settings: func(*testing.T) Config {
			cfg := Component.Default
			cfg.Workers = 3
			return cfg
		}},
	)
}

// site is the middleware around an app, with the log that it writes.
type site struct {
	http.Handler
	pool *registry.Instance
	mu   sync.Mutex
	log  bytes.Buffer
	// asked are the reasons for which it wanted the process to be restarted.
	asked []string
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func newSite(t *testing.T, f func(c *Config), app http.HandlerFunc) *site {
	t.Helper()
	cfg := Component.Default
	f(&cfg)
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	s := new(site)
	ctx := registry.WithRestart(t.Context(), func(reason string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, reason)
	})
	s.pool, err = reg.All()[0].Open(ctx, &cfg, slog.New(slog.NewTextHandler(s, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.pool.Close() })
	s.Handler = s.pool.Product.(registry.Wrap)(app)
	return s
}

// catcher keeps what was reported.
type catcher []failure.Failure

func (c *catcher) Fail(f failure.Failure) { *c = append(*c, f) }

// server is the context of a request, as who runs it makes it.
type server struct {
	context.Context
	environ.Room
	abandoned, ended atomic.Int64
}

func (s *server) Value(key any) any {
	if v := s.Room.Value(key); v != nil {
		return v
	}
	if key == (environ.HostKey{}) {
		return s
	}
	return s.Context.Value(key)
}

func (s *server) Abandon() func() {
	s.abandoned.Add(1)
	return func() { s.ended.Add(1) }
}

// outcome is what came of a request.
type outcome struct {
	*httptest.ResponseRecorder
	catcher
	panicked any
	took     time.Duration
	r        *http.Request
}

// ask sends a request as a server does, with a header that a middleware has set.
func (s *site) ask(ctx context.Context) (o *outcome) {
	o = &outcome{ResponseRecorder: httptest.NewRecorder()}
	o.Header().Set("X-Outer", "1")
	o.r = new(environ.Base).Open(httptest.NewRequestWithContext(ctx, http.MethodGet, "/page", nil))
	failure.Key.Set(o.r, &o.catcher)
	began := time.Now()
	defer func() {
		o.panicked, o.took = recover(), time.Since(began)
		if failure.Key.Get(o.r) != failure.Sink(&o.catcher) {
			panic("the catcher was not put back")
		}
	}()
	s.ServeHTTP(o, o.r)
	return o
}

// TestQueue has one worker, and room for one more.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Workers, c.Queue, c.QueueTime = 1, 1, 1500*time.Millisecond }, func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(time.Second)
			_, _ = io.WriteString(w, "served")
		})
		var asked sync.WaitGroup
		outcomes, servers := make([]*outcome, 3), make([]*server, 3)
		for i := range outcomes {
			servers[i] = &server{Context: t.Context()}
			asked.Go(func() { outcomes[i] = s.ask(servers[i]) })
			synctest.Wait() // one after the other
			if _, waits := servers[i].Place(); waits != (i == 1) {
				t.Errorf("that request %d waits in the queue is said to be %t", i, waits)
			}
		}
		asked.Wait()
		for i, want := range []struct {
			status int
			took   time.Duration
		}{{200, time.Second}, {200, 2 * time.Second}, {503, 0}} {
			if _, waits := servers[i].Place(); waits {
				t.Errorf("request %d still waits", i)
			}
			if o := outcomes[i]; o.Code != want.status || o.took != want.took || len(o.catcher) > 0 {
				t.Errorf("request %d: %d after %v, reported %v; want %d after %v", i, o.Code, o.took, o.catcher, want.status, want.took)
			}
		}
		if after := outcomes[2].Header().Get("Retry-After"); after != "2" {
			t.Errorf("Retry-After is %q; want 2", after)
		}
		if !strings.Contains(s.logged(), "requests are refused") {
			t.Errorf("the log says %q", s.logged())
		}
	})
}

func TestQueueDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Workers, c.QueueTime = 1, time.Second }, func(http.ResponseWriter, *http.Request) {
			<-time.After(10 * time.Second)
		})
		var asked sync.WaitGroup
		asked.Go(func() { s.ask(t.Context()) })
		synctest.Wait()
		if o := s.ask(t.Context()); o.Code != 503 || o.took != time.Second {
			t.Errorf("got %d after %v; want 503 after 1s", o.Code, o.took)
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if o := s.ask(gone); o.took != time.Millisecond || len(o.catcher) != 1 || !errors.Is(o.catcher[0].Err, context.DeadlineExceeded) {
			t.Errorf("whose client left waited for %v, and reported %v", o.took, o.catcher)
		}
		asked.Wait()
		if o := s.ask(t.Context()); o.Code != 200 {
			t.Errorf("got %d when all was done", o.Code)
		}
	})
}

// stuck is where an app of the tests hangs.
func stuck(release <-chan struct{}) { <-release }

func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		late := make(chan error, 2)
		s := newSite(t, func(c *Config) { c.Workers, c.HungAfter, c.MaxZombies = 1, 10*time.Second, 1 }, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-App", "1")
			go stuck(release)
			stuck(release)
			// From here on it is a zombie. The race detector watches.
			w.Header().Set("X-App", "2")
			environ.User.Set(r, "zombie")
			w.WriteHeader(http.StatusTeapot)
			_, err := io.WriteString(w, "too late")
			late <- err
			failure.Report(r, errors.New("too late, too"))
		})
		var hosts []*server
		told := func() (abandoned, ended int64) {
			for _, host := range hosts {
				abandoned, ended = abandoned+host.abandoned.Load(), ended+host.ended.Load()
			}
			return abandoned, ended
		}
		for i, level := range []string{"level=WARN", "level=ERROR"} { // one is let be, two are not
			hosts = append(hosts, &server{Context: t.Context()})
			o := s.ask(hosts[i])
			if abandoned, ended := told(); abandoned != int64(i)+1 || ended != 0 {
				t.Errorf("%d requests are said to be abandoned, and %d to have ended; want %d and 0", abandoned, ended, i+1)
			}
			if o.took != 11*time.Second || len(o.catcher) != 1 || failure.Status(o.catcher[0].Err) != 504 || o.panicked != nil {
				t.Fatalf("after %v it reported %v and panicked with %v; want 504 after 11s", o.took, o.catcher, o.panicked)
			}
			if o.Header().Get("X-Outer") != "1" || o.Header().Get("X-App") != "" || o.Body.Len() > 0 {
				t.Errorf("the response is %v, %q; it must be as it was before the app", o.Header(), o.Body)
			}
			var places []string
			for _, f := range o.catcher[0].Stack {
				places = append(places, f.Function)
			}
			if all := strings.Join(places, " "); !strings.Contains(all, "pool.stuck") || !strings.Contains(all, "TestHung") {
				t.Errorf("the stack is %s; it must show where the app hangs", all)
			}
			if f := o.catcher[0].Stack[1]; f.Line == 0 || !strings.HasSuffix(f.File, ".go") {
				t.Errorf("a frame is %+v", f)
			}
			detailed, ok := errors.AsType[failure.Detailed](o.catcher[0].Err)
			if !ok || len(detailed.Details()) != 1 || !strings.Contains(detailed.Details()[0].Text, "pool.stuck") {
				t.Error("the other goroutine of the request isn't told of")
			}
			lines := strings.Split(strings.TrimSpace(s.logged()), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, level) || !strings.Contains(last, "a hung request goes on running") {
				t.Errorf("zombie %d is logged as %s", i+1, last)
			}
			// Nothing is changed behind the back of who answers meanwhile.
			environ.User.Set(o.r, "somebody")
			defer func() {
				if environ.User.Get(o.r) != "somebody" || len(o.catcher) != 1 || o.Body.Len() > 0 {
					t.Errorf("the zombie has changed something: %q, %v, %q", environ.User.Get(o.r), o.catcher, o.Body)
				}
			}()
		}
		close(release)
		synctest.Wait()
		for range 2 {
			if <-late == nil {
				t.Error("a zombie could write")
			}
		}
		if _, ended := told(); ended != 2 {
			t.Errorf("%d of them are said to have ended, want 2", ended)
		}
		if want := []string{"2 hung requests of a pool go on running, and max_zombies is 1"}; !slices.Equal(s.asked, want) {
			t.Errorf("it asked for a restart since %q, want %q", s.asked, want)
		}
		if log := s.logged(); strings.Count(log, "a hung request has ended") != 2 || !strings.Contains(log, "zombies=0") || !strings.Contains(log, "too late, too") {
			t.Errorf("the log says %s", log)
		}
	})
}

// TestHungAfterAll has an app that hangs when its response is there as a whole: the client gets it.
func TestHungAfterAll(t *testing.T) {
	for _, header := range []string{"Content-Length", "Content-Type"} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			s := newSite(t, func(c *Config) { c.HungAfter = 10 * time.Second }, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(header, map[string]string{"Content-Length": "5", "Content-Type": "text/event-stream"}[header])
				_, _ = io.WriteString(w, "whole")
				stuck(release)
				w.Header().Set(header, "0")
			})
			o := s.ask(t.Context())
			if o.took != 11*time.Second || o.panicked != nil || len(o.catcher) > 0 || o.Body.String() != "whole" {
				t.Errorf("with %s: %q after %v, reported %v, panicked with %v", header, o.Body, o.took, o.catcher, o.panicked)
			}
			if !strings.Contains(s.logged(), "a hung request goes on running") {
				t.Errorf("the log says %q", s.logged())
			}
			close(release)
			synctest.Wait()
		})
	}
}

// TestGivesUp has apps that heed the end of the context.
func TestGivesUp(t *testing.T) {
	for _, test := range []struct {
		name     string
		app      http.HandlerFunc
		status   int // what is reported
		answer   string
		panicked any
	}{
		{"silently", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, "", nil},
		{"with an error", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			failure.Report(r, r.Context().Err())
		}, 504, "", nil},
		{"with the cause", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			failure.Report(r, context.Cause(r.Context()))
		}, 504, "", nil},
		{"breaking off", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, 504, "", nil},
		{"amid the response", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			<-r.Context().Done()
		}, 504, "half", nil},
		{"amid a stream", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event")
			<-r.Context().Done()
		}, 0, "event", nil},
		{"with no body, and it goes on", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			<-r.Context().Done()
		}, 0, "", nil},
		{"with words of its own", func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "sorry")
		}, 0, "sorry", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, func(c *Config) { c.HungAfter = 10 * time.Second }, test.app)
				o := s.ask(t.Context())
				if o.took != 10*time.Second || o.panicked != test.panicked || o.Body.String() != test.answer {
					t.Errorf("got %q after %v, and it panicked with %v", o.Body, o.took, o.panicked)
				}
				if test.status == 0 && len(o.catcher) > 0 || test.status != 0 && (len(o.catcher) != 1 || failure.Status(o.catcher[0].Err) != test.status) {
					t.Errorf("reported %v; want %d", o.catcher, test.status)
				}
				if log := s.logged(); log != "" {
					t.Errorf("no zombie was there, and the log says %s", log)
				}
			})
		})
	}
}

// TestBusy has an app that takes long, and does something all the time.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.HungAfter = 10 * time.Second }, func(w http.ResponseWriter, r *http.Request) {
			for range 20 {
				<-time.After(9 * time.Second)
				_, _ = io.WriteString(w, "x")
			}
			if err := r.Context().Err(); err != nil {
				t.Errorf("the context has ended: %v", err)
			}
		})
		if o := s.ask(t.Context()); o.Body.Len() != 20 || len(o.catcher) > 0 {
			t.Errorf("got %q and %v", o.Body, o.catcher)
		}
	})
}

// failing panics.
func failing() { panic(io.ErrUnexpectedEOF) }

func TestPanic(t *testing.T) {
	s := newSite(t, func(*Config) {}, func(http.ResponseWriter, *http.Request) { failing() })
	o := s.ask(t.Context())
	err, ok := o.panicked.(error)
	if !ok || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("panicked with %v", o.panicked)
	}
	traced, ok := errors.AsType[failure.Traced](err)
	if !ok || !strings.HasSuffix(traced.Frames()[0].Function, "pool.failing") {
		t.Errorf("the stack of the panic is lost")
	}
}

// TestEnviron looks whether what the app sets is seen further out.
func TestEnviron(t *testing.T) {
	s := newSite(t, func(*Config) {}, func(w http.ResponseWriter, r *http.Request) {
		environ.User.Set(r, "ada")
		if w.Header().Get("X-Outer") != "1" {
			t.Error("what others set in the header isn't there")
		}
		w.Header().Del("X-Outer")
		w.Header().Set("X-App", "1")
	})
	o := s.ask(t.Context())
	if environ.User.Get(o.r) != "ada" || o.Header().Get("X-App") != "1" || o.Header().Get("X-Outer") != "" {
		t.Errorf("got %q and %v", environ.User.Get(o.r), o.Header())
	}
}

// TestTakenOver looks whether a connection that was taken over needs a worker.
func TestTakenOver(t *testing.T) {
	entered := make(chan struct{})
	release := make(chan struct{})
	s := newSite(t, func(c *Config) { c.Workers, c.Queue = 1, 0 }, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/socket" {
			_, _ = io.WriteString(w, "page")
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		close(entered)
		<-release
	})
	server := httptest.NewServer(s)
	defer server.Close()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if resp, err := http.Get(server.URL + "/socket"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	resp, err := http.Get(server.URL + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s while a connection was taken over", resp.Status)
	}
	close(release)
	<-asked
}
