package finder

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxPath is the longest path that is looked for: what Linux takes.
const maxPath = 4096

// refusal says with which status and words a path is refused, or 0 when it is clean: "/", or
// segments that each may be the name of a file, with or without a slash at the end.
func refusal(u *url.URL) (status int, reason string) {
	p := u.Path
	switch {
	case len(p) > maxPath:
		return http.StatusRequestURITooLong, "the path is too long"
	case p == "" || p[0] != '/':
		return http.StatusBadRequest, "the path must begin with a slash"
	case encodedSlash(u):
		return http.StatusBadRequest, "the path has an encoded slash"
	case strings.IndexByte(p, 0) >= 0:
		return http.StatusBadRequest, "the path has a NUL"
	case strings.IndexByte(p, '\\') >= 0:
		return http.StatusBadRequest, "the path has a backslash"
	case !utf8.ValidString(p):
		return http.StatusBadRequest, "the path is not UTF-8"
	}
	rest := strings.TrimSuffix(p[1:], "/")
	if rest == "" && len(p) == 1 {
		return 0, ""
	}
	for segment := range strings.SplitSeq(rest, "/") {
		switch segment {
		case "":
			return http.StatusBadRequest, "the path has an empty segment"
		case ".", "..":
			return http.StatusBadRequest, "the path has a dot segment"
		}
	}
	return 0, ""
}

// encodedSlash reports whether the path as it was sent has a slash that isn't one: what chose the
// settings for this URL took it for a part of a name.
func encodedSlash(u *url.URL) bool {
	return u.RawPath != "" && (strings.Contains(u.RawPath, "%2f") || strings.Contains(u.RawPath, "%2F"))
}
