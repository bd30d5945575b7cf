// Package lint watches whether what stands next to it keeps to the rules of handlers.
//
// It is for development: put it between two pieces of which one is new, or that don't get on with one another,
// and use the site.
//
//	stack:
//	  - errors
//	  - {use: lint, as: outer}
//	  - session
//	  - {use: lint, as: inner}
//	  - finder
//
// Two of them around a piece, as here, show whether it is that one. check: {lint: true} in the stack file puts one between
// every two pieces, each named after its neighbours. Each finding is logged as a warning, once for each place, with the
// name of the rule; a request that breaks a rule is told of by the innermost that sees it. Nothing else changes, save that what comes after the
// handler has returned goes nowhere: it could end up in another visitor's response.
//
// # Rules for what stands further in
//
//   - header-twice: WriteHeader is called once; a second status is lost.
//   - bad-status: a status has three digits; with another one net/http panics.
//   - informational: 1xx comes before the response, and 100 from the server only.
//   - late-header: the header isn't changed after it was sent, trailers apart; the change is lost.
//   - bad-field: names and values of header fields are such as HTTP allows; others are dropped on the way or
//     garbled.
//   - no-content-type: a body has a Content-Type; each server guesses another one.
//   - content-length: as many bytes are written as Content-Length announces.
//   - no-body: no page is written in answer to HEAD, nor anything with 204 or 304; it is lost.
//   - no-answer: a handler answers or reports a failure; an app that has nothing for a URL
//     answers 404.
//   - request-changed: a request is copied, never changed: method, URL, header, body, context and all else that
//     others further out may look at again.
//   - after-return: the ResponseWriter and the body of the request aren't used once the handler has returned.
//   - panic: a handler reports failures; only http.ErrAbortHandler is a panic by intent.
//
// # Rules for what stands further out
//
//   - bad-request: a request has a URL whose path begins with a slash (or is *), a header and a body.
//   - context-replaced: its context comes from the one that the request had, so that what the stack knows about it
//     is there.
//   - writer-hides: a ResponseWriter in place of another one lets flushes through.
package lint

import (
	"net/http"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the lint middleware.
var Component = registry.Middleware[Config]{
	Name:   "lint",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says who is told.
type Config struct {
	// Report hands the findings to the reporters of the errors middleware, too.
	Report bool `yaml:"report"`
}

// Warnings says that it is for development.
func (c Config) Warnings(site registry.Site) []registry.Warning {
	if !site.Public {
		return nil
	}
	return []registry.Warning{{Concern: registry.Development, Problem: "costs time and is for development; it should be off where others can reach the server"}}
}

// Traits says that somebody must be there to be told.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if c.Report {
		t.Needs = []environ.Name{failure.Key}
	}
	return t
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	l := &linter{log: env.Logger(), report: cfg.Report, found: make(map[string]bool)}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(next, w, r) })
	}, nil
}
