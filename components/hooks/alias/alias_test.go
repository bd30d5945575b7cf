package alias

import (
	"io/fs"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
)

// folderWith makes a folder with a file that has this text.
func folderWith(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, text)
	return dir
}

func write(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "file.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestComponent(t *testing.T) {
	settings := func(t *testing.T) Config {
		return Config{URL: "/docs/", Folder: registry.Path(folderWith(t, "hello"))}
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "below", Settings: settings, Path: "docs/file.txt"},
		registrytest.Case[Config]{Name: "the folder", Settings: settings, Path: "docs/"},
		registrytest.Case[Config]{Name: "without the slash", Settings: settings, Path: "docs"},
	)
}

func find(t *testing.T, h resource.Hook, path string) resource.Answer {
	t.Helper()
	a, err := h.Find(httptest.NewRequestWithContext(t.Context(), "GET", (&url.URL{Path: "/" + path}).String(), nil), path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFind(t *testing.T) {
	dir := folderWith(t, "hello")
	h := registrytest.Build(t, Component, Config{URL: "/a/docs/", Folder: registry.Path(dir)}, nil)
	for path, want := range map[string]string{"a/docs/": "", "a/docs/file.txt": "file.txt", "a/docs/sub/": "sub/", "a/docs/a/docs/": "a/docs/"} {
		t.Run(path, func(t *testing.T) {
			a := find(t, h, path)
			if a.Tree == nil || a.Path != want || a.ScriptName != "/a/docs" || a.Root != dir {
				t.Fatalf("got %+v; want %q below /a/docs in %s", a, want, dir)
			}
			if text, err := fs.ReadFile(a.Tree, "file.txt"); string(text) != "hello" {
				t.Errorf("the file has %q, %v", text, err)
			}
		})
	}
	for _, path := range []string{"", "a", "a/", "a/doc", "a/docsx", "docs/", "x/a/docs/"} {
		t.Run("not "+path, func(t *testing.T) {
			if a := find(t, h, path); a.Tree != nil || a.Handler != nil {
				t.Errorf("got %+v; want nothing", a)
			}
		})
	}
	t.Run("the same tree each time", func(t *testing.T) {
		if find(t, h, "a/docs/").Tree != find(t, h, "a/docs/x").Tree {
			t.Error("got two trees; what is made of the files would be forgotten")
		}
	})
}

func TestSlash(t *testing.T) {
	h := registrytest.Build(t, Component, Config{URL: "/a/do cs/", Folder: registry.Path(t.TempDir())}, nil)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/a/do%20cs?b=c", nil)
	find(t, h, "a/do cs").Handler.ServeHTTP(w, r)
	if got := w.Header().Get("Location"); w.Code != 308 || got != "./do%20cs/?b=c" {
		t.Errorf("%d to %q; want 308 to ./do%%20cs/?b=c", w.Code, got)
	}
}

// TestOutside proves that links don't lead out.
func TestOutside(t *testing.T) {
	dir, other := folderWith(t, "hello"), folderWith(t, "secret")
	if err := os.Symlink(filepath.Join(other, "file.txt"), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file.txt", filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	tree := find(t, registrytest.Build(t, Component, Config{URL: "/d/", Folder: registry.Path(dir)}, nil), "d/").Tree
	if text, err := fs.ReadFile(tree, "in"); string(text) != "hello" {
		t.Errorf("a link within has %q, %v", text, err)
	}
	if text, err := fs.ReadFile(tree, "out"); err == nil {
		t.Errorf("a link that leads out has %q", text)
	}
}

// TestExchanged proves that a folder exchanged for another is noticed, within a second and not before.
func TestExchanged(t *testing.T) {
	one, two := folderWith(t, "one"), folderWith(t, "two")
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(one, link); err != nil {
		t.Fatal(err)
	}
	h := registrytest.Build(t, Component, Config{URL: "/d/", Folder: registry.Path(link)}, nil)
	now := time.Now()
	h.(*alias).now = func() time.Time { return now }
	read := func(want string) {
		t.Helper()
		if text, err := fs.ReadFile(find(t, h, "d/").Tree, "file.txt"); string(text) != want {
			t.Errorf("the file has %q, %v; want %q", text, err, want)
		}
	}
	read("one")
	if err := os.Symlink(two, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	read("one")
	now = now.Add(2 * time.Second)
	read("two")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	read("two") // until there is another one
}

func TestSettings(t *testing.T) {
	problem := func(url string) []string {
		return []string{`url is "` + url + `"; it must be the path of a folder, such as /docs/`}
	}
	tests := []struct {
		url  string
		want []string
	}{
		{"/docs/", nil},
		{"/a/b c/", nil},
		{"", []string{"url is missing; it must be a text"}},
		{"/", problem("/")},
		{"//", problem("//")},
		{"docs", problem("docs")},
		{"/docs", problem("/docs")},
		{"/a//b/", problem("/a//b/")},
		{"/a/../b/", problem("/a/../b/")},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, registrytest.Problems(t, Component, Config{URL: tt.url, Folder: "/"})); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
