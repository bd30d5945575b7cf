package errors

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	settings := func(show string) func(*testing.T) Config {
		return func(*testing.T) Config {
			return Config{Show: show, SourceLines: 5, Reporters: []registry.Ref[failure.Reporter]{registry.Bound[failure.Reporter](&told{})}}
		}
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "never", Settings: settings(showNever)},
		registrytest.Case[Config]{Name: "loopback", Settings: settings(showLoopback)},
	)
}

// told is a reporter that keeps what it is told.
type told struct {
	mu        sync.Mutex
	incidents []*failure.Incident
}

func (t *told) Report(_ context.Context, i *failure.Incident) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.incidents = append(t.incidents, i)
	return nil
}

func (t *told) all() []*failure.Incident {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.incidents
}

// reporterFunc is a function as a reporter.
type reporterFunc func(context.Context, *failure.Incident) error

func (f reporterFunc) Report(ctx context.Context, i *failure.Incident) error { return f(ctx, i) }

// stack is a stack of the catcher and one app.
type stack struct {
	show      string
	reporters []failure.Reporter
	base      environ.Base
	log       bytes.Buffer
}

// build puts the stack together.
func (s *stack) build(t testing.TB, app http.Handler) http.Handler {
	t.Helper()
	cfg := Config{Show: s.show, SourceLines: 3}
	if s.show == "" {
		cfg.Show = showNever
	}
	for _, r := range s.reporters {
		cfg.Reporters = append(cfg.Reporters, registry.Bound(r))
	}
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := reg.Lookup(registry.KindMiddleware, "errors").Open(context.Background(), &cfg, slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { instance.Close() })
	chain := instance.Product.(registry.Wrap)(app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { chain.ServeHTTP(w, s.base.Open(r)) })
}

// get asks the stack without a network.
func (s *stack) get(t testing.TB, app http.HandlerFunc, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/fail?a=1", http.NoBody)
	r.RemoteAddr = "127.0.0.1:4711"
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.build(t, app).ServeHTTP(w, r)
	return w
}

func accept(value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Accept", value) }
}

// TestWhen fails at each point of a response, in each way, over each protocol, and looks
// at what a real client gets.
func TestWhen(t *testing.T) {
	points := []struct {
		name  string
		write func(w http.ResponseWriter) // what the app does before it fails
		begun bool                        // whether it is too late for another response
	}{
		{"before the header", func(http.ResponseWriter) {}, false},
		{"after 1xx", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, false},
		{"after the header", func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, true},
		{"after some of the body", func(w http.ResponseWriter) { fmt.Fprint(w, "half") }, true},
		{"in a stream", func(w http.ResponseWriter) {
			fmt.Fprint(w, "half")
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}, true},
		{"after a body of unknown length", func(w http.ResponseWriter) {
			for range 100 {
				fmt.Fprint(w, strings.Repeat("whole", 1000))
			}
		}, true},
	}
	ways := []struct {
		name   string
		fail   func(r *http.Request)
		silent bool // no incident
	}{
		{"report", func(r *http.Request) { failure.Report(r, errors.New("boom")) }, false},
		{"panic", func(*http.Request) { panic("boom") }, false},
		{"runtime error", func(*http.Request) { noMap()["boom"]++ }, false},
		{"abort", func(*http.Request) { panic(http.ErrAbortHandler) }, true},
		{"report, then abort", func(r *http.Request) { failure.Report(r, errors.New("boom")); panic(http.ErrAbortHandler) }, false},
	}
	for _, http2 := range []bool{false, true} {
		for _, point := range points {
			for _, way := range ways {
				t.Run(fmt.Sprintf("http2 %v/%s/%s", http2, point.name, way.name), func(t *testing.T) {
					done := make(chan *failure.Incident, 2)
					s := &stack{reporters: []failure.Reporter{reporterFunc(func(_ context.Context, i *failure.Incident) error {
						done <- i
						return nil
					})}}
					chain := s.build(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						point.write(w)
						way.fail(r)
					}))
					srv, client := serve(t, chain, http2)
					resp, err := client.Get(srv.URL)
					var text []byte
					if err == nil {
						text, err = io.ReadAll(resp.Body)
						resp.Body.Close()
					}
					answered := err == nil
					aborted := strings.HasSuffix(way.name, "abort")
					if want := !point.begun && !aborted; answered != want {
						t.Fatalf("the client got %q, %v; want a whole answer: %v", text, err, want)
					}
					if answered && (resp.StatusCode != http.StatusInternalServerError || !strings.Contains(string(text), resp.Header.Get("Incident-Id"))) {
						t.Errorf("got %s, %q; want 500 with the incident", resp.Status, text)
					}
					srv.Close() // the handler is done now
					close(done)
					var incidents []*failure.Incident
					for i := range done {
						incidents = append(incidents, i)
					}
					if way.silent {
						if len(incidents) > 0 {
							t.Errorf("incidents %v; want none", incidents)
						}
						return
					}
					if len(incidents) != 1 {
						t.Fatalf("%d incidents; want 1", len(incidents))
					}
					want := 0
					if answered {
						want = http.StatusInternalServerError
					}
					if got := incidents[0].Status; got != want {
						t.Errorf("the incident has status %d; want %d", got, want)
					}
				})
			}
		}
	}
}

