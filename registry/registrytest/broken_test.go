package registrytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/response"
	"github.com/stackd/stackd/registry/session"
)

// broken is a component that breaks some rules.
type broken struct {
	name string
	// want are the rules.
	want []string
	// subject makes the component for the rules, which t is the test of. What it starts that hangs
	// ends with t.
	subject func(t *testing.T) *subject
}

// breaking declares a component, and tries it in a case.
func breaking[T any](c registry.Component[options, T], cases ...Case[options]) func(t *testing.T) *subject {
	return func(t *testing.T) *subject {
		t.Helper()
		d, err := declare(c)
		if err != nil {
			t.Fatal(err)
		}
		return newSubject(d, append(cases, Case[options]{})[0])
	}
}

// tryBroken runs the kit on components that break rules, and wants just these to be found. Each of the
// rules must be broken by one of them.
func tryBroken(t *testing.T, rules []rule, tests []broken) {
	t.Helper()
	for _, r := range rules {
		if !slices.ContainsFunc(tests, func(b broken) bool { return slices.Contains(b.want, r.name) }) {
			t.Errorf("no component breaks the rule %q", r.name)
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := test.subject(t)
			found := make(map[string]bool)
			for _, r := range rulesFor(s.Kind) {
				// Where it is known to be broken, why wait long for what won't happen? The other rules need their time.
				wait := patience
				if slices.Contains(test.want, r.name) || !slices.ContainsFunc(test.want, func(name string) bool { return !isAlways(name) }) {
					wait = 200 * time.Millisecond
				}
				for _, f := range s.try(t, r, wait) {
					found[f.rule.name] = true
					t.Log(f)
				}
				if len(found) == len(test.want) && slices.ContainsFunc(test.want, isAlways) {
					break // each of the others would find it again
				}
			}
			var got []string
			for name := range found {
				got = append(got, name)
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("rules found broken (-want +got):\n%s", diff)
			}
		})
	}
}

// isAlways reports whether a rule is looked at after each check.
func isAlways(name string) bool {
	return slices.ContainsFunc([]rule{goroutinesGone, filesClosed, settingsKept, closes, requestKept, fileKept, ends, serverReturns}, func(r rule) bool {
		return r.name == name
	})
}

// forever returns a channel that is closed when the test is over, for what hangs.
func forever(t *testing.T) <-chan struct{} {
	c := make(chan struct{})
	t.Cleanup(func() { close(c) })
	return c
}

func TestBrokenDeclaration(t *testing.T) {
	c := around(pass)
	c.Name, c.Traits.Calls = "Probe", 0
	_, err := declare(c)
	for _, want := range []string{`"Probe"`, "Calls is not stated"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("declare: got %v, want it to say %s", err, want)
		}
	}
}

func TestBrokenSettings(t *testing.T) {
	with := func(cfg options) registry.Middleware[options] {
		c := around(pass)
		c.Default = cfg
		return c
	}
	for _, test := range []struct {
		name    string
		subject func(t *testing.T) *subject
		want    string
	}{
		{"defaults break a constraint", breaking(with(options{Count: -1})), "default settings: count is -1; it must be at least 0"},
		{"case breaks a constraint", breaking(around(pass), Case[options]{Settings: func(*testing.T) options {
			return options{Count: -2}
		}}), "settings of the case: count is -2; it must be at least 0"},
		{"defaults broken though there is a case", breaking(with(options{Count: -1}), Case[options]{Settings: func(*testing.T) options {
			return options{}
		}}), "default settings: count is -1"},
		{"reference that isn't built", breaking(with(options{Store: registry.Use[session.Store]("memory")})), `store refers to the store "memory", which isn't built`},
	} {
		t.Run(test.name, func(t *testing.T) {
			faults := test.subject(t).try(t, &settingsRules[0], patience)
			if len(faults) != 1 || !strings.Contains(faults[0].String(), test.want) {
				t.Errorf("faults: got %v, want %s", faults, test.want)
			}
		})
	}
}

