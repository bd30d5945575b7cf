package mail

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func settings(server string) Config {
	cfg := Component.Default
	cfg.Server, cfg.TLS, cfg.From, cfg.To = registry.Address(server), tlsNone, "stackd <stackd@example.org>", []string{"a@example.org", "b@example.org"}
	cfg.Timeout = 5 * time.Second
	return cfg
}

func TestComponent(t *testing.T) {
	working := serve(t, nil, false)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	on := func(address string, timeout time.Duration) func(*testing.T) Config {
		return func(*testing.T) Config {
			cfg := settings(address)
			cfg.Timeout = timeout
			return cfg
		}
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "received", Settings: on(working.address, time.Second)},
		registrytest.Case[Config]{Name: "nobody there", Settings: on("127.0.0.1:1", time.Second)},
		registrytest.Case[Config]{Name: "never answers", Settings: on(silent.Addr().String(), 100*time.Millisecond)},
	)
}

// letter is a mail as it was received.
type letter struct {
	from, login string
	to          []string
	encrypted   bool
	data        string
}

// smtp is a small server of the protocol (RFC 5321, 3207, 4954).
type smtp struct {
	address string
	letters chan letter
	tls     *tls.Config
}

// serve starts a server, which ends with the test. With certificates it offers STARTTLS, or speaks TLS
// from the first byte on.
func serve(t *testing.T, certificates *tls.Config, implicit bool) *smtp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtp{address: l.Addr().String(), letters: make(chan letter, 1000), tls: certificates}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				defer conn.Close()
				if implicit {
					conn = tls.Server(conn, certificates)
				}
				s.talk(conn, implicit)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		wg.Wait()
	})
	return s
}

func (s *smtp) talk(conn net.Conn, encrypted bool) {
	in := bufio.NewReader(conn)
	// A client that doesn't hear it doesn't go on, which the reading sees.
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 mx.example.org ESMTP")
	got := letter{encrypted: encrypted}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mx.example.org")
			if s.tls != nil && !got.encrypted {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.tls)
			in = bufio.NewReader(conn)
			got.encrypted = true
		case "AUTH":
			got.login = rest
			say("235 welcome")
		case "MAIL":
			got.from = rest
			say("250 ok")
		case "RCPT":
			got.to = append(got.to, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			got.data = text.String()
			s.letters <- got
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// script is an error as of a program that ended badly.
type script struct{ stderr string }

func (script) Error() string { return "exit status 1\nBcc: evil@example.org ü" }
func (s script) Details() []failure.Detail {
	return []failure.Detail{{Title: "Standard error", Text: s.stderr}}
}

func TestLetter(t *testing.T) {
	s := serve(t, nil, false)
	i := incident("")
	i.Time = time.Date(2026, 1, 31, 12, 0, 0, 0, time.FixedZone("", 3600))
	i.RemoteAddr = "192.0.2.1:99"
	i.Failure = failure.Failure{Err: script{strings.Repeat("x", 5000) + "why"}, Panic: true, Stack: []failure.Frame{{Function: "shop.List", File: "/src/shop.go", Line: 12}}}
	i.Route = &environ.Route{Patterns: []string{"/", "/a"}}
	if err := registrytest.Build(t, Component, settings(s.address), nil).Report(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	got := <-s.letters
	if !strings.Contains(got.from, "<stackd@example.org>") || len(got.to) != 2 || !strings.Contains(got.to[1], "<b@example.org>") || got.encrypted || got.login != "" {
		t.Errorf("the envelope is %+v", got)
	}
	m, err := mail.ReadMessage(strings.NewReader(got.data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "[stackd] GET example.org/a: exit status 1 Bcc: evil@example.org ü"; subject != want {
		t.Errorf("the subject is %q, want %q", subject, want)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" || m.Header.Get("Date") == "" {
		t.Errorf("the header is %v", m.Header)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"evil@example.org ü", "Incident  k7mq2", "Sat, 31 Jan 2026 11:00:00 UTC", "GET example.org/a", "192.0.2.1:99", "500, a panic",
		"Route     /a", "shop.List", "/src/shop.go:12", "Standard error", "xwhy",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the mail lacks %q:\n%s", want, text)
		}
	}
	if len(text) > 6000 {
		t.Errorf("the mail has %d bytes", len(text))
	}
}

// TestTLS proves that a mail goes out over TLS only, by a server whose certificate is valid, unless
// the settings say otherwise.
func TestTLS(t *testing.T) {
	ca := httptest.NewUnstartedServer(nil)
	ca.StartTLS() // for its certificate, which is for 127.0.0.1
	defer ca.Close()
	certificates := &tls.Config{Certificates: ca.TLS.Certificates, MinVersion: tls.VersionTLS12}
	valid := x509.NewCertPool()
	valid.AddCert(ca.Certificate())
	tests := []struct {
		name         string
		tls          string
		certificates *tls.Config
		implicit     bool
		roots        *x509.CertPool
		want         string // the error
	}{
		{"starttls", tlsStart, certificates, false, valid, ""},
		{"implicit", tlsImplicit, certificates, true, valid, ""},
		{"starttls isn't offered", tlsStart, nil, false, valid, "STARTTLS"},
		{"unknown authority, starttls", tlsStart, certificates, false, x509.NewCertPool(), "certificate"},
		{"unknown authority, implicit", tlsImplicit, certificates, true, x509.NewCertPool(), "certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.certificates, test.implicit)
			cfg := settings(s.address)
			cfg.TLS, cfg.Username, cfg.Password = test.tls, "me", registry.NewSecret("hunter2")
			p, err := newPostman(cfg)
			if err != nil {
				t.Fatal(err)
			}
			p.roots = test.roots
			err = p.send(t.Context(), "subject", "body")
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") || len(s.letters) > 0 {
					t.Errorf("the error is %v, and %d letters came", err, len(s.letters))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := <-s.letters; !got.encrypted || !strings.HasPrefix(got.login, "PLAIN ") {
				t.Errorf("the envelope is %+v", got)
			}
		})
	}
}

// TestCancelled proves that a server which goes silent holds nobody up.
func TestCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := newPostman(settings(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	p.cfg.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.send(ctx, "subject", "body") }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"good", func(*Config) {}, nil},
		{"nobody to tell", func(c *Config) { c.To = nil }, []string{"to is missing; it must be a list"}},
		{"bad addresses", func(c *Config) { c.From, c.To = "me", []string{"you"} }, []string{
			"from isn't an address; it must be like admin@example.org", "to has an entry that isn't an address; it must be like admin@example.org",
		}},
		{"unix socket", func(c *Config) { c.Server = "unix:/run/smtp" }, []string{"server is a unix socket; it must be host:port"}},
		{"password in the clear", func(c *Config) { c.Username = "me" }, []string{
			"tls is none, so that the password could be read on its way; it must be starttls or implicit where somebody logs in",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := settings("localhost:25")
			test.change(&cfg)
			if diff := cmp.Diff(test.want, registrytest.Problems(t, Component, cfg)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
