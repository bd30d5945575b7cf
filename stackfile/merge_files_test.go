package stackfile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
)

// mixFiles is a stack in several files: over.yaml extends base.yaml, either includes some of its overrides, and
// main.yaml mounts over.yaml, and base.yaml below /b/.
type mixFiles struct{ base, over mixStack }

func (m *mixer) files(patterns []string) mixFiles {
	f := mixFiles{base: m.stack(patterns), over: m.stack(patterns)}
	f.over.slots = slices.DeleteFunc(f.over.slots, func(mixSlot) bool { return m.n(3) == 0 })
	for i := range f.over.slots {
		s := &f.over.slots[i]
		if m.n(3) == 0 {
			s.use = s.use[:len(s.use)-3] + []string{"one", "two"}[m.n(2)]
		}
		s.silent = m.n(2) == 0
	}
	// Both often speak of the same URLs.
	for i := range f.over.overrides {
		if len(f.base.overrides) == 0 || m.n(2) == 0 {
			continue
		}
		pattern := f.base.overrides[m.n(len(f.base.overrides))].pattern
		if !slices.ContainsFunc(f.over.overrides, func(o mixOverride) bool { return o.pattern == pattern }) {
			f.over.overrides[i].pattern = pattern
		}
	}
	return f
}

// write returns the files, by name.
func (f mixFiles) write() map[string]string {
	files := map[string]string{
		"main.yaml": "servers: [http]\nstack:\n  - {use: stack, as: m, mount: over.yaml}\nurls:\n  /b/: {m: {mount: base.yaml}}\n",
	}
	for name, s := range map[string]mixStack{"base": f.base, "over": f.over} {
		head := map[string]string{"base": "servers: [http]\n", "over": "extends: base.yaml\n"}[name]
		if n := len(s.overrides); n > 1 { // the first stays, the last is included, those between by turns
			var own, other []mixOverride
			for i, o := range s.overrides {
				if i == n-1 || i%2 == 1 {
					other = append(other, o)
				} else {
					own = append(own, o)
				}
			}
			files["urls/"+name+".yaml"] = writeOverrides(other)
			head += "include: urls/" + name + "*.yaml\n"
			s.overrides = own
		}
		files[name+".yaml"] = head + s.body()
	}
	return files
}

// whole is what over.yaml comes to. It lays trees over trees, like the rest of the model.
func (f mixFiles) whole() mixStack {
	s := mixStack{vars: laid(f.base.vars, f.over.vars, 0).(mix), slots: slices.Clone(f.base.slots), overrides: slices.Clone(f.base.overrides)}
	for _, o := range f.over.slots {
		b := &s.slots[slices.IndexFunc(s.slots, func(b mixSlot) bool { return b.name == o.name })]
		if o.use == b.use {
			o.settings = settingsLaid(b.settings, o.settings)
		}
		b.use, b.settings = o.use, o.settings
		if !o.silent {
			b.off = o.off
		}
	}
	for _, o := range f.over.overrides {
		i := slices.IndexFunc(s.overrides, func(b mixOverride) bool { return b.pattern == o.pattern })
		if i < 0 {
			s.overrides = append(s.overrides, o)
			continue
		}
		b := s.overrides[i]
		if o.vars == nil {
			o.vars = b.vars
		} else if b.vars != nil {
			o.vars = laid(b.vars, o.vars, 0).(mix)
		}
		slots := maps.Clone(b.slots)
		for name, said := range o.slots {
			if was, both := b.slots[name]; both {
				use := s.slots[slices.IndexFunc(s.slots, func(b mixSlot) bool { return b.name == name })].use
				said = slotLaid(asTree(was), asTree(said), use)
			}
			slots[name] = said
		}
		o.slots = slots
		s.overrides[i] = o
	}
	return s
}

// asTree writes on and off as what they are short for.
func asTree(v any) mix {
	switch v := v.(type) {
	case string:
		return mix{"off": map[string]string{"on": "false", "off": "true"}[v]}
	case mix:
		return v
	}
	return nil
}

// slotLaid lays what one override says to a slot with the component use over what another one for the same URLs says.
func slotLaid(base, over mix, use string) mix {
	was := base["use"]
	if was == nil {
		was = use
	}
	if over["use"] != nil && over["use"] != was {
		kept := mix{}
		if off, ok := base["off"]; ok {
			kept["off"] = off
		}
		base = kept
	}
	merged := settingsLaid(base, over)
	for _, key := range []string{"use", "off"} {
		if v, ok := over[key]; ok {
			merged[key] = v
		}
	}
	return merged
}

