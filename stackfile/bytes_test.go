package stackfile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// loadText loads a stack file of that content, without environment variables.
func loadText(t testing.TB, content string) (*Plan, Problems) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, content)
	plan, _, err := Load(t.Context(), testRegistry(t), file, Options{Env: func(string) (string, bool) { return "", false }})
	if err == nil {
		return plan, nil
	}
	ps, ok := errors.AsType[Problems](err)
	if !ok || len(ps) == 0 {
		t.Fatalf("the error is a %T; it must be Problems: %v", err, err)
	}
	for _, p := range ps {
		if p.File != file || p.Line < 1 || p.Column < 1 {
			t.Errorf("the problem has no place: %#v", p)
		}
	}
	return nil, ps
}

const goodFile = "servers: [http]\nstack: [say]\n"

// repeat joins n texts that depend on their number.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func random(n int, alphabet string) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(r.Uint32()); alphabet != "" {
			b[i] = alphabet[int(b[i])%len(alphabet)]
		}
	}
	return string(b)
}

// bomb has aliases of aliases: 9 to the power of levels values.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString(goodFile + "vars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range levels {
		fmt.Fprintf(&b, "  a%d: &a%d [%s]\n", i+1, i+1, strings.Join(strings.Fields(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9)), " "))
	}
	return b.String()
}

// TestBytes is about files that an archive of texts can't hold.
func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		want          string // "line:column: text" of the first problem, empty for none
	}{
		{"no bytes", "", "1:1: the file is empty; it must have servers: and stack:"},
		{"blanks", " \n\n  ", "1:1: the file is empty; it must have servers: and stack:"},
		{"a megabyte of bytes", random(1<<20, ""), "1:1: the file is not UTF-8 text; it must be YAML in UTF-8"},
		{"a megabyte of marks", random(1<<20, " \n:-[]{}abc&*#'\"|>%,?!0"), "1:1: "},
		{"NUL", "servers: [http]\nstack: [\"a\x00b\"]\n", "2:11: the file has the control character U+0000; it must be text"},
		{"escape", "servers: [http]\n# \x1b[31m\n", "2:3: the file has the control character U+001B; it must be text"},
		{"NUL by an escape", "servers: [http]\nstack: [{use: site, root: \"a\\0b\"}]\n", `2:27: site: root is "a\x00b"; it must not have a NUL`},
		{"Latin-1", "servers: [http]\nstack: [{use: say, text: \"h\xe9llo\"}]\n", "2:28: the file is not UTF-8 text; it must be YAML in UTF-8"},
		{"UTF-16", "\xff\xfes\x00e\x00r\x00", "1:1: the file is UTF-16; it must be UTF-8"},
		{"U+FFFD", "servers: [http]\nstack: [{use: say, text: \"\uFFFD\"}]\n", ""},
		{"U+FFFE", "servers: [http]\nstack: [{use: say, text: \"\uFFFE\"}]\n", "2:27: the file has the control character U+FFFE; it must be text"},
		{"CRLF", "servers: [http]\r\nstack:\r\n  - use: say\r\n    text: hello\r\n", ""},
		{"CRLF and a fault", "servers: [http]\r\nstack:\r\n  - use: say\r\n    txt: hello\r\n", `4:5: say has no setting "txt"; did you mean "text"?`},
		{"CR and a fault", "servers: [http]\rstack:\r  - use: say\r    txt: hello\r", `4:5: say has no setting "txt"; did you mean "text"?`},
		{"U+2028 and a fault", "servers: [http]\nvars: {a: \"x\u2028y\"}\nstack: [sa]\n", `4:9: unknown middleware or app "sa"; did you mean "say"?`},
		{"byte order mark", "\uFEFFservers: [http]\nstack: [say]\n", ""},
		{"byte order mark and a fault", "\uFEFF{server: [http], stack: [say]}\n", `1:2: unknown key "server"; did you mean "servers"?`},
		{"billions by aliases", bomb(9), "9:37: the file has more than 524288 values, aliases written out; it must have fewer"},
		{"nested lists", goodFile + "vars: " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "3:7: vars is a list; it must be a map"},
		{"nested lists without end", goodFile + "vars: " + strings.Repeat("[", 1<<20), "3:1: it is nested too deeply"},
		{"nested maps without end", goodFile + "vars: " + strings.Repeat("{a: ", 1<<18), "3:1: it is nested too deeply"},
		{"nested dashes", goodFile + "vars:\n" + strings.Repeat("- ", 1<<19), "3:1: it is nested too deeply"},
		{"a setting of megabytes", "servers: [http]\nstack: [{use: errors, lines: " + strings.Repeat("x", 1<<20) + "}, say]\n", `2:30: errors: lines is "` + strings.Repeat("x", 79) + `…"; it must be a whole number`},
		{"a name of megabytes", "servers: [http]\nstack: [" + strings.Repeat("x", 1<<20) + "]\n", `2:9: unknown middleware or app "xxx`},
		{"a pattern of megabytes", goodFile + "urls:\n  ? /" + strings.Repeat("x/", 1<<19) + "\n  : {say: {text: a}}\n", `4:5: the pattern "/x/`},
		{"a long line", "servers: [http]\nstack: [{use: say, text: " + strings.Repeat("x", 10000) + ", txt: a}]\n", `2:10028: say has no setting "txt"; did you mean "text"?`},
		{"methods", goodFile + "urls:\n  /: {say: {text: a}}\n" + repeat(maxMethods+1, "  M%d /: {say: {text: b}}\n"), `105:3: the pattern "M100 /": it names a method beside 100 others; a stack must have no more than these`},
		{"too large", goodFile + strings.Repeat("# 345678\n", MaxFile/9), "1:1: the file is larger than 2 MiB; a stack file must not be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, ps := loadText(t, tt.content)
			if tt.want == "" || ps == nil {
				if tt.want != "" || ps != nil {
					t.Fatalf("the problems are %v, want %q", ps, tt.want)
				}
				return
			}
			if got := fmt.Sprintf("%d:%d: %s", ps[0].Line, ps[0].Column, ps[0].Text); !strings.HasPrefix(got, tt.want) {
				t.Errorf("the first problem is\n%s\nwant\n%s", got, tt.want)
			}
			for _, p := range ps {
				if len(p.Text) > 4000 {
					t.Errorf("the text has %d bytes: %.80s…", len(p.Text), p.Text)
				}
				for line := range strings.Lines(p.Excerpt()) {
					if len([]rune(line)) > 100 || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' || r == 0x7f }) {
						t.Errorf("the excerpt would spoil a terminal: %.200q", line)
					}
				}
			}
		})
	}
}

