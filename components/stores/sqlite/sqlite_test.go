package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{
		Name: "file",
		Settings: func(t *testing.T) Config {
			cfg := Component.Default
			cfg.Path = registry.Path(filepath.Join(t.TempDir(), "var", "sessions.db"))
			return cfg
		},
		Persistent: true,
	})
}

// open builds a store as a stack does; close closes it, and so does the end of the test.
func open(t testing.TB, path string) (s *store, closeStore func()) {
	t.Helper()
	i, err := instance(t, path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closeStore = func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(closeStore)
	return i.Product.(*store), closeStore
}

func instance(t testing.TB, path string, log *slog.Logger) (*registry.Instance, error) {
	t.Helper()
	table, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Component.Default
	cfg.Path = registry.Path(path)
	return table.Lookup(registry.KindStore, "sqlite").Open(context.Background(), &cfg, log)
}

func commit(t *testing.T, s *store, token, data string, life time.Duration) {
	t.Helper()
	if err := s.Commit(t.Context(), token, []byte(data), time.Now().Add(life)); err != nil {
		t.Fatal(err)
	}
}

// present returns which of the tokens are found, with their data.
func present(t *testing.T, s *store, tokens ...string) string {
	t.Helper()
	var found []string
	for _, token := range tokens {
		data, ok, err := s.Find(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			found = append(found, token+"="+string(data))
		}
	}
	return strings.Join(found, " ")
}

func count(t *testing.T, s *store) (n int) {
	t.Helper()
	if err := s.read.QueryRowContext(t.Context(), "SELECT count(*) FROM sessions").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStore(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, s *store)
		want string // what is found of a, b and c
	}{
		{"unknown", func(*testing.T, *store) {}, ""},
		{"two", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", time.Hour)
			commit(t, s, "b", "2", time.Hour)
		}, "a=1 b=2"},
		{"overwritten", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", time.Hour)
			commit(t, s, "a", "longer", 2*time.Hour)
		}, "a=longer"},
		{"expired", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", -time.Microsecond)
			commit(t, s, "b", "1", time.Hour)
		}, "b=1"},
		{"made to expire", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", time.Hour)
			commit(t, s, "a", "1", -time.Hour)
		}, ""},
		{"revived", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", -time.Hour)
			commit(t, s, "a", "2", time.Hour)
		}, "a=2"},
		{"deleted", func(t *testing.T, s *store) {
			commit(t, s, "a", "1", time.Hour)
			commit(t, s, "b", "1", time.Hour)
			for _, token := range []string{"a", "nobody's"} {
				if err := s.Delete(t.Context(), token); err != nil {
					t.Error(err)
				}
			}
		}, "b=1"},
		{"no data", func(t *testing.T, s *store) {
			if err := s.Commit(t.Context(), "a", nil, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			commit(t, s, "b", "", time.Hour)
		}, "a= b="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := open(t, filepath.Join(t.TempDir(), "s.db"))
			tt.do(t, s)
			if diff := cmp.Diff(tt.want, present(t, s, "a", "b", "c")); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnyBytes(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "s.db"))
	big := string(bytes.Repeat([]byte{0, 255, 'x'}, 1<<19))
	for _, token := range []string{"\x00", "\x00a", "\xff\xfe", "'; DROP TABLE sessions; --", "", "%", "ä"} {
		commit(t, s, token, token+big, time.Hour)
		data, ok, err := s.Find(t.Context(), token)
		if err != nil || !ok || string(data) != token+big {
			t.Errorf("token %q: found %v with %d bytes, %v", token, ok, len(data), err)
		}
	}
	if n := count(t, s); n != 7 {
		t.Errorf("%d sessions, want 7", n)
	}
}

func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "s.db")
	first, stop := open(t, path)
	commit(t, first, "a", "1", time.Hour)
	commit(t, first, "b", "2", time.Hour)
	stop()
	left, err := filepath.Glob(path + "-*")
	if err != nil || len(left) > 0 {
		t.Errorf("files beside the closed database: %q, %v", left, err)
	}
	second, _ := open(t, path)
	if got, want := present(t, second, "a", "b"), "a=1 b=2"; got != want {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
}

