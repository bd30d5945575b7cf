package registrytest

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/response"
	"github.com/stackd/stackd/registry/session"
)

type none struct{}

var promises = registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}

// middleware returns a middleware which is that function.
func middleware(wrap registry.Wrap) registry.Middleware[none] {
	return registry.Middleware[none]{
		Name: "probe", Traits: promises,
		Build: func(*registry.Env, none) (registry.Wrap, error) { return wrap, nil },
	}
}

func transparent(next http.Handler) http.Handler { return next }

func wrapping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var rw response.Writer
		rw.Init(w, func() { w.Header().Set("X-Wrapped", "1") })
		next.ServeHTTP(&rw, r)
	})
}

// memory is a store that keeps to the rules.
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
	m.data[token] = entry{slices.Clone(data), expiry}
	return nil
}

func (m *memory) Delete(_ context.Context, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.data, token)
	return nil
}

func TestRunMiddleware(t *testing.T) {
	Run(t, middleware(transparent))
	Run(t, middleware(wrapping))
}

func TestRunStore(t *testing.T) {
	Run(t, registry.Store[none]{
		Name: "memory", Traits: promises,
		Build: func(*registry.Env, none) (session.Store, error) {
			return &memory{data: make(map[string]entry)}, nil
		},
	})
}
