package timeout

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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
		registrytest.Case[Config]{Name: "resting", Settings: func(*testing.T) Config { return Config{After: time.Minute} }},
	)
}

// wrap puts the middleware with these settings around an app.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i.Product.(registry.Wrap)(app)
}

// catcher keeps what was reported.
type catcher []failure.Failure

func (c *catcher) Fail(f failure.Failure) { *c = append(*c, f) }

// outcome is what came of a request.
type outcome struct {
	*httptest.ResponseRecorder
	catcher
	panicked any
	took     time.Duration
}

// ask sends a request that is prepared by each of the functions.
func ask(h http.Handler, r *http.Request) (o *outcome) {
	o = &outcome{ResponseRecorder: httptest.NewRecorder()}
	r = new(environ.Base).Open(r)
	failure.Key.Set(r, &o.catcher)
	began := time.Now()
	defer func() {
		o.panicked, o.took = recover(), time.Since(began)
		if failure.Key.Get(r) != failure.Sink(&o.catcher) {
			panic("the catcher was not put back")
		}
	}()
	h.ServeHTTP(o, r)
	return o
}

func get() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

// untilEnded waits for the end of the context.
func untilEnded(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestBeforeTheResponse(t *testing.T) {
	for _, test := range []struct {
		name   string
		app    http.HandlerFunc
		status int // of the failure; 0 for none
		says   string
	}{
		{"gives up", untilEnded, 504, "did not begin to answer within 10s"},
		{"fails", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			failure.Report(r, errors.New("no more rows"))
		}, 504, "did not begin to answer within 10s: no more rows"},
		{"fails with a status", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			failure.Report(r, failure.WithStatus(errors.New("upstream gone"), http.StatusBadGateway))
		}, 504, "upstream gone"},
		{"fails by the client's fault", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			failure.Report(r, failure.WithStatus(errors.New("too large"), http.StatusRequestEntityTooLarge))
		}, 413, "too large"},
		{"breaks off", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, 504, "did not begin to answer"},
		{"answers late", func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			http.Error(w, "in its own words", http.StatusServiceUnavailable)
		}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := ask(wrap(t, Config{After: 10 * time.Second}, test.app), get())
				if o.took != 10*time.Second || o.panicked != nil {
					t.Errorf("it took %v and panicked with %v", o.took, o.panicked)
				}
				if test.status == 0 {
					if len(o.catcher) > 0 || o.Code != 503 || o.Body.String() != "in its own words\n" {
						t.Errorf("got %d, %q and %v", o.Code, o.Body, o.catcher)
					}
					return
				}
				if len(o.catcher) != 1 || failure.Status(o.catcher[0].Err) != test.status || !strings.Contains(o.catcher[0].Err.Error(), test.says) {
					t.Fatalf("reported %v; want one failure with %d and %q", o.catcher, test.status, test.says)
				}
				if test.status == 504 && !errors.Is(o.catcher[0].Err, context.DeadlineExceeded) {
					t.Errorf("%v is no end of a deadline", o.catcher[0].Err)
				}
			})
		})
	}
}

// TestPanicKept looks whether a panic comes out as it was.
func TestPanicKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := ask(wrap(t, Config{After: time.Second}, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic("boom")
		}), get())
		if o.panicked != "boom" || len(o.catcher) > 0 {
			t.Errorf("panicked with %v, reported %v", o.panicked, o.catcher)
		}
	})
}

func TestCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask(wrap(t, Config{After: time.Second}, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); !errors.Is(cause, context.DeadlineExceeded) {
				t.Errorf("the cause is %v", cause)
			}
		}), get())
	})
}

// slow is a body of which a byte comes each second.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	<-time.After(time.Second)
	s.left--
	return copy(p, "a"), nil
}

// stalls is a body of which nothing comes for a long time.
type stalls time.Duration

func (s stalls) Read([]byte) (int, error) {
	<-time.After(time.Duration(s))
	return 0, errors.New("the client has gone to sleep")
}

func TestUpload(t *testing.T) {
	for _, test := range []struct {
		name string
		body io.Reader
		took time.Duration
	}{
		{"a byte a second", &slow{100}, 100*time.Second + 10*time.Second},
		{"nothing for long", stalls(time.Minute), time.Minute + 10*time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := ask(wrap(t, Config{After: 10 * time.Second}, func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				}), httptest.NewRequest(http.MethodPost, "/", test.body))
				if o.took != test.took || len(o.catcher) != 1 {
					t.Errorf("it took %v, and %v was reported; want %v and one failure", o.took, o.catcher, test.took)
				}
			})
		})
	}
}

