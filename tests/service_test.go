package tests

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// writeStack writes a stack file to a folder of its own, and returns its path.
func writeStack(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stack.yaml")
	replace(t, file, []byte(content))
	return file
}

// fileSays reads a small file.
func fileSays(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFilesForScripts holds that a script finds the process and the port that the system has chosen.
func TestFilesForScripts(t *testing.T) {
	const stack = `servers:
  - {use: http, listen: ["127.0.0.1:0"]}
pid_file: stackd.pid
address_file: addresses
stack: [{use: respond, body: here}]
`
	file := writeStack(t, stack)
	s := start(t, file)
	dir := filepath.Dir(file)
	if got, want := fileSays(t, filepath.Join(dir, "stackd.pid")), fmt.Sprintln(s.cmd.Process.Pid); got != want {
		t.Errorf("the PID file has %q, want %q", got, want)
	}
	if got, want := fileSays(t, filepath.Join(dir, "addresses")), "127.0.0.1:0 "+s.bound("")+"\n"; got != want {
		t.Errorf("the address file has %q, want %q", got, want)
	}

	// Another one of the same name doesn't start.
	other := filepath.Join(dir, "other.yaml")
	replace(t, other, []byte(stack))
	out, err := exec.Command(built(t), "run", other).CombinedOutput()
	if want := fmt.Sprintf("stackd: process %d runs with pid_file %s already; stop that one first\n", s.cmd.Process.Pid, filepath.Join(dir, "stackd.pid")); err == nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("the second one ends with %v and says %q, want %q", err, out, want)
	}

	s.reload(func() { edit(t, file, `"127\.0\.0\.1:0"`, `"127.0.0.1:0", "unix:s"`) })
	want := "127.0.0.1:0 " + s.bound("") + "\nunix:" + filepath.Join(dir, "s") + " unix:" + filepath.Join(dir, "s") + "\n"
	if got := fileSays(t, filepath.Join(dir, "addresses")); got != want {
		t.Errorf("the address file has %q after the reload, want %q", got, want)
	}
	s.stop()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || strings.Join(left, " ") != other+" "+file {
		t.Errorf("%q are left, %v", left, err)
	}
}

// TestSocketActivation hands sockets in as systemd does.
func TestSocketActivation(t *testing.T) {
	file := writeStack(t, `servers:
  - {use: http, listen: "127.0.0.1:0"}
  - {use: http, as: local, listen: "unix:s"}
stack: [{use: respond, body: here}]
`)
	path := filepath.Join(filepath.Dir(file), "s")
	var files []*os.File
	var bound []string
	for _, network := range []string{"tcp", "unix", "tcp"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			address = path
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		f, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, bound = append(files, f), append(bound, ln.Addr().String())
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A connection that came before there was a server: it is what started it.
	early, err := net.Dial("tcp", bound[0])
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run stack.yaml`, built(t))
	cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES=http:stackd.socket:spare")
	cmd.ExtraFiles = files
	s := startCommand(t, cmd, file)

	if got := s.bound("127.0.0.1:0"); got != bound[0] {
		t.Errorf("it listens on %s, handed in was %s", got, bound[0])
	}
	if r := s.await("a socket was handed in that no server listens on; connections to it hang", nil); r["socket"] != bound[2]+` ("spare")` {
		t.Errorf("the log has %v", r)
	}
	if _, err := fmt.Fprint(early, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(early).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("the first connection got %q, %v", line, err)
	}
	unixURL := func() string {
		out, err := exec.Command(built(t), "status", "--json", file).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	contains(t, "the status", unixURL(), path)

	// A server that goes and comes again finds its socket, which stays open between.
	s.reload(func() { edit(t, file, `  - .use: http, as: local.*\n`, ``) })
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	s.reload(func() { edit(t, file, `stack:`, "  - {use: http, as: local, listen: \"unix:s\"}\nstack:") })
	if got := s.bound("unix:" + path); got != path {
		t.Errorf("it listens on %s", got)
	}
	s.stop()
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket of the service manager is gone: %v", err)
	}
}

// TestSocketActivationRefused starts with variables that can't be right.
func TestSocketActivationRefused(t *testing.T) {
	file := writeStack(t, "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [respond]\n")
	for fds, want := range map[string]string{
		"x":   `stackd: sockets of the service manager: LISTEN_FDS is "x"; it must be the number of sockets that are handed in`,
		"100": "stackd: sockets of the service manager: LISTEN_FDS is 100, but descriptor ",
	} {
		t.Run(fds, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run "$1"`, built(t), file)
			cmd.Env = append(os.Environ(), "LISTEN_FDS="+fds)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(out), want) {
				t.Errorf("it ends with %v and says %s", err, strconv.Quote(string(out)))
			}
		})
	}
}
