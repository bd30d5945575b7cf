package stackfile

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/registry/session"
)

// The components of these tests have all the same settings, so that any setting is legal
// for any of them, and differ in their defaults.

type mixInner struct {
	A string `yaml:"a"`
	B int    `yaml:"b"`
}

type mixConfig struct {
	Text   string                                 `yaml:"text"`
	List   []string                               `yaml:"list"`
	Map    map[string]string                      `yaml:"map"`
	Nested mixInner                               `yaml:"nested"`
	Ref    registry.Ref[session.Store]            `yaml:"ref"`
	Refs   map[string]registry.Ref[session.Store] `yaml:"refs"`
	Parts  map[string]mixInner                    `yaml:"parts"`
}

type mixStoreConfig struct {
	A string `yaml:"a"`
	B int    `yaml:"b"`
}

func mixRegistry(t testing.TB, more ...registry.Declaration) *registry.Registry {
	t.Helper()
	all := more
	for n, name := range []string{"one", "two"} {
		cfg := mixConfig{Text: "text" + name, List: []string{"list" + name}, Map: map[string]string{"k": "map" + name}, Nested: mixInner{A: "nested" + name, B: n}, Ref: registry.Use[session.Store](name)}
		all = append(
			all,
			registry.Store[mixStoreConfig]{Name: name, Default: mixStoreConfig{A: "store" + name, B: 10 + n}, Traits: safe, Build: func(*registry.Env, mixStoreConfig) (session.Store, error) { return nothingStored{}, nil }},
			registry.Middleware[mixConfig]{Name: "mw" + name, Default: cfg, Traits: safe, Build: func(*registry.Env, mixConfig) (registry.Wrap, error) {
				return func(next http.Handler) http.Handler { return next }, nil
			}},
			registry.App[mixConfig]{Name: "app" + name, Default: cfg, Traits: safe, Build: func(*registry.Env, mixConfig) (http.Handler, error) { return http.NotFoundHandler(), nil }},
		)
	}
	all = append(all, registry.Server[noSettings]{Name: "http", Traits: safe, Build: func(*registry.Env, noSettings) (registry.ServeFunc, error) { return servesNothing(), nil }})
	reg, err := registry.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// A mix is a value as the model has it: nil for null, a string, a []string or a mix by key.
type mix = map[string]any

// mixSlot is an entry of the generated stack.
type mixSlot struct {
	name, use string
	off       bool
	settings  mix
	// silent leaves off to the file that is extended.
	silent bool
}

// mixOverride is one of the generated overrides. Slots are trees or "on" or "off".
type mixOverride struct {
	pattern string
	vars    mix
	slots   map[string]any
}

type mixStack struct {
	vars      mix
	slots     []mixSlot
	overrides []mixOverride
	// ref is the default of every component's ref; empty for the component's own.
	ref string
}

// mixer makes stacks of bytes.
type mixer struct {
	data []byte
	// plain leaves out null, and makes all values different.
	plain  bool
	unique int
	// about are the only settings there are, each likely; nil for all of them.
	about []string
}

func (m *mixer) n(below int) int {
	if len(m.data) == 0 {
		return 0
	}
	b := m.data[0]
	m.data = m.data[1:]
	return int(b) % below
}

func (m *mixer) text() string {
	if m.plain {
		m.unique++
		return fmt.Sprintf("u%d", m.unique)
	}
	return []string{"va", "vb", "vc"}[m.n(3)]
}

func (m *mixer) number() string {
	if m.plain {
		m.unique++
		return strconv.Itoa(100 + m.unique)
	}
	return strconv.Itoa(20 + m.n(3))
}

func (m *mixer) null() bool { return !m.plain && m.n(6) == 0 }

// pick returns a mix of some of the keys.
func (m *mixer) pick(chance int, values map[string]func() any) mix {
	t := mix{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if m.n(chance) == 0 {
			if m.null() {
				t[key] = nil
			} else {
				t[key] = values[key]()
			}
		}
	}
	return t
}

func (m *mixer) inner() any {
	return m.pick(2, map[string]func() any{"a": func() any { return m.text() }, "b": func() any { return m.number() }})
}

func (m *mixer) ref() any {
	name := []string{"one", "two"}[m.n(2)]
	switch m.n(3) {
	case 0:
		return name
	case 1:
		t := m.inner().(mix)
		t["use"] = name
		return t
	}
	return m.inner()
}

// namedRef is one that names its component, for a map that has no default to speak to.
func (m *mixer) namedRef() any {
	r := m.ref()
	if t, ok := r.(mix); ok && t["use"] == nil {
		t["use"] = []string{"one", "two"}[m.n(2)]
	}
	return r
}

func (m *mixer) settings() mix {
	values := map[string]func() any{
		"text": func() any { return m.text() },
		"list": func() any { return []string{m.text()} },
		"map": func() any {
			return m.pick(2, map[string]func() any{"k": func() any { return m.text() }, "l": func() any { return m.text() }})
		},
		"nested": m.inner,
		"ref":    m.ref,
		"refs":   func() any { return m.pick(2, map[string]func() any{"x": m.namedRef, "y": m.namedRef}) },
		"parts":  func() any { return m.pick(2, map[string]func() any{"p": m.inner, "q": m.inner}) },
	}
	if m.about == nil {
		return m.pick(3, values)
	}
	maps.DeleteFunc(values, func(key string, _ func() any) bool { return !slices.Contains(m.about, key) })
	return m.pick(1, values)
}

func (m *mixer) vars() mix {
	return m.pick(2, map[string]func() any{
		"v": func() any { return m.text() },
		"w": func() any {
			if m.n(3) == 0 {
				return m.text()
			}
			return m.pick(2, map[string]func() any{"x": func() any { return m.text() }, "y": func() any { return []string{m.text()} }})
		},
	})
}

func (m *mixer) stack(patterns []string) mixStack {
	s := mixStack{vars: m.vars()}
	s.slots = []mixSlot{{name: "a", use: "mwone", off: m.n(4) == 0, settings: m.settings()}, {name: "b", use: "mwtwo", off: m.n(4) == 0, settings: m.settings()}, {name: "app", use: "appone", settings: m.settings()}}
	m.about = [][]string{nil, nil, nil, {"ref"}, {"refs", "text"}, {"parts", "map"}}[m.n(6)]
	near := m.about != nil || m.n(2) == 0
	if near { // so that there are orders to make a difference
		patterns = slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return !meetsOthers(p) })
	}
	taken := map[string]bool{}
	for range m.n(6) + 1 {
		o := mixOverride{pattern: patterns[(m.n(256)<<8|m.n(256))%len(patterns)], slots: map[string]any{}}
		if taken[o.pattern] {
			continue
		}
		taken[o.pattern] = true
		if m.n(2) == 0 {
			o.vars = m.vars()
		}
		for _, slot := range s.slots {
			switch what := m.n(6); {
			case what < 2:
				o.slots[slot.name] = m.settings()
			case what == 2, what == 5 && near:
				t := m.settings()
				t["use"] = slot.use[:len(slot.use)-3] + []string{"one", "two"}[m.n(2)]
				o.slots[slot.name] = t
			case what == 3 && slot.name != "app":
				o.slots[slot.name] = []string{"on", "off"}[m.n(2)]
			case what == 4 && slot.name != "app":
				t := m.settings()
				t["off"] = []string{"true", "false"}[m.n(2)]
				o.slots[slot.name] = t
			}
		}
		if len(o.vars)+len(o.slots) > 0 {
			s.overrides = append(s.overrides, o)
		}
	}
	return s
}

