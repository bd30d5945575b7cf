package registry_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stackd/stackd/registry"
)

func TestChanged(t *testing.T) {
	write := func(t *testing.T, path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, to, path string) {
		t.Helper()
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, depends string
		// during happens in Build, after DependsOn, and later after Build.
		during, later func(t *testing.T, dir string)
		want          bool
	}{
		{name: "nothing", depends: "file"},
		{name: "the same again", depends: "file", later: func(t *testing.T, dir string) { write(t, dir+"/file", "old") }},
		{name: "a file", depends: "file", later: func(t *testing.T, dir string) { write(t, dir+"/file", "new") }, want: true},
		{name: "a file while it is read", depends: "file", during: func(t *testing.T, dir string) { write(t, dir+"/file", "new") }, want: true},
		{name: "another file", depends: "file", later: func(t *testing.T, dir string) { write(t, dir+"/other", "new") }},
		{name: "a file that went", depends: "file", later: func(t *testing.T, dir string) { remove(t, dir+"/file") }, want: true},
		{name: "a file that came", depends: "missing", later: func(t *testing.T, dir string) { write(t, dir+"/missing", "new") }, want: true},
		{name: "a file still missing", depends: "missing"},
		{name: "a file in a folder", depends: "folder", later: func(t *testing.T, dir string) { write(t, dir+"/folder/sub/b", "longer") }, want: true},
		{name: "a file that came into a folder", depends: "folder", during: func(t *testing.T, dir string) { write(t, dir+"/folder/sub/c", "new") }, want: true},
		{name: "a file that went from a folder", depends: "folder", later: func(t *testing.T, dir string) { remove(t, dir+"/folder/sub/b") }, want: true},
		{name: "a pipe, which nobody writes to", depends: "pipe"},
		{name: "a pipe that is a file now", depends: "pipe", later: func(t *testing.T, dir string) {
			remove(t, dir+"/pipe")
			write(t, dir+"/pipe", "new")
		}, want: true},
		{name: "a file in a folder by a link", depends: "link", later: func(t *testing.T, dir string) { write(t, dir+"/folder/sub/b", "longer") }, want: true},
		{name: "a link to another folder", depends: "link", later: func(t *testing.T, dir string) {
			remove(t, dir+"/link")
			link(t, dir+"/folder/sub", dir+"/link")
		}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/file", "old")
			write(t, dir+"/folder/sub/b", "b")
			link(t, dir+"/folder", dir+"/link")
			if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
				t.Fatal(err)
			}
			d := opens(t, func(env *registry.Env, _ none) (http.Handler, error) {
				env.DependsOn(filepath.Join(dir, tt.depends))
				if tt.during != nil {
					tt.during(t, dir)
				}
				return http.NotFoundHandler(), nil
			})
			i, err := d.Open(t.Context(), d.Default(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if tt.later != nil {
				tt.later(t, dir)
			}
			if got := i.Changed(); got != tt.want {
				t.Errorf("Changed is %t, want %t", got, tt.want)
			}
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
