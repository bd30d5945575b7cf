package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is this module's path; root is its folder, seen from the test.
const (
	module = "github.com/stackd/stackd"
	root   = ".."
)

// yaml matches every YAML library that somebody might reach for.
var yaml = []string{
	"gopkg.in/yaml.v2", "gopkg.in/yaml.v3", "go.yaml.in/yaml/...", "sigs.k8s.io/yaml/...", "github.com/goccy/go-yaml/...",
}

// contracts are the packages by which components agree.
var contracts = []string{
	"./registry/direct", "./registry/environ", "./registry/expect", "./registry/failure", "./registry/gateway", "./registry/gateway/fcgi", "./registry/inspect", "./registry/local", "./registry/session", "./registry/resource", "./registry/response", "./registry/servlet",
}

// floor is one row of the table: what the packages that match must never import, and why.
// Patterns are those of the go command: "./" is this module, "..." any rest, and besides "*" any one element.
type floor struct {
	name     string
	packages []string
	look     look
	never    []string // none of these, and
	only     []string // if any is given: nothing but the standard library and these
	own      int      // imports that share this many leading elements with the package are its own affair
	why      string
}

// look says which imports a floor is about.
type look int

const (
	everything look = iota // all that the package is linked with, however indirectly
	direct                 // what its own files import
	inTests                // what its tests import
)

var floors = []floor{
	{
		name: "registry", packages: []string{"./registry/..."},
		never: slices.Concat(yaml, []string{"./stackfile/...", "./components/...", "./cmd/...", "./schema/...", "./stacks/...", "./tests/..."}),
		why:   "what a component is depends neither on how its settings are written nor on who uses it",
	},
	{
		name: "registry's tests", packages: []string{"./registry/..."}, look: inTests,
		never: []string{"./stackfile/...", "./components/...", "./cmd/...", "./schema/..."},
		why:   "its tests declare the components that they need, so that it can be tested when nothing else builds",
	},
	{
		name: "contracts", packages: contracts, only: contracts,
		why: "a contract is what any two components agree on, whoever wrote them",
	},
	{
		name: "components", packages: []string{"./components/*/*/..."}, own: 4,
		never: []string{"./components/..."},
		why:   "components share through a contract under registry/, so that each can be swapped by name",
	},
	{
		name: "components and the program", packages: []string{"./components/..."},
		never: slices.Concat(yaml, []string{"./stackfile/...", "./cmd/...", "./schema/...", "./stacks/...", "./tests/..."}),
		why:   "a component is given its settings, in any program that has a registry",
	},
	{
		name: "components' tests", packages: []string{"./components/..."}, look: inTests,
		never: []string{"./cmd/...", "./schema/..."},
		why:   "what only the program shows is tested in tests/",
	},
	{
		name: "stackfile", packages: []string{"./stackfile/..."},
		never: []string{"./components/...", "./cmd/..."},
		why:   "it is handed a *registry.Registry and knows no component by name",
	},
	{
		name: "stackfile's tests", packages: []string{"./stackfile/..."}, look: inTests,
		never: []string{"./cmd/..."},
		why:   "what only the commands show is tested in cmd",
	},
	{
		name: "serve", packages: []string{"./cmd/serve/...", "./cmd/supervise/..."},
		never: slices.Concat(yaml, []string{"./stackfile/...", "./components/...", "./schema/..."}),
		why:   "the runtime knows a Handler and a Close, not what is behind them",
	},
	{
		name: "serve's tests", packages: []string{"./cmd/serve/...", "./cmd/supervise/..."}, look: inTests,
		never: []string{"./stackfile/...", "./components/..."},
		why:   "the runtime is tested with plain handlers, as anybody may use it",
	},
	{
		name: "lsp", packages: []string{"./cmd/lsp/..."}, look: direct,
		never: slices.Concat(yaml, []string{"./components/...", "./cmd/...", "net", "net/http/...", "os/exec"}),
		why:   "a language server is handed the registry, says what stackfile says, and speaks with one editor",
	},
	{
		name: "no test code in the program", packages: slices.Concat([]string{"./cmd/...", "./stackfile/...", "./components/...", "./schema/...", "./registry"}, contracts), look: direct,
		never: []string{"testing/...", "net/http/httptest", "./registry/registrytest/...", "./tests/...", "github.com/google/go-cmp/..."},
		why:   "what is only for tests stays out of the binary",
	},
}

