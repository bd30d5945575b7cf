package http

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
)

// certified is a certificate that signs itself, in files.
type certified struct {
	pair
	cert *x509.Certificate
	tls  tls.Certificate
}

// certify makes a certificate for names, changed by change unless that is nil.
func certify(t *testing.T, change func(*x509.Certificate), names ...string) certified {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: strings.Join(names, " ")},
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := certified{pair: pair{registry.Path(filepath.Join(dir, "cert.pem")), registry.Path(filepath.Join(dir, "key.pem"))}}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	encodedKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for path, text := range map[registry.Path][]byte{c.Certificate: encoded, c.Key: encodedKey} {
		if err := os.WriteFile(string(path), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c.tls, err = tls.X509KeyPair(encoded, encodedKey); err != nil {
		t.Fatal(err)
	}
	c.cert = c.tls.Leaf
	return c
}

// speaks has a server use the certificate.
func (c certified) speaks(cfg *Config) { cfg.TLS.Certificate, cfg.TLS.Key = c.Certificate, c.Key }

// trust is a client's configuration that knows the certificates.
func trust(all ...certified) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	for _, c := range all {
		config.RootCAs.AddCert(c.cert)
	}
	return config
}

// encrypt begins TLS on c.
func encrypt(t *testing.T, c net.Conn, config *tls.Config) *tls.Conn {
	t.Helper()
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = "127.0.0.1"
	}
	encrypted := tls.Client(c, config)
	if err := encrypted.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return encrypted
}

