package stackfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"

	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// beyond are the problems that a JSON Schema can't see, by what they say. Whatever else is wrong with a
// file is wrong with its structure, and the schema refuses it.
var beyond = []struct{ why, problem string }{
	{"what is written in YAML, and gone from the values that a schema is asked about", `^("[^"]*" stands twice; the first|the tag |the alias |a key is not a text)|second document`},
	{"other files, and what their content is for", `can't be read|can't extend itself|can't be mounted within itself|^a file that is included has|^urls is empty|^include is "|which stackd reads`},
	{"the environment, and the references to it within a text", `environment variable|neither \$\{env:NAME\}|^"\$\{" has no|^\$\{file:\} has no path`},
	{"a file needs what another file has, or doesn't: servers where it isn't mounted, a stack where it doesn't extend one", `^(servers|stack): is missing`},
	{"names of slots, which stand elsewhere in the file or in another one", `has no slot |stands twice in the stack|can't be called (vars|on_reload)`},
	{"the order of entries", `an app must be the last entry|the last entry must be an app|the order there stands|nothing here says where it stands`},
	{"all entries together", `each address must stand once|every server is off`},
	{"two patterns together", `both match |matches the same URLs|^the pattern .* stands on`},
	{"the grammar of a pattern, of which a schema has the coarse form", `^the pattern .*(the host |the segment |not the last segment)`},
	{"what components promise each other", ` needs (the|its) session|provide the session| may wait, and the server | keeps its state in one process`},
	{"rules across settings", `for the name __Host-id|given beside a body|is the same as pid_file`},
	{"how much a text comes to that says how long or how large", `is [0-9.]+(h|m|s|ms|µs|ns)+; it must be at (least|most) [0-9]+(h|m|s|ms)|is too large`},
	{"the grammar of a text of tests", `an IP address|a regular expression|ask is "get`},
}

// elsewhere are problems of the structure that no schema of one place can see, by case and place.
var elsewhere = map[string]string{
	"bad-extends stack.yaml:10:15":        "another component may stand in the slot tag: what stands there is said elsewhere",
	"bad-switch-settings stack.yaml:5:9":  "another override chooses the component that misses a setting",
	"bad-switch-settings stack.yaml:6:17": "another override chooses the component that has no such setting",
	"bad-float-int stack.yaml:8:25":       "1e1 is ten, in JSON",
	"bad-sizes stack.yaml:5:51":           "1e3 is a thousand, in JSON",
}

// stricter are files that the schema refuses, though nothing that the loader says of them is for a schema to see.
var stricter = map[string]string{
	"bad-extends-nothing base.yaml": "a file that is extended may say less than any other; a check of it alone misses the stack, too",
	"good-mount blog/stack.yaml":    "of a file that is mounted, servers and deadlines aren't looked at; a check of it alone refuses them, too",
	"bad-include a.yaml":            "a stack in a file that is included isn't looked at, and this one is wrong, too",
	"bad-extends-unset base.yaml":   "a text can't stand for a list or a map, whatever it refers to",
	"bad-braces-value stack.yaml":   "a text in braces is a map, where none belongs",
	"bad-urls-keys stack.yaml":      "what stands there is nothing that could be said of a slot, either",
	"bad-urls-nested stack.yaml":    "what stands there is nothing that could be said of a slot, either",
	"bad-urls-setting stack.yaml":   "what stands there is nothing that could be said of a slot, either",
}

