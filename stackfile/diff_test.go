package stackfile

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// told writes a difference in few words.
func told(d Difference) []string {
	var lines []string
	former := func(f *Side) string {
		if f == nil {
			return "nothing"
		}
		return f.Value
	}
	deltas := func(ds []Delta) {
		for _, d := range ds {
			lines = append(lines, "  "+d.Name+": "+former(d.Old)+" > "+former(d.New))
		}
	}
	deltas(d.Settings)
	for _, s := range d.Sections {
		title := "for " + strings.Join(s.Patterns, ", ")
		if len(s.Except) > 0 {
			title += " except " + strings.Join(s.Except, ", ")
		}
		lines = append(lines, title)
		deltas(s.Deltas)
	}
	return lines
}

func TestDiff(t *testing.T) {
	const before = `servers: [{use: http, listen: "127.0.0.1:1"}, {use: http, listen: "127.0.0.1:2"}]
vars: {theme: light, size: 1, list: [1, 2], day: 2026-01-01, menu: {top: 1}, none: {}}
stack:
  - errors
  - {use: session, lifetime: 1h, store: {use: file, path: s, password: one}}
  - {use: tag, off: true, text: a}
  - {use: site, root: www}
urls:
  /a/: {session: {lifetime: 2h}}
  /b/: {tag: on}
`
	for _, test := range []struct {
		name     string
		from, to string // what is replaced; lines with a semicolon between them
		want     []string
		built    string
	}{
		{"nothing", "", "", nil, ""},
		{"a comment", "- errors", "- errors # first", nil, ""},
		{"a setting written as its default", "- errors", "- {use: errors, lines: 5}", nil, ""},
		{"a setting", "lifetime: 1h", "lifetime: 3h", []string{"for  except /a/", "  session.lifetime: 1h > 3h"}, "session"},
		{"a setting below", "lifetime: 2h", "lifetime: 3h", []string{"for /a/", "  session.lifetime: 2h > 3h"}, "session"},
		{"one that was overridden with the same", "lifetime: 2h", "lifetime: 1h", []string{"for /a/", "  session.lifetime: 2h > 1h"}, ""},
		{"a secret", "password: one", "password: two", []string{"for ", "  session.store.password: [redacted] > [redacted]"}, "session.store session session"},
		{"a reference", "store: {use: file, path: s, password: one}", "store: memory", []string{"for ", "  session.store: file > memory", "  session.store.path: s > nothing", "  session.store.password: [redacted] > nothing"}, "session.store session session"},
		{"a var", "theme: light", "theme: dark", []string{"for ", "  vars.theme: light > dark"}, ""},
		{"a var of another type", "size: 1", `size: "1"`, []string{"for ", `  vars.size: 1 > "1"`}, ""},
		{"vars in a list of another type", "[1, 2]", `["1", "2"]`, []string{"for ", `  vars.list: [1, 2] > ["1", "2"]`}, ""},
		{"vars in a list parted otherwise", "[1, 2]", `["1, 2"]`, []string{"for ", `  vars.list: [1, 2] > ["1, 2"]`}, ""},
		{"a date in quotes, which is a text without", "2026-01-01", `"2026-01-01"`, nil, ""},
		{"an empty map", ", none: {}", "", []string{"for ", "  vars.none: {} > nothing"}, ""},
		{"a dot in a name", "menu: {top: 1}", "menu.top: 1", []string{"for ", `  vars."menu.top": nothing > 1`, "  vars.menu.top: 1 > nothing"}, ""},
		{"a switch", "tag: on", "tag: {off: false, text: b}", []string{"for /b/", "  tag.text: a > b"}, "tag"},
		{"switched on everywhere", "off: true", "off: false", []string{"for  except /b/", "  tag: off > on", "  tag.text: nothing > a"}, ""},
		{"switched off", "- errors", "- {use: errors, off: true}", []string{"for ", "  errors: on > off"}, ""},
		{"another component", "use: site, root: www", "use: say, as: site", []string{"for ", "  site: site > say"}, "site"},
		{"a new slot", "- errors", "- errors\n  - {use: tag, as: second, text: x}", []string{"for ", "  second: nothing > tag", "  second.text: nothing > x"}, "second"},
		{"a slot gone", "  - errors\n", "", []string{"for ", "  errors: errors > nothing"}, ""},
		{"the order", "- errors\n  - {use: session", "- {use: tag, as: x}\n  - {use: session", []string{"for ", "  errors: errors > nothing", "  x: nothing > tag"}, "x"},
		{"a new pattern", "  /b/: {tag: on}", "  /b/: {tag: on}\n  /b/c: {tag: off}", []string{"for /b/c", "  tag: on > off"}, ""},
		{"a server", "127.0.0.1:2", "127.0.0.1:3", []string{"  server http 127.0.0.1:2: http > nothing", "  server http 127.0.0.1:3: nothing > http"}, "http"},
		{"a setting of a server", `"127.0.0.1:2"`, `"127.0.0.1:2", port: 7`, []string{"  server http 127.0.0.1:2: port: 0 > 7"}, "http"},
		{"control", "vars:", "control: unix:run/c.sock\nvars:", []string{"  control: on > unix:run/c.sock"}, ""},
		{"on_reload", "vars:", "on_reload: keep\nvars:", []string{"for ", "  on_reload: drain > keep"}, ""},
		{"on_reload of a URL", "/b/: {tag: on}", "/b/: {tag: on, on_reload: close}", []string{"for /b/", "  on_reload: drain > close"}, ""},
		{"processes", "vars:", "processes: auto\nvars:", []string{"  processes: 1 > auto"}, ""},
		{"check", "vars:", "check: {lint: true}\nvars:", []string{"  check.lint: false > true"}, "lint(server, errors) lint(errors, session) lint(session, site) lint(session, tag) lint(tag, site)"},
		{"reload", "vars:", "reload: {poll: 2s, threshold: 7.5%}\nvars:", []string{"  reload.poll: 0s > 2s", "  reload.threshold: 5% > 7.5%"}, ""},
		{"pid_file", "vars:", "pid_file: run/s.pid\nvars:", []string{"  pid_file: off > run/s.pid"}, ""},
		{"address_file", "vars:", "address_file: a\nvars:", []string{"  address_file: off > a"}, ""},
		{"deadlines", "vars:", "deadlines: {drain: 1s}\nvars:", []string{"  deadlines.drain: 30s > 1s"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := testRegistry(t)
			old, next := loaded(t, reg, before), loaded(t, reg, strings.Replace(before, test.from, test.to, 1))
			d, err := Diff(old, next)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, told(d)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if d.Empty() != (test.want == nil) {
				t.Errorf("that it is empty is %t", d.Empty())
			}
			if got := strings.Join(d.Built, " "); got != test.built {
				t.Errorf("built are %q; want %q", got, test.built)
			}
		})
	}
}