// impure are settings whose methods aren't pure.
type impure struct {
	// Names are some texts.
	Names []string `yaml:"names"`
	// Break says which method breaks the rule.
	Break string `yaml:"break"`
}

func (c impure) Validate() error {
	if c.Break == "validate" {
		slices.Reverse(c.Names)
	}
	return nil
}

func (c impure) Traits(t registry.Traits) registry.Traits {
	switch c.Break {
	case "traits":
		slices.Reverse(c.Names)
	case "unstated":
		t.Calls = 0
	}
	return t
}

func (c impure) Warnings(registry.Site) []registry.Warning {
	switch c.Break {
	case "warnings":
		slices.Reverse(c.Names)
	case "concern":
		return []registry.Warning{{Concern: "taste", Setting: "names", Problem: "are ugly"}}
	case "warned setting":
		return []registry.Warning{{Concern: registry.Unsafe, Setting: "names.first", Problem: "is ugly"}}
	case "silent":
		return []registry.Warning{{Concern: registry.Unsafe, Setting: "names[0]"}}
	}
	return []registry.Warning{{Concern: registry.Unsafe, Setting: "names[0]", Problem: "is ugly; it should be b"}}
}

func (c impure) Expects() []expect.Expectation {
	switch c.Break {
	case "expects":
		slices.Reverse(c.Names)
	case "expected setting":
		return []expect.Expectation{expect.Folder("root", "/")}
	case "blind":
		return []expect.Expectation{{Setting: "names"}}
	}
	return []expect.Expectation{expect.Folder("names[0]", "/")}
}