// A process that ends without closing anything loses nothing.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s, _ := open(t, path)
	commit(t, s, "a", "1", time.Hour)
	// What is on the disk at this moment is what a killed process leaves.
	crashed := filepath.Join(t.TempDir(), "s.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := open(t, crashed)
	if got, want := present(t, again, "a"), "a=1"; got != want {
		t.Errorf("after the process was killed: %q, want %q", got, want)
	}
}

func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "var", "s.db")
	s, _ := open(t, path)
	commit(t, s, "a", "1", time.Hour)
	for name, want := range map[string]os.FileMode{
		filepath.Dir(path): os.ModeDir | 0o700,
		path:               0o600,
		path + "-wal":      0o600,
		path + "-shm":      0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(name), info.Mode(), want)
		}
	}
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b.db", "100%.db", "%41.db", "what?mode=memory", "x#y.db", "q&_pragma=foo", "ünïcode", "file:x"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			s, stop := open(t, path)
			commit(t, s, "a", "1", time.Hour)
			stop()
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 || entries[0].Name() != name {
				t.Errorf("the folder holds %v, want %q alone", entries, name)
			}
		})
	}
}

func TestBadFile(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, dir string) (path string)
		want  string
	}{
		{"not a database", func(t *testing.T, dir string) string {
			return write(t, filepath.Join(dir, "s.db"), bytes.Repeat([]byte("this is no database "), 100))
		}, "not a database"},
		{"a damaged one", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s.db")
			s, stop := open(t, path)
			commit(t, s, "a", strings.Repeat("x", 20_000), time.Hour)
			stop()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(data[100:4096], bytes.Repeat([]byte{0xaa}, 4096)) // the page with the schema
			return write(t, path, data)
		}, "malformed"},
		{"somebody else's table", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "s.db")
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE sessions (user TEXT)"); err != nil {
				t.Fatal(err)
			}
			return path
		}, "its table named sessions is somebody else's; it must be"},
		{"a folder", func(_ *testing.T, dir string) string { return dir }, "is a directory"},
		{"below a file", func(t *testing.T, dir string) string {
			return filepath.Join(write(t, filepath.Join(dir, "file"), nil), "s.db")
		}, "not a directory"},
		{"in a folder that can't be made", func(*testing.T, string) string { return "/proc/nowhere/s.db" }, "/proc/nowhere"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.setup(t, t.TempDir())
			i, err := instance(t, path, slog.New(slog.DiscardHandler))
			if err == nil {
				i.Close()
				t.Fatal("it is opened")
			}
			t.Log(err)
			for _, want := range []string{tt.want, fmt.Sprintf("session file %q", path)} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q doesn't say %q", err, want)
				}
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDiskFull(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "s.db"))
	commit(t, s, "a", "1", time.Hour)
	if _, err := s.write.ExecContext(t.Context(), "PRAGMA max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	err := s.Commit(t.Context(), "b", make([]byte, 1<<20), time.Now().Add(time.Hour))
	if err == nil || !strings.Contains(err.Error(), "full") || !strings.Contains(err.Error(), "s.db") {
		t.Errorf("a commit to a full disk: %v", err)
	}
	commit(t, s, "c", "1", time.Hour)
	if got, want := present(t, s, "a", "b", "c"), "a=1 c=1"; got != want {
		t.Errorf("afterwards: %q, want %q", got, want)
	}
}

func TestContextEnded(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "s.db"))
	commit(t, s, "a", "1", time.Hour)
	check := func(t *testing.T, want error, calls map[string]func() error) {
		t.Helper()
		for name, call := range calls {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if got, want := present(t, s, "a", "b"), "a=1"; got != want {
			t.Errorf("afterwards: %q, want %q", got, want)
		}
	}
	calls := func(ctx context.Context) map[string]func() error {
		return map[string]func() error{
			"Commit": func() error { return s.Commit(ctx, "b", nil, time.Now().Add(time.Hour)) },
			"Delete": func() error { return s.Delete(ctx, "a") },
		}
	}
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := calls(ctx)
		c["Find"] = func() error { _, _, err := s.Find(ctx, "a"); return err }
		check(t, context.Canceled, c)
	})
	t.Run("while another process holds the file", func(t *testing.T) {
		other, _ := open(t, s.path)
		tx, err := other.write.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "DELETE FROM sessions WHERE token = 'x'"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		check(t, context.DeadlineExceeded, calls(ctx))
		if waited := time.Since(begin); waited > 4*time.Second {
			t.Errorf("it waited for %v, as if the context hadn't ended", waited)
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		commit(t, s, "b", "1", time.Hour)
	})
}

