package accesslog

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// logger is what the requests of an instance share.
type logger struct {
	query bool
	own   *slog.Logger                          // stackd's
	file  io.Writer                             // nil for stackd's own log
	line  func(line []byte, e *exchange) []byte // appends what is written to file
	dumb  atomic.Bool                           // the last line couldn't be written
}

// handler is the middleware in one chain.
type handler struct {
	*logger
	next http.Handler
}

// exchange is one request and what was answered.
type exchange struct {
	response.Writer
	r     *http.Request
	start time.Time
	took  time.Duration
	whole bool // the handler came to its end
	query bool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &exchange{r: r, start: time.Now(), query: h.query}
	e.Init(w, nil)
	defer h.write(e)
	h.next.ServeHTTP(e, r)
	e.whole = true
}

// write writes the line. It also runs while a panic is on its way out, and leaves it alone.
func (l *logger) write(e *exchange) {
	e.took = time.Since(e.start)
	if l.file == nil {
		l.own.LogAttrs(e.r.Context(), slog.LevelInfo, "request", e.attrs()...)
		return
	}
	_, err := l.file.Write(l.line(nil, e))
	switch {
	case err == nil:
		l.dumb.Store(false)
	case !l.dumb.Swap(true):
		l.own.LogAttrs(e.r.Context(), slog.LevelError, "access log can't be written", slog.String("error", err.Error()))
	}
}

// status is what the client got to see.
func (e *exchange) status() int {
	if status := e.Status(); status != 0 || !e.whole {
		return status
	}
	return http.StatusOK // net/http sends it for a handler that writes nothing
}

// sent is how many bytes of body the client got: none for HEAD, whatever the app wrote.
func (e *exchange) sent() int64 {
	if e.r.Method == http.MethodHead {
		return 0
	}
	return e.Bytes()
}

// target is the URL as it was asked for, whatever was made of it further in.
func (e *exchange) target() string {
	target := e.r.RequestURI
	if target == "" {
		target = e.r.URL.RequestURI()
	}
	return e.shown(target)
}

// referer is the page that the client came from; it is a URL like any other.
func (e *exchange) referer() string { return e.shown(e.r.Referer()) }

// shown is what may be written of a URL.
func (e *exchange) shown(url string) string {
	if !e.query {
		url, _, _ = strings.Cut(url, "?")
	}
	return url
}

// incident is the id of what failed, here or in a stackd further in.
func (e *exchange) incident() string {
	if caught := failure.Caught.Get(e.r); caught != nil {
		return caught.ID
	}
	return e.Header().Get("Incident-Id")
}

// attrs are what is to be said of the exchange.
func (e *exchange) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("method", e.r.Method),
		slog.String("host", e.r.Host),
		slog.String("url", e.target()),
		slog.String("proto", e.r.Proto),
		slog.String("remote", e.r.RemoteAddr),
		slog.Int("status", e.status()),
		slog.Int64("bytes", e.sent()),
		slog.Float64("duration", e.took.Seconds()),
	)
	some := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	some("referer", e.referer())
	some("user_agent", e.r.UserAgent())
	some("user", environ.User.Get(e.r))
	some("request_id", environ.RequestID.Get(e.r))
	some("trace_id", environ.TraceID.Get(e.r))
	if generation := environ.Generation(e.r); generation > 0 {
		attrs = append(attrs, slog.Uint64("generation", generation))
	}
	if route := environ.Matched.Get(e.r); route != nil {
		if n := len(route.Patterns); n > 0 {
			some("route", route.Patterns[n-1])
		}
		if reached, ok := environ.Reached.Lookup(e.r); ok {
			some("answered_by", route.Slots[reached].Name)
		}
	}
	some("incident", e.incident())
	if !e.whole {
		attrs = append(attrs, slog.Bool("cut", true))
	}
	return attrs
}
