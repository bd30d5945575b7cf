package lint

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// memory is what a request was when the handler was given it.
type memory struct {
	request http.Request
	url     url.URL
	header  http.Header
	body    io.ReadCloser
	ctx     context.Context //nolint:containedctx // it is compared
}

func remember(r *http.Request) *memory {
	return &memory{request: *r, url: *r.URL, header: r.Header.Clone(), body: r.Body, ctx: r.Context()}
}

// changes names what is different now. The parsed form and what a ServeMux sets may be.
func (m *memory) changes(r *http.Request) string {
	var changed []string
	note := func(name string, same bool) {
		if !same {
			changed = append(changed, name)
		}
	}
	old := &m.request
	note("method", old.Method == r.Method)
	note("URL", r.URL != nil && *r.URL == m.url)
	note("header", maps.EqualFunc(m.header, r.Header, slices.Equal[[]string]))
	note("host", old.Host == r.Host)
	note("request URI", old.RequestURI == r.RequestURI)
	note("remote address", old.RemoteAddr == r.RemoteAddr)
	note("protocol", old.Proto == r.Proto)
	note("content length", old.ContentLength == r.ContentLength)
	note("TLS", old.TLS == r.TLS)
	note("body", m.body == r.Body)
	note("context", m.ctx == r.Context())
	return strings.Join(changed, ", ")
}