func TestBrokenMethods(t *testing.T) {
	for _, test := range []struct{ which, want string }{
		{"validate", "its Validate changed settings"},
		{"traits", "its Traits changed settings"},
		{"unstated", "is unstated"},
		{"warnings", "its Warnings changed settings"},
		{"concern", `have the concern "taste"`},
		{"warned setting", `speak of "names.first"`},
		{"silent", "say nothing of names[0]"},
		{"expects", "its Expects changed settings"},
		{"expected setting", `speak of "root"`},
		{"blind", "and a look"},
		{"", ""},
	} {
		t.Run(test.which, func(t *testing.T) {
			d, err := declare(registry.App[impure]{
				Name: "probe", Default: impure{Names: []string{"a", "b", "c"}, Break: test.which},
				Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
				Build:  func(*registry.Env, impure) (http.Handler, error) { return http.NotFoundHandler(), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			err = checkPure(&kit{subject: newSubject(d, Case[impure]{}), cfg: d.Default()})
			if got := err != nil; got != (test.want != "") || got && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// wraps is a Build that does something and makes a middleware that does nothing.
func wraps(f func()) (registry.Wrap, error) {
	f()
	return func(next http.Handler) http.Handler { return next }, nil
}

func TestBrokenLife(t *testing.T) {
	tryBroken(t, []rule{goroutinesGone, filesClosed, settingsKept, closes}, []broken{
		{"goroutine left", []string{"goroutines"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(component(func(_ *registry.Env, _ options) (registry.Wrap, error) {
				return wraps(func() { go func() { <-stop }() })
			}))(t)
		}},
		{"goroutine of a request left", []string{"goroutines"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				go func() { <-stop }()
				next.ServeHTTP(w, r)
			}))(t)
		}},
		{"file left", []string{"files"}, func(t *testing.T) *subject {
			var files []*os.File
			t.Cleanup(func() {
				for _, f := range files {
					_ = f.Close() // it was opened to be left
				}
			})
			return breaking(component(func(_ *registry.Env, _ options) (registry.Wrap, error) {
				return wraps(func() {
					f, err := os.Open("doc.go")
					if err != nil {
						t.Error(err)
					}
					files = append(files, f)
				})
			}))(t)
		}},
		{"settings changed by Build", []string{"settings kept"}, breaking(component(func(_ *registry.Env, cfg options) (registry.Wrap, error) {
			return wraps(func() { slices.Sort(cfg.Names) })
		}))},
		{"close that fails", []string{"close"}, breaking(component(func(env *registry.Env, _ options) (registry.Wrap, error) {
			return wraps(func() { env.OnClose(func() error { return errors.New("broken") }) })
		}))},
		{"close that hangs", []string{"close"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(component(func(env *registry.Env, _ options) (registry.Wrap, error) {
				return wraps(func() { env.OnClose(func() error { <-stop; return nil }) })
			}))(t)
		}},
		{"one instance at a time", []string{"two generations"}, func(t *testing.T) *subject {
			var one sync.Mutex
			return breaking(component(func(env *registry.Env, _ options) (registry.Wrap, error) {
				if !one.TryLock() {
					return nil, errors.New("there is one already")
				}
				return wraps(func() { env.OnClose(func() error { one.Unlock(); return nil }) })
			}))(t)
		}},
		{"failed build that leaves a goroutine", []string{"goroutines"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(component(func(_ *registry.Env, cfg options) (registry.Wrap, error) {
				if cfg.Root == "/srv" {
					return wraps(func() {})
				}
				go func() { <-stop }()
				_, err := os.Stat(string(cfg.Root))
				return nil, err
			}))(t)
		}},
		{"relative dependency", []string{"depends"}, breaking(component(func(env *registry.Env, _ options) (registry.Wrap, error) {
			return wraps(func() { env.DependsOn("etc/users") })
		}))},
	})
}

// stripped hides all but the methods of http.ResponseWriter.
type stripped struct{ http.ResponseWriter }

// unwrapping hides all but those and Unwrap.
type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// final passes no 1xx responses.
type final struct{ response.Writer }

func (f *final) WriteHeader(status int) {
	if status >= 200 {
		f.Writer.WriteHeader(status)
	}
}

// okay makes every response a 200.
type okay struct{ response.Writer }

func (o *okay) WriteHeader(status int) {
	if status == http.StatusAccepted {
		status = http.StatusOK
	}
	o.Writer.WriteHeader(status)
}

// swallow recovers panics of which f says so.
func swallow(f func(p any) bool) registry.Middleware[options] {
	return around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		defer func() {
			if p := recover(); p != nil && !f(p) {
				panic(p)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// changed returns a middleware that passes a changed copy of the request on.
func changed(f func(r *http.Request)) registry.Middleware[options] {
	return around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r = r.WithContext(r.Context())
		r.Header = r.Header.Clone()
		f(r)
		next.ServeHTTP(w, r)
	})
}

func TestBrokenMiddleware(t *testing.T) {
	tryBroken(t, middlewareRules, []broken{
		{"writer hides everything", []string{"flush", "deadlines", "full duplex", "trailers", "hijack", "sendfile"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(stripped{w}, r) },
		))},
		{"writer hides io.ReaderFrom", []string{"sendfile"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(unwrapping{w}, r) },
		))},
		{"writer hides 1xx", []string{"informational"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				var f final
				f.Init(w, nil)
				next.ServeHTTP(&f, r)
			},
		))},
		{"status changed", []string{"body", "concurrent"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				var o okay
				o.Init(w, nil)
				next.ServeHTTP(&o, r)
			},
		))},
		{"trailers lost", []string{"trailers"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r)
				w.Header().Del(http.TrailerPrefix + "X-Late")
			},
		))},
		{"trailers of the request lost", []string{"trailers"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r.Clone(r.Context()))
			},
		))},
		{"HEAD made a GET", []string{"head"}, breaking(changed(func(r *http.Request) {
			if r.Method == http.MethodHead {
				r.Method = http.MethodGet
			}
		}))},
		{"ranges ignored", []string{"range"}, breaking(changed(func(r *http.Request) { r.Header.Del("Range") }))},
		{"http.ErrAbortHandler swallowed", []string{"abort"}, breaking(swallow(func(p any) bool { return p == any(http.ErrAbortHandler) }))},
		{"http.ErrAbortHandler replaced", []string{"abort"}, breaking(around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			defer func() {
				if p := recover(); p != nil {
					panic("another one")
				}
			}()
			next.ServeHTTP(w, r)
		}))},
		{"panics swallowed", []string{"panic"}, breaking(swallow(func(p any) bool { return p != any(http.ErrAbortHandler) }))},
		{"context not passed on", []string{"client gone", "context"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
			},
		))},
		{"waits though the context ended", []string{"context"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Context().Err() != nil {
					<-stop
				}
				next.ServeHTTP(w, r)
			}))(t)
		}},
		{"refuses under load", []string{"concurrent"}, breaking(component(func(*registry.Env, options) (registry.Wrap, error) {
			var n atomic.Int64
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n.Add(1) > concurrency/2 {
						http.Error(w, "too many requests", http.StatusServiceUnavailable)
						return
					}
					next.ServeHTTP(w, r)
				})
			}, nil
		}))},
		{"one chain only", []string{"chains"}, breaking(component(func(*registry.Env, options) (registry.Wrap, error) {
			var first http.Handler
			return func(next http.Handler) http.Handler {
				if first == nil {
					first = next
				}
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { first.ServeHTTP(w, r) })
			}, nil
		}))},
		{"request made anew", []string{"body", "trailers"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, (&http.Request{Method: r.Method, URL: r.URL, Header: r.Header, Body: r.Body, ContentLength: r.ContentLength}).WithContext(r.Context()))
			},
		))},
		{"request header changed", []string{"request kept"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Set("X-User", "somebody")
				next.ServeHTTP(w, r)
			},
		))},
		{"request body replaced", []string{"request kept"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
				next.ServeHTTP(w, r)
			},
		))},
		{"form of the request parsed", []string{"request kept"}, breaking(around(
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				_ = r.FormValue("user")
				next.ServeHTTP(w, r)
			},
		))},
	})
}

