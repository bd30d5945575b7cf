package cgi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/gateway"
)

// feeder copies a body to the standard input of a script, while it runs.
type feeder struct {
	body     io.ReadCloser
	stdin    *os.File
	response *http.ResponseController

	whole   atomic.Bool // the body was read to its end
	stopped atomic.Bool
	done    chan struct{}
}

func newFeeder(body io.ReadCloser, stdin *os.File, response *http.ResponseController) *feeder {
	return &feeder{body: body, stdin: stdin, response: response, done: make(chan struct{})}
}

// run copies until the body's end, or until the script ends or wants no more. When the
// client breaks off, so does the script.
func (f *feeder) run(p *process) {
	defer close(f.done)
	defer f.stdin.Close()
	body, buf := gateway.Body(f.body), make([]byte, 32<<10)
	for {
		p.stdout.waitForClient(true)
		n, err := body.Read(buf)
		p.stdout.waitForClient(false)
		if errors.Is(err, io.EOF) {
			f.whole.Store(true)
		}
		if n > 0 {
			if _, err := f.stdin.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !f.whole.Load() && !f.stopped.Load() {
				p.cancel(err)
			}
			return
		}
	}
}

// stop lets run end, once the script has. It may be waiting for a client that has more to send, or
// for a process that left the script's group with the other end of the pipe. The connection is good for
// nothing more then, and the request's context may end.
func (f *feeder) stop() {
	f.stopped.Store(true)
	select {
	case <-f.done:
		return
	default:
	}
	_ = f.stdin.SetWriteDeadline(time.Unix(1, 0))
	if !f.whole.Load() && f.response.SetReadDeadline(time.Unix(1, 0)) != nil {
		_ = f.body.Close() // the way of a ResponseWriter that has no deadlines
	}
	<-f.done
}
