package fastcgi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// send writes to the application. With patience it must take that within timeout, or little less.
func (c *conn) send(p []byte, patience bool) error {
	switch now := time.Now(); {
	case !patience && !c.written.IsZero():
		c.written = time.Time{}
		if err := c.net.SetWriteDeadline(c.written); err != nil {
			return err
		}
	case patience && now.Sub(c.written) > c.timeout/8:
		c.written = now
		if err := c.net.SetWriteDeadline(now.Add(c.timeout)); err != nil {
			return err
		}
	}
	if c.cut.Load() { // its deadline may be gone
		return os.ErrDeadlineExceeded
	}
	_, err := c.net.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.cut.Load() {
		return errTimeout
	}
	return err
}

// feeder sends a body to the application, while that answers.
type feeder struct {
	conn     *conn
	body     io.Reader
	response *http.ResponseController // nil for a body that never waits
	source   io.Closer                // what stops body when response can't

	whole   atomic.Bool // the body was read to its end
	stopped atomic.Bool
	done    chan struct{}
	err     error // to be read after done: why the application didn't get all of it
}

// pieceSize is how much of a body is sent at a time.
const pieceSize = 32 << 10

// run sends until the body's end, or until the application wants no more. When the client breaks off,
// so does the request.
func (f *feeder) run(cancel context.CancelCauseFunc) {
	defer close(f.done)
	const header = 8
	piece := make([]byte, header+pieceSize)
	for {
		f.conn.feeding.Store(true)
		n, err := f.body.Read(piece[header:])
		f.conn.progress.Add(1)
		f.conn.feeding.Store(false)
		record := piece[:0]
		if n > 0 {
			record = fcgi.AppendHeader(record, fcgi.Stdin, id, n)[:header+n]
		}
		if errors.Is(err, io.EOF) {
			f.whole.Store(true)
			record = fcgi.AppendRecord(record, fcgi.Stdin, id)
		}
		if len(record) > 0 {
			if f.err = f.conn.send(record, false); f.err != nil {
				return // the application's answer, or the lack of one, says why
			}
			f.conn.progress.Add(1)
		}
		if err != nil {
			if !f.whole.Load() {
				f.err = err
				if !f.stopped.Load() {
					cancel(err)
				}
			}
			return
		}
	}
}

// stop lets run end once the request has. It may be waiting for a client that has more to send, or for an
// application that wants no more. Neither connection is good for anything then, and the request's context may
// end.
func (f *feeder) stop() {
	f.stopped.Store(true)
	select {
	case <-f.done:
		return
	default:
	}
	f.conn.stop()
	if !f.whole.Load() && f.response != nil && f.response.SetReadDeadline(time.Unix(1, 0)) != nil {
		_ = f.source.Close() // the way of a ResponseWriter that has no deadlines
	}
	<-f.done
}
