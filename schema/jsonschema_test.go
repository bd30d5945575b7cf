package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	_ "github.com/stackd/stackd/components/standard"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// compile returns the JSON Schema of a registry, or one of its definitions. It checks the schema against the
// dialect that it names.
func compile(t testing.TB, reg *registry.Registry) *jsonschema.Schema {
	t.Helper()
	return compiler(t, reg)("")
}

// compiler returns a function that compiles a definition, or the whole schema for "". What has been compiled is
// remembered, since the schema is large.
func compiler(t testing.TB, reg *registry.Registry) func(definition string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema(reg)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("stack.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(definition string) *jsonschema.Schema {
		t.Helper()
		location := "stack.schema.json"
		if definition != "" {
			location += "#/definitions/" + definition
		}
		s, err := c.Compile(location)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// decode reads YAML as an editor does: into what JSON has.
func decode(t testing.TB, text []byte) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	return asJSON(&n)
}

func asJSON(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return asJSON(n.Content[0])
	case yaml.AliasNode:
		return asJSON(n.Alias)
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, asJSON(item))
		}
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = asJSON(n.Content[i+1])
		}
		return m
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return json.Number(strconv.FormatInt(i, 10))
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			if text, err := json.Marshal(f); err == nil {
				return json.Number(text)
			}
		}
	}
	return n.Value
}

// load returns what the loader says of a stack file.
func load(t testing.TB, reg *registry.Registry, path string) error {
	t.Helper()
	_, _, err := stackfile.Load(t.Context(), reg, path, stackfile.Options{})
	return err
}

// TestFiles holds the schema and the loader against stack files each of which shows one thing: both accept
// those in testdata/good, both refuse those in testdata/bad.
func TestFiles(t *testing.T) {
	reg := registry.Compiled()
	s := compile(t, reg)
	for _, verdict := range []string{"good", "bad"} {
		files, err := filepath.Glob("testdata/" + verdict + "/*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in testdata/%s: %v", verdict, err)
		}
		for _, file := range files {
			t.Run(verdict+"/"+strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for who, err := range map[string]error{"schema": s.Validate(decode(t, text)), "loader": load(t, reg, file)} {
					if (err == nil) != (verdict == "good") {
						t.Errorf("the %s says %v; it must find the file %s", who, err, verdict)
					}
				}
			})
		}
	}
}

// TestDefaults writes every default of every component out, as a stack file would.
func TestDefaults(t *testing.T) {
	reg := registry.Compiled()
	definition := compiler(t, reg)
	var top struct {
		Definitions map[string]map[string]any
	}
	if err := json.Unmarshal(schema.JSONSchema(reg), &top); err != nil {
		t.Fatal(err)
	}
	for _, d := range reg.All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			name := string(d.Kind) + "." + d.Name
			entry := defaults(top.Definitions[name])
			entry["use"] = d.Name
			optional := func(f registry.Field) bool { return !slices.Contains(f.Rules, registry.Rule{Name: "required"}) }
			if slices.ContainsFunc(d.Settings.Fields, optional) && len(entry) == 1 {
				t.Errorf("the schema tells no default of %s", name)
			}
			if err := definition(name).Validate(entry); err != nil {
				t.Errorf("%v: %v", entry, err)
			}
		})
	}
}

// defaults returns the defaults that a schema of a map tells, and those of the maps in it.
func defaults(of map[string]any) map[string]any {
	found := map[string]any{}
	properties, _ := of["properties"].(map[string]any)
	for name, p := range properties {
		property, _ := p.(map[string]any) // or true, for any value
		if standard, ok := property["default"]; ok {
			found[name] = standard
		} else if inner := defaults(property); len(inner) > 0 {
			found[name] = inner
		}
	}
	return found
}

// TestExamples reads the examples in the components' manuals: whatever uses a component there has settings that a
// component of that name has.
func TestExamples(t *testing.T) {
	reg := registry.Compiled()
	definition := compiler(t, reg)
	text, err := os.ReadFile("prose.json")
	if err != nil {
		t.Fatal(err)
	}
	var prose schema.Prose
	if err := json.Unmarshal(text, &prose); err != nil {
		t.Fatal(err)
	}
	used := 0
	var walk func(t *testing.T, v any)
	walk = func(t *testing.T, v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(t, item)
			}
		case map[string]any:
			for _, item := range v {
				walk(t, item)
			}
			name, ok := v["use"].(string)
			if !ok {
				return
			}
			used++
			named := reg.Named(name)
			var errs []error
			for _, d := range named {
				err := definition(string(d.Kind) + "." + d.Name).Validate(v)
				if err == nil {
					return
				}
				errs = append(errs, err)
			}
			t.Errorf("%v: no component takes it: %v", v, errs)
		}
	}
	for _, d := range reg.All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			for _, code := range codeBlocks(prose[d.Package].Doc) {
				var n yaml.Node
				if yaml.Unmarshal([]byte(code), &n) == nil && len(n.Content) > 0 {
					walk(t, asJSON(&n))
				}
			}
		})
	}
	if used == 0 {
		t.Error("no example uses a component")
	}
}