// serve starts a server for h, and makes a client that speaks one protocol.
func serve(t *testing.T, h http.Handler, http2 bool) (*httptest.Server, *http.Client) {
	t.Helper()
	var speaks http.Protocols
	speaks.SetHTTP1(!http2)
	speaks.SetUnencryptedHTTP2(http2)
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = &speaks
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.Start()
	t.Cleanup(srv.Close)
	tr := &http.Transport{Protocols: &speaks}
	t.Cleanup(tr.CloseIdleConnections)
	return srv, &http.Client{Transport: tr}
}

func TestHijacked(t *testing.T) {
	for name, fail := range map[string]func(*http.Request){
		"report": func(r *http.Request) { failure.Report(r, errors.New("boom")) },
		"panic":  func(*http.Request) { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			var reporter told
			s := &stack{reporters: []failure.Reporter{&reporter}}
			srv, _ := serve(t, s.build(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\nhalf"); err != nil {
					t.Error(err)
				}
				fail(r)
			})), false)
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			from := bufio.NewReader(c)
			if text, err := io.ReadAll(from); !strings.HasSuffix(string(text), "half") || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %q, %v; want the connection closed after the half", text, err)
			}
			if n := len(reporter.all()); n != 1 {
				t.Errorf("%d incidents; want 1", n)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		name string
		fail func(w http.ResponseWriter, r *http.Request)
		want int
	}{
		{"error", func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("boom")) }, 500},
		{"error with a status", func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, fmt.Errorf("script: %w", failure.WithStatus(errors.New("boom"), 502)))
		}, 502},
		{"panic with such an error", func(http.ResponseWriter, *http.Request) { panic(failure.WithStatus(errors.New("boom"), 502)) }, 500},
		{"panic with a number", func(http.ResponseWriter, *http.Request) { panic(7) }, 500},
		{"body too long", func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(http.MaxBytesReader(w, io.NopCloser(strings.NewReader("long")), 1))
			failure.Report(r, fmt.Errorf("upload: %w", err))
		}, 413},
		{"status without a name", func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(errors.New("boom"), 599))
		}, 599},
		{"the first of several decides", func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(errors.New("boom"), 503))
			failure.Report(r, errors.New("bang"))
		}, 503},
		{"an app's own 404 isn't touched", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, 404},
		{"an app's own 500 isn't touched", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "own", 500) }, 500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var reporter told
			s := &stack{reporters: []failure.Reporter{&reporter}}
			w := s.get(t, test.fail)
			if w.Code != test.want {
				t.Errorf("got %d; want %d", w.Code, test.want)
			}
			own := strings.HasPrefix(test.name, "an app's")
			if id := w.Header().Get("Incident-Id"); (id == "") != own || (len(reporter.all()) == 0) != own {
				t.Errorf("incident %q, %d reported", id, len(reporter.all()))
			}
			for _, i := range reporter.all() {
				if i.Status != test.want || i.ID != w.Header().Get("Incident-Id") {
					t.Errorf("the incident has %d and %s; want %d and %s", i.Status, i.ID, test.want, w.Header().Get("Incident-Id"))
				}
			}
		})
	}
}

