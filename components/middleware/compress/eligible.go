package compress

import (
	"net/http"
	"strconv"
	"strings"
)

// types are the MIME types to compress.
type types struct {
	exact    map[string]bool
	prefixes []string
	suffixes []string
}

func newTypes(list []string) types {
	t := types{exact: make(map[string]bool)}
	for _, name := range list {
		name = strings.ToLower(name)
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			t.prefixes = append(t.prefixes, prefix)
		} else if strings.HasPrefix(name, "+") {
			t.suffixes = append(t.suffixes, name)
		} else {
			t.exact[name] = true
		}
	}
	return t
}

// events is the type of a stream of events, which is compressed only if it is named.
const events = "text/event-stream"

// match reports whether a Content-Type is one of them.
func (t types) match(contentType string) bool {
	name, _, _ := strings.Cut(contentType, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	if t.exact[name] || name == events {
		return t.exact[name]
	}
	for _, prefix := range t.prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, suffix := range t.suffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// unknown is the length of a response that doesn't announce one.
const unknown = -1

// lengthOf returns the Content-Length that an app announces.
func lengthOf(h http.Header) int64 {
	if len(h["Content-Length"]) != 1 {
		return unknown
	}
	n, err := strconv.ParseUint(h["Content-Length"][0], 10, 63)
	if err != nil {
		return unknown
	}
	return int64(n)
}

// eligible reports whether a response may be compressed for a client that accepts it,
// its type apart.
func (c *compressor) eligible(status int, h http.Header) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent, http.StatusNotModified:
		return false
	}
	if status < 200 {
		return false
	}
	for _, taboo := range []string{"Content-Encoding", "Content-Range", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if len(h[taboo]) > 0 {
			return false
		}
	}
	if length := lengthOf(h); length == 0 || length != unknown && length < c.minSize {
		return false
	}
	return !lists(h["Cache-Control"], "no-transform")
}

// secret reports whether a response might give away secrets by its compressed length; see the
// package comment.
func secret(r *http.Request, h http.Header) bool {
	credentials := len(r.Header["Cookie"]) > 0 || len(r.Header["Authorization"]) > 0 ||
		len(h["Set-Cookie"]) > 0 || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	return credentials && !fromHere(r) && !lists(h["Cache-Control"], "public")
}

// fromHere reports whether the browser says that a page of this site, or the visitor, made
// the request.
func fromHere(r *http.Request) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && (site[0] == "same-origin" || site[0] == "none")
	}
	from := r.Header.Get("Origin")
	if from == "" {
		from = r.Header.Get("Referer")
	}
	scheme, rest, ok := strings.Cut(from, "://")
	if !ok {
		return false
	}
	// A page that came without TLS may be anybody's.
	if scheme != "https" && (r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")) {
		return false
	}
	host, _, _ := strings.Cut(rest, "/")
	return strings.EqualFold(host, r.Host)
}

// lists reports whether a word stands in one of the comma-separated fields.
func lists(fields []string, word string) bool {
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.TrimSpace(item), word) {
				return true
			}
		}
	}
	return false
}

// weaken makes a strong entity tag weak: a compressed response isn't the same bytes.
func weaken(h http.Header) {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		h.Set("Etag", "W/"+tag)
	}
}

// vary tells caches that the response depends on Accept-Encoding.
func vary(h http.Header) {
	if !lists(h["Vary"], "Accept-Encoding") && !lists(h["Vary"], "*") {
		h.Add("Vary", "Accept-Encoding")
	}
}
