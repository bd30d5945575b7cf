package tests

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// prepareTLS makes the certificates that the stack file says how to make.
func prepareTLS(t *testing.T, stacks string) {
	dir := filepath.Join(stacks, "tls", "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "example.test"} {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
		public, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		for ending, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: public}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(dir, name+ending), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func askTLS(t *testing.T, s *server) {
	dir := filepath.Join(filepath.Dir(s.file), "tls", "tls")
	secure := s.bound("127.0.0.1:00")
	known := x509.NewCertPool()
	for _, name := range []string{"localhost.pem", "example.test.pem"} {
		known.AppendCertsFromPEM(read(t, filepath.Join(dir, name)))
	}
	asStranger := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if page := s.get(asStranger, "/hello?a"); page.status != http.StatusPermanentRedirect || page.header.Get("Location") != "https://127.0.0.1:8444/hello?a" {
		t.Errorf("without TLS the page is %d, at %q", page.status, page.header.Get("Location"))
	}
	if page := s.get(asStranger, "/.well-known/acme-challenge/none"); page.status != http.StatusNotFound {
		t.Errorf("without TLS the challenge is %d", page.status)
	}

	// page asks over a connection that is made anew.
	page := func(network, address, header, name string) {
		t.Helper()
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, header); err != nil {
			t.Fatal(err)
		}
		over := tls.Client(conn, &tls.Config{RootCAs: known, ServerName: name})
		if _, err := fmt.Fprintf(over, "GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
			t.Fatalf("as %s: %v", name, err)
		}
		response, err := http.ReadResponse(bufio.NewReader(over), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "the page at "+address, string(text), "<p>Hello.</p>")
	}
	page("tcp", secure, "", "localhost")
	page("tcp", secure, "", "example.test")
	for i, socket := range []string{"balanced.sock", "second.sock"} {
		n, visitor := s.seen(), fmt.Sprintf("192.0.2.%d", 7+i)
		page("unix", filepath.Join(dir, socket), "PROXY TCP4 "+visitor+" 198.51.100.1 1234 443\r\n", "localhost")
		s.awaitAfter(n, "request", func(r record) bool { return r["remote"] == visitor+":1234" })
	}
}