func TestIncident(t *testing.T) {
	var reporter told
	s := &stack{reporters: []failure.Reporter{&reporter}}
	route := &environ.Route{Patterns: []string{"/fail"}}
	environ.Matched.Preset(&s.base, route)
	first, second := errors.New("boom"), errors.New("bang")
	var request *http.Request
	s.get(t, func(_ http.ResponseWriter, r *http.Request) {
		failure.Report(r, first)
		failure.Report(r, second)
		request = r
	}, func(r *http.Request) {
		r.URL.RawQuery = "q=hunter2"
		r.Header.Set("Cookie", "id=hunter2")
		r.Header.Set("User-Agent", "test")
	})
	var got []*failure.Incident
	for _, i := range reporter.all() {
		if i.Time.IsZero() || len(i.Failure.Stack) == 0 || !strings.Contains(i.Failure.Stack[0].Function, "TestIncident") {
			t.Errorf("the incident has time %v and stack %v", i.Time, i.Failure.Stack)
		}
		c := *i
		c.Time, c.Failure.Stack, c.ID = time.Time{}, nil, ""
		got = append(got, &c)
	}
	var want []*failure.Incident
	for _, err := range []error{first, second} {
		want = append(want, &failure.Incident{
			Failure: failure.Failure{Err: err}, Status: 500, Method: "GET", URL: "http://localhost/fail?q=[redacted]", Host: "localhost",
			RemoteAddr: "127.0.0.1:4711", Header: http.Header{"Cookie": {"[redacted]"}, "User-Agent": {"test"}}, Route: route,
		})
	}
	same := cmp.Comparer(func(a, b error) bool { return errors.Is(a, b) })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if all := reporter.all(); len(all) == 2 && all[0].ID != all[1].ID {
		t.Errorf("one request has incidents %s and %s", all[0].ID, all[1].ID)
	}
	if caught := failure.Caught.Get(request); caught == nil || caught.ID != reporter.all()[0].ID || !errors.Is(caught.Failure.Err, first) || caught.Status != 500 {
		t.Errorf("who stands further out is told %+v", caught)
	}
}

func TestID(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := newID()
		if len(id) != idLength || strings.Trim(id, letters) != "" || seen[id] {
			t.Fatalf("%q is no good id", id)
		}
		seen[id] = true
	}
}

// TestHeader proves that what described the lost answer goes, and the rest stays.
func TestHeader(t *testing.T) {
	s := new(stack)
	chain := s.build(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, name := range []string{"Content-Encoding", "Content-Range", "Content-Disposition", "Content-Security-Policy", "ETag", "Last-Modified", "Expires", "Location", "Accept-Ranges", "Trailer", "Trailer:X", "Link"} {
			h.Set(name, "lost")
		}
		h.Set("Content-Length", "99999")
		h.Set("Content-Type", "image/png")
		h.Set("Cache-Control", "public, max-age=3600")
		h.Add("Set-Cookie", "of=app")
		h.Set("Retry-After", "9")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Vary", "Origin")
		failure.Report(r, errors.New("boom"))
	}))
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "of=outer")
	chain.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	want := http.Header{
		"Cache-Control":               {"no-store"},
		"Content-Type":                {"text/plain; charset=utf-8"},
		"Content-Length":              {strconv.Itoa(w.Body.Len())},
		"X-Content-Type-Options":      {"nosniff"},
		"Set-Cookie":                  {"of=outer"},
		"Retry-After":                 {"9"},
		"Access-Control-Allow-Origin": {"*"},
		"Vary":                        {"Origin", "Accept"},
		"Incident-Id":                 w.Header()["Incident-Id"],
	}
	if diff := cmp.Diff(want, w.Header()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHead(t *testing.T) {
	fail := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("boom")) })
	s := new(stack)
	get := s.get(t, fail)
	head := s.get(t, fail, func(r *http.Request) { r.Method = http.MethodHead })
	if head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
		t.Errorf("HEAD got %q and length %s; GET has %s", head.Body, head.Header().Get("Content-Length"), get.Header().Get("Content-Length"))
	}
}

