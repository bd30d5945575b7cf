package cacheheaders

import (
	"mime"
	"net/http"
	"path"
	"strings"
)

// policy is the value of Cache-Control by type. The lists are shared by all responses, and have no
// spare capacity.
type policy struct {
	types     map[string][]string
	otherwise []string
}

// apply sets Cache-Control where it is to be set. The path is the URL's.
func (p *policy) apply(status int, h http.Header, urlPath string) {
	switch status {
	case http.StatusMovedPermanently, http.StatusNotModified, http.StatusPermanentRedirect:
	default:
		if status < 200 || status > 299 {
			return
		}
	}
	if len(h["Set-Cookie"]) > 0 || restricted(h["Cache-Control"]) {
		return
	}
	contentType := h.Get("Content-Type")
	if contentType == "" && status == http.StatusNotModified && len(p.types) > 0 {
		if contentType = mime.TypeByExtension(path.Ext(urlPath)); contentType == "" {
			return
		}
	}
	if value := p.of(contentType); value != nil {
		h["Cache-Control"] = value
	} else if p.otherwise != nil && len(h["Cache-Control"]) == 0 && len(h["Expires"]) == 0 {
		h["Cache-Control"] = p.otherwise
	}
}

// restricted reports whether a response says that it isn't for everybody.
func restricted(lines []string) bool {
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.Trim(directive, " \t"), "=")
			if strings.EqualFold(name, "private") || strings.EqualFold(name, "no-store") {
				return true
			}
		}
	}
	return false
}

// of returns the value for a type, if there is one.
func (p *policy) of(contentType string) []string {
	if len(p.types) == 0 {
		return nil
	}
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.ToLower(strings.TrimSpace(contentType))
	if value := p.types[contentType]; value != nil {
		return value
	}
	if major, _, ok := strings.Cut(contentType, "/"); ok {
		if value := p.types[major+"/*"]; value != nil {
			return value
		}
	}
	return p.types["*/*"]
}
