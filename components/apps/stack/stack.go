// Package stack hands requests to another stack, which is mounted here.
//
// The other stack is a file that could as well be run by itself, or is written out in its place:
//
//	stack:
//	  - errors
//	  - {use: finder, root: site}
//	urls:
//	  /blog: &blog
//	    finder: {use: stack, mount: blog/stack.yaml, prefix: /blog}
//	  /blog/: *blog
//	  /shop/:
//	    finder:
//	      use: stack
//	      prefix: /shop
//	      mount:
//	        vars: {theme: dark}
//	        stack: [session, {use: finder, root: shop}]
//
// /blog/ is all that is below it, and /blog the path without the slash, which is sent to the one with it. To that
// stack this one is what a server is. Its servers and deadlines don't matter here. Everything else
// in it is as if it were run by itself: its own slots, which overrides of this file can't speak to, its own
// urls, vars and sessions, and paths from the folder of its file. It can be mounted in several places. A stack
// that is written out may have extends, include, vars, stack and urls; an override that writes one over it
// replaces these, and merges vars by key.
//
// # The prefix
//
// The prefix is taken off the front of the path: with /blog, a request for /blog/2024/ comes to that stack
// as one for /2024/, which its urls and its files know nothing of /blog for. What is not below the prefix is not
// found, and /blog itself is sent to /blog/. Prefixes of stacks within stacks add up.
//
// Whatever makes URLs puts the prefix before them again: SCRIPT_NAME of CGI and FastCGI, redirects to a path, the path
// of the session's cookie. A page of that stack should write links that are relative, or begin them with
// the prefix, which templates have as {{.Prefix}}. REQUEST_URI, the log and the trace have the path as it was sent.
//
// # What the stacks share
//
// The other stack takes over the id of the request, the name of the user who was authenticated, the trace, and
// the client's address as middleware here has found it. A failure in it is caught by its own catcher, such as errors,
// or if it has none by the one here. Everything else starts anew: it doesn't see the session or the vars of
// this one. Where both have sessions and the same host, give their cookies different names.
package stack

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the stack app.
var Component = registry.App[Config]{
	Name:   "stack",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says which stack, and where.
type Config struct {
	// Mount is the other stack: the path of a stack file, or a map with stack: and what else belongs to one.
	Mount registry.Stack `yaml:"mount" validate:"required"`
	// Prefix is taken off the front of the path, such as /blog. Empty, the path stays as it is.
	Prefix string `yaml:"prefix"`
}

// Validate checks the prefix.
func (c Config) Validate() error {
	must := ""
	switch p := c.Prefix; {
	case p == "":
	case p[0] != '/':
		must = "it must begin with a slash"
	case strings.HasSuffix(p, "/"):
		must = "it must not end with a slash"
	case strings.Contains(p+"/", "//"), strings.Contains(p+"/", "/./"), strings.Contains(p+"/", "/../"):
		must = "it must have no empty segment, . or .. in it"
	case strings.Trim(p, "/-._~ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "":
		must = "it must consist of letters, digits, slashes and any of - . _ ~"
	}
	if must == "" {
		return nil
	}
	return &registry.SettingError{Setting: "prefix", Problem: "is \"" + c.Prefix + "\"; " + must}
}

// Inside returns the path with which the stack is asked for a URL.
func (c Config) Inside(path string) (inner string, asked bool) {
	rest, below := strings.CutPrefix(path, c.Prefix)
	return rest, below && strings.HasPrefix(rest, "/")
}

func build(_ *registry.Env, cfg Config) (http.Handler, error) {
	if cfg.Prefix == "" {
		return cfg.Mount.Handler(), nil
	}
	return &mounted{cfg: cfg, next: cfg.Mount.Handler()}, nil
}

// mounted is a stack below a prefix.
type mounted struct {
	cfg  Config
	next http.Handler
	base environ.Base
}

func (m *mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, asked := m.cfg.Inside(r.URL.Path)
	raw := without(r.URL.RawPath, len(m.cfg.Prefix))
	switch {
	case path == "" && r.URL.Path == m.cfg.Prefix:
		// Relative, it holds wherever this stack is mounted itself.
		to := url.URL{Path: "./" + m.cfg.Prefix[strings.LastIndexByte(m.cfg.Prefix, '/')+1:] + "/", RawQuery: r.URL.RawQuery}
		w.Header().Set("Location", to.String())
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	case !asked, r.URL.RawPath != "" && !strings.HasPrefix(raw, "/"): // a slash that was sent as %2F
		http.NotFound(w, r)
		return
	}
	// An environ between those of the two stacks, so that the prefix is nothing to this one.
	inner := m.base.Open(r)
	if inner == r {
		inner = r.WithContext(r.Context())
	}
	environ.Prefix.Set(inner, environ.Prefix.Get(inner)+m.cfg.Prefix)
	u := *r.URL
	u.Path, u.RawPath = path, raw
	inner.URL = &u
	m.next.ServeHTTP(w, inner)
}

// without returns an escaped path without that many characters at its front.
func without(raw string, characters int) string {
	at := 0
	for ; characters > 0 && at < len(raw); characters-- {
		if raw[at] == '%' {
			at += len("%XX") - 1
		}
		at++
	}
	return raw[min(at, len(raw)):]
}