// pages returns an app of page with a twist.
func pages(f func(w http.ResponseWriter, r *http.Request) (done bool)) registry.App[options] {
	return always[http.Handler](http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f(w, r) {
			page(w, r)
		}
	}))
}

func TestBrokenApp(t *testing.T) {
	tryBroken(t, appRules, []broken{
		{"no HEAD", []string{"head"}, breaking(pages(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead {
				return false
			}
			w.WriteHeader(http.StatusMethodNotAllowed)
			return true
		}))},
		{"HEAD with another type", []string{"head"}, breaking(pages(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead {
				return false
			}
			w.Header().Set("Content-Type", "text/html")
			return true
		}))},
		{"empty 200 for what it doesn't have", []string{"unknown"}, breaking(pages(func(_ http.ResponseWriter, r *http.Request) bool {
			return r.URL.Path != "/"
		}))},
		{"failure reported", []string{"concurrent", "head"}, breaking(pages(func(_ http.ResponseWriter, r *http.Request) bool {
			failure.Report(r, errors.New("broken"))
			return true
		}))},
		{"two different answers", []string{"concurrent"}, breaking(component(func(*registry.Env, options) (http.Handler, error) {
			var n atomic.Int64
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) > concurrency/2 {
					http.NotFound(w, r)
					return
				}
				page(w, r)
			}), nil
		}))},
		{"waits though the context ended", []string{"context", "client gone", "waits end"}, func(t *testing.T) *subject {
			stop := forever(t)
			return breaking(pages(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					<-stop
				}
				return false
			}))(t)
		}},
		{"request changed", []string{"request kept"}, breaking(pages(func(_ http.ResponseWriter, r *http.Request) bool {
			r.URL.Path = "/page"
			return false
		}))},
	})
}