// meetsOthers reports whether a pattern has one of the paths that all match /a/b.
func meetsOthers(p string) bool {
	parts := patternParts.FindStringSubmatch(p)
	return slices.Contains([]string{"/", "/a/", "/{x0}/", "/a/{x1}", "/{x0}/b", "/{x0}/{x1}", "/a/b"}, parts[3])
}

// writeMix writes a value in block style, so that each scalar has a line of its own.
func writeMix(b *strings.Builder, indent string, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString(" null\n")
	case string:
		b.WriteString(" " + v + "\n")
	case []string:
		b.WriteString(" [" + strings.Join(v, ", ") + "]\n")
	case mix:
		if len(v) == 0 {
			b.WriteString(" {}\n")
			return
		}
		b.WriteString("\n")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(indent + "  " + key + ":")
			writeMix(b, indent+"  ", v[key])
		}
	}
}

func (s mixStack) String() string { return "servers: [http]\n" + s.body() }

// body is the file, without servers.
func (s mixStack) body() string {
	var b strings.Builder
	b.WriteString("vars:")
	writeMix(&b, "", s.vars)
	if len(s.slots) > 0 {
		b.WriteString("stack:\n")
	}
	for _, slot := range s.slots {
		fmt.Fprintf(&b, "  - use: %s\n    as: %s\n", slot.use, slot.name)
		if !slot.silent {
			fmt.Fprintf(&b, "    off: %t\n", slot.off)
		}
		for _, key := range slices.Sorted(maps.Keys(slot.settings)) {
			b.WriteString("    " + key + ":")
			writeMix(&b, "    ", slot.settings[key])
		}
	}
	if len(s.overrides) > 0 {
		b.WriteString(writeOverrides(s.overrides))
	}
	return b.String()
}

