package lint

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry/environ"
)

// linter is what the requests of an instance share.
type linter struct {
	log    *slog.Logger
	report bool

	mu    sync.Mutex
	found map[string]bool // what was told, by rule and place
}

// most is how many findings are told: names out of requests may make a place each.
const most = 1000

// fresh reports whether a finding is to be told.
func (l *linter) fresh(rule, place string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := rule + " " + place
	if l.found[key] || len(l.found) >= most {
		return false
	}
	l.found[key] = true
	return true
}

// tell logs a finding, and returns it as an error; nil when it was told before. Place is where it is, in code
// or else in the stack.
func (l *linter) tell(r *http.Request, rule, place, text string) error {
	if !l.fresh(rule, place) {
		return nil
	}
	l.log.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelWarn, "a rule is broken", slog.String("rule", rule), slog.String("finding", text), slog.String("place", place),
		slog.String("method", r.Method), slog.String("path", r.URL.Path))
	return fmt.Errorf("lint: %s: %s (%s)", rule, text, place)
}

// caller is where the code next to the middleware has called it.
func caller() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !passing(f.Function) {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// passing reports whether a function only hands on what others do.
func passing(function string) bool {
	if strings.Contains(function, "/middleware/lint.(*") {
		return true
	}
	for _, prefix := range []string{"net/http.", "io.", "bufio.", "fmt.", "github.com/stackd/stackd/registry/response."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// routeOf names the part of the stack that a request takes.
func routeOf(r *http.Request) string {
	if route := environ.Matched.Get(r); route != nil && len(route.Patterns) > 0 {
		return "URLs " + strings.Join(route.Patterns, " ")
	}
	return "any URL"
}
