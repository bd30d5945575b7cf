package registry

import (
	"net"
	"net/netip"
	"strings"

	"github.com/stackd/stackd/registry/expect"
)

// A Warning is what settings say of themselves that is legal and hardly wanted. A check of the stack file
// shows it; nothing else does.
//
// Settings warn by a method:
//
//	func (c Config) Warnings(site registry.Site) []registry.Warning
//
// It must be pure. It is asked only for settings that broke no constraint.
type Warning struct {
	// Concern says what kind of warning it is.
	Concern Concern
	// Setting is the path to the setting, such as "cookie.secure"; empty for the component as a whole.
	Setting string
	// Problem is what it is and what it should be, such as "is never, so that whoever listens on the line
	// can take sessions over; it should be auto or always".
	Problem string
}

// A Concern is the rule that a component's warning comes under. It is the rule's id for users: the
// manual has a page on each.
type Concern string

// The concerns of components.
const (
	// Unsafe is a setting that takes a protection away, as its name says: unsafe_html, allow_breach.
	Unsafe Concern = "unsafe-setting"
	// Exposed is that others can reach what is meant for the people who run the server: pages that show its
	// inside, or a protocol in which a client may claim to be anybody.
	Exposed Concern = "exposed"
	// Clear is that what lets somebody in, such as a cookie or a password, goes over a network
	// unencrypted.
	Clear Concern = "clear-text"
	// Development is what helps those who develop a stack, and costs something where it serves others.
	Development Concern = "development"
)

// Concerns returns all concerns.
func Concerns() []Concern { return []Concern{Unsafe, Exposed, Clear, Development} }

// Site is what settings are told of the stack that they are part of, for their warnings.
type Site struct {
	// Public says that a server listens where other machines may reach it; for a server's own
	// settings, that this one does.
	Public bool
	// Clear says that such a server speaks without TLS, and that for some URL no middleware further out turns away
	// who came so.
	Clear bool
}

// Warnings returns what the settings, a pointer as [Definition.Default] returns it, say against
// themselves.
func (d *Definition) Warnings(cfg any, site Site) []Warning {
	if own, ok := cfg.(interface{ Warnings(site Site) []Warning }); ok {
		return own.Warnings(site)
	}
	return nil
}

// Expects returns what the settings, a pointer as [Definition.Default] returns it, rely on outside of the
// stack file.
func (d *Definition) Expects(cfg any) []expect.Expectation {
	if own, ok := cfg.(interface{ Expects() []expect.Expectation }); ok {
		return own.Expects()
	}
	return nil
}

// Public reports whether others than this machine may reach a server at the address: it is neither a
// unix socket nor loopback. It asks no network, so a name but localhost counts as public.
func (a Address) Public() bool {
	network, address := a.Network()
	if network == "unix" {
		return false
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.Unmap().IsLoopback()
	}
	return !strings.EqualFold(host, "localhost")
}

// FrontWarnings are those of a server that takes whoever connects for the web server in front, and believes what it
// says of the client.
func FrontWarnings(site Site) []Warning {
	if !site.Public {
		return nil
	}
	return []Warning{{
		Concern: Exposed, Setting: "listen",
		Problem: "is an address that other machines can reach, and whoever does is taken for the web server: it says who the client is, and what user has logged in; it should be 127.0.0.1 or a unix socket",
	}}
}
