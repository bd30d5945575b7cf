package timeout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// exchange is one request with its clock, and its failure sink.
type exchange struct {
	response.Writer
	idle   time.Duration
	r      *http.Request // as it came
	outer  failure.Sink  // of the catcher; nil without one
	failed bool          // the app has reported a failure that decides the response
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	limit   time.Duration // after, and idle once the response has begun
	last    time.Time     // when something moved
	reading int           // calls that wait for the client
	writing int
	begun   bool
	stopped bool
	over    *tooLong // why the context was ended, nil if it wasn't
	conn    net.Conn // taken over
}

func serve(next http.Handler, cfg Config, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	x := &exchange{idle: cfg.Idle, r: r, outer: failure.Key.Get(r), cancel: cancel, limit: cfg.After, last: time.Now()}
	x.Init(w, x.begin)
	x.mu.Lock()
	x.timer = time.AfterFunc(cfg.After, x.look)
	x.mu.Unlock()
	inner := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		inner.Body = &body{r.Body, x}
	}
	if x.outer != nil {
		failure.Key.Set(r, x)
	}
	defer x.end()
	next.ServeHTTP(x, inner)
}

// look is called when the time may be over.
func (x *exchange) look() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped {
		return
	}
	rest := x.limit - time.Since(x.last)
	if x.conn == nil && (x.writing > 0 || x.reading > 0 && !x.begun) {
		rest = x.limit // it is the client who takes his time; the clock begins anew after that
	}
	if rest > 0 {
		x.timer.Reset(rest)
		return
	}
	x.stopped = true
	x.over = &tooLong{x.limit, x.begun}
	x.cancel(x.over)
	if x.conn != nil {
		_ = x.conn.Close() // the app may have closed it
	}
}

// begin lets the time idle count from now on.
func (x *exchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.begun || x.stopped {
		return
	}
	x.begun, x.last, x.limit = true, time.Now(), x.idle
	if x.idle == 0 {
		x.stop()
		return
	}
	x.timer.Reset(x.idle)
}

func (x *exchange) stop() {
	x.stopped = true
	x.timer.Stop()
}

// wait counts a call that may wait for the client, until the function that it returns is called. Moved says
// whether anything went over the line.
func (x *exchange) wait(calls *int) (done func(moved bool)) {
	x.mu.Lock()
	*calls++
	x.mu.Unlock()
	return func(moved bool) {
		x.mu.Lock()
		defer x.mu.Unlock()
		*calls--
		// A wait that the clock stood still for ends now, whether or not anything came of it.
		if moved || !x.begun {
			x.last = time.Now()
		}
	}
}

func (x *exchange) WriteHeader(status int) {
	defer x.wait(&x.writing)(true)
	x.Writer.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	defer x.wait(&x.writing)(true)
	return x.Writer.Write(p)
}

// ReadFrom leaves it to the connection to copy a file. Of anything else each piece counts.
func (x *exchange) ReadFrom(src io.Reader) (int64, error) {
	from := src
	if limited, ok := src.(*io.LimitedReader); ok {
		from = limited.R
	}
	if _, ok := from.(*os.File); !ok {
		return io.Copy(struct{ io.Writer }{x}, src)
	}
	defer x.wait(&x.writing)(true)
	return x.Writer.ReadFrom(src)
}

// FlushError sends what is buffered.
func (x *exchange) FlushError() error {
	defer x.wait(&x.writing)(true)
	return x.Writer.FlushError()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (x *exchange) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = x.FlushError()
}

// Hijack hands out a connection that is watched for what goes over it.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner, rw, err := x.Writer.Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.begin()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped { // nothing is watched for
		return inner, rw, nil
	}
	x.conn = inner
	conn := &taken{inner, x}
	conn.adopt(rw)
	return conn, rw, nil
}

// Fail says of what failed because the time was over that this is why.
func (x *exchange) Fail(f failure.Failure) {
	over := x.ended()
	if over != nil && !f.Answered && !f.Panic && !x.Committed() && failure.Status(f.Err) >= 500 {
		f.Err = failure.WithStatus(fmt.Errorf("%w: %w", over, f.Err), http.StatusGatewayTimeout)
	}
	x.failed = x.failed || !f.Answered
	x.outer.Fail(f)
}

// ended returns why the context was ended, nil if it wasn't.
func (x *exchange) ended() *tooLong {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.over
}

// end is deferred: it answers for an app that gave up.
func (x *exchange) end() {
	x.mu.Lock()
	over := x.over
	if x.conn == nil {
		x.stop()
	}
	x.mu.Unlock()
	if x.outer != nil {
		failure.Key.Set(x.r, x.outer)
	}
	if over == nil || x.Hijacked() || x.Committed() && (!over.begun || x.whole()) {
		return // an answer that began late has come to its end
	}
	p := recover()
	err, _ := p.(error)
	// Who broke off before it answered did so because the context ended, as for a client that has left.
	if p != nil && (x.Committed() || !errors.Is(err, http.ErrAbortHandler)) {
		panic(p)
	}
	if !x.failed { // what has begun is cut off by the catcher
		failure.Report(x.r, failure.WithStatus(over, http.StatusGatewayTimeout))
	}
}

// whole reports whether a response that was sent has no end of its own, or has come to it.
func (x *exchange) whole() bool {
	if status := x.Status(); x.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified {
		return true
	}
	h := x.Header()
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && media == "text/event-stream" {
		return true
	}
	announced, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return err == nil && announced == x.Bytes()
}

// tooLong is why a context was ended.
type tooLong struct {
	limit time.Duration
	begun bool
}

func (e *tooLong) Error() string {
	if e.begun {
		return fmt.Sprintf("nothing more came of the response for %v", e.limit)
	}
	return fmt.Sprintf("the app did not begin to answer within %v", e.limit)
}

// Is says that it is the end of a deadline.
func (e *tooLong) Is(target error) bool { return target == context.DeadlineExceeded }

// body is a request body that tells the clock what comes.
type body struct {
	io.ReadCloser
	x *exchange
}

func (b *body) Read(p []byte) (n int, err error) {
	done := b.x.wait(&b.x.reading)
	defer func() { done(n > 0) }()
	return b.ReadCloser.Read(p)
}