func writeOverrides(overrides []mixOverride) string {
	var b strings.Builder
	b.WriteString("urls:\n")
	for _, o := range overrides {
		fmt.Fprintf(&b, "  %q:\n", o.pattern)
		if o.vars != nil {
			b.WriteString("    vars:")
			writeMix(&b, "    ", o.vars)
		}
		for _, name := range slices.Sorted(maps.Keys(o.slots)) {
			b.WriteString("    " + name + ":")
			writeMix(&b, "    ", o.slots[name])
		}
	}
	return b.String()
}

// The model. It knows nothing of regions, nodes or positions: it lays trees over trees.

// laid returns over laid on base, where refs says at which depth names of components stand:
// 1 at this value, 2 at those in it.
func laid(base, over any, refs int) any {
	b, bIsTree := base.(mix)
	o, oIsTree := over.(mix)
	if refs == 1 && oIsTree {
		if name, ok := base.(string); ok {
			b, bIsTree = mix{"use": name}, true
		}
		if bIsTree && o["use"] != nil && o["use"] != b["use"] {
			return over
		}
	}
	if !bIsTree || !oIsTree {
		return over
	}
	merged := maps.Clone(b)
	for key, v := range o {
		if old, ok := b[key]; ok {
			v = laid(old, v, max(refs-1, 0))
		}
		merged[key] = v
	}
	return merged
}

// settingsLaid is laid for all settings of a component.
func settingsLaid(base, over mix) mix {
	merged := maps.Clone(base)
	for key, v := range over {
		if key == "use" || key == "off" {
			continue
		}
		if old, ok := merged[key]; ok {
			v = laid(old, v, map[string]int{"ref": 1, "refs": 2}[key])
		}
		merged[key] = v
	}
	return merged
}

// modelRequest is a request with the overrides that match it, as indexes.
type modelRequest struct {
	method, host, path string
	set                []int
}

// model knows which override is more specific, and which covers which.
type model struct {
	stack mixStack
	world *world
	sets  []requestSet
	// more tells of each two which is more specific; speaks which component each override speaks
	// to in each slot.
	more   [][]bool
	speaks []map[string]string
}

func newModel(s mixStack, w *world) *model {
	m := &model{stack: s, world: w}
	for _, o := range s.overrides {
		m.sets = append(m.sets, w.matches(o.pattern))
	}
	for i := range m.sets {
		m.more = append(m.more, nil)
		for j := range m.sets {
			m.more[i] = append(m.more[i], m.moreSpecific(i, j))
		}
	}
	for i := range m.sets {
		m.speaks = append(m.speaks, map[string]string{})
		for _, slot := range s.slots {
			m.speaks[i][slot.name] = m.addressed(i, slot)
		}
	}
	return m
}

// host returns the requests for the host of a pattern.
func (m *model) host(i int) requestSet {
	host := patternParts.FindStringSubmatch(m.stack.overrides[i].pattern)[2]
	return m.world.matches(host + "/")
}

func (m *model) moreSpecific(i, j int) bool {
	a, b := m.host(i), m.host(j)
	if !slices.Equal(a, b) {
		return a.within(b)
	}
	return m.sets[i].within(m.sets[j]) && !m.sets[j].within(m.sets[i])
}

