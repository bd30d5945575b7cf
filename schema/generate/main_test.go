package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// TestCheckedIn holds the files of package schema against what generate makes of the sources.
func TestCheckedIn(t *testing.T) {
	files, err := generate(registry.Compiled())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("schema/%s isn't what the sources say; run go generate ./... (-sources +file):\n%s", name, diff)
		}
	}
}

// TestComplete fails for a folder under components that isn't registered, and so not documented.
func TestComplete(t *testing.T) {
	dirs, err := filepath.Glob("../../components/*/*/*.go")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no components: %v", err)
	}
	known := make(map[string]bool)
	for _, d := range registry.Compiled().All() {
		known[strings.TrimPrefix(d.Package, "github.com/stackd/stackd/")] = true
	}
	for _, path := range dirs {
		dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")
		if !known[dir] {
			t.Errorf("%s isn't registered; import it in components/standard", dir)
			known[dir] = true
		}
	}
}

// plantedConfig is that of the sources below.
type plantedConfig struct {
	MaxSize int           `yaml:"max_size"`
	Cookie  plantedCookie `yaml:"cookie"`
	Rules   []struct {
		Deep string `yaml:"deep"`
	} `yaml:"rules"`
}

type plantedCookie struct {
	Path string `yaml:"path"`
}

var planted = registry.Middleware[plantedConfig]{
	Name:   "planted",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  func(*registry.Env, plantedConfig) (registry.Wrap, error) { return nil, http.ErrNotSupported },
}

// documented is a source in which nothing is missing.
const documented = `// Package main plants a component.
//
//	stack:
//	  - {use: planted, max_size: 1}
//
// It is like [http.MaxBytesReader], or [Planted].
package main

import "net/http"

// Planted is nothing.
type Planted = http.Handler

type plantedConfig struct {
	// MaxSize is the longest body.
	MaxSize int ` + "`yaml:\"max_size\"`" + `
	// Cookie is a cookie.
	Cookie plantedCookie ` + "`yaml:\"cookie\"`" + `
	// Rules are rules.
	Rules []struct {
		// Deep is deep down. It is as [http.Request] says.
		Deep string ` + "`yaml:\"deep\"`" + `
	} ` + "`yaml:\"rules\"`" + `
}

type plantedCookie struct {
	// Path is a path.
	//
	//   - one
	//   - two
	Path string ` + "`yaml:\"path\"`" + `
	// other is no setting.
	other int
}
`

// collected returns the prose of a source that declares what planted does.
func collected(t *testing.T, source string) (schema.Prose, places, *registry.Registry) {
	t.Helper()
	reg, err := registry.New(planted)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "planted.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	at := make(places)
	pkg := reg.All()[0].Package
	text, err := collect(fset, []*ast.File{f}, pkg, at)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for _, t := range []reflect.Type{
		reflect.TypeFor[stackfile.Deadlines](), reflect.TypeFor[stackfile.Reload](), reflect.TypeFor[stackfile.Checks](), reflect.TypeFor[stackfile.Test](), reflect.TypeFor[stackfile.Step](),
		reflect.TypeFor[stackfile.Expectation](), reflect.TypeFor[stackfile.Match](), reflect.TypeFor[stackfile.Stub](),
	} {
		for _, f := range reflect.VisibleFields(t) {
			fields[t.Name()+"."+f.Name] = f.Name + " is documented."
		}
	}
	return schema.Prose{pkg: text, stackfilePackage: {Fields: fields}}, at, reg
}

