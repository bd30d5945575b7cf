// Package realip finds the address of the client that a proxy speaks for, and whether that came over TLS.
//
// Behind a proxy every request seems to come from the proxy. When the peer is one of those that
// are trusted, the address in a header field that it sets takes the peer's place, for
// everything further in: logs, limits, scripts. So does the scheme.
//
//	servers:
//	  - {use: http, listen: "127.0.0.1:8080"}
//	stack:
//	  - {use: real_ip, trusted: [127.0.0.1, 10.0.0.0/8]}
//	  - access_log
//	  - errors
//	  - finder
//
// # Whose word counts
//
// A field can be sent by anybody, so it counts only from a trusted peer. Each proxy adds the
// address that it was asked by at the end; the list is read from there, as long as the
// addresses are trusted ones. The first that isn't is the client, and nothing to the left of it
// is looked at: that is what the client itself has sent. When all are trusted, the leftmost
// is taken. At something that is no address, such as "unknown", reading stops, and the
// last address known stays.
//
// Trust no more than your own proxies. With 0.0.0.0/0 every client chooses its address.
//
// # Fields
//
// X-Forwarded-For, Forwarded (RFC 7239), and any other field that holds one
// address or a list of them, such as X-Real-Ip. Only one is looked at: of two, the proxy might
// set one and the client the other. An address may have a port; without one the port is 0.
//
// # The scheme
//
// Where the proxy speaks TLS with the client, and the stack is asked without, the field of scheme
// says so: https makes this a request over TLS, and http one without, for everything further in, so that cookies are
// Secure, redirects lead to https, and scripts have HTTPS=on. Of several values the last
// counts, which is the nearest proxy's. In Forwarded the scheme stands beside the client (proto=), and no other field
// is looked at. Another value, or none, leaves it as the connection is.
//
// See that the proxy sets this field, or removes the client's own.
//
// The fields stay in the request. The host that a proxy tells of isn't taken over.
package realip

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the real_ip middleware.
var Component = registry.Middleware[Config]{
	Name:    "real_ip",
	Default: Config{Header: "X-Forwarded-For", Scheme: "X-Forwarded-Proto"},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, Provides: []environ.Name{environ.Client}},
	Build:   build,
}

// Config says whose word counts.
type Config struct {
	// Trusted are the proxies: addresses, networks such as 10.0.0.0/8 or fd00::/8, and the word
	// unix for those that connect to a unix socket.
	Trusted []registry.Network `yaml:"trusted" validate:"required"`
	// Header is the field in which the proxy writes the client's address.
	Header string `yaml:"header" validate:"required"`
	// Scheme is the field in which the proxy writes how it was asked: https or http. Empty, no field's word is
	// taken for it.
	Scheme string `yaml:"scheme"`
}

// Validate checks the fields' names.
func (c Config) Validate() error {
	return errors.Join(fieldName("header", c.Header), fieldName("scheme", c.Scheme))
}

func fieldName(setting, name string) error {
	if name == "" || httpguts.ValidHeaderFieldName(name) {
		return nil
	}
	return &registry.SettingError{Setting: setting, Problem: "is " + strconv.Quote(name) + "; it must be the name of a header field, such as X-Forwarded-For"}
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	f := &finder{header: http.CanonicalHeaderKey(cfg.Header), scheme: http.CanonicalHeaderKey(cfg.Scheme), trusts: registry.Clients(cfg.Trusted)}
	overTLS := &tls.ConnectionState{HandshakeComplete: true}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client, scheme := f.find(r)
			if client.IsValid() || scheme != "" {
				copied := *r
				r = &copied
			}
			if client.IsValid() {
				r.RemoteAddr = client.String()
			}
			switch scheme {
			case "https":
				r.TLS = overTLS // not the proxy's own: its certificate isn't the client's
			case "http":
				r.TLS = nil
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}
