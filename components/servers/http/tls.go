package http

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
)

// encryption is what there is to say about TLS.
type encryption struct {
	// Certificate is the file with the certificate and behind it those that lead to its authority, in PEM,
	// such as certbot's fullchain.pem. Without one the server speaks no TLS.
	Certificate registry.Path `yaml:"certificate"`
	// Key is the file with the certificate's private key, in PEM and without a passphrase. Only the user that
	// stackd runs as should be able to read it.
	Key registry.Path `yaml:"key"`
	// More are further certificates: for other names, or of another kind for the same. A client gets the first one
	// that is for the name which it asks for and that it can use; when there is none, the first of all.
	More []pair `yaml:"more" validate:"dive"`
	// MinVersion is the oldest version of TLS that is spoken: tls1.2 or tls1.3.
	MinVersion string `yaml:"min_version" validate:"oneof=tls1.2 tls1.3"`
	// ClientCA is a file with certificates of authorities, in PEM. With it clients are asked for a certificate
	// that one of these has signed.
	ClientCA registry.Path `yaml:"client_ca"`
	// ClientCertificate says what becomes of a client that has none: required refuses it, optional lets it in. One that
	// has another authority's is refused in either case.
	ClientCertificate string `yaml:"client_certificate" validate:"oneof=required optional"`
}

// pair is a certificate and its key.
type pair struct {
	// Certificate is the file with the certificate and those that lead to its authority.
	Certificate registry.Path `yaml:"certificate" validate:"required"`
	// Key is the file with its private key.
	Key registry.Path `yaml:"key" validate:"required"`
}

// Validate checks that nothing is said about TLS without a certificate.
func (e encryption) Validate() error {
	lacks := func(setting, what string) error {
		return &registry.SettingError{Setting: setting, Problem: "is missing; it must be the file with " + what}
	}
	switch {
	case e.Certificate == "" && (e.Key != "" || len(e.More) > 0 || e.ClientCA != ""):
		return lacks("certificate", "the certificate, in PEM")
	case e.Certificate != "" && e.Key == "":
		return lacks("key", "the certificate's private key, in PEM")
	}
	return nil
}

// open reads the certificates. It returns nil when there is no TLS.
func (e encryption) open(env *registry.Env) (*tls.Config, error) {
	if e.Certificate == "" {
		return nil, nil //nolint:nilnil // no TLS is no configuration, as for net/http
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.MinVersion == "tls1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	for _, p := range append([]pair{{e.Certificate, e.Key}}, e.More...) {
		certificate, err := p.open(env)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		config.Certificates = append(config.Certificates, certificate)
	}
	if e.ClientCA != "" {
		text, err := read(env, e.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("tls: client_ca: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls: client_ca: %s has no certificate in PEM", e.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if e.ClientCertificate == "optional" {
			config.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return config, nil
}

// read reads a file, a change of which has the server built anew.
func read(env *registry.Env, path registry.Path) ([]byte, error) {
	env.DependsOn(string(path))
	return os.ReadFile(string(path))
}

// open reads the two files. What a server can live with, but its operator shouldn't, is logged.
func (p pair) open(env *registry.Env) (none tls.Certificate, err error) {
	chain, err := read(env, p.Certificate)
	if err != nil {
		return none, fmt.Errorf("certificate: %w", err)
	}
	key, err := read(env, p.Key)
	if err != nil {
		return none, fmt.Errorf("key: %w", err)
	}
	if block := find(chain, "CERTIFICATE"); block == nil {
		return none, fmt.Errorf("certificate: %s has no certificate in PEM", p.Certificate)
	}
	switch block := find(key, "PRIVATE KEY"); {
	case block == nil:
		return none, fmt.Errorf("key: %s has no private key in PEM", p.Key)
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return none, fmt.Errorf("key: %s is encrypted with a passphrase; it must be without one, as openssl pkey writes it", p.Key)
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		// Without the prefix, and the advice about files of the wrong kind, which are told apart above.
		return none, fmt.Errorf("certificate %s with key %s: %s", p.Certificate, p.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	log := env.Logger().With(slog.Any("names", certificate.Leaf.DNSNames), slog.String("file", string(p.Certificate)))
	switch now := time.Now(); {
	case now.After(certificate.Leaf.NotAfter):
		log.Warn("the certificate has expired; clients will refuse it", slog.Time("expired", certificate.Leaf.NotAfter))
	case now.Before(certificate.Leaf.NotBefore):
		log.Warn("the certificate isn't valid yet; clients will refuse it", slog.Time("valid", certificate.Leaf.NotBefore))
	}
	if info, err := os.Stat(string(p.Key)); err == nil && info.Mode().Perm()&0o004 != 0 {
		env.Logger().Warn("every user of this machine can read the private key; chmod o-r takes that away", slog.String("file", string(p.Key)), slog.String("mode", info.Mode().Perm().String()))
	}
	return certificate, nil
}

// find returns the first block of that type, or of one that ends with it, such as EC PRIVATE KEY.
func find(text []byte, kind string) *pem.Block {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if strings.HasSuffix(block.Type, kind) {
			return block
		}
	}
}

// startsTLS reports whether the first bytes of a connection are a TLS handshake: no method of HTTP begins with that
// control character.
func startsTLS(first []byte) bool { return bytes.HasPrefix(first, []byte{0x16}) }

var errTLS = errors.New("the client speaks TLS, and this address does not")
