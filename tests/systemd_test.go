package tests

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the service manager's end of a notification socket.
type manager struct {
	t testing.TB
	c *net.UnixConn
}

func newManager(t testing.TB, path string) *manager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return &manager{t, c}
}

// next returns the next datagram, and the process that it is from.
func (m *manager) next() (text string, pid int) {
	m.t.Helper()
	if err := m.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	b, beside := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, size, _, _, err := m.c.ReadMsgUnix(b, beside)
	if err != nil {
		m.t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(beside[:size])
	if err != nil || len(messages) != 1 {
		m.t.Fatalf("%d control messages, %v", len(messages), err)
	}
	from, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b[:n]), int(from.Pid)
}

// told returns the next datagram but those of the watchdog. It must be from that process.
func (m *manager) told(pid int) string {
	m.t.Helper()
	for {
		text, from := m.next()
		if text == "WATCHDOG=1" {
			continue
		}
		if from != pid {
			m.t.Errorf("process %d tells the service manager %q; process %d must", from, text, pid)
		}
		return text
	}
}

// expect checks the next datagram.
func (m *manager) expect(pid int, want string) {
	m.t.Helper()
	if got := m.told(pid); got != want {
		m.t.Errorf("the service manager is told %q, want %q", got, want)
	}
}

// notified starts a stackd that tells a manager, as the first of a lineage.
func notified(t testing.TB, file, path string) (*lineage, *manager) {
	t.Helper()
	m := newManager(t, path)
	program := filepath.Join(t.TempDir(), "stackd")
	copyFile(t, built(t), program)
	cmd := exec.Command(program, "run", filepath.Base(file))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=100000")
	return foundBy(t, cmd, program, file), m
}

// TestNotify holds that the service manager knows what the process does: all of its life, and that of the one that takes its
// place. Of several processes it is the supervisor that speaks, which is what systemd takes for the service.
func TestNotify(t *testing.T) {
	for name, workers := range map[string]int{"one process": 0, "a supervisor": 2} {
		t.Run(name, func(t *testing.T) {
			file := writeStack(t, fmt.Sprintf("processes: %d\nservers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, body: here}]\n", max(workers, 1)))
			l, m := notified(t, file, fmt.Sprintf("@stackd-tests-%d-%d", os.Getpid(), workers))
			m.expect(l.pid, "READY=1\nSTATUS=generation 1 serves stack.yaml")

			change := func(from, to, want string) {
				t.Helper()
				edit(t, file, from, to)
				if got := m.told(l.pid); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
					t.Errorf("the service manager is told %q before a reload", got)
				}
				m.expect(l.pid, want)
			}
			change("body: here", "body: there", "READY=1\nSTATUS=generation 2 serves stack.yaml")
			change("respond", "responds", "READY=1\nSTATUS=generation 2 serves stack.yaml; 1 reload refused")
			change("responds", "respond", "READY=1\nSTATUS=generation 3 serves stack.yaml; 1 reload refused")

			replaced := l.upgrade()
			m.expect(replaced, fmt.Sprintf("MAINPID=%d", l.pid))
			m.expect(l.pid, "READY=1\nSTATUS=generation 1 serves stack.yaml")
			l.gone(replaced)

			// And it lives, whatever becomes of its workers.
			pids := l.workers()
			if len(pids) != workers {
				t.Errorf("the workers are %v", pids)
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				l.gone(pid)
			}
			for range 3 {
				if text, pid := m.next(); text != "WATCHDOG=1" || pid != l.pid {
					t.Fatalf("process %d says %q; it must be the watchdog of process %d", pid, text, l.pid)
				}
			}
			if err := syscall.Kill(l.pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			m.expect(l.pid, "STOPPING=1\nSTATUS=stopping, when the requests under way have ended")
		})
	}
}

// TestNotifyNobody starts with a manager that isn't there.
func TestNotifyNobody(t *testing.T) {
	file := writeStack(t, "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [respond]\n")
	cmd := exec.Command(built(t), "run", file)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=/nonexistent/notify")
	out, err := cmd.CombinedOutput()
	if want := "stackd: NOTIFY_SOCKET is \"/nonexistent/notify\", where nobody can be told anything: "; err == nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("it ends with %v and says %q, want %q", err, out, want)
	}
}

// TestSystemdSocketActivate has systemd's own program hand the socket in, at the first connection.
func TestSystemdSocketActivate(t *testing.T) {
	activate := peer(t, "systemd-socket-activate")
	dir := filepath.Dir(writeStack(t, ""))
	path := filepath.Join(dir, "s")
	file := filepath.Join(dir, "stack.yaml")
	replace(t, file, fmt.Appendf(nil, "servers: [{use: http, listen: \"unix:s\"}]\nstack: [{use: respond, body: here}]\n"))
	cmd := exec.Command(activate, "-l", path, "--fdname=web", built(t), "run", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("systemd's socket is gone: %v", err)
		}
	})
	first := make([]byte, 1)
	if _, err := said.Read(first); err != nil { // it says that it listens
		t.Fatal(err)
	}
	transport := &http.Transport{Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", path) }} //nolint:staticcheck // a test needs no context
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	response, err := client.Get("http://stackd/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("it answers %s", response.Status)
	}
}

// TestUnits holds that systemd takes the units in stacks as they are meant, and finds the service well locked up.
func TestUnits(t *testing.T) {
	analyze := peer(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"stackd.service", "stackd.socket"} {
		text := fileSays(t, filepath.Join("../stacks", name))
		text = strings.ReplaceAll(text, "/usr/bin/stackd", built(t)) // which must be there
		replace(t, filepath.Join(dir, name), []byte(text))
	}
	service, socket := filepath.Join(dir, "stackd.service"), filepath.Join(dir, "stackd.socket")
	if out, err := exec.Command(analyze, "verify", "--man=no", service, socket).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// The threshold is in tenths: above 2.0 of 10 it is an error. Without any of the settings it is 9.6.
	if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold=20", service).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
	// What the text above promises.
	contains(t, "the service", fileSays(t, service), "Type=notify", "WatchdogSec=", "ExecReload=", "NoNewPrivileges=yes", "StateDirectory=stackd", "RuntimeDirectory=stackd")
}
