package http

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/response"
)

// stream resets an HTTP/2 stream whose client takes nothing for idle: the connection
// may be well, and the stream's window closed (RFC 9113, 5.2).
type stream struct {
	response.Writer
	idle  time.Duration
	timer *time.Timer // nil before the first write

	mu   sync.Mutex
	left bool // the handler is done, and the ResponseWriter no longer usable
}

// piece is as much as an HTTP/2 client must take in the time that it has.
const piece = 16 << 10

// begin starts the clock for something to be sent.
func (s *stream) begin() {
	if s.timer == nil {
		s.timer = time.AfterFunc(s.idle, s.cut)
		return
	}
	s.timer.Reset(s.idle)
}

func (s *stream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.left {
		// A deadline in the past resets the stream at once, and the write that waits fails.
		_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
	}
}

func (s *stream) Write(p []byte) (written int, err error) {
	for {
		s.begin()
		n, err := s.Writer.Write(p[written:min(len(p), written+piece)])
		s.timer.Stop()
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// ReadFrom copies through Write; there is no quicker way over HTTP/2.
func (s *stream) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, src)
}

// FlushError sends what is buffered, within the time.
func (s *stream) FlushError() error {
	s.begin()
	defer s.timer.Stop()
	return s.Writer.FlushError()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (s *stream) Flush() { _ = s.FlushError() } // an http.Flusher has nowhere to put the error

// leave gives net/http its time to send what it still holds.
func (s *stream) leave() {
	if s.timer == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Now().Add(s.idle)) // net/http's own always can
}
