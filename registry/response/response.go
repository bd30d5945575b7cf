// Package response holds the one wrapper that stackd's components put around a
// [http.ResponseWriter].
//
// A middleware that must see or touch a response before it leaves embeds a [Writer]
// in what it keeps for the request, so that both cost one allocation:
//
//	type state struct {
//		response.Writer
//		…
//	}
//
//	s := &state{…}
//	s.Init(w, s.beforeHeader)
//	next.ServeHTTP(s, r)
//
// The wrapper hides nothing: flushing, hijacking, deadlines, full duplex, 1xx
// responses, trailers and the copy of a file by the kernel work through any number
// of layers, by the methods below or through Unwrap (see
// [http.ResponseController]).
package response

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Writer passes a response on, knows its status and size, and calls a function just
// before the header goes out. It is as safe for concurrent use as the
// ResponseWriter in it, which is to say not at all. The zero Writer must be initialised.
type Writer struct {
	http.ResponseWriter
	before   func()
	bytes    int64
	status   int
	hijacked bool
}

// Init makes w ready to pass on to inner. Before, when it isn't nil, is called
// once, when the header is about to be sent: it may still change the header, and must
// not write. It isn't called for 1xx responses, nor for a hijacked connection.
func (w *Writer) Init(inner http.ResponseWriter, before func()) {
	*w = Writer{ResponseWriter: inner, before: before}
}

// Status returns the status that was sent, 0 as long as none was. A hijacked
// connection counts as 101, whatever was written to it.
func (w *Writer) Status() int { return w.status }

// Committed reports whether the header was sent or the connection hijacked: whether it
// is too late for another response.
func (w *Writer) Committed() bool { return w.status != 0 }

// Hijacked reports whether the connection was taken over.
func (w *Writer) Hijacked() bool { return w.hijacked }

// Bytes returns how many bytes of body were written through w.
func (w *Writer) Bytes() int64 { return w.bytes }

// Unwrap returns the ResponseWriter that w passes on to.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the header. Only the first status of 200 and above, or 101, counts.
func (w *Writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.commit(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *Writer) commit(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.before != nil {
		w.before()
	}
}

func (w *Writer) Write(p []byte) (int, error) {
	w.commit(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom lets the inner ResponseWriter copy src its own way, which for a file
// over TCP is sendfile(2).
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	w.commit(http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// FlushError sends what is buffered, the header first.
func (w *Writer) FlushError() error {
	w.commit(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (w *Writer) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = w.FlushError()
}

// Hijack hands the connection over; see [http.Hijacker].
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return conn, rw, err
}
