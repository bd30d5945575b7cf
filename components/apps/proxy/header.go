package proxy

import (
	"cmp"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry/failure"
)

// perHop reports whether a field is for one connection only (RFC 9110, 7.6.1).
func perHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// named returns the fields that Connection names, which are for one connection only, too.
func named(h http.Header) []string {
	lists := h["Connection"]
	if len(lists) == 0 {
		return nil
	}
	names := strings.Split(strings.Join(lists, ","), ",")
	for i, name := range names {
		names[i] = http.CanonicalHeaderKey(textproto.TrimString(name))
	}
	return names
}

// upgrades returns the protocols that the header's sender wants to switch to (RFC 9110, 7.8).
func upgrades(h http.Header) []string {
	if h["Upgrade"] == nil || !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return nil
	}
	var protocols []string
	for protocol := range strings.SplitSeq(strings.Join(h["Upgrade"], ","), ",") {
		protocol = textproto.TrimString(protocol)
		name, version, versioned := strings.Cut(protocol, "/")
		if !httpguts.ValidHeaderFieldName(name) || versioned && !httpguts.ValidHeaderFieldName(version) { // both are tokens, too
			continue
		}
		switch strings.ToLower(name) {
		case "h2c", "http", "tls": // its requests would get past the stack
		default:
			protocols = append(protocols, protocol)
		}
	}
	return protocols
}

// add adds to a header those fields of an answer that are handed on: one that is there already is replaced, except where
// both can stand.
func add(to, from http.Header) {
	hop := named(from)
	for name, values := range from {
		switch {
		case perHop(name) || slices.Contains(hop, name):
		case name == "Set-Cookie" || name == "Vary":
			to[name] = append(slices.Clip(to[name]), values...)
		default:
			to[name] = values
		}
	}
}

// errUnsendable says that the request can't be written as HTTP/1.1.
var errUnsendable = failure.WithStatus(errors.New("the request can't be sent over HTTP/1.1"), http.StatusBadRequest)

// appendHead appends the request line and the header (RFC 9112, 3).
func (q *question) appendHead(b []byte, u *upstream) ([]byte, error) {
	r := q.Request
	path := cmp.Or(escaped(r.URL), "/")
	if u.prefix != nil {
		path = strings.TrimSuffix(u.prefix.EscapedPath(), "/") + path
	}
	if r.URL.ForceQuery || r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	host := r.Host
	if host == "" || !u.cfg.KeepHost {
		host = u.host
	}
	unprintable := func(c rune) bool { return c <= ' ' || c == 0x7f }
	if strings.ContainsFunc(path, unprintable) || !httpguts.ValidHostHeader(host) || !httpguts.ValidHeaderFieldName(r.Method) {
		return b, errUnsendable
	}
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, path...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", host)
	for name, values := range r.Header {
		if q.passes(name) {
			for _, value := range values {
				b = appendField(b, name, value)
			}
		}
	}
	b = append(b, q.about...)
	if len(q.upgrades) > 0 {
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, "Upgrade", strings.Join(q.upgrades, ", "))
	}
	// An upstream may send trailers only to who says that it takes them.
	if te := r.Header["Te"]; te != nil && httpguts.HeaderValuesContainsToken(te, "trailers") {
		b = append(b, "Te: trailers\r\n"...)
	}
	switch {
	case q.body == nil:
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			b = append(b, "Content-Length: 0\r\n"...)
		}
	case r.ContentLength > 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10), "\r\n"...)
	default:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if names := q.trailers(); len(names) > 0 {
			b = appendField(b, "Trailer", strings.Join(names, ", "))
		}
	}
	return append(b, "\r\n"...), nil
}

// escaped returns the path of a URL as it came, but for characters that no URL may have. Where there is one,
// [url.URL.EscapedPath] makes a slash of %2F, too.
func escaped(u *url.URL) string {
	path := u.EscapedPath()
	if came, err := url.PathUnescape(u.RawPath); err != nil || u.RawPath == path || came != u.Path {
		return path
	}
	var b strings.Builder
	for i, c := range []byte(u.RawPath) {
		if c == '%' {
			b.WriteByte(c)
		} else {
			b.WriteString((&url.URL{Path: u.RawPath[i : i+1]}).EscapedPath())
		}
	}
	return b.String()
}

// passes reports whether a field of the client's header is handed on as it is.
func (q *question) passes(name string) bool {
	if strings.Contains(name, "_") {
		// Many upstreams take it for a hyphen, and this field for the other one.
		other := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if q.Header[other] != nil || !q.passes(other) {
			return false
		}
	}
	switch name {
	case "Host", "Content-Length": // written by appendHead
		return false
	case "Expect": // answered by the server when the body is first read
		return false
	case "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix": // written by describe
		return false
	case "X-Real-Ip":
		return q.trusted
	}
	return !perHop(name) && (q.trusted || !strings.HasPrefix(name, "X-Forwarded-")) &&
		!slices.Contains(q.hop, name) && httpguts.ValidHeaderFieldName(name)
}

// appendField appends a field of a header, one line whatever its value.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	start := len(b)
	b = append(b, textproto.TrimString(value)...)
	for i, c := range b[start:] {
		if c == '\r' || c == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// trailers returns the names of the fields that are sent after the body (RFC 9110, 6.5.1). There are upstreams that take
// them for a part of the header, so that none says there what it couldn't say here.
func (q *question) trailers() []string {
	var names []string
	for name := range q.Trailer {
		if httpguts.ValidTrailerHeader(name) && q.passes(name) && q.Header[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
