package cors

import (
	"net/http"
	"strings"
)

// policy is who may do what, as the header fields say it.
type policy struct {
	all         bool
	exact       map[string]bool
	domains     []domains
	credentials bool
	methods     string
	headers     string
	expose      string
	maxAge      string
}

// domains are the origins that begin with a scheme, such as https://, and end with a domain and
// perhaps a port, such as .example.org.
type domains struct{ scheme, domain string }

func (d domains) has(origin string) bool {
	sub, ok := strings.CutPrefix(origin, d.scheme)
	if !ok {
		return false
	}
	sub, ok = strings.CutSuffix(sub, d.domain)
	// What the star stands for is a part of a host's name, and of nothing else.
	return ok && sub != "" && !strings.ContainsFunc(sub, func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", c)
	})
}

func (p *policy) allows(origin string) bool {
	if p.exact[origin] {
		return true
	}
	for _, d := range p.domains {
		if d.has(origin) {
			return true
		}
	}
	return false
}

// handler is the middleware in one chain.
type handler struct {
	*policy
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	origin := r.Header["Origin"]
	asks := r.Method == http.MethodOptions && len(origin) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
	header := w.Header()
	if h.all {
		h.allow(header, anyOrigin, asks) // whoever asks, since caches keep it for all
	} else {
		header.Add("Vary", "Origin")
		if len(origin) == 1 && h.allows(origin[0]) {
			h.allow(header, origin[0], asks)
		}
	}
	if asks {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.next.ServeHTTP(w, r)
}

func (p *policy) allow(header http.Header, origin string, asks bool) {
	header.Set("Access-Control-Allow-Origin", origin)
	if p.credentials {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	if !asks {
		if p.expose != "" {
			header.Set("Access-Control-Expose-Headers", p.expose)
		}
		return
	}
	header.Set("Access-Control-Allow-Methods", p.methods)
	if p.headers != "" {
		header.Set("Access-Control-Allow-Headers", p.headers)
	}
	header.Set("Access-Control-Max-Age", p.maxAge)
}