func TestBrokenHook(t *testing.T) {
	of := func(f hook, path string) func(t *testing.T) *subject {
		return breaking(always[resource.Hook](f), Case[options]{Path: path})
	}
	tryBroken(t, hookRules, []broken{
		{"answer without a thing", []string{"unknown"}, of(func(r *http.Request, path string) (resource.Answer, error) {
			a, err := findsPage(r, path)
			a.ScriptName = "/page"
			return a, err
		}, "/page")},
		{"unknown is an error", []string{"unknown", "concurrent"}, of(func(r *http.Request, path string) (resource.Answer, error) {
			if path != "page" {
				return resource.Answer{}, errors.New("not found")
			}
			return findsPage(r, path)
		}, "/page")},
		{"nothing for its path", []string{"answer", "concurrent"}, of(findsPage, "/other")},
		{"handler and tree", []string{"answer"}, of(func(r *http.Request, path string) (resource.Answer, error) {
			a, err := findsPage(r, path)
			if a.Handler != nil {
				a.Tree = os.DirFS(".")
			}
			return a, err
		}, "/page")},
		{"absolute path in a tree", []string{"answer"}, of(func(_ *http.Request, path string) (resource.Answer, error) {
			if path != "page" {
				return resource.Answer{}, nil
			}
			return resource.Answer{Tree: os.DirFS("."), Path: "/doc.go"}, nil
		}, "/page")},
		{"waits though the context ended", []string{"context"}, func(t *testing.T) *subject {
			stop := forever(t)
			return of(func(r *http.Request, path string) (resource.Answer, error) {
				if r.Context().Err() != nil {
					<-stop
				}
				return findsPage(r, path)
			}, "/page")(t)
		}},
		{"request changed", []string{"request kept"}, of(func(r *http.Request, path string) (resource.Answer, error) {
			r.URL.Path = "/"
			return findsPage(r, path)
		}, "/page")},
	})
}

func TestBrokenFactory(t *testing.T) {
	of := func(f factory) func(t *testing.T) *subject {
		return breaking(always[resource.Factory](f), Case[options]{Files: map[string]string{"page.txt": "text"}})
	}
	// with makes the app of readsFile answer differently where f says so.
	with := func(f func(w http.ResponseWriter, r *http.Request) bool) func(t *testing.T) *subject {
		return of(func(file *resource.File) (resource.App, error) {
			app, err := readsFile(file)
			app.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !f(w, r) {
					page(w, r)
				}
			})
			return app, err
		})
	}
	tryBroken(t, factoryRules[:len(factoryRules)-len(common)], []broken{
		{"makes one app only", []string{"make", "concurrent make"}, breaking(component(func(*registry.Env, options) (resource.Factory, error) {
			var made atomic.Bool
			return factory(func(f *resource.File) (resource.App, error) {
				if made.Swap(true) {
					return resource.App{}, errors.New("made already")
				}
				return readsFile(f)
			}), nil
		}), Case[options]{Files: map[string]string{"page.txt": "text"}})},
		{"declared method refused", []string{"methods"}, with(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
			}
			return r.Method == http.MethodPost
		})},
		{"no method names", []string{"methods"}, of(func(f *resource.File) (resource.App, error) {
			app, err := readsFile(f)
			app.Methods = []string{"GET", "GET", "POST"}
			return app, err
		})},
		{"path info fails", []string{"path info"}, with(func(_ http.ResponseWriter, r *http.Request) bool {
			if resource.Key.Get(r).PathInfo != "" {
				failure.Report(r, errors.New("no such part"))
				return true
			}
			return false
		})},
		{"panics for a file that is gone", []string{"vanished"}, of(func(f *resource.File) (resource.App, error) {
			if file, err := f.FS.Open(f.Name); err != nil {
				panic(err)
			} else if err := file.Close(); err != nil {
				return resource.App{}, err
			}
			return readsFile(f)
		})},
		{"app leaves the file open", []string{"files"}, func(t *testing.T) *subject {
			var mu sync.Mutex
			var files []io.Closer
			t.Cleanup(func() {
				for _, f := range files {
					_ = f.Close() // it was opened to be left
				}
			})
			return of(func(f *resource.File) (resource.App, error) {
				file, err := f.FS.Open(f.Name)
				if err != nil {
					return resource.App{}, err
				}
				mu.Lock()
				defer mu.Unlock()
				files = append(files, file)
				return readsFile(f)
			})(t)
		}},
		{"file changed", []string{"file kept"}, of(func(f *resource.File) (resource.App, error) {
			f.Type = "text/html"
			return readsFile(f)
		})},
	})
}

