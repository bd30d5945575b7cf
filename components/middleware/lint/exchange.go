package lint

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// exchange is one request that is watched.
type exchange struct {
	response.Writer
	*linter
	r        *http.Request
	sink     failure.Sink // of the catcher; nil without one
	failed   bool         // the app has reported a failure
	seen     *rules
	findings []error
	broken   bool // a write has failed
	typed    bool // there was a Content-Type
	length   string
	known    http.Header // as it was when the last call of the handler returned, once it was sent
	returned atomic.Bool
}

func (l *linter) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	x := &exchange{linter: l, r: r, sink: failure.Key.Get(r), seen: rulesOf(r)}
	x.Init(w, x.sends)
	x.given(w)
	inner := r.WithContext(r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		inner.Body = &body{r.Body, x}
	}
	if x.sink != nil {
		failure.Key.Set(r, x)
	}
	was := remember(inner)
	defer func() {
		p := recover()
		x.returned.Store(true)
		if x.sink != nil {
			failure.Key.Set(r, x.sink)
		}
		if changed := was.changes(inner); changed != "" {
			x.find("request-changed", routeOf(r)+": "+changed, "the request was changed: "+changed+"; it must be copied")
		}
		if p != nil {
			x.panicked(p)
			panic(p)
		}
		x.ended()
		if x.report && x.sink != nil {
			for _, finding := range x.findings {
				failure.Note(r, finding)
			}
		}
	}()
	next.ServeHTTP(x, inner)
}

// Fail notes that the handler has said what became of the request.
func (x *exchange) Fail(f failure.Failure) {
	x.failed = true
	x.sink.Fail(f)
}

func (x *exchange) find(rule, place, text string) {
	x.seen.find(finding{x, rule, place, text})
}

// given looks at what comes from further out.
func (x *exchange) given(w http.ResponseWriter) {
	r := x.r
	switch path := r.URL.Path; {
	case !strings.HasPrefix(path, "/") && path != "*":
		x.find("bad-request", routeOf(r), fmt.Sprintf("the path of the request is %q; it must begin with a slash", path))
	case r.Header == nil:
		x.find("bad-request", routeOf(r), "the request has no header; it must have one, if need be empty")
	case r.Body == nil:
		x.find("bad-request", routeOf(r), "the request has no body; it must have one, http.NoBody if need be")
	}
	if _, ok := environ.Matched.Lookup(r); !ok {
		x.find("context-replaced", routeOf(r), "the context of the request isn't the stack's; it must be made from the context that the request had")
	}
	for at := w; ; {
		switch at.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return
		}
		outer, ok := at.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			x.find("writer-hides", fmt.Sprintf("%T", at), fmt.Sprintf("the ResponseWriter %T lets no flush through; it must have a method Unwrap", at))
			return
		}
		at = outer.Unwrap()
	}
}

// sends is called before the header goes out.
func (x *exchange) sends() {
	h := x.Writer.Header()
	_, x.typed = h["Content-Type"]
	x.length = h.Get("Content-Length")
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(strings.TrimPrefix(name, http.TrailerPrefix)) {
			x.find("bad-field", caller(), fmt.Sprintf("the header field %q has a character in its name that HTTP does not allow", name))
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				x.find("bad-field", caller(), fmt.Sprintf("the header field %s is %q, which has a character that HTTP does not allow", name, value))
			}
		}
	}
}

// calls looks at the header when the handler calls. After is to be called at the end of the call: what changes
// in between is the work of others further out.
func (x *exchange) calls() (after func()) {
	x.seen.begin(x)
	x.late()
	return func() {
		defer x.seen.end(x)
		if x.Committed() {
			x.known = x.Writer.Header().Clone()
		}
	}
}