// TestSchema holds the JSON Schema of the corpus' components against the corpus. It accepts every file that the
// loader accepts, and those whose problems are all beyond a schema; every other problem it refuses too, at its place.
func TestSchema(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(files) < 150 {
		t.Fatalf("the corpus has %d cases: %v", len(files), err)
	}
	reg := stackfile.CorpusRegistry(t)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema(reg)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("stack.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("stack.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	met := make(map[string]int) // how often each row of the tables was needed
	good, refusedProblems := 0, 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			_, options := stackfile.OpenCorpus(t, file)
			_, dependsOn, err := stackfile.Load(t.Context(), reg, "stack.yaml", options)
			ps, _ := errors.AsType[stackfile.Problems](err)
			dir, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range dependsOn {
				rel, err := filepath.Rel(dir, path)
				text, readErr := os.ReadFile(path)
				if err != nil || readErr != nil || filepath.Ext(path) != ".yaml" {
					continue
				}
				of := slices.DeleteFunc(slices.Clone(ps), func(p stackfile.Problem) bool { return p.File != rel })
				f, ok := edit(text)
				if !ok {
					if len(of) == 0 {
						t.Errorf("%s is no YAML to an editor, and the loader has nothing to say", rel)
					}
					continue
				}
				refused := f.refused(t, compiled.Validate(f.value))
				structural := false
				for _, p := range of {
					place := fmt.Sprintf("%s %s:%d:%d", name, rel, p.Line, p.Column)
					why := beyondIt(p.Text)
					if why == "" && elsewhere[place] != "" {
						why = place
						if refused[place[strings.Index(place, ":")+1:]] {
							t.Errorf("%s: the schema refuses it; take it out of the table", place)
						}
					}
					if why != "" {
						met[why]++
						continue
					}
					structural = true
					refusedProblems++
					if !refused[fmt.Sprintf("%d:%d", p.Line, p.Column)] {
						t.Errorf("%s\nthe schema must refuse it at that place; it does at %v", p, slices.Sorted(maps.Keys(refused)))
					}
				}
				switch key := name + " " + rel; {
				case structural:
				case stricter[key] != "":
					met[key]++
					if len(refused) == 0 {
						t.Errorf("%s: the schema accepts it; take it out of the table", key)
					}
				case len(refused) > 0:
					t.Errorf("the schema must accept %s, whose problems are %q; it refuses what stands at %v", rel, of, slices.Sorted(maps.Keys(refused)))
				case len(of) == 0:
					good++
				}
			}
		})
	}
	for _, b := range beyond {
		if met[b.why] == 0 {
			t.Errorf("no case shows %s", b.why)
		}
	}
	for _, table := range []map[string]string{elsewhere, stricter} {
		for key := range table {
			if met[key] == 0 {
				t.Errorf("%s is in a table, and no problem", key)
			}
		}
	}
	t.Logf("%d cases: %d files accepted, %d problems refused, %v beyond", len(files), good, refusedProblems, met)
	if good < 80 || refusedProblems < 200 {
		t.Errorf("%d files were accepted and %d problems refused; these must be more to prove anything", good, refusedProblems)
	}
}

// beyondIt returns why a schema can't see a problem, or nothing.
func beyondIt(problem string) (why string) {
	for _, b := range beyond {
		if regexp.MustCompile(b.problem).MatchString(problem) {
			return b.why
		}
	}
	return ""
}

// edited is a file as an editor sees it: values of JSON, which came from places in the text.
type edited struct {
	value any
	// places are where each value stands, and its key, by the path to it: keys, each ended by a NUL.
	places map[string][]string
	open   map[*yaml.Node]bool
}

func edit(text []byte) (*edited, bool) {
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil || len(n.Content) == 0 {
		return nil, false
	}
	e := &edited{places: make(map[string][]string), open: make(map[*yaml.Node]bool)}
	e.value = e.read(n.Content[0], "")
	return e, true
}

func (e *edited) read(n *yaml.Node, path string) any {
	e.note(path, n)
	switch n.Kind {
	case yaml.AliasNode:
		if e.open[n.Alias] {
			return nil // it stands within itself
		}
		e.open[n.Alias] = true
		defer delete(e.open, n.Alias)
		return e.read(n.Alias, path)
	case yaml.SequenceNode:
		items := []any{}
		for i, item := range n.Content {
			items = append(items, e.read(item, path+strconv.Itoa(i)+"\x00"))
		}
		return items
	case yaml.MappingNode:
		pairs := make(map[string]any)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value + "\x00"
			e.note(path+key, n.Content[i])
			pairs[n.Content[i].Value] = e.read(n.Content[i+1], path+key)
		}
		return pairs
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return n.Value
	}
	switch value.(type) {
	case nil, bool:
		return value
	case int, int64, uint64, float64:
		if text, err := json.Marshal(value); err == nil {
			return json.Number(text)
		}
	}
	return n.Value
}

func (e *edited) note(path string, n *yaml.Node) {
	e.places[path] = append(e.places[path], fmt.Sprintf("%d:%d", n.Line, n.Column))
}

// refused returns the places that a schema refuses, and those of the maps and lists that these are in: the loader
// may speak of either.
func (e *edited) refused(t *testing.T, err error) map[string]bool {
	t.Helper()
	refused := make(map[string]bool)
	if err == nil {
		return refused
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		t.Fatal(err)
	}
	mark := func(path string) {
		up := strings.TrimRight(path, "\x00")
		for _, place := range append(e.places[up[:strings.LastIndex(up, "\x00")+1]], e.places[path]...) {
			refused[place] = true
		}
	}
	var walk func(*jsonschema.ValidationError)
	walk = func(invalid *jsonschema.ValidationError) {
		path := strings.Join(append(slices.Clone(invalid.InstanceLocation), ""), "\x00")
		switch about := invalid.ErrorKind.(type) {
		case *kind.PropertyNames: // whose place isn't reliable
			mark("urls\x00" + about.Property + "\x00")
			return
		case *kind.AdditionalProperties:
			for _, name := range about.Properties {
				mark(path + name + "\x00")
			}
			return
		}
		if len(invalid.Causes) == 0 {
			mark(path)
		}
		for _, cause := range invalid.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	return refused
}
