package stackfile

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations of the corpus")

// TestCorpus loads each file of testdata/corpus: a txtar archive with a stack.yaml and
// other files that it refers to, and then either
//
//	-- problems --   every problem, with its source line and caret
//	-- explain --    for each line of -- ask -- ([METHOD ][host]/path) what it meets
//
// The comment above the first file says what the case is about; a line "env NAME=value" in it
// sets a variable, "processes N" asks for N processes.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	reg := testRegistry(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, options := openCorpus(t, file)
			dir, _ := os.Getwd()
			ask := "GET /"
			for _, f := range archive.Files {
				if f.Name == "ask" {
					ask = string(f.Data)
				}
			}
			plan, _, err := Load(t.Context(), reg, "stack.yaml", options)
			section, got := "problems", ""
			if err != nil {
				ps, ok := errors.AsType[Problems](err)
				if !ok {
					t.Fatalf("the error is a %T; it must be Problems: %v", err, err)
				}
				for _, p := range ps {
					got += p.String() + "\n" + p.Excerpt()
				}
			} else {
				section = "explain"
				for line := range strings.Lines(ask) {
					method, url, ok := strings.Cut(strings.TrimSpace(line), " ")
					if !ok {
						method, url = "GET", method
					}
					slash := strings.IndexByte(url, '/')
					got += plan.Explain(method, url[:slash], url[slash:]).String() + "\n"
				}
			}
			got = strings.ReplaceAll(got, dir, "DIR")
			compare(t, filepath.Join(sourceDir, file), archive, section, got)
		})
	}
}

// openCorpus unpacks a case of the corpus into a folder of its own, and goes there. The options are those that its
// comment asks for.
func openCorpus(t *testing.T, file string) (*txtar.Archive, Options) {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join(sourceDir, file))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	options := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(strings.TrimPrefix(line, "env "), "="); ok && strings.HasPrefix(line, "env ") {
			env[name] = value
		}
		_, _ = fmt.Sscanf(line, "processes %d", &options.Processes)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		if !slices.Contains([]string{"problems", "explain", "ask"}, f.Name) {
			write(t, filepath.Join(dir, f.Name), string(f.Data))
		}
	}
	t.Chdir(dir)
	return archive, options
}

// sourceDir is this package's folder: the tests leave it.
var sourceDir, _ = os.Getwd()

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, path string, archive *txtar.Archive, section, got string) {
	t.Helper()
	if *update {
		kept := archive.Files[:0]
		for _, f := range archive.Files {
			if f.Name != "problems" && f.Name != "explain" {
				kept = append(kept, f)
			}
		}
		archive.Files = append(kept, txtar.File{Name: section, Data: []byte(got)})
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, f := range archive.Files {
		if f.Name == "problems" || f.Name == "explain" {
			if f.Name != section {
				t.Fatalf("the load came to %s; it must come to %s:\n%s", section, f.Name, got)
			}
			if diff := cmp.Diff(string(f.Data), got); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			return
		}
	}
	t.Fatalf("the archive expects nothing; run go test -update and look at the result:\n%s", got)
}
