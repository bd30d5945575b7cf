package systemd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMain is the program that TestSockets starts, if it is started so.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST") == "" {
		os.Exit(m.Run())
	}
	sockets, err := Sockets()
	fmt.Println("error:", err)
	for _, s := range sockets {
		ln, err := net.FileListener(s.File)
		if err != nil {
			fmt.Println(err)
			continue
		}
		raw, err := s.File.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) {
				flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0)
				fmt.Printf("%d %s %q, passed on: %t\n", fd, ln.Addr(), s.Name, flags&unix.FD_CLOEXEC == 0)
			})
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "LISTEN_") {
			fmt.Println("left:", variable)
		}
	}
	again, err := Sockets()
	fmt.Println("again:", len(again), err)
}

func TestSockets(t *testing.T) {
	var files []*os.File
	var bound []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, bound = append(files, f), append(bound, ln.Addr().String())
	}
	tests := map[string]struct {
		pid, fds, names string
		want            string
	}{
		"named":          {"$$", "2", "web:control", "error: <nil>\n3 BOUND0 \"web\", passed on: false\n4 BOUND1 \"control\", passed on: false\n"},
		"an empty name":  {"$$", "2", ":control", "error: <nil>\n3 BOUND0 \"\", passed on: false\n4 BOUND1 \"control\", passed on: false\n"},
		"without names":  {"$$", "1", "", "error: <nil>\n3 BOUND0 \"\", passed on: false\n"},
		"none":           {"$$", "0", "", "error: <nil>\n"},
		"not for us":     {"1", "2", "web:control", "error: <nil>\n"},
		"not activated":  {"", "", "", "error: <nil>\n"},
		"no number":      {"$$", "two", "", "error: LISTEN_FDS is \"two\"; it must be the number of sockets that are handed in\n"},
		"negative":       {"$$", "-1", "", "error: LISTEN_FDS is \"-1\"; it must be the number of sockets that are handed in\n"},
		"too few names":  {"$$", "2", "web", "error: LISTEN_FDNAMES has 1 names; it must have one for each of the 2 sockets that LISTEN_FDS says\n"},
		"no descriptors": {"$$", "1000", "", "error: LISTEN_FDS is 1000, but descriptor "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// The shell's process becomes that of the program, so that the number is right.
			c := exec.Command("sh", "-c", `LISTEN_PID=`+test.pid+` exec "$0"`, os.Args[0])
			c.Env = append(os.Environ(), "SYSTEMD_TEST=1", "GORACE=atexit_sleep_ms=0", "LISTEN_FDS="+test.fds, "LISTEN_FDNAMES="+test.names, "LISTEN_PIDFDID=1")
			c.ExtraFiles = files
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := strings.NewReplacer(bound[0], "BOUND0", bound[1], "BOUND1").Replace(string(out))
			if strings.HasSuffix(test.want, "\n") {
				test.want += "again: 0 <nil>\n"
			}
			if diff := cmp.Diff(test.want, got); diff != "" && (strings.HasSuffix(test.want, "\n") || !strings.HasPrefix(got, test.want)) {
				t.Error(diff)
			}
		})
	}
}

// manager is the service manager's end.
func manager(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// told returns the next datagram.
func told(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	for name, path := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@stackd test " + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			m := manager(t, path)
			t.Setenv("NOTIFY_SOCKET", path)
			t.Setenv("WATCHDOG_USEC", "3000000")
			t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
			n, err := Open()
			if err != nil {
				t.Fatal(err)
			}
			for _, variable := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
				if value, set := os.LookupEnv(variable); set {
					t.Errorf("%s=%s is still there, for all programs that this one starts", variable, value)
				}
			}
			if n.Watchdog() != 3*time.Second {
				t.Errorf("the watchdog bites after %s", n.Watchdog())
			}
			if diff := cmp.Diff([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=3000000"}, n.Environ()); diff != "" {
				t.Error(diff)
			}
			for _, step := range []struct {
				tell func() error
				want string
			}{
				{func() error { return n.Ready("generation 1\nserves") }, "READY=1\nSTATUS=generation 1 serves"},
				{n.Alive, "WATCHDOG=1"},
				{func() error { return n.Stopping("bye") }, "STOPPING=1\nSTATUS=bye"},
			} {
				if err := step.tell(); err != nil {
					t.Fatal(err)
				}
				if got := told(t, m); got != step.want {
					t.Errorf("told %q, want %q", got, step.want)
				}
			}
			before := monotonic(t)
			if err := n.Reloading(); err != nil {
				t.Fatal(err)
			}
			after := monotonic(t)
			var at int64
			got := told(t, m)
			if _, err := fmt.Sscanf(got, "RELOADING=1\nMONOTONIC_USEC=%d", &at); err != nil || at < before || at > after {
				t.Errorf("told %q between %d and %d: %v", got, before, after, err)
			}
			if err := n.HandOver(123); err != nil {
				t.Fatal(err)
			}
			if got := told(t, m); got != "MAINPID=123" {
				t.Errorf("told %q", got)
			}
			for _, err := range []error{n.Ready("again"), n.Stopping("bye"), n.Close()} {
				if err != nil {
					t.Error(err)
				}
			}
			if err := m.SetReadDeadline(time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			if n, err := m.Read(make([]byte, 100)); err == nil {
				t.Errorf("what is the service no longer speaks for it, %d bytes", n)
			}
		})
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// TestNobody holds that all works where nobody wants to be told.
func TestNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1")
	n, err := Open()
	if err != nil || n != nil {
		t.Fatalf("%v, %v", n, err)
	}
	for _, err := range []error{n.Ready(""), n.Reloading(), n.Alive(), n.Stopping(""), n.HandOver(1), n.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
	if n.Watchdog() != 0 || n.Environ() != nil {
		t.Error("a watchdog, but no manager")
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager(t, path)
	tests := map[string]struct {
		socket, period, pid string
		watchdog            time.Duration
		want                string
	}{
		"no watchdog":       {path, "", "", 0, ""},
		"watchdog":          {path, "1500000", "", 1500 * time.Millisecond, ""},
		"of another":        {path, "1500000", "1", 0, ""},
		"no time":           {path, "soon", "", 0, `WATCHDOG_USEC is "soon"; it must be a number of microseconds`},
		"longer than ever":  {path, "9223372036854775807", "", 0, `WATCHDOG_USEC is "9223372036854775807"`},
		"relative":          {"notify", "", "", 0, `NOTIFY_SOCKET is "notify"; it must be the absolute path of a socket`},
		"nobody listens":    {path + "2", "", "", 0, `where nobody can be told anything: `},
		"a vsock we aren't": {"vsock:2:1234", "", "", 0, `NOTIFY_SOCKET is "vsock:2:1234"; it must be`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", test.socket)
			t.Setenv("WATCHDOG_USEC", test.period)
			t.Setenv("WATCHDOG_PID", test.pid)
			n, err := Open()
			t.Cleanup(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v; it must have %q", err, test.want)
				}
				return
			}
			if err != nil || n.Watchdog() != test.watchdog {
				t.Errorf("a watchdog of %s, %v; want %s", n.Watchdog(), err, test.watchdog)
			}
		})
	}
}

// TestManagerDoesNotRead holds that a manager that doesn't read stops nothing for long.
func TestManagerDoesNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	n, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for range 1 << 20 {
		if err = n.Alive(); err != nil {
			break
		}
	}
	if !os.IsTimeout(err) {
		t.Errorf("error %v; it must be a timeout", err)
	}
}
