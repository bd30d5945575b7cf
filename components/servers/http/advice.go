package http

import (
	"fmt"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
)

// Traits says whether clients speak TLS.
func (c Config) Traits(t registry.Traits) registry.Traits {
	t.TLS = c.TLS.Certificate != ""
	return t
}

// Expects says that certificates must be there, and their keys be read by nobody else.
func (c Config) Expects() []expect.Expectation {
	if c.TLS.Certificate == "" {
		return nil
	}
	of := func(prefix string, p pair) []expect.Expectation {
		return []expect.Expectation{
			expect.Certificate(prefix+"certificate", string(p.Certificate)),
			expect.File(prefix+"key", string(p.Key)), expect.Private(prefix+"key", string(p.Key)),
		}
	}
	all := of("tls.", pair{c.TLS.Certificate, c.TLS.Key})
	for i, p := range c.TLS.More {
		all = append(all, of(fmt.Sprintf("tls.more[%d].", i), p)...)
	}
	return append(all, expect.File("tls.client_ca", string(c.TLS.ClientCA)))
}
