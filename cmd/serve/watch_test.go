package serve

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// folder is a folder with files, for the watcher's tests. Nothing in it may fail.
type folder struct {
	t    *testing.T
	path string
}

func (f folder) join(name string) string { return filepath.Join(f.path, name) }

func (f folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) write(name, content string) {
	f.t.Helper()
	f.must(os.WriteFile(f.join(name), []byte(content), 0o644))
}

func (f folder) rename(from, to string) {
	f.t.Helper()
	f.must(os.Rename(f.join(from), f.join(to)))
}

func (f folder) link(target, name string) {
	f.t.Helper()
	f.must(os.Symlink(target, f.join(name)))
}

func (f folder) mkdir(name string) {
	f.t.Helper()
	f.must(os.MkdirAll(f.join(name), 0o755))
}

func (f folder) remove(name string) {
	f.t.Helper()
	f.must(os.RemoveAll(f.join(name)))
}

// Each change is made to a folder in which stack.yaml and fence are watched. Then fence is
// changed, and the watcher must report it, and stack.yaml if that changed: what comes before
// the fence is seen no later than the fence.
func TestWatcher(t *testing.T) {
	written := func(f folder) { f.write("stack.yaml", "one") }
	tests := map[string]struct {
		before  func(f folder)
		change  func(f folder)
		reports bool
	}{
		"nothing":          {before: written, change: func(folder) {}},
		"in-place write":   {before: written, change: func(f folder) { f.write("stack.yaml", "two") }, reports: true},
		"same content":     {before: written, change: func(f folder) { f.write("stack.yaml", "one") }},
		"write and rename": {before: written, change: func(f folder) { f.write("t", "two"); f.rename("t", "stack.yaml") }, reports: true},
		"rename, same content": {
			before: written,
			change: func(f folder) { f.write("t", "one"); f.rename("t", "stack.yaml") },
		},
		"touch": {before: written, change: func(f folder) {
			f.must(os.Chtimes(f.join("stack.yaml"), time.Now(), time.Now().Add(time.Second)))
		}},
		"mode": {before: written, change: func(f folder) { f.must(os.Chmod(f.join("stack.yaml"), 0o600)) }},
		"another file": {before: written, change: func(f folder) {
			f.write("other", "x")
			f.write(".stack.yaml.swp", "x")
			f.remove("other")
		}},
		"backup dance": {
			before: written,
			change: func(f folder) {
				f.rename("stack.yaml", "stack.yaml~")
				f.write("stack.yaml", "two")
				f.remove("stack.yaml~")
			},
			reports: true,
		},
		"deletion":   {before: written, change: func(f folder) { f.remove("stack.yaml") }, reports: true},
		"appearance": {before: func(folder) {}, change: func(f folder) { f.write("stack.yaml", "one") }, reports: true},
		"deletion and return at once": {
			before: written,
			change: func(f folder) { f.remove("stack.yaml"); f.write("stack.yaml", "one") },
		},
		"emptied": {before: written, change: func(f folder) { f.write("stack.yaml", "") }, reports: true},
		"link turned": {
			before:  func(f folder) { f.write("a", "one"); f.write("b", "two"); f.link("a", "stack.yaml") },
			change:  func(f folder) { f.link("b", "t"); f.rename("t", "stack.yaml") },
			reports: true,
		},
		"link turned to the same content": {
			before: func(f folder) { f.write("a", "one"); f.write("b", "one"); f.link("a", "stack.yaml") },
			change: func(f folder) { f.link("b", "t"); f.rename("t", "stack.yaml") },
		},
		"behind a link": {
			before: func(f folder) {
				f.mkdir("away")
				f.write("away/real", "one")
				f.link("away/real", "link")
				f.link("link", "stack.yaml")
			},
			change:  func(f folder) { f.write("away/real", "two") },
			reports: true,
		},
		"ConfigMap": {
			before: func(f folder) {
				f.mkdir("..1")
				f.write("..1/stack.yaml", "one")
				f.link("..1", "..data")
				f.link("..data/stack.yaml", "stack.yaml")
			},
			change: func(f folder) {
				f.mkdir("..2")
				f.write("..2/stack.yaml", "two")
				f.link("..2", "..data_tmp")
				f.rename("..data_tmp", "..data")
				f.remove("..1")
			},
			reports: true,
		},
		"dangling link comes true": {
			before:  func(f folder) { f.mkdir("away"); f.link("away/real", "stack.yaml") },
			change:  func(f folder) { f.write("away/real", "one") },
			reports: true,
		},
		"link to itself is left": {
			before:  func(f folder) { f.link("stack.yaml", "stack.yaml") },
			change:  func(f folder) { f.remove("stack.yaml"); f.write("stack.yaml", "one") },
			reports: true,
		},
		"a folder: entry comes": {
			before:  func(f folder) { f.mkdir("stack.yaml") },
			change:  func(f folder) { f.write("stack.yaml/a", "x") },
			reports: true,
		},
		"a folder: entry goes": {
			before:  func(f folder) { f.mkdir("stack.yaml"); f.write("stack.yaml/a", "x") },
			change:  func(f folder) { f.remove("stack.yaml/a") },
			reports: true,
		},
		"a folder: entry is written": {
			before: func(f folder) { f.mkdir("stack.yaml"); f.write("stack.yaml/a", "x") },
			change: func(f folder) { f.write("stack.yaml/a", "y") },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, t.TempDir()}
			test.before(f)
			f.write("fence", "one")
			watched := []string{f.join("stack.yaml"), f.join("fence")}
			log := newJournal()
			w := newWatcher(slog.New(log))
			defer w.close()
			w.set(watched, time.Now().Add(time.Hour))
			w.mu.Lock() // so that it looks at no state in between, however slow the machine
			test.change(f)
			f.write("fence", "two")
			w.mu.Unlock()
			var want []string
			if test.reports {
				want = watched
			} else {
				want = watched[1:]
			}
			var got []string
			for !slices.Contains(got, f.join("fence")) || len(got) < len(want) {
				receive(t, w.changed, "report")
				got = append(got, w.take()...)
			}
			slices.Sort(got)
			got = slices.Compact(got)
			slices.Sort(want)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
			if text := log.text(); text != "" {
				t.Errorf("the log says %s", text)
			}
		})
	}
}