// probeConfig has a setting of every type and constraint.
type probeConfig struct {
	Bool     bool                        `yaml:"bool"`
	Int      int                         `yaml:"int"`
	Small    int                         `yaml:"small" validate:"min=0,max=50"`
	Some     int                         `yaml:"some" validate:"omitempty,min=5"`
	Choice   int                         `yaml:"choice" validate:"oneof=1 2"`
	Port     uint16                      `yaml:"port"`
	Float    float64                     `yaml:"float" validate:"min=-1.5"`
	Text     string                      `yaml:"text"`
	Needed   string                      `yaml:"needed" validate:"required"`
	Short    string                      `yaml:"short" validate:"max=3"`
	Slash    string                      `yaml:"slash" validate:"startswith=/"`
	URL      string                      `yaml:"url" validate:"omitempty,url"`
	Word     string                      `yaml:"word" validate:"oneof=auto never"`
	Duration time.Duration               `yaml:"duration"`
	Wait     time.Duration               `yaml:"wait" validate:"min=0s"`
	Pause    time.Duration               `yaml:"pause" validate:"omitempty,min=1s"`
	Size     registry.Size               `yaml:"size"`
	Percent  registry.Percent            `yaml:"percent"`
	Room     registry.Size               `yaml:"room" validate:"min=1024,max=1048576"`
	Path     registry.Path               `yaml:"path"`
	Address  registry.Address            `yaml:"address"`
	Network  registry.Network            `yaml:"network"`
	Secret   registry.Secret             `yaml:"secret"`
	Store    registry.Ref[session.Store] `yaml:"store"`
	List     []int                       `yaml:"list" validate:"dive,min=1"`
	Map      map[string]bool             `yaml:"map"`
}

