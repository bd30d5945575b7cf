package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// label is the profiler label that the goroutines of a request carry: a goroutine inherits it from the one
// that starts it.
const label = "stackd_pool"

// grace is how long an app may take to heed the end of its context.
const grace = time.Second

// job is one request in the pool. It is used from two goroutines: the server's, which waits, and the
// worker's, which runs the app.
type job struct {
	guard
	pool  *pool
	r     *http.Request // as it came
	sink  failure.Sink  // of the catcher; nil without one
	began time.Time
	mark  string // the value of its label

	// For the worker, and for the server when it is done.
	inner    *http.Request
	join     func()
	cancel   context.CancelCauseFunc
	done     chan struct{}
	failed   bool             // the app reported what decides the response
	aborted  bool             // the app panicked with http.ErrAbortHandler, or left its goroutine
	panicked *failure.Failure // what it panicked with otherwise

	free  func() // gives the worker back; calls after the first do nothing
	ended func() // says that a zombie has ended
}

func newJob(p *pool, w http.ResponseWriter, r *http.Request) *job {
	j := &job{
		pool: p, r: r, sink: failure.Key.Get(r), began: time.Now(), done: make(chan struct{}),
		mark: p.name + strconv.FormatUint(p.served.Add(1), 10),
		free: sync.OnceFunc(func() { <-p.workers }),
	}
	j.init(w, j.free)
	j.bare = r.Method == http.MethodHead
	j.inner, j.join = environ.Fork(r)
	if j.sink != nil {
		failure.Key.Set(j.inner, j)
	}
	ctx, cancel := context.WithCancelCause(j.inner.Context())
	j.cancel = cancel
	j.inner = j.inner.WithContext(pprof.WithLabels(ctx, pprof.Labels(label, j.mark)))
	if r.Body != nil && r.Body != http.NoBody {
		j.inner.Body = &body{r.Body, &j.guard}
	}
	return j
}

// leave is the end of the request for the server.
func (j *job) leave() {
	j.cancel(nil)
	j.free()
}

// run is the worker.
func (j *job) run(next http.Handler) {
	returned := false
	defer func() {
		switch p := recover(); {
		case p != nil:
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				j.aborted = true
				break
			}
			f := failure.Recovered(p)
			j.panicked = &f
		case !returned:
			j.aborted = true
		}
		if !j.end() {
			j.rest()
		}
		close(j.done)
	}()
	pprof.SetGoroutineLabels(j.inner.Context())
	next.ServeHTTP(&j.guard, j.inner)
	returned = true
}

// wait is what the server does meanwhile.
func (j *job) wait() {
	timer := time.NewTimer(j.pool.HungAfter)
	defer timer.Stop()
	for {
		select {
		case <-j.done:
			j.finish(nil)
			return
		case <-timer.C:
		}
		if rest := j.left(j.pool.HungAfter); rest > 0 {
			timer.Reset(rest)
			continue
		}
		j.hang(timer)
		return
	}
}

// hang ends a request that hangs.
func (j *job) hang(timer *time.Timer) {
	hung := &hungError{after: j.pool.HungAfter}
	hung.frames, hung.others = stacksOf(j.mark)
	j.cancel(hung)
	var zombies int64
	for {
		timer.Reset(grace)
		select {
		case <-j.done:
			j.finish(hung)
			return
		case <-timer.C:
		}
		if j.detach(func() {
			zombies = j.pool.zombies.Add(1)
			j.ended = environ.Abandon(j.r)
		}) {
			break
		}
	}
	level := slog.LevelWarn
	if zombies > int64(j.pool.MaxZombies) {
		level = slog.LevelError
	}
	j.pool.log.LogAttrs(j.r.Context(), level, "a hung request goes on running", slog.String("method", j.r.Method), slog.String("path", j.r.URL.Path),
		slog.Int64("zombies", zombies), slog.Int("max_zombies", j.pool.MaxZombies))
	if zombies > int64(j.pool.MaxZombies) {
		j.pool.restart(fmt.Sprintf("%d hung requests of a pool go on running, and max_zombies is %d", zombies, j.pool.MaxZombies))
	}
	j.free()
	if !j.sent || j.unfinished() {
		failure.Report(j.r, failure.WithStatus(hung, http.StatusGatewayTimeout))
	}
}

// finish brings what came of the app to the server's goroutine. Hung is why its context was ended, or nil.
func (j *job) finish(hung *hungError) {
	j.sync()
	if j.sink != nil {
		failure.Key.Set(j.inner, j.sink)
	}
	j.join()
	switch {
	case j.panicked != nil:
		panic(&panicError{j.panicked})
	case hung != nil && (!j.sent || j.unfinished()) && !j.failed:
		failure.Report(j.r, failure.WithStatus(hung, http.StatusGatewayTimeout))
	case j.aborted && (hung == nil || j.sent):
		panic(http.ErrAbortHandler)
	}
}

// rest is the end of a zombie.
func (j *job) rest() {
	attrs := []slog.Attr{
		slog.String("method", j.r.Method), slog.String("path", j.r.URL.Path),
		slog.Duration("after", time.Since(j.began)), slog.Int64("zombies", j.pool.zombies.Add(-1)),
	}
	if j.panicked != nil {
		attrs = append(attrs, slog.String("panic", fmt.Sprint(j.panicked.Err)))
	}
	j.pool.log.LogAttrs(context.WithoutCancel(j.inner.Context()), slog.LevelWarn, "a hung request has ended", attrs...)
	j.ended()
}

// Fail hands a failure of the app on, as long as there is somebody who answers for it.
func (j *job) Fail(f failure.Failure) {
	if !j.call() {
		j.pool.log.LogAttrs(context.WithoutCancel(j.inner.Context()), slog.LevelWarn, "a hung request has failed", slog.String("error", fmt.Sprint(f.Err)))
		return
	}
	defer j.called()
	if err := context.Cause(j.inner.Context()); err != nil && !f.Answered && !f.Panic && failure.Status(f.Err) >= 500 {
		if hung, ok := errors.AsType[*hungError](err); ok {
			if !errors.Is(f.Err, hung) { // as that of who reports the cause itself
				f.Err = fmt.Errorf("%w: %w", hung, f.Err)
			}
			f.Err = failure.WithStatus(f.Err, http.StatusGatewayTimeout)
		}
	}
	j.failed = j.failed || !f.Answered
	j.sink.Fail(f)
}
