package stackfile

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestBefore changes the stack files of the corpus in many small ways, and loads them with the stack before and without: it
// comes to the same, problems and the places of settings included.
func TestBefore(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/good-*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	reg := testRegistry(t)
	carried, loads := 0, 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(archive.Comment), "env ") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			dir := t.TempDir()
			text := ""
			for _, f := range archive.Files {
				switch f.Name {
				case "problems", "explain", "ask":
					continue
				case "stack.yaml":
					text = string(f.Data)
				}
				write(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			path := filepath.Join(dir, "stack.yaml")
			plan, _, err := Load(t.Context(), reg, path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			before, err := plan.Build(t.Context(), slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Skip("it can't be built here: ", err)
			}
			defer before.Close()
			lines := strings.Split(text, "\n")
			variants := []string{text, "# a line\n\n" + text, strings.Replace(text, "1", "2", 1), strings.Replace(text, "stack:", "vars: {new: 1}\nstack:", 1)}
			for i := range lines {
				variants = append(variants, strings.Join(append(append([]string{}, lines[:i]...), lines[i+1:]...), "\n"))
			}
			for _, text := range variants {
				write(t, path, text)
				want, _, fresh := Load(t.Context(), reg, path, Options{})
				got, _, again := Load(t.Context(), reg, path, Options{Before: before})
				loads++
				if diff := cmp.Diff(fmt.Sprint(fresh), fmt.Sprint(again)); diff != "" {
					t.Fatalf("%s\nproblems: -without +with:\n%s", text, diff)
				}
				if fresh != nil {
					continue
				}
				if diff := cmp.Diff(described(t, want), described(t, got)); diff != "" {
					t.Fatalf("%s\n-without +with:\n%s", text, diff)
				}
				got.instances(func(p *planned) {
					plan.instances(func(q *planned) {
						if p.cfg == q.cfg {
							carried++
						}
					})
				})
			}
		})
	}
	t.Logf("%d loads, %d instances were carried over", loads, carried)
	if loads < 100 || carried < 100 {
		t.Error("the test must see more")
	}
}

// described tells all there is to tell of a plan.
func described(t *testing.T, p *Plan) []string {
	t.Helper()
	printed, err := p.Print()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{string(printed), fmt.Sprintf("%+v", p.Outline()), fmt.Sprint(p.layers.problems.secrets.known)}
	p.instances(func(i *planned) { all = append(all, i.identity()+" "+i.at.String()+" "+i.where) })
	for _, area := range append([]region{{pattern: pattern{}}}, p.areas...) {
		path := "/"
		if len(area.set) > 0 {
			path = area.pattern.example()
		}
		method, url, ok := strings.Cut(path, " ")
		if !ok {
			method, url = "GET", path
		}
		e, err := p.ExplainURL(method, url)
		all = append(all, fmt.Sprintf("%s %v", e, err))
	}
	return all
}

// Stacks that are loaded one after the other keep nothing of those before in memory.
func TestBeforeIsForgotten(t *testing.T) {
	reg := testRegistry(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	var prev *Stack
	for n := range 3 {
		if err := os.WriteFile(file, fmt.Appendf(nil, "servers: [http]\nvars: {n: %d}\nstack: [session, say]\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, _, err := Load(t.Context(), reg, file, Options{Before: prev})
		if err != nil {
			t.Fatal(err)
		}
		if l := plan.layers.loader; l.before != nil || l.options.Before != nil {
			t.Fatal("the plan knows the one before")
		}
		plan.instances(func(p *planned) {
			if p.at.source != plan.layers.source {
				t.Errorf("%s stands in the file as it was", p.path)
			}
		})
		next, err := plan.Build(t.Context(), slog.New(slog.DiscardHandler), prev)
		if err != nil {
			t.Fatal(err)
		}
		if prev != nil {
			prev.Close()
		}
		prev = next
	}
	prev.Close()
}
