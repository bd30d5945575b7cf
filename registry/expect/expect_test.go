package expect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/registry/expect"
)

func TestLook(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "users")
	if err := os.WriteFile(file, []byte("ian:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(open, nil, 0o600), os.Chmod(open, 0o644)); err != nil {
		t.Fatal(err)
	}
	writable := filepath.Join(dir, "writable")
	if err := errors.Join(os.WriteFile(writable, nil, 0o600), os.Chmod(writable, 0o662)); err != nil {
		t.Fatal(err)
	}
	busy := listen(t, "tcp", "127.0.0.1:0")
	socket := listen(t, "unix", filepath.Join(dir, "busy.sock"))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")

	for _, tt := range []struct {
		name   string
		expect expect.Expectation
		want   string // empty for nothing wrong
	}{
		{"folder", expect.Folder("root", dir), ""},
		{"no path", expect.Folder("root", ""), ""},
		{"no folder", expect.Folder("root", gone), gone + " is not there; it must be a folder"},
		{"folder is a file", expect.Folder("root", file), file + " is a file; it must be a folder"},
		{"file", expect.File("users", file), ""},
		{"no file", expect.File("users", gone), gone + " is not there; it must be a file"},
		{"origin", expect.Origin("endpoint", "http://"+busy+"/v1"), ""},
		{"nobody at the origin", expect.Origin("endpoint", "http://"+nobody+"/v1?key=secret"), nobody + " does not answer: connection refused"},
		{"no origin", expect.Origin("endpoint", "::"), ""},
		{"program", expect.Program("command", "sh"), ""},
		{"no program", expect.Program("command", ""), ""},
		{"program by path", expect.Program("command", gone), gone + " can't be run: no such file or directory; it must be a program"},
		{"program by name", expect.Program("command", "no-such-program"), "no-such-program can't be run: executable file not found in $PATH; it must be a program"},
		{"writable", expect.Writable("path", file), ""},
		{"writable where nothing is", expect.Writable("path", filepath.Join(gone, "a", "b.db")), ""},
		{"writable is a folder", expect.Writable("path", dir), dir + " is a folder; it must be a file"},
		{"writable below a file", expect.Writable("path", filepath.Join(file, "a", "b.db")), file + " is a file, so that " + filepath.Join(file, "a", "b.db") + " can't be made; it must be a folder"},
		{"file is a folder", expect.File("users", dir), dir + " is a folder; it must be a file"},
		{"file is a device", expect.File("users", os.DevNull), os.DevNull + " is neither a file nor a folder; it must be a file"},
		{"below a file", expect.File("users", filepath.Join(file, "x")), filepath.Join(file, "x") + " can't be looked at: not a directory"},
		{"private", expect.Private("users", file), ""},
		{"private and gone", expect.Private("users", gone), ""},
		{"readable by all", expect.Private("users", open), open + " has the mode 0644, so that every user of this machine may read it; it should be 0640"},
		{"writable by all", expect.Private("users", writable), writable + " has the mode 0662, so that every user of this machine may change it; it should be 0660"},
		{"certificate", expect.Certificate("cert", certificate(t, dir, -time.Hour, 30*24*time.Hour)), ""},
		{"no certificate", expect.Certificate("cert", file), file + " does not begin with a certificate; it must, in PEM"},
		{"certificate is gone", expect.Certificate("cert", gone), gone + " is not there; it must be a file with a certificate"},
		{"certificate of tomorrow", expect.Certificate("cert", certificate(t, dir, time.Hour, 30*24*time.Hour)), "valid from"},
		{"certificate of yesterday", expect.Certificate("cert", certificate(t, dir, -2*time.Hour, -time.Hour)), "was valid until"},
		{"certificate of today", expect.Certificate("cert", certificate(t, dir, -time.Hour, time.Hour)), "only; it should be renewed"},
		{"answers", expect.Answers("to", "tcp", busy), ""},
		{"socket answers", expect.Answers("to", "unix", socket), ""},
		{"nobody answers", expect.Answers("to", "tcp", nobody), nobody + " does not answer: connection refused"},
		{"no socket", expect.Answers("to", "unix", gone), gone + " does not answer: no such file or directory"},
		{"free", expect.Listens("listen", "tcp", "127.0.0.1:0"), ""},
		{"free socket", expect.Listens("listen", "unix", gone), ""},
		{"busy", expect.Listens("listen", "tcp", busy), "another process listens on " + busy + "; that is right only for the server that this stack file is to take the place of"},
		{"busy socket", expect.Listens("listen", "unix", socket), "another process listens on " + socket + "; that is right only for the server that this stack file is to take the place of"},
		{"not of this machine", expect.Listens("listen", "tcp", "192.0.2.1:80"), "this machine can't listen on 192.0.2.1:80: cannot assign requested address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := entries(t, dir)
			got := ""
			if err := tt.expect.Look(t.Context()); err != nil {
				got = err.Error()
			}
			if got != tt.want && (!strings.HasPrefix(tt.name, "certificate of") || !strings.Contains(got, tt.want)) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if after := entries(t, dir); !slices.Equal(before, after) {
				t.Errorf("the look left %q where there was %q", after, before)
			}
		})
	}
}

// A look that waits for a network ends with its context.
func TestLookEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := expect.Answers("to", "tcp", "192.0.2.1:80").Look(ctx)
	if err == nil || !strings.HasPrefix(err.Error(), "192.0.2.1:80 does not answer: ") {
		t.Errorf("got %v", err)
	}
}

// certificate returns a file with one that is valid from then to then.
func certificate(t *testing.T, dir string, from, to time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, from.String()+to.String()+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}