func TestCollect(t *testing.T) {
	prose, _, reg := collected(t, documented)
	want := schema.Package{
		Synopsis: "plants a component",
		Doc: `plants a component.

	stack:
	  - {use: planted, max_size: 1}

It is like [http.MaxBytesReader], or [Planted].

[http.MaxBytesReader]: https://pkg.go.dev/net/http#MaxBytesReader
[Planted]: https://pkg.go.dev/` + reg.All()[0].Package + `#Planted`,
		Fields: map[string]string{
			"plantedConfig.MaxSize":    "MaxSize is the longest body.",
			"plantedConfig.Cookie":     "Cookie is a cookie.",
			"plantedConfig.Rules":      "Rules are rules.",
			"plantedConfig.Rules.Deep": "Deep is deep down. It is as [http.Request] says.\n\n[http.Request]: https://pkg.go.dev/net/http#Request",
			"plantedCookie.Path":       "Path is a path.\n\n  - one\n  - two",
		},
	}
	if diff := cmp.Diff(want, prose[reg.All()[0].Package]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	manual := prose.Manual(reg)
	for _, want := range []string{
		"It is like [http.MaxBytesReader](https://pkg.go.dev/net/http#MaxBytesReader)",
		"| `rules[].deep` | text |  | `rules[].deep` is deep down. It is as [http.Request](https://pkg.go.dev/net/http#Request) says. |",
		"| `cookie.path` | text | `\"\"` | `cookie.path` is a path.<br>",
	} {
		if !strings.Contains(manual, want) {
			t.Errorf("the manual has nowhere %s:\n%s", want, manual[strings.Index(manual, "### planted"):])
		}
	}
}

// TestGaps takes one comment away at a time.
func TestGaps(t *testing.T) {
	for _, c := range []struct {
		name      string
		old, with string
		want      string // empty for no error
	}{
		{"nothing", "", "", ""},
		{"a setting", "	// MaxSize is the longest body.\n", "", "planted.go:15: the setting max_size has no comment; it must have one, since that is its manual"},
		{"an empty comment", "// MaxSize is the longest body.", "//", "planted.go:16: the setting max_size has no comment; it must have one, since that is its manual"},
		{"a comment behind", "	// MaxSize is the longest body.\n	MaxSize int `yaml:\"max_size\"`", "	MaxSize int `yaml:\"max_size\"` // the longest", "planted.go:15: the setting max_size has no comment; it must have one, since that is its manual"},
		{"a map", "	// Cookie is a cookie.\n", "", "planted.go:17: the setting cookie has no comment; it must have one, since that is its manual"},
		{"within a map", "	// Path is a path.\n	//\n	//   - one\n	//   - two\n", "", "planted.go:27: the setting cookie.path has no comment; it must have one, since that is its manual"},
		{"within a list", "		// Deep is deep down. It is as [http.Request] says.\n", "", "planted.go:21: the setting rules[].deep has no comment; it must have one, since that is its manual"},
		{"the package comment", documented[:strings.Index(documented, "package main")], "", "planted.go:1: the middleware planted has no package comment; it must have one, since that is its manual"},
		{"its first words", "Package main plants", "This plants", `planted.go:7: the package comment must begin with "Package", the name, and a sentence that says what it is for`},
		{"the example", "//	stack:\n//	  - {use: planted, max_size: 1}\n", "// None.\n", "planted.go:6: the package comment has no example; it must have an indented piece of a stack file with planted in it"},
		{"an example of it", "{use: planted, max_size: 1}", "{use: another, max_size: 1}", "planted.go:7: the package comment has no example; it must have an indented piece of a stack file with planted in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(documented, c.old) {
				t.Fatalf("the source has no %q", c.old)
			}
			prose, at, reg := collected(t, strings.Replace(documented, c.old, c.with, 1))
			got := ""
			if err := gaps(prose, reg, at); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestGapsAll takes two away: both are named.
func TestGapsAll(t *testing.T) {
	prose, at, reg := collected(t, strings.NewReplacer("// Cookie is a cookie.", "", "// MaxSize is the longest body.", "").Replace(documented))
	err := gaps(prose, reg, at)
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "max_size") || !strings.Contains(err.Error(), "cookie") {
		t.Errorf("the error is %v; it must name max_size and cookie", err)
	}
}
