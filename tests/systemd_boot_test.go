package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// longFile is how long the file is that clients of a machine are slow to take.
const longFile = 64 << 20

// machine is one that systemd has booted: as the first process in namespaces of its own, which end with it.
type machine struct {
	t    testing.TB
	init int // systemd's process
	// file is the stack file.
	file string
}

// boot boots a machine that has the units in stacks installed, and that stack file.
func boot(t testing.TB, stack string) *machine {
	t.Helper()
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		unable(t, "the peer systemd is missing: %v", err)
	}
	for _, name := range []string{"unshare", "nsenter", "ip", "pgrep"} {
		peer(t, name)
	}
	if os.Geteuid() != 0 {
		unable(t, "only root can boot a machine")
	}
	dir := t.TempDir()
	for _, name := range []string{"root", "etc", "etc/site"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, built(t), filepath.Join(dir, "stackd"))
	if err := os.Chmod(filepath.Join(dir, "stackd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stackd.service", "stackd.socket"} {
		replace(t, filepath.Join(dir, name), []byte(fileSays(t, filepath.Join("../stacks", name))))
	}
	m := &machine{t: t, file: filepath.Join(dir, "etc", "stack.yaml")}
	replace(t, m.file, []byte(stack))
	replace(t, filepath.Join(dir, "etc", "site", "big"), make([]byte, longFile))
	told := newManager(t, filepath.Join(dir, "notify"))

	path, err := filepath.Abs("testdata/systemd/boot")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{dir}, cgroups(t)...)...)
	log := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); errors.Is(err, fs.ErrPermission) {
		unable(t, "no namespace can be made here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
		told.c.Close() // nothing more comes
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all others
		<-ended
		if t.Failed() {
			t.Logf("the machine says\n%s", log)
		}
	})
	m.init = cmd.Process.Pid
	for text := ""; !strings.Contains(text, "READY=1"); {
		text, _ = told.next()
	}
	return m
}