func TestSweep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := &store{path: path} // without the sweeper, so that the test alone sweeps
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	tx, err := s.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	put := tx.StmtContext(t.Context(), s.commit)
	for i := range 1234 {
		if _, err := put.ExecContext(t.Context(), fmt.Append(nil, i), []byte("x"), time.Now().Add(-time.Second).UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "stays", "1", time.Hour)
	if n := count(t, s); n != 1235 {
		t.Fatalf("%d sessions before the sweep, want 1235", n)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s); n != 1 {
		t.Errorf("%d sessions after the sweep, want 1", n)
	}

	// The sweeper itself begins as soon as the store is open, and tells of its failures.
	commit(t, s, "old", "1", -time.Hour)
	if _, err := s.write.ExecContext(t.Context(),
		"CREATE TRIGGER stuck BEFORE DELETE ON sessions BEGIN SELECT RAISE(ABORT, 'stuck'); END"); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	log := &lines{first: make(chan string, 1)}
	i, err := instance(t, path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if line := <-log.first; !strings.Contains(line, "level=WARN") || !strings.Contains(line, "stuck") {
		t.Errorf("the log says %q", line)
	}
}

// lines hands out the first line that is written to it.
type lines struct{ first chan string }

func (l *lines) Write(p []byte) (int, error) {
	select {
	case l.first <- string(p):
	default:
	}
	return len(p), nil
}

// Processes and generations share a file: all commits of all of them are there.
func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "s.db")
	const stores, sessions = 4, 25
	var wg sync.WaitGroup
	for n := range stores {
		wg.Go(func() {
			i, err := instance(t, path, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			defer i.Close()
			s := i.Product.(*store)
			var inner sync.WaitGroup
			for k := range sessions {
				inner.Go(func() {
					token := fmt.Sprint(n, "-", k)
					err := s.Commit(t.Context(), token, []byte(token), time.Now().Add(time.Hour))
					data, ok, errFind := s.Find(t.Context(), token)
					if err := errors.Join(err, errFind); err != nil {
						t.Error(err)
					} else if !ok || string(data) != token {
						t.Errorf("%s: found %v, %q after the commit returned", token, ok, data)
					}
				})
			}
			inner.Wait()
		})
	}
	wg.Wait()
	s, _ := open(t, path)
	if n := count(t, s); n != stores*sessions {
		t.Errorf("%d sessions, want %d", n, stores*sessions)
	}
}

// The old generation closes while the new one goes on.
func TestGenerations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	old, stop := open(t, path)
	commit(t, old, "a", "1", time.Hour)
	next, _ := open(t, path)
	commit(t, next, "b", "1", time.Hour)
	commit(t, old, "c", "1", time.Hour)
	stop()
	commit(t, next, "d", "1", time.Hour)
	if got, want := present(t, next, "a", "b", "c", "d"), "a=1 b=1 c=1 d=1"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestSettings(t *testing.T) {
	table, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"defaults", func(*Config) {}, ""},
		{"no path", func(c *Config) { c.Path = "" }, "path is missing; it must be a path"},
		{"no file", func(c *Config) { c.Path = ":memory:" }, `path is ":memory:"; it must be a file (store: memory keeps sessions without one)`},
		{"no file, made absolute", func(c *Config) { c.Path = "/srv/:memory:" }, `path is ":memory:"; it must be a file (store: memory keeps sessions without one)`},
		{"busy sweeper", func(c *Config) { c.SweepInterval = time.Millisecond }, "sweep_interval is 1ms; it must be at least 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Component.Default
			tt.change(&cfg)
			var got []string
			for _, problem := range table.Lookup(registry.KindStore, "sqlite").Check(&cfg) {
				got = append(got, problem.Error())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	s, _ := open(b, filepath.Join(b.TempDir(), "s.db"))
	if err := s.Commit(b.Context(), "a", make([]byte, 256), time.Now().Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := s.Find(b.Context(), "a"); !ok {
			b.Fatal("not found", err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	s, _ := open(b, filepath.Join(b.TempDir(), "s.db"))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Commit(b.Context(), "a", make([]byte, 256), time.Now().Add(time.Hour)); err != nil {
			b.Fatal(err)
		}
	}
}