// store is a memory of which some methods are replaced.
type store struct {
	memory
	find   func(ctx context.Context, m *memory, token string) ([]byte, bool, error)
	commit func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error
	delete func(ctx context.Context, m *memory, token string) error
}

func (s *store) Find(ctx context.Context, token string) ([]byte, bool, error) {
	if s.find != nil {
		return s.find(ctx, &s.memory, token)
	}
	return s.memory.Find(ctx, token)
}

func (s *store) Commit(ctx context.Context, token string, data []byte, expiry time.Time) error {
	if s.commit != nil {
		return s.commit(ctx, &s.memory, token, data, expiry)
	}
	return s.memory.Commit(ctx, token, data, expiry)
}

func (s *store) Delete(ctx context.Context, token string) error {
	if s.delete != nil {
		return s.delete(ctx, &s.memory, token)
	}
	return s.memory.Delete(ctx, token)
}

func TestBrokenStore(t *testing.T) {
	of := func(s *store) func(t *testing.T) *subject { return breaking(always[session.Store](s)) }
	tryBroken(t, storeRules, []broken{
		{"keeps the caller's bytes", []string{"isolation"}, of(&store{
			commit: func(_ context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if m.data == nil {
					m.data = make(map[string]entry)
				}
				m.data[token] = entry{data, expiry}
				return nil
			},
		})},
		{"gives its own bytes away", []string{"isolation"}, of(&store{
			find: func(ctx context.Context, m *memory, token string) ([]byte, bool, error) {
				if _, found, err := m.Find(ctx, token); !found {
					return nil, found, err
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				return m.data[token].data, true, nil
			},
		})},
		{"data never expires", []string{"expiry", "overwrite"}, of(&store{
			commit: func(ctx context.Context, m *memory, token string, data []byte, _ time.Time) error {
				return m.Commit(ctx, token, data, later())
			},
		})},
		{"data expires at once", []string{"find", "overwrite", "delete", "isolation", "tokens", "big", "context", "concurrent"}, of(&store{
			find: func(context.Context, *memory, string) ([]byte, bool, error) { return nil, false, nil },
		})},
		{"unknown is an error", []string{"unknown", "overwrite", "delete", "expiry", "tokens", "context", "concurrent"}, of(&store{
			find: func(ctx context.Context, m *memory, token string) ([]byte, bool, error) {
				data, found, err := m.Find(ctx, token)
				if !found {
					err = errors.New("not found")
				}
				return data, found, err
			},
		})},
		{"malformed is an error", []string{"unknown"}, of(&store{
			find: func(ctx context.Context, m *memory, token string) ([]byte, bool, error) {
				if strings.Contains(token, "..") {
					return nil, false, errors.New("malformed")
				}
				return m.Find(ctx, token)
			},
			commit: func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				if strings.Contains(token, "..") {
					return errors.New("malformed")
				}
				return m.Commit(ctx, token, data, expiry)
			},
		})},
		{"first data stays", []string{"overwrite"}, of(&store{
			commit: func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				if _, found, _ := m.Find(ctx, token); found {
					return nil
				}
				return m.Commit(ctx, token, data, expiry)
			},
		})},
		{"deletes nothing", []string{"delete", "context", "concurrent"}, of(&store{
			delete: func(context.Context, *memory, string) error { return nil },
		})},
		{"deletes only what is there", []string{"delete"}, of(&store{
			delete: func(ctx context.Context, m *memory, token string) error {
				if _, found, _ := m.Find(ctx, token); !found {
					return errors.New("not found")
				}
				return m.Delete(ctx, token)
			},
		})},
		{"tokens without case", []string{"tokens"}, of(&store{
			find: func(ctx context.Context, m *memory, token string) ([]byte, bool, error) {
				return m.Find(ctx, strings.ToLower(token))
			},
			commit: func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				return m.Commit(ctx, strings.ToLower(token), data, expiry)
			},
			delete: func(ctx context.Context, m *memory, token string) error {
				return m.Delete(ctx, strings.ToLower(token))
			},
		})},
		{"big data cut", []string{"big"}, of(&store{
			commit: func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				return m.Commit(ctx, token, data[:min(len(data), 1<<16)], expiry)
			},
		})},
		{"mixes up what several commit", []string{"concurrent"}, of(&store{
			find: func(ctx context.Context, m *memory, token string) ([]byte, bool, error) {
				data, found, err := m.Find(ctx, token)
				if len(data) >= 100 && len(data) < 200 { // as only the concurrent check commits it
					data[0]++
				}
				return data, found, err
			},
		})},
		{"pretends to commit", []string{"context"}, of(&store{
			commit: func(ctx context.Context, m *memory, token string, data []byte, expiry time.Time) error {
				if ctx.Err() != nil {
					return nil
				}
				return m.Commit(ctx, token, data, expiry)
			},
		})},
		{"waits though the context ended", []string{"context"}, func(t *testing.T) *subject {
			stop := forever(t)
			return of(&store{delete: func(ctx context.Context, m *memory, token string) error {
				if ctx.Err() != nil {
					<-stop
				}
				return m.Delete(ctx, token)
			}})(t)
		}},
		{"not persistent", []string{"persistent"}, breaking(component(func(*registry.Env, options) (session.Store, error) {
			return new(memory), nil
		}), Case[options]{Persistent: true})},
	})
}

