package schema_test

import (
	"go/doc/comment"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/session"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// codeBlocks returns the pieces of code in a comment.
func codeBlocks(doc string) []string {
	var p comment.Parser
	var found []string
	for _, b := range p.Parse(doc).Content {
		if code, ok := b.(*comment.Code); ok {
			found = append(found, code.Text)
		}
	}
	return found
}

// limitConfig is that of a component which isn't in prose.json.
type limitConfig struct {
	Rate  float64                                `yaml:"rate" validate:"min=0"`
	Burst int                                    `yaml:"burst" validate:"min=1,max=50"`
	Name  string                                 `yaml:"name" validate:"required,max=9"`
	Wait  time.Duration                          `yaml:"wait" validate:"min=1ms"`
	Mode  string                                 `yaml:"mode" validate:"oneof=soft hard"`
	Home  string                                 `yaml:"home" validate:"omitempty,url"`
	Room  registry.Size                          `yaml:"room" validate:"max=1048576"`
	Key   registry.Secret                        `yaml:"key"`
	Store registry.Ref[session.Store]            `yaml:"store"`
	Hooks []registry.Ref[resource.Hook]          `yaml:"hooks"`
	Makes map[string]registry.Ref[resource.Hook] `yaml:"makes"`
	Hosts []string                               `yaml:"hosts" validate:"unique,max=3,dive,startswith=."`
	Inner struct {
		Path registry.Path `yaml:"path"`
	} `yaml:"inner"`
	Rules []struct {
		Listen registry.Address `yaml:"listen" validate:"required"`
	} `yaml:"rules" validate:"dive"`
	Levels map[string]struct {
		On bool `yaml:"on"`
	} `yaml:"levels"`
}

func (c limitConfig) Traits(t registry.Traits) registry.Traits { return t }

// outsider is a component whose comments stackd doesn't know.
var outsider = registry.Middleware[limitConfig]{
	Name:    "limit",
	Default: limitConfig{Burst: 5, Wait: time.Minute, Mode: "soft", Room: 1 << 10, Key: registry.NewSecret("s3cret"), Hosts: []string{".a b"}},
	Traits: registry.Traits{
		Processes: registry.SingleProcess, Calls: registry.Blocking,
		Provides: nil, Needs: nil,
	},
	Build: func(*registry.Env, limitConfig) (registry.Wrap, error) { return nil, http.ErrNotSupported },
}

func outside(t *testing.T) *registry.Registry {
	t.Helper()
	reg, err := registry.New(outsider)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// TestFacts shows a component without prose: all that the registry knows of it is there.
func TestFacts(t *testing.T) {
	reg := outside(t)
	d := reg.Lookup(registry.KindMiddleware, "limit")
	if s := schema.Synopsis(d); s != "" {
		t.Errorf("its synopsis is %q; it must be empty", s)
	}
	want := `limit (middleware)

Settings

  rate: 0
      (number, not negative)

  burst: 5
      (whole number, 1 to 50)

  name: (required)
      (text, at most 9 characters)

  wait: 1m
      (duration, at least 1ms)

  mode: soft
      (soft or hard)

  home: ""
      (URL, or empty)

  room: 1KiB
      (size, at most 1MiB)

  key: [redacted]
      (secret)

  store: (none)
      (store)

  hooks: []
      (list of hooks)

  makes: {}
      (map of hooks)

  hosts: [.a b]
      (list of texts, each beginning with ., at most 3 entries, none twice)

  inner:
      (map)

  inner.path: ""
      (path)

  rules: []
      (list of maps)

  rules[].listen: (required)
      (address)

  levels: {}
      (map of maps)

  levels.*.on:
      (true or false)

Promises

  - Single-process: it keeps state in its process, which several can't share.
  - Blocking: it may wait, for a disk, a network or another process.
  - This is so with the default settings; others may change it.
  - The components that its settings name make promises of their own.
`
	if diff := cmp.Diff(want, schema.Component(d)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	compile(t, reg)
	manual := schema.Manual(reg)
	for _, want := range []string{
		"| `name` | text, at most 9 characters | **required** |  |",
		"| `mode` | `soft` or `hard` | `soft` |  |",
		"| `store` | store | none |  |",
		"| `key` | secret | `[redacted]` |  |",
		"| `rules[].listen` | address | **required** |  |",
		"| `levels.*.on` | `true` or `false` |  |  |",
	} {
		if !strings.Contains(manual, want+"\n") {
			t.Errorf("the manual has no line %s", want)
		}
	}
}

// TestSecrets looks for a default that must not be told.
func TestSecrets(t *testing.T) {
	reg := outside(t)
	for name, text := range map[string]string{
		"Manual":     schema.Manual(reg),
		"JSONSchema": string(schema.JSONSchema(reg)),
		"Component":  schema.Component(reg.All()[0]),
	} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("%s tells the secret", name)
		}
	}
}

func TestWidth(t *testing.T) {
	for _, d := range registry.Compiled().All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			text := schema.Component(d)
			if !strings.HasPrefix(text, d.Name+" ("+string(d.Kind)+")\n\n  ") || !strings.HasSuffix(text, "\n") {
				t.Errorf("it begins and ends with %.40q … %q", text, text[len(text)-1:])
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%d columns; at most 80 fit: %s", n, line)
				}
			}
		})
	}
}