func mountRegistry(t testing.TB) *registry.Registry {
	t.Helper()
	var mount registry.Declaration
	for _, d := range corpus() {
		if a, ok := d.(registry.App[mountConfig]); ok {
			mount = a
		}
	}
	return mixRegistry(t, mount)
}

func loadFiles(t *testing.T, reg *registry.Registry, files map[string]string, main string) (*Plan, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	t.Chdir(dir)
	plan, _, err := Load(t.Context(), reg, main, Options{})
	return plan, err
}

// allFiles writes files one after another.
func allFiles(files map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "-- %s --\n%s", name, files[name])
	}
	return b.String()
}

// TestMergeFiles does what FuzzMerge does with stacks that are written in several files, and with those that are
// mounted.
func TestMergeFiles(t *testing.T) {
	if underRace {
		t.Skip("it does one thing after another, and takes minutes under the race detector; this runs without it")
	}
	reg, w, patterns := mountRegistry(t), newWorld(), mixPatterns()
	random := rand.New(rand.NewPCG(7, 8))
	good := 0
	for range 150 {
		data := make([]byte, 300+random.IntN(300))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		stack := (&mixer{data: data}).files(patterns)
		files := stack.write()
		text := allFiles(files)
		plan, err := loadFiles(t, reg, files, "over.yaml")
		holdMix(t, w, stack.whole(), text, plan, err)
		alone, aloneErr := loadFiles(t, reg, files, "base.yaml")
		holdMix(t, w, stack.base, text, alone, aloneErr)
		mounts, mountErr := loadFiles(t, reg, files, "main.yaml")
		if (err == nil && aloneErr == nil) != (mountErr == nil) {
			t.Fatalf("%s\nalone the stacks come to %v and %v; mounted, to %v", text, err, aloneErr, mountErr)
		}
		if mountErr != nil {
			continue
		}
		good++
		for _, r := range newModel(stack.whole(), w).requests() {
			of := plan
			if strings.HasPrefix(r.path, "/b/") {
				of = alone
			}
			within := mounts.Explain(r.method, r.host, r.path).Mounted
			if within == nil {
				t.Fatalf("%s\n%s %s%s: no mounted stack is explained", text, r.method, r.host, r.path)
			}
			if diff := cmp.Diff(of.Explain(r.method, r.host, r.path), *within); diff != "" {
				t.Fatalf("%s\n%s %s%s: -alone +mounted\n%s", text, r.method, r.host, r.path, diff)
			}
		}
	}
	if good < 30 {
		t.Errorf("%d stacks load; these must be more to prove anything", good)
	}
}

// TestProvenanceFiles takes away the lines that settings are said to come from, in whatever file they stand.
func TestProvenanceFiles(t *testing.T) {
	if underRace {
		t.Skip("it does one thing after another, and takes minutes under the race detector; this runs without it")
	}
	reg, w, patterns := mountRegistry(t), newWorld(), mixPatterns()
	random := rand.New(rand.NewPCG(11, 12))
	tried := make(map[string]int)
	for range 12 {
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		stack := (&mixer{data: data, plain: true}).files(patterns)
		files := stack.write()
		plan, err := loadFiles(t, reg, files, "over.yaml")
		if err != nil {
			continue // a conflict
		}
		for _, r := range newModel(stack.whole(), w).requests() {
			for name, s := range settingsByName(plan.Explain(r.method, r.host, r.path)) {
				if s.Origin == "" || slices.Contains([]string{"{}", "one", "two"}, s.Value) {
					continue // it may restate a default
				}
				file, line, _ := strings.Cut(s.Origin, ":")
				number, err := strconv.Atoi(line)
				if err != nil || files[file] == "" {
					t.Fatalf("the origin is %q", s.Origin)
				}
				without := maps.Clone(files)
				lines := strings.SplitAfter(files[file], "\n")
				without[file] = strings.Join(slices.Delete(lines, number-1, number), "")
				tried[file]++
				other, err := loadFiles(t, reg, without, "over.yaml")
				if err != nil {
					continue // it was needed
				}
				if now, ok := settingsByName(other.Explain(r.method, r.host, r.path))[name]; ok && now.Value == s.Value {
					t.Fatalf("%s\n%s %s%s: %s is said to come from %s, but stays without it", allFiles(files), r.method, r.host, r.path, name, s.Origin)
				}
			}
		}
	}
	t.Log(tried)
	for _, file := range []string{"base.yaml", "over.yaml", "urls/base.yaml", "urls/over.yaml"} {
		if tried[file] < 20 {
			t.Errorf("%d lines of %s were tried; the test must try more", tried[file], file)
		}
	}
}
