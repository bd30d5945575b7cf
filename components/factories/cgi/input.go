package cgi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// spool writes a body of unknown length to a temporary file, and returns the file at its start. A nil
// file means that the body is empty.
func spool(body io.Reader, limit int64) (file *os.File, length int64, err error) {
	file, err = os.CreateTemp("", "stackd-cgi-")
	if err != nil {
		return nil, 0, err
	}
	// Without a name it is gone when it is closed, whatever becomes of this process.
	err = os.Remove(file.Name())
	if err == nil {
		length, err = io.Copy(file, io.LimitReader(onlyReader{body}, limit+1))
		if err != nil {
			err = bodyError(err)
		}
	}
	if err == nil && length > limit {
		err = fmt.Errorf("the body has more than max_spool, %d bytes; it must be shorter, or tell its length", limit)
		err = failure.WithStatus(err, http.StatusRequestEntityTooLarge)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil || length == 0 {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, length, nil
}

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
	buf := make([]byte, 32<<10)
	for {
		p.stdout.waitForClient(true)
		n, err := onlyReader{f.body}.Read(buf)
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
				p.cancel(bodyError(err))
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

// onlyReader tells read errors, which are the client's, from write errors, which are the disk's.
type onlyReader struct{ r io.Reader }

func (o onlyReader) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &readError{err}
	}
	return n, err
}

type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// bodyError gives an error of reading the request's body its status.
func bodyError(err error) error {
	read, ok := errors.AsType[*readError](err)
	if !ok {
		return err
	}
	status := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		status = http.StatusRequestTimeout
	}
	return failure.WithStatus(fmt.Errorf("the request's body: %w", read.error), status)
}
