package registry_test

import (
	"testing"

	"github.com/stackd/stackd/registry"
)

func TestNetworkCheck(t *testing.T) {
	const form = "it must be an address such as 192.0.2.7, a network such as 10.0.0.0/8, or unix"
	for _, tt := range []struct{ network, want string }{
		{"192.0.2.7", ""},
		{"10.0.0.0/8", ""},
		{"0.0.0.0/0", ""},
		{"2001:db8::7", ""},
		{"fd00::/8", ""},
		{"::ffff:192.0.2.7", ""},
		{"unix", ""},
		{"", form},
		{"localhost", form},
		{"10.0.0.0/33", form},
		{"10.0.0/8", form},
		{"192.0.2.7:80", form},
		{"fe80::1%eth0", "it must not have a zone"},
		{"10.1.2.3/8", "it has bits set beyond the mask; it must be 10.0.0.0/8, or the address alone"},
		{"::ffff:10.0.0.0/104", "it must be written as the IPv4 network that it is"},
	} {
		t.Run(tt.network, func(t *testing.T) {
			got := ""
			if err := registry.Network(tt.network).Check(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestClients(t *testing.T) {
	in := registry.Clients([]registry.Network{"10.0.0.0/8", "192.0.2.7", "fd00::/8", "unix"})
	for address, want := range map[string]bool{
		"10.255.0.1:1234":        true,
		"10.255.0.1":             true,
		"11.0.0.1:1":             false,
		"192.0.2.7:80":           true,
		"192.0.2.8:80":           false,
		"[::ffff:10.0.0.1]:4":    true,
		"[fd00::1%eth0]:5":       true,
		"[fe80::1]:5":            false,
		"":                       true,
		"@":                      true,
		"@name":                  true,
		"/run/proxy.sock":        true,
		"10.0.0.1.example.org:1": false,
		"nonsense":               false,
	} {
		if got := in(address); got != want {
			t.Errorf("%q: got %t, want %t", address, got, want)
		}
	}
	if registry.Clients(nil)("") {
		t.Error("no network has a client of a unix socket")
	}
}
