package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/session"
)

// However a response begins, the session is stored and the cookie set before; and a store
// that fails lets nothing of it out.
func TestResponses(t *testing.T) {
	tests := []struct {
		name  string
		write func(w http.ResponseWriter) error
		want  string
	}{
		{"written", func(w http.ResponseWriter) error { _, err := io.WriteString(w, "app's"); return err }, "app's"},
		{"with a status", func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusOK)
			_, err := io.WriteString(w, "app's")
			return err
		}, "app's"},
		{"copied", func(w http.ResponseWriter) error {
			_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("app's"))
			return err
		}, "app's"},
		{"flushed", func(w http.ResponseWriter) error {
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			_, err := io.WriteString(w, "app's")
			return err
		}, "app's"},
		{"flushed by an http.Flusher", func(w http.ResponseWriter) error {
			w.(http.Flusher).Flush()
			_, err := io.WriteString(w, "app's")
			return err
		}, "app's"},
		{"after early hints", func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusEarlyHints)
			_, err := io.WriteString(w, "app's")
			return err
		}, "app's"},
		{"nothing", nil, ""},
	}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				store := &tap{Store: memoryStore(t)}
				wrote := make(chan error, 1)
				s := start(settings(store), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/write" {
						pad(w, r)
						return
					}
					w.Header().Set("X-App", "yes")
					if err := session.Key.Get(r).Set("a", "1"); err != nil {
						failure.Report(r, err)
						return
					}
					var err error
					if tt.write != nil {
						err = tt.write(w)
						w.Header().Set("X-Late", "yes")
					}
					wrote <- err
				}))

				v := s.visitor(t)
				a := v.get("/write")
				if what, _ := a.cookie(); a.StatusCode != http.StatusOK || a.body != tt.want || what != "set" {
					t.Errorf("answered %s %q, cookie %q; want 200 %q and a cookie", a.Status, a.body, what, tt.want)
				}
				if err := <-wrote; err != nil {
					t.Errorf("the app got the error %v", err)
				}
				if got := v.get("/get?a").body; got != "1" {
					t.Errorf("stored is %s", got)
				}

				store.failing("commit")
				v = s.visitor(t)
				a = v.get("/write")
				if a.StatusCode != http.StatusInternalServerError || a.body != "session: the store is gone" {
					t.Errorf("the store failed: answered %s %q, want the catcher's answer", a.Status, a.body)
				}
				if what, _ := a.cookie(); what != "" || a.Header.Get("X-Late") != "" {
					t.Errorf("the store failed: answered with the header %v", a.Header)
				}
				err := <-wrote
				if told := err != nil && strings.Contains(err.Error(), "the store is gone"); told != (tt.write != nil) {
					t.Errorf("the store failed: the app got the error %v", err)
				}
			})
		}
	})
}

// The session goes with the response: what a failed request changed is lost, unless the app answers it by itself.
func TestFailed(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		s := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/note" && r.URL.Path != "/report" {
				pad(w, r)
				return
			}
			err := session.Key.Get(r).Set("a", "1")
			if r.URL.Path == "/report" {
				failure.Report(r, errors.Join(err, errors.New("failed")))
				return
			}
			failure.Note(r, errors.Join(err, errors.New("noted")))
			fmt.Fprint(w, "mine")
		}))
		for path, want := range map[string]string{"/note": "1", "/report": "none"} {
			v := s.visitor(t)
			a := v.get(path)
			if got := v.get("/get?a").body; got != want {
				t.Errorf("%s is answered with %q, and then the session holds %s; want %s", path, a.body, got, want)
			}
		}
	})
}

