package realip

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// finder finds the client of a request.
type finder struct {
	header  string
	unix    bool
	trusted []netip.Prefix
}

// client returns the client that a trusted peer speaks for, if it does.
func (f *finder) client(r *http.Request) (found netip.AddrPort, ok bool) {
	lines := r.Header[f.header]
	if len(lines) == 0 || !f.trustsPeer(r.RemoteAddr) {
		return found, false
	}
	for _, line := range slices.Backward(lines) {
		for line != "" {
			var hop string
			line, hop = f.last(line)
			a, valid := address(hop)
			if !valid {
				return found, ok
			}
			found, ok = a, true
			if !f.trusts(a.Addr()) {
				return found, true
			}
		}
	}
	return found, ok
}

func (f *finder) trustsPeer(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return f.unix && (remote == "" || remote[0] == '@' || remote[0] == '/')
	}
	return f.trusts(a.Addr().Unmap())
}

func (f *finder) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(f.trusted, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
}

// last takes the last entry from a field's value, and returns what is before and the address in
// it, or nothing when it has none.
func (f *finder) last(line string) (before, hop string) {
	comma := strings.LastIndexByte(line, ',')
	if f.header == "Forwarded" {
		comma = lastComma(line)
	}
	if comma >= 0 {
		before = line[:comma]
	}
	hop = strings.Trim(line[comma+1:], " \t")
	if f.header == "Forwarded" {
		hop = forwardedFor(hop)
	}
	return before, hop
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

// forwardedFor returns the node of an element's for parameter (RFC 7239, 4 and 6).
func forwardedFor(element string) string {
	for element != "" {
		var pair string
		pair, element = firstPair(element)
		name, node, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if ok && strings.EqualFold(name, "for") {
			if inner, quoted := strings.CutPrefix(node, `"`); quoted {
				return strings.TrimSuffix(inner, `"`)
			}
			return node
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
