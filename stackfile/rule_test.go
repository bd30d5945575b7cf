package stackfile

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/stackd/stackd/registry"
)

// TestRules checks, for each rule, the stack files of testdata/rules/ID.txtar: bad.yaml breaks it, which comes to
// what is under problems, and good.yaml is as it should be. The comment above the first file says what the
// case is about, and a line in it may be "env NAME=value", "processes N", or "environment", which looks at the
// machine, too.
func TestRules(t *testing.T) {
	reg := testRegistry(t)
	for _, rule := range Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			path := filepath.Join(sourceDir, "testdata/rules", rule.ID+".txtar")
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var want []byte
			for _, f := range archive.Files {
				if f.Name == "problems" {
					want = f.Data
					continue
				}
				write(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			t.Chdir(dir)
			options := optionsOf(archive)
			environment := bytes.Contains(archive.Comment, []byte("\nenvironment\n"))
			check := func(file string) Problems {
				ps, err := Check(t.Context(), reg, file, options, environment)
				if err != nil {
					t.Fatal(err)
				}
				return ps
			}

			if ps := check("good.yaml"); len(ps) > 0 {
				t.Errorf("the good one has\n%v", ps)
			}
			bad := check("bad.yaml")
			got, broken := "", false
			for _, p := range bad {
				got += p.String() + "\n" + p.Excerpt()
				broken = broken || p.Rule == rule.ID && p.Severity == rule.Severity
			}
			if !broken {
				t.Errorf("nothing in the bad one is said to break the rule:\n%s", got)
			}
			got = strings.ReplaceAll(got, dir, "DIR")
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "problems" })
				archive.Files = append(archive.Files, txtar.File{Name: "problems", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}

			// A load finds the same errors, and no warnings.
			_, _, err = Load(t.Context(), reg, "bad.yaml", options)
			errorsAlone := slices.DeleteFunc(slices.Clone(bad), func(p Problem) bool { return p.Severity == Warning })
			if fails := len(errorsAlone) > 0; fails != (err != nil) || fails && err.Error() != errorsAlone.Error() {
				t.Errorf("a load comes to %v, and a check to\n%v", err, errorsAlone)
			}
		})
	}
}

// A check and a load are of one mind about every file of the corpus, and what they find good can be built.
func TestCheckIsRun(t *testing.T) {
	reg := testRegistry(t)
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	built := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(filepath.Join(sourceDir, file))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range archive.Files {
			write(t, filepath.Join(dir, f.Name), string(f.Data))
		}
		for _, f := range archive.Files {
			if filepath.Ext(f.Name) != ".yaml" {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+f.Name, func(t *testing.T) {
				path, options := filepath.Join(dir, f.Name), optionsOf(archive)
				found, err := Check(t.Context(), reg, path, options, false)
				if err != nil {
					t.Fatal(err)
				}
				found = slices.DeleteFunc(found, func(p Problem) bool { return p.Severity == Warning })
				plan, _, err := Load(t.Context(), reg, path, options)
				if err != nil {
					if err.Error() != found.Error() {
						t.Errorf("a load comes to %v, and a check to\n%v", err, found)
					}
					return
				}
				if len(found) > 0 {
					t.Fatalf("a load is content, and a check has\n%v", found)
				}
				stack, err := plan.Build(t.Context(), slog.New(slog.DiscardHandler), nil)
				if err != nil {
					t.Fatal(err)
				}
				stack.Close()
				built++
			})
		}
	}
	if built < 30 {
		t.Errorf("%d files are good; that is too few to prove anything", built)
	}
}

// Components can warn by each concern, and by no other rule.
func TestConcerns(t *testing.T) {
	for _, c := range registry.Concerns() {
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.ID == string(c) && r.Severity == Warning }) {
			t.Errorf("there is no rule for the concern %q", c)
		}
	}
}

// optionsOf returns what the comment of a corpus file says.
func optionsOf(archive *txtar.Archive) Options {
	env := map[string]string{}
	o := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(strings.TrimPrefix(line, "env "), "="); ok && strings.HasPrefix(line, "env ") {
			env[name] = value
		}
		_, _ = fmt.Sscanf(line, "processes %d", &o.Processes)
	}
	return o
}