// orders calls f with each order of the overrides in which none comes before one that is more
// general.
func (m *model) orders(set, done []int, f func([]int)) {
	if len(set) == 0 {
		f(done)
		return
	}
	for n, i := range set {
		if !slices.ContainsFunc(set, func(j int) bool { return m.more[i][j] }) {
			m.orders(slices.Delete(slices.Clone(set), n, n+1), append(slices.Clone(done), i), f)
		}
	}
}

// addressed returns the component that override i speaks to.
func (m *model) addressed(i int, slot mixSlot) string {
	var covering []int
	for j := range m.sets {
		if m.sets[i].within(m.sets[j]) {
			covering = append(covering, j)
		}
	}
	use := slot.use
	m.orders(covering, nil, func(order []int) {
		use = slot.use
		for _, j := range order {
			if t, ok := m.stack.overrides[j].slots[slot.name].(mix); ok && t["use"] != nil {
				use = t["use"].(string)
			}
		}
	})
	return use
}

// effective returns what overrides, in this order, come to: a line for each thing.
func (m *model) effective(order []int) []string {
	var lines []string
	var vars any = m.stack.vars
	for _, i := range order {
		if m.stack.overrides[i].vars != nil {
			vars = laid(vars, m.stack.overrides[i].vars, 0)
		}
	}
	lines = append(lines, varLines("vars", vars)...)
	for _, slot := range m.stack.slots {
		use, off, settings := slot.use, slot.off, slot.settings
		for _, i := range order {
			switch over := m.stack.overrides[i].slots[slot.name].(type) {
			case string:
				off = over == "off"
			case mix:
				if over["off"] != nil {
					off = over["off"] == "true"
				}
				if name, ok := over["use"].(string); ok && name != use {
					use, settings = name, mix{}
				}
				if m.speaks[i][slot.name] == use {
					settings = settingsLaid(settings, over)
				}
			}
		}
		lines = append(lines, slot.name+" is "+use)
		if off {
			lines[len(lines)-1] += " off"
		}
		lines = append(lines, settingLines(slot.name, use[len(use)-3:], m.stack.ref, settings)...)
	}
	return lines
}

func varLines(path string, v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{path + ": null"}
	case string:
		return []string{path + ": " + v}
	case []string:
		return []string{path + ": [" + strings.Join(v, ", ") + "]"}
	}
	if len(v.(mix)) == 0 && path != "vars" {
		return []string{path + ": {}"}
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(v.(mix))) {
		lines = append(lines, varLines(path+"."+key, v.(mix)[key])...)
	}
	return lines
}

func text(v any, fallback string) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fallback
}

