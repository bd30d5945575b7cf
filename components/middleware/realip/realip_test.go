package realip

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{
		Name: "loopback",
		Settings: func(*testing.T) Config {
			return Config{Trusted: []registry.Network{"127.0.0.1", "::1"}, Header: "X-Forwarded-For"}
		},
		Request: func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
	})
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)(app)
}

func TestClient(t *testing.T) {
	const proxy = "127.0.0.1:5000"
	for _, test := range []struct {
		name   string
		header string
		peer   string
		lines  []string
		want   string
	}{
		{"no field", "", proxy, nil, proxy},
		{"one", "", proxy, []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"one with a port", "", proxy, []string{"192.0.2.1:99"}, "192.0.2.1:99"},
		{"IPv6", "", proxy, []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{"IPv6 in brackets", "", proxy, []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"IPv6 with a port", "", proxy, []string{"[2001:db8::1]:99"}, "[2001:db8::1]:99"},
		{"IPv6 with a zone", "", proxy, []string{"fe80::1%eth0"}, "[fe80::1]:0"},
		{"IPv4 in IPv6", "", proxy, []string{"::ffff:192.0.2.1"}, "192.0.2.1:0"},

		{"peer not trusted", "", "192.0.2.9:1", []string{"192.0.2.1"}, "192.0.2.9:1"},
		{"peer of a trusted network", "", "10.1.2.3:1", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer beside the network", "", "11.1.2.3:1", []string{"192.0.2.1"}, "11.1.2.3:1"},
		{"peer in IPv6 form", "", "[::ffff:127.0.0.1]:1", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer of IPv6", "", "[fd00::5]:1", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer over a unix socket", "", "@", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer of a path", "", "/run/proxy.sock", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer without an address", "", "", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"peer that is a name", "", "localhost:1", []string{"192.0.2.1"}, "localhost:1"},

		{"forged by the client", "", proxy, []string{"198.51.100.1, 192.0.2.1"}, "192.0.2.1:0"},
		{"forged as a proxy", "", proxy, []string{"10.0.0.1, 192.0.2.1"}, "192.0.2.1:0"},
		{"forged in a line of its own", "", proxy, []string{"198.51.100.1", "192.0.2.1"}, "192.0.2.1:0"},
		{"forged nonsense", "", proxy, []string{`"x, 192.0.2.1`}, "192.0.2.1:0"},
		{"over two proxies", "", proxy, []string{"192.0.2.1, 10.0.0.1"}, "192.0.2.1:0"},
		{"over two proxies, in two lines", "", proxy, []string{"198.51.100.1,192.0.2.1", "10.0.0.1"}, "192.0.2.1:0"},
		{"a client inside", "", proxy, []string{"10.0.0.7, 10.0.0.1"}, "10.0.0.7:0"},
		{"unknown", "", proxy, []string{"unknown"}, proxy},
		{"unknown before a proxy", "", proxy, []string{"192.0.2.1, unknown, 10.0.0.1"}, "10.0.0.1:0"},
		{"empty", "", proxy, []string{""}, proxy},
		{"empty entry", "", proxy, []string{"192.0.2.1,,"}, proxy},
		{"a name", "", proxy, []string{"example.org"}, proxy},
		{"spaces", "", proxy, []string{" \t192.0.2.1 \t"}, "192.0.2.1:0"},

		{"another field", "x-real-ip", proxy, []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"forwarded", "Forwarded", proxy, []string{"for=192.0.2.1"}, "192.0.2.1:0"},
		{"forwarded with more", "forwarded", proxy, []string{`proto=https; FOR="192.0.2.1:99";by=10.0.0.1`}, "192.0.2.1:99"},
		{"forwarded IPv6", "Forwarded", proxy, []string{`for="[2001:db8::1]:99"`}, "[2001:db8::1]:99"},
		{"forwarded over two", "Forwarded", proxy, []string{`for=198.51.100.1, for=192.0.2.1, for="10.0.0.1"`}, "192.0.2.1:0"},
		{"forwarded with a comma in quotes", "Forwarded", proxy, []string{`for=192.0.2.1;host="a,for=10.0.0.7"`}, "192.0.2.1:0"},
		{"forwarded with a quote in quotes", "Forwarded", proxy, []string{`for=192.0.2.1;host="a\",for=198.51.100.1"`}, "192.0.2.1:0"},
		{"forwarded with a semicolon in quotes", "Forwarded", proxy, []string{`host="a;for=198.51.100.1;b";for=192.0.2.1`}, "192.0.2.1:0"},
		{"forwarded after an open quote", "Forwarded", proxy, []string{`for=198.51.100.1;host=", for=192.0.2.1`}, "192.0.2.1:0"},
		{"forwarded after an open quote, with quotes", "Forwarded", proxy, []string{`for=198.51.100.1;host=", for=192.0.2.1;host="a,b\\"`}, "192.0.2.1:0"},
		{"forwarded by somebody hidden", "Forwarded", proxy, []string{"for=192.0.2.1, for=_hidden"}, proxy},
		{"forwarded without for", "Forwarded", proxy, []string{"for=192.0.2.1, proto=https"}, proxy},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Trusted: []registry.Network{"127.0.0.1", "10.0.0.0/8", "fd00::/8", "unix"}, Header: test.header}
			if cfg.Header == "" {
				cfg.Header = "X-Forwarded-For"
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			if test.lines != nil {
				r.Header[http.CanonicalHeaderKey(cfg.Header)] = test.lines
			}
			var got string
			wrap(t, cfg, func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }).ServeHTTP(httptest.NewRecorder(), r)
			if got != test.want {
				t.Errorf("the client is %q, want %q", got, test.want)
			}
			if r.RemoteAddr != test.peer {
				t.Errorf("the request given was changed to %q", r.RemoteAddr)
			}
		})
	}
}

