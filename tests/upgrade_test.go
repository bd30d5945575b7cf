package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
)

// lineage is a stackd and those that take its place, each after the other. All of them log to the first one's standard error.
type lineage struct {
	*server
	program string // where it is installed
	pid     int    // of the one that serves
}

// install puts another program where the running one was started.
func (l *lineage) install(program string) {
	l.t.Helper()
	if err := os.Remove(l.program); err != nil { // as package managers do
		l.t.Fatal(err)
	}
	copyFile(l.t, program, l.program)
}

// script installs a shell script.
func (l *lineage) script(text string) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.install(file)
}

// copyFile copies a program.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o700); err != nil {
		t.Fatal(err)
	}
}

// found starts the first of a lineage.
func found(t testing.TB, file string) *lineage {
	t.Helper()
	program := filepath.Join(t.TempDir(), "stackd")
	copyFile(t, built(t), program)
	return foundBy(t, exec.Command(program, "run", "--log-level", "debug", filepath.Base(file)), program, file)
}

// foundBy is found for a command line of one's own.
func foundBy(t testing.TB, cmd *exec.Cmd, program, file string) *lineage {
	t.Helper()
	l := &lineage{program: program, server: startCommand(t, cmd, file)}
	l.pid = l.cmd.Process.Pid
	t.Cleanup(func() { // before the first one's end is looked at, which must have ended by then
		if err := syscall.Kill(l.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", l.pid, err)
		}
		l.gone(l.pid)
	})
	return l
}

// gone waits until a process has ended.
func (l *lineage) gone(pid int) {
	l.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // it has been gone for long
		return
	}
	defer func() { _ = unix.Close(fd) }()
	limit := time.Now().Add(patience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(limit).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			l.t.Fatal(err)
		case n == 0:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			l.t.Errorf("process %d does not end:\n%s", pid, l.log())
			return
		default:
			return
		}
	}
}

// upgrade runs the command, which must work, and returns the process that was replaced.
func (l *lineage) upgrade() (replaced int) {
	l.t.Helper()
	replaced = l.pid
	out, err := exec.Command(built(l.t), "upgrade", l.file).CombinedOutput()
	if err != nil {
		l.t.Fatalf("upgrade: %v\n%s\nthe log:\n%s", err, out, l.log())
	}
	if _, err := fmt.Sscanf(string(out), "process %d serves", &l.pid); err != nil || l.pid == replaced {
		l.t.Fatalf("upgrade says %q", out)
	}
	if want := fmt.Sprintf("process %d serves; process %d ends when its requests have\n", l.pid, replaced); string(out) != want {
		l.t.Errorf("upgrade says %q, want %q", out, want)
	}
	return replaced
}

// status returns the number of the process that the control socket reaches.
func (l *lineage) status() (pid int) {
	l.t.Helper()
	out, err := exec.Command(built(l.t), "status", "--json", l.file).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	var s struct{ PID int }
	if err := json.Unmarshal(out, &s); err != nil {
		l.t.Fatal(err)
	}
	return s.PID
}

const upgradeStack = `servers:
  - {use: http, listen: ["127.0.0.1:0", "unix:s"]}
pid_file: stackd.pid
address_file: addresses
stack:
  - errors
  - {use: respond, body: here}
urls:
  /socket/: {respond: {use: proxy, to: "%s"}}
`

// echo is the other end of WebSockets: it says what it is told.
func echo(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	for {
		kind, text, err := ws.Read(r.Context())
		if err != nil || ws.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}

// echoServer is a server of WebSockets that say what they are told.
func echoServer(t testing.TB) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(s.Close)
	return s
}

