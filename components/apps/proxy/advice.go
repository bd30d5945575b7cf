package proxy

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/stackd/stackd/registry/expect"
)

// Expects says that the upstreams must answer.
func (c Config) Expects() []expect.Expectation {
	var all []expect.Expectation
	for i, to := range c.To {
		setting := fmt.Sprintf("to[%d]", i)
		if path, ok := strings.CutPrefix(to, "unix:"); ok {
			all = append(all, expect.Answers(setting, "unix", path))
			continue
		}
		u, err := url.Parse(to)
		if err != nil {
			continue // which Validate says
		}
		port := u.Port()
		if port == "" {
			port = u.Scheme
		}
		all = append(all, expect.Answers(setting, "tcp", net.JoinHostPort(u.Hostname(), port)))
	}
	return all
}