func TestBrokenReporter(t *testing.T) {
	of := func(f reporter) func(t *testing.T) *subject { return breaking(always[failure.Reporter](f)) }
	var mu sync.Mutex // so that the race detector doesn't find the rule broken first
	tryBroken(t, reporterRules, []broken{
		{"changes the incident", []string{"incident kept"}, of(func(_ context.Context, i *failure.Incident) error {
			mu.Lock()
			defer mu.Unlock()
			if i.Header != nil {
				i.Header.Set("Cookie", "eaten")
			}
			return nil
		})},
		{"panics without a route", []string{"report"}, of(func(_ context.Context, i *failure.Incident) error {
			if i.Route.Patterns == nil {
				return nil
			}
			return nil
		})},
		{"always fails", []string{"report", "concurrent", "incident kept"}, of(func(context.Context, *failure.Incident) error {
			return errors.New("broken")
		})},
		{"waits though the context ended", []string{"context"}, func(t *testing.T) *subject {
			stop := forever(t)
			return of(func(ctx context.Context, _ *failure.Incident) error {
				if ctx.Err() != nil {
					<-stop
				}
				return nil
			})(t)
		}},
	})
}

// drain returns a server that does something when ctx ends, and the rest when no handler runs.
func drain(first func(s *http.Server, l net.Listener)) registry.ServeFunc {
	return func(ctx context.Context, l net.Listener, h http.Handler) error {
		var running atomic.Int64
		s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Add(-1)
			h.ServeHTTP(w, r)
		})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		first(s, l)
		err := eventually(patience, func() error {
			if running.Load() > 0 {
				return errors.New("a handler runs")
			}
			return nil
		})
		if down := s.Shutdown(context.WithoutCancel(ctx)); !errors.Is(down, net.ErrClosed) {
			err = errors.Join(err, down)
		}
		if <-served == nil {
			return errors.New("http.Server.Serve returned nil")
		}
		return err
	}
}