// Every method fails when the store can't be reached, and changes nothing.
func TestStoreUnreachable(t *testing.T) {
	store := &tap{Store: memoryStore(t)}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		s := start(settings(store), http.HandlerFunc(pad))
		for _, script := range []string{"get?a", "keys", "set?a=2", "delete?a", "renew", "destroy"} {
			t.Run(script, func(t *testing.T) {
				v := s.visitor(t)
				v.get("/set?a=1")
				store.failing("find")
				a := v.get("/" + script)
				store.breaks(nil)
				if a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.body, "the store is gone") {
					t.Errorf("answered %s %q", a.Status, a.body)
				}
				if what, _ := a.cookie(); what != "" {
					t.Errorf("the cookie is %s", what)
				}
				if got := v.get("/get?a").body; got != "1" {
					t.Errorf("afterwards it holds %s", got)
				}
			})
		}
		for _, script := range []string{"renew", "destroy"} {
			t.Run(script+" without deleting", func(t *testing.T) {
				v := s.visitor(t)
				v.get("/set?a=1")
				store.failing("delete")
				a := v.get("/" + script)
				store.breaks(nil)
				if what, _ := a.cookie(); a.StatusCode != http.StatusInternalServerError || what != "" {
					t.Errorf("answered %s, cookie %q; an id that is still good must not seem to be gone", a.Status, what)
				}
				if got := v.get("/get?a").body; got != "1" {
					t.Errorf("afterwards it holds %s", got)
				}
			})
		}
	})
}

// A stream brings the cookie with its first flush, while the app still runs.
func TestStreaming(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		goOn := make(chan struct{})
		late := make(chan error, 4)
		s := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sess := session.Key.Get(r)
			if err := sess.Set("a", "1"); err != nil {
				failure.Report(r, err)
				return
			}
			_, _ = io.WriteString(w, "first\n")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			late <- sess.Set("a", "2")
			late <- sess.Delete("a")
			late <- sess.Renew()
			late <- sess.Destroy()
			if value, err := sess.Get("a"); err != nil || value != "1" {
				t.Errorf("read after the header: %v, %v", value, err)
			}
			_, _ = io.WriteString(w, "second\n")
		}))
		v := s.visitor(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := v.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body := bufio.NewReader(resp.Body)
		line, err := body.ReadString('\n')
		if what, _ := (answer{Response: resp}).cookie(); line != "first\n" || err != nil || what != "set" {
			t.Errorf("the first flush brings %q, %v and the cookie %q", line, err, what)
		}
		close(goOn)
		rest, err := io.ReadAll(body)
		if string(rest) != "second\n" || err != nil {
			t.Errorf("then comes %q, %v", rest, err)
		}
		for _, method := range []string{"Set", "Delete", "Renew", "Destroy"} {
			if err := <-late; !errors.Is(err, errLate) {
				t.Errorf("%s after the header: %v", method, err)
			}
		}
	})
}

// Who asks for the session only after the header may read it.
func TestFirstUsedLate(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		s := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/late" {
				pad(w, r)
				return
			}
			w.WriteHeader(http.StatusOK)
			sess := session.Key.Get(r)
			value, err := sess.Get("a")
			fmt.Fprintln(w, value, err)
			fmt.Fprintln(w, sess.Set("a", "2"))
		}))
		v := s.visitor(t)
		v.get("/set?a=1")
		a := v.get("/late")
		if want := "1 <nil>\nset session value \"a\": " + errLate.Error(); a.body != want {
			t.Errorf("got %q, want %q", a.body, want)
		}
		if got := v.get("/get?a").body; got != "1" {
			t.Errorf("stored is %s", got)
		}
	})
}

