// Package rewrite gives the rest of the stack another path than the one asked for.
//
// Nobody is redirected: the visitor keeps the URL, and the app sees another.
//
//	stack:
//	  - errors
//	  - use: rewrite
//	    rules:
//	      - {match: "/blog/(\\d{4})/([a-z-]+)", to: "/post?year={1}&name={2}"}
//	      - {match: "/~(?<user>\\w+)/(.*)", to: "/people/{user}/{2}"}
//	  - finder
//
// # Rules
//
// Match is a regular expression (Go's, re2's) for the whole path, as it is after %20 and the like are
// decoded, without the query. The first rule that matches counts, and only it.
//
// In to, {1} stands for what the first parentheses matched, and {name} for those that have a name,
// which is written (?<name>…). What stands behind a ? is put in front of the query that
// was asked for; there, what was matched is encoded, so that nobody can slip in another
// parameter.
//
// The new path is cleaned: "..", "." and double slashes in what was matched lead nowhere else.
//
// # What stays
//
// The overrides under urls: and the vars go by the URL that was asked for, since the stack for a request is
// chosen before it runs. So does the access log, and REQUEST_URI of scripts.
package rewrite

import (
	"errors"
	"fmt"
	"net/http"
	"regexp/syntax"
	"strconv"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the rewrite middleware.
var Component = registry.Middleware[Config]{
	Name:   "rewrite",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, Rewrites: true},
	Build:  build,
}

// Config is what is rewritten to what.
type Config struct {
	// Rules are tried in this order; the first that matches counts.
	Rules []rule `yaml:"rules" validate:"required,dive"`
}

type rule struct {
	// Match is a regular expression that the whole path must match.
	Match string `yaml:"match" validate:"required"`
	// To is the new path, and perhaps a query.
	To string `yaml:"to" validate:"required,startswith=/"`
}

// Validate checks the expression, and that to refers to what it has.
func (r rule) Validate() error {
	if r.Match == "" {
		return nil
	}
	re, err := compile(r.Match)
	if err != nil {
		problem := "is " + strconv.Quote(r.Match) + "; it must be a regular expression"
		if fault, ok := errors.AsType[*syntax.Error](err); ok {
			problem += " (" + fault.Code.String() + ")"
		}
		return &registry.SettingError{Setting: "match", Problem: problem}
	}
	if _, unknown := parse(r.To, re); unknown != "" {
		return &registry.SettingError{Setting: "to", Problem: fmt.Sprintf("refers to %s; it must be something in parentheses in match", unknown)}
	}
	return nil
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	var all []target
	for _, r := range cfg.Rules {
		re, err := compile(r.Match)
		if err != nil {
			return nil, err
		}
		all = append(all, newTarget(re, r.To))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, rewritten(all, r))
		})
	}, nil
}
