package registrytest

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
)

// all are all rules.
func all() []rule {
	rules := []rule{declaration, goroutinesGone, filesClosed, settingsKept, closes, requestKept, fileKept, ends, serverReturns}
	for _, kind := range registry.Kinds() {
		for _, r := range rulesFor(kind) {
			rules = append(rules, *r)
		}
	}
	return rules
}

// A failure says where its rule is written. This proves that there is such a place.
func TestRulesAreWritten(t *testing.T) {
	packages := make(map[string]*doc.Package)
	for _, r := range all() {
		t.Run(r.name, func(t *testing.T) {
			name, place, _ := strings.Cut(strings.TrimPrefix(r.where, "package "), ", ")
			if strings.HasPrefix(r.where, "RFC ") {
				return
			}
			p := packages[name]
			if p == nil {
				p = document(t, name)
				packages[name] = p
			}
			if place != "" && !strings.Contains(p.Doc, "# "+place+"\n") && !declares(p, place) {
				t.Errorf("the rule is said to be written in %q; package %s has no such heading or declaration", r.where, name)
			}
			if strings.TrimSpace(p.Doc) == "" {
				t.Errorf("package %s has no comment", name)
			}
		})
	}
}

// document parses a contract package.
func document(t *testing.T, name string) *doc.Package {
	t.Helper()
	dir := filepath.Join("..", name)
	if name == "registry" {
		dir = ".."
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("package %s: no files in %s (%v)", name, dir, err)
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	p, err := doc.NewFromFiles(fset, parsed, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// declares reports whether a package has a documented type or method such as "Env.DependsOn".
func declares(p *doc.Package, name string) bool {
	name, method, _ := strings.Cut(name, ".")
	for _, t := range p.Types {
		if t.Name != name {
			continue
		}
		if method == "" {
			return t.Doc != ""
		}
		for _, m := range t.Methods {
			if m.Name == method {
				return m.Doc != ""
			}
		}
	}
	return false
}

// brokenRun is set for the copy of this test that is to fail.
const brokenRun = "REGISTRYTEST_BROKEN"

func TestRunFails(t *testing.T) {
	if os.Getenv(brokenRun) != "" {
		Run(t, component(func(env *registry.Env, _ options) (registry.Wrap, error) {
			return wraps(func() { env.DependsOn("etc/users") })
		}))
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRunFails$")
	cmd.Env = append(os.Environ(), brokenRun+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("go test passes for a component that breaks a rule:\n%s", out)
	}
	for _, want := range []string{
		"--- FAIL: TestRunFails/defaults/depends",
		`it depends on "etc/users"`,
		"rule: the path given to Env.DependsOn is absolute (package registry, Env.DependsOn)",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output of go test doesn't say %s:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "--- FAIL: TestRunFails/defaults/"); n != 1 {
		t.Errorf("%d rules failed, want 1:\n%s", n, out)
	}
}