// cgroups makes a control group in each hierarchy that there is, below that of this process, until the end of the test.
func cgroups(t testing.TB) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(fileSays(t, "/proc/self/cgroup")) {
		_, controllers, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(controllers, ":")
		if controllers == "cpuset" { // a new group of it has no processors, and systemd needs none
			continue
		}
		root := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(controllers, "name="))
		if _, err := os.Stat("/sys/fs/cgroup/unified"); controllers == "" && err == nil {
			root = "/sys/fs/cgroup/unified"
		}
		group := filepath.Join(root, path, "stackd-tests-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			unable(t, "nobody can make control groups here, without which systemd does not boot: %v", err)
		}
		all = append(all, group)
		t.Cleanup(func() {
			var groups []string
			err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups = append(groups, path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			for i := range groups {
				if err := os.Remove(groups[len(groups)-1-i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return all
}

// command is one in the machine.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	in := []string{"--target", strconv.Itoa(m.init), "--mount", "--pid", "--net", "--cgroup", "--root", "--wd"}
	c := exec.CommandContext(ctx, "nsenter", append(in, args...)...)
	c.WaitDelay = time.Second // what it has started may live on, until the machine ends
	return c
}

// try runs a command in the machine, and returns all that it says.
func (m *machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	return string(out), err
}

// run is try with a command that must succeed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		journal, _ := m.try("journalctl", "--no-pager", "--lines=50") // it tells why
		m.t.Fatalf("%q: %v\n%s\n%s", args, err, out, journal)
	}
	return strings.TrimSpace(out)
}

// configure sets what is different for the service here than the unit says.
func (m *machine) configure(text string) {
	m.t.Helper()
	const dir = "/etc/systemd/system/stackd.service.d"
	m.run("sh", "-c", "mkdir -p "+dir+" && printf %s \"$0\" >"+dir+"/here.conf && systemctl daemon-reload", text)
}

// service returns a property of the service, as systemd knows it.
func (m *machine) service(property string) string {
	m.t.Helper()
	return m.run("systemctl", "show", "--value", "--property", property, "stackd.service")
}

// expect checks properties of the service, given as name=value.
func (m *machine) expect(properties ...string) {
	m.t.Helper()
	for _, p := range properties {
		name, want, _ := strings.Cut(p, "=")
		if got := m.service(name); got != want {
			m.t.Errorf("%s of the service is %q, want %q", name, got, want)
		}
	}
}

// answers checks what stackd answers. The connection waits until somebody accepts it.
func (m *machine) answers(want string) {
	m.t.Helper()
	if got := m.run("curl", "--silent", "--show-error", "--fail", "http://127.0.0.1/"); got != want {
		m.t.Errorf("it answers %q, want %q", got, want)
	}
}

// until does something, and waits until the journal of the service has a line that contains the text.
func (m *machine) until(text string, do func()) {
	m.t.Helper()
	_, cursor, ok := strings.Cut(m.run("journalctl", "--unit=stackd", "--lines=0", "--show-cursor"), "-- cursor: ")
	if !ok {
		m.t.Fatal("the journal has no cursor")
	}
	do()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	follow := m.command(ctx, "journalctl", "--unit=stackd", "--follow", "--output=cat", "--after-cursor="+cursor)
	lines, err := follow.StdoutPipe()
	if err == nil {
		err = follow.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = follow.Wait() // it was killed
	}()
	defer context.AfterFunc(ctx, func() { _ = lines.Close() })()
	var said strings.Builder
	for s := bufio.NewScanner(lines); s.Scan(); {
		if fmt.Fprintln(&said, s.Text()); strings.Contains(s.Text(), text) {
			return
		}
	}
	m.t.Fatalf("the journal doesn't say %q, but\n%s", text, &said)
}

// download asks for a file, does something when the first bytes of it have come, and returns how many came in all.
func (m *machine) download(url string, amid func()) int64 {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	curl := m.command(ctx, "curl", "--silent", "--fail", "--no-buffer", url)
	body, err := curl.StdoutPipe()
	if err == nil {
		err = curl.Start()
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := body.Read(make([]byte, 1)); err != nil {
		m.t.Fatal(err)
	}
	amid() // meanwhile nobody reads, so that stackd can't write
	n, err := io.Copy(io.Discard, body)
	if err = errors.Join(err, curl.Wait()); err != nil {
		m.t.Errorf("a download ends with %v", err)
	}
	return n + 1
}

// TestSystemd holds that the units in stacks do on a machine of systemd what they and the README say: from the start to the end,
// through whatever happens to a service.
func TestSystemd(t *testing.T) {
	m := boot(t, `control: unix:/run/stackd/control.sock
servers:
  - {use: http, listen: ":80"}
  - {use: http, as: second, listen: ":443"}
stack: [{use: respond, body: one}]
urls:
  /site/: {respond: {use: finder, root: .}}
`)
	const file = "/etc/stackd/stack.yaml"
	const started = "Started stackd.service"

	m.configure("[Unit]\nStartLimitIntervalSec=0\n") // it is started more often here than systemd allows
	m.run("systemctl", "start", "stackd.socket", "stackd.service")
	m.expect("ActiveState=active", "StatusText=generation 1 serves "+file, "NRestarts=0")
	m.answers("one")
	if user := m.run("ps", "-o", "user=", "-p", m.service("MainPID")); user != "stackd" {
		t.Errorf("it runs as %s", user)
	}

	edit(t, m.file, "one", "two")
	m.run("systemctl", "reload", "stackd")
	m.answers("two")
	contains(t, "the status", m.service("StatusText"), "serves "+file) // its watcher may have been faster, so that this is the third

	edit(t, m.file, "respond,", "respnd,")
	if out, err := m.try("systemctl", "reload", "stackd"); err == nil {
		t.Errorf("a bad stack file is taken: %s", out)
	}
	m.answers("two")
	m.expect("ActiveState=active")
	contains(t, "the status", m.service("StatusText"), "serves "+file+"; ", " refused")
	contains(t, "the journal", m.run("sh", "-c", "journalctl --no-pager --unit=stackd --output=cat | grep respnd"), file+`:5:15: unknown middleware or app "respnd"; did you mean "respond"?`)
	edit(t, m.file, "respnd,", "respond,")
	m.run("systemctl", "reload", "stackd")

	upgraded := func() {
		t.Helper()
		before := m.service("MainPID")
		out := m.run("stackd", "upgrade", file)
		m.answers("two")
		after := m.service("MainPID")
		if want := fmt.Sprintf("process %s serves; process %s ends when its requests have", after, before); out != want {
			t.Errorf("an upgrade says %q, want %q", out, want)
		}
		m.expect("ActiveState=active", "NRestarts=0", "StatusText=generation 1 serves "+file)
	}
	upgraded()

	// Of a restart nobody notices but the one that waits.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if out, err := m.try("curl", "--silent", "--show-error", "--fail", "http://127.0.0.1/"); err != nil {
				t.Errorf("a request fails amid a restart: %v\n%s", err, out)
			}
		}
		done <- n
	}()
	for range 3 {
		m.run("systemctl", "restart", "stackd")
	}
	cancel()
	t.Logf("%d requests during 3 restarts", <-done)

	// Whatever ends it, it is started again.
	replaced := func(signal, why string) {
		t.Helper()
		before := m.service("MainPID")
		m.until(started, func() { m.run("kill", "-"+signal, before) })
		m.answers("two")
		contains(t, "the journal", m.run("journalctl", "--no-pager", "--unit=stackd", "--output=cat"), why)
	}
	replaced("KILL", "code=killed, status=9/KILL")
	m.configure("[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=3s\n")
	m.run("systemctl", "restart", "stackd")
	replaced("STOP", "Watchdog timeout")
	m.configure("[Unit]\nStartLimitIntervalSec=0\n")

	// Several processes are no other service: the supervisor is its process.
	edit(t, m.file, "servers:", "processes: 2\nservers:")
	m.run("systemctl", "restart", "stackd")
	m.answers("two")
	if n := len(strings.Fields(m.run("pgrep", "-x", "stackd"))); n != 3 {
		t.Errorf("there are %d processes of the name stackd", n)
	}
	upgraded()
	replaced("KILL", "code=killed, status=9/KILL")

	// It may be stopped by its own command, too.
	m.until("stackd.service: Deactivated successfully", func() { m.run("stackd", "stop", file) })
	m.expect("Result=success")

	// It ends with the last request, after an upgrade as before.
	for _, processes := range []string{"processes: 2\n", ""} {
		edit(t, m.file, "(processes: 2\n)?servers:", processes+"servers:")
		m.run("systemctl", "restart", "stackd")
		upgraded()
		got := m.download("http://127.0.0.1/site/big", func() {
			m.until(`"msg":"stopping"`, func() { m.run("systemctl", "stop", "--no-block", "stackd.socket", "stackd.service") })
		})
		if got != longFile {
			t.Errorf("a client got %d bytes of %d", got, longFile)
		}
		m.run("systemctl", "stop", "stackd.service")
		m.expect("ActiveState=inactive", "Result=success")
		if out, err := m.try("pgrep", "-a", "stackd"); err == nil {
			t.Errorf("there is still\n%s", out)
		}
		m.run("systemctl", "start", "stackd.socket", "stackd.service")
	}
}
