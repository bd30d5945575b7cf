package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// proxy is the app.
type proxy struct {
	cfg       Config
	ctx       context.Context // ends when the instance retires
	log       *slog.Logger
	upstreams []*upstream
	hashBy    func(r *http.Request) string
	trusts    func(remoteAddr string) bool // whether what it says about others is taken
	turn      atomic.Uint32                // whose turn it is among equals
	buffers   sync.Pool                    // of *[bufferSize]byte, for bodies on their way
}

// bufferSize is how much of a body is read at a time.
const bufferSize = 32 << 10

func (p *proxy) buffer() *[bufferSize]byte {
	if buf, ok := p.buffers.Get().(*[bufferSize]byte); ok {
		return buf
	}
	return new([bufferSize]byte)
}

// question is a client's request as the upstreams are asked it.
type question struct {
	*http.Request
	w        http.ResponseWriter // the client's, for the 1xx responses; nil when nobody wants them
	body     *upload             // nil when there is none
	trusted  bool                // what the client says about others is handed on
	upgrades []string            // the protocols that the client wants to switch to
	hop      []string            // fields that are for the client's connection only, beside those that always are
	about    []byte              // the fields about the client
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		return
	}
	q := &question{Request: r, w: w, upgrades: upgrades(r.Header), hop: named(r.Header)}
	p.describe(q)
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		q.body = &upload{body: r.Body, writing: make(chan struct{})}
		if err := q.body.fetch(r); err != nil {
			p.fail(q, err)
			return
		}
		control := http.NewResponseController(w)
		if q.body.all == nil {
			// Otherwise net/http takes what it finds of the body when the answer begins. Servers that
			// never do so don't know the call.
			_ = control.EnableFullDuplex()
		}
		defer q.body.leave(control)
	}
	x, err := p.ask(q)
	switch {
	case err != nil:
	case x.answer.StatusCode == http.StatusSwitchingProtocols:
		err = p.tunnel(w, x)
	default:
		p.relay(w, x)
	}
	if err != nil {
		p.fail(q, err)
	}
}

// describe says what the upstream is told about the client.
func (p *proxy) describe(q *question) {
	r := q.Request
	client := clientAddress(r.RemoteAddr)
	q.trusted = p.trusts(r.RemoteAddr)
	said := func(name string) []string {
		if !q.trusted {
			return nil
		}
		return r.Header[name]
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	q.about = make([]byte, 0, 128)
	field := func(name string, values []string, otherwise string) {
		if len(values) == 0 && otherwise != "" {
			q.about = appendField(q.about, name, otherwise)
		}
		for _, value := range values {
			q.about = appendField(q.about, name, value)
		}
	}
	through := said("X-Forwarded-For")
	if client != "" && len(through) > 0 {
		client, through = strings.Join(through, ", ")+", "+client, nil
	}
	field("X-Forwarded-For", through, client)
	field("X-Forwarded-Host", said("X-Forwarded-Host"), r.Host)
	field("X-Forwarded-Proto", said("X-Forwarded-Proto"), scheme)
	if prefix := environ.Prefix.Get(r); prefix != "" {
		// What a proxy in front has taken off stood before what a mount here has.
		field("X-Forwarded-Prefix", nil, strings.TrimSuffix(strings.Join(said("X-Forwarded-Prefix"), ""), "/")+prefix)
	} else {
		field("X-Forwarded-Prefix", said("X-Forwarded-Prefix"), "")
	}
	forwarded := said("Forwarded")
	if p.cfg.Forwarded {
		all := append(slices.Clip(forwarded), element(clientAddress(r.RemoteAddr), r.Host, scheme))
		forwarded = []string{strings.Join(all, ", ")}
	}
	field("Forwarded", forwarded, "")
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
func (p *proxy) fail(q *question, err error) {
	r := q.Request
	switch ended := r.Context().Err(); {
	case errors.Is(ended, context.Canceled):
		panic(http.ErrAbortHandler) // nobody is left to tell
	case ended != nil:
		failure.Report(r, failure.WithStatus(err, http.StatusGatewayTimeout))
		return
	}
	if q.body != nil {
		if broken := q.body.failed(); broken != nil {
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
