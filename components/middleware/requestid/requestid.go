// Package requestid gives every request an id, for logs and for other servers.
//
// Put it outermost, so that all further in can use the id:
//
//	stack:
//	  - request_id
//	  - access_log
//	  - errors
//	  - finder
//
// The id is in the field X-Request-Id of the request, where scripts and the servers behind a
// proxy find it, and of the response, where a visitor who complains does. The access log
// writes it too.
//
// An id has 130 random bits, written as 26 letters and digits. What a client sends in the
// field is replaced, unless trust says that a proxy in front has set it. Even then an id
// must be 1 to 128 letters, digits and characters out of -_.:=+/ to be kept: it goes into logs.
package requestid

import (
	"crypto/rand"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the request_id middleware.
var Component = registry.Middleware[Config]{
	Name:    "request_id",
	Default: Config{Header: "X-Request-Id"},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Provides:  []environ.Name{environ.RequestID},
	},
	Build: build,
}

// Config says where the id is written, and whose is taken over.
type Config struct {
	// Header is the field that holds the id, in the request and in the response.
	Header string `yaml:"header" validate:"required"`
	// Trust keeps the id that a request brings. Set it when a proxy in front sets the field
	// for every request; otherwise clients choose what your logs say.
	Trust bool `yaml:"trust"`
}

// Validate checks that the field's name is one.
func (c Config) Validate() error {
	if c.Header != "" && !httpguts.ValidHeaderFieldName(c.Header) {
		return &registry.SettingError{Setting: "header", Problem: "has a character that no field name may have; it must be like X-Request-Id"}
	}
	return nil
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	name := http.CanonicalHeaderKey(cfg.Header)
	return func(next http.Handler) http.Handler {
		return &handler{name: name, trust: cfg.Trust, next: next}
	}, nil
}

// handler is the middleware in one chain.
type handler struct {
	name  string
	trust bool
	next  http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var id string
	if brought := r.Header[h.name]; h.trust && len(brought) == 1 && wellFormed(brought[0]) {
		id = brought[0]
	} else {
		id = rand.Text()
		r = r.WithContext(r.Context())
		r.Header = r.Header.Clone()
		r.Header[h.name] = []string{id}
		environ.Claim(r.Header, h.name)
	}
	environ.RequestID.Set(r, id)
	w.Header()[h.name] = []string{id}
	h.next.ServeHTTP(w, r)
}

// What an id that a request brings may be like.
const (
	maxLength = 128
	allowed   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:=+/"
)

func wellFormed(id string) bool {
	foreign := func(c rune) bool { return !strings.ContainsRune(allowed, c) }
	return id != "" && len(id) <= maxLength && !strings.ContainsFunc(id, foreign)
}