// TestOtherFields looks whether a field counts that isn't the one of the settings.
func TestOtherFields(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("Forwarded", "for=192.0.2.1")
	cfg := Config{Trusted: []registry.Network{"127.0.0.1"}, Header: "X-Real-Ip"}
	wrap(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr != "127.0.0.1:1" {
			t.Errorf("the client is %q", r.RemoteAddr)
		}
	}).ServeHTTP(httptest.NewRecorder(), r)
}

// TestUnixNotTrusted needs a case of its own: the word isn't an address.
func TestUnixNotTrusted(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "@"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	cfg := Config{Trusted: []registry.Network{"0.0.0.0/0", "::/0"}, Header: "X-Forwarded-For"}
	wrap(t, cfg, func(_ http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr != "@" {
			t.Errorf("the client is %q", r.RemoteAddr)
		}
	}).ServeHTTP(httptest.NewRecorder(), r)
}

// TestScheme looks whether a request counts as one over TLS further in.
func TestScheme(t *testing.T) {
	const proxy = "127.0.0.1:5000"
	proto := func(values ...string) http.Header { return http.Header{"X-Forwarded-Proto": values} }
	for _, test := range []struct {
		name   string
		header string
		scheme string
		peer   string
		fields http.Header
		tls    bool // of the connection
		want   bool
	}{
		{"nothing said", "", "", proxy, nil, false, false},
		{"nothing said over TLS", "", "", proxy, nil, true, true},
		{"https", "", "", proxy, proto("https"), false, true},
		{"in capitals", "", "", proxy, proto("HTTPS"), false, true},
		{"http to the proxy, TLS from there", "", "", proxy, proto("http"), true, false},
		{"peer not trusted", "", "", "192.0.2.9:1", proto("https"), false, false},
		{"peer not trusted, over TLS", "", "", "192.0.2.9:1", proto("http"), true, true},
		{"peer over a unix socket", "", "", "@", proto("https"), false, true},
		{"the nearest proxy's", "", "", proxy, proto("http, https"), false, true},
		{"the nearest proxy's, in two lines", "", "", proxy, proto("https", "http"), false, false},
		{"nonsense", "", "", proxy, proto("ftp"), true, true},
		{"empty", "", "", proxy, proto(""), true, true},
		{"another field", "", "x-scheme", proxy, http.Header{"X-Scheme": {"https"}, "X-Forwarded-Proto": {"http"}}, false, true},
		{"no field", "", "-", proxy, proto("https"), false, false},
		{"forwarded", "Forwarded", "", proxy, http.Header{"Forwarded": {"for=192.0.2.1;proto=https"}}, false, true},
		{"forwarded, and the other field", "Forwarded", "", proxy, http.Header{"Forwarded": {"for=192.0.2.1"}, "X-Forwarded-Proto": {"https"}}, false, false},
		{"forwarded over two", "Forwarded", "", proxy, http.Header{"Forwarded": {`for=198.51.100.1;proto=http, for=192.0.2.1;proto="https", for=10.0.0.1;proto=http`}}, false, true},
		{"forwarded, no field", "Forwarded", "-", proxy, http.Header{"Forwarded": {"for=192.0.2.1;proto=https"}}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Component.Default
			cfg.Trusted = []registry.Network{"127.0.0.1", "10.0.0.0/8", "unix"}
			if test.header != "" {
				cfg.Header = test.header
			}
			if test.scheme != "" {
				cfg.Scheme = strings.TrimPrefix(test.scheme, "-")
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			r.Header = test.fields
			if test.tls {
				r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{{}}}
			}
			wrap(t, cfg, func(_ http.ResponseWriter, inner *http.Request) {
				if got := inner.TLS != nil; got != test.want {
					t.Errorf("over TLS: %t, want %t", got, test.want)
				}
				if inner != r && inner.TLS != nil && len(inner.TLS.PeerCertificates) > 0 {
					t.Error("the proxy's certificate became the client's")
				}
			}).ServeHTTP(httptest.NewRecorder(), r)
			if got := r.TLS != nil; got != test.tls {
				t.Error("the request given was changed")
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"fine", Config{Header: "A", Scheme: "B"}, ""},
		{"no scheme", Config{Header: "A"}, ""},
		{"a field", Config{Header: "A B"}, `header is "A B"; it must be the name of a header field, such as X-Forwarded-For`},
		{"another field", Config{Header: "A", Scheme: "B:"}, `scheme is "B:"; it must be the name of a header field, such as X-Forwarded-For`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzClient looks for values that make it panic, or believe what stands left of the entry that
// the proxy wrote.
func FuzzClient(f *testing.F) {
	for _, sent := range []string{"192.0.2.7", `for="[::1]:1";a="\"`, "for=a,", `"`, "a, b\\", ";for=192.0.2.7;"} {
		f.Add(sent, "example.org")
		f.Add("", sent)
	}
	trusts := registry.Clients([]registry.Network{"127.0.0.0/8"})
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, sent, host string) {
		for _, test := range []struct{ header, entry string }{
			{"X-Forwarded-For", "192.0.2.1"},
			{"Forwarded", "for=192.0.2.1"},
			{"Forwarded", `host="` + quote.Replace(host) + `";for="192.0.2.1"`},
		} {
			line := sent + ", " + test.entry
			r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{test.header: {line}}}
			finder := &finder{header: test.header, scheme: "X-Forwarded-Proto", trusts: trusts}
			if got, scheme := finder.find(r); got.String() != "192.0.2.1:0" || scheme != "" {
				t.Errorf("%s: %q: the client is %v, by %q", test.header, line, got, scheme)
			}
			r.Header[test.header] = []string{sent}
			finder.find(r) // whatever it finds, without a panic
		}
	})
}
