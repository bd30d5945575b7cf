package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shelf is a servlet that a developer elsewhere wrote.
const shelf = `// Package shelf tells which books there are.
package shelf

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/servlet"
)

func init() { registry.Register(Component) }

//go:embed prose.json
var prose []byte

// Component is the shelf servlet.
var Component = registry.Servlet[Config]{
	Name:    "shelf",
	Default: Config{Books: []string{"Emma"}},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build: func(_ *registry.Env, cfg Config) (*servlet.Servlet, error) {
		return servlet.New(&shelf{cfg.Books})
	},
	Prose: prose,
}

// Config says what stands on it.
type Config struct {
	// Books are the titles.
	Books []string ` + "`yaml:\"books\" validate:\"min=1,dive,required\"`" + `
}

type shelf struct{ books []string }

func (s *shelf) Get(w http.ResponseWriter, _ *http.Request) error {
	_, err := fmt.Fprintln(w, strings.Join(s.books, ", "))
	return err
}

func (s *shelf) RPC() servlet.RPC {
	return servlet.RPC{Procedures: map[string]servlet.Procedure{"has": servlet.Func(s.has)}}
}

type title struct {
	Title string ` + "`json:\"title\"`" + `
}

func (s *shelf) has(_ *http.Request, t title) (bool, error) {
	return slices.Contains(s.books, t.Title), nil
}
`

// firstTest is what follows the name of the package in the first test of either.
const firstTest = `

import (
	"testing"

	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }
`

// TestOutside makes a program of components that a developer elsewhere wrote, the middleware in the
// README and a servlet, in a module of its own. They are listed, documented, checked, overridden by URL and
// served like those that come with stackd.
func TestOutside(t *testing.T) {
	t.Parallel()
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	_, component, found := strings.Cut(read("README.md"), "```go\n// Package clacks")
	component, _, closed := strings.Cut(component, "```")
	if !found || !closed {
		t.Fatal("the README has no component clacks")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": strings.Replace(read("go.mod"), "module github.com/stackd/stackd", "module example.org/site", 1) +
			"\nrequire github.com/stackd/stackd v0.0.0\n\nreplace github.com/stackd/stackd => " + checkout + "\n",
		"go.sum":                read("go.sum"),
		"clacks/clacks.go":      "// Package clacks" + component,
		"clacks/clacks_test.go": "package clacks" + firstTest,
		"shelf/shelf_test.go":   "package shelf" + firstTest,
		"shelf/shelf.go":        shelf,
		"main.go":               strings.Replace(read("cmd/stackd/main.go"), "import (", "import (\n\t_ \"example.org/site/clacks\"\n\t_ \"example.org/site/shelf\"", 1),
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:0"}]
stack:
  - clacks
  - {use: respond, body: here}
urls:
  /ours/: {clacks: {names: [Ada, Grace]}}
  /none/: {clacks: off}
  /shelf: {respond: {use: servlet, servlet: {use: shelf, books: [Emma, Persuasion]}}}
`,
		"bad.yaml": "servers: [http]\nstack:\n  - {use: clacks, names: []}\n  - {use: clakcs}\n  - respond\nurls:\n  /shelf: {respond: {use: servlet, servlet: {use: shelf, books: []}}}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		out, _ := c.CombinedOutput()
		if got := c.ProcessState.ExitCode(); got != want {
			t.Fatalf("%s %s exited with %d, want %d:\n%s", name, strings.Join(args, " "), got, want, out)
		}
		return string(out)
	}
	program := filepath.Join(dir, "site")
	run(0, "go", "run", "github.com/stackd/stackd/schema/generate", "./...") // before it builds, since it embeds what this writes
	run(0, "go", "build", "-o", program, ".")
	run(0, "go", "test", "./clacks", "./shelf")

	contains(t, "list", run(0, program, "list"), "\n  clacks ", "\n  shelf  tells which books there are")
	contains(t, "doc", run(0, program, "doc", "shelf"), "shelf (servlet)", "Tells which books there are.", `books: [Emma]`, "books are the titles.")
	contains(t, "the schema", run(0, program, "schema"), "tells which books there are", "books are the titles.")
	contains(t, "doc", run(0, program, "doc", "clacks"), "clacks (middleware)", `names: [GNU Terry Pratchett]`)
	contains(t, "explain", run(0, program, "explain", "stack.yaml", "/ours/x"), "names: [Ada, Grace]", "stack.yaml:6")
	contains(t, "check", run(1, program, "check", "bad.yaml"),
		"bad.yaml:3:26: clacks: names has 0 entries; it must have at least 1", "books has 0 entries; it must have at least 1", `unknown middleware or app "clakcs"; did you mean "clacks"?`)

	s := startProgram(t, program, filepath.Join(dir, "stack.yaml"))
	for path, want := range map[string]string{"/": "GNU Terry Pratchett", "/ours/": "Ada, Grace", "/none/": ""} {
		if got := strings.Join(s.get(http.DefaultClient, path).header["X-Clacks-Overhead"], ", "); got != want {
			t.Errorf("%s was sent with %q, want %q", path, got, want)
		}
	}
	contains(t, "the servlet", s.get(http.DefaultClient, "/shelf").body, "Emma, Persuasion\n")
	call, err := http.NewRequest(http.MethodPost, s.url+"/shelf", strings.NewReader(`{"jsonrpc": "2.0", "id": 1, "method": "has", "params": ["Emma"]}`))
	if err != nil {
		t.Fatal(err)
	}
	call.Header.Set("Content-Type", "application/json")
	contains(t, "the servlet's procedure", s.do(http.DefaultClient, call).body, `{"jsonrpc":"2.0","result":true,"id":1}`)
}