// costly are files of up to the largest size that are made to cost much.
func costly() []struct{ name, content string } {
	return []struct{ name, content string }{
		{"values by aliases", bomb(4)},
		{"unknown keys", goodFile + repeat(180_000, "k%d: 1\n")},
		{"unknown slots", goodFile + "urls:\n" + repeat(100_000, "  /%d: {sa: 1}\n")},
		{"settings in conflict", goodFile + "urls:\n" + repeat(400, "  \"/{x}/%[1]d\": {say: {text: a%[1]d}}\n") + repeat(400, "  \"/%[1]d/{x}\": {say: {text: b%[1]d}}\n")},
		{"entries", "servers: [http]\nstack:\n" + repeat(75_000, "  - {use: tag, as: t%d}\n") + "  - say\n"},
		{"servers", "servers:\n" + repeat(50_000, "  - {use: http, listen: ':%d'}\n") + "stack: [say]\n"},
		{"overrides", goodFile + "urls:\n" + repeat(45_000, "  /%[1]d/: {say: {text: a}, vars: {x: %[1]d}}\n")},
		{"overrides of many entries", "servers: [http]\nstack:\n" + repeat(maxEntries-1, "  - {use: tag, as: t%d}\n") + "  - say\nurls:\n" + repeat(maxPlaces/maxEntries-1, "  /%[1]d: {say: {text: x%[1]d}}\n")},
		{"overrides of too many entries", "servers: [http]\nstack:\n" + repeat(maxEntries-1, "  - {use: tag, as: t%d}\n") + "  - say\nurls:\n" + repeat(maxPlaces/maxEntries+2, "  /%[1]d: {say: {text: x%[1]d}}\n")},
		{"overrides by aliases", goodFile + "vars: {a: &a {b: {c: {d: 1}}}}\nurls:\n" + repeat(50_000, "  /%d: {vars: *a}\n")},
		{"large maps over large maps", goodFile + "vars:\n" + repeat(60_000, "  k%d: 1\n") + "urls:\n  /:\n    vars:\n" + repeat(60_000, "      k%d: 2\n")},
		{"deep patterns", goodFile + "urls:\n" + repeat(17_000, "  /%d"+strings.Repeat("/a", 50)+": {}\n")},
		{"vars in vain, above many", goodFile + "vars:\n" + repeat(1000, "  k%d: 1\n") + "urls:\n  /:\n    vars:\n" + repeat(1000, "      k%d: 1\n") + repeat(40_000, "  /%d/: {vars: {x: %[1]d}}\n")},
		{"settings in vain, above many", "servers: [http]\nstack:\n  - use: site\n    root: www\n    headers:\n" + repeat(300, "      h%d: a\n") + "urls:\n  /:\n    site:\n      headers:\n" + repeat(300, "        h%d: a\n") + repeat(200, "  /%d/: {site: {max_size: 1%[1]dMB}}\n")},
		{"maps that cross", goodFile + "urls:\n  \"/{x}/a\":\n    vars:\n" + repeat(60_000, "      k%d: 1\n") + "  \"/b/{x}\":\n    vars:\n" + repeat(60_000, "      l%d: 2\n")},
		{"maps in conflict", goodFile + "urls:\n  \"/{x}/a\":\n    vars:\n" + repeat(60_000, "      k%d: 1\n") + "  \"/b/{x}\":\n    vars:\n" + repeat(60_000, "      k%d: 2\n")},
		{"references", "servers: [http]\nstack:\n  - use: site\n    root: www\n    factories:\n" + repeat(30_000, "      .%d: tag\n") + "urls:\n  /:\n    site:\n      factories:\n" + repeat(30_000, "        .%d: tag\n")},
		{"entries that switch", "servers: [http]\nstack:\n" + repeat(maxEntries-1, "  - {use: tag, as: t%d, off: true}\n") + "  - say\nurls:\n" + repeat(400, "  /%d/: {"+strings.TrimSuffix(repeat(maxEntries-1, "t%d: on, "), ", ")+"}\n")},
		{"guards", "servers: [http]\nstack: [{use: guard, off: true}, say]\nurls:\n" + repeat(50_000, "  POST /%d/: {guard: on}\n")},
		{"anchors", goodFile + "vars: {x: [" + repeat(150_000, "&a%d 1, ") + "1]}\n"},
		{"a deep list", goodFile + "vars: {x: " + strings.Repeat("[", 60) + repeat(300_000, "%d,") + strings.Repeat("]", 60) + "}\n"},
		{"comments that allow", goodFile + repeat(40_000, "# stackd:allow override-same reason %d\n")},
		{"methods", goodFile + "urls:\n" + repeat(60_000, "  M%d /: {say: {text: a}}\n")},
		{"files that are not there", "include: [" + repeat(50_000, "%d.yaml, ") + "]\n" + goodFile + "vars: {" + repeat(40_000, `k%[1]d: "${file:%[1]d}", `) + "}\n"},
		{"maps on one line", goodFile + "vars: {" + repeat(50_000, "k%d: {a: [1, 2, {b: c}]}, ") + "}\n"},
		{"an indentation at the end", goodFile + "vars:\n" + repeat(70_000, "  a%d: [1, 2, 3, 4, 5, 6]\n") + " b: 2\n"},
		{"problems on one line", goodFile + "urls: {" + repeat(60_000, "/%d/: {sa: {a: 1}}, ") + "}\n"},
		{"secrets on one line", goodFile + "urls: {" + repeat(40_000, "/%[1]d/: {sa: {password: a%[1]d}}, ") + "}\n"},
		{"secrets", "servers: [http]\nstack:\n  - use: site\n    root: www\n    factories:\n      .x:\n        use: cgi\n        secrets:\n" + repeat(70_000, "          k%[1]d: pass%[1]d\n")},
		{"overrides that cross", goodFile + "urls:\n" + repeat(400, "  h%d/: {vars: {a: 1}}\n") + repeat(490, "  /%d/: {vars: {b: 1}}\n")},
	}
}