// late looks for changes of a header that was sent.
func (x *exchange) late() {
	if x.known == nil || x.Hijacked() {
		return
	}
	h := x.Writer.Header()
	var trailers []string
	for _, field := range x.known["Trailer"] {
		for name := range strings.SplitSeq(field, ",") {
			trailers = append(trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	names := maps.Clone(h)
	maps.Copy(names, x.known)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(trailers, name) || slices.Equal(h[name], x.known[name]) {
			continue
		}
		x.find("late-header", routeOf(x.r)+": "+name, fmt.Sprintf("the header field %s was changed after the header was sent; it must be set before", name))
	}
}

// after reports whether the handler has returned, which is a finding.
func (x *exchange) after(what string) bool {
	if !x.returned.Load() {
		return false
	}
	_ = x.tell(x.r, "after-return", caller(), what+" after the handler had returned; nobody is left to use it") // it is too late to report it
	return true
}

var errReturned = errors.New("the handler has returned")

func (x *exchange) Header() http.Header {
	if x.returned.Load() { // it may be for reading
		return make(http.Header)
	}
	return x.Writer.Header()
}

func (x *exchange) WriteHeader(status int) {
	if x.after("WriteHeader was called") {
		return
	}
	defer x.calls()()
	switch {
	case status < 100 || status > 999:
		x.find("bad-status", caller(), fmt.Sprintf("the status is %d; it must have three digits", status))
	case status == http.StatusContinue:
		x.find("informational", caller(), "the status is 100, which is the server's to send, when the body is read")
	case status < 200 && status != http.StatusSwitchingProtocols && x.Committed():
		x.find("informational", caller(), fmt.Sprintf("the status %d comes after %d; it must come before", status, x.Status()))
	case x.Committed():
		x.find("header-twice", caller(), fmt.Sprintf("the status %d comes after %d, and is lost; WriteHeader must be called once", status, x.Status()))
	}
	x.Writer.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.after("a body was written") {
		return 0, errReturned
	}
	defer x.calls()()
	n, err := x.Writer.Write(p)
	x.wrote(int64(len(p)), err)
	return n, err
}

// ReadFrom is for copying a file.
func (x *exchange) ReadFrom(src io.Reader) (int64, error) {
	if x.after("a body was written") {
		return 0, errReturned
	}
	defer x.calls()()
	n, err := x.Writer.ReadFrom(src)
	x.wrote(n, err)
	return n, err
}

// wrote looks at a piece of the body.
func (x *exchange) wrote(n int64, err error) {
	x.broken = x.broken || err != nil
	status := x.Status()
	switch {
	case n == 0:
	case x.r.Method == http.MethodHead:
		if status < 300 { // what http.Error writes costs nothing
			x.find("no-body", caller(), "a body was written in answer to HEAD; it is lost")
		}
	case status == http.StatusNoContent, status == http.StatusNotModified:
		x.find("no-body", caller(), fmt.Sprintf("a body was written with the status %d, which has none; it is lost", status))
	case !x.typed:
		x.find("no-content-type", caller(), "the response has no Content-Type, so that each server guesses; it must be set before the body is written")
	}
}

// FlushError sends what is buffered.
func (x *exchange) FlushError() error {
	if x.after("a flush was asked for") {
		return errReturned
	}
	defer x.calls()()
	return x.Writer.FlushError()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (x *exchange) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = x.FlushError()
}

// Hijack hands the connection over.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if x.after("the connection was asked for") {
		return nil, nil, errReturned
	}
	return x.Writer.Hijack()
}

// ended looks at the response of a handler that has returned.
func (x *exchange) ended() {
	x.late()
	gone := x.broken || x.failed || x.r.Context().Err() != nil
	switch {
	case x.Hijacked() || gone:
	case !x.Committed():
		x.find("no-answer", routeOf(x.r), "the handler has neither answered nor reported a failure; that is a 200 without anything in it")
	case x.length == "" || x.r.Method == http.MethodHead || x.Status() == http.StatusNotModified:
	case x.length != strconv.FormatInt(x.Bytes(), 10):
		x.find("content-length", routeOf(x.r), fmt.Sprintf("Content-Length is %q, and %d bytes were written", x.length, x.Bytes()))
	}
}

// panicked looks at what the handler has panicked with.
func (x *exchange) panicked(p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return
	}
	f := failure.Recovered(p)
	place := routeOf(x.r)
	for _, frame := range f.Stack {
		if !strings.HasPrefix(frame.Function, "runtime.") && !strings.Contains(frame.Function, "/middleware/lint.(*") {
			place = fmt.Sprintf("%s:%d", frame.File, frame.Line)
			break
		}
	}
	x.find("panic", place, fmt.Sprintf("the handler panicked: %v; it must report failures", f.Err))
}

// body is the request's.
type body struct {
	io.ReadCloser
	x *exchange
}

func (b *body) Read(p []byte) (int, error) {
	if b.x.after("the body of the request was read") {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Read(p)
}
