package serve

import (
	"net/http"
	"sync/atomic"
)

// root is the handler that all servers have: it gives each request to the generation that is
// current when the request comes.
type root struct {
	current atomic.Pointer[generation]
}

// newRoot has a sealed generation to begin with, so that there always is one.
func newRoot() *root {
	none := newGeneration(Generation{}, 0)
	none.seal()
	t := &root{}
	t.current.Store(none)
	return t
}

// swap makes g current, and returns the one before, which serves no further request.
func (t *root) swap(g *generation) *generation {
	old := t.current.Swap(g)
	if old.number > 0 {
		old.seal()
	}
	return old
}

// ServeHTTP implements [http.Handler].
func (t *root) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.serve(w, r, nil) }

// entrance is the root as one server has it.
type entrance struct {
	*root
	server *server
}

// ServeHTTP implements [http.Handler].
func (e entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.serve(w, r, e.server) }

func (t *root) serve(w http.ResponseWriter, r *http.Request, by *server) {
	g := t.current.Load()
	f := g.enter(w, r, by)
	for f == nil {
		// Sealed since it was loaded: the next one is current by now, unless there is none.
		next := t.current.Load()
		if next == g {
			w.Header().Set("Connection", "close")
			http.Error(w, "the server is stopping", http.StatusServiceUnavailable)
			return
		}
		g = next
		f = g.enter(w, r, by)
	}
	defer f.leave()
	if g.counted != nil {
		g.counted.serve(g.Handler, w, r.WithContext(f))
		return
	}
	g.Handler.ServeHTTP(w, r.WithContext(f))
}
