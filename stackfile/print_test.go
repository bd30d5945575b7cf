package stackfile

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/stackd/stackd/registry"
)

// essence is everything that a plan says, where it was written aside. Secrets are only there or not: those that stood
// in clear come back as others.
func essence(p *Plan) []string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	var settings func(p *planned)
	settings = func(inst *planned) {
		var walk func(t *registry.Type, v reflect.Value, path string)
		walk = func(t *registry.Type, v reflect.Value, path string) {
			switch t.Form {
			case registry.FormStruct:
				for _, f := range t.Fields {
					walk(f.Type, v.Field(f.Index), path+"."+f.Name)
				}
			default:
				add("  %s%s: %s", inst.path, path, t.Format(v))
			}
		}
		walk(inst.def.Settings, reflect.ValueOf(inst.cfg).Elem(), "")
		for _, ref := range inst.refs {
			add("  %s is %s", ref.path, ref.def.Name)
			settings(ref)
		}
	}
	add("%v", p.deadlines)
	add("%v", p.control)
	add("%v %v", p.pidFile.Path, p.addressFile.Path)
	for _, s := range p.servers {
		add("server %s", s.def.Name)
		settings(s)
	}
	for _, r := range append([]*route{p.none}, p.routes...) {
		if r == nil {
			add("an open route")
			continue
		}
		var keys []string
		for _, o := range r.set {
			keys = append(keys, p.keys[o])
		}
		add("route %q: vars %#v", keys, plainVars(r.vars))
		for _, f := range r.effects {
			add("%s: %s, off %t", f.slot.name, f.def.Name, f.off)
			settings(f.checked)
		}
	}
	return lines
}

// reprinted loads what is printed of a plan, beside its file.
func reprinted(t *testing.T, reg *registry.Registry, plan *Plan, o Options) (*Plan, string) {
	t.Helper()
	text, err := plan.Print()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(plan.name), "printed.yaml")
	write(t, file, string(text))
	again, _, err := Load(t.Context(), reg, file, o)
	if err != nil {
		t.Fatalf("what is printed has problems: %v\n%s", err, text)
	}
	return again, string(text)
}

// TestPrintLoads prints every good stack file of the corpus: what is printed loads to the same plan, and is printed the
// same again.
func TestPrintLoads(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sourceDir, "testdata/corpus/good-*.txtar"))
	if err != nil || len(files) < 20 {
		t.Fatalf("the corpus is missing: %v", err)
	}
	reg := testRegistry(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			env := map[string]string{}
			o := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
			for line := range strings.Lines(string(archive.Comment)) {
				if set, ok := strings.CutPrefix(strings.TrimSpace(line), "env "); ok {
					name, value, _ := strings.Cut(set, "=")
					env[name] = value
				}
			}
			for _, f := range archive.Files {
				write(t, f.Name, string(f.Data))
			}
			plan, _, err := Load(t.Context(), reg, "stack.yaml", o)
			if err != nil {
				t.Fatal(err)
			}
			again, text := reprinted(t, reg, plan, o)
			if diff := cmp.Diff(essence(plan), essence(again)); diff != "" {
				t.Errorf("-file +printed:\n%s\n%s", diff, text)
			}
			third, err := again.Print()
			if err != nil {
				t.Fatal(err)
			}
			again.name = plan.name
			if stripped(text) != stripped(string(third)) {
				t.Errorf("printed again it is another:\n%s", cmp.Diff(stripped(text), stripped(string(third))))
			}
		})
	}
}

// TestPrintMix is TestPrintLoads for stack files made at random.
func TestPrintMix(t *testing.T) {
	reg, patterns := mixRegistry(t), mixPatterns()
	random := rand.New(rand.NewPCG(21, 22))
	printed := 0
	for range 200 {
		data := make([]byte, 300)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		text := (&mixer{data: data}).stack(patterns).String()
		plan, err := loadMix(t, reg, text)
		if err != nil {
			continue // a conflict
		}
		printed++
		again, output := reprinted(t, reg, plan, Options{})
		if diff := cmp.Diff(essence(plan), essence(again)); diff != "" {
			t.Fatalf("%s\n-file +printed:\n%s\n%s", text, diff, output)
		}
	}
	if printed < 50 {
		t.Errorf("%d files were printed; the test must print more", printed)
	}
}

