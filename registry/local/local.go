// Package local tells the requests of somebody on this very machine from all others. It guards
// what only the operator may see.
//
// A request is local when all of this holds:
//
//   - the peer's address is loopback;
//   - the Host, and the Origin where there is one, is localhost, a name under it, 127.0.0.0/8 or
//     [::1], since any other name may be made to lead here by others;
//   - no header field says that a proxy passed the request on.
//
// When in doubt it isn't. A proxy on this machine that adds no such field makes every visitor
// look local: nothing in the request tells.
package local

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Request reports whether r is local.
func Request(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !localHost(r.Host) {
		return false
	}
	for name := range r.Header {
		if forwarding(name) {
			return false
		}
	}
	// A page from elsewhere can have a browser ask on its behalf, and read the answer if
	// the app lets other origins in.
	for _, origin := range r.Header["Origin"] {
		u, err := url.Parse(origin)
		if err != nil || !localHost(u.Host) {
			return false
		}
	}
	return true
}

// localHost reports whether a Host, with or without a port, is this machine whatever the name
// service says: one that can be made to point here by others (DNS rebinding) isn't.
func localHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else if bare, ok := strings.CutPrefix(host, "["); ok {
		name, ok = strings.CutSuffix(bare, "]")
		if !ok {
			return false
		}
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().IsLoopback()
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// Header fields that proxies add begin with one of proxied, or are one of proxies.
var (
	proxied = []string{"X-Forwarded", "X-Original-", "X-Envoy-", "X-Proxy", "X-Cluster-", "X-Amzn-", "X-Azure-", "X-Appengine-", "X-Arr-", "Cf-", "Fastly-", "Fly-", "Akamai-"}
	proxies = []string{"Forwarded", "Via", "Client-Ip", "True-Client-Ip", "X-Client-Ip", "X-Real-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip", "X-Host", "X-Scheme", "Cdn-Loop", "Front-End-Https", "Proxy-Authorization"}
)

// forwarding reports whether a header field says that somebody passed the request on.
func forwarding(name string) bool {
	name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	return slices.Contains(proxies, name) || slices.ContainsFunc(proxied, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
