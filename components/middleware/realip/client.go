package realip

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarded is the standard field, which holds more than addresses.
const forwarded = "Forwarded"

// finder finds the client of a request.
type finder struct {
	header, scheme string
	trusts         func(address string) bool
}

// find returns the client that a trusted peer speaks for, and the scheme that it was asked by, "http" or "https". Either is
// empty when the peer doesn't say.
func (f *finder) find(r *http.Request) (client netip.AddrPort, scheme string) {
	lines := r.Header[f.header]
	var schemes []string
	if f.scheme != "" && f.header != forwarded {
		schemes = r.Header[f.scheme]
	}
	if len(lines) == 0 && len(schemes) == 0 || !f.trusts(r.RemoteAddr) {
		return client, ""
	}
	client, scheme = f.client(lines)
	if len(schemes) > 0 {
		_, scheme = f.last(schemes[len(schemes)-1])
	}
	switch {
	case f.scheme == "":
		return client, ""
	case strings.EqualFold(scheme, "https"):
		return client, "https"
	case strings.EqualFold(scheme, "http"):
		return client, "http"
	}
	return client, ""
}

// client returns the last hop that isn't trusted, or the first of all, and what Forwarded says of its scheme.
func (f *finder) client(lines []string) (found netip.AddrPort, scheme string) {
	for _, line := range slices.Backward(lines) {
		for line != "" {
			var hop string
			line, hop = f.last(line)
			node, proto := hop, ""
			if f.header == forwarded {
				node, proto = parameter(hop, "for"), parameter(hop, "proto")
			}
			a, valid := address(node)
			if !valid {
				return found, scheme
			}
			found, scheme = a, proto
			if !f.trusts(a.Addr().String()) {
				return found, scheme
			}
		}
	}
	return found, scheme
}

// last takes the last entry from a field's value, and returns what is before it, too.
func (f *finder) last(line string) (before, entry string) {
	comma := strings.LastIndexByte(line, ',')
	if f.header == forwarded {
		comma = lastComma(line)
	}
	if comma >= 0 {
		before = line[:comma]
	}
	return before, strings.Trim(line[comma+1:], " \t")
}

// lastComma returns where the last comma is that stands outside of quotes, or -1. It looks from the
// end: what the proxy wrote there is well formed, and what the client had sent before may have
// a quote that never closes.
func lastComma(line string) int {
	quoted := false
	for i := len(line) - 1; i >= 0; i-- {
		switch line[i] {
		case '"':
			before := line[:i]
			if escapes := len(before) - len(strings.TrimRight(before, `\`)); !quoted || escapes%2 == 0 {
				quoted = !quoted
			}
		case ',':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

// parameter returns the value of one of an element's parameters (RFC 7239, 4), or "".
func parameter(element, name string) string {
	for element != "" {
		var pair string
		pair, element = firstPair(element)
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if ok && strings.EqualFold(key, name) {
			if inner, quoted := strings.CutPrefix(value, `"`); quoted {
				return strings.TrimSuffix(inner, `"`)
			}
			return value
		}
	}
	return ""
}

// firstPair cuts an element at the first semicolon that stands outside of quotes.
func firstPair(element string) (pair, rest string) {
	quoted := false
	for i := 0; i < len(element); i++ {
		switch c := element[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return element[:i], element[i+1:]
		}
	}
	return element, ""
}

// address reads an address with or without a port, an IPv6 one in brackets or without.
func address(text string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		bare := text
		if len(bare) > 2 && bare[0] == '[' && bare[len(bare)-1] == ']' {
			bare = bare[1 : len(bare)-1]
		}
		addr, err := netip.ParseAddr(bare)
		if err != nil {
			return a, false
		}
		a = netip.AddrPortFrom(addr, 0)
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()), true
}
