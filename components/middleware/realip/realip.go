// Package realip finds the address of the client that a proxy speaks for.
//
// Behind a proxy every request seems to come from the proxy. When the peer is one of those that
// are trusted, the address in a header field that it sets takes the peer's place, for
// everything further in: logs, limits, scripts.
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
// X-Forwarded-For, Forwarded (RFC 7239, of which for= is used), and any other field that holds one
// address or a list of them, such as X-Real-Ip. Only one is looked at: of two, the proxy might
// set one and the client the other. An address may have a port; without one the port is 0.
//
// The field stays in the request. Only the address is taken over: neither the host nor the scheme
// that a proxy tells of.
package realip

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the real_ip middleware.
var Component = registry.Middleware[Config]{
	Name:    "real_ip",
	Default: Config{Header: "X-Forwarded-For"},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says whose word counts.
type Config struct {
	// Trusted are the proxies: addresses, networks such as 10.0.0.0/8 or fd00::/8, and the word
	// unix for those that connect to a unix socket.
	Trusted []string `yaml:"trusted" validate:"required"`
	// Header is the field in which the proxy writes the client's address.
	Header string `yaml:"header" validate:"required"`
}

// Validate checks the addresses and the field's name.
func (c Config) Validate() error {
	var errs []error
	for i, text := range c.Trusted {
		if _, err := network(text); err != nil && text != overUnix {
			errs = append(errs, &registry.SettingError{
				Setting: fmt.Sprintf("trusted[%d]", i),
				Problem: "is " + strconv.Quote(text) + "; it must be an address, a network such as 10.0.0.0/8, or unix",
			})
		}
	}
	if c.Header != "" && !httpguts.ValidHeaderFieldName(c.Header) {
		errs = append(errs, &registry.SettingError{Setting: "header", Problem: "has a character that no field name may have; it must be like X-Forwarded-For"})
	}
	return errors.Join(errs...)
}

// overUnix stands for peers that have no address.
const overUnix = "unix"

// network reads an address, which is a network of one, or a network.
func network(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		if a.Zone() != "" {
			return netip.Prefix{}, errors.New("a zone can't be trusted")
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		return p, errors.New("an IPv4 network must be written as one")
	}
	return p.Masked(), nil
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	f := &finder{header: http.CanonicalHeaderKey(cfg.Header)}
	for _, text := range cfg.Trusted {
		if text == overUnix {
			f.unix = true
			continue
		}
		p, err := network(text)
		if err != nil {
			return nil, err
		}
		f.trusted = append(f.trusted, p)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if client, ok := f.client(r); ok {
				copied := *r
				copied.RemoteAddr = client.String()
				r = &copied
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}
