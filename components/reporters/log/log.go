// Package log writes incidents to stackd's own log.
//
// Each is one record at level error, "request failed", with the id that the visitor was
// shown, what was asked for, the error, where it happened, and what the error brought
// along, such as what a script wrote to its standard error:
//
//	stack:
//	  - use: errors
//	    reporters: [{use: log, stack: 20}]
//
// The status is 0 where the answer had begun and the connection was cut.
package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the log reporter.
var Component = registry.Reporter[Config]{
	Name:    "log",
	Default: Config{Stack: 8},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says how much is written.
type Config struct {
	// Stack is how many places of the stack are written, the innermost first; 0 for none.
	Stack int `yaml:"stack" validate:"min=0,max=64"`
}

func build(env *registry.Env, cfg Config) (failure.Reporter, error) {
	return &reporter{log: env.Logger(), stack: cfg.Stack}, nil
}

type reporter struct {
	log   *slog.Logger
	stack int
}

// Report writes one record. It never fails.
func (r *reporter) Report(ctx context.Context, i *failure.Incident) error {
	attrs := []slog.Attr{
		slog.String("incident", i.ID),
		slog.Int("status", i.Status),
		slog.String("method", i.Method),
		slog.String("host", i.Host),
		slog.String("url", i.URL),
		slog.String("remote", i.RemoteAddr),
		slog.String("error", fmt.Sprintf("%v", i.Failure.Err)),
	}
	if i.Failure.Panic {
		attrs = append(attrs, slog.Bool("panic", true))
	}
	if pattern := patternOf(i.Route); pattern != "" {
		attrs = append(attrs, slog.String("route", pattern))
	}
	if n := min(r.stack, len(i.Failure.Stack)); n > 0 {
		places := make([]string, n)
		for k, frame := range i.Failure.Stack[:n] {
			places[k] = place(frame)
		}
		attrs = append(attrs, slog.String("stack", strings.Join(places, "; ")))
	}
	if d, ok := errors.AsType[failure.Detailed](i.Failure.Err); ok {
		for _, detail := range d.Details() {
			attrs = append(attrs, slog.String(key(detail.Title), last(detail.Text)))
		}
	}
	r.log.LogAttrs(ctx, slog.LevelError, "request failed", attrs...)
	return nil
}

// patternOf returns the most specific pattern that matched.
func patternOf(route *environ.Route) string {
	if route == nil || len(route.Patterns) == 0 {
		return ""
	}
	return route.Patterns[len(route.Patterns)-1]
}

// place writes a frame in short: the last folder of the file, and the function without the
// path of its package.
func place(f failure.Frame) string {
	file := f.File
	if filepath.IsAbs(file) {
		file = path.Join(path.Base(path.Dir(file)), path.Base(file))
	}
	function := f.Function
	if !strings.Contains(function, `"`) { // as in template "layouts/base.html"
		function = path.Base(function)
	}
	return fmt.Sprintf("%s:%d %s", file, f.Line, function)
}

// key makes the title of a detail a key of the record.
func key(title string) string {
	return "detail_" + strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToLower(title))
}

// longest is how many bytes of a detail are written.
const longest = 4 << 10

// last returns the end of a text, which is where a program says why it gave up.
func last(text string) string {
	if len(text) > longest {
		return "… " + strings.ToValidUTF8(text[len(text)-longest:], "")
	}
	return text
}
