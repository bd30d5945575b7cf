// Package maintenance closes the site for a while.
//
// Everybody gets 503 with Retry-After, except those who are let in to see whether it works:
//
//	stack:
//	  - use: maintenance
//	    flag: var/closed
//	    page: etc/closed.html
//	    allow: [127.0.0.1]
//	  - errors
//	  - finder
//	urls:
//	  /health: {maintenance: off}
//
// With a flag, the site is closed while that file is there: touch var/closed, and rm var/closed
// when all is done. Without one it is closed whenever this middleware stands in the stack;
// write it with off: true, and take that away when it is needed. Either is noticed by
// itself, and no request under way is cut off.
//
// Behind a proxy put it inside of real_ip, so that allow means the visitors' addresses.
package maintenance

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
)

func init() { registry.Register(Component) }

// Component is the maintenance middleware.
var Component = registry.Middleware[Config]{
	Name:    "maintenance",
	Default: Config{RetryAfter: 5 * time.Minute},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says when the site is closed, and what those get who ask.
type Config struct {
	// Flag is a file; the site is closed while it is there. Its content doesn't matter. Without
	// a flag the site is closed.
	Flag registry.Path `yaml:"flag"`
	// Page is the HTML page that visitors get. Styles and images must be in it, as everything else
	// is closed. Without one they get a line of text.
	Page registry.Path `yaml:"page"`
	// RetryAfter is when visitors and robots are asked to come again, in whole seconds; 0 doesn't
	// say.
	RetryAfter time.Duration `yaml:"retry_after" validate:"min=0s"`
	// Allow are those whose requests are let in: addresses, networks such as 10.0.0.0/8, and the word unix for
	// clients of a unix socket.
	Allow []registry.Network `yaml:"allow"`
}

// Traits says that it matters who a visitor is, if some are let in.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if len(c.Allow) > 0 {
		t.Uses = []environ.Name{environ.Client}
	}
	return t
}

// Expects says that the page must be there, if one is named.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.File("page", string(c.Page))}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	c := &closed{header: http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}, admits: registry.Clients(cfg.Allow), body: []byte("503 Service Unavailable: closed for maintenance; please come again in a while\n")}
	if cfg.Page != "" {
		env.DependsOn(string(cfg.Page))
		page, err := os.ReadFile(string(cfg.Page))
		if err != nil {
			return nil, err
		}
		c.body = page
		c.header["Content-Type"] = []string{"text/html; charset=utf-8"}
	}
	c.header["Content-Length"] = []string{strconv.Itoa(len(c.body))}
	if seconds := int(cfg.RetryAfter.Seconds()); seconds > 0 {
		c.header["Retry-After"] = []string{strconv.Itoa(seconds)}
	}
	if cfg.Flag != "" {
		env.DependsOn(string(cfg.Flag))
		switch _, err := os.Lstat(string(cfg.Flag)); {
		case errors.Is(err, fs.ErrNotExist):
			return func(next http.Handler) http.Handler { return next }, nil
		case err != nil:
			return nil, err
		}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.admits(r.RemoteAddr) {
				next.ServeHTTP(w, r)
				return
			}
			c.answer(w, r)
		})
	}, nil
}

// closed is the site while it is.
type closed struct {
	header http.Header
	body   []byte
	admits func(remoteAddr string) bool
}

func (c *closed) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range c.header {
		h[name] = slices.Clone(values)
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		w.Write(c.body)
	}
}
