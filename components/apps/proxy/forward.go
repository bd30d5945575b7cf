package proxy

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// proxy is the app. [httputil.ReverseProxy] knows what of a message is handed on and what isn't; this
// says to whom, and how.
type proxy struct {
	cfg       Config
	ctx       context.Context // ends when the instance retires
	reverse   *httputil.ReverseProxy
	upstreams []*upstream
	hashBy    func(r *http.Request) string
	trusts    func(remoteAddr string) bool // whether what it says about others is taken
	turn      atomic.Uint32                // whose turn it is among equals
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		p.reverse.ServeHTTP(w, r)
		return
	}
	u := &upload{ReadCloser: r.Body, writing: make(chan struct{})}
	copied := *r
	r = &copied
	r.Body = u
	control := http.NewResponseController(w)
	if !u.short(r) {
		// Otherwise net/http takes what it finds of the body when the answer begins. Servers that
		// never do so don't know the call.
		_ = control.EnableFullDuplex()
	}
	defer u.leave(control)
	p.reverse.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), uploadKey{}, u)))
}

// rewrite says what else the upstream is told.
func (p *proxy) rewrite(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	out.URL.RawQuery = in.URL.RawQuery // which ReverseProxy writes anew if it isn't well-formed
	out.Trailer = in.Trailer           // filled in when the body ends
	h := out.Header
	delete(h, "Expect") // answered by the server when the body is first read
	client := clientAddress(in.RemoteAddr)
	if p.trusts(in.RemoteAddr) {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			if values := in.Header[name]; len(values) > 0 {
				h[name] = slices.Clip(values)
			}
		}
	} else {
		delete(h, "X-Real-Ip")
		for name := range h {
			if strings.HasPrefix(name, "X-Forwarded-") {
				delete(h, name)
			}
		}
	}
	values := make([]string, 3)
	set := func(i int, name, value string) {
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	scheme := "http"
	if in.TLS != nil {
		scheme = "https"
	}
	if client != "" {
		prior := h["X-Forwarded-For"]
		if len(prior) == 0 {
			set(0, "X-Forwarded-For", client)
		} else {
			set(0, "X-Forwarded-For", strings.Join(prior, ", ")+", "+client)
		}
	}
	if h["X-Forwarded-Host"] == nil {
		set(1, "X-Forwarded-Host", in.Host)
	}
	if h["X-Forwarded-Proto"] == nil {
		set(2, "X-Forwarded-Proto", scheme)
	}
	if p.cfg.Forwarded {
		h["Forwarded"] = []string{strings.Join(append(h["Forwarded"], element(client, in.Host, scheme)), ", ")}
	}
}

// element is this hop's part of the field Forwarded (RFC 7239, 4).
func element(client, host, scheme string) string {
	node := "unknown"
	if strings.Contains(client, ":") {
		node = `"[` + client + `]"`
	} else if client != "" {
		node = client
	}
	// A host may have a colon, so that it is quoted; net/http lets no quote or backslash into one
	// that isn't to be escaped.
	host = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(host)
	return "for=" + node + `;host="` + host + `";proto=` + scheme
}

// clientAddress returns the IP address of a client, or "" for one that has none.
func clientAddress(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return ""
	}
	return host
}

// fail reports why there is no answer.
func (p *proxy) fail(_ http.ResponseWriter, r *http.Request, err error) {
	switch ended := r.Context().Err(); {
	case errors.Is(ended, context.Canceled):
		panic(http.ErrAbortHandler) // nobody is left to tell
	case ended != nil:
		failure.Report(r, failure.WithStatus(err, http.StatusGatewayTimeout))
		return
	}
	if u, ok := r.Context().Value(uploadKey{}).(*upload); ok {
		if broken := u.failed(); broken != nil {
			err = broken // the client's body ended amid, for which the upstream isn't to blame
		}
	}
	if status := failure.Status(err); status != http.StatusInternalServerError {
		failure.Report(r, err)
		return
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		failure.Report(r, err)
		return
	}
	failure.Report(r, failure.WithStatus(err, http.StatusBadGateway))
}

// buffers are reused from one answer to the next.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buf[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buf []byte) { b.pool.Put((*[bufferSize]byte)(buf)) }

// errorLog logs what ReverseProxy has to say: that an answer broke off, for which it cuts the client off.
func errorLog(l *slog.Logger) *log.Logger { return log.New(lines{l}, "", 0) }

type lines struct{ log *slog.Logger }

func (l lines) Write(line []byte) (int, error) {
	l.log.Warn("an answer broke off", "text", strings.TrimSpace(string(line)))
	return len(line), nil
}

// linger is how long a request's body may go on to be sent when the answer is complete.
const linger = 50 * time.Millisecond