// listed is what go list tells about one package. A package of this module is written "./folder".
type listed struct {
	ImportPath                               string
	Imports, Deps, TestImports, XTestImports []string
}

// imports returns what the package imports, as a floor looks at it.
func (p listed) imports(l look) []string {
	switch l {
	case direct:
		return p.Imports
	case inTests:
		return slices.Concat(p.TestImports, p.XTestImports)
	default:
		return p.Deps
	}
}

// breaches returns the packages that break the floor, each with what it must not import, and how many the floor is about.
func (f floor) breaches(packages []listed) (found []string, about int) {
	for _, p := range packages {
		if !matchAny(f.packages, p.ImportPath) {
			continue
		}
		about++
		for _, dep := range p.imports(f.look) {
			switch {
			case dep == p.ImportPath, f.own > 0 && prefix(dep, f.own) == prefix(p.ImportPath, f.own):
			case matchAny(f.never, dep), len(f.only) > 0 && !standard(dep) && !matchAny(f.only, dep):
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, dep, f.why))
			}
		}
	}
	return found, about
}

// prefix returns the first n elements of an import path, or the whole path if it is shorter.
func prefix(path string, n int) string {
	elems := strings.Split(path, "/")
	return strings.Join(elems[:min(n, len(elems))], "/")
}

// standard reports whether the package is of the standard library: the first element of its path has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, path) })
}

// match reports whether the import path matches the pattern.
func match(pattern, path string) bool {
	elems := strings.Split(path, "/")
	for i, want := range strings.Split(pattern, "/") {
		switch {
		case want == "...":
			return true
		case i >= len(elems), want != "*" && want != elems[i]:
			return false
		}
	}
	return len(elems) == len(strings.Split(pattern, "/"))
}

// list asks the go command for the packages of this module.
func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	packages, err := readList(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// readList reads the output of go list -json.
func readList(r io.Reader) ([]listed, error) {
	local := func(path string) string {
		if path == module {
			return "."
		}
		if below, ok := strings.CutPrefix(path, module+"/"); ok {
			return "./" + below
		}
		return path
	}
	var packages []listed
	for dec := json.NewDecoder(r); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		p.ImportPath = local(p.ImportPath)
		for _, paths := range [][]string{p.Imports, p.Deps, p.TestImports, p.XTestImports} {
			for i := range paths {
				paths[i] = local(paths[i])
			}
		}
		packages = append(packages, p)
	}
}

func TestFloors(t *testing.T) {
	packages := list(t)
	for _, f := range floors {
		t.Run(f.name, func(t *testing.T) {
			found, about := f.breaches(packages)
			if about == 0 {
				t.Fatalf("there is no package %s", strings.Join(f.packages, ", "))
			}
			for _, b := range found {
				t.Error(b)
			}
		})
	}
}