// A change that lasts is seen step by step.
func TestWatcherSteps(t *testing.T) {
	type step func(f folder)
	tests := map[string]struct {
		before step
		file   string
		steps  []step // each is reported
	}{
		"empty for a moment": {
			func(f folder) { f.write("s", "one") }, "s",
			[]step{func(f folder) { f.write("s", "") }, func(f folder) { f.write("s", "one") }},
		},
		"deletion and return": {
			func(f folder) { f.write("s", "one") }, "s",
			[]step{func(f folder) { f.remove("s") }, func(f folder) { f.write("s", "one") }},
		},
		"folders appear one by one": {
			func(folder) {}, "a/b/s",
			[]step{
				func(f folder) { f.mkdir("a/b"); f.write("a/b/s", "one") },
				func(f folder) { f.write("a/b/s", "two") },
				func(f folder) { f.remove("a") },
				func(f folder) { f.mkdir("a/b"); f.write("a/b/s", "two") },
			},
		},
		"folder replaced": {
			func(f folder) { f.mkdir("conf"); f.write("conf/s", "one") }, "conf/s",
			[]step{
				func(f folder) {
					f.mkdir("next")
					f.write("next/s", "two")
					f.rename("conf", "last")
					f.rename("next", "conf")
				},
				func(f folder) { f.write("conf/s", "three") },
			},
		},
		"ConfigMap twice": {
			func(f folder) { f.mkdir("v1"); f.write("v1/s", "one"); f.link("v1", "data"); f.link("data/s", "s") }, "s",
			[]step{
				func(f folder) {
					f.mkdir("v2")
					f.write("v2/s", "two")
					f.link("v2", "t")
					f.rename("t", "data")
					f.remove("v1")
				},
				func(f folder) { f.write("v2/s", "two, edited") },
				func(f folder) {
					f.mkdir("v3")
					f.write("v3/s", "three")
					f.link("v3", "t")
					f.rename("t", "data")
					f.remove("v2")
				},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, t.TempDir()}
			test.before(f)
			w := newWatcher(slog.New(newJournal()))
			defer w.close()
			w.set([]string{f.join(test.file)}, time.Now().Add(time.Hour))
			for i, step := range test.steps {
				step(f)
				want := fingerprint(f.join(test.file))
				// Several reports may come while the step is made.
				for last := ""; last != want; {
					receive(t, w.changed, "report of step "+string(rune('1'+i)))
					w.take()
					w.mu.Lock()
					last = w.seen[f.join(test.file)]
					w.mu.Unlock()
				}
			}
		})
	}
}

