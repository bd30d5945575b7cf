package serve

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silently changes what is in a file without an event: inotify(7) knows nothing of what is written to a mapping.
func silently(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if int(info.Size()) != len(content) {
		t.Fatalf("the file has %d bytes, and shall get %q", info.Size(), content)
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	copy(memory, content)
	if err := unix.Munmap(memory); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPoll proves that a change of which the system says nothing is seen, and by what.
func TestPoll(t *testing.T) {
	for _, test := range []struct {
		name    string
		every   time.Duration
		unheard bool // the system gives no watch
		warning string
	}{
		{"as often as it is told", 10 * time.Millisecond, false, ""},
		{"without a watch", 10 * time.Millisecond, true, "a folder can't be watched, so its files are compared from time to time"},
		{"by itself", 0, true, "a folder can't be watched, so its files are compared from time to time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, t.TempDir()}
			f.write("s", "one")
			log := newJournal()
			w := newWatcher(slog.New(log))
			if test.unheard {
				w.notify.Close()
				defer func() { close(w.stop); w.ended.Wait() }()
			} else {
				defer w.close()
			}
			w.poll(test.every)
			w.set([]string{f.join("s")}, time.Now().Add(time.Hour))
			silently(t, f.join("s"), "two")
			receive(t, w.changed, "report")
			if got := w.take(); len(got) != 1 || got[0] != f.join("s") {
				t.Errorf("reported are %q", got)
			}
			if lines := log.all(test.warning); test.warning != "" && (len(lines) != 1 || !strings.HasPrefix(lines[0], "WARN folder="+f.path+" every=")) {
				t.Errorf("the log says %q", log.text())
			}
		})
	}
}

// Without a rhythm nothing is compared unasked; the change is seen with the next one that is told of.
func TestNoPoll(t *testing.T) {
	f := folder{t, t.TempDir()}
	f.write("s", "one")
	f.write("fence", "one")
	w := newWatcher(slog.New(newJournal()))
	defer w.close()
	w.poll(time.Millisecond)
	w.poll(0)
	w.set([]string{f.join("s"), f.join("fence")}, time.Now().Add(time.Hour))
	if got := w.rhythm(); got != 0 {
		t.Errorf("files are compared every %s", got)
	}
	silently(t, f.join("s"), "two")
	f.write("fence", "two")
	var got []string
	for len(got) < 2 {
		receive(t, w.changed, "report")
		got = append(got, w.take()...)
	}
}

// A folder that can be watched again ends the comparing.
func TestPollEnds(t *testing.T) {
	w := newWatcher(slog.New(newJournal()))
	defer w.close()
	w.mu.Lock()
	w.refused["/gone"], w.folders = true, []string{"/gone"}
	w.mu.Unlock()
	if got := w.rhythm(); got != unwatched {
		t.Errorf("files are compared every %s", got)
	}
	w.set(nil, time.Now())
	if got := w.rhythm(); got != 0 {
		t.Errorf("files are compared every %s", got)
	}
}

// The content of a file that is too large to be read each time is told by what it looks like from outside.
func TestFingerprintLarge(t *testing.T) {
	path := t.TempDir() + "/large"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(large); err != nil {
		t.Fatal(err)
	}
	one := fingerprint(path)
	if err := f.Truncate(large + 1); err != nil {
		t.Fatal(err)
	}
	if two := fingerprint(path); one == two || !strings.HasPrefix(one, "large: ") {
		t.Errorf("the fingerprints are %q and %q", one, two)
	}
}