// A session doesn't outlive its request: who kept it learns so.
func TestUsedAfterTheRequest(t *testing.T) {
	var kept session.Session
	h := stackOf(t, settings(memoryStore(t)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		kept = session.Key.Get(r)
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if err := kept.Set("a", "1"); !errors.Is(err, errLate) {
		t.Errorf("Set after the request: %v", err)
	}
}

func TestHijack(t *testing.T) {
	hijack := func(w http.ResponseWriter) error {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhijacked")
		return rw.Flush()
	}
	upgrade := func(w http.ResponseWriter) error {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "test")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, _ = rw.WriteString("hijacked")
		return rw.Flush()
	}
	tests := []struct {
		name        string
		before      string // in a request before
		script      string
		take        func(w http.ResponseWriter) error
		status      int
		cookie      string
		then, holds string
	}{
		{"unused", "", "nothing", hijack, 200, "", "get?a", "none"},
		{"read", "set?a=1", "get?a", hijack, 200, "", "get?a", "1"},
		{"changed", "set?a=1", "set?a=2", hijack, 200, "", "get?a", "2"},
		{"destroyed", "set?a=1", "destroy", hijack, 200, "", "get?a", "none"},
		{"begun", "", "set?a=1", hijack, 500, "", "get?a", "none"},
		{"renewed", "set?a=1", "renew;set?a=2", hijack, 500, "", "get?a", "1"},
		{"begun, with 101 first", "", "set?a=1", upgrade, 101, "set", "get?a", "1"},
		{"renewed, with 101 first", "set?a=1", "renew;set?a=2", upgrade, 101, "set", "get?a", "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &site{Server: httptest.NewServer(stackOf(t, settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				script, take := strings.CutPrefix(r.URL.String(), "/take/")
				if !take {
					pad(w, r)
					return
				}
				sess := session.Key.Get(r)
				_, err := do(sess, script)
				if err == nil {
					err = tt.take(w)
				}
				failure.Report(r, err)
				if err == nil {
					if err := sess.Set("late", "1"); !errors.Is(err, errLate) {
						t.Errorf("Set after Hijack: %v", err)
					}
				}
			})))}
			defer s.Close()
			s.protocols.SetHTTP1(true)
			v := s.visitor(t)
			if tt.before != "" {
				v.get("/" + tt.before)
			}
			a := v.get("/take/" + tt.script)
			what, _ := a.cookie()
			if a.StatusCode != tt.status || what != tt.cookie {
				t.Errorf("answered %s %q with the cookie %q, want %d and %q", a.Status, a.body, what, tt.status, tt.cookie)
			}
			if hijacked := a.body == "hijacked"; hijacked != (tt.status != 500) {
				t.Errorf("answered %q", a.body)
			}
			if got := v.get("/" + tt.then).body; got != tt.holds {
				t.Errorf("afterwards it holds %s, want %s", got, tt.holds)
			}
		})
	}
}

// A connection that can't be taken over loses nothing that was changed before or after.
func TestHijackImpossible(t *testing.T) {
	h := stackOf(t, settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sess := session.Key.Get(r)
		if r.URL.Path == "/take" {
			_, err := do(sess, "destroy")
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack: %v", err)
			}
			_, err2 := do(sess, "set?b=2")
			failure.Report(r, errors.Join(err, err2))
			return
		}
		pad(w, r)
	}))
	// A ResponseRecorder can't be hijacked.
	ask := func(path string, cookies []*http.Cookie) (*httptest.ResponseRecorder, []*http.Cookie) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		h.ServeHTTP(w, r)
		return w, answered(w).Cookies()
	}
	_, first := ask("/set?a=1", nil)
	_, second := ask("/take", first)
	if w, _ := ask("/keys", second); w.Body.String() != "b" {
		t.Errorf("the session begun afterwards has the keys %q", w.Body)
	}
	if w, _ := ask("/keys", first); w.Body.String() != "" {
		t.Errorf("the session destroyed before has the keys %q", w.Body)
	}
}

