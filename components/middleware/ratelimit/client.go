package ratelimit

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"

	"github.com/stackd/stackd/registry/session"
)

// key tells a client from others. Whatever it is told by, it takes the same room, and nothing can be
// read from it that is secret.
type key [1 + sha256.Size]byte

// The first byte of a key.
const (
	addressKey = iota + 1
	sessionKey
	headerKey
)

// clientOf returns the function that tells who the client is.
func clientOf(by, header string) func(r *http.Request) key {
	switch by {
	case bySession:
		return fromSession
	case byHeader:
		name := http.CanonicalHeaderKey(header)
		return func(r *http.Request) key { return fromHeader(r, name) }
	}
	return fromAddress
}

func fromAddress(r *http.Request) key {
	k := key{addressKey}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return k // a unix socket
	}
	addr := peer.Addr().Unmap()
	if addr.Is6() {
		network := addr.As16()
		copy(k[1:], network[:8])
		return k
	}
	mapped := addr.As16()
	copy(k[1:], mapped[:])
	return k
}

func fromHeader(r *http.Request, name string) key {
	values := r.Header[name]
	if len(values) == 0 {
		return fromAddress(r)
	}
	return hash(headerKey, strings.Join(values, ","))
}

// mark is where the session has the text that tells it from others.
const mark = "rate_limit"

func fromSession(r *http.Request) key {
	id, err := marked(session.Key.Get(r))
	if err != nil || id == "" {
		return fromAddress(r)
	}
	return hash(sessionKey, id)
}

// marked returns the mark of a session, and gives it one; a session with nothing in it gets none and
// so stays a session that isn't stored.
func marked(s session.Session) (string, error) {
	if s == nil {
		return "", nil
	}
	id, err := session.Value[string](s, mark)
	if err != nil || id != "" {
		return id, err
	}
	keys, err := s.Keys()
	if err != nil || len(keys) == 0 {
		return "", err
	}
	id = rand.Text()
	return id, s.Set(mark, id)
}

func hash(kind byte, text string) key {
	k := key{kind}
	sum := sha256.Sum256([]byte(text))
	copy(k[1:], sum[:])
	return k
}