// TestUpgrade has ten processes take each other's place under load. No request fails, a WebSocket lives on with the process that it began with,
// and what the lineage owns goes from each to the next.
func TestUpgrade(t *testing.T) {
	dir := filepath.Dir(writeStack(t, ""))
	file := filepath.Join(dir, "stack.yaml")
	replace(t, file, fmt.Appendf(nil, upgradeStack, echoServer(t).URL))
	l := found(t, file)
	bound := l.bound("127.0.0.1:0")
	addresses := fileSays(t, filepath.Join(dir, "addresses"))

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+bound+"/socket/", nil) //nolint:bodyclose // the connection has been taken over; there is no body
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow() //nolint:errcheck // it is closed in any case
	echo := func(text string) {
		t.Helper()
		if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatalf("the WebSocket: %v", err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != text {
			t.Fatalf("the WebSocket brought %q, %v; it must bring %q", got, err, text)
		}
	}
	echo("before")

	clients := newTraffic(t, "http://"+bound+"/", "here", 2, 1)
	first := l.pid
	for n := range 10 {
		replaced := l.upgrade()
		if got := l.status(); got != l.pid {
			t.Errorf("process %d has the control socket; it must be %d", got, l.pid)
		}
		if n > 0 {
			l.gone(replaced)
		}
		clients.more(t, 20)
		if got, want := fileSays(t, filepath.Join(dir, "stackd.pid")), fmt.Sprintln(l.pid); got != want {
			t.Errorf("the PID file has %q, want %q", got, want)
		}
		if got := fileSays(t, filepath.Join(dir, "addresses")); got != addresses {
			t.Errorf("the address file has %q, before it was %q", got, addresses)
		}
	}
	clients.good(t)
	echo("after")
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	l.gone(first)
	if n := len(l.matching("upgraded: another process serves, and this one ends when its requests have")); n != 10 {
		t.Errorf("%d upgrades are in the log:\n%s", n, l.log())
	}
	if all := l.matching("requests outlived the drain deadline and are cancelled"); len(all) > 0 {
		t.Errorf("%v", all)
	}

	// The last one ends as the first would have.
	out, err := exec.Command(built(t), "stop", file).CombinedOutput()
	if err != nil || string(out) != "stopped\n" {
		t.Errorf("stop: %v\n%s", err, out)
	}
	l.gone(l.pid)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || strings.Join(left, " ") != file {
		t.Errorf("%q are left, %v", left, err)
	}
}

// matching returns the records of that message.
func (s *server) matching(msg string) (all []record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r["msg"] == msg {
			all = append(all, r)
		}
	}
	return all
}

