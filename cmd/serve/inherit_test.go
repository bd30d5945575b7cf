package serve

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// outside opens a listening socket as another process would, and returns its descriptor.
func outside(t *testing.T, network, address string) (*os.File, net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, ln.Addr()
}

// again returns another descriptor of the same file, without a change of what they share.
func again(t *testing.T, f *os.File) *os.File {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd, failed := -1, error(nil)
	if err := raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func TestInherit(t *testing.T) {
	before := measure(t)
	t.Cleanup(func() { noLeak(t, before) })
	path := filepath.Join(t.TempDir(), "s")
	socket := "unix:" + path
	tcp, bound := outside(t, "tcp", "127.0.0.1:0")
	theirs, _ := outside(t, "unix", path)
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	sockets := map[string]*os.File{"127.0.0.1:8080": tcp, socket: theirs}
	var asked []Server
	both := Generation{Handler: say("both"), Servers: []Server{on("127.0.0.1:8080", "1"), on(socket, "2"), on("127.0.0.1:0", "3")}}
	both.Servers[0].Slot = "front"
	none := Generation{Handler: say("none"), Servers: both.Servers[2:]}

	p := &process{log: newJournal(), ended: make(chan error, 1)}
	p.Runtime = New(Options{
		Load: sequence(both, none, both), Logger: slog.New(p.log), Signals: make(chan os.Signal),
		Inherit: func(_ context.Context, s Server) (Inherited, error) {
			asked = append(asked, s)
			if f := sockets[s.Address]; f != nil {
				return Inherited{File: again(t, f)}, nil
			}
			return Inherited{}, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { p.ended <- p.Run(ctx) }()
	p.log.await(t, "generation serves", 1)
	client := newClient(t)
	for round := range 2 {
		if round > 0 {
			p.reload(t) // to none
			p.reload(t) // and to both again
		}
		if got := p.Addresses()["127.0.0.1:8080"].String(); got != bound.String() {
			t.Errorf("bound %s, handed in was %s", got, bound)
		}
		for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:0"} {
			if got := mustGet(t, client, p.url(t, address)); got != "both" {
				t.Errorf("%s answers %q", address, got)
			}
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	client.CloseIdleConnections()
	cancel()
	if err := p.end(t); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("the file of another's socket was changed: %v, %v", info, err)
	}
	if len(asked) != 5 || asked[0].Slot != "front" || asked[1].Mode != defaultMode {
		t.Errorf("asked for %+v; it must be once for each socket that was opened, with slot and mode", asked)
	}
}

// TestInheritOurs hands in a socket whose file becomes this process's while it serves.
func TestInheritOurs(t *testing.T) {
	tests := map[string]struct {
		ours bool
		want error
	}{
		"ours":   {true, fs.ErrNotExist},
		"theirs": {false, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			f, _ := outside(t, "unix", path)
			var ours atomic.Bool
			g := Generation{Handler: say("x"), Servers: []Server{on("unix:"+path, "1")}}
			g.Servers[0].Mode = 0o600
			p := &process{log: newJournal(), ended: make(chan error, 1)}
			p.Runtime = New(Options{
				Load: sequence(g), Logger: slog.New(p.log), Signals: make(chan os.Signal),
				Inherit: func(context.Context, Server) (Inherited, error) { return Inherited{again(t, f), ours.Load}, nil },
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { p.ended <- p.Run(ctx) }()
			p.log.await(t, "generation serves", 1)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the mode is not what the server has: %v, %v", info, err)
			}
			ours.Store(test.ours)
			cancel()
			if err := p.end(t); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, test.want) {
				t.Errorf("the socket's file: %v, want %v", err, test.want)
			}
		})
	}
}

func TestInheritRefused(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packet.Close()
	datagrams, err := packet.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	listening, _ := outside(t, "tcp", "127.0.0.1:0")
	ln, err := net.FileListener(listening)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connected, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		in   Inherited
		err  error
		want string
	}{
		"a file":       {Inherited{File: file}, nil, `the socket handed in for "127.0.0.1:80": it is no socket`},
		"datagrams":    {Inherited{File: datagrams}, nil, `it is no stream socket`},
		"a connection": {Inherited{File: connected}, nil, `it does not listen`},
		"an error":     {Inherited{}, errors.New("the supervisor is gone"), `server "http": a socket for "127.0.0.1:80": the supervisor is gone`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := New(Options{
				Load: sequence(Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:80", "1")}}), Logger: slog.New(newJournal()), Signals: make(chan os.Signal),
				Inherit: func(context.Context, Server) (Inherited, error) { return test.in, test.err },
			})
			err := r.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; it must have %q", err, test.want)
			}
		})
	}
}