// TestFloorsBreached proves that each floor can be broken: the row named must find the import planted, and a row's
// neighbours that are allowed must stay unfound.
func TestFloorsBreached(t *testing.T) {
	for _, tt := range []struct {
		floor, pkg string
		look       look
		bad, good  []string
	}{
		{
			"registry", module + "/registry", everything,
			[]string{"gopkg.in/yaml.v3", "go.yaml.in/yaml/v4", module + "/stackfile", module + "/components/stores/memory", module + "/cmd", module + "/schema"},
			[]string{"fmt", "reflect", module + "/registry/environ", "github.com/go-playground/validator/v10"},
		},
		{
			"registry", module + "/registry/registrytest", everything,
			[]string{"gopkg.in/yaml.v3", module + "/components/standard"},
			[]string{"testing", module + "/registry"},
		},
		{
			"registry's tests", module + "/registry", inTests,
			[]string{module + "/components/standard", module + "/stackfile"},
			[]string{module + "/registry/registrytest", "github.com/google/go-cmp/cmp"},
		},
		{
			"contracts", module + "/registry/session", everything,
			[]string{module + "/registry", "golang.org/x/sys/unix", module + "/registry/registrytest"},
			[]string{"net/http", "vendor/golang.org/x/net/http/httpguts", module + "/registry/environ", module + "/registry/failure"},
		},
		{
			"components", module + "/components/middleware/session", everything,
			[]string{module + "/components/stores/memory", module + "/components/standard", module + "/components/middleware/errors"},
			[]string{module + "/registry/session", module + "/components/middleware/session/internal/cookie"},
		},
		{
			"components", module + "/components/middleware/session/internal/cookie", everything,
			[]string{module + "/components/stores/memory"},
			[]string{module + "/components/middleware/session"},
		},
		{
			"components and the program", module + "/components/apps/finder", everything,
			[]string{module + "/stackfile", module + "/cmd/serve", module + "/schema", "gopkg.in/yaml.v3"},
			[]string{module + "/registry", "html/template"},
		},
		{
			"components' tests", module + "/components/apps/finder", inTests,
			[]string{module + "/cmd"},
			[]string{module + "/components/factories/static", module + "/stackfile", module + "/registry/registrytest"},
		},
		{
			"stackfile", module + "/stackfile", everything,
			[]string{module + "/components/standard", module + "/cmd/serve"},
			[]string{"gopkg.in/yaml.v3", module + "/registry"},
		},
		{
			"stackfile's tests", module + "/stackfile", inTests,
			[]string{module + "/cmd"},
			[]string{module + "/components/standard"},
		},
		{
			"serve", module + "/cmd/serve", everything,
			[]string{module + "/stackfile", module + "/components/standard", "gopkg.in/yaml.v3"},
			[]string{module + "/registry", "github.com/fsnotify/fsnotify"},
		},
		{
			"serve's tests", module + "/cmd/serve", inTests,
			[]string{module + "/stackfile", module + "/components/servers/http"},
			[]string{"net/http/httptest"},
		},
		{
			"lsp", module + "/cmd/lsp", direct,
			[]string{module + "/components/standard", module + "/cmd/serve", "gopkg.in/yaml.v3", "net", "net/http", "os/exec"},
			[]string{module + "/stackfile", module + "/schema", "github.com/creachadair/jrpc2"},
		},
		{
			"no test code in the program", module + "/cmd", direct,
			[]string{"testing", "testing/fstest", "net/http/httptest", module + "/registry/registrytest", "github.com/google/go-cmp/cmp"},
			[]string{"net/http", module + "/components/standard"},
		},
	} {
		t.Run(tt.floor+"/"+strings.TrimPrefix(tt.pkg, module+"/"), func(t *testing.T) {
			i := slices.IndexFunc(floors, func(f floor) bool { return f.name == tt.floor })
			if i < 0 {
				t.Fatalf("there is no floor %q", tt.floor)
			}
			try := func(dep string) []string {
				planted := listed{ImportPath: tt.pkg}
				switch tt.look {
				case everything:
					planted.Deps = []string{dep}
				case direct:
					planted.Imports = []string{dep}
				case inTests:
					planted.XTestImports = []string{dep}
				}
				text, err := json.Marshal(planted)
				if err != nil {
					t.Fatal(err)
				}
				packages, err := readList(bytes.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				found, about := floors[i].breaches(packages)
				if about != 1 {
					t.Fatalf("floor %q is about %d of 1 packages", tt.floor, about)
				}
				return found
			}
			for _, dep := range tt.bad {
				if found := try(dep); len(found) != 1 || !strings.Contains(found[0], strings.TrimPrefix(dep, module+"/")) {
					t.Errorf("import of %s: found %q, want one breach that names it", dep, found)
				}
			}
			for _, dep := range tt.good {
				if found := try(dep); len(found) > 0 {
					t.Errorf("import of %s: found %q, want none", dep, found)
				}
			}
		})
	}
	for _, f := range floors {
		if f.why == "" || len(f.never)+len(f.only) == 0 {
			t.Errorf("floor %q forbids nothing, or does not say why", f.name)
		}
	}
}
