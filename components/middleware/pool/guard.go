package pool

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// guard is the ResponseWriter of an app in the pool. It keeps one that hangs away from a response that
// isn't its own any more. That is why it has no Unwrap, and a header of its own.
type guard struct {
	inner  http.ResponseWriter
	taken  func() // called when the connection is taken over
	header http.Header
	before http.Header // what the inner header got of it last
	sent   bool        // the header is out
	bare   bool        // it has no body after it
	media  string      // what it said of the body, as the app may change its own at any time
	length string
	bytes  int64

	mu       sync.Mutex
	calls    int       // under way, of the app to the client
	last     time.Time // when one ended
	hijacked bool
	gone     bool // the response isn't the app's any more
	ended    bool // the app has returned
}

var errGone = errors.New("the request hung, and was answered by others")

func (g *guard) init(inner http.ResponseWriter, taken func()) {
	g.inner, g.taken, g.last = inner, taken, time.Now()
	g.before = maps.Clone(inner.Header())
	if g.header = inner.Header().Clone(); g.header == nil {
		g.header = make(http.Header)
	}
}

// call begins one to the client, unless the response isn't the app's any more.
func (g *guard) call() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return false
	}
	g.calls++
	return true
}

// called ends one.
func (g *guard) called() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	g.last = time.Now()
}

// left returns how much is left of the time in which something must happen; what waits for the client
// has all of it, and so has a connection that was taken over.
func (g *guard) left(limit time.Duration) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls > 0 || g.hijacked || g.ended {
		return limit
	}
	return limit - time.Since(g.last)
}

// detach takes the response away from the app, unless it is at it, or has returned. It calls then before
// the app may learn of it.
func (g *guard) detach(then func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls > 0 || g.hijacked || g.ended {
		return false
	}
	g.gone = true
	then()
	return true
}

// end says that the app has returned, and reports whether the response was its own to the end.
func (g *guard) end() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	return !g.gone
}

// sync brings what the app did to its header since the last time to the inner one.
func (g *guard) sync() {
	h := g.inner.Header()
	changed := false
	for name := range g.before {
		if _, ok := g.header[name]; !ok {
			delete(h, name)
			changed = true
		}
	}
	for name, values := range g.header {
		if old, ok := g.before[name]; !ok || !slices.Equal(old, values) {
			h[name] = values
			changed = true
		}
	}
	if changed {
		g.before = maps.Clone(g.header)
	}
}

// commit is called before the header goes out.
func (g *guard) commit() {
	if !g.sent {
		g.sync()
		g.sent, g.media, g.length = true, g.header.Get("Content-Type"), g.header.Get("Content-Length")
	}
}

// unfinished reports whether a response that was sent has not come to its end, as far as one can tell.
func (g *guard) unfinished() bool {
	if media, _, err := mime.ParseMediaType(g.media); err == nil && media == "text/event-stream" {
		return false
	}
	announced, err := strconv.ParseInt(g.length, 10, 64)
	return !g.hijacked && !g.bare && (err != nil || announced > g.bytes)
}

func (g *guard) Header() http.Header { return g.header }

func (g *guard) WriteHeader(status int) {
	if !g.call() {
		return
	}
	defer g.called()
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if !g.sent {
			g.sync()
		}
	} else {
		g.bare = g.bare || !g.sent && (status == http.StatusNoContent || status == http.StatusNotModified)
		g.commit()
	}
	g.inner.WriteHeader(status)
}

func (g *guard) Write(p []byte) (int, error) {
	if !g.call() {
		return 0, errGone
	}
	defer g.called()
	g.commit()
	n, err := g.inner.Write(p)
	g.bytes += int64(n)
	return n, err
}

// ReadFrom leaves it to the connection to copy a file. Anything else goes through Write piece by piece, as
// it may be what the app waits for.
func (g *guard) ReadFrom(src io.Reader) (int64, error) {
	from := src
	if limited, ok := src.(*io.LimitedReader); ok {
		from = limited.R
	}
	if _, ok := from.(*os.File); !ok {
		return io.Copy(struct{ io.Writer }{g}, src)
	}
	if !g.call() {
		return 0, errGone
	}
	defer g.called()
	g.commit()
	n, err := io.Copy(g.inner, src)
	g.bytes += n
	return n, err
}

// FlushError sends what is buffered, the header first.
func (g *guard) FlushError() error {
	if !g.call() {
		return errGone
	}
	defer g.called()
	g.commit()
	return http.NewResponseController(g.inner).Flush()
}

// Flush is FlushError for those who ask for an [http.Flusher].
func (g *guard) Flush() {
	// An http.Flusher has nowhere to put the error; the next Write returns it.
	_ = g.FlushError()
}

// Hijack hands the connection over. It is the app's for good.
func (g *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !g.call() {
		return nil, nil, errGone
	}
	defer g.called()
	g.sync() // an app may send what others have put there
	conn, rw, err := http.NewResponseController(g.inner).Hijack()
	if err == nil {
		g.sent = true
		g.mu.Lock()
		g.hijacked = true
		g.mu.Unlock()
		g.taken()
	}
	return conn, rw, err
}

// SetReadDeadline is for an [http.ResponseController], as are those below.
func (g *guard) SetReadDeadline(deadline time.Time) error {
	return g.control(func(c *http.ResponseController) error { return c.SetReadDeadline(deadline) })
}

func (g *guard) SetWriteDeadline(deadline time.Time) error {
	return g.control(func(c *http.ResponseController) error { return c.SetWriteDeadline(deadline) })
}

func (g *guard) EnableFullDuplex() error {
	return g.control((*http.ResponseController).EnableFullDuplex)
}

func (g *guard) control(f func(c *http.ResponseController) error) error {
	if !g.call() {
		return errGone
	}
	defer g.called()
	return f(http.NewResponseController(g.inner))
}

// body is the request's, as long as the response is the app's.
type body struct {
	io.ReadCloser
	guard *guard
}

func (b *body) Read(p []byte) (int, error) {
	if !b.guard.call() {
		return 0, errGone
	}
	defer b.guard.called()
	return b.ReadCloser.Read(p)
}

func (b *body) Close() error {
	if !b.guard.call() {
		return nil // the server closes it
	}
	defer b.guard.called()
	return b.ReadCloser.Close()
}
