package compress

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/response"
)

// exchange is the response to one request. What becomes of it is decided when enough is known: at
// the header, with the first min_size bytes, at a flush or at the end.
type exchange struct {
	response.Writer
	*compressor
	r         *http.Request
	encoding  string // what the client accepts; empty for nothing
	state     state
	status    int         // what the app sent, 0 as long as it sent none
	held      []byte      // body that waits for the decision
	header    http.Header // as it was when the app sent it; only when the response waits
	announced int64       // the Content-Length of the app, where it was taken away
	taken     int64       // bytes of body that the app wrote, when compressed
	encoder   encoder     // nil for HEAD
}

type state int

const (
	undecided state = iota
	plain
	compressed
)

// WriteHeader decides, if the header says enough.
func (e *exchange) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols || e.state != undecided {
		e.Writer.WriteHeader(status)
		return
	}
	if e.status != 0 {
		return // as in net/http, the first one counts
	}
	e.status = status
	h := e.Header()
	if status == http.StatusNotModified {
		e.confirm(h)
	}
	_, typed := h["Content-Type"]
	switch {
	case !e.eligible(status, h), typed && !e.types.match(h.Get("Content-Type")):
		e.pass()
	case e.encoding == "", !e.allowBREACH && secret(e.r, h):
		vary(h)
		e.pass()
	case typed && lengthOf(h) != unknown:
		e.compress(h)
	default:
		e.header = h.Clone()
	}
}

// confirm makes a 304 look like the response that it confirms: with the entity tag that the client
// has got.
func (e *exchange) confirm(h http.Header) {
	vary(h)
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) && lists(e.r.Header["If-None-Match"], "W/"+tag) {
		weaken(h)
	}
}

// pass decides to leave the response as it is.
func (e *exchange) pass() {
	e.state = plain
	e.Writer.WriteHeader(e.status)
}

// compress decides to compress the response. H is its header.
func (e *exchange) compress(h http.Header) {
	e.state = compressed
	e.announced = lengthOf(h)
	vary(h)
	weaken(h)
	h.Set("Content-Encoding", e.encoding)
	h.Del("Content-Length")
	h.Del("Accept-Ranges") // a part of something else
	e.Writer.WriteHeader(e.status)
	if e.r.Method != http.MethodHead {
		e.encoder = e.pools.get(e.encoding, &e.Writer)
	}
}

// decide decides about a response that waits. More says that it goes on.
func (e *exchange) decide(more bool) error {
	// The app may have changed the header since it sent it, to set trailers for instance.
	h := e.Header()
	late := make(http.Header)
	for name, value := range h {
		if !slices.Equal(value, e.header[name]) {
			late[name] = value
		}
	}
	clear(h)
	maps.Copy(h, e.header)
	// As net/http does; it wouldn't for a compressed body.
	if _, typed := h["Content-Type"]; !typed && len(e.held) > 0 {
		h.Set("Content-Type", http.DetectContentType(e.held))
	}
	switch {
	case !e.types.match(h.Get("Content-Type")):
		e.pass()
	case !more && int64(len(e.held)) < max(e.minSize, 1):
		vary(h)
		e.pass()
	default:
		e.compress(h)
	}
	maps.Copy(h, late)
	held := e.held
	e.held, e.header = nil, nil
	if len(held) == 0 {
		return nil
	}
	_, err := e.write(held)
	return err
}

func (e *exchange) Write(p []byte) (int, error) {
	if e.state == undecided && e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	if e.state != undecided {
		return e.write(p)
	}
	e.held = append(e.held, p...)
	if int64(len(e.held)) < max(e.minSize, 1) {
		return len(p), nil
	}
	if err := e.decide(true); err != nil {
		return 0, err
	}
	return len(p), nil
}

// write takes a piece of the body after the decision.
func (e *exchange) write(p []byte) (int, error) {
	if e.state == plain {
		return e.Writer.Write(p)
	}
	if e.announced != unknown && e.taken+int64(len(p)) > e.announced {
		return 0, http.ErrContentLength
	}
	e.taken += int64(len(p))
	if e.encoder == nil {
		return len(p), nil
	}
	return e.encoder.Write(p)
}

// ReadFrom leaves the copying to the connection where the response isn't compressed.
func (e *exchange) ReadFrom(src io.Reader) (int64, error) {
	if e.state == undecided && e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	if e.state == plain {
		return e.Writer.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{e}, src)
}

// FlushError sends what there is. That the app flushes says that there will be more.
func (e *exchange) FlushError() error {
	if e.state == undecided && e.status == 0 {
		e.WriteHeader(http.StatusOK)
	}
	if e.state == undecided {
		if err := e.decide(true); err != nil {
			return err
		}
	}
	if e.encoder != nil {
		if err := e.encoder.Flush(); err != nil {
			return err
		}
	}
	return e.Writer.FlushError()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (e *exchange) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = e.FlushError()
}

// Hijack hands the connection over; there is nothing to compress on it.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := e.Writer.Hijack()
	if err == nil {
		e.state = plain
	}
	return conn, rw, err
}

// end finishes the response of an app that has returned. Errors are those of a client that has gone.
func (e *exchange) end() {
	if e.state == undecided && e.status != 0 {
		_ = e.decide(false)
	}
	if e.state != compressed || e.encoder == nil {
		return
	}
	if e.announced != unknown && e.taken != e.announced {
		panic(http.ErrAbortHandler) // without the Content-Length the client couldn't know
	}
	_ = e.encoder.Close()
}

// release gives the encoder back, even when the app panicked: then the response stays unfinished.
func (e *exchange) release() {
	if e.encoder != nil {
		e.pools.put(e.encoding, e.encoder)
		e.encoder = nil
	}
}