// costlyStack is made to cost much; its stack file is stack.yaml.
type costlyStack struct {
	name  string
	want  string // what the first problem says, if something must
	files map[string]string
}

// costlyFiles are stacks of many files.
func costlyFiles() []costlyStack {
	many := func(n int, main, name, content string) map[string]string {
		files := map[string]string{"stack.yaml": main}
		for i := range n {
			files[fmt.Sprintf(name, i)] = strings.ReplaceAll(content, "#", strconv.Itoa(i))
		}
		return files
	}
	chain := many(1000, "extends: 0.yaml\nstack: [{use: say, text: a}]\n", "%d.yaml", "servers: [http]\nstack: [say]\nurls:\n  /#/: {say: {text: \"#\"}}\n")
	for i := range 999 {
		chain[fmt.Sprintf("%d.yaml", i)] = fmt.Sprintf("extends: %d.yaml\n", i+1) + chain[fmt.Sprintf("%d.yaml", i)]
	}
	long := maps.Clone(chain)
	for i := range 999 {
		long[fmt.Sprintf("%d.yaml", i)] += repeat(40, "  /b%d/: {vars: {x: a}}\n")
	}
	return []costlyStack{
		{"files that are included", "", many(1000, "include: urls.d/*.yaml\n"+goodFile, "urls.d/%04d.yaml", "urls:\n"+strings.ReplaceAll(repeat(40, "  /@/%d/: {say: {text: a}, vars: {x: [1, 2, 3]}}\n"), "@", "#"))},
		{"files that are included and conflict", "", many(1000, "include: urls.d/*.yaml\n"+goodFile, "urls.d/%04d.yaml", "urls:\n  \"/{x}/#\": {say: {text: a#}}\n  \"/#/{x}\": {say: {text: b#}}\n")},
		{"files that are included and bombs", "", many(1000, "include: urls.d/*.yaml\n"+goodFile, "urls.d/%04d.yaml", "urls:\n  /#/: {vars: {a0: &a0 [x, x, x, x, x, x, x, x, x], a1: &a1 [*a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0], a2: [*a1, *a1, *a1, *a1, *a1, *a1, *a1, *a1, *a1]}}\n")},
		{"files that extend each other", "", chain},
		{"large files that extend each other", "", long},
		{"stacks that are mounted", "more than 64 stacks are mounted", many(1000, "servers: [http]\nstack: [say]\nurls:\n"+repeat(1000, "  /%[1]d/: {say: {use: stack, mount: %[1]d.yaml}}\n"), "%d.yaml", "stack: [tag, say]\nurls:\n"+repeat(40, "  /%d/: {say: {text: a}}\n"))},
		{"values of megabytes in files", "", many(3, "include: [0.yaml, 1.yaml, 2.yaml]\n"+goodFile, "%d.yaml", "urls:\n  /#/: {vars: {x: "+strings.Repeat("x", 1<<20)+"}, say: {text: "+strings.Repeat("y", 1<<18)+"}}\n")},
		{"texts from files", "more than 8 MiB", func() map[string]string {
			files := many(1, "servers: [http]\nstack: [say]\nvars:\n"+repeat(2000, "  k%d: ${file:0.txt}\n"), "%d.txt", strings.Repeat("x", 1<<20))
			return files
		}()},
	}
}

