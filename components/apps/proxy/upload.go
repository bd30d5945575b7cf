package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// upload is the body of a request on its way to an upstream.
type upload struct {
	body  io.Reader
	all   []byte      // a short one, which is read before an upstream is asked; nil for another
	begun atomic.Bool // something was asked of it: the request can't be made a second time

	// writing is closed when nobody reads it any more; started says that somebody does.
	writing chan struct{}
	started atomic.Bool

	mu  sync.Mutex
	err error // why it couldn't be read to its end
}

// shortBody is how long a body may be to be read before an upstream is asked, and sent before the answer is looked for. No
// connection waits for it then, which the upstream might close meanwhile.
const shortBody = 16 << 10

// fetch reads the body if it is a short one.
func (u *upload) fetch(r *http.Request) error {
	if r.ContentLength <= 0 || r.ContentLength > shortBody {
		return nil
	}
	all := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(u, all); err != nil {
		return cmp.Or(u.failed(), err)
	}
	u.all = all
	return nil
}

func (u *upload) Read(p []byte) (int, error) {
	u.begun.Store(true)
	n, err := u.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.err == nil {
			u.err = err
			if _, tooLong := errors.AsType[*http.MaxBytesError](err); !tooLong && failure.Status(err) == http.StatusInternalServerError {
				u.err = failure.WithStatus(fmt.Errorf("the request body can't be read: %w", err), http.StatusBadRequest)
			}
		}
	}
	return n, err
}

// failed returns why the body couldn't be read to its end, or nil.
func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// leave waits until nobody reads the body any more: it must not be read once the handler has returned. A client that
// goes on sending to an upstream which has answered is interrupted.
func (u *upload) leave(control *http.ResponseController) {
	if !u.started.Load() {
		return
	}
	// Where the upstream had the whole body the writer is about to end.
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-u.writing:
		return
	case <-timer.C:
	}
	if control.SetReadDeadline(time.Unix(1, 0)) != nil {
		return // a server without deadlines ends the read by itself
	}
	<-u.writing
}