// TestUpgradeRefused installs programs that don't take over. The old one serves on, and the command says why.
func TestUpgradeRefused(t *testing.T) {
	stack := fmt.Sprintf(upgradeStack, "http://127.0.0.1:1")
	l := found(t, writeStack(t, stack))
	dir := filepath.Dir(l.file)
	good := built(t)
	tests := []struct {
		name    string
		prepare func()
		want    []string
	}{
		{"crashes", func() { l.script("echo begins >&2; echo no such library >&2; exit 3") }, []string{
			"begins\nno such library\nstackd: the new process ended before it was ready: exit status 3; generation 1 serves on\n",
		}},
		{"killed", func() { l.script("kill -SEGV $$") }, []string{"stackd: the new process ended before it was ready: signal: segmentation fault"}},
		{"does nothing", func() { l.script("exit 0") }, []string{"ended before it was ready, without an error; is it stackd?"}},
		{"says too much", func() { l.script("yes 'no such library' | head -n 100000 >&2; exit 1") }, []string{"no such library\nno such library\nstackd: the new process ended"}},
		{"no program", func() {
			l.script("")
			if err := os.Chmod(l.program, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"stackd: the new program can't be started: ", "permission denied; generation 1 serves on\n"}},
		{"a bad stack file", func() {
			l.install(good)
			n := l.seen()
			replace(t, l.file, []byte(stack+"deadlines: {stop: never}\n"))
			l.awaitAfter(n, "reload refused, the old generation serves on", nil)
		}, []string{l.filename() + `:10:19: deadlines: stop is "never"`, "stackd: the new process ended before it was ready: exit status 1; generation 1 serves on\n"}},
		{"a taken address", func() {
			n := l.seen()
			replace(t, l.file, []byte(strings.Replace(stack, `"unix:s"`, `"unix:s", "`+takenAddress(t)+`"`, 1)))
			l.awaitAfter(n, "reload refused, the old generation serves on", nil)
		}, []string{"address already in use", "exit status 1; generation 1 serves on\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.prepare()
			out, err := exec.Command(good, "upgrade", l.file).CombinedOutput()
			if err == nil || len(out) > 8<<10 {
				t.Errorf("upgrade ends with %v and says %d bytes", err, len(out))
			}
			contains(t, "upgrade", string(out), test.want...)
			if got := l.get(http.DefaultClient, "/"); got.body != "here" {
				t.Errorf("it serves %d %q", got.status, got.body)
			}
			if got := l.status(); got != l.pid {
				t.Errorf("process %d has the control socket; it must be %d", got, l.pid)
			}
			if got, want := fileSays(t, filepath.Join(dir, "stackd.pid")), fmt.Sprintln(l.pid); got != want {
				t.Errorf("the PID file has %q, want %q", got, want)
			}
			if _, err := os.Stat(filepath.Join(dir, "s")); err != nil {
				t.Error(err)
			}
		})
	}
	// And after all of that, it works.
	replace(t, l.file, []byte(stack))
	l.gone(l.upgrade())
}

func (s *server) filename() string { return filepath.Base(s.file) }

// takenAddress returns an address where somebody listens already.
func takenAddress(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestUpgradeHangs installs a program that never says that it serves. It is ended with what it has started.
func TestUpgradeHangs(t *testing.T) {
	l := found(t, writeStack(t, fmt.Sprintf(upgradeStack, "http://127.0.0.1:1")+"deadlines: {check: 1s, build: 4s, listen: 1s}\n"))
	grandchild := filepath.Join(t.TempDir(), "pid")
	l.script("sleep 1000 & echo $! >" + grandchild + "; echo waits >&2; wait")
	out, err := exec.Command(built(t), "upgrade", l.file).CombinedOutput()
	if want := "waits\nstackd: the new process is not ready: it took longer than 11s; generation 1 serves on\n"; err == nil || string(out) != want {
		t.Errorf("upgrade ends with %v and says %q, want %q", err, out, want)
	}
	if got := l.get(http.DefaultClient, "/"); got.body != "here" {
		t.Errorf("it serves %d %q", got.status, got.body)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(fileSays(t, grandchild)))
	if err != nil {
		t.Fatal(err)
	}
	l.gone(pid)
}

// TestUpgradeOneAtATime asks for a second upgrade while one is under way, for a reload, and for an end.
func TestUpgradeOneAtATime(t *testing.T) {
	l := found(t, writeStack(t, fmt.Sprintf(upgradeStack, "http://127.0.0.1:1")))
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l.script("echo >" + fifo + "; exec sleep 1000") // says that it runs
	var out bytes.Buffer
	first := exec.Command(built(t), "upgrade", l.file)
	first.Stdout, first.Stderr = &out, &out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(fifo); err != nil {
		t.Fatal(err)
	}
	second, err := exec.Command(built(t), "upgrade", l.file).CombinedOutput()
	if want := "stackd: an upgrade is under way already; generation 1 serves on\n"; err == nil || string(second) != want {
		t.Errorf("the second upgrade ends with %v and says %q, want %q", err, second, want)
	}
	// Who asked for it gives it up.
	if err := first.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil {
		t.Errorf("an upgrade that was given up works: %s", &out)
	}
	l.await("upgrade refused, this process serves on", nil)
	if got := l.get(http.DefaultClient, "/"); got.body != "here" {
		t.Errorf("it serves %d %q", got.status, got.body)
	}

	// The other way to ask.
	l.install(built(t))
	replaced := l.pid
	if err := syscall.Kill(l.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	r := l.await("upgraded: another process serves, and this one ends when its requests have", nil)
	l.pid = int(r["pid"].(float64))
	l.gone(replaced)
	if got := l.status(); got != l.pid {
		t.Errorf("process %d has the control socket; it must be %d", got, l.pid)
	}
}

// TestUpgradeSupervised has supervisors with workers take each other's place under load, the last one with fewer. No request
// fails, and the workers of those that were replaced are gone.
func TestUpgradeSupervised(t *testing.T) {
	dir := filepath.Dir(writeStack(t, ""))
	file := filepath.Join(dir, "stack.yaml")
	stack := fmt.Sprintf(upgradeStack, echoServer(t).URL)
	replace(t, file, []byte(stack+"processes: 2\n"))
	l := found(t, file)
	bound := l.bound("127.0.0.1:0")
	clients := newTraffic(t, "http://"+bound+"/", "here", 2, 1)
	var workers []int
	for range 2 {
		workers = append(workers, l.workers()...)
		replaced := l.upgrade()
		if got := l.status(); got != l.pid {
			t.Errorf("process %d has the control socket; it must be %d", got, l.pid)
		}
		clients.more(t, 20)
		l.gone(replaced)
	}
	// What a reload can't, since one process serves by itself and several are supervised.
	replaced := l.pid
	workers = append(workers, l.workers()...)
	n := l.seen()
	replace(t, file, []byte(stack))
	l.awaitAfter(n, "generation serves", nil)
	l.upgrade()
	clients.more(t, 20)
	l.gone(replaced)
	if got := l.workers(); len(got) > 0 {
		t.Errorf("one process has the workers %v", got)
	}
	clients.good(t)
	if len(workers) < 4 {
		t.Errorf("the workers were %v", workers)
	}
	for _, pid := range workers {
		l.gone(pid)
	}
	if got, want := fileSays(t, filepath.Join(dir, "stackd.pid")), fmt.Sprintln(l.pid); got != want {
		t.Errorf("the PID file has %q, want %q", got, want)
	}
}

// workers returns the processes that the one which serves has started.
func (l *lineage) workers() (pids []int) {
	l.t.Helper()
	out, err := exec.Command(built(l.t), "status", "--json", l.file).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	var s struct {
		Workers []struct{ PID int }
	}
	if err := json.Unmarshal(out, &s); err != nil {
		l.t.Fatal(err)
	}
	for _, w := range s.Workers {
		pids = append(pids, w.PID)
	}
	return pids
}

// TestUpgradeProcess1 holds that the first process of a container, with which that ends, does not give its place away.
func TestUpgradeProcess1(t *testing.T) {
	unshare := peer(t, "unshare")
	if out, err := exec.Command(unshare, "--pid", "--fork", "true").CombinedOutput(); err != nil {
		unable(t, "processes can't have numbers of their own here: %v: %s", err, out)
	}
	file := writeStack(t, "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, body: here}]\n")
	s := startCommand(t, exec.Command(unshare, "--pid", "--fork", "--kill-child", built(t), "run", "stack.yaml"), file)
	t.Cleanup(func() { // whoever gets the signal of the server's own end would be killed by it
		if out, err := exec.Command(built(t), "stop", file).CombinedOutput(); err != nil {
			t.Errorf("stop: %v\n%s", err, out)
			return
		}
		err := <-s.exited
		s.exited <- err
	})
	out, err := exec.Command(built(t), "upgrade", file).CombinedOutput()
	want := "stackd: this is process 1 of a container, which would end with it; start a new container instead; generation 1 serves on\n"
	if err == nil || string(out) != want {
		t.Errorf("upgrade ends with %v and says %q, want %q", err, out, want)
	}
	if got := s.get(http.DefaultClient, "/"); got.body != "here" {
		t.Errorf("it serves %d %q", got.status, got.body)
	}
}
