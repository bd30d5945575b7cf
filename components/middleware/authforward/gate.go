package authforward

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// gate lets requests pass, or not.
type gate struct {
	*asker
	toRequest  []string
	toResponse []string
	user       string
}

// handler is the middleware in one chain.
type handler struct {
	*gate
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := h.ask(r)
	if err != nil {
		failure.Report(r, err)
		return
	}
	if answer.refuses() {
		answer.send(w)
		return
	}
	if name := answer.header.Get(h.user); h.user != "" && name != "" {
		environ.User.Set(r, name)
	}
	for _, name := range h.toResponse {
		for _, value := range answer.header[name] {
			w.Header().Add(name, value)
		}
	}
	h.next.ServeHTTP(w, h.informed(r, answer.header))
}

// informed returns r with the fields of the answer that the app gets.
func (g *gate) informed(r *http.Request, answer http.Header) *http.Request {
	if len(g.toRequest) == 0 {
		return r
	}
	made := *r
	made.Header = maps.Clone(r.Header)
	for name := range r.Header {
		// RFC 3875, 4.1.18: both characters become the same one.
		if slices.Contains(g.toRequest, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(made.Header, name)
		}
	}
	for _, name := range g.toRequest {
		if values := answer[name]; len(values) > 0 {
			made.Header[name] = values
			environ.Claim(made.Header, name)
		}
	}
	return &made
}

// oneHop are the fields that are about one connection or one body (RFC 9110, 7.6.1).
var oneHop = []string{
	"Connection", "Content-Length", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// send answers the client as the server that was asked did.
func (a *answer) send(w http.ResponseWriter) {
	h := w.Header()
	dropped := slices.Clone(oneHop)
	for _, field := range a.header["Connection"] {
		for name := range strings.SplitSeq(field, ",") {
			dropped = append(dropped, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range a.header {
		switch {
		case slices.Contains(dropped, name):
		case name == "Set-Cookie", name == "Vary":
			h[name] = slices.Concat(h[name], values)
		default:
			h[name] = values
		}
	}
	if len(h["Cache-Control"]) == 0 {
		h.Set("Cache-Control", "no-store") // it is about this client at this time
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}
