package local

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRequest(t *testing.T) {
	tests := []struct {
		name       string
		peer, host string
		header     http.Header
		want       bool
	}{
		{"localhost", "127.0.0.1:9", "localhost", nil, true},
		{"localhost with a port", "127.0.0.1:9", "localhost:8080", nil, true},
		{"LOCALHOST.", "127.0.0.1:9", "LOCALHOST.", nil, true},
		{"a name under localhost", "127.0.0.1:9", "app.localhost:8080", nil, true},
		{"another loopback address", "127.9.9.9:9", "127.1.2.3:8080", nil, true},
		{"IPv6", "[::1]:9", "[::1]:8080", nil, true},
		{"IPv6 without a port", "[::1]:9", "[::1]", nil, true},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:8080", nil, true},
		{"own origin", "127.0.0.1:9", "localhost:8080", http.Header{"Origin": {"http://localhost:8080"}}, true},

		{"peer elsewhere", "192.0.2.1:9", "localhost", nil, false},
		{"IPv6 peer elsewhere", "[2001:db8::1]:9", "localhost", nil, false},
		{"peer on a unix socket", "@", "localhost", nil, false},
		{"no peer", "", "localhost", nil, false},
		{"peer without a port", "127.0.0.1", "localhost", nil, false},
		{"host elsewhere", "127.0.0.1:9", "example.org", nil, false},
		{"no host", "127.0.0.1:9", "", nil, false},
		{"rebound name", "127.0.0.1:9", "127.0.0.1.example.org", nil, false},
		{"name that begins like it", "127.0.0.1:9", "localhost.example.org", nil, false},
		{"name that ends like it", "127.0.0.1:9", "notlocalhost", nil, false},
		{"any address", "127.0.0.1:9", "0.0.0.0:8080", nil, false},
		{"private address", "127.0.0.1:9", "192.168.1.1", nil, false},
		{"octal address", "127.0.0.1:9", "0177.0.0.1", nil, false},
		{"address as a number", "127.0.0.1:9", "2130706433", nil, false},
		{"open bracket", "127.0.0.1:9", "[::1", nil, false},
		{"user in the host", "127.0.0.1:9", "localhost@example.org", nil, false},
		{"foreign origin", "127.0.0.1:9", "localhost", http.Header{"Origin": {"https://example.org"}}, false},
		{"no origin", "127.0.0.1:9", "localhost", http.Header{"Origin": {"null"}}, false},
		{"second origin", "127.0.0.1:9", "localhost", http.Header{"Origin": {"http://localhost", "https://example.org"}}, false},
	}
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded", "X-Forwarded-Client-Cert", "Via", "X-Real-Ip",
		"True-Client-Ip", "Cf-Connecting-Ip", "Cf-Ray", "X-Client-Ip", "X-Original-Url", "X-Envoy-External-Address", "Fastly-Client-Ip",
		"X-Cluster-Client-Ip", "Cdn-Loop", "x-forwarded-for", "X_Forwarded_For",
	} {
		tests = append(tests, struct {
			name       string
			peer, host string
			header     http.Header
			want       bool
		}{name, "127.0.0.1:9", "localhost", http.Header{name: {"127.0.0.1"}}, false})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.RemoteAddr, r.Host = test.peer, test.host
			if test.header != nil {
				r.Header = test.header
			}
			if got := Request(r); got != test.want {
				t.Errorf("got %v; want %v", got, test.want)
			}
		})
	}
}
