package fastcgi_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stackd/stackd/components/factories/fastcgi"
	"github.com/stackd/stackd/registry"
	wire "github.com/stackd/stackd/registry/gateway/fcgi"
	"github.com/stackd/stackd/registry/registrytest/factorytest"
)

// site is a folder with scripts on a server.
type site struct {
	*factorytest.Site
	t *testing.T
}

// newSite starts a server whose scripts an application at address runs. Edit changes the default settings.
func newSite(t *testing.T, address net.Addr, edit func(*fastcgi.Config)) *site {
	t.Helper()
	cfg := fastcgi.Component.Default
	cfg.Address = addressOf(address)
	if edit != nil {
		edit(&cfg)
	}
	s := &site{factorytest.New(t, fastcgi.Component, cfg), t}
	s.write("script", "")
	return s
}

func addressOf(a net.Addr) registry.Address {
	if a.Network() == "unix" {
		return registry.Address("unix:" + a.String())
	}
	return registry.Address(a.String())
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// listen listens on a loopback port, or on a socket, and stops at the test's end.
func listen(t *testing.T, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "fcgi") // t.TempDir's path may be too long
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// application serves h by FastCGI as the standard library speaks it.
func application(t *testing.T, network string, h http.HandlerFunc) net.Addr {
	t.Helper()
	l := listen(t, network)
	var wg sync.WaitGroup
	wg.Go(func() { _ = fcgi.Serve(l, h) }) // it ends with the listener
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return l.Addr()
}

// peer is the application's end of a connection, in a test's hands.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// acting has f act an application, for one connection after the other.
func acting(t *testing.T, f func(p *peer)) net.Addr {
	t.Helper()
	l := listen(t, "tcp")
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(&peer{t, c, bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return l.Addr()
}

// record reads the next record. At the end of the connection its type is 0.
func (p *peer) record() (wire.Header, string) {
	h, err := wire.ReadHeader(p.in)
	if err != nil {
		return wire.Header{}, ""
	}
	content := make([]byte, h.Length+h.Padding)
	if _, err := io.ReadFull(p.in, content); err != nil {
		return wire.Header{}, ""
	}
	return h, string(content[:h.Length])
}

// request reads a request, up to the end of its body, and reports whether there was one.
func (p *peer) request() bool {
	for {
		switch h, content := p.record(); {
		case h.Type == 0:
			return false
		case h.Type == wire.Stdin && content == "":
			return true
		}
	}
}

// say writes records of standard output.
func (p *peer) say(text string) { p.write(wire.AppendStream(nil, wire.Stdout, 1, []byte(text))) }

// end ends the request.
func (p *peer) end() { p.write(wire.AppendEnd(nil, 1, 0, wire.RequestComplete)) }

func (p *peer) write(b []byte) {
	// A client that has gone away is what some tests are about.
	_, _ = p.Write(b)
}

// needs skips a test that needs a program which isn't there, unless it must be.
func needs(t *testing.T, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		path, err := exec.LookPath(program)
		if err == nil {
			return path
		}
		if !errors.Is(err, exec.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if os.Getenv("STACKD_PEERS") == "required" {
		t.Fatalf("%s isn't installed", programs[0])
	}
	t.Skipf("%s isn't installed", programs[0])
	return ""
}