func TestTLS(t *testing.T) {
	c := certify(t, nil, "example.org")
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", tls.VersionName(r.TLS.Version), " ", r.TLS.CurveID)
	}, c.speaks)
	for _, test := range []struct {
		name   string
		http2  bool
		newest uint16
		want   string
	}{
		{"as browsers do", true, 0, "HTTP/2.0 TLS 1.3 X25519MLKEM768"},
		{"HTTP/1.1", false, 0, "HTTP/1.1 TLS 1.3 X25519MLKEM768"},
		{"TLS 1.2", true, tls.VersionTLS12, "HTTP/2.0 TLS 1.2 X25519"},
		{"TLS 1.1", false, tls.VersionTLS11, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := trust(c)
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, test.newest
			tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: test.http2}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Get("https://" + s.addr)
			if test.want == "" {
				if err == nil {
					resp.Body.Close()
					t.Error("it was spoken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
	t.Run("min_version", func(t *testing.T) {
		s := start(t, echo, func(cfg *Config) { c.speaks(cfg); cfg.TLS.MinVersion = "tls1.3" })
		config := trust(c)
		config.ServerName, config.MaxVersion = "example.org", tls.VersionTLS12
		if err := tls.Client(s.dial(t), config).HandshakeContext(t.Context()); err == nil {
			t.Error("TLS 1.2 was spoken")
		}
	})
}

func TestSNI(t *testing.T) {
	first, second, third := certify(t, nil, "example.org", "www.example.org"), certify(t, nil, "*.example.net"), certify(t, nil, "example.org")
	s := start(t, echo, func(cfg *Config) {
		first.speaks(cfg)
		cfg.TLS.More = []pair{second.pair, third.pair}
	})
	for name, want := range map[string]certified{
		"example.org": first, "www.example.org": first, "a.example.net": second, "elsewhere.example": first, "": first,
	} {
		t.Run(name, func(t *testing.T) {
			c := tls.Client(s.dial(t), &tls.Config{ServerName: name, InsecureSkipVerify: true})
			if err := c.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := c.ConnectionState().PeerCertificates[0]; !got.Equal(want.cert) {
				t.Errorf("got the certificate for %v", got.DNSNames)
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	c, member, stranger := certify(t, nil, "example.org"), certify(t, nil, "member"), certify(t, nil, "stranger")
	for _, test := range []struct {
		policy string
		client *certified
		want   string
	}{
		{"required", &member, "member"},
		{"required", &stranger, ""},
		{"required", nil, ""},
		{"optional", &member, "member"},
		{"optional", &stranger, ""},
		{"optional", nil, "nobody"},
	} {
		t.Run(fmt.Sprint(test.policy, " ", test.client != nil, " ", test.want), func(t *testing.T) {
			s := start(t, func(w http.ResponseWriter, r *http.Request) {
				if len(r.TLS.PeerCertificates) == 0 {
					fmt.Fprint(w, "nobody")
					return
				}
				fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
			}, func(cfg *Config) {
				c.speaks(cfg)
				cfg.TLS.ClientCA, cfg.TLS.ClientCertificate = member.Certificate, test.policy
			})
			config := trust(c)
			if test.client != nil {
				// Sent even if the server's list of authorities hasn't its issuer.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &test.client.tls, nil }
			}
			tr := &http.Transport{TLSClientConfig: config}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Get("https://" + s.addr)
			if err != nil {
				if test.want != "" {
					t.Error(err)
				}
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// open builds the server with these settings, and returns what it logs.
func open(t *testing.T, change func(*Config)) (instance *registry.Instance, log string, err error) {
	t.Helper()
	cfg := Component.Default
	change(&cfg)
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := reg.Lookup(registry.KindServer, "http")
	if found := d.Check(&cfg); len(found) > 0 {
		t.Fatalf("the settings are refused: %v", found)
	}
	var b bytes.Buffer
	instance, err = d.Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&b, nil)))
	if err == nil {
		t.Cleanup(func() {
			if err := instance.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return instance, b.String(), err
}

// write makes a file.
func write(t *testing.T, text string) registry.Path {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return registry.Path(path)
}

func TestCertificateFiles(t *testing.T) {
	good, other := certify(t, nil, "example.org"), certify(t, nil, "example.org")
	const locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	const lockedLong = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	gone := registry.Path(filepath.Join(t.TempDir(), "gone.pem"))
	for _, test := range []struct {
		name string
		tls  encryption
		want string
	}{
		{"no certificate there", encryption{Certificate: gone, Key: good.Key}, "tls: certificate: open " + string(gone) + ": no such file or directory"},
		{"no key there", encryption{Certificate: good.Certificate, Key: gone}, "tls: key: open " + string(gone) + ": no such file or directory"},
		{"another's key", encryption{Certificate: good.Certificate, Key: other.Key}, "tls: certificate " + string(good.Certificate) + " with key " + string(other.Key) + ": private key does not match public key"},
		{"another's key in more", encryption{Certificate: good.Certificate, Key: good.Key, More: []pair{{other.Certificate, good.Key}}}, "private key does not match public key"},
		{"exchanged", encryption{Certificate: good.Key, Key: good.Certificate}, "tls: certificate: " + string(good.Key) + " has no certificate in PEM"},
		{"a certificate for a key", encryption{Certificate: good.Certificate, Key: good.Certificate}, "tls: key: " + string(good.Certificate) + " has no private key in PEM"},
		{"encrypted key", encryption{Certificate: good.Certificate, Key: write(t, locked)}, "is encrypted with a passphrase; it must be without one"},
		{"encrypted key of the old form", encryption{Certificate: good.Certificate, Key: write(t, lockedLong)}, "is encrypted with a passphrase; it must be without one"},
		{"broken certificate", encryption{Certificate: write(t, broken), Key: good.Key}, "malformed certificate"},
		{"no authority there", encryption{Certificate: good.Certificate, Key: good.Key, ClientCA: gone}, "tls: client_ca: open " + string(gone)},
		{"authority of nothing", encryption{Certificate: good.Certificate, Key: good.Key, ClientCA: good.Key}, "tls: client_ca: " + string(good.Key) + " has no certificate in PEM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.tls.MinVersion, test.tls.ClientCertificate = "tls1.2", "required"
			_, _, err := open(t, func(cfg *Config) { cfg.TLS = test.tls })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want %s", err, test.want)
			}
		})
	}
}

func TestCertificateWarnings(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*x509.Certificate)
		mode   os.FileMode
		want   string
	}{
		{"fine", nil, 0o640, ""},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, 0o600, "the certificate has expired; clients will refuse it"},
		{"too early", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, 0o600, "the certificate isn't valid yet; clients will refuse it"},
		{"key for everybody", nil, 0o644, "every user of this machine can read the private key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := certify(t, test.change, "example.org")
			if err := os.Chmod(string(c.Key), test.mode); err != nil {
				t.Fatal(err)
			}
			_, log, err := open(t, c.speaks)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" && log != "" || !strings.Contains(log, test.want) {
				t.Errorf("the log has %q; want %q", log, test.want)
			}
		})
	}
}

// TestCertificateChanges looks whether the files are what the instance depends on.
func TestCertificateChanges(t *testing.T) {
	for i, name := range []string{"certificate", "key", "certificate of more", "key of more", "client_ca"} {
		t.Run(name, func(t *testing.T) {
			first, second, ca := certify(t, nil, "a"), certify(t, nil, "b"), certify(t, nil, "c")
			instance, _, err := open(t, func(cfg *Config) {
				first.speaks(cfg)
				cfg.TLS.More, cfg.TLS.ClientCA = []pair{second.pair}, ca.Certificate
			})
			if err != nil {
				t.Fatal(err)
			}
			if instance.Changed() {
				t.Error("it has changed from the beginning")
			}
			path := []registry.Path{first.Certificate, first.Key, second.Certificate, second.Key, ca.Certificate}[i]
			if err := os.WriteFile(string(path), []byte("another"), 0o600); err != nil {
				t.Fatal(err)
			}
			if !instance.Changed() {
				t.Error("the change isn't noticed")
			}
		})
	}
}

func TestTLSSettings(t *testing.T) {
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := reg.Lookup(registry.KindServer, "http")
	for _, test := range []struct {
		name   string
		change func(*encryption)
		want   string
	}{
		{"none", func(*encryption) {}, "[]"},
		{"one", func(e *encryption) { e.Certificate, e.Key = "/a", "/b" }, "[]"},
		{"no key", func(e *encryption) { e.Certificate = "/a" }, "[{tls.key is missing; it must be the file with the certificate's private key, in PEM}]"},
		{"no certificate", func(e *encryption) { e.Key = "/a" }, "[{tls.certificate is missing; it must be the file with the certificate, in PEM}]"},
		{"an authority alone", func(e *encryption) { e.ClientCA = "/a" }, "[{tls.certificate is missing; it must be the file with the certificate, in PEM}]"},
		{"half a pair", func(e *encryption) { e.Certificate, e.Key, e.More = "/a", "/b", []pair{{Certificate: "/c"}} }, "[{tls.more[0].key is missing; it must be a path}]"},
		{"too old", func(e *encryption) { e.MinVersion = "tls1.1" }, "[{tls.min_version is tls1.1; it must be tls1.2 or tls1.3}]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := d.Default().(*Config)
			test.change(&cfg.TLS)
			if got := fmt.Sprint(d.Check(cfg)); got != test.want {
				t.Errorf("got %s; want %s", got, test.want)
			}
		})
	}
}

// TestWrongPort sends HTTP where TLS is spoken, and the other way round.
func TestWrongPort(t *testing.T) {
	long := func(cfg *Config) { cfg.ReadHeaderTimeout = time.Hour }
	t.Run("HTTP to TLS", func(t *testing.T) {
		c := certify(t, nil, "example.org")
		s := start(t, echo, func(cfg *Config) { c.speaks(cfg); long(cfg) })
		plain := s.dial(t)
		send(t, plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		got, err := io.ReadAll(plain)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.0 400 ") || !strings.Contains(string(got), "Client sent an HTTP request to an HTTPS server.") {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("TLS to HTTP", func(t *testing.T) {
		s := start(t, echo, long)
		err := tls.Client(s.dial(t), &tls.Config{ServerName: "example.org"}).HandshakeContext(t.Context())
		if header, ok := errors.AsType[tls.RecordHeaderError](err); !ok || string(header.RecordHeader[:]) != "HTTP/" {
			t.Errorf("the client sees %v", err)
		}
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if got := s.log.String(); !strings.Contains(got, "level=DEBUG") || !strings.Contains(got, errTLS.Error()) {
			t.Errorf("the log has %s", got)
		}
	})
}

// TestSlowHandshake proves that nobody is waited for who doesn't finish it.
func TestSlowHandshake(t *testing.T) {
	c := certify(t, nil, "example.org")
	s := start(t, echo, func(cfg *Config) { c.speaks(cfg); cfg.ReadHeaderTimeout = time.Second }) // in which the last one must be through
	for _, text := range []string{"", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		slow := s.dial(t)
		send(t, slow, text)
		if got, err := io.ReadAll(slow); err != nil || len(got) > 0 {
			t.Errorf("after %q the server sent %q, %v; want it to close", text, got, err)
		}
	}
	after := encrypt(t, s.dial(t), trust(c)) // and then, a header that isn't finished
	send(t, after, "GET / HTTP/1.1\r\n")
	if got, err := io.ReadAll(after); err != nil || len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("the server sent %q, %v; want it to close", got, err)
	}
}

// TestLimitsUnderTLS proves that a connection has the limits that it has without.
func TestLimitsUnderTLS(t *testing.T) {
	c := certify(t, nil, "example.org")
	t.Run("body", func(t *testing.T) {
		s := start(t, echo, func(cfg *Config) {
			c.speaks(cfg)
			cfg.MaxBody, cfg.BodyIdleTimeout = 8, 50*time.Millisecond
		})
		for request, want := range map[string]int{
			"Content-Length: 9\r\n\r\n":                                 http.StatusRequestEntityTooLarge,
			"Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n": http.StatusRequestEntityTooLarge,
			"Content-Length: 5\r\n\r\nhe":                               http.StatusRequestTimeout,
			"Content-Length: 2\r\n\r\nhe":                               http.StatusOK,
		} {
			client := encrypt(t, s.dial(t), trust(c))
			send(t, client, "POST / HTTP/1.1\r\nHost: x\r\n"+request)
			if a := receive(t, bufio.NewReader(client), "POST"); a.status != want {
				t.Errorf("%q got %d; want %d", request, a.status, want)
			}
		}
	})
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("reader, http2 %t", http2), func(t *testing.T) {
			failed := make(chan error, 1)
			s := start(t, func(w http.ResponseWriter, _ *http.Request) {
				for block := make([]byte, 256<<10); ; {
					if _, err := w.Write(block); err != nil {
						failed <- err
						return
					}
				}
			}, func(cfg *Config) { c.speaks(cfg); cfg.WriteIdleTimeout = 50 * time.Millisecond })
			tr := &http.Transport{TLSClientConfig: trust(c), ForceAttemptHTTP2: http2}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Get("https://" + s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if err := <-failed; err == nil {
				t.Error("the write did not fail")
			}
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("the response looks whole")
			}
		})
	}
	t.Run("connection of an app", func(t *testing.T) {
		const idle = 20 * time.Millisecond
		s := start(t, func(w http.ResponseWriter, _ *http.Request) {
			inside, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer inside.Close()
			<-time.After(5 * idle)
			if _, err := io.WriteString(inside, "well?"); err != nil {
				t.Error(err)
			}
			if _, err := io.CopyN(inside, inside, 4); err != nil {
				t.Error(err)
			}
		}, func(cfg *Config) {
			c.speaks(cfg)
			cfg.BodyIdleTimeout, cfg.WriteIdleTimeout, cfg.IdleTimeout = idle, idle, idle
		})
		client := encrypt(t, s.dial(t), trust(c))
		send(t, client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := io.ReadFull(client, make([]byte, len("well?"))); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * idle)
		send(t, client, "more")
		if got, err := io.ReadAll(client); err != nil || string(got) != "more" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestEndUnderTLS proves that a request of which a part is there is answered, and that idle connections are closed.
func TestEndUnderTLS(t *testing.T) {
	c := certify(t, nil, "example.org")
	s := start(t, echo, c.speaks)
	idle, begun := encrypt(t, s.dial(t), trust(c)), encrypt(t, s.dial(t), trust(c))
	fromIdle := bufio.NewReader(idle)
	send(t, idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, fromIdle, "GET")
	send(t, begun, "GET /b HTTP/1.1\r\nHo")
	stopped(t, s)
	if rest, err := io.ReadAll(fromIdle); len(rest) > 0 || err != nil {
		t.Errorf("the idle connection got %q, %v; want it closed", rest, err)
	}
	send(t, begun, "st: x\r\n\r\n")
	if a := receive(t, bufio.NewReader(begun), "GET"); a.text != `GET /b ""` || !a.close {
		t.Errorf("the request got %q, close %v", a.text, a.close)
	}
	if err := <-s.done; err != nil {
		t.Errorf("serve returned %v", err)
	}
}
