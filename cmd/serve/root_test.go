package serve

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stackd/stackd/registry/environ"
)

// inGeneration calls f inside a request with that context.
func inGeneration(parent context.Context, t *testing.T, f func(ctx context.Context, g *generation)) context.Context {
	t.Helper()
	var g *generation
	var seen context.Context
	g = newGeneration(Generation{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = r.Context()
		f(seen, g)
	})}, 1)
	root := newRoot()
	root.swap(g)
	root.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody).WithContext(parent))
	if seen == nil {
		t.Fatal("the handler was not called")
	}
	return seen
}

func TestRequestContext(t *testing.T) {
	type key struct{}
	tests := map[string]func(t *testing.T, parent context.Context, end context.CancelCauseFunc, g *generation, ctx context.Context){
		"is not done while the generation serves": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, _ *generation, ctx context.Context) {
			select {
			case <-ctx.Done():
				t.Error("done")
			default:
			}
			if err := ctx.Err(); err != nil {
				t.Error(err)
			}
		},
		"has the server's values and deadline": func(t *testing.T, parent context.Context, _ context.CancelCauseFunc, _ *generation, ctx context.Context) {
			for range 2 { // before and after it is asked for Done
				if got := ctx.Value(key{}); got != "value" {
					t.Errorf("value is %v", got)
				}
				want, _ := parent.Deadline()
				if got, ok := ctx.Deadline(); !ok || !got.Equal(want) {
					t.Errorf("deadline is %v, %t; want %v", got, ok, want)
				}
				ctx.Done()
			}
		},
		"is cancelled with ErrRetired": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, g *generation, ctx context.Context) {
			g.cancel()
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), ErrRetired) {
				t.Errorf("err %v, cause %v", ctx.Err(), context.Cause(ctx))
			}
		},
		"tells ErrRetired to children made before": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, g *generation, ctx context.Context) {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			g.cancel()
			<-child.Done()
			if cause := context.Cause(child); !errors.Is(cause, ErrRetired) {
				t.Error(cause)
			}
		},
		"tells ErrRetired to children made after": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, g *generation, ctx context.Context) {
			g.cancel()
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			if cause := context.Cause(child); !errors.Is(cause, ErrRetired) {
				t.Error(cause)
			}
		},
		"ends with the server's, seen by Done": func(t *testing.T, _ context.Context, end context.CancelCauseFunc, _ *generation, ctx context.Context) {
			gone := errors.New("client gone")
			done := ctx.Done()
			end(gone)
			<-done
			if cause := context.Cause(ctx); !errors.Is(cause, gone) {
				t.Error(cause)
			}
		},
		"ends with the server's, seen by Err alone": func(t *testing.T, _ context.Context, end context.CancelCauseFunc, _ *generation, ctx context.Context) {
			gone := errors.New("client gone")
			end(gone)
			if err := ctx.Err(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if cause := context.Cause(ctx); !errors.Is(cause, gone) {
				t.Error(cause)
			}
		},
		"has room for an environ, whose stack then needs no copy of the request": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, _ *generation, ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
			if new(environ.Base).Open(r) != r {
				t.Error("the request was copied")
			}
		},
		"tells which generation it is": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, g *generation, ctx context.Context) {
			r := new(environ.Base).Open(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
			if got := environ.Generation(r); got != g.number {
				t.Errorf("it is %d, want %d", got, g.number)
			}
		},
		"costs children no goroutine": func(t *testing.T, _ context.Context, _ context.CancelCauseFunc, _ *generation, ctx context.Context) {
			before := runtime.NumGoroutine()
			for range 100 {
				_, cancel := context.WithCancel(ctx)
				defer cancel()
			}
			if after := runtime.NumGoroutine(); after > before+50 {
				t.Errorf("%d goroutines before, %d after", before, after)
			}
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			deadline, stop := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
			defer stop()
			parent, end := context.WithCancelCause(deadline)
			defer end(nil)
			inGeneration(parent, t, func(ctx context.Context, g *generation) { f(t, parent, end, g, ctx) })
		})
	}
}

func TestRequestContextEndsWithTheRequest(t *testing.T) {
	tests := map[string]func(context.Context){
		"asked for Done inside": func(ctx context.Context) { ctx.Done() },
		"not asked inside":      func(context.Context) {},
	}
	for name, inside := range tests {
		t.Run(name, func(t *testing.T) {
			// Not every server ends its own context, so the parent here does not.
			ctx := inGeneration(context.Background(), t, func(ctx context.Context, _ *generation) { inside(ctx) })
			if err := ctx.Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("err is %v", err)
			}
			receive(t, ctx.Done(), "end of the context")
		})
	}
}

func TestRootWithoutGeneration(t *testing.T) {
	root := newRoot()
	w := httptest.NewRecorder()
	root.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestRootLeavesAfterPanic(t *testing.T) {
	g := newGeneration(Generation{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})}, 1)
	root := newRoot()
	root.swap(g)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, which must be that very one
				t.Errorf("panic is %v", p)
			}
		}()
		root.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	}()
	g.seal()
	receive(t, g.idle, "last request")
}

// Requests come and go while generations are sealed: none is lost, none is counted twice, and none
// gets into a generation whose idle has been closed.
func TestSealUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const generations, clients = 500, 8
		root := newRoot()
		handler := func(idle func() <-chan struct{}) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				runtime.Gosched()
				select {
				case <-idle():
					t.Error("a request is inside a generation that is over")
				default:
				}
			})
		}
		fresh := func(number uint64) *generation {
			var g *generation
			g = newGeneration(Generation{Handler: handler(func() <-chan struct{} { return g.idle })}, number)
			return g
		}
		root.swap(fresh(1))
		ctx, stop := context.WithCancel(t.Context())
		ready := make(chan struct{}, clients)
		for range clients {
			go func() {
				w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody)
				root.ServeHTTP(w, r)
				ready <- struct{}{}
				for ctx.Err() == nil {
					root.ServeHTTP(w, r)
				}
				if w.Code != http.StatusOK {
					t.Errorf("status %d", w.Code)
				}
			}()
		}
		for range clients {
			<-ready
		}
		for n := range generations {
			old := root.swap(fresh(uint64(n + 2)))
			<-old.idle
		}
		stop()
		synctest.Wait()
	})
}

func BenchmarkRoot(b *testing.B) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	asks := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { r.Context().Done() })
	newCase := func(h http.Handler) (http.Handler, *httptest.ResponseRecorder, *http.Request) {
		root := newRoot()
		root.swap(newGeneration(Generation{Handler: h}, 1))
		return root, httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	}
	for name, h := range map[string]http.Handler{"plain": nothing, "asks for Done": asks} {
		b.Run(name, func(b *testing.B) {
			root, w, r := newCase(h)
			b.ReportAllocs()
			for b.Loop() {
				root.ServeHTTP(w, r)
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		root, w, r := newCase(nothing)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				root.ServeHTTP(w, r)
			}
		})
	})
	b.Run("bare copy", func(b *testing.B) { // what Request.WithContext alone costs
		_, w, r := newCase(nothing)
		ctx := r.Context()
		var h http.Handler = nothing
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r.WithContext(ctx))
		}
	})
}