func TestReporters(t *testing.T) {
	t.Run("one that fails or panics affects nothing", func(t *testing.T) {
		var last told
		s := &stack{reporters: []failure.Reporter{
			reporterFunc(func(_ context.Context, i *failure.Incident) error { i.ID = "changed"; return errors.New("no disk") }),
			reporterFunc(func(context.Context, *failure.Incident) error { panic("no luck") }),
			&last,
		}}
		w := s.get(t, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("boom")) })
		if w.Code != 500 || len(last.all()) != 1 || last.all()[0].ID != w.Header().Get("Incident-Id") {
			t.Errorf("got %d; the last reporter was told %v", w.Code, last.all())
		}
		for _, want := range []string{"no disk", "no luck", "untold=boom", w.Header().Get("Incident-Id")} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, &s.log)
			}
		}
	})
	t.Run("the visitor doesn't wait for them", func(t *testing.T) {
		release := make(chan struct{})
		s := &stack{reporters: []failure.Reporter{reporterFunc(func(context.Context, *failure.Incident) error {
			<-release
			return nil
		})}}
		srv, client := serve(t, s.build(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("boom")) })), false)
		defer close(release) // before the server is closed
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "500 Internal Server Error") {
			t.Errorf("got %q, %v", text, err)
		}
	})
	t.Run("their context lives on, and has an end", func(t *testing.T) {
		s := &stack{reporters: []failure.Reporter{reporterFunc(func(ctx context.Context, _ *failure.Incident) error {
			_, bounded := ctx.Deadline()
			if ctx.Err() != nil || !bounded {
				t.Errorf("the reporter's context: %v, has a deadline: %v", ctx.Err(), bounded)
			}
			return nil
		})}}
		s.get(t, func(http.ResponseWriter, *http.Request) { panic("boom") }, gone)
	})
}

// gone makes a request of a client that left.
func gone(r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	*r = *r.WithContext(ctx)
}

func TestClientLeft(t *testing.T) {
	retired := func(r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		cancel(errors.New("generation retired"))
		*r = *r.WithContext(ctx)
	}
	tests := []struct {
		name     string
		client   func(*http.Request)
		app      func(w http.ResponseWriter, r *http.Request)
		incident bool
	}{
		{"the context's error", gone, func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, fmt.Errorf("query: %w", r.Context().Err()))
		}, false},
		{"the context's error, as a panic", gone, func(_ http.ResponseWriter, r *http.Request) { panic(r.Context().Err()) }, false},
		{"a write that failed", gone, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			failure.Report(r, errors.New("stream closed"))
		}, false},
		{"a body cut short", gone, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, io.ErrUnexpectedEOF) }, false},
		{"a panic all the same", gone, func(http.ResponseWriter, *http.Request) { panic("boom") }, true},
		{"a panic in a response", gone, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK); panic("boom") }, true},
		{"another error", gone, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("boom")) }, true},
		{"the client is there", func(*http.Request) {}, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, context.Canceled) }, true},
		{"the server ended the request", retired, func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, context.Canceled) }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var reporter told
			s := &stack{reporters: []failure.Reporter{&reporter}}
			var p any
			func() {
				defer func() { p = recover() }()
				s.get(t, test.app, test.client)
			}()
			if got := len(reporter.all()) == 1; got != test.incident {
				t.Errorf("an incident: %v; want %v", got, test.incident)
			}
			if got := strings.Contains(s.log.String(), `level=DEBUG msg="client left"`); got == test.incident {
				t.Errorf("the log:\n%s", &s.log)
			}
			if err, _ := p.(error); !test.incident && !errors.Is(err, http.ErrAbortHandler) {
				t.Errorf("the handler ended with %v; want ErrAbortHandler", p)
			}
		})
	}
}

// TestNested proves that each failure goes to the nearest catcher, and to the outer one again
// when the inner one is done.
func TestNested(t *testing.T) {
	var outer, inner told
	out, in := &stack{reporters: []failure.Reporter{&outer}}, &catcher{log: slog.New(slog.DiscardHandler), reporters: []named{{"told", &inner}}}
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Error("the outer catcher took the inner one's answer for whole")
			}
		}()
		out.get(t, func(w http.ResponseWriter, r *http.Request) {
			in.wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("inside") })).ServeHTTP(w, r)
			failure.Report(r, errors.New("between"))
		})
	}()
	if len(inner.all()) != 1 || inner.all()[0].Failure.Err.Error() != "inside" {
		t.Errorf("the inner catcher has %v", inner.all())
	}
	if len(outer.all()) != 1 || outer.all()[0].Failure.Err.Error() != "between" {
		t.Errorf("the outer catcher has %v", outer.all())
	}
}