// A file that was written while it was read, before its watch was there, is read again.
func TestWatcherSetAfterChange(t *testing.T) {
	f := folder{t, t.TempDir()}
	began := time.Now()
	tests := map[string]struct {
		modified time.Time
		reported bool
	}{
		"before":            {began.Add(-time.Second), false},
		"meanwhile":         {began, true},
		"says the future":   {began.Add(time.Hour), false},
		"watched meanwhile": {began, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := f.join(name)
			f.write(name, "x")
			f.must(os.Chtimes(file, test.modified, test.modified))
			w := newWatcher(slog.New(newJournal()))
			defer w.close()
			if strings.HasPrefix(name, "watched") {
				w.set([]string{file}, time.Now().Add(time.Hour))
			}
			w.set([]string{file}, began)
			if got := len(w.take()) == 1; got != test.reported {
				t.Errorf("reported: %t", got)
			}
		})
	}
}

func TestWatcherForgets(t *testing.T) {
	f := folder{t, t.TempDir()}
	f.mkdir("a")
	f.mkdir("b")
	w := newWatcher(slog.New(newJournal()))
	defer w.close()
	w.set([]string{f.join("a/s"), f.join("b/s")}, time.Now())
	w.set([]string{f.join("b/s")}, time.Now())
	for _, path := range w.notify.WatchList() {
		if path == f.join("a") {
			t.Errorf("%s is still watched", path)
		}
	}
	f.write("a/s", "x")
	f.write("b/s", "x")
	receive(t, w.changed, "report")
	if diff := gocmp.Diff([]string{f.join("b/s")}, w.take()); diff != "" {
		t.Error(diff)
	}
}

// What can't be watched is a warning, once.
func TestWatcherRefused(t *testing.T) {
	log := newJournal()
	w := newWatcher(slog.New(log))
	w.notify.Close()
	defer func() { close(w.stop); w.ended.Wait() }()
	f := folder{t, t.TempDir()}
	for range 3 {
		w.set([]string{f.join("s")}, time.Now())
	}
	if lines := log.all("a folder can't be watched, so its files are compared from time to time"); len(lines) != 1 || !strings.HasPrefix(lines[0], "WARN folder="+f.path) {
		t.Errorf("the log says %q", lines)
	}
}