// A connection isn't handed over before the session is stored: the app can still answer.
func TestHijackUnstored(t *testing.T) {
	store := &tap{Store: memoryStore(t)}
	s := &site{Server: httptest.NewServer(stackOf(t, settings(store), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/take" {
			pad(w, r)
			return
		}
		_, err := do(session.Key.Get(r), "set?a=2")
		store.failing("commit")
		_, _, errHijack := http.NewResponseController(w).Hijack()
		store.breaks(nil)
		if err != nil || errHijack == nil || errHijack.Error() != "session: the store is gone" {
			t.Errorf("Set: %v, Hijack: %v", err, errHijack)
		}
		_, _ = io.WriteString(w, "not taken")
	})))}
	defer s.Close()
	s.protocols.SetHTTP1(true)
	v := s.visitor(t)
	v.get("/set?a=1")
	if a := v.get("/take"); a.body != "not taken" {
		t.Errorf("answered %s %q", a.Status, a.body)
	}
	if got := v.get("/get?a").body; got != "2" {
		t.Errorf("stored is %s", got)
	}
}

// Without a catcher an error isn't lost either: it is a panic.
func TestNoCatcher(t *testing.T) {
	store := &tap{Store: memoryStore(t)}
	store.failing("commit")
	h := buildOf(t, Component, settings(store))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := session.Key.Get(r).Set("a", 1); err != nil {
			t.Error(err)
		}
	}))
	defer func() {
		if p := recover(); fmt.Sprint(p) != "session: the store is gone" {
			t.Errorf("the panic is %v", p)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil)))
}

// A client that goes away ends the wait for the store.
func TestClientGone(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		store := &tap{Store: memoryStore(t)}
		asked, ended := make(chan struct{}), make(chan error, 1)
		store.breaks(func(ctx context.Context, _ string) error {
			close(asked)
			<-ctx.Done()
			return ctx.Err()
		})
		s := start(settings(store), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := session.Key.Get(r).Get("a")
			ended <- err
		}))
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "session="+newID())
		go func() {
			<-asked
			cancel()
		}()
		v := s.visitor(t)
		resp, err := v.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the client got %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the app got %v", err)
		}
	})
}

// Nobody else's catcher is asked: one between the session and the app has its own say, and its page
// goes out with what was stored.
func TestInnerCatcher(t *testing.T) {
	v := func() *visitor {
		s := &site{Server: httptest.NewServer(stackOf(t, settings(memoryStore(t)), catch(http.HandlerFunc(pad))))}
		t.Cleanup(s.Close)
		s.protocols.SetHTTP1(true)
		return s.visitor(t)
	}()
	a := v.get("/set?a=1;report")
	if what, _ := a.cookie(); a.body != "reported" || what != "set" {
		t.Errorf("answered %q with the cookie %q", a.body, what)
	}
	if got := v.get("/get?a").body; got != "1" {
		t.Errorf("stored is %s", got)
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (w discard) Header() http.Header         { return w.header }
func (w discard) WriteHeader(int)             {}
func (w discard) Write(p []byte) (int, error) { return len(p), nil }

// untouched is a request to an app that doesn't use the session, though its visitor has one.
func untouched(t testing.TB) (serve func()) {
	h := buildOf(t, Component, settings(memoryStore(t)))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(nil)
	}))
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
	r.Header.Set("Cookie", "session="+newID())
	failure.Key.Set(r, &caught{})
	w := discard{make(http.Header)}
	return func() { h.ServeHTTP(w, r) }
}

func TestUntouchedAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, untouched(t)); n > 1 {
		t.Errorf("a request that doesn't use the session costs %v allocations, want 1", n)
	}
}

func BenchmarkUntouched(b *testing.B) {
	serve := untouched(b)
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}

// BenchmarkCount is a request that reads and changes a session.
func BenchmarkCount(b *testing.B) {
	for name, open := range stores {
		b.Run(name, func(b *testing.B) {
			h := stackOf(b, settings(open(b)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := session.Key.Get(r)
				n, err := session.Value[int](s, "count")
				failure.Report(r, errors.Join(err, s.Set("count", n+1)))
			}))
			first := httptest.NewRecorder()
			h.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/", nil))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.AddCookie(answered(first).Cookies()[0])
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(discard{make(http.Header)}, r)
			}
		})
	}
}