func TestStream(t *testing.T) {
	// pieces writes something every nine seconds, then waits.
	pieces := func(header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			for range 10 {
				<-time.After(9 * time.Second)
				if r.Context().Err() != nil {
					t.Error("the context ended amid the stream")
				}
				_, _ = io.WriteString(w, "piece\n")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}
	}
	for _, test := range []struct {
		name     string
		app      http.HandlerFunc
		reported bool
	}{
		{"cut amid the body", pieces(), true},
		{"shorter than announced", pieces("Content-Length", "100"), true},
		{"whole, and the app goes on", pieces("Content-Length", "60"), false},
		{"events", pieces("Content-Type", "text/event-stream; charset=utf-8"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := ask(wrap(t, Config{After: 10 * time.Second, Idle: 20 * time.Second}, test.app), get())
				if o.took != 110*time.Second || o.Body.Len() != 60 {
					t.Errorf("after %v there are %d bytes; want 60 after 1m50s", o.took, o.Body.Len())
				}
				if o.panicked != nil || (len(o.catcher) == 1) != test.reported {
					t.Errorf("panicked with %v, reported %v", o.panicked, o.catcher)
				}
			})
		})
	}
	t.Run("no body, and the app goes on", func(t *testing.T) {
		for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
			synctest.Test(t, func(t *testing.T) {
				o := ask(wrap(t, Config{After: 10 * time.Second, Idle: 20 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(status)
					<-r.Context().Done()
				}), get())
				if o.took != 20*time.Second || o.panicked != nil || len(o.catcher) > 0 {
					t.Errorf("%d: after %v panicked with %v, reported %v", status, o.took, o.panicked, o.catcher)
				}
			})
		}
	})
	t.Run("rests for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := ask(wrap(t, Config{After: 10 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					t.Error("the context ended")
				case <-time.After(1000 * time.Hour):
				}
			}), get())
			if len(o.catcher) > 0 {
				t.Errorf("reported %v", o.catcher)
			}
		})
	})
	t.Run("a shorter time than before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := ask(wrap(t, Config{After: time.Hour, Idle: time.Second}, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}), get())
			if o.took != time.Second {
				t.Errorf("it took %v", o.took)
			}
		})
	})
}

// sluggish is a client who takes a minute for each piece.
type sluggish struct{ http.ResponseWriter }

func (s sluggish) Write(p []byte) (int, error) {
	<-time.After(time.Minute)
	return len(p), nil
}

// TestSlowReader looks whether a client that takes his time is laid to the app's charge.
func TestSlowReader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(w http.ResponseWriter){
		"text":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, "text") },
		"reader": func(w http.ResponseWriter) { _, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("text")}) },
		"file": func(w http.ResponseWriter) {
			f, err := os.Open(file)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			http.ServeContent(w, get(), "file", time.Time{}, f)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := wrap(t, Config{After: time.Second, Idle: time.Second}, func(w http.ResponseWriter, r *http.Request) {
					write(w)
					if err := r.Context().Err(); err != nil {
						t.Errorf("the context ended: %v", err)
					}
				})
				h.ServeHTTP(sluggish{httptest.NewRecorder()}, get())
			})
		})
	}
}

// TestTakenOver holds a conversation over a connection, then says nothing.
func TestTakenOver(t *testing.T) {
	for _, early := range []string{"", "hello\n"} {
		t.Run("early "+early, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				defer client.Close()
				buffered := bufio.NewReader(io.MultiReader(strings.NewReader(early), server))
				if len(early) > 0 {
					if _, err := buffered.Peek(len(early)); err != nil {
						t.Fatal(err)
					}
				}
				rw := bufio.NewReadWriter(buffered, bufio.NewWriter(server))
				closed := make(chan time.Duration, 1)
				began := time.Now()
				h := wrap(t, Config{After: time.Second, Idle: 10 * time.Second}, func(w http.ResponseWriter, _ *http.Request) {
					conn, rw, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					if n := rw.Reader.Buffered(); n != len(early) {
						t.Errorf("%d bytes are in the buffer; want %d", n, len(early))
					}
					go func() { // a handler may well return before
						defer conn.Close()
						for {
							line, err := rw.ReadString('\n')
							if err != nil {
								closed <- time.Since(began)
								return
							}
							_, _ = rw.WriteString(line)
							_ = rw.Flush()
						}
					}()
				})
				h.ServeHTTP(hijackable{httptest.NewRecorder(), server, rw}, get())
				echo := bufio.NewReader(client)
				if early != "" {
					if line, err := echo.ReadString('\n'); err != nil || line != early {
						t.Fatalf("got %q, %v", line, err)
					}
				}
				for range 5 {
					<-time.After(9 * time.Second)
					if _, err := io.WriteString(client, "ping\n"); err != nil {
						t.Fatal(err)
					}
					if line, err := echo.ReadString('\n'); err != nil || line != "ping\n" {
						t.Fatalf("got %q, %v", line, err)
					}
				}
				if after := <-closed; after != 55*time.Second {
					t.Errorf("the connection was closed after %v; want 55s", after)
				}
			})
		})
	}
}

// hijackable hands a connection out.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
	rw   *bufio.ReadWriter
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.rw, nil }
