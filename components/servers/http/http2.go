package http

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// preface is what a client begins HTTP/2 with.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

var errPreface = errors.New("the client doesn't begin as HTTP/2 does, and nothing else is spoken at this address")

// unencrypted is the name by which net/http finds what speaks HTTP/2 over a connection that isn't TLS.
const unencrypted = "unencrypted_http2"

// handOver has net/http's HTTP/2 read the frames of every connection from what newFrames makes of it. It takes another
// connection than a [tls.Conn] only in the way in which net/http hands over those without TLS: inside of one, and with
// the preface read.
func (s *server) handOver(protocols map[string]func(*http.Server, *tls.Conn, http.Handler)) {
	serve := protocols[unencrypted]
	if serve == nil {
		return
	}
	read := func(nc net.Conn) *frames { return newFrames(nc, int(s.cfg.MaxHeader), s.cfg.ReadHeaderTimeout) }
	protocols[unencrypted] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
		nc := c.NetConn().(interface{ UnencryptedNetConn() net.Conn }).UnencryptedNetConn()
		speaksHTTP2(nc)
		serve(srv, tls.Client(handed{inner: read(nc)}, nil), h)
	}
	protocols["h2"] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
		var begin [len(preface)]byte
		_ = c.SetReadDeadline(time.Now().Add(s.cfg.ReadHeaderTimeout)) // reading says what is wrong
		if _, err := io.ReadFull(c, begin[:]); err != nil || string(begin[:]) != preface {
			s.log.Debug("refused a connection that doesn't begin as HTTP/2 does, but was said to (ALPN)", "error", err, "peer", c.RemoteAddr().String())
			return
		}
		_ = c.SetReadDeadline(time.Time{})
		speaksHTTP2(c)
		serve(srv, tls.Client(handed{inner: encryptedFrames{read(c), c}}, nil), h)
	}
}

// speaksHTTP2 notes it of a connection. The tally sees to it at the next change of its state, when net/http can tell the client of
// an end.
func speaksHTTP2(nc net.Conn) {
	if c, ok := connOf(nc); ok {
		c.http2.Store(true)
	}
}

// handed is how net/http hands over a connection.
type handed struct {
	net.Conn // is nil
	inner    net.Conn
}

func (h handed) UnencryptedNetConn() net.Conn { return h.inner }

// encryptedFrames are those of a connection over TLS, of which requests tell.
type encryptedFrames struct {
	*frames
	tls *tls.Conn
}

func (e encryptedFrames) ConnectionState() tls.ConnectionState { return e.tls.ConnectionState() }
