package stackfile

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/environ"
)

// edited are files that [TestEdits] edits: of every kind of thing that a load takes over, or mustn't.
var edited = []map[string]string{
	{
		"stack.yaml": `# a comment
servers: [http]
control: off
vars: {theme: light, title: {text: Home, size: 2}}
stack:
  - {use: errors, lines: 5}
  - {use: session, lifetime: 12h, store: {use: file, path: var/s, password: s3cret}}
  - {use: tag, off: true, text: a}
  - {use: guard, off: true}

  - {use: site, root: www, headers: {x: "1"}}
urls:
  /admin/users/:
    session: {lifetime: 5m}
    errors: {lines: 7}
  /admin/: # a comment
    session: {lifetime: 15m, cookie: {name: admin}, store: {password: 0ther}}
    tag: on
    vars: {theme: dark, title: {size: 3}}
  "POST /admin/":
    tag: {text: b}
  example.org/:
    vars: {theme: org}
    on_reload: keep
    site: {headers: {y: "2"}}
  "*.example.org/":
    vars: {theme: sub}
  "/{x}/b": {errors: {show: loopback}, guard: on}
  /legacy/: {site: {use: say, text: "old
    and new"}}
  /block/:
    vars:
      text: |+
        some text

deadlines: {drain: 20s}
on_reload: close
`,
	},
	{
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:80"}]
include: urls.d/*.yaml
check: {lint: true}
stack: [errors, {use: tag, text: "${file:text}"}, session, cart, {use: site, root: www}]
urls:
  /blog/: {site: {use: stack, mount: blog/stack.yaml, prefix: /blog}, vars: {theme: dark}}
  /own/:
    site:
      use: stack
      prefix: /own
      mount:
        stack: [tag, say]
        urls: {/y/: {tag: {text: y}}}
  /own/x/: {tag: {text: x}}
`,
		"urls.d/a.yaml":   "urls:\n  /a/: {tag: {text: a}}\n  /a/b/: {tag: {text: b}, vars: {b: 1}}\n",
		"urls.d/b.yaml":   "# b\nurls:\n  /b/: {tag: off, errors: {lines: 8}}\n",
		"blog/stack.yaml": "vars: {title: A}\nstack: [{use: session, store: file}, {use: site, root: pages}]\nurls:\n  /admin/: {session: {lifetime: 1h}}\n",
		"text":            "from a file\n",
	},
	{
		"stack.yaml": "extends: base.yaml\nvars: {a: 2}\nstack: [{use: session, lifetime: 2h}]\nurls:\n  /a/: {session: {cookie: {name: x}}, say: {text: over}}\n  /{y}/z: {vars: {y: 1}}\n",
		"base.yaml":  "servers: [http]\nvars: {a: 1, b: 1}\nstack: [errors, session, say]\nurls:\n  /a/: {session: {lifetime: 1h}}\n  /b/: {say: {text: base}}\n  /{x}/z: {vars: {x: 1}}\n",
	},
}

// snippets are put between lines: some are right there and others elsewhere or nowhere.
var snippets = []string{
	"", "# a comment", "# stackd:allow override-same for a reason", "# stackd:allow", "---", "...", "%YAML 1.1", "- x", "urls:", "urls: {", "urls: 0", "}", "]", `"`, "'",
	"vars: &a {n: 1}", "tests: *a", "tests: []", "processes: 1", "  /n/: {vars: {n: 1}}", "  /n/: {errors: {lines: 9}}", "  /n/: {session: {lifetime: 9m}}", "  /n/: &b {tag: on}", "  /m/: *b",
	"  - {use: tag, as: more}", "  - guard", "  - {use: twin, as: errors}", "    tag: off", "    x", "  x: |", "\t", "control: \"off", "? a", ": b", "  /a/: {say: {text: new}}", "extends: base.yaml",
	"stack: [", "stack: |", "vars: 'a", "include: urls.d/a.yaml", "on_reload: keep", "  /s/: {session: {store: {use: file, password: s3cret too}}}", "  /v/: {vars: {v: ${env:V:-1}}}",
}

// TestEdits edits files at random, time and again, and loads them after the stack that was built of them before, and
// afresh: both come to the same, with all problems, places and settings, and so do the stacks that are built of them.
func TestEdits(t *testing.T) {
	reg := testRegistry(t)
	log := slog.New(slog.DiscardHandler)
	rounds := 400
	if testing.Short() || underRace {
		rounds = 60
	}
	took := 0
	for n, files := range edited {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			put := func(name, text string) {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, name), text)
			}
			for name, text := range files {
				put(name, text)
			}
			names := slices.Sorted(maps.Keys(files))
			path := filepath.Join(dir, "stack.yaml")
			before := mustBuild(t, reg, path, nil)
			random := rand.New(rand.NewPCG(uint64(n), 0))
			good, now := maps.Clone(files), maps.Clone(files)
			for range rounds {
				name := names[random.IntN(len(names))]
				if random.IntN(3) > 0 {
					name = "stack.yaml"
				}
				now[name] = edit(random, now[name])
				put(name, now[name])
				want, wantNames, fresh := Load(t.Context(), reg, path, Options{})
				got, gotNames, again := Load(t.Context(), reg, path, Options{Before: before})
				if diff := cmp.Diff(toldOf(fresh), toldOf(again)); diff != "" {
					t.Fatalf("%s\nproblems: -without +with:\n%s", now, diff)
				}
				if diff := cmp.Diff(wantNames, gotNames); diff != "" {
					t.Fatalf("%s\nfiles: -without +with:\n%s", now, diff)
				}
				if fresh != nil {
					if random.IntN(4) > 0 { // else the next edit may mend it
						now = maps.Clone(good)
						for name, text := range now {
							put(name, text)
						}
					}
					continue
				}
				if got.layers.again {
					took++
				}
				if diff := cmp.Diff(described(t, want), described(t, got)); diff != "" {
					t.Fatalf("%s\n-without +with:\n%s", now, diff)
				}
				wanted, err := want.Build(t.Context(), log, before)
				if err != nil {
					t.Fatal(err)
				}
				built, err := got.Build(t.Context(), log, before)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(composition(wanted, before), composition(built, before)); diff != "" {
					t.Fatalf("%s\nstacks: -without +with:\n%s", now, diff)
				}
				wanted.Close()
				before.Close()
				before, good = built, maps.Clone(now)
			}
			before.Close()
		})
	}
	t.Logf("what was under urls: was taken over %d times", took)
	if took < 50 && !testing.Short() && !underRace {
		t.Error("it must be taken over more often, to be worth a test")
	}
}

// edit changes a text a little, somewhere.
func edit(random *rand.Rand, text string) string {
	lines := strings.Split(text, "\n")
	if random.IntN(2) == 0 { // in the upper half, mostly before urls:
		return strings.Join(append(editLine(random, lines[:len(lines)/2+1]), lines[len(lines)/2+1:]...), "\n")
	}
	return strings.Join(editLine(random, lines), "\n")
}

func editLine(random *rand.Rand, lines []string) []string {
	lines = slices.Clone(lines)
	at := random.IntN(len(lines))
	switch random.IntN(8) {
	case 0:
		return slices.Delete(lines, at, at+1)
	case 1:
		return slices.Insert(lines, at, lines[random.IntN(len(lines))])
	case 2, 3:
		return slices.Insert(lines, at, snippets[random.IntN(len(snippets))])
	case 4:
		lines[at] = " " + lines[at]
	case 5:
		lines[at] = strings.Replace(lines[at], "off", "on", 1)
	default:
		for n := range len(lines) { // another digit
			i := (at + n) % len(lines)
			if digit := strings.IndexAny(lines[i], "123456789"); digit >= 0 {
				lines[i] = lines[i][:digit] + fmt.Sprint(1+random.IntN(9)) + lines[i][digit+1:]
				break
			}
		}
	}
	return lines
}

// toldOf is all that is told of problems.
func toldOf(err error) []string {
	ps, ok := errors.AsType[Problems](err)
	if !ok {
		return []string{fmt.Sprint(err)}
	}
	var all []string
	for _, p := range ps {
		all = append(all, p.String()+"\n"+p.Excerpt())
	}
	return all
}

// composition is what a stack that was built after another is made of, and what becomes of the requests of that one.
func composition(s, before *Stack) []string {
	all := []string{fmt.Sprintf("%+v", s.Changes()), fmt.Sprint(s.Depends())}
	plan := s.inspector.own.Load().Plan
	succession := s.Succeed(before)
	for _, area := range append([]region{{pattern: pattern{segments: []segment{{kind: segmentLiteral, text: "none"}}}}}, plan.areas...) {
		method, url, ok := strings.Cut(area.pattern.example(), " ")
		if !ok {
			method, url = http.MethodGet, area.pattern.example()
		}
		host, path := url[:strings.Index(url, "/")], url[strings.Index(url, "/"):]
		c := s.chains.find(target{method, host, path})
		r := c.begin().Open(httptest.NewRequest(method, path, http.NoBody))
		fate := succession.Fate(method, host, path)
		if fate.Release != nil {
			fate.Release()
		}
		text := fmt.Sprintf("%s %s %+v %v %v %v %v:", method, url, environ.Matched.Get(r), environ.Vars.Get(r), c.onReload, fate.Stays, fate.OnReload)
		for _, i := range c.links {
			text += " " + i.identity
		}
		all = append(all, text)
	}
	return all
}

// TestPart is about texts in which what stands under urls: looks as if it were as it was.
func TestPart(t *testing.T) {
	const head, urls = "servers: [http]\nstack: [say]\n", "urls:\n  /a/: {say: {text: a}}\n"
	for _, tt := range []struct {
		name, was, now string
		takes          bool
	}{
		{"another setting before", head + urls, "servers: [http]\nstack: [{use: say, text: x}]\n" + urls, true},
		{"lines before", head + urls, "# a line\n\n" + head + urls, true},
		{"another key behind", head + urls + "vars: {a: 1}\n", head + urls + "vars: {a: 2, b: 3}\n", true},
		{"first of all", urls + head, urls + "servers: [async]\nstack: [say]\n", true},
		{"no longer first", urls + head, "servers: [http]\n" + urls + "stack: [say]\n", true},
		{"carriage returns", strings.ReplaceAll(head+urls, "\n", "\r\n"), strings.ReplaceAll("# x\n"+head+urls, "\n", "\r\n"), true},
		{"byte order mark", head + urls, "\uFEFF" + head + urls, true},
		{"a key behind that was not there", head + urls, head + urls + "vars: {a: 1}\n", false},
		{"no key behind any more", head + urls + "vars: {a: 1}\n", head + urls, false},
		{"a comment behind", head + urls + "vars: {a: 1}\n", head + urls + "# x\nvars: {a: 1}\n", false},
		{"a blank line behind a block", head + "urls:\n  /a/:\n    vars:\n      x: |+\n        a\nvars: {a: 1}\n", head + "urls:\n  /a/:\n    vars:\n      x: |+\n        a\n\nvars: {a: 1}\n", false},
		{"within brackets", head + urls, "servers: [http]\nstack: [say,\n" + urls + "]\n", false},
		{"within quotes", head + urls, "servers: [http]\nstack: [say]\nvars: {x: \"\n" + urls + "\"}\n", false},
		{"a block before takes it for its own", head + urls, head + "vars:\n  x: |\n    a\n" + urls, true},
		{"another override", head + urls, head + urls + "  /b/: {say: {text: b}}\n", false},
		{"one override less", head + urls + "  /b/: {say: {text: b}}\n", head + urls, false},
		{"twice", head + urls, head + urls + urls, false},
		{"in another document", head + urls, head + "---\n" + urls, false},
		{"an anchor", head + "urls:\n  /a/: &a {say: {text: a}}\n", "# x\n" + head + "urls:\n  /a/: &a {say: {text: a}}\n", false},
		{"an alias", head + "vars: &a {x: 1}\nurls:\n  /a/: {vars: *a}\n", head + "vars: &a {x: 2}\nurls:\n  /a/: {vars: *a}\n", false},
		{"a reference", head + "urls:\n  /a/: {say: {text: \"${env:X:-a}\"}}\n", "# x\n" + head + "urls:\n  /a/: {say: {text: \"${env:X:-a}\"}}\n", false},
		{"a comment that is a text", head + "urls:\n  /a/: {say: {text: \"# stackd:allow x\"}}\n", "# x\n" + head + "urls:\n  /a/: {say: {text: \"# stackd:allow x\"}}\n", false},
		{"extended", head + urls, "extends: base.yaml\n" + head + urls, false},
		{"in brackets", "{servers: [http], stack: [say],\nurls: {/a/: {say: {text: a}}}}\n", "{servers: [http], stack: [say],\n\nurls: {/a/: {say: {text: a}}}}\n", false},
		{"in quotes", head + "\"urls\":\n  /a/: {say: {text: a}}\n", "# x\n" + head + "\"urls\":\n  /a/: {say: {text: a}}\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parsed := func(text string, was *part, s *source) (*part, *node, []Problem) {
				ps, count, expanded := &problems{}, 0, 0
				d := disk{now: newFiles()}
				p := &parser{source: s, problems: ps, count: &count, was: was, expander: &expander{env: func(string) (string, bool) { return "", false }, note: func(string) {}, disk: &d, size: &expanded}}
				top := p.parse([]byte(text))
				if top != nil && top.size() != count && !strings.Contains(text, "*a") {
					t.Errorf("%d values were counted; there are %d", count, top.size())
				}
				return p.part, top, ps.list
			}
			s := &source{name: "stack.yaml", main: true}
			was, _, ps := parsed(tt.was, nil, s)
			if len(ps) > 0 {
				t.Fatal(ps)
			}
			wantPart, want, wantProblems := parsed(tt.now, nil, s)
			part, got, problems := parsed(tt.now, was, s)
			if !want.same(got) || fmt.Sprint(wantProblems) != fmt.Sprint(problems) {
				t.Errorf("it is read as %v %v; want %v %v", got, problems, want, wantProblems)
			}
			if (wantPart == nil) != (part == nil) || part != nil && (part.line != wantPart.line || part.text != wantPart.text || part.last != wantPart.last || !part.value.same(wantPart.value)) {
				t.Errorf("the next load may take over %v; want %v", part, wantPart)
			}
			text := strings.TrimPrefix(tt.now, "\uFEFF")
			if now, _ := without(text, len(splitLines(text)), was); (now != nil) != tt.takes {
				t.Errorf("it is taken over: %t; want %t", now != nil, tt.takes)
			}
		})
	}
}

// A plan keeps none of those before in memory, whatever it has taken over from them.
func TestTakenOverPinsNoPlan(t *testing.T) {
	reg := testRegistry(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	var prev *Stack
	var plans []weak.Pointer[Plan]
	var texts []weak.Pointer[content]
	for n := range 6 {
		write(t, file, fmt.Sprintf("servers: [http]\nstack: [{use: tag, text: t%d}, {use: session, store: {use: file, password: s3cret}}, say]\nurls:\n", n)+repeat(50, "  /page%[1]d/: {say: {text: t%[1]d}, session: {lifetime: 1%[1]ds}, vars: {n: %[1]d}}\n"))
		plan, _, err := Load(t.Context(), reg, file, Options{Before: prev})
		if err != nil {
			t.Fatal(err)
		}
		next, err := plan.Build(t.Context(), slog.New(slog.DiscardHandler), prev)
		if err != nil {
			t.Fatal(err)
		}
		if took := plan.layers.again; took != (n > 0) {
			t.Fatalf("load %d took over what stands under urls: %t", n, took)
		}
		plans = append(plans, weak.Make(plan))
		texts = append(texts, weak.Make(plan.layers.problems.texts[plan.layers.source]))
		if prev != nil {
			prev.Close()
		}
		prev = next
	}
	runtime.GC()
	for n := range plans {
		alive := n == len(plans)-1
		if (plans[n].Value() != nil) != alive || (texts[n].Value() != nil) != alive {
			t.Errorf("plan %d is in memory: %t, and its file: %t; want %t", n, plans[n].Value() != nil, texts[n].Value() != nil, alive)
		}
	}
	prev.Close()
}
