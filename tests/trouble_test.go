package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stackd/stackd/cmd/control"
)

// site is a folder with a stack that a test does harm to.
type site struct {
	t   testing.TB
	dir string
}

func (s site) join(name string) string { return filepath.Join(s.dir, name) }

func (s site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// stack returns a stack file that answers with a text, and may have more in it.
func (s site) stack(text, more string) []byte {
	return fmt.Appendf(nil, "servers:\n  - {use: http, listen: \"127.0.0.1:0\"}\n%sstack: [errors, {use: respond, body: %q}]\n", more, text)
}

// save puts a stack file in place.
func (s site) save(text, more string) {
	s.t.Helper()
	replace(s.t, s.join("stack.yaml"), s.stack(text, more))
}

// make makes the folder and what is in it.
func (s site) make(text string) {
	s.t.Helper()
	s.must(os.MkdirAll(s.dir, 0o755))
	s.must(os.Chmod(s.dir, 0o755))
	s.save(text, "")
}

// nobody is a user without rights.
const nobody = 65534

// asNobody makes a command run for a user without rights, who may open the folder. Whoever isn't root is one.
func asNobody(t testing.TB, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	for _, path := range []string{dir, filepath.Dir(cmd.Path)} {
		for ; path != "/" && path != filepath.Clean(os.TempDir()); path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for dir := os.TempDir(); dir != "/"; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			unable(t, "%s is closed to others: %v", dir, err)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// TestTrouble proves that a stack whose files are harmed serves on, that the log says what is wrong, and that it
// follows its file again when that is back.
func TestTrouble(t *testing.T) {
	t.Parallel()
	const refused = "reload refused, the old generation serves on"
	for _, tt := range []struct {
		name string
		// harm is done to the site, and undo takes it back, with a stack file that answers "two".
		harm, undo func(s site)
		// want is what the log says.
		want string
		// unprivileged says that it must not run as root.
		unprivileged bool
	}{
		{
			name: "the file is deleted",
			harm: func(s site) { s.must(os.Remove(s.join("stack.yaml"))) },
			undo: func(s site) { s.save("two", "") },
			want: "no such file or directory",
		},
		{
			name: "the file can't be read", unprivileged: true,
			harm: func(s site) { s.must(os.Chmod(s.join("stack.yaml"), 0)) },
			undo: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			want: "permission denied",
		},
		{
			name: "the folder is closed", unprivileged: true,
			harm: func(s site) { s.must(os.Chmod(s.dir, 0)) },
			undo: func(s site) { s.must(os.Chmod(s.dir, 0o755)); s.save("two", "") },
			want: "permission denied",
		},
		{
			name: "the folder is deleted",
			harm: func(s site) { s.must(os.RemoveAll(s.dir)) },
			undo: func(s site) { s.make("two") },
			want: "no such file or directory",
		},
		{
			name: "the folder is replaced",
			harm: func(s site) { s.must(os.Rename(s.dir, s.dir+".old")); s.must(os.Mkdir(s.dir, 0o755)) },
			undo: func(s site) { s.make("two") },
			want: "no such file or directory",
		},
		{
			name: "a folder takes its place",
			harm: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.must(os.Mkdir(s.join("stack.yaml"), 0o755)) },
			undo: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			want: "it is a folder; it must be a stack file",
		},
		{
			name: "a pipe takes its place",
			harm: func(s site) {
				s.must(os.Remove(s.join("stack.yaml")))
				s.must(syscall.Mkfifo(s.join("stack.yaml"), 0o644))
			},
			undo: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			want: "it is a pipe that nobody writes to; it must be a stack file",
		},
		{
			name: "a socket takes its place",
			harm: func(s site) {
				s.must(os.Remove(s.join("stack.yaml")))
				l, err := net.Listen("unix", s.join("stack.yaml"))
				s.must(err)
				s.t.Cleanup(func() { l.Close() })
			},
			undo: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			want: "no such device or address",
		},
		{
			name: "it has a gigabyte",
			harm: func(s site) { s.must(os.Truncate(s.join("stack.yaml"), 1<<30)) },
			undo: func(s site) { s.save("two", "") },
			want: "the file is larger than 2 MiB; a stack file must not be",
		},
		{
			name: "it links to itself",
			harm: func(s site) {
				s.must(os.Remove(s.join("stack.yaml")))
				s.must(os.Symlink("stack.yaml", s.join("stack.yaml")))
			},
			undo: func(s site) { s.must(os.Remove(s.join("stack.yaml"))); s.save("two", "") },
			want: "too many levels of symbolic links",
		},
		{
			name: "it is empty",
			harm: func(s site) { s.must(os.Truncate(s.join("stack.yaml"), 0)) },
			undo: func(s site) { s.save("two", "") },
			want: "the file is empty",
		},
		{
			name: "an included file is missing",
			harm: func(s site) { s.save("two", "include: [more.yaml]\n") },
			undo: func(s site) { replace(s.t, s.join("more.yaml"), []byte("urls: {/a: {respond: {body: a}}}\n")) },
			want: "no such file or directory",
		},
		{
			name: "a socket is taken",
			harm: func(s site) {
				l, err := net.Listen("unix", s.join("s"))
				s.must(err)
				s.t.Cleanup(func() { l.Close() })
				s.save("two", "  - {use: http, listen: \"unix:s\"}\n")
			},
			undo: func(s site) { s.save("two", "  - {use: http, listen: \"unix:s2\"}\n") },
			want: "address already in use: somebody answers there",
		},
		{
			name: "something else is where a socket shall be",
			harm: func(s site) {
				s.must(os.WriteFile(s.join("s"), nil, 0o600))
				s.save("two", "  - {use: http, listen: \"unix:s\"}\n")
			},
			undo: func(s site) {
				s.must(os.Remove(s.join("s")))
				s.save("two", "  - {use: http, listen: \"unix:s\"}\n# again\n")
			},
			want: "something else is there",
		},
		{
			name: "no folder for a socket",
			harm: func(s site) { s.save("two", "  - {use: http, listen: \"unix:run/s\"}\n") },
			undo: func(s site) {
				s.must(os.Mkdir(s.join("run"), 0o755))
				s.save("two", "  - {use: http, listen: \"unix:run/s\"}\n# again\n")
			},
			want: "no such file or directory",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := site{t, filepath.Join(t.TempDir(), "site")}
			s.make("one")
			cmd := exec.Command(built(t), "run", "stack.yaml")
			if tt.unprivileged {
				asNobody(t, cmd, s.dir)
			}
			run := startCommand(t, cmd, s.join("stack.yaml"))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			answers := func(when, want string) {
				t.Helper()
				if got := run.get(client, "/"); got.body != want {
					t.Errorf("%s it answers %q, want %q\n%s", when, got.body, want, run.log())
				}
			}
			answers("before", "one")
			n := run.seen()
			tt.harm(s)
			run.awaitAfter(n, refused, func(r record) bool {
				return strings.Contains(fmt.Sprint(r["err"]), tt.want) || strings.Contains(run.log(), tt.want)
			})
			answers("during the trouble", "one")
			n = run.seen()
			tt.undo(s)
			run.awaitAfter(n, "generation serves", nil)
			answers("afterwards", "two")
		})
	}
}

// TestDiskFull proves that a stack serves on when nothing can be written any more, and follows its file again when there
// is room. What needs to write fails for itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
	s := site{t, dir}
	stack := func(text string) []byte {
		return fmt.Appendf(nil, `servers: [{use: http, listen: "127.0.0.1:0"}]
address_file: run/addresses
stack:
  - {use: errors, reporters: [{use: files, folder: var/errors}]}
  - {use: session, store: {use: sqlite, path: var/sessions.db}}
  - {use: finder, root: site, factories: {.html: template}}
vars: {text: %s}
`, text)
	}
	for _, name := range []string{"site", "var", "run"} {
		s.must(os.Mkdir(s.join(name), 0o755))
	}
	s.must(os.WriteFile(s.join("site/index.html"), []byte("{{.Vars.text}}"), 0o644))
	s.must(os.WriteFile(s.join("site/plain.txt"), []byte("plain"), 0o644))
	s.must(os.WriteFile(s.join("site/count.html"), []byte(`{{.Session.Add "n" 1}}`), 0o644))
	s.must(os.WriteFile(s.join("stack.yaml"), stack("one"), 0o644))
	run := start(t, s.join("stack.yaml"))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answers := func(when, path, want string) {
		t.Helper()
		if got := run.get(client, path); got.body != want {
			t.Errorf("%s %s is answered with %d %.200q, want %q\n%s", when, path, got.status, got.body, want, run.log())
		}
	}
	answers("before", "/", "one")
	answers("before", "/count", "1")

	filler, err := os.Create(s.join("filler"))
	s.must(err)
	defer filler.Close()
	_, err = io.Copy(filler, zeros{})
	for size := 4096; size > 0 && errors.Is(err, syscall.ENOSPC); size /= 2 { // to the last byte
		if _, err = filler.Write(make([]byte, size)); err == nil {
			err = syscall.ENOSPC
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk isn't full: %v", err)
	}
	answers("on a full disk", "/", "one")
	answers("on a full disk", "/plain.txt", "plain")
	for range 3 { // each begins a session that can't be kept
		if got := run.get(client, "/count"); got.status != http.StatusInternalServerError && got.body != "1" {
			t.Errorf("on a full disk a session is answered with %d %.200q", got.status, got.body)
		}
	}
	// What editors do then: the file is empty, and what they write doesn't fit.
	n := run.seen()
	if err := os.WriteFile(s.join("stack.yaml"), append(stack("two"), make([]byte, 64<<10)...), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("there was room: %v", err)
	}
	run.awaitAfter(n, "reload refused, the old generation serves on", nil)
	answers("after a save that didn't fit", "/", "one")
	answers("after a save that didn't fit", "/plain.txt", "plain")

	s.must(os.Remove(s.join("filler")))
	s.must(filler.Close())
	n = run.seen()
	s.must(os.WriteFile(s.join("stack.yaml"), stack("three"), 0o644))
	run.awaitAfter(n, "generation serves", nil)
	answers("with room again", "/", "three")
	answers("with room again", "/count", "1")
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestNobodyReadsTheLog proves that a stack serves on, reloads and stops in order when whoever read its log has gone, as a tee
// does that gets the same ^C.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	for _, processes := range []string{"1", "2"} {
		t.Run(processes, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "stack.yaml")
			stack := "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nprocesses: " + processes + "\nstack: [{use: respond, body: x}]\n"
			if err := os.WriteFile(file, []byte(stack), 0o600); err != nil {
				t.Fatal(err)
			}
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(built(t), "run", file)
			cmd.Stderr = write
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			exited := make(chan error, 1)
			go func() { exited <- cmd.Wait() }()
			write.Close()
			for lines := bufio.NewScanner(read); lines.Scan() && !strings.Contains(lines.Text(), "generation serves"); {
				continue
			}
			read.Close()
			client := control.New(filepath.Join(dir, ".stack.yaml.sock"))
			if r, err := client.Reload(t.Context()); err != nil || r.Generation != 2 {
				t.Errorf("a reload makes generation %d: %v", r.Generation, err)
			}
			s, err := client.Status(t.Context())
			if err != nil {
				t.Error(err)
			}
			for _, w := range s.Workers {
				if w.State != control.WorkerServes || w.Restarts > 0 {
					t.Errorf("a worker is %+v", w)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			if err := <-exited; err != nil {
				t.Errorf("it ended with %v", err)
			}
			if _, err := os.Stat(client.Socket()); !os.IsNotExist(err) {
				t.Errorf("its control socket: %v", err)
			}
		})
	}
}
