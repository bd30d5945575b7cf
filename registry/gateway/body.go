package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/stackd/stackd/registry/failure"
)

// Body returns a reader of a request's body whose errors have a status: 413 for one that is too long,
// 408 for one that doesn't come, and otherwise 400. They are the client's, and nobody else's.
func Body(body io.Reader) io.Reader { return clientReader{body} }

type clientReader struct{ r io.Reader }

func (c clientReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	status := http.StatusBadRequest
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		status = http.StatusRequestTimeout
	}
	return n, failure.WithStatus(fmt.Errorf("the request's body: %w", err), status)
}

// Spool writes a body of unknown length to a temporary file, and returns the file at its start, which the
// caller closes; it has no name any more. A nil file means that the body is empty. One longer than limit, a
// setting named max_spool, is an error with the status 413.
func Spool(body io.Reader, limit int64) (file *os.File, length int64, err error) {
	file, err = os.CreateTemp("", "stackd-body-")
	if err != nil {
		return nil, 0, err
	}
	// Without a name it is gone when it is closed, whatever becomes of this process.
	err = os.Remove(file.Name())
	if err == nil {
		length, err = io.Copy(file, io.LimitReader(Body(body), limit+1))
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

// Relay passes the body of an answer on as it comes, and sees that it is as long as its header says.
type Relay struct {
	w        io.Writer
	response http.ResponseController
	left     int64 // -1 when the length is unknown
	pending  bool  // something was passed since the last flush
}

// NewRelay returns a Relay to w for a body of that length, -1 when it is unknown.
func NewRelay(w http.ResponseWriter, length int64) *Relay {
	return &Relay{w: w, response: *http.NewResponseController(w), left: length}
}

// Write sends data at once: it is Pass and Flush.
func (b *Relay) Write(data []byte) (int, error) {
	n, err := b.Pass(data)
	if err == nil {
		err = b.Flush()
	}
	return n, err
}

// Pass sends data when there is enough of it. Call Flush before you wait for more. An error of the client's
// side is a [ClientGoneError].
func (b *Relay) Pass(data []byte) (int, error) {
	if b.left >= 0 {
		if b.left -= int64(len(data)); b.left < 0 {
			b.left = 0
			return 0, errors.New("the body is longer than its Content-Length")
		}
	}
	b.pending = true
	n, err := b.w.Write(data)
	if err != nil {
		return n, &ClientGoneError{err}
	}
	return n, nil
}

// Flush sends what was passed.
func (b *Relay) Flush() error {
	if !b.pending {
		return nil
	}
	b.pending = false
	if err := b.response.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return &ClientGoneError{err}
	}
	return nil
}

// Complete returns an error when a part of the body hasn't come.
func (b *Relay) Complete() error {
	if b.left > 0 {
		return fmt.Errorf("the body ends %d bytes before its Content-Length", b.left)
	}
	return nil
}

// ClientGoneError says that the client doesn't take the response.
type ClientGoneError struct{ Err error }

func (e *ClientGoneError) Error() string { return e.Err.Error() }

func (e *ClientGoneError) Unwrap() error { return e.Err }