// TestCost loads, checks and explains files of up to the largest size that are made to cost much.
func TestCost(t *testing.T) {
	if underRace {
		t.Skip("the race detector has costs of its own; this runs without it")
	}
	all := costlyFiles()
	for _, c := range costly() {
		if len(c.content) > MaxFile {
			t.Fatalf("%s: the file has %d bytes", c.name, len(c.content))
		}
		want := map[string]string{"vars in vain, above many": "come to more than", "overrides of too many entries": "in more than 32768 ways to a stack of 128 entries"}[c.name]
		all = append(all, costlyStack{c.name, want, map[string]string{"stack.yaml": c.content}})
	}
	reg := testRegistry(t)
	options := Options{Env: func(string) (string, bool) { return "", false }}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				write(t, filepath.Join(dir, name), content)
			}
			file := filepath.Join(dir, "stack.yaml")
			var plan *Plan
			measure := func(what string, f func()) {
				begun, before, peak := time.Now(), allocated(), watchHeap()
				f()
				live, work := peak()>>20, (allocated()-before)>>20
				t.Logf("%s: %d MiB alive, %d MiB allocated, %v", what, live, work, time.Since(begun).Round(time.Millisecond))
				if work > 1024 {
					t.Errorf("%s allocated %d MiB; it must be at most 1024, so that it takes no more than two seconds", what, work)
				}
				if live > 160 {
					// What is made while the collector runs counts as alive, and that is more on a busy machine: most of these
					// files have half as much, the worst one 115. What the process comes to, TestCostOfProgram says.
					t.Errorf("up to %d MiB were alive during %s; it must be at most 160", live, what)
				}
			}
			measure("load and explain", func() {
				begun := time.Now()
				var err error
				plan, _, err = Load(t.Context(), reg, file, options)
				ps, _ := errors.AsType[Problems](err)
				t.Logf("%d problems, %v", len(ps), time.Since(begun).Round(time.Millisecond))
				if plan == nil && len(ps) == 0 {
					t.Errorf("neither a plan nor problems: %v", err)
				}
				if tt.want != "" && (len(ps) == 0 || !strings.Contains(ps[0].Text, tt.want)) {
					t.Errorf("the problems are %.300v; one must say that %s", ps, tt.want)
				}
				if plan == nil {
					return
				}
				for i := range min(len(plan.patterns), 5) {
					_ = plan.Explain("GET", "", "/"+strconv.Itoa(i)+"/a").String()
				}
			})
			runtime.KeepAlive(plan)
			plan = nil
			measure("check", func() {
				// What looks for warnings must not take minutes either.
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if _, err := Check(ctx, reg, file, options, false); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestCostOfProgram has the program itself check and explain the stacks of TestCost, made of the components that it has, and looks at
// what the system says of it when it has ended: how much memory it had in use at most, the program's own included, and how much
// processor time it took.
func TestCostOfProgram(t *testing.T) {
	const program = "STACKD_TEST_PROGRAM"
	switch {
	case underRace:
		t.Skip("the program is another process, which the race detector doesn't watch; this runs without it")
	case runtime.GOOS != "linux":
		t.Skip("how much memory a process had is told in other units here")
	case os.Getenv(program) == "":
		// A process begins with the most memory that the one which starts it ever had, so a fresh one does it.
		path := filepath.Join(t.TempDir(), "stackd")
		if out, err := exec.Command("go", "build", "-o", path, "../cmd/stackd").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		fresh := exec.Command(os.Args[0], "-test.v", "-test.run=^TestCostOfProgram$")
		fresh.Env = append(os.Environ(), program+"="+path, "GOMEMLIMIT=off", "GOGC=100")
		out, err := fresh.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error(err)
		}
		return
	}
	all := costlyFiles()
	for _, c := range costly() {
		all = append(all, costlyStack{name: c.name, files: map[string]string{"stack.yaml": c.content}})
	}
	// What the components of these tests are called in the program.
	components := []struct {
		what *regexp.Regexp
		is   string
	}{
		{regexp.MustCompile(`\bsay\b`), "respond"},
		{regexp.MustCompile(`\btext:`), "body:"},
		{regexp.MustCompile(`(\.\d+: )tag\b`), "${1}static"},
		{regexp.MustCompile(`\btag\b`), "lint"},
		{regexp.MustCompile(`\bsite\b`), "finder"},
		{regexp.MustCompile(`\bheaders:`), "types:"},
		{regexp.MustCompile(`\bh(\d+): a`), ".h$1: text/plain"},
		{regexp.MustCompile(`max_size: (\w+)`), "index: [${1}]"},
		{regexp.MustCompile(`use: guard`), "use: auth_basic, as: guard, users: stack.yaml"},
	}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				for _, r := range components {
					content = r.what.ReplaceAllString(content, r.is)
				}
				if len(content) > MaxFile {
					content = content[:strings.LastIndexByte(content[:MaxFile], '\n')+1]
				}
				write(t, filepath.Join(dir, name), content)
			}
			for _, args := range [][]string{{"check", "stack.yaml"}, {"explain", "stack.yaml", "/1/a"}, {"fmt", "stack.yaml"}} {
				c := exec.Command(os.Getenv(program), args...)
				c.Dir = dir
				out, err := c.Output()
				if c.ProcessState == nil || c.ProcessState.ExitCode() > 1 {
					t.Fatalf("%s: %v", args[0], err)
				}
				usage := c.ProcessState.SysUsage().(*syscall.Rusage)
				most, busy := int64(usage.Maxrss)>>10, c.ProcessState.UserTime()+c.ProcessState.SystemTime()
				t.Logf("%s: %d MiB in use at most, %v of processor time; it says %.60q", args[0], most, busy.Round(time.Millisecond), out)
				// Each takes less than two seconds on a machine that has nothing else to do. Where processors are shared, the same
				// work takes more of their time, and the collector counts what it does on idle ones.
				if busy > 4*time.Second {
					t.Errorf("%s took %v of processor time; it must be at most 4s", args[0], busy)
				}
				if most > 256 {
					t.Errorf("%s had %d MiB in use; it must be at most 256", args[0], most)
				}
			}
		})
	}
}

// allocated returns how many bytes were allocated so far. That is a measure of work which is the same on any machine.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watchHeap makes the collector run often, and returns what ends that and tells how much more
// than now was alive after a run.
func watchHeap() (peak func() uint64) {
	percent := debug.SetGCPercent(50)
	runtime.GC()
	live := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before := live()
	var most atomic.Uint64
	var ended atomic.Bool
	var watch func(struct{})
	watch = func(struct{}) {
		if ended.Load() {
			return
		}
		most.Store(max(most.Load(), live()))
		runtime.AddCleanup(new([64]byte), watch, struct{}{}) // the next run calls again
	}
	watch(struct{}{})
	return func() uint64 {
		runtime.GC()
		ended.Store(true)
		debug.SetGCPercent(percent)
		return max(most.Load(), live()) - before
	}
}