func TestSynopsis(t *testing.T) {
	for _, d := range registry.Compiled().All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			s := schema.Synopsis(d)
			first, _ := utf8.DecodeRuneInString(s)
			if s == "" || strings.ToLower(string(first)) != string(first) || strings.HasSuffix(s, ".") || strings.Contains(s, "\n") {
				t.Errorf("it is %q; it must be a part of a sentence, such as %q", s, "keeps session data")
			}
		})
	}
	memory := registry.Compiled().Lookup(registry.KindStore, "memory")
	if want, got := "keeps session data in the memory of this process", schema.Synopsis(memory); want != got {
		t.Errorf("memory's is %q; it must be %q", got, want)
	}
}

var (
	link   = regexp.MustCompile(`\]\(#([^)]*)\)`)
	target = regexp.MustCompile(`<a id="([^"]*)"></a>`)
)

// TestManual follows the manual's links, and looks for each thing that it must tell of.
func TestManual(t *testing.T) {
	reg := registry.Compiled()
	manual := schema.Manual(reg)
	targets := make(map[string]bool)
	for _, m := range target.FindAllStringSubmatch(manual, -1) {
		if targets[m[1]] {
			t.Errorf("there are two targets %q", m[1])
		}
		targets[m[1]] = true
	}
	linked := make(map[string]bool)
	for _, m := range link.FindAllStringSubmatch(manual, -1) {
		linked[m[1]] = true
		if !targets[m[1]] {
			t.Errorf("a link leads to %q, which isn't there", m[1])
		}
	}
	for _, key := range stackfile.Keys() {
		if !linked["key-"+key] {
			t.Errorf("the contents don't have the key %q", key)
		}
	}
	for _, d := range reg.All() {
		if !linked[string(d.Kind)+"-"+d.Name] {
			t.Errorf("the contents don't have the %s %q", d.Kind, d.Name)
		}
		for _, f := range d.Settings.Fields {
			if !strings.Contains(manual, "| `"+f.Name+"` |") {
				t.Errorf("the setting %s of %s isn't there", f.Name, d.Name)
			}
		}
	}
	cells := 0 // of the table that the line is in
	for line := range strings.Lines(manual) {
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			cells = 0
		case cells == 0:
			cells = n
		case n != cells:
			t.Errorf("a row has another number of cells than its table: %s", line)
		}
	}
}

// TestManualText shows how a comment reads to somebody who knows the setting's name only.
func TestManualText(t *testing.T) {
	manual := schema.Manual(registry.Compiled())
	for _, want := range []string{
		"| `max_sessions` | whole number, at least 1 | `100000` | `max_sessions` is how many sessions are kept.",
		"| `path` | path, not empty | `var/sessions.db` | `path` is the database file.",
		"| `cookie.same_site` | `lax`, `strict` or `none` | `lax` | `cookie.same_site` says when",
		"| `store` | [store](#store) | `memory` |",
		"| `factories` | map of [factories](#factory) |",
		"It holds `max_sessions` at most.",
		"```yaml\nstack:\n  - use: session\n",
		"#### Bounds\n",
		"| `build` | duration, at least 1s | `1m` |",
	} {
		if !strings.Contains(manual, want) {
			t.Errorf("the manual has nowhere %s", want)
		}
	}
}

// TestPure asks twice: the same registry gives the same bytes.
func TestPure(t *testing.T) {
	reg := registry.Compiled()
	if diff := cmp.Diff(schema.Manual(reg), schema.Manual(reg)); diff != "" {
		t.Errorf("Manual: -first +second:\n%s", diff)
	}
	if diff := cmp.Diff(string(schema.JSONSchema(reg)), string(schema.JSONSchema(reg))); diff != "" {
		t.Errorf("JSONSchema: -first +second:\n%s", diff)
	}
}

// TestStacks holds the ready-made stack files against the schema.
func TestStacks(t *testing.T) {
	files, err := filepath.Glob("../stacks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stack files: %v", err)
	}
	s := compile(t, registry.Compiled())
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(decode(t, text)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Every rule has a page, and every page a rule.
func TestRulePages(t *testing.T) {
	manual := schema.Manual(registry.Compiled())
	files, err := os.ReadDir("rules")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(stackfile.Rules()) {
		t.Errorf("there are %d pages and %d rules", len(files), len(stackfile.Rules()))
	}
	for _, r := range stackfile.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			page := schema.RulePage(r.ID)
			if page == "" {
				t.Fatal("it has no page")
			}
			if !strings.Contains(manual, `<a id="rule-`+r.ID+`"></a>`) || !strings.Contains(manual, page) {
				t.Error("the page isn't in the manual")
			}
			text := schema.Rule(r.ID)
			if !strings.HasPrefix(strings.ReplaceAll(text, "\n", " "), r.ID+" ("+string(r.Severity)+")  "+r.Summary+"  ") {
				t.Errorf("as text it begins with %.80q", text)
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
					t.Errorf("the line has %d characters: %s", n, line)
				}
			}
		})
	}
	if schema.Rule("taste") != "" || schema.RulePage("taste") != "" {
		t.Error("there is a page for no rule")
	}
}
