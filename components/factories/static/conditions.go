package static

import (
	"net/http"
	"strings"
	"time"
)

// conditional reports whether a request has a precondition.
func conditional(h http.Header) bool {
	return len(h) > 0 && (len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0 ||
		len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0)
}

// verdict evaluates the preconditions of a GET or HEAD in the order of RFC 9110, 13.2.2: it returns 200 when
// the response is to be sent, or 304 or 412.
func verdict(h http.Header, etag string, modified time.Time) int {
	if list := first(h["If-Match"]); list != "" {
		if !listed(list, etag, strong) {
			return http.StatusPreconditionFailed
		}
	} else if since, ok := date(h["If-Unmodified-Since"], modified); ok && modified.Truncate(time.Second).After(since) {
		return http.StatusPreconditionFailed
	}
	if list := first(h["If-None-Match"]); list != "" {
		if listed(list, etag, weak) {
			return http.StatusNotModified
		}
	} else if since, ok := date(h["If-Modified-Since"], modified); ok && !modified.Truncate(time.Second).After(since) {
		return http.StatusNotModified
	}
	return http.StatusOK
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return strings.Trim(strings.Join(values, ","), " \t")
}

// date reads the date of a condition. One that isn't a date, or is about a file without one, doesn't count.
func date(values []string, modified time.Time) (time.Time, bool) {
	if len(values) == 0 || !dated(modified) {
		return time.Time{}, false
	}
	t, err := http.ParseTime(values[0])
	return t, err == nil
}

// dated reports whether a file's time of change is one: archives may have none.
func dated(modified time.Time) bool {
	return !modified.IsZero() && modified.Unix() != 0
}

// How entity tags are compared (RFC 9110, 8.8.3.2). Ours are never weak.
func strong(tag, etag string) bool { return tag == etag }
func weak(tag, etag string) bool   { return strings.TrimPrefix(tag, "W/") == etag }

// listed reports whether the entity tag is in a list of some, or "*" is. A list that is broken counts as far
// as it can be read.
func listed(list, etag string, equal func(tag, etag string) bool) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		tag := scan(list)
		if tag == "" {
			return false
		}
		if etag != "" && equal(tag, etag) {
			return true
		}
		list = list[len(tag):]
	}
}

// scan returns the entity tag with which s begins, or "" (RFC 9110, 8.8.3).
func scan(s string) string {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) == start || s[start] != '"' {
		return ""
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1]
		case c <= ' ' || c == 0x7f:
			return ""
		}
	}
	return ""
}