func TestTrace(t *testing.T) {
	type visit struct{ Folder, Name string }
	tests := map[string]struct {
		links map[string]string // name: target; other names are made as files
		files []string
		path  string
		want  []visit
	}{
		"file":            {files: []string{"a/f"}, path: "a/f", want: []visit{{"a", "f"}}},
		"missing":         {files: []string{"a/f"}, path: "a/g", want: []visit{{"a", "g"}}},
		"missing folder":  {files: []string{"a/f"}, path: "a/b/c/d", want: []visit{{"a", "b"}}},
		"folder":          {files: []string{"a/f"}, path: "a", want: []visit{{"", "a"}, {"a", ""}}},
		"file for folder": {files: []string{"a"}, path: "a/b", want: []visit{{"a", "b"}}},
		"link": {
			files: []string{"a/f"}, links: map[string]string{"l": "a/f"},
			path: "l", want: []visit{{"", "l"}, {"a", "f"}},
		},
		"link to a folder": {
			files: []string{"a/b/f"}, links: map[string]string{"l": "a/b"},
			path: "l/f", want: []visit{{"", "l"}, {"a/b", "f"}},
		},
		"dot dot after a link": {
			files: []string{"a/b/f", "a/g"}, links: map[string]string{"l": "a/b"},
			path: "l/../g", want: []visit{{"a", "g"}, {"", "l"}},
		},
		"link to nothing": {
			files: []string{"a/f"}, links: map[string]string{"l": "a/g"},
			path: "l", want: []visit{{"", "l"}, {"a", "g"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			home, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			f := folder{t, home}
			for _, file := range test.files {
				f.mkdir(filepath.Dir(file))
				f.write(file, "")
			}
			for name, target := range test.links {
				f.link(target, name)
			}
			var got []visit
			trace(f.path+"/"+test.path, func(folder, name string) {
				folder, err := filepath.Rel(f.path, folder)
				f.must(err)
				if folder == "." {
					folder = ""
				}
				got = append(got, visit{folder, name})
			})
			for _, visits := range [][]visit{test.want, got} {
				slices.SortFunc(visits, func(a, b visit) int {
					return cmp.Or(strings.Compare(a.Folder, b.Folder), strings.Compare(a.Name, b.Name))
				})
			}
			if diff := gocmp.Diff(test.want, got); diff != "" {
				t.Errorf("visits (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("link to itself", func(t *testing.T) {
		f := folder{t, t.TempDir()}
		f.link("l", "l")
		n := 0
		trace(f.join("l"), func(string, string) { n++ })
		if n == 0 || n > maxLinks+1 {
			t.Errorf("%d visits", n)
		}
	})
}

func TestDebounce(t *testing.T) {
	tests := map[string]struct {
		gap  time.Duration // between events
		n    int           // of them
		want time.Duration // from the first event
	}{
		"one event":      {60 * time.Millisecond, 1, quiet},
		"a burst":        {60 * time.Millisecond, 4, 180*time.Millisecond + quiet},
		"without an end": {60 * time.Millisecond, 100, most},
		"two bursts":     {quiet + 1, 5, quiet},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d debounce
				if d.over() != nil {
					t.Error("it waits for nothing, and ends")
				}
				began := time.Now()
				events := time.NewTicker(test.gap)
				defer events.Stop()
				d.touch()
				for left := test.n - 1; ; {
					select {
					case <-d.over():
						if got := time.Since(began); got != test.want {
							t.Errorf("over after %s, want %s", got, test.want)
						}
						return
					case <-events.C:
						if left > 0 {
							left--
							d.touch()
						}
					}
				}
			})
		})
	}
}

// From the file to the log, over a broken save and back: the old stack serves on.
func TestReloadByFile(t *testing.T) {
	f := folder{t, t.TempDir()}
	file := f.join("stack.yaml")
	f.write("stack.yaml", "one")
	p := run(t, func(context.Context) (Generation, error) {
		g := Generation{Watch: []string{file}, Servers: []Server{on("127.0.0.1:0", "1")}}
		content, err := os.ReadFile(file)
		if err == nil && len(content) == 0 {
			err = errors.New("stack.yaml is empty")
		}
		if included, found := strings.CutPrefix(string(content), "include "); err == nil && found {
			g.Watch = append(g.Watch, f.join(included))
			content, err = os.ReadFile(f.join(included))
		}
		g.Handler = say(string(content))
		return g, err
	})
	c, url := newClient(t), p.url(t, "127.0.0.1:0")
	refused := 0
	for i, step := range []struct {
		change  func()
		trigger string
		refused string // why; if "", it is accepted
		serves  string
	}{
		{func() { f.write("t", "two"); f.rename("t", "stack.yaml") }, "stack.yaml", "", "two"},
		{func() { f.write("stack.yaml", "") }, "stack.yaml", "stack.yaml is empty", "two"},
		{func() { f.write("t", "two"); f.rename("t", "stack.yaml") }, "stack.yaml", "", "two"},
		{func() { f.remove("stack.yaml") }, "stack.yaml", "no such file", "two"},
		{func() { f.write("t", "three"); f.rename("t", "stack.yaml") }, "stack.yaml", "", "three"},
		{func() { f.write("t", "include more"); f.rename("t", "stack.yaml") }, "stack.yaml", "no such file", "three"},
		{func() { f.write("t", "four"); f.rename("t", "more") }, "more", "", "four"}, // seen although that load failed
		{func() { f.write("t", "five"); f.rename("t", "more") }, "more", "", "five"},
	} {
		step.change()
		var line string
		if step.refused != "" {
			refused++
			line = p.log.await(t, "reload refused, the old generation serves on", refused)
		} else {
			line = p.log.await(t, "generation serves", i+2-refused)
		}
		if !strings.Contains(line, "trigger="+f.join(step.trigger)+" ") || !strings.Contains(line, step.refused) {
			t.Errorf("step %d: the log says %q", i, line)
		}
		if got := mustGet(t, c, url); got != step.serves {
			t.Errorf("step %d: serves %q, want %q", i, got, step.serves)
		}
	}
}