func TestBrokenServer(t *testing.T) {
	of := func(f registry.ServeFunc) func(t *testing.T) *subject { return breaking(always(f)) }
	// handling changes what the handler is given.
	handling := func(f func(w http.ResponseWriter, r *http.Request, h http.Handler)) func(t *testing.T) *subject {
		return of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			return serveHTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, h) }))
		})
	}
	tryBroken(t, serverRules, []broken{
		{"returns an error at the end", []string{"return"}, of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			if err := serveHTTP(ctx, l, h); err != nil {
				return err
			}
			return ctx.Err()
		})},
		{"doesn't return", []string{"return"}, func(t *testing.T) *subject {
			stop := forever(t)
			return of(func(ctx context.Context, l net.Listener, h http.Handler) error {
				err := serveHTTP(ctx, l, h)
				<-stop
				return err
			})(t)
		}},
		{"cuts requests under way", []string{"finish", "refuse"}, of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
			defer context.AfterFunc(ctx, func() { _ = s.Close() })()
			if err := s.Serve(l); ctx.Err() == nil {
				return err
			}
			return nil
		})},
		{"goes on accepting", []string{"refuse"}, of(drain(func(s *http.Server, _ net.Listener) { s.SetKeepAlivesEnabled(false) }))},
		{"keeps idle connections", []string{"refuse"}, of(drain(func(_ *http.Server, l net.Listener) {
			_ = l.Close() // the server closes it again
		}))},
		{"no unix sockets", []string{"serve"}, of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			if l.Addr().Network() == "unix" {
				<-ctx.Done()
				return nil
			}
			return serveHTTP(ctx, l, h)
		})},
		{"one listener at a time", []string{"listeners"}, breaking(component(func(*registry.Env, options) (registry.ServeFunc, error) {
			one := make(chan struct{}, 1)
			return func(ctx context.Context, l net.Listener, h http.Handler) error {
				select {
				case one <- struct{}{}:
					defer func() { <-one }()
					return serveHTTP(ctx, l, h)
				case <-ctx.Done():
					return nil
				}
			}, nil
		}))},
		{"once only", []string{"listeners", "again"}, breaking(component(func(*registry.Env, options) (registry.ServeFunc, error) {
			var used atomic.Bool
			return func(ctx context.Context, l net.Listener, h http.Handler) error {
				if used.Swap(true) {
					<-ctx.Done()
					return nil
				}
				return serveHTTP(ctx, l, h)
			}, nil
		}))},
		{"ends when files are short", []string{"return", "short of files"}, of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			return serveHTTP(ctx, hasty{l}, h)
		})},
		{"nil for a broken listener", []string{"broken listener"}, of(func(ctx context.Context, l net.Listener, h http.Handler) error {
			_ = serveHTTP(ctx, l, h) // it should be returned
			return nil
		})},
		{"http.ErrAbortHandler swallowed", []string{"abort"}, handling(func(w http.ResponseWriter, r *http.Request, h http.Handler) {
			defer func() { _ = recover() }()
			h.ServeHTTP(w, r)
		})},
		{"context not passed on", []string{"client gone"}, handling(func(w http.ResponseWriter, r *http.Request, h http.Handler) {
			h.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		})},
		{"answers buffered", []string{"flush"}, handling(func(w http.ResponseWriter, r *http.Request, h http.Handler) {
			h.ServeHTTP(stripped{w}, r)
		})},
		{"one request at a time refused", []string{"concurrent"}, breaking(component(func(*registry.Env, options) (registry.ServeFunc, error) {
			var n atomic.Int64
			return func(ctx context.Context, l net.Listener, h http.Handler) error {
				return serveHTTP(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if n.Add(1) > concurrency/2 {
						http.Error(w, "too many requests", http.StatusServiceUnavailable)
						return
					}
					h.ServeHTTP(w, r)
				}))
			}, nil
		}))},
	})
}

// hasty is a listener all of whose errors last.
type hasty struct{ net.Listener }

func (h hasty) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		err = fmt.Errorf("accept: %w", err) // net/http tells by the type
	}
	return c, err
}
