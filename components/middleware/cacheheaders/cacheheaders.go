// Package cacheheaders tells browsers and caches how long they may keep a response.
//
//	stack:
//	  - errors
//	  - use: cache_headers
//	    default: no-cache
//	    types:
//	      text/css: public, max-age=3600
//	      image/*: public, max-age=86400
//	  - finder
//	urls:
//	  /assets/:
//	    cache_headers:
//	      types: {text/css: null, image/*: null, "*/*": "max-age=31536000"}
//
// The Cache-Control field (RFC 9111, 5.2) is set on responses to GET and HEAD with a status of 2xx,
// 301, 304 or 308.
//
// The value for the most specific type counts: text/css, then text/*, then */*. It takes the place
// of what the app has set, such as the no-cache of static. The default is only for responses
// of other types that have neither Cache-Control nor Expires. An override under urls:
// adds to types, and takes one back with null, as above.
//
// Nothing is changed where a response says private or no-store, or sets a cookie: it must not be kept
// for others. The session middleware says private where a session was used; put this one outside
// of it.
//
// A 304 doesn't say its type. It is taken from the URL then, if that ends like a file's name;
// otherwise what the app has set stays.
package cacheheaders

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/response"
)

func init() { registry.Register(Component) }

// Component is the cache_headers middleware.
var Component = registry.Middleware[Config]{
	Name:    "cache_headers",
	Default: Config{Default: "no-cache"},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says what may be kept how long.
type Config struct {
	// Default is the Cache-Control of what isn't in types, where the app has set none. no-cache lets
	// everybody keep it and ask each time whether it is still the same. Empty sets nothing.
	Default string `yaml:"default"`
	// Types are the values by the type of the content, such as text/css, image/* or */*. They count
	// over what the app has set.
	Types map[string]string `yaml:"types"`
}

// Validate checks the form of types and values.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, format string, args ...any) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: fmt.Sprintf(format, args...)})
	}
	if problem := faultOf(c.Default); c.Default != "" && problem != "" {
		wrong("default", "%s", problem)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Types)) {
		setting := "types[" + name + "]"
		major, minor, ok := strings.Cut(name, "/")
		if !ok || !httpguts.ValidHeaderFieldName(major) || !httpguts.ValidHeaderFieldName(minor) ||
			major == "*" && minor != "*" || name != strings.ToLower(name) {
			wrong(setting, "is for no type; the name must be like text/css, image/* or */*, in lower case")
		}
		if problem := faultOf(c.Types[name]); problem != "" {
			wrong(setting, "%s", problem)
		}
	}
	return errors.Join(errs...)
}

// Directives that have a number of seconds, and those that have nothing.
var (
	withSeconds = []string{"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"}
	plain       = []string{"public", "private", "no-cache", "no-store", "no-transform", "must-revalidate", "proxy-revalidate", "must-understand", "immutable"}
)

// faultOf says what is wrong with a value of Cache-Control. What isn't known is taken for a
// slip: caches pass over it, and nobody would notice.
func faultOf(value string) string {
	for directive := range strings.SplitSeq(value, ",") {
		directive = strings.Trim(directive, " ")
		name, argument, has := strings.Cut(directive, "=")
		switch {
		case slices.Contains(withSeconds, name):
			if _, err := strconv.ParseUint(argument, 10, 31); err != nil {
				return fmt.Sprintf("has %q; it must have a number of seconds, such as %s=3600", directive, name)
			}
		case !slices.Contains(plain, name) || has:
			return fmt.Sprintf("has the directive %q; it must be of %s and %s", directive, strings.Join(plain, ", "), strings.Join(withSeconds, "=, ")+"=")
		}
	}
	return ""
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	p := &policy{types: make(map[string][]string, len(cfg.Types))}
	for name, value := range cfg.Types {
		p.types[name] = []string{value}
	}
	if cfg.Default != "" {
		p.otherwise = []string{cfg.Default}
	}
	return func(next http.Handler) http.Handler {
		if p.otherwise == nil && len(p.types) == 0 {
			return next
		}
		return &handler{policy: p, next: next}
	}, nil
}

// handler is the middleware in one chain.
type handler struct {
	*policy
	next http.Handler
}

// exchange is the ResponseWriter of one request.
type exchange struct {
	response.Writer
	*policy
	path string
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.next.ServeHTTP(w, r)
		return
	}
	x := &exchange{policy: h.policy, path: r.URL.Path}
	x.Init(w, x.set)
	h.next.ServeHTTP(x, r)
	if !x.Committed() {
		h.apply(http.StatusOK, w.Header(), x.path) // net/http sends it for a handler that wrote nothing
	}
}

func (x *exchange) set() { x.apply(x.Status(), x.Header(), x.path) }
