package handover

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/serve"
)

// opened returns the descriptor of a socket that somebody else has opened, and where it is bound.
func opened(t *testing.T, network, address string) (*os.File, string) {
	t.Helper()
	var own interface{ File() (*os.File, error) }
	bound := ""
	switch network {
	case "udp":
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own, bound = c.(*net.UDPConn), c.LocalAddr().String()
	default:
		ln, err := net.Listen(network, address)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			t.Skipf("there is no IPv6 here: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		defer ln.Close()
		own, bound = ln.(interface{ File() (*os.File, error) }), ln.Addr().String()
	}
	f, err := own.File()
	if err != nil {
		t.Fatal(err)
	}
	return f, bound
}

// where returns where a descriptor is bound.
func where(t *testing.T, in serve.Inherited) string {
	t.Helper()
	if in.File == nil {
		return "none"
	}
	defer in.File.Close()
	if in.Ours != nil {
		t.Error("the socket of somebody else is ours")
	}
	return boundTo(in.File).String()
}

func TestInherit(t *testing.T) {
	first, free := opened(t, "tcp", "127.0.0.1:0")
	_ = first.Close() // its port is what is wanted
	_, port, _ := net.SplitHostPort(free)
	path := filepath.Join(t.TempDir(), "s")
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	type socket struct{ name, network, address string }
	tests := map[string]struct {
		sockets []socket
		slot    string
		address string
		want    string
	}{
		"no sockets":             {nil, "http", "127.0.0.1:" + port, "none"},
		"address":                {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.1:" + port, "127.0.0.1:" + port},
		"another port":           {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.1:1", "none"},
		"another address":        {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.2:" + port, "none"},
		"all interfaces":         {[]socket{{"", "tcp", "[::]:" + port}}, "http", ":" + port, "[::]:" + port},
		"all interfaces, IPv4":   {[]socket{{"", "tcp4", "0.0.0.0:" + port}}, "http", ":" + port, "0.0.0.0:" + port},
		"all, said in full":      {[]socket{{"", "tcp", "[::]:" + port}}, "http", "[::]:" + port, "[::]:" + port},
		"one is not all":         {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", ":" + port, "none"},
		"IPv6":                   {[]socket{{"", "tcp", "[::1]:" + port}}, "http", "[::1]:" + port, "[::1]:" + port},
		"a host's name":          {[]socket{{"", "tcp4", "127.0.0.1:" + port}}, "http", "localhost:" + port, "127.0.0.1:" + port},
		"a host that isn't":      {[]socket{{"", "tcp4", "127.0.0.1:" + port}}, "http", "nowhere.invalid:" + port, "none"},
		"no address":             {[]socket{{"", "tcp4", "127.0.0.1:" + port}}, "http", "nonsense", "none"},
		"port 0 is nowhere":      {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.1:0", "none"},
		"port 0 by name":         {[]socket{{"http", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.1:0", "127.0.0.1:" + port},
		"name wins over nothing": {[]socket{{"front", "tcp", "127.0.0.1:" + port}}, "front", "127.0.0.1:1", "127.0.0.1:" + port},
		"address wins over name": {[]socket{{"http", "unix", path}, {"", "tcp", "127.0.0.1:" + port}}, "http", "127.0.0.1:" + port, "127.0.0.1:" + port},
		"unix":                   {[]socket{{"", "unix", path}}, "http", "unix:" + path, path},
		"unix by another path":   {[]socket{{"", "unix", path}}, "http", "unix:" + filepath.Join(link, "s"), path},
		"another unix socket":    {[]socket{{"", "unix", path}}, "http", "unix:" + path + "2", "none"},
		"not TCP for unix":       {[]socket{{"", "tcp", "127.0.0.1:" + port}}, "http", "unix:" + path, "none"},
		"abstract by name":       {[]socket{{"http", "unix", "@stackd " + port}}, "http", "127.0.0.1:0", "@stackd " + port},
		"datagrams at it":        {[]socket{{"", "udp", "127.0.0.1:" + port}}, "http", "127.0.0.1:" + port, "none"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = os.Remove(path) }()
			var s Sockets
			defer s.Close()
			for _, one := range test.sockets {
				f, _ := opened(t, one.network, one.address)
				s.Add(one.name, f)
			}
			in, err := s.Inherit(t.Context(), serve.Server{Slot: test.slot, Address: test.address})
			if err != nil {
				t.Fatal(err)
			}
			if got := where(t, in); got != test.want {
				t.Errorf("the socket is %s, want %s", got, test.want)
			}
			if left := len(s.Unclaimed()); (test.want == "none") != (left == len(test.sockets)) {
				t.Errorf("%d of %d are left", left, len(test.sockets))
			}
		})
	}
}

// TestInheritKeeps holds that a server gets the socket that it had, and nobody else does.
func TestInheritKeeps(t *testing.T) {
	var s Sockets
	defer s.Close()
	var bound []string
	for range 3 {
		f, at := opened(t, "tcp", "127.0.0.1:0")
		s.Add("http", f)
		bound = append(bound, at)
	}
	ask := func(slot, address string) string {
		in, err := s.Inherit(t.Context(), serve.Server{Slot: slot, Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return where(t, in)
	}
	for range 3 { // as generations come and go
		for _, want := range [][3]string{
			{"http", bound[1], bound[1]},
			{"http", "127.0.0.1:0", bound[0]},
			{"http", "127.0.0.1:00", bound[2]},
			{"http", "127.0.0.1:000", "none"},
			{"other", bound[0], "none"}, // since it is that of 127.0.0.1:0
		} {
			if got := ask(want[0], want[1]); got != want[2] {
				t.Errorf("%s at %s gets %s, want %s", want[0], want[1], got, want[2])
			}
		}
	}
	if left := s.Unclaimed(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestUnclaimed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var s Sockets
	defer s.Close()
	var want []string
	for _, one := range []struct{ name, network, address, want string }{
		{"", "tcp", "127.0.0.1:0", "BOUND"},
		{"web", "tcp", "127.0.0.1:0", `BOUND ("web")`},
		{"", "unix", path, "unix:" + path},
		{"dns", "udp", "127.0.0.1:0", `not a socket that servers listen on ("dns")`},
	} {
		f, bound := opened(t, one.network, one.address)
		s.Add(one.name, f)
		want = append(want, strings.ReplaceAll(one.want, "BOUND", bound))
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	s.Add("", file)
	want = append(want, "not a socket that servers listen on")
	if diff := cmp.Diff(want, s.Unclaimed()); diff != "" {
		t.Error(diff)
	}
}

// TestBlockingIsLeft holds that what all descriptors of a socket share is not changed when one is handed on: a process
// that accepts meanwhile would hang.
func TestBlockingIsLeft(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := duplicateOf(ln.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	var s Sockets
	s.Add("", f)
	accepted := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	for range 100 {
		in, err := s.Inherit(t.Context(), serve.Server{Address: ln.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		other, err := net.FileListener(in.File)
		if err != nil {
			t.Fatal(err)
		}
		in.File.Close()
		other.Close()
	}
	s.Close()
	ln.Close() // hangs when the accept holds its thread
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
}

func duplicateOf(ln *net.TCPListener) (*os.File, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "test"), failed
}
