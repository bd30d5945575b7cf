package cacheheaders

import (
	"net/http"
	"strings"
)

// policy is the value of Cache-Control by type. The lists are shared by all responses, and have no
// spare capacity.
type policy struct {
	types     map[string][]string
	otherwise []string
}

// apply sets Cache-Control where it is to be set.
func (p *policy) apply(status int, h http.Header) {
	switch {
	case status < 200 || status >= 300 && status != http.StatusMovedPermanently && status != http.StatusNotModified && status != http.StatusPermanentRedirect:
		return
	case len(h["Cache-Control"]) > 0 || len(h["Expires"]) > 0 || len(h["Set-Cookie"]) > 0:
		return
	case status == http.StatusNotModified && len(p.types) > 0 && len(h["Content-Type"]) == 0:
		return
	}
	if value := p.value(h.Get("Content-Type")); value != nil {
		h["Cache-Control"] = value
	}
}

func (p *policy) value(contentType string) []string {
	if len(p.types) == 0 {
		return p.otherwise
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
	if value := p.types["*/*"]; value != nil {
		return value
	}
	return p.otherwise
}
