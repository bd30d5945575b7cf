package stackfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/stackd/stackd/registry/inspect"
)

// TestFormat formats in.yaml of each archive in testdata/format, and expects out.yaml or problems.
func TestFormat(t *testing.T) {
	files, err := filepath.Glob("testdata/format/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil || len(archive.Files) != 2 || archive.Files[0].Name != "in.yaml" {
				t.Fatalf("the archive must have in.yaml and what comes of it: %v", err)
			}
			want := &archive.Files[1]
			got, err := Format(testRegistry(t), "in.yaml", archive.Files[0].Data)
			name := "out.yaml"
			if err != nil {
				name, got = "problems", []byte(err.Error()+"\n")
			}
			if *update {
				want.Name, want.Data = name, got
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(want.Data), string(got)); d != "" || name != want.Name {
				t.Errorf("it came to %s; -want +got:\n%s", name, d)
			}
		})
	}
}

// TestFormatKeepsStacks formats what loads, and compares what it comes to.
func TestFormatKeepsStacks(t *testing.T) {
	for name, text := range corpusFiles(t) {
		t.Run(name, func(t *testing.T) {
			plan, problems := loadText(t, string(text))
			if problems != nil {
				return // what Format makes of bad files is for FuzzFormat
			}
			out, err := Format(testRegistry(t), "stack.yaml", text)
			if err != nil {
				t.Fatalf("it loads, and can't be formatted: %v", err)
			}
			again, problems := loadText(t, string(out))
			if problems != nil {
				t.Fatalf("it loads no more: %v\n%s", problems, out)
			}
			for _, path := range []string{"/", "/a/", "/a/b", "/admin/"} {
				before, after := plan.Explain("GET", "example.org", path), again.Explain("GET", "example.org", path)
				if d := cmp.Diff(settings(before), settings(after)); d != "" {
					t.Errorf("%s: -before +after:\n%s\n%s", path, d, out)
				}
			}
		})
	}
}

// settings returns what an explanation says but for the places.
func settings(e inspect.Explanation) []string {
	var all []string
	for _, v := range e.Vars {
		all = append(all, "vars "+v.Name+"="+v.Value)
	}
	for _, s := range e.Slots {
		for _, v := range s.Settings {
			all = append(all, s.Name+" "+v.Name+"="+v.Value)
		}
	}
	slices.Sort(all)
	return all
}

func FuzzFormat(f *testing.F) {
	for _, text := range corpusFiles(f) {
		f.Add(text)
	}
	reg := testRegistry(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := Format(reg, "stack.yaml", text)
		if err != nil {
			return
		}
		again, err := Format(reg, "stack.yaml", out)
		if d := cmp.Diff(string(out), string(again)); d != "" || err != nil {
			t.Errorf("formatted a second time: %v; -first +second:\n%s", err, d)
		}
	})
}

// corpusFiles returns the stack files of the corpus.
func corpusFiles(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	found := make(map[string][]byte)
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range archive.Files {
			if part.Name == "stack.yaml" {
				found[strings.TrimSuffix(filepath.Base(path), ".txtar")] = part.Data
			}
		}
	}
	return found
}