// settingLines lists settings with the defaults of the component of that name, and ref as that of its ref,
// unless it is empty.
func settingLines(slot, name, ref string, settings mix) []string {
	if ref == "" {
		ref = name
	}
	n := slices.Index([]string{"one", "two"}, name)
	var lines []string
	add := func(path, value string) { lines = append(lines, slot+"."+path+": "+value) }
	store := func(path string, v any, fallback string) {
		t, _ := v.(mix)
		use := text(v, text(t["use"], fallback))
		add(path, use)
		add(path+".a", text(t["a"], "store"+use))
		add(path+".b", text(t["b"], strconv.Itoa(10+slices.Index([]string{"one", "two"}, use))))
	}
	add("text", text(settings["text"], "text"+name))
	if l, ok := settings["list"].([]string); ok {
		add("list", "["+strings.Join(l, ", ")+"]")
	} else {
		add("list", "[list"+name+"]")
	}
	entries := mix{"k": "map" + name}
	if t, ok := settings["map"].(mix); ok {
		for key, v := range t {
			if v != nil {
				entries[key] = v
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		add("map["+key+"]", entries[key].(string))
	}
	nested, _ := settings["nested"].(mix)
	add("nested.a", text(nested["a"], "nested"+name))
	add("nested.b", text(nested["b"], strconv.Itoa(n)))
	store("ref", settings["ref"], ref)
	refs, _ := settings["refs"].(mix)
	none := true
	for _, key := range slices.Sorted(maps.Keys(refs)) {
		if refs[key] != nil {
			store("refs["+key+"]", refs[key], "")
			none = false
		}
	}
	if none {
		add("refs", "{}")
	}
	parts, _ := settings["parts"].(mix)
	none = true
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		if t, ok := parts[key].(mix); ok {
			add("parts["+key+"].a", text(t["a"], `""`))
			add("parts["+key+"].b", text(t["b"], "0"))
			none = false
		}
	}
	if none {
		add("parts", "{}")
	}
	return lines
}

// explained writes an explanation as the model does.
func explained(e inspect.Explanation) []string {
	var lines []string
	for _, v := range e.Vars {
		lines = append(lines, "vars."+v.Name+": "+v.Value)
	}
	slices.Sort(lines)
	for _, slot := range e.Slots {
		lines = append(lines, slot.Name+" is "+slot.Component)
		if !slot.On {
			lines[len(lines)-1] += " off"
			continue
		}
		for _, s := range slot.Settings {
			lines = append(lines, slot.Name+"."+s.Name+": "+s.Value)
		}
	}
	return lines
}

// mixPatterns overlap often.
func mixPatterns() []string {
	return worldPatterns([]string{"", "GET "}, []string{"", "*.a", "b.a"}, []string{"a", "b", "{x}"}, 2)
}

func loadMix(t testing.TB, reg *registry.Registry, content string) (*Plan, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, content)
	plan, _, err := Load(t.Context(), reg, file, Options{})
	return plan, err
}

// requests returns one request for each set of overrides that match one.
func (m *model) requests() []modelRequest {
	var found []modelRequest
	known := map[string]bool{}
	m.world.each(func(n int, method, host, path string) {
		var set []int
		for i, s := range m.sets {
			if s.has(n) {
				set = append(set, i)
			}
		}
		if key := fmt.Sprint(set); !known[key] && strings.HasPrefix(path, "/") && path == matched(path) {
			known[key] = true
			found = append(found, modelRequest{method, host, path, set})
		}
	})
	return found
}

func mixSeeds(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		seed := make([]byte, 40+random.IntN(300))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
}

// outcome returns what a request meets, and notes a conflict.
func (m *model) outcome(r modelRequest, conflict *string) (outcome []string) {
	m.orders(r.set, nil, func(order []int) {
		lines := m.effective(order)
		if *conflict == "" && outcome != nil && !slices.Equal(outcome, lines) {
			*conflict = fmt.Sprintf("%s %s%s\n%s", r.method, r.host, r.path, cmp.Diff(outcome, lines))
		}
		outcome = lines
	})
	return outcome
}

// visible leaves out the settings of slots that are off.
func visible(lines []string) []string {
	off := ""
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		if slot, _, ok := strings.Cut(line, " is "); ok && !strings.Contains(slot, ":") {
			off = ""
			if strings.HasSuffix(line, " off") {
				off = slot
			}
			return false
		}
		return off != "" && strings.HasPrefix(line, off+".")
	})
}

// with returns the stack with other references below the overrides, those of the defaults among them. Which
// overrides are in conflict doesn't depend on those, so there is one if there is for any of them.
func (s mixStack) with(ref any) mixStack {
	s.ref, _ = ref.(string)
	s.slots = slices.Clone(s.slots)
	for i := range s.slots {
		settings := maps.Clone(s.slots[i].settings)
		settings["ref"], settings["refs"] = ref, mix{"x": ref, "y": ref}
		s.slots[i].settings = settings
	}
	return s
}

// FuzzMerge makes stacks with a few overrides, and holds what Load and Explain tell about
// every URL against a model. There is a conflict when the order in which overrides apply,
// where their patterns leave it open, makes a difference, on this stack or on one with other
// references.
func FuzzMerge(f *testing.F) {
	mixSeeds(f)
	reg, w, patterns := mixRegistry(f), newWorld(), mixPatterns()
	f.Fuzz(func(t *testing.T, data []byte) {
		stack := (&mixer{data: data}).stack(patterns)
		plan, err := loadMix(t, reg, stack.String())
		holdMix(t, w, stack, stack.String(), plan, err)
	})
}

