package stackfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// FuzzCheck checks whatever bytes: the same twice, with the errors of a load and nothing but warnings besides.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			if filepath.Ext(part.Name) == ".yaml" {
				f.Add(part.Data)
			}
		}
	}
	reg := testRegistry(f)
	file := filepath.Join(f.TempDir(), "stack.yaml")
	options := Options{Env: func(string) (string, bool) { return "", false }}
	f.Fuzz(func(t *testing.T, data []byte) {
		options.Content = data
		if data == nil {
			options.Content = []byte{}
		}
		inTime(t, func() { _, _ = Check(t.Context(), reg, file, options, false) })
		first, err := Check(t.Context(), reg, file, options, false)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Check(t.Context(), reg, file, options, false)
		if err != nil || first.Error() != second.Error() {
			t.Fatalf("checked a second time: %v\n%s", err, cmp.Diff(first.Error(), second.Error()))
		}
		if len(first) > maxProblems {
			return // the errors and warnings beyond are counted together
		}
		_, _, err = Load(t.Context(), reg, file, options)
		faults, _ := errors.AsType[Problems](err)
		errorsAlone := slices.DeleteFunc(first, func(p Problem) bool { return p.Severity == Warning })
		if errorsAlone.Error() != faults.Error() {
			t.Fatalf("-load +check:\n%s", cmp.Diff(faults.Error(), errorsAlone.Error()))
		}
	})
}

// What a check says to leave out can be left out: on random stacks, no URL sees a difference.
func TestLeaveOut(t *testing.T) {
	reg := testRegistry(t)
	random := rand.New(rand.NewPCG(2004, 8)) //nolint:gosec // the same each time
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	const head = "servers: [http]\nvars: {theme: light}\nstack:\n  - {use: tag, text: a}\n  - {use: guard, off: true}\n  - {use: session, lifetime: 1h}\n  - say\nurls:\n"
	asked := []string{"/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/c", "/b", "/b/", "/b/b", "/b/c/d", "/c", "/c/b/e/"}
	told := map[string]int{}
	dir := t.TempDir()
	for n := range 400 {
		var lines []string
		patterns := []string{"/", "/a/", "/a/b", "/a/{x}", "/{x}/b", "/{x}/b/", "/a/b/", "/a/{$}"}
		count, about := 2+random.IntN(5), []string{"vars", "session", "tag", "guard", "say"}
		if n%4 == 0 { // what covers a folder whole
			patterns = []string{"/a/", "/a/{$}", "/a/{x}", "/a/{x}/"}
			count, about = 4, []string{pick("vars", "say")}
		}
		for _, i := range random.Perm(len(patterns))[:count] {
			lines = append(lines, fmt.Sprintf("  %s: {%s: @}", patterns[i], pick(about...)))
			last := &lines[len(lines)-1]
			value := map[string]string{
				"vars": pick("{theme: light}", "{theme: dark}"), "session": pick("off", "on", "{lifetime: 1h}", "{lifetime: 12h}", "{cookie: {name: session}}"),
				"tag": pick("{text: a}", "{text: b}", "off"), "guard": pick("on", "off"), "say": pick("{text: hello}", "{text: bye}"),
			}
			for key, v := range value {
				*last = strings.Replace(*last, ": {"+key+": @}", ": {"+key+": "+v+"}", 1)
			}
		}
		whole := head + strings.Join(lines, "\n") + "\n"
		ps, err := Check(t.Context(), reg, filepath.Join(dir, "stack.yaml"), Options{Content: []byte(whole)}, false)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error }) {
			continue
		}
		before := answers(t, dir, whole, asked)
		for _, p := range ps {
			if p.Rule != ruleSame && p.Rule != ruleUnreachable {
				continue
			}
			told[p.Rule]++
			// Each line has one setting: without it, the line is gone.
			rest := strings.Split(whole, "\n")
			rest = slices.Delete(rest, p.Line-1, p.Line)
			if rest[len(rest)-2] == "urls:" {
				rest[len(rest)-2] = ""
			}
			if diff := cmp.Diff(before, answers(t, dir, strings.Join(rest, "\n"), asked)); diff != "" {
				t.Fatalf("stack %d\n%s%s\nbut without it: -with +without\n%s", n, whole, p, diff)
			}
		}
	}
	if told[ruleSame] < 50 || told[ruleUnreachable] < 1 {
		t.Errorf("too few were told to prove anything: %v", told)
	}
}

// answers returns what URLs meet, without the places in the file.
func answers(t *testing.T, dir, content string, urls []string) map[string]string {
	t.Helper()
	plan, _, err := Load(t.Context(), testRegistry(t), filepath.Join(dir, "stack.yaml"), Options{Content: []byte(content)})
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	found := make(map[string]string)
	for _, url := range urls {
		r := plan.find("GET", "", url)
		text := r.vars.show()
		for _, f := range r.effects {
			text += fmt.Sprintf("; %s %v %s", f.slot.name, f.off, f.checked.identity())
		}
		found[url] = text
	}
	return found
}

// Content takes the place of the file, which need not be there.
func TestContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "base.yaml"), []byte("stack: [errors, say]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ps, err := Check(t.Context(), testRegistry(t), path, Options{Content: []byte("extends: base.yaml\nservers: [http]\n")}, false)
	if err != nil || len(ps) > 0 {
		t.Errorf("%v\n%v", err, ps)
	}
	large := "servers: [http]\nstack: [say]\n" + strings.Repeat("#\n", MaxFile/2)
	if ps, err = Check(t.Context(), testRegistry(t), path, Options{Content: []byte(large)}, false); err != nil || len(ps) != 1 || ps[0].Text != "the file is larger than 2 MiB; a stack file must not be" {
		t.Errorf("of one that is too large: %v\n%v", err, ps)
	}
}

// Unsaved takes the place of what is on disk, whatever a file is for.
func TestUnsaved(t *testing.T) {
	dir := t.TempDir()
	disk := map[string]string{
		"stack.yaml":  "",
		"base.yaml":   "stack: [errors, say]\n",
		"urls.yaml":   "urls: {/a: {say: {text: disk}}}\n",
		"inner.yaml":  "stack: [say]\n",
		"secret.text": "short",
	}
	for name, text := range disk {
		write(t, filepath.Join(dir, name), text)
	}
	unsaved := map[string]string{
		"stack.yaml":  "extends: base.yaml\ninclude: urls.yaml\nservers: [http]\nvars: {a: \"${file:secret.text}\"}\n",
		"base.yaml":   "stack: [errors, {use: stack, mount: inner.yaml, prefix: /a}]\n",
		"urls.yaml":   "urls: {/a: {stack: {prefix: /}}}\n",
		"inner.yaml":  "stack: [{use: say, text: inner}]\n",
		"secret.text": "long",

		"stack.test.yaml": "tests: [{ask: /}]\n", // which the disk doesn't have
	}
	plan, _, err := Load(t.Context(), testRegistry(t), "stack.yaml", Options{Dir: dir, Tests: true, Unsaved: func(path string) ([]byte, bool) {
		text, ok := unsaved[filepath.Base(path)]
		return []byte(text), ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(plan.Tests()); n != 1 {
		t.Errorf("there are %d tests; want 1", n)
	}
	got := plan.Explain("GET", "", "/a").String()
	for _, want := range []string{"a: long", "overrode /a", "text: inner"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}