func TestDiffOrder(t *testing.T) {
	reg := testRegistry(t)
	old := loaded(t, reg, "servers: [http]\nstack: [errors, session, say]\n")
	next := loaded(t, reg, "servers: [http]\nstack: [session, errors, say]\n")
	d, err := Diff(old, next)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"for ", "  the order of the slots: errors, session, say > session, errors, say"}, told(d)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDiffMounted compares stacks that mount others, of which something changes.
func TestDiffMounted(t *testing.T) {
	reg := testRegistry(t)
	plan := func(lifetime string) *Plan {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "stack.yaml"), "servers: [http]\nstack: [errors, {use: stack, mount: blog/stack.yaml}]\n")
		write(t, filepath.Join(dir, "blog/stack.yaml"), "stack: [{use: session, lifetime: 1h}, {use: say, text: x}]\nurls: {/a/: {session: {lifetime: "+lifetime+"}}}\n")
		plan, _, err := Load(t.Context(), reg, filepath.Join(dir, "stack.yaml"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	d, err := Diff(plan("2h"), plan("3h"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"for ", "  stack.mount, /a/: session.lifetime: 2h > 3h"}, told(d)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := strings.Join(d.Built, " "); got != "stack.mount/session stack" {
		t.Errorf("built are %q; want the session and what mounts it", got)
	}
	if got := strings.Join(d.Carried, " "); !strings.Contains(got, "errors") || !strings.Contains(got, "stack.mount/say") {
		t.Errorf("carried over are %q; want what didn't change", got)
	}
}

// TestDiffSame compares each good stack file of the corpus with itself, in another folder.
func TestDiffSame(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/good-*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("the corpus is missing: %v", err)
	}
	reg := testRegistry(t)
	env := Options{Env: func(string) (string, bool) { return "5m", true }}
	compared := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var plans []*Plan
		for range 2 {
			dir := t.TempDir()
			for _, f := range archive.Files {
				write(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			if plan, _, err := Load(t.Context(), reg, filepath.Join(dir, "stack.yaml"), env); err == nil {
				plans = append(plans, plan)
			}
		}
		if len(plans) < 2 {
			continue // it wants something else in the environment
		}
		compared++
		d, err := Diff(plans[0], plans[1])
		if err != nil {
			t.Fatal(err)
		}
		if !d.Empty() || len(d.Built) > 0 || len(d.Closed) > 0 {
			t.Errorf("%s differs from itself: %q, %v built, %v closed", file, told(d), d.Built, d.Closed)
		}
	}
	if compared < 20 {
		t.Errorf("%d files were compared; the test must compare more", compared)
	}
}

// TestDiffMix compares stack files made at random. For each URL what is told of it is what its two routes differ by: a
// change holds for it when the most specific pattern told that matches it isn't among the exceptions.
func TestDiffMix(t *testing.T) {
	reg, w, patterns := mixRegistry(t), newWorld(), mixPatterns()
	random := rand.New(rand.NewPCG(31, 32))
	some := func() (*Plan, mixStack) {
		for {
			data := make([]byte, 120)
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			stack := (&mixer{data: data}).stack(patterns)
			if plan, err := loadMix(t, reg, stack.String()); err == nil {
				return plan, stack
			}
		}
	}
	changed := 0
	for range 60 {
		old, _ := some()
		next, stack := some()
		d, err := Diff(old, next)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range newModel(stack, w).requests() {
			exactly := r.method + " " + r.host + r.path
			if strings.HasSuffix(exactly, "/") {
				exactly += "{$}"
			}
			asked, err := parsePattern(exactly)
			if err != nil {
				continue // a path that is no pattern
			}
			c := &comparison{old: old, next: next, known: make(map[[2]*effect][]Delta)}
			var want, got []string
			for _, delta := range c.routes(old.find(r.method, r.host, r.path), next.find(r.method, r.host, r.path)) {
				want = append(want, delta.key())
			}
			for _, s := range d.Sections {
				holds, last := slices.Contains(s.Patterns, ""), pattern{}
				for n, key := range slices.Concat(s.Patterns, s.Except) {
					if key == "" {
						continue
					}
					p, err := parsePattern(key)
					if err != nil {
						t.Fatal(err)
					}
					if p.covers(asked) && (last.segments == nil || last.compare(p) < 0) {
						last, holds = p, n < len(s.Patterns)
					}
				}
				if holds {
					for _, delta := range s.Deltas {
						got = append(got, delta.key())
					}
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			changed += len(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s %s%s: -routes +told:\n%s\n%q", r.method, r.host, r.path, diff, told(d))
			}
		}
	}
	if changed < 1000 {
		t.Errorf("%d changes were seen; the test must see more", changed)
	}
}
