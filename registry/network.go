package registry

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Network is a set of clients: an address such as 192.0.2.7 or 2001:db8::7, all addresses of a
// network such as 10.0.0.0/8 or fd00::/8 (CIDR, RFC 4632), or the word unix for those that
// connect to a unix socket, which have no address.
type Network string

// unixClients is the network of those without an address.
const unixClients Network = "unix"

// Check says what is wrong with the network, if anything is.
func (n Network) Check() error {
	_, err := n.prefix()
	return err
}

// prefix returns the addresses; none for the clients of unix sockets.
func (n Network) prefix() (netip.Prefix, error) {
	if n == unixClients {
		return netip.Prefix{}, nil
	}
	if strings.Contains(string(n), "/") {
		p, err := netip.ParsePrefix(string(n))
		switch {
		case err != nil:
			return p, errors.New("it must be " + (&Type{Form: FormNetwork}).Noun())
		case p.Addr().Is4In6():
			return p, errors.New("it must be written as the IPv4 network that it is")
		case p != p.Masked():
			return p, errors.New("it has bits set beyond the mask; it must be " + p.Masked().String() + ", or the address alone")
		}
		return p, nil
	}
	a, err := netip.ParseAddr(string(n))
	if err != nil {
		return netip.Prefix{}, errors.New("it must be " + (&Type{Form: FormNetwork}).Noun())
	}
	if a.Zone() != "" {
		return netip.Prefix{}, errors.New("it must not have a zone")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Clients returns a function that reports whether a client is in one of the networks, by its
// address as [net/http.Request.RemoteAddr] has it: host:port, an address alone, or what a server says
// of a client of a unix socket, which is nothing, a path, or a name with an @ before it. The networks must be
// right, as those in settings are.
func Clients(networks []Network) func(remoteAddr string) bool {
	if len(networks) == 0 {
		return func(string) bool { return false }
	}
	var prefixes []netip.Prefix
	unix := false
	for _, n := range networks {
		p, err := n.prefix()
		switch {
		case err != nil:
			panic("registry: network " + string(n) + ": " + err.Error())
		case n == unixClients:
			unix = true
		default:
			prefixes = append(prefixes, p)
		}
	}
	return func(remoteAddr string) bool {
		host := remoteAddr
		if h, _, err := net.SplitHostPort(remoteAddr); err == nil {
			host = h
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			return unix && (remoteAddr == "" || remoteAddr[0] == '@' || remoteAddr[0] == '/')
		}
		a = a.Unmap().WithZone("")
		for _, p := range prefixes {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
}
