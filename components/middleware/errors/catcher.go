package errors

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// catcher is what the requests of an instance share.
type catcher struct {
	log         *slog.Logger
	debug       bool
	sourceLines int
	reporters   []named
}

// named is a reporter with its name in the stack file.
type named struct {
	name string
	failure.Reporter
}

// request is the state of one request, and its failure sink.
type request struct {
	response.Writer
	*catcher
	r        *http.Request
	outer    failure.Sink // of a catcher further out
	cookies  int          // how many Set-Cookie fields there were before the app began
	failures []failure.Failure
	id       string   // of the incidents, once there is one
	taken    net.Conn // what an app took over
}

func (c *catcher) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	q := &request{catcher: c, r: r, outer: failure.Key.Get(r), cookies: len(w.Header()["Set-Cookie"])}
	q.Init(w, nil)
	failure.Key.Set(r, q)
	defer q.end()
	next.ServeHTTP(q, r)
}

// Fail takes a failure until the handler returns. Where the app makes the response itself, the response names
// the incident as one of the catcher's does.
func (q *request) Fail(f failure.Failure) {
	q.failures = append(q.failures, f)
	if f.Answered && !q.Committed() {
		q.Header().Set("Incident-Id", q.incident())
	}
}

// incident returns the id that the request's incidents share.
func (q *request) incident() string {
	if q.id == "" {
		q.id = newID()
	}
	return q.id
}

// Hijack remembers the connection: net/http doesn't close it when the handler panics.
func (q *request) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := q.Writer.Hijack()
	q.taken = conn
	return conn, rw, err
}

// end deals with what the handler left behind.
func (q *request) end() {
	p := recover()
	failure.Key.Set(q.r, q.outer)
	if p == nil && len(q.failures) == 0 {
		return
	}
	err, _ := p.(error)
	abort := errors.Is(err, http.ErrAbortHandler)
	if p != nil && !abort {
		q.Fail(failure.Recovered(p))
	}
	// Those that decide the response come first.
	slices.SortStableFunc(q.failures, func(a, b failure.Failure) int {
		switch {
		case a.Answered == b.Answered:
			return 0
		case b.Answered:
			return -1
		}
		return 1
	})
	incidents := q.incidents()
	if p == nil && q.failures[0].Answered {
		_ = http.NewResponseController(q.ResponseWriter).Flush() // the visitor doesn't wait for the reporters
		q.report(cmp.Or(q.Status(), http.StatusOK), incidents)
		return
	}
	status := 0
	// Without an incident there is nobody to answer: the client left.
	if len(incidents) > 0 && !incidents[0].Failure.Answered && !abort && !q.Committed() {
		status = statusOf(incidents[0].Failure)
		status = q.answer(status, incidents)
	}
	q.report(status, incidents)
	if status != 0 {
		return
	}
	if q.taken != nil {
		_ = q.taken.Close() // the app may have closed it
	}
	if abort {
		panic(p)
	}
	panic(http.ErrAbortHandler)
}

// framesOf returns the places that an error brought along.
func framesOf(err error) []failure.Frame {
	if t, ok := errors.AsType[failure.Traced](err); ok {
		return t.Frames()
	}
	return nil
}

// statusOf returns the status to answer with.
func statusOf(f failure.Failure) int {
	if f.Panic {
		return http.StatusInternalServerError
	}
	status := failure.Status(f.Err)
	if _, ok := errors.AsType[*http.MaxBytesError](f.Err); ok && status == http.StatusInternalServerError {
		return http.StatusRequestEntityTooLarge
	}
	return status
}

// left reports whether a failure comes of the client's leaving.
func (q *request) left(f failure.Failure) bool {
	// A deadline or the end of a generation has another cause.
	if !errors.Is(context.Cause(q.r.Context()), context.Canceled) {
		return false
	}
	// A body that stalls ends the context, too, but its client is there to be told.
	if failure.Status(f.Err) == http.StatusRequestTimeout && !q.Committed() {
		return false
	}
	if q.Committed() && !f.Panic {
		return true // it couldn't write, or read the rest of the request
	}
	for _, sign := range []error{context.Canceled, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(f.Err, sign) {
			return true
		}
	}
	return false
}

// incidents makes an incident of each failure which is one.
func (q *request) incidents() []*failure.Incident {
	var found []*failure.Incident
	for _, f := range q.failures {
		if q.left(f) {
			q.log.LogAttrs(q.r.Context(), slog.LevelDebug, "client left", slog.String("method", q.r.Method),
				slog.String("url", redactURL(q.r.URL, everyValue)), slog.String("error", textOf(f.Err)))
			continue
		}
		found = append(found, newIncident(q.incident(), q.r, f))
	}
	return found
}

// reportTime is how long all reporters together may wait. The request's own context may have
// ended, which is no reason to keep an incident from them.
const reportTime = 5 * time.Second

// report tells the reporters, and who stands further out. Status is what was answered, 0 when the connection is cut.
func (q *request) report(status int, incidents []*failure.Incident) {
	if len(incidents) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.r.Context()), reportTime)
	defer cancel()
	for _, i := range incidents {
		i.Status = status
		for _, reporter := range q.reporters {
			own := *i
			if err := tell(ctx, reporter, &own); err != nil {
				q.log.LogAttrs(ctx, slog.LevelError, "reporter failed", slog.String("reporter", reporter.name),
					slog.String("incident", i.ID), slog.String("error", textOf(err)), slog.String("untold", textOf(i.Failure.Err)))
			}
		}
	}
	failure.Caught.Set(q.r, incidents[0])
}

// tell turns a reporter's panic into an error.
func tell(ctx context.Context, reporter failure.Reporter, i *failure.Incident) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return reporter.Report(ctx, i)
}

// textOf is err's text, whatever its Error method does.
func textOf(err error) string { return fmt.Sprintf("%v", err) }
