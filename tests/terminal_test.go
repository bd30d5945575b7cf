package tests

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal of 80 columns and 24 rows, and what was written to it.
type terminal struct {
	t      testing.TB
	master *os.File

	mu      sync.Mutex
	written bytes.Buffer
	grown   chan struct{} // closed, and replaced, when there is more
	ended   chan struct{} // closed when nothing more comes
}

// onTerminal starts a command that has a terminal.
func onTerminal(t testing.TB, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		unable(t, "there are no terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: master, grown: make(chan struct{}), ended: make(chan struct{})}
	go term.read()
	return term
}

func (term *terminal) read() {
	defer close(term.ended)
	buffer := make([]byte, 4096)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		term.written.Write(buffer[:n])
		close(term.grown)
		term.grown = make(chan struct{})
		term.mu.Unlock()
		if err != nil { // EIO: nobody has the terminal any more
			return
		}
	}
}

// text returns all that was written.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.written.String()
}

// await waits until what was written is as wanted.
func (term *terminal) await(what string, wanted func(text string) bool) {
	term.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		term.mu.Lock()
		grown := term.grown
		term.mu.Unlock()
		if wanted(term.text()) {
			return
		}
		select {
		case <-grown:
		case <-limit.C:
			term.t.Fatalf("the terminal has no %s within %s: %q", what, patience, term.text())
		}
	}
}

// TestUpgradeOnTerminal holds that what is logged to a terminal is for people also after another process has taken over.
func TestUpgradeOnTerminal(t *testing.T) {
	for name, processes := range map[string]string{"one process": "1", "a supervisor": "2"} {
		t.Run(name, func(t *testing.T) {
			file := writeStack(t, "processes: "+processes+"\nservers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, body: here}]\n")
			cmd := exec.Command("sh", "-c", `"$0" run stack.yaml; exec cat`, built(t)) // a shell keeps the terminal
			cmd.Dir = filepath.Dir(file)
			term := onTerminal(t, cmd)
			has := func(what string) {
				t.Helper()
				term.await(what, func(text string) bool { return strings.Contains(text, what) })
			}
			has("generation serves")
			out, err := exec.Command(built(t), "upgrade", file).CombinedOutput()
			if err != nil {
				t.Fatalf("upgrade: %v\n%s", err, out)
			}
			has("this process has taken over")
			if out, err := exec.Command(built(t), "stop", file).CombinedOutput(); err != nil {
				t.Fatalf("stop: %v\n%s", err, out)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			<-term.ended
			if text := term.text(); strings.Contains(text, "{") {
				t.Errorf("the terminal has %q", text)
			}
		})
	}
}

// TestStatusWatch proves, on a real terminal, that status --watch shows one status in the place of the other, and
// gives the terminal back as it was.
func TestStatusWatch(t *testing.T) {
	t.Parallel()
	s := site{t, filepath.Join(t.TempDir(), "site")}
	s.make("one")
	run := start(t, s.join("stack.yaml"))
	const (
		enter, leave = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
		begin, end   = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"
	)
	watch := func() (*exec.Cmd, *terminal) {
		cmd := exec.Command(built(t), "status", "--watch")
		cmd.Dir = s.dir
		term := onTerminal(t, cmd)
		term.await("second frame", func(text string) bool { return strings.Count(text, end) >= 2 })
		return cmd, term
	}
	finished := func(cmd *exec.Cmd, term *terminal) (text string, err error) {
		t.Helper()
		err = cmd.Wait()
		<-term.ended
		return term.text(), err
	}

	t.Run("ended by ^C", func(t *testing.T) {
		cmd, term := watch()
		if _, err := io.WriteString(term.master, "\x03"); err != nil {
			t.Fatal(err)
		}
		text, err := finished(cmd, term)
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
		text = strings.ReplaceAll(text, "^C", "") // the terminal's echo
		shown, ok := strings.CutPrefix(text, enter)
		shown, given := strings.CutSuffix(shown, leave)
		if !ok || !given || strings.Contains(shown, leave) || strings.Contains(shown, "\x1b[2J") {
			t.Fatalf("it wrote %q", text)
		}
		for frame := range strings.SplitSeq(strings.TrimSuffix(shown, end), end) {
			body, ok := strings.CutPrefix(frame, begin)
			if !ok || !strings.Contains(body, "process "+strconv.Itoa(run.cmd.Process.Pid)+" serves, up ") || strings.Count(body, "\n") >= 24 {
				t.Errorf("a frame is %q", frame)
			}
			for line := range strings.SplitSeq(strings.ReplaceAll(body, "\x1b[K", ""), "\r\n") {
				if n := len([]rune(line)); n > 80 {
					t.Errorf("a line has %d columns: %q", n, line)
				}
			}
		}
	})
	t.Run("ended by the end of what it watches", func(t *testing.T) {
		cmd, term := watch()
		run.stop()
		text, err := finished(cmd, term)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			t.Errorf("it ended with %v", err)
		}
		_, after, given := strings.Cut(text, leave)
		if !given || !strings.Contains(after, "stackd: control socket ") {
			t.Errorf("it wrote %q", text)
		}
	})
}
