//go:build unix

package cgi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stackd/stackd/components/factories/cgi"
	"github.com/stackd/stackd/registry/registrytest/factorytest"
)

// site is a folder of scripts on a server.
type site struct {
	*factorytest.Site
	t *testing.T
}

// newSite starts a server for scripts. Edit changes the default settings.
func newSite(t *testing.T, scripts map[string]string, edit func(*cgi.Config)) *site {
	t.Helper()
	cfg := cgi.Component.Default
	if edit != nil {
		edit(&cfg)
	}
	s := &site{factorytest.New(t, cgi.Component, cfg), t}
	for name, text := range scripts {
		s.write(name, "#!/bin/sh\n"+text)
	}
	return s
}

// http2 returns a client that speaks HTTP/2 from the first byte.
func (s *site) http2() *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// fifo makes a named pipe, by which a test and a script wait for each other: opening it waits for the other
// side, and the end of it comes when no process has it open for writing any more.
func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, fifo string, mode int) *os.File {
	t.Helper()
	f, err := os.OpenFile(fifo, mode, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// say writes a line to whoever reads the fifo.
func say(t *testing.T, f *os.File, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}

// hear reads n bytes.
func hear(t *testing.T, r io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// needs skips a test that needs a program which isn't there, unless it must be.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("STACKD_PEERS") == "required" {
			t.Fatalf("%s isn't installed", program)
		}
		t.Skipf("%s isn't installed", program)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
