package fastcgi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
	"github.com/stackd/stackd/registry/resource"
)

// factory makes scripts, which share its connections.
type factory struct {
	cfg  Config
	log  *slog.Logger
	pool *pool
	env  []variable // what does not depend on the script
}

type variable struct{ name, value string }

// script answers the requests for one file.
type script struct {
	factory    *factory
	name, root string     // the root as the application has it
	env        []variable // what does not depend on the request
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := s.serve(w, r)
	if _, gone := errors.AsType[*gateway.ClientGoneError](err); gone {
		panic(http.ErrAbortHandler) // nobody is left to tell
	}
	failure.Report(r, err)
}

// serve asks the application for r. An error is for the catcher, whether or not the response has begun.
func (s *script) serve(w http.ResponseWriter, r *http.Request) error {
	cfg := &s.factory.cfg
	if m := resource.Key.Get(r); m != nil && strings.ContainsRune(m.PathInfo, 0) {
		return failure.WithStatus(errors.New("the path has a NUL; no script expects one"), http.StatusBadRequest)
	}
	var spooled *os.File
	length := r.ContentLength
	if length < 0 && r.Body != nil {
		var err error
		if spooled, length, err = gateway.Spool(r.Body, int64(cfg.MaxSpool)); err != nil {
			return err
		}
		if spooled != nil {
			defer spooled.Close()
		}
	}
	pool := s.factory.pool
	if err := pool.acquire(r.Context()); err != nil {
		if errors.Is(err, errBusy) {
			w.Header().Set("Retry-After", strconv.Itoa(int(max(1, cfg.QueueTimeout.Round(time.Second).Seconds()))))
		}
		return err
	}
	defer pool.release()
	// To be asked twice does no harm then (RFC 9110, 9.2.2).
	repeatable := idempotent(r.Method) && (length <= 0 || spooled != nil)
	for {
		c := pool.reuse()
		used := c != nil
		if !used {
			var err error
			if c, err = pool.dial(r.Context()); err != nil {
				return err
			}
		}
		x := &exchange{script: s, conn: c, w: w, r: r, length: length}
		if length > 0 {
			x.body(spooled)
		}
		err := x.run()
		if !used || !repeatable || !x.unheard(err) {
			return x.verdict(err)
		}
		if spooled != nil {
			if _, err := spooled.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
	}
}

// exchange is one request on one connection.
type exchange struct {
	*script
	conn   *conn
	w      http.ResponseWriter
	r      *http.Request
	length int64
	feeder *feeder // nil for an empty body
	stderr string  // when it has run
}

// body prepares for one that was spooled, or that comes from the client.
func (x *exchange) body(spooled *os.File) {
	x.feeder = &feeder{conn: x.conn, done: make(chan struct{})}
	if spooled != nil {
		x.feeder.body = spooled
		return
	}
	x.feeder.body, x.feeder.source = gateway.Body(x.r.Body), x.r.Body
	x.feeder.response = http.NewResponseController(x.w)
	// Otherwise net/http throws away the rest of the body at the first byte of the answer. Who doesn't know
	// the method needs none.
	_ = x.feeder.response.EnableFullDuplex()
}

// soon is how long the application may take before it is looked after that the request's context may end: for most that
// is never needed, and isn't free.
const soon = 50 * time.Millisecond

// run sends the request and passes on the answer. Then the connection is in the pool again, or closed.
func (x *exchange) run() error {
	c := x.conn
	c.reset()
	ctx, cancel := x.r.Context(), context.CancelCauseFunc(nil)
	if x.feeder != nil {
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
	}
	unbind := func() bool { return true }
	bind := func() { unbind = context.AfterFunc(ctx, c.stop) }
	records := x.begin()
	deadline, limited := ctx.Deadline()
	hurried := limited && time.Until(deadline) < soon
	if x.feeder == nil && len(records) <= pieceSize && !hurried {
		c.onDelay = bind // the kernel takes so little without waiting
	} else {
		bind()
	}
	err := c.send(records, true)
	if err == nil {
		if x.feeder != nil {
			go x.feeder.run(cancel) // stop waits for it
		}
		err = x.answer()
		if x.feeder != nil {
			if err != nil {
				c.stop()
			}
			x.feeder.stop()
		}
	}
	x.stderr = c.stderr.String()
	switch {
	case unbind() && err == nil && x.factory.cfg.KeepAlive && x.fed() && c.in.Buffered() == 0:
		x.factory.pool.put(c)
		return nil
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
		x.abort()
	}
	c.close()
	x.announceClose() // for the catcher's response, if there is to be one
	return err
}

// begin returns the records that begin the request, up to its body.
func (x *exchange) begin() []byte {
	var flags byte
	if x.factory.cfg.KeepAlive {
		flags = fcgi.KeepConn
	}
	c := x.conn
	pairs := c.buf[:0]
	for _, v := range x.env {
		pairs = fcgi.AppendPair(pairs, v.name, v.value)
	}
	v := gateway.Variables{Root: x.root, Authorization: x.factory.cfg.Authorization}
	v.Each(x.r, x.length, func(name, value string) { pairs = fcgi.AppendPair(pairs, name, value) })
	end := len(pairs)
	records := fcgi.AppendBegin(pairs, id, flags)
	records = fcgi.AppendStream(records, fcgi.Params, id, records[:end:end])
	records = fcgi.AppendRecord(records, fcgi.Params, id)
	if x.feeder == nil {
		records = fcgi.AppendRecord(records, fcgi.Stdin, id)
	}
	c.buf = records
	return records[end:]
}

// fed reports whether the application was sent the whole body. It is asked when the feeder has stopped.
func (x *exchange) fed() bool {
	return x.feeder == nil || x.feeder.whole.Load() && x.feeder.err == nil && !x.conn.cut.Load()
}

// abort tells the application that nobody wants the answer any more, unless that would stand amid a record.
func (x *exchange) abort() {
	if x.feeder != nil && x.feeder.err != nil {
		return
	}
	// It sees the connection closed in any case.
	_ = x.conn.net.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = x.conn.net.Write(fcgi.AppendRecord(nil, fcgi.AbortRequest, id))
}

// announceClose says in the header that the connection will be closed, as it must be when the rest of the
// request's body may never be read. A client that isn't told sends its next request into it.
func (x *exchange) announceClose() {
	if x.feeder != nil && x.feeder.response != nil && !x.feeder.whole.Load() && x.r.ProtoMajor == 1 {
		x.w.Header().Set("Connection", "close")
	}
}

// unheard reports whether the application has closed the connection before it knew of the request, it seems.
func (x *exchange) unheard(err error) bool {
	return err != nil && !x.conn.began && !errors.Is(err, errTimeout) && x.r.Context().Err() == nil
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// passing takes a body for as long as there is more of it without waiting.
type passing struct{ relay *gateway.Relay }

func (p passing) Write(data []byte) (int, error) { return p.relay.Pass(data) }

// errFatal is how PHP says that a script failed.
var errFatal = errors.New("it answered with the status 500 and no body")

// answer passes on what the script writes.
func (x *exchange) answer() error {
	c := x.conn
	a, err := gateway.ReadHeader(c.out, int(x.factory.cfg.MaxHeader))
	if err != nil {
		return err
	}
	bodyless, empty := a.Bodyless(x.r.Method), false
	if bodyless {
		var discarded int64
		discarded, err = io.Copy(io.Discard, c.out)
		empty = discarded == 0
	} else if _, err = c.out.Peek(1); errors.Is(err, io.EOF) {
		empty, err = true, nil
	}
	if err != nil {
		return err
	}
	relay := gateway.NewRelay(x.w, a.Length)
	switch { // Nothing was sent yet: the catcher can still answer.
	case empty && a.Status == http.StatusInternalServerError:
		return errFatal
	case empty && !bodyless:
		if err := relay.Complete(); err != nil {
			return err
		}
	}
	a.Apply(x.w.Header())
	x.announceClose()
	x.w.WriteHeader(a.Status)
	if bodyless || empty {
		return nil
	}
	c.beforeWait = relay.Flush
	if _, err := c.out.WriteTo(passing{relay}); err != nil {
		return err
	}
	return relay.Complete()
}

// verdict says how it went. An error that has no status yet is the application's.
func (x *exchange) verdict(err error) error {
	if err == nil || x.r.Context().Err() != nil {
		for line := range strings.Lines(x.stderr) {
			x.factory.log.WarnContext(x.r.Context(), "script wrote to standard error", "script", x.name, "line", strings.TrimRight(line, "\r\n"))
		}
		return err
	}
	switch {
	case errors.Is(err, errTimeout):
		err = failure.WithStatus(err, http.StatusGatewayTimeout)
	case failure.Status(err) == http.StatusInternalServerError && !errors.Is(err, errFatal):
		err = failure.WithStatus(err, http.StatusBadGateway)
	}
	return &gateway.ScriptError{Err: err, Name: x.name, Stderr: x.stderr}
}
