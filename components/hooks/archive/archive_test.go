package archive

import (
	"archive/zip"
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
)

// pack makes an archive of files, each of which has its name for content.
func pack(t *testing.T, names ...string) registry.Path {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, name := range names {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return registry.Path(path)
}

func TestComponent(t *testing.T) {
	settings := func(t *testing.T) Config { return Config{URL: "/docs/", File: pack(t, "file.txt")} }
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "below", Settings: settings, Path: "docs/file.txt"},
		registrytest.Case[Config]{Name: "without the slash", Settings: settings, Path: "docs"},
		registrytest.Case[Config]{Name: "a folder of it", Path: "docs/file.txt", Settings: func(t *testing.T) Config {
			return Config{URL: "/docs/", File: pack(t, "v1/file.txt"), Folder: "v1"}
		}},
	)
}

func find(t *testing.T, h resource.Hook, path string) resource.Answer {
	t.Helper()
	a, err := h.Find(httptest.NewRequestWithContext(t.Context(), "GET", "/"+path, nil), path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFind(t *testing.T) {
	file := pack(t, "v1/a.txt", "v1/sub/b.txt", "c.txt", "../out.txt", "/root.txt")
	tests := []struct {
		name, folder, path, want string
	}{
		{"a file", "", "docs/c.txt", "c.txt"},
		{"a file in a folder", "", "docs/v1/sub/b.txt", "v1/sub/b.txt"},
		{"a file in the folder shown", "v1", "docs/sub/b.txt", "v1/sub/b.txt"},
		{"a file outside of the folder shown", "v1", "docs/c.txt", ""},
		{"a name that leads out stays within", "", "docs/out.txt", "../out.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := find(t, registrytest.Build(t, Component, Config{URL: "/docs/", File: file, Folder: tt.folder}, nil), tt.path)
			if a.Tree == nil || a.ScriptName != "/docs" || a.Root != "" {
				t.Fatalf("got %+v", a)
			}
			if text, err := fs.ReadFile(a.Tree, a.Path); string(text) != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("the file has %q, %v; want %q", text, err, tt.want)
			}
		})
	}
	h := registrytest.Build(t, Component, Config{URL: "/docs/", File: file}, nil)
	for _, path := range []string{"", "doc", "docsx", "x/docs/"} {
		if a := find(t, h, path); a.Tree != nil || a.Handler != nil {
			t.Errorf("%q: got %+v; want nothing", path, a)
		}
	}
	if find(t, h, "docs/").Tree != find(t, h, "docs/x").Tree {
		t.Error("got two trees; what is made of the files would be forgotten")
	}
}

// entry begins one of the archive's list of files; flags follow it, and the method.
const entry = "PK\x01\x02\x14\x00\x14\x00"

// spoil changes an archive on disk: what stands there so becomes something else of the same length.
func spoil(t *testing.T, file registry.Path, from, to string) {
	t.Helper()
	data, err := os.ReadFile(string(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(file), bytes.Replace(data, []byte(from), []byte(to), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBroken proves that what can't be read of an archive is an error which names the file.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name           string
		method         uint16
		from, to, want string
	}{
		{"checksum", zip.Store, "content", "CONTENT", "read b.txt: zip: checksum error"},
		{"another method", zip.Deflate, entry + "\x08\x00\x08", entry + "\x08\x00\x63", "open b.txt: zip: unsupported compression algorithm"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b.zip")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			z := zip.NewWriter(f)
			w, err := z.CreateHeader(&zip.FileHeader{Name: "b.txt", Method: tt.method})
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write([]byte("content"))
			if err := errors.Join(err, z.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
			spoil(t, registry.Path(path), tt.from, tt.to)
			h := registrytest.Build(t, Component, Config{URL: "/docs/", File: registry.Path(path)}, nil)
			if _, err := fs.ReadFile(find(t, h, "docs/b.txt").Tree, "b.txt"); err == nil || err.Error() != tt.want {
				t.Errorf("the error is %v; want %s", err, tt.want)
			}
		})
	}
}

func TestSlash(t *testing.T) {
	h := registrytest.Build(t, Component, Config{URL: "/a/docs/", File: pack(t, "x")}, nil)
	w := httptest.NewRecorder()
	find(t, h, "a/docs").Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/a/docs?b=c", nil))
	if got := w.Header().Get("Location"); w.Code != 308 || got != "./docs/?b=c" {
		t.Errorf("%d to %q; want 308 to ./docs/?b=c", w.Code, got)
	}
}

// TestBuild proves that what can't be shown is an error, and that a change of the file is noticed.
func TestBuild(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup(registry.KindHook, "archive")
	text := filepath.Join(t.TempDir(), "text.zip")
	if err := os.WriteFile(text, []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, locked := pack(t, "v1/a.txt"), pack(t, "v1/a.txt")
	spoil(t, locked, entry+"\x08", entry+"\x09")
	tests := []struct {
		name, want string
		cfg        Config
	}{
		{"no file", "no such file or directory; it must be a zip archive", Config{File: "/nowhere.zip"}},
		{"another file", "not a valid zip file; it must be a zip archive", Config{File: registry.Path(text)}},
		{"an encrypted one", `: "v1/a.txt" in it is encrypted; it must be an archive without a password`, Config{File: locked}},
		{"no folder", `has no folder "v2"`, Config{File: file, Folder: "v2"}},
		{"a file for a folder", `has no folder "v1/a.txt"`, Config{File: file, Folder: "v1/a.txt"}},
		{"a good one", "", Config{File: file, Folder: "v1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.URL = "/a/"
			i, err := d.Open(t.Context(), &tt.cfg, slog.New(slog.DiscardHandler))
			if tt.want == "" && err == nil {
				defer i.Close()
				if diff := cmp.Diff([]string{string(file)}, i.Depends()); diff != "" {
					t.Errorf("it depends on (-want +got):\n%s", diff)
				}
				return
			}
			if err == nil || tt.want == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v; want %q", err, tt.want)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want []string
	}{
		{"good", Config{URL: "/a/b/", File: "/a.zip", Folder: "x/y"}, nil},
		{"nothing", Config{}, []string{"url is missing; it must be a text", "file is missing; it must be a path"}},
		{"no folder's URL", Config{URL: "/a", File: "/a.zip"}, []string{`url is "/a"; it must be the path of a folder, such as /manual/`}},
		{"the root", Config{URL: "/", File: "/a.zip"}, []string{`url is "/"; it must be the path of a folder, such as /manual/`}},
		{"a folder that leads out", Config{URL: "/a/", File: "/a.zip", Folder: "../x"}, []string{`folder is "../x"; it must be a path in the archive, such as manual-2.1`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, registrytest.Problems(t, Component, tt.cfg)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
