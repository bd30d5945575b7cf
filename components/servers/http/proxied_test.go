package http

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/stackd/stackd/registry"
)

// version2 makes a binary PROXY header.
func version2(command, family byte, length int, rest ...byte) string {
	b := append([]byte{}, proxyproto.SIGV2...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	return string(append(b, rest...))
}

func TestProxyProtocol(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	ipv4 := []byte{192, 0, 2, 1, 198, 51, 100, 2, 0x04, 0xd2, 0x01, 0xbb} // 192.0.2.1:1234 to 198.51.100.2:443
	ipv6 := slices.Concat(net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2"), []byte{0x04, 0xd2, 0x01, 0xbb})
	extra := append(slices.Clone(ipv4), 0x03, 0, 4, 1, 2, 3, 4, 0x04, 0, 1, 0) // two extensions
	const visitor, itself = "192.0.2.1:1234 to 198.51.100.2:443", "itself"
	for _, test := range []struct {
		name, header string
		want         string // "" for a refusal
	}{
		{"version 1", "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", visitor},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "[2001:db8::1]:1234 to [2001:db8::2]:443"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", itself},
		{"version 1, unknown with addresses", "PROXY UNKNOWN 192.0.2.1 198.51.100.2 1234 443\r\n", itself},
		{"version 2", version2(1, 0x11, 12, ipv4...), visitor},
		{"version 2, IPv6", version2(1, 0x21, 36, ipv6...), "[2001:db8::1]:1234 to [2001:db8::2]:443"},
		{"version 2 with extensions", version2(1, 0x11, len(extra), extra...), visitor},
		{"version 2, local", version2(0, 0, 0), itself},
		{"version 2, local with addresses", version2(0, 0x11, 12, ipv4...), itself},

		{"none", "", ""},
		{"version 1 without an end", "PROXY TCP4 192.0.2.1 198.51.100.2 " + strings.Repeat("1", 200), ""},
		{"version 1 ended by a line feed", "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\n", ""},
		{"version 1 with a name", "PROXY TCP4 example.org 198.51.100.2 1234 443\r\n", ""},
		{"version 1 with a large port", "PROXY TCP4 192.0.2.1 198.51.100.2 123456 443\r\n", ""},
		{"version 1 in small letters", "proxy TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", ""},
		{"version 2, oversize", version2(1, 0x11, 5000, append(slices.Clone(ipv4), make([]byte, 5000-12)...)...), ""},
		{"version 2, too short for its addresses", version2(1, 0x11, 4, 1, 2, 3, 4), ""},
		{"version 2, unknown command", version2(7, 0x11, 12, ipv4...), ""},
		{"version 3", strings.Replace(version2(1, 0x11, 12, ipv4...), "\x21", "\x31", 1), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.RemoteAddr, " to ", r.Context().Value(http.LocalAddrContextKey))
			}, func(cfg *Config) { cfg.ProxyProtocol = []registry.Network{"127.0.0.0/8"} })
			c := s.dial(t)
			send(t, c, test.header+request)
			from := bufio.NewReader(c)
			if test.want == "" {
				// It may be reset, with some of what was sent unread.
				got, _ := io.ReadAll(from)
				if len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
					t.Errorf("got %q", got)
				}
				s.stop()
				if err := <-s.done; err != nil {
					t.Error(err)
				}
				if log := s.log.String(); !strings.Contains(log, "doesn't begin with a PROXY header") || !strings.Contains(log, "level=DEBUG") {
					t.Errorf("the log has %q", log)
				}
				return
			}
			want := test.want
			if want == itself {
				want = c.LocalAddr().String() + " to " + c.RemoteAddr().String()
			}
			if a := receive(t, from, "GET"); a.text != want {
				t.Errorf("got %q, want %q", a.text, want)
			}
		})
	}
}

// TestProxyProtocolOfOthers connects from where no load balancer is.
func TestProxyProtocolOfOthers(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) },
		func(cfg *Config) { cfg.ProxyProtocol = []registry.Network{"192.0.2.0/24", "unix"} })
	for name, header := range map[string]string{
		"without": "",
		"text":    "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n",
		"unknown": "PROXY UNKNOWN\r\n",
		"binary":  version2(1, 0x11, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0x04, 0xd2, 0x01, 0xbb),
		"local":   version2(0, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			send(t, c, header+"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if header == "" {
				if a := receive(t, bufio.NewReader(c), "GET"); a.status != http.StatusOK || a.text != c.LocalAddr().String() {
					t.Errorf("got %d, %q", a.status, a.text)
				}
				return
			}
			// It may be reset, with some of what was sent unread.
			if got, _ := io.ReadAll(c); !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestProxyProtocolSlow proves that who hasn't sent its header keeps nobody waiting, and isn't waited for.
func TestProxyProtocolSlow(t *testing.T) {
	s := start(t, echo, func(cfg *Config) {
		cfg.ProxyProtocol = []registry.Network{"127.0.0.1"}
		cfg.ReadHeaderTimeout = 200 * time.Millisecond
	})
	var slow []net.Conn
	for _, text := range []string{"", "PROX", string(proxyproto.SIGV2)} {
		c := s.dial(t)
		send(t, c, text)
		slow = append(slow, c)
	}
	quick := s.dial(t)
	send(t, quick, "PROXY UNKNOWN\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := receive(t, bufio.NewReader(quick), "GET"); a.text != `GET /a ""` {
		t.Errorf("got %q", a.text)
	}
	for _, c := range slow {
		if got, err := io.ReadAll(c); err != nil || len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
			t.Errorf("a slow one got %q, %v", got, err)
		}
	}
}

// TestProxyProtocolUnder proves that the header comes before TLS, and over a unix socket, and that what follows it
// is as without.
func TestProxyProtocolUnder(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n"
	t.Run("TLS", func(t *testing.T) {
		cert := certify(t, nil, "example.org")
		s := start(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr, r.TLS != nil) }, func(cfg *Config) {
			cert.speaks(cfg)
			cfg.ProxyProtocol = []registry.Network{"127.0.0.1"}
		})
		plain := s.dial(t)
		send(t, plain, header)
		c := encrypt(t, plain, trust(cert))
		send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if a := receive(t, bufio.NewReader(c), "GET"); a.text != "192.0.2.1:1234true" {
			t.Errorf("got %q", a.text)
		}
	})
	t.Run("unix socket and sendfile", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "file")
		text := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		s := start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Client", r.RemoteAddr)
			http.ServeFile(w, r, name)
		}, func(cfg *Config) { cfg.ProxyProtocol = []registry.Network{"unix"} }, l)
		c := s.dial(t)
		send(t, c, header+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if a := receive(t, bufio.NewReader(c), "GET"); a.header.Get("X-Client") != "192.0.2.1:1234" || a.text != string(text) {
			t.Errorf("got %d bytes for %q", len(a.text), a.header.Get("X-Client"))
		}
	})
}
