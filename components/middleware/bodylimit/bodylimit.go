// Package bodylimit caps the size of request bodies.
//
// A small limit for the whole site, and a large one where files are sent to:
//
//	stack:
//	  - errors
//	  - {use: body_limit, max_size: 1MiB}
//	  - finder
//	urls:
//	  /upload/: {body_limit: {max_size: 2GiB}}
//
// A body announced longer than max_size is refused with 413 before the rest of the stack runs. One
// that turns out longer fails, with [net/http.MaxBytesError], at the read that crosses the
// limit; when the app reports that error, the errors middleware answers 413 too. In both
// cases the connection is closed unless little was left to read.
//
// Nothing is collected in memory. The server has a limit of its own, max_body, which this one
// can't raise.
package bodylimit

import (
	"io"
	"net/http"
	"strconv"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the body_limit middleware.
var Component = registry.Middleware[Config]{
	Name:    "body_limit",
	Default: Config{MaxSize: 1 << 20},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config sets the limit.
type Config struct {
	// MaxSize is the longest request body accepted.
	MaxSize registry.Size `yaml:"max_size" validate:"min=1"`
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	return func(next http.Handler) http.Handler {
		return &handler{max: int64(cfg.MaxSize), next: next}
	}, nil
}

// handler is the middleware in one chain.
type handler struct {
	max  int64
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ContentLength > h.max:
		h.refuse(w)
	case r.ContentLength >= 0:
		// Nobody can send more than was announced.
		h.next.ServeHTTP(w, r)
	default:
		limited := *r
		limited.Body = http.MaxBytesReader(w, r.Body, h.max)
		h.next.ServeHTTP(w, &limited)
	}
}

func (h *handler) refuse(w http.ResponseWriter) {
	body := "413 Content Too Large: the request body may have at most " + strconv.FormatInt(h.max, 10) + " bytes\n"
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	io.WriteString(w, body)
}
