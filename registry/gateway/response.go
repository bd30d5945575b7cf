package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Response is a [http.ResponseWriter] that writes a response as RFC 3875 has it, 6: for a front
// server that makes HTTP of it. It is used by one goroutine at a time.
//
// A small body that is finished without a flush gets a Content-Length. 1xx responses are left
// out, as the protocols can't express them.
type Response struct {
	out    io.Writer
	header http.Header
	head   bool // the request's method is HEAD

	status  int         // 0 before WriteHeader
	fields  http.Header // the header as it is sent: what is set after WriteHeader comes too late
	sent    bool        // the header went out
	buf     []byte      // of the header when it goes out, and of the body before
	bodies  bool        // the status has a body
	left    int64       // of the Content-Length, -1 when it isn't known
	failure error
}

// held is how much of a body waits for more.
const held = 8 << 10

// NewResponse returns a Response to r that is written to out, a block at a time.
func NewResponse(out io.Writer, r *http.Request) *Response {
	return &Response{out: out, header: make(http.Header), head: r.Method == http.MethodHead, left: -1}
}

// Header returns the header, which may be changed until it is sent.
func (w *Response) Header() http.Header { return w.header }

// WriteHeader sets the status.
func (w *Response) WriteHeader(status int) {
	if w.status != 0 || status < http.StatusOK {
		return
	}
	w.status = status
	w.bodies = status != http.StatusNoContent && status != http.StatusNotModified
	w.fields = w.header.Clone()
	if n, err := strconv.ParseUint(w.header.Get("Content-Length"), 10, 63); err == nil && status != http.StatusNoContent {
		w.left = int64(n)
	} else {
		w.fields.Del("Content-Length") // as net/http does; 204 must not have one (RFC 9110, 8.6)
	}
}

func (w *Response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case !w.bodies:
		return 0, http.ErrBodyNotAllowed
	case w.failure != nil:
		return 0, w.failure
	case w.left >= 0 && int64(len(p)) > w.left:
		return 0, http.ErrContentLength
	case w.left >= 0:
		w.left -= int64(len(p))
	}
	if len(w.buf)+len(p) <= held {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.send(false, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError sends what was written so far, the header first.
func (w *Response) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.send(false, nil)
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (w *Response) Flush() { _ = w.FlushError() } // the next Write returns the error

// EnableFullDuplex does nothing: the request's body can always be read beside.
func (w *Response) EnableFullDuplex() error { return nil }

// Finish sends the rest. It returns an error when the body isn't as long as its Content-Length says, or can't
// be sent: then the client must not take it for a whole one.
func (w *Response) Finish() error {
	w.WriteHeader(http.StatusOK)
	if err := w.send(true, nil); err != nil {
		return err
	}
	if w.left > 0 && w.bodies && !w.head {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// send sends what waits, and p behind it. At the end the length of what waits is known to be the body's.
func (w *Response) send(end bool, p []byte) error {
	if w.failure != nil {
		return w.failure
	}
	body := w.buf
	if !w.sent {
		w.sent = true
		if w.bodies && w.fields["Content-Type"] == nil && len(body)+len(p) > 0 {
			if _, set := w.fields["Content-Type"]; !set && w.fields.Get("Content-Encoding") == "" {
				first := body
				if len(first) == 0 {
					first = p
				}
				w.fields.Set("Content-Type", http.DetectContentType(first))
			}
		}
		if end && w.bodies && w.left < 0 && (!w.head || len(body) > 0) {
			w.fields.Set("Content-Length", strconv.Itoa(len(body)))
		}
		head := w.appendHeader(make([]byte, 0, 512+len(body)+len(p)))
		if w.head {
			body, p = nil, nil
		}
		w.buf = append(append(head, body...), p...)
		p = nil
	} else if w.head {
		w.buf, p = w.buf[:0], nil
	}
	for _, data := range [][]byte{w.buf, p} {
		if len(data) > 0 && w.failure == nil {
			_, w.failure = w.out.Write(data)
		}
	}
	w.buf = w.buf[:0]
	return w.failure
}

// appendHeader appends the header as it is sent. Fields about the connection are the front server's affair.
func (w *Response) appendHeader(b []byte) []byte {
	b = append(b, "Status: "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = append(append(b, http.StatusText(w.status)...), "\r\n"...)
	for name, values := range w.fields {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Status":
			continue
		}
		if !validName(name) || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, value := range values {
			b = append(append(b, name...), ": "...)
			for _, c := range []byte(strings.Trim(value, " \t\r\n")) {
				if c < ' ' && c != '\t' || c == 0x7f {
					c = ' '
				}
				b = append(b, c)
			}
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// Run has h answer r through w, and reports how that ended: with an error the client must not take the
// response for a whole one. A panic of h other than [http.ErrAbortHandler] is given to panicked, on
// the panic's stack.
func Run(h http.Handler, w http.ResponseWriter, r *http.Request, finish func() error, panicked func(value any)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = http.ErrAbortHandler
			if e, ok := p.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panicked(p)
			}
		}
	}()
	h.ServeHTTP(w, r)
	return finish()
}