// holdMix holds what a load came to against the model of a stack, which stands in a text.
func holdMix(t *testing.T, w *world, stack mixStack, text string, plan *Plan, err error) {
	t.Helper()
	m := newModel(stack, w)
	requests := m.requests()
	effective := make([][]string, len(requests))
	var conflict string
	for n, r := range requests {
		effective[n] = visible(m.outcome(r, &conflict))
	}
	for _, base := range []any{nil, "one", "two"} {
		other := newModel(stack.with(base), w)
		for _, r := range requests {
			other.outcome(r, &conflict)
		}
	}
	if err != nil {
		ps, ok := errors.AsType[Problems](err)
		if !ok {
			t.Fatal(err)
		}
		for _, p := range ps {
			if !strings.Contains(p.Text, "must say which") {
				t.Fatalf("%s\n%v", text, p)
			}
		}
		if conflict == "" {
			t.Fatalf("%s\nno order makes a difference, but\n%v", text, err)
		}
		return
	}
	if conflict != "" {
		t.Fatalf("%s\nthe order makes a difference, and no problem says so: %s", text, conflict)
	}
	for n, r := range requests {
		if diff := cmp.Diff(effective[n], explained(plan.Explain(r.method, r.host, r.path))); diff != "" {
			t.Fatalf("%s\n%s %s%s: -model +loader\n%s", text, r.method, r.host, r.path, diff)
		}
	}
}

// TestProvenance takes away, one after another, the lines that settings are said to come from.
// Each time that very setting must change.
func TestProvenance(t *testing.T) {
	reg, w, patterns := mixRegistry(t), newWorld(), mixPatterns()
	random := rand.New(rand.NewPCG(9, 10))
	tried, overrode := 0, 0
	for range 15 {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		stack := (&mixer{data: data, plain: true}).stack(patterns)
		text := stack.String()
		plan, err := loadMix(t, reg, text)
		if err != nil {
			continue // a conflict
		}
		for _, r := range newModel(stack, w).requests() {
			for name, s := range settingsByName(plan.Explain(r.method, r.host, r.path)) {
				if s.Origin == "" || slices.Contains([]string{"{}", "one", "two"}, s.Value) {
					continue // it may restate a default
				}
				number, err := strconv.Atoi(s.Origin[strings.LastIndexByte(s.Origin, ':')+1:])
				if err != nil {
					t.Fatalf("the origin is %q", s.Origin)
				}
				lines := strings.SplitAfter(text, "\n")
				without := strings.Join(slices.Delete(slices.Clone(lines), number-1, number), "")
				tried++
				other, err := loadMix(t, reg, without)
				if err != nil {
					continue // it was needed
				}
				now, ok := settingsByName(other.Explain(r.method, r.host, r.path))[name]
				if ok && now.Value == s.Value {
					t.Fatalf("%s\n%s %s%s: %s is said to come from line %d, but stays without it", text, r.method, r.host, r.path, name, number)
				}
				inRef := strings.Contains(name, ".ref.") || strings.Contains(name, ".refs[") // beside a use: that stays
				alone := strings.HasSuffix(lines[number-2], ":\n") && indentOf(lines[number]) < indentOf(lines[number-1])
				if ok && len(s.Overrode) > 0 && !inRef && !alone { // alone, it leaves a null, which restores the default
					if overrode++; now.Value != s.Overrode[0].Value {
						t.Fatalf("%s\n%s %s%s: %s is said to have been %s before line %d, but without that line it is %s", text, r.method, r.host, r.path, name, s.Overrode[0].Value, number, now.Value)
					}
				}
			}
		}
	}
	if tried < 150 {
		t.Errorf("%d lines were tried; the test must try more", tried)
	}
	if overrode < 50 {
		t.Errorf("%d overridden values were looked at; the test must see more", overrode)
	}
}

func settingsByName(e inspect.Explanation) map[string]inspect.Setting {
	all := map[string]inspect.Setting{}
	for _, v := range e.Vars {
		all["vars."+v.Name] = v
	}
	for _, slot := range e.Slots {
		for _, s := range slot.Settings {
			all[slot.Name+"."+s.Name] = s
		}
	}
	return all
}
