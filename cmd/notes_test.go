package cmd

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// has checks what a file says; "" is for no file.
func has(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Errorf("%s has %q, want %q", filepath.Base(path), b, want)
	}
}

// alone checks that a folder has these files and no others.
func alone(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNotes(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	self := strconv.Itoa(os.Getpid()) + "\n"
	if err := os.WriteFile(in("pid"), []byte("1\n"), 0o600); err != nil { // of one that was killed; process 1 lives
		t.Fatal(err)
	}
	var n notes
	if err := n.begin(texts{in("pid"), in("addresses"), "a b\n"}); err != nil {
		t.Fatal(err)
	}
	has(t, in("pid"), self)
	has(t, in("addresses"), "a b\n")
	if info, err := os.Stat(in("pid")); err != nil || info.Mode() != 0o644 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	before, err := os.Stat(in("pid"))
	if err != nil {
		t.Fatal(err)
	}

	n.change(texts{in("pid"), in("addresses"), "a c\n"}, slog.New(slog.DiscardHandler))
	has(t, in("addresses"), "a c\n")
	after, err := os.Stat(in("pid"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("a file that says the same was written anew: %v", err)
	}

	n.change(texts{in("other"), "", "a c\n"}, slog.New(slog.DiscardHandler))
	has(t, in("other"), self)
	alone(t, dir, "other")

	if err := os.Remove(in("other")); err != nil { // by a script that cleans up too much
		t.Fatal(err)
	}
	n.change(texts{in("other"), in("addresses"), "a d\n"}, slog.New(slog.DiscardHandler))
	has(t, in("other"), self)

	publish, err := n.stage(texts{in("pid"), in("addresses"), "a e\n"})
	if err != nil {
		t.Fatal(err)
	}
	has(t, in("addresses"), "a d\n")
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	alone(t, dir, "addresses", "pid")
	if _, err := n.stage(texts{in("never"), in("addresses"), "a f\n"}); err != nil {
		t.Fatal(err)
	}
	if err := n.end(); err != nil {
		t.Error(err)
	}
	alone(t, dir)
}

// TestNotesOfAnother holds that the files of another process are left alone.
func TestNotesOfAnother(t *testing.T) {
	dir := t.TempDir()
	pid, addresses := filepath.Join(dir, "pid"), filepath.Join(dir, "addresses")
	var first, second, third notes
	if err := first.begin(texts{pid, "", ""}); err != nil {
		t.Fatal(err)
	}
	want := "process " + strconv.Itoa(os.Getpid()) + " runs with pid_file " + pid + " already; stop that one first"
	if err := second.begin(texts{pid, addresses, "x"}); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	alone(t, dir, "pid")
	mine := filepath.Join(dir, "mine")
	if err := second.begin(texts{mine, "", ""}); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	second.change(texts{pid, "", ""}, slog.New(slog.NewTextHandler(&log, nil)))
	if !first.pid.stands() || !second.pid.stands() || !strings.Contains(log.String(), want) {
		t.Errorf("after a reload the files are that of the first: %t, of the second: %t; the log:\n%s", first.pid.stands(), second.pid.stands(), &log)
	}
	alone(t, dir, "mine", "pid")
	if err := errors.Join(first.end(), second.end()); err != nil {
		t.Fatal(err)
	}

	if err := first.begin(texts{pid, addresses, "x"}); err != nil {
		t.Fatal(err)
	}
	publish, err := third.stage(texts{pid, addresses, "y"}) // as one that takes its place
	if err == nil {
		err = publish()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	has(t, addresses, "y")
	alone(t, dir, "addresses", "pid")
	if err := third.end(); err != nil {
		t.Fatal(err)
	}
}

func TestNotesRefused(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(in("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		texts texts
		want  string
	}{
		"no folder":           {texts{in("none/pid"), "", ""}, "pid_file " + in("none/pid") + " can't be written: no such file or directory"},
		"no folder for other": {texts{in("pid"), in("none/addresses"), ""}, "address_file " + in("none/addresses") + " can't be written: no such file or directory"},
		"a FIFO":              {texts{in("fifo"), "", ""}, "pid_file " + in("fifo") + ": something else is there (prw-------); remove it or choose another path"},
		"a folder":            {texts{in("folder"), "", ""}, "something else is there (drwx------)"},
		"a folder for other":  {texts{in("pid"), in("folder"), ""}, "address_file " + in("folder") + " can't be written: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var n notes
			if err := n.begin(test.texts); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			alone(t, dir, "fifo", "folder")
			if err := n.end(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNotesOnAFullDisk holds that a full disk is an error at the start, and a warning later that leaves what was.
func TestNotesOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		if os.Getenv("STACKD_PEERS") == "required" {
			t.Fatalf("a full disk needs a file system of its own: %v", err)
		}
		t.Skipf("a full disk needs a file system of its own, which can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	fill := func() {
		if err := os.WriteFile(in("full"), make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	}
	fill()
	var n notes
	want := "pid_file " + in("pid") + " can't be written: no space left on device"
	if err := n.begin(texts{in("pid"), in("addresses"), "x"}); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	alone(t, dir, "full")
	if err := os.Remove(in("full")); err != nil {
		t.Fatal(err)
	}
	if err := n.begin(texts{in("pid"), in("addresses"), "x"}); err != nil {
		t.Fatal(err)
	}
	fill()
	var log strings.Builder
	n.change(texts{in("pid"), in("addresses"), "y"}, slog.New(slog.NewTextHandler(&log, nil)))
	if !strings.Contains(log.String(), "WARN") || !strings.Contains(log.String(), "no space left on device") {
		t.Errorf("the log has %q", log.String())
	}
	has(t, in("addresses"), "x")
	if err := n.end(); err != nil {
		t.Fatal(err)
	}
	alone(t, dir, "full")
}

func TestTexts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte("servers: [http]\npid_file: run/pid\nstack: [respond]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, _, err := stackfile.Load(t.Context(), registry.Compiled(), file, stackfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	servers := []serve.Server{{Address: "127.0.0.1:0"}, {Address: "unix:" + filepath.Join(dir, "s")}, {Address: ":80"}}
	got := textsOf(plan, servers, map[string]net.Addr{
		"127.0.0.1:0":                     &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41297},
		"unix:" + filepath.Join(dir, "s"): &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"},
		"unix:control":                    &net.UnixAddr{Name: "control", Net: "unix"},
		":80":                             &net.TCPAddr{IP: net.IPv6unspecified, Port: 80},
	})
	want := "127.0.0.1:0 127.0.0.1:41297\nunix:" + filepath.Join(dir, "s") + " unix:" + filepath.Join(dir, "s") + "\n:80 [::]:80\n"
	if diff := cmp.Diff(texts{filepath.Join(dir, "run/pid"), "", want}, got, cmp.AllowUnexported(texts{})); diff != "" {
		t.Error(diff)
	}
}