// probed returns a registry with an app that has these settings.
func probed(t testing.TB) *registry.Registry {
	t.Helper()
	reg, err := registry.New(
		registry.Server[struct{}]{Name: "http", Traits: traits, Build: func(*registry.Env, struct{}) (registry.ServeFunc, error) { return nil, http.ErrNotSupported }},
		registry.Store[struct{}]{Name: "memory", Traits: traits, Build: func(*registry.Env, struct{}) (session.Store, error) { return nil, http.ErrNotSupported }},
		registry.App[probeConfig]{
			Name: "probe", Traits: traits, Build: func(*registry.Env, probeConfig) (http.Handler, error) { return nil, http.ErrNotSupported },
			Default: probeConfig{Choice: 1, Needed: "x", Slash: "/", Word: "auto", Room: 2048},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

var traits = registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}

// verdicts returns what the schema and the loader say of a value written for a setting of probe.
func verdicts(t testing.TB, reg *registry.Registry, s *jsonschema.Schema, dir, setting, value string) (bySchema, byLoader error) {
	t.Helper()
	text := fmt.Appendf(nil, "servers: [http]\nstack:\n  - use: probe\n    %s: %s\n", setting, value)
	path := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return err, load(t, reg, path)
	}
	return s.Validate(asJSON(&n)), load(t, reg, path)
}

func TestValues(t *testing.T) {
	reg := probed(t)
	s := compile(t, reg)
	dir := t.TempDir()
	for _, c := range []struct {
		setting    string
		good, bad  string // values, apart from each other by " | "
		beyondThis string // what the loader refuses and the schema can't
	}{
		{"bool", `true | "true" | on | OFF | yes | "No" | null | "${env:STACKD_TEST:-on}"`, `1 | maybe | "" | [true] | {a: b}`, `"$$"`},
		{"int", `0 | -5 | +7 | "12" | 0x1F | "0b11" | 1_000 | ~`, `one | 1.5 | "" | "1.0" | 5s`, ``},
		{"small", `0 | 50 | "7"`, `-1 | 51 | "-1"`, `"51"`},
		{"some", `0 | 5 | "0"`, `4 | -1`, ``},
		{"choice", `1 | "2"`, `0 | 3 | "3"`, ``},
		{"port", `0 | 65535 | "80"`, `-1 | 65536 | "-1"`, `"65536"`},
		{"float", `1 | 1.5 | -1.5 | "2.5" | 1e3 | .5 | "1."`, `-1.6 | one | "" | [1]`, `"-3"`},
		{"text", `a | "" | 5 | true | 2024-01-01 | "null" | null`, `[a] | {a: b}`, ``},
		{"needed", `a | 0 | false | null`, `"" | [a]`, ``},
		{"short", `abc | äöü | 123 | "$$$$"`, `abcd`, `1234`},
		{"slash", `/ | /a`, `a | ""`, `5`},
		{"url", `https://example.org/ | ""`, `example.org`, `"http://"`},
		{"word", `auto | never | null`, `always | "" | true`, ``},
		{"duration", `5s | 1h30m | 1.5h | -5s | 0 | "0" | 250ms | .5s | 3µs`, `5 | soon | "" | 5 s | 5d`, ``},
		{"wait", `5s | 0 | 0s | +5s | "-0"`, `-5s | -0.5h`, ``},
		{"pause", `0 | 0s | "0" | 1s`, `-1s | five`, `10ms`},
		{"percent", `0% | 5% | 007.5% | .5% | 5.% | 100% | 100.00% | "12%"`, `5 | 0.05 | 101% | 100.1% | -5% | 1e1% | "%" | 5 % | ""`, ``},
		{"size", `0 | 4096 | 64KiB | 1.5GiB | 10 MB | 10mb | "5" | -1 | 5B`, `10 cats | 1.5 | KiB | "" | 5iB`, `1.5B`},
		{"room", `1024 | 1KiB`, `1023 | 1048577 | -1KiB`, `1B | 2MiB`},
		{"path", `a/b | /a | "" | 5 | ~`, `[a]`, ``},
		{"address", `127.0.0.1:80 | :80 | "[::1]:0" | unix:a/b | localhost:1 | localhost:65535 | ":+080" | ":-0" | ":0000080"`, `80 | localhost | "unix:" | "" | a:b | ::1:80 | localhost:70000 | localhost:65536 | ":-1" | ":" | unix:` + strings.Repeat("a", 108), ``},
		{"secret", `a | 5 | ""`, `{a: b}`, ``},
		{"store", `memory | {use: memory} | null`, `disk | {} | {use: memory, a: b} | [memory] | {use: memory, as: a} | ""`, ``},
		{"network", `192.0.2.7 | 10.0.0.0/8 | "fd00::/8" | "::1" | unix`, `localhost | 10.0.0.0:80 | "" | [unix]`, `10.0.0.0/64 | 10.1.2.3/8`},
		{"list", `[] | [1, 2] | null | ["3"] | 1 | "3"`, `[0] | 0 | a | [a] | {a: 1} | [null]`, `["0"]`},
		{"map", `{} | {a: on, b: null} | null`, `{a: 1} | [a] | a`, ``},
	} {
		check := func(values string, schemaGood, loaderGood bool) {
			if values == "" {
				return
			}
			for value := range strings.SplitSeq(values, " | ") {
				t.Run(c.setting+"="+value, func(t *testing.T) {
					bySchema, byLoader := verdicts(t, reg, s, dir, c.setting, value)
					if (bySchema == nil) != schemaGood {
						t.Errorf("the schema says %v; it must find it good: %t", bySchema, schemaGood)
					}
					if (byLoader == nil) != loaderGood {
						t.Errorf("the loader says %v; it must find it good: %t", byLoader, loaderGood)
					}
				})
			}
		}
		check(c.good, true, true)
		check(c.bad, false, false)
		check(c.beyondThis, true, false)
	}
}

type siteConfig struct {
	Root  registry.Path `yaml:"root" validate:"required"`
	Title struct {
		Text string `yaml:"text" validate:"required"`
		Size int    `yaml:"size"`
	} `yaml:"title"`
	Store  registry.Ref[session.Store]            `yaml:"store"`
	Stores map[string]registry.Ref[session.Store] `yaml:"stores"`
	List   []registry.Ref[session.Store]          `yaml:"list"`
}

type diskConfig struct {
	Path  registry.Path               `yaml:"path" validate:"required"`
	Under registry.Ref[session.Store] `yaml:"under"`
}

// TestRequired writes what a component can't do without, or leaves it out, in each of the places where
// components stand.
func TestRequired(t *testing.T) {
	nothing := func(*registry.Env, struct{}) (session.Store, error) { return nil, http.ErrNotSupported }
	reg, err := registry.New(
		registry.Server[struct{}]{Name: "http", Traits: traits, Build: func(*registry.Env, struct{}) (registry.ServeFunc, error) { return nil, http.ErrNotSupported }},
		registry.Store[struct{}]{Name: "memory", Traits: traits, Build: nothing},
		registry.Store[diskConfig]{Name: "disk", Traits: traits, Build: func(*registry.Env, diskConfig) (session.Store, error) { return nil, http.ErrNotSupported }},
		registry.App[siteConfig]{
			Name: "site", Traits: traits, Build: func(*registry.Env, siteConfig) (http.Handler, error) { return nil, http.ErrNotSupported },
			Default: siteConfig{Stores: map[string]registry.Ref[session.Store]{"*": registry.Use[session.Store]("memory")}},
		},
		registry.App[diskConfig]{
			Name: "disk", Traits: traits, Build: func(*registry.Env, diskConfig) (http.Handler, error) { return nil, http.ErrNotSupported },
			Default: diskConfig{Path: "a", Under: registry.Use[session.Store]("disk")},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t, reg)
	dir := t.TempDir()
	for _, c := range []struct {
		name, stack string
		good        bool
	}{
		{"all there", "{use: site, root: a, title: {text: b}}", true},
		{"bare", "site", false},
		{"missing", "{use: site, title: {text: b}}", false},
		{"null", "{use: site, root: null, title: {text: b}}", false},
		{"missing within", "{use: site, root: a, title: {size: 1}}", false},
		{"missing with what it is in", "{use: site, root: a}", false},
		{"by expansion", `{use: site, root: "${env:STACKD_TEST:-a}", title: {text: "${env:STACKD_TEST:-b}"}}`, true},
		{"reference with it", "{use: site, root: a, title: {text: b}, store: {use: disk, path: c}}", true},
		{"reference without", "{use: site, root: a, title: {text: b}, store: {use: disk}}", false},
		{"reference by name", "{use: site, root: a, title: {text: b}, store: disk}", false},
		{"reference that needs nothing", "{use: site, root: a, title: {text: b}, store: memory}", true},
		{"reference to nobody", "{use: site, root: a, title: {text: b}, store: {path: c}}", false},
		{"reference of a reference", "{use: site, root: a, title: {text: b}, store: {use: disk, path: c, under: {use: disk, path: d}}}", true},
		{"reference of a reference without", "{use: site, root: a, title: {text: b}, store: {use: disk, path: c, under: {use: disk}}}", false},
		{"in a map", "{use: site, root: a, title: {text: b}, stores: {x: {use: disk, path: c}}}", true},
		{"in a map without", "{use: site, root: a, title: {text: b}, stores: {x: {use: disk}}}", false},
		{"in a map by name", "{use: site, root: a, title: {text: b}, stores: {x: disk}}", false},
		{"in a map to the default", `{use: site, root: a, title: {text: b}, stores: {"*": {}}}`, true},
		{"in a map to nobody", "{use: site, root: a, title: {text: b}, stores: {x: {}}}", false},
		{"in a list", "{use: site, root: a, title: {text: b}, list: [memory, {use: disk, path: c}]}", true},
		{"in a list without", "{use: site, root: a, title: {text: b}, list: [memory, {use: disk}]}", false},
		{"in a list to nobody", "{use: site, root: a, title: {text: b}, list: [{}]}", false},
		{"default that isn't enough", "disk", false},
		{"default that isn't enough, left out", "{use: disk, path: a}", false},
		{"default made enough", "{use: disk, under: {path: b}}", true},
		{"default replaced", "{use: disk, under: memory}", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := []byte("servers: [http]\nstack: [" + c.stack + "]\n")
			path := filepath.Join(dir, "stack.yaml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			for who, err := range map[string]error{"schema": s.Validate(decode(t, text)), "loader": load(t, reg, path)} {
				if (err == nil) != c.good {
					t.Errorf("the %s says %v; it must find it good: %t", who, err, c.good)
				}
			}
		})
	}
}

// FuzzValue looks for a value that the loader accepts and the schema refuses: an editor would mark as
// wrong what is right.
func FuzzValue(f *testing.F) {
	reg := probed(f)
	s := compile(f, reg)
	settings := reflect.VisibleFields(reflect.TypeFor[probeConfig]())
	for i := range settings {
		f.Add(uint(i), "5", true)
		f.Add(uint(i), "-1.5KiB", false)
		f.Add(uint(i), "0 ", true)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, index uint, text string, quoted bool) {
		name := settings[index%uint(len(settings))].Tag.Get("yaml")
		if quoted {
			encoded, err := json.Marshal(text)
			if err != nil {
				t.Skip()
			}
			text = string(encoded)
		} else if strings.ContainsAny(text, "\r\n\u0085\u2028\u2029:#&*") {
			t.Skip() // it would be more than a value
		}
		if bySchema, byLoader := verdicts(t, reg, s, dir, name, text); byLoader == nil && bySchema != nil {
			t.Errorf("%s: %s: the loader accepts it, and the schema says %v", name, text, bySchema)
		}
	})
}
