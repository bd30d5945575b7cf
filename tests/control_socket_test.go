package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestControlSocket proves where the control socket of a stack file that names none is, who has it when several want it,
// and what is said when there can be none.
func TestControlSocket(t *testing.T) {
	t.Parallel()
	const none = "there is no control socket; stackd status and the like won't find this process"
	command := func(s site, env ...string) *exec.Cmd {
		c := exec.Command(built(s.t), "run", "stack.yaml")
		c.Env = append(os.Environ(), env...)
		return c
	}
	status := func(s site, want string, env ...string) {
		s.t.Helper()
		c := exec.Command(built(s.t), "status", "stack.yaml")
		c.Dir, c.Env = s.dir, append(os.Environ(), env...)
		out, _ := c.CombinedOutput()
		contains(s.t, "stackd status", string(out), want)
	}
	for _, tt := range []struct {
		name string
		run  func(s site)
	}{
		{"beside the stack file", func(s site) {
			run := startCommand(s.t, command(s), s.join("stack.yaml"))
			info, err := os.Lstat(s.join(".stack.yaml.sock"))
			s.must(err)
			if info.Mode() != os.ModeSocket|0o600 {
				s.t.Errorf("its mode is %s", info.Mode())
			}
			status(s, fmt.Sprintf("process %d serves", run.cmd.Process.Pid))
			run.stop()
			status(s, "no stackd runs stack.yaml: there is no socket "+s.join(".stack.yaml.sock")+" or ")
		}},
		{"two on the same file", func(s site) {
			first := startCommand(s.t, command(s), s.join("stack.yaml"))
			second := startCommand(s.t, command(s), s.join("stack.yaml"))
			r := second.await(none, nil)
			contains(s.t, "the log", fmt.Sprint(r["err"]), fmt.Sprintf("control: process %d has the socket %q already", first.cmd.Process.Pid, s.join(".stack.yaml.sock")))
			for _, run := range []*server{first, second} {
				if got := run.get(http.DefaultClient, "/").body; got != "one" {
					s.t.Errorf("it answers %q", got)
				}
			}
			second.stop()
			status(s, fmt.Sprintf("process %d serves", first.cmd.Process.Pid)) // its socket is still there
		}},
		{"two on the same file, which names it", func(s site) {
			s.save("one", "control: unix:c.sock\n")
			first := startCommand(s.t, command(s), s.join("stack.yaml"))
			c := command(s)
			c.Dir = s.dir
			out, err := c.CombinedOutput()
			if err == nil || c.ProcessState.ExitCode() != 1 {
				s.t.Errorf("the second ended with %v", err)
			}
			contains(s.t, "what it says", string(out), fmt.Sprintf("control: process %d has the socket %q already", first.cmd.Process.Pid, s.join("c.sock")))
		}},
		{"one that nobody answers", func(s site) {
			first := startCommand(s.t, command(s), s.join("stack.yaml"))
			s.must(first.cmd.Process.Kill())
			if err := <-first.exited; err == nil {
				s.t.Error("it ended well although it was killed")
			}
			first.exited <- nil
			status(s, fmt.Sprintf("control socket %q: ", s.join(".stack.yaml.sock")))
			second := startCommand(s.t, command(s), s.join("stack.yaml"))
			status(s, fmt.Sprintf("process %d serves", second.cmd.Process.Pid))
		}},
		{"something else is there", func(s site) {
			s.must(os.WriteFile(s.join(".stack.yaml.sock"), []byte("mine"), 0o600))
			run := startCommand(s.t, command(s), s.join("stack.yaml"))
			r := run.await(none, nil)
			contains(s.t, "the log", fmt.Sprint(r["err"]), "something else is there")
			run.stop()
			if text, err := os.ReadFile(s.join(".stack.yaml.sock")); err != nil || string(text) != "mine" {
				s.t.Errorf("it is %q, %v", text, err)
			}
		}},
		{"in the runtime folder", func(s site) {
			runtime := "XDG_RUNTIME_DIR=" + s.runtime()
			c := command(s, runtime)
			asNobody(s.t, c, s.dir)
			s.closed()
			run := startCommand(s.t, c, s.join("stack.yaml"))
			status(s, fmt.Sprintf("process %d serves", run.cmd.Process.Pid), runtime)
		}},
		{"nowhere", func(s site) {
			runtime := "XDG_RUNTIME_DIR=" + s.join("missing")
			c := command(s, runtime)
			asNobody(s.t, c, s.dir)
			s.closed()
			run := startCommand(s.t, c, s.join("stack.yaml"))
			run.await("there is no control socket, since neither folder for it can be written; the stack file's control: may name another", nil)
			status(s, "no stackd runs stack.yaml: there is no socket ", runtime)
			s.must(run.cmd.Process.Signal(syscall.SIGHUP)) // which is what is left
			run.await("generation serves", func(r record) bool { return r["generation"] == 2.0 })
		}},
		{"where the path would be too long", func(s site) {
			s.must(os.Chmod(s.dir, 0o755))
			runtime := "XDG_RUNTIME_DIR=" + s.runtime()
			s.dir = filepath.Join(s.dir, strings.Repeat("long", 25))
			s.make("one")
			run := startCommand(s.t, command(s, runtime), s.join("stack.yaml"))
			status(s, fmt.Sprintf("process %d serves", run.cmd.Process.Pid), runtime)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := site{t, filepath.Join(t.TempDir(), "site")}
			s.make("one")
			tt.run(s)
		})
	}
}

// runtime makes a folder that everybody may write to, with a short path, and returns it.
func (s site) runtime() string {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "run")
	s.must(err)
	s.t.Cleanup(func() { s.must(os.RemoveAll(dir)) })
	s.must(os.Chmod(dir, 0o777))
	return dir
}

// closed lets nobody but root write to the folder.
func (s site) closed() {
	s.t.Helper()
	s.must(os.Chmod(s.dir, 0o555))
	s.t.Cleanup(func() { s.must(os.Chmod(s.dir, 0o755)) })
}
