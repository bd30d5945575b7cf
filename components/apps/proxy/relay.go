package proxy

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// relay hands the answer on to the client.
func (p *proxy) relay(w http.ResponseWriter, x *exchange) {
	resp, h := x.answer, w.Header()
	add(h, resp.Header)
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // it isn't guessed
	}
	var announced []string
	if len(resp.Trailer) > 0 {
		announced = slices.Sorted(maps.Keys(resp.Trailer))
		h.Add("Trailer", strings.Join(announced, ", "))
	}
	w.WriteHeader(resp.StatusCode)
	if resp.Body == http.NoBody {
		x.reuse()
	} else {
		p.relayBody(w, x)
	}
	if len(resp.Trailer) == 0 {
		return
	}
	// Otherwise net/http may give a short body a length, and then there can't be trailers.
	_ = http.NewResponseController(w).Flush() // the client may be gone
	for name, values := range resp.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		h[name] = append(h[name], values...)
	}
}

// relayBody hands the body on, to its end or not at all: the client's connection is cut otherwise.
func (p *proxy) relayBody(w http.ResponseWriter, x *exchange) {
	defer x.finish(false) // does nothing after reuse
	x.phase, x.read = inBody, time.Time{}
	if strings.HasPrefix(x.answer.Header.Get("Content-Type"), "text/event-stream") {
		x.phase = inStream
		if err := x.expect(time.Now(), 0); err != nil {
			x.cut() // the reader will say so
		}
	}
	var gone error
	if x.phase == inStream || x.answer.ContentLength < 0 {
		// It may come piece by piece, and none must wait for the next.
		control := http.NewResponseController(w)
		x.beforeRead = func() error {
			if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				gone = err
			}
			return gone
		}
	}
	buf := p.buffer()
	defer p.buffers.Put(buf)
	for {
		n, err := x.answer.Body.Read(buf[:])
		if n > 0 && gone == nil {
			_, gone = w.Write(buf[:n])
		}
		switch {
		case gone != nil:
			panic(http.ErrAbortHandler) // nobody is left to tell
		case errors.Is(err, io.EOF):
			x.reuse()
			return
		case err != nil:
			if x.ctx.Err() == nil {
				p.log.Warn("an answer broke off", "upstream", x.name, "error", err)
			}
			panic(http.ErrAbortHandler)
		}
	}
}