// TestAnswered proves that what the app answers by itself is reported, and answered as the app does.
func TestAnswered(t *testing.T) {
	note := func(_ http.ResponseWriter, r *http.Request) { failure.Note(r, errors.New("noted")) }
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot); fmt.Fprint(w, "mine") }
	report := func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("reported")) }
	crash := func(http.ResponseWriter, *http.Request) { panic("crashed") }
	for _, tt := range []struct {
		name   string
		app    []http.HandlerFunc
		status int
		body   string // within the body
		told   []string
		named  bool // by the header
	}{
		{"then an answer", []http.HandlerFunc{note, answer}, http.StatusTeapot, "mine", []string{"noted"}, true},
		{"twice", []http.HandlerFunc{note, note, answer}, http.StatusTeapot, "mine", []string{"noted", "noted"}, true},
		{"after the answer", []http.HandlerFunc{answer, note}, http.StatusTeapot, "mine", []string{"noted"}, false},
		{"nothing written", []http.HandlerFunc{note}, http.StatusOK, "", []string{"noted"}, true},
		{"then a failure", []http.HandlerFunc{note, report}, http.StatusInternalServerError, "Incident", []string{"reported", "noted"}, true},
		{"then a panic", []http.HandlerFunc{note, crash}, http.StatusInternalServerError, "Incident", []string{"crashed", "noted"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var reporter told
			s := &stack{reporters: []failure.Reporter{&reporter}}
			w := s.get(t, func(w http.ResponseWriter, r *http.Request) {
				for _, step := range tt.app {
					step(w, r)
				}
			})
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("answered %d %q; want %d with %q", w.Code, w.Body, tt.status, tt.body)
			}
			var got []string
			for _, i := range reporter.all() {
				got = append(got, i.Failure.Err.Error())
				if i.Status != tt.status || tt.named && i.ID != w.Header().Get("Incident-Id") {
					t.Errorf("the incident is %s with status %d; the response %s with %d", i.ID, i.Status, w.Header().Get("Incident-Id"), tt.status)
				}
			}
			if diff := cmp.Diff(tt.told, got); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a failure after a header is cut all the same", func(t *testing.T) {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
				t.Error("half an answer passes for a whole one")
			}
		}()
		new(stack).get(t, func(w http.ResponseWriter, r *http.Request) { note(w, r); answer(w, r); report(w, r) })
	})
}

func TestTraits(t *testing.T) {
	for show, want := range map[string]registry.Calls{showNever: registry.NonBlocking, showLoopback: registry.Blocking} {
		if got := (Config{Show: show}).Traits(Component.Traits).Calls; got != want {
			t.Errorf("show: %s is %v; want %v", show, got, want)
		}
	}
}

// still is a ResponseWriter that costs nothing.
type still struct{ h http.Header }

func (s still) Header() http.Header           { return s.h }
func (still) WriteHeader(int)                 {}
func (still) Write(p []byte) (int, error)     { return len(p), nil }
func idle(http.ResponseWriter, *http.Request) {}

func TestFree(t *testing.T) {
	c := &catcher{log: slog.New(slog.DiscardHandler)}
	h := c.wrap(http.HandlerFunc(idle))
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	w := still{make(http.Header)}
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 1 {
		t.Errorf("a request that doesn't fail costs %v allocations; want 1", n)
	}
}

func BenchmarkNoFailure(b *testing.B) {
	c := &catcher{log: slog.New(slog.DiscardHandler)}
	h := c.wrap(http.HandlerFunc(idle))
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	w := still{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func TestForms(t *testing.T) {
	s := new(stack)
	for accepted, want := range map[string]string{
		"text/html": "<h1>Bad Gateway</h1>", "application/json": `"title": "Bad Gateway"`, "text/plain": "502 Bad Gateway\n",
	} {
		w := s.get(t, func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(errors.New("the inside"), http.StatusBadGateway))
		}, accept(accepted))
		text := w.Body.String()
		if !strings.Contains(text, want) || !strings.Contains(text, w.Header().Get("Incident-Id")) || w.Code != http.StatusBadGateway {
			t.Errorf("%s: got %d, %s", accepted, w.Code, text)
		}
		for _, inside := range []string{"the inside", "_test.go", "goroutine", "catcher"} {
			if strings.Contains(text, inside) {
				t.Errorf("%s: the page tells %q:\n%s", accepted, inside, text)
			}
		}
	}
}