// TestPrintTexts prints texts that YAML or a stack file takes for something else, as settings and as vars.
func TestPrintTexts(t *testing.T) {
	reg := testRegistry(t)
	for _, text := range []string{
		"", " ", "a", " a", "a ", "~", "null", "true", "off", "yes", "y", "1", "01", "0x1F", "1e3", ".5", "1_000", "2001-01-01", "12:30:45", "<<", "=",
		"$", "$$", "$x", "${env:SET}", "${", "$${", "a: b", "a:b", "# a", "a # b", "- a", "-", "?", "*a", "&a", "!a", "|", ">", "%a", "@a", "`a", "{a}", "[a]", ",", "'", `"`, `\`, `\n`,
		"a\nb", "a\nb\n", "\na", " a\n b", "a\n\n", "a\tb", "\ta", "a\n\tb", "ü€😀", "\uFEFFa", "a\u00a0b", "a\u2028b", strings.Repeat("long words ", 40), "---", "...", "a\n---\nb", "[redacted]", "on # off",
	} {
		t.Run(text, func(t *testing.T) {
			quoted := strconv.QuoteToASCII(strings.ReplaceAll(text, "$", "$$"))
			plan := loaded(t, reg, fmt.Sprintf("servers: [http]\nvars: {v: %[1]s, l: [%[1]s]}\nstack: [{use: tag, text: %[1]s}, {use: site, root: w, index: [i, j], headers: {k: %[1]s}}]\nurls: {/a/: {tag: {text: %[1]s}, vars: {w: %[1]s}}}\n", quoted))
			if got := plainVars(plan.none.vars)["v"]; got != text {
				t.Fatalf("the test is wrong: it reads %q", got)
			}
			again, output := reprinted(t, reg, plan, Options{})
			if diff := cmp.Diff(essence(plan), essence(again)); diff != "" {
				t.Errorf("-file +printed:\n%s\n%s", diff, output)
			}
		})
	}
}

// TestPrintSecrets prints secrets in all the ways in which they may be written.
func TestPrintSecrets(t *testing.T) {
	reg := testRegistry(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pw"), "hunter2")
	env := func(name string) (string, bool) { return "hunter2", name == "PW" }
	for _, test := range []struct {
		name, written, want string
		same                bool // it loads to the same plan
	}{
		{"in clear", `hunter2`, `withheld-the-stack-file-has-it-in-clear # a secret, which stands in clear in stack.yaml:`, false},
		{"with a dollar", `"$$hunter2"`, `withheld-the-stack-file-has-it-in-clear # a secret`, false},
		{"from the environment", `"${env:PW}"`, `${env:PW}`, true},
		{"from a file", `"${file:pw}"`, `${file:pw}`, true},
		{"from a file elsewhere", `"${file:` + dir + `/pw}"`, `${file:` + dir + `/pw}`, true},
		{"two of them", `"${env:PW}${file:pw}"`, `${env:PW}${file:pw}`, true},
		{"with a default", `"${env:PW:-hunter2}"`, `${env:PW:-withheld-the-stack-file-has-it-in-clear} # a secret`, true},
		{"with a default that is taken", `"${env:NONE:-hunter2}"`, `${env:NONE:-withheld-the-stack-file-has-it-in-clear} # a secret`, false},
		{"with something in clear", `"hunter2${env:PW}"`, `withheld-the-stack-file-has-it-in-clear # a secret`, false},
		{"a URL", `https://hunter2@example.org/`, `https://withheld.invalid/withheld-the-stack-file-has-it-in-clear # a secret`, false},
		{"empty", `""`, `""`, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(dir)
			write(t, "stack.yaml", fmt.Sprintf(`servers: [http]
vars: {also: %[1]s}
stack:
  - {use: session, store: {use: file, password: %[1]s}}
  - {use: say, text: %[1]s}
urls:
  /a/: {session: {store: {password: %[1]s}}}
`, test.written))
			plan, _, err := Load(t.Context(), reg, "stack.yaml", Options{Env: env})
			if err != nil {
				t.Fatal(err)
			}
			again, text := reprinted(t, reg, plan, Options{Env: env})
			if strings.Contains(text, "hunter2") {
				t.Errorf("the secret is printed:\n%s", text)
			}
			if n := strings.Count(text, "password: "+test.want); n != 2 {
				t.Errorf("it stands there %d times; it must stand there twice as %s:\n%s", n, test.want, text)
			}
			same := true
			for i, r := range append([]*route{plan.none}, plan.routes...) {
				same = same && r.effects[0].checked.identity() == append([]*route{again.none}, again.routes...)[i].effects[0].checked.identity()
			}
			if same != test.same {
				t.Errorf("whether it loads to the same plan is %t:\n%s", same, text)
			}
		})
	}
}

// stripped is a file without its comments, which say where a value came from.
func stripped(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "# ")
		if line = strings.TrimRight(line, " \n"); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
