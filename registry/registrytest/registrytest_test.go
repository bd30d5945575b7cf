package registrytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/response"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

// options are the settings of the components below.
type options struct {
	// Root is a folder.
	Root registry.Path `yaml:"root"`
	// Names are some texts.
	Names []string `yaml:"names"`
	// Count is a number.
	Count int `yaml:"count" validate:"min=0"`
	// Store is another component.
	Store registry.Ref[session.Store] `yaml:"store"`
}

// component returns a component that builds a product by that function.
func component[T any](build func(env *registry.Env, cfg options) (T, error)) registry.Component[options, T] {
	return registry.Component[options, T]{
		Name:    "probe",
		Default: options{Root: "/srv", Names: []string{"b", "a"}},
		Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build:   build,
	}
}

// always returns a component of which each instance is that product.
func always[T any](product T) registry.Component[options, T] {
	return component(func(*registry.Env, options) (T, error) { return product, nil })
}

// around returns a middleware of a function that is given the handler behind it.
func around(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) registry.Middleware[options] {
	return always(registry.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, next) })
	}))
}

func pass(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }

// memory is a store that keeps to the rules. Its zero value is ready to use.
type memory struct {
	mu   sync.Mutex
	data map[string]entry
}

type entry struct {
	data   []byte
	expiry time.Time
}

func (m *memory) Find(_ context.Context, token string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.data[token]
	if !ok || !time.Now().Before(e.expiry) {
		return nil, false, nil
	}
	return slices.Clone(e.data), true, nil
}

func (m *memory) Commit(_ context.Context, token string, data []byte, expiry time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		m.data = make(map[string]entry)
	}
	m.data[token] = entry{slices.Clone(data), expiry}
	return nil
}

func (m *memory) Delete(_ context.Context, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.data, token)
	return nil
}

// page is an app that keeps to the rules.
func page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" && !strings.HasPrefix(r.URL.Path, "/page") {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPost {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			failure.Report(r, err)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "a page") // nobody is left to tell
}

// hook is a hook that has a handler for "page".
type hook func(r *http.Request, path string) (resource.Answer, error)

func (h hook) Find(r *http.Request, path string) (resource.Answer, error) { return h(r, path) }

func findsPage(_ *http.Request, path string) (resource.Answer, error) {
	if path != "page" {
		return resource.Answer{}, nil
	}
	return resource.Answer{Handler: http.HandlerFunc(page), ScriptName: "/page"}, nil
}

// factory is a factory.
type factory func(f *resource.File) (resource.App, error)

func (m factory) Make(f *resource.File) (resource.App, error) { return m(f) }

func readsFile(f *resource.File) (resource.App, error) {
	file, err := f.FS.Open(f.Name)
	if err != nil {
		return resource.App{}, err
	}
	return resource.App{Handler: http.HandlerFunc(page), Methods: []string{"GET", "POST"}, PathInfo: true}, file.Close()
}

// addition is a servlet with a page and a procedure. What it answers before that is in the functions.
type addition struct {
	get, post func(w http.ResponseWriter, r *http.Request) error
	sum       func(numbers []float64) (float64, error)
}

func (a *addition) Get(w http.ResponseWriter, r *http.Request) error {
	if a.get != nil {
		return a.get(w, r)
	}
	page(w, r)
	return nil
}

func (a *addition) Post(w http.ResponseWriter, r *http.Request) error {
	if a.post != nil {
		return a.post(w, r)
	}
	page(w, r)
	return nil
}

func (a *addition) RPC() servlet.RPC {
	return servlet.RPC{Procedures: map[string]servlet.Procedure{"sum": servlet.Func(func(_ *http.Request, numbers []float64) (sum float64, _ error) {
		if a.sum != nil {
			return a.sum(numbers)
		}
		for _, n := range numbers {
			sum += n
		}
		return sum, nil
	})}}
}

// servletOf declares a servlet.
func servletOf(v any) registry.Servlet[options] {
	return component(func(*registry.Env, options) (*servlet.Servlet, error) { return servlet.New(v) })
}

// reporter is a reporter.
type reporter func(ctx context.Context, i *failure.Incident) error

func (f reporter) Report(ctx context.Context, i *failure.Incident) error { return f(ctx, i) }

// serveHTTP is a server that keeps to the rules.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		err := s.Shutdown(context.WithoutCancel(ctx))
		if closed := <-served; !errors.Is(closed, http.ErrServerClosed) {
			return closed
		}
		return err
	}
}

func TestRun(t *testing.T) {
	t.Run("middleware", func(t *testing.T) { Run(t, around(pass)) })
	t.Run("middleware with a wrapper", func(t *testing.T) {
		Run(t, around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			var rw response.Writer
			rw.Init(w, func() { w.Header().Set("X-Wrapped", "1") })
			next.ServeHTTP(&rw, r.WithContext(r.Context()))
		}))
	})
	t.Run("app", func(t *testing.T) { Run(t, always[http.Handler](http.HandlerFunc(page))) })
	t.Run("hook", func(t *testing.T) {
		Run(t, always[resource.Hook](hook(findsPage)), Case[options]{Name: "handler", Path: "/page"}, Case[options]{})
	})
	t.Run("factory", func(t *testing.T) {
		Run(t, always[resource.Factory](factory(readsFile)), Case[options]{Files: map[string]string{"page.txt": "text"}})
	})
	t.Run("servlet", func(t *testing.T) { Run(t, servletOf(new(addition))) })
	t.Run("store", func(t *testing.T) {
		Run(t, component(func(*registry.Env, options) (session.Store, error) { return new(memory), nil }))
	})
	t.Run("persistent store", func(t *testing.T) {
		Run(t, always[session.Store](new(memory)), Case[options]{Persistent: true})
	})
	t.Run("reporter", func(t *testing.T) {
		Run(t, always[failure.Reporter](reporter(func(context.Context, *failure.Incident) error { return nil })))
	})
	t.Run("server", func(t *testing.T) {
		Run(t, always(registry.ServeFunc(serveHTTP)))
	})
	t.Run("server with a client", func(t *testing.T) {
		Run(t, always(registry.ServeFunc(serveHTTP)), Case[options]{Client: func(addr net.Addr) http.RoundTripper {
			var d net.Dialer
			return &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, addr.Network(), addr.String())
			}}
		}})
	})
	t.Run("settings of a case", func(t *testing.T) {
		store := new(memory)
		Run(t, component(func(_ *registry.Env, cfg options) (registry.Wrap, error) {
			if cfg.Store.Get() != session.Store(store) || cfg.Count != 2 {
				return nil, fmt.Errorf("built with the settings %+v", cfg)
			}
			return func(next http.Handler) http.Handler { return next }, nil
		}), Case[options]{Settings: func(*testing.T) options {
			return options{Count: 2, Store: registry.Bound[session.Store](store)}
		}})
	})
}
