package stackfile

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
)

// TestFates changes stack files in many ways, and tells what becomes of the requests for some URLs.
func TestFates(t *testing.T) {
	turns := registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, Rewrites: true}
	depends := func(env *registry.Env, c notedConfig) (registry.Wrap, error) {
		env.DependsOn(string(c.File))
		return func(next http.Handler) http.Handler { return next }, nil
	}
	reg, err := registry.New(append(corpus(),
		registry.Middleware[noSettings]{Name: "turn", Traits: turns, Build: func(*registry.Env, noSettings) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler { return next }, nil
		}},
		registry.Middleware[notedConfig]{Name: "depends", Traits: safe, Build: depends},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	const plain = `servers: [http]
vars: {theme: light}
stack: [errors, session, {use: tag, off: true}, say]
urls:
  /ws/: {say: {text: ws}}
  /on/: {tag: on, vars: {theme: dark}}
`
	// Two stacks are mounted, one in a file of its own.
	const mounts = `servers: [http]
stack: [tag, say]
urls:
  /in/: {say: {use: stack, prefix: /in, mount: in.yaml}}
  /own/: {say: {use: stack, prefix: /own, mount: {stack: [say], urls: {/a/: {say: {text: a}}, /b/: {say: {text: b}}}}}}
`
	const inner = "stack: [tag, say]\nurls:\n  /ws/: {say: {text: ws}}\n  /b/: {tag: {text: b}}\n"
	all := func(way string) string { return "/ " + way + ", /ws/x " + way + ", /on/ " + way }
	tests := []struct {
		name string
		// old and pairs of what is replaced in it, in stack.yaml or in the file named before it.
		old     string
		replace []string
		file    string
		inner   string // the mounted file, if it is another
		// want is each URL with what becomes of a request for it: moved, held for one that moves with what it
		// holds, or what on_reload says.
		want string
	}{
		{name: "nothing", old: plain, want: all("moved")},
		{name: "lines", old: plain, replace: []string{"vars: {theme: light}", "# one\n\n# two\nvars: {theme: light}", "urls:", "urls:\n\n  # three"}, want: all("moved")},
		{name: "a server", old: plain, replace: []string{"[http]", "[{use: http, port: 7}]"}, want: all("moved")},
		{name: "another URL", old: plain, replace: []string{"text: ws", "text: sw"}, want: "/ moved, /ws/x drain, /on/ moved"},
		{name: "a URL less", old: plain, replace: []string{"  /ws/: {say: {text: ws}}\n", ""}, want: "/ moved, /ws/x drain, /on/ moved"},
		{name: "a URL more, that says the same", old: plain, replace: []string{"urls:", "urls:\n  /ws/x: {say: {text: ws}}"}, want: all("moved")},
		{name: "a URL more, that says another thing", old: plain, replace: []string{"urls:", "urls:\n  /ws/x: {say: {text: wsx}}"}, want: "/ moved, /ws/x drain, /on/ moved"},
		{name: "a method", old: plain, replace: []string{"/ws/:", "POST /ws/:"}, want: "/ moved, /ws/x drain, POST /ws/x moved"},
		{name: "a slot of all", old: plain, replace: []string{"errors,", "{use: errors, lines: 9},"}, want: all("drain")},
		{name: "a store", old: plain, replace: []string{"session,", "{use: session, store: twin},"}, want: all("drain")},
		{name: "a slot that is off", old: plain, replace: []string{"{use: tag, off: true}", "{use: tag, off: true, text: t}"}, want: "/ moved, /ws/x moved, /on/ drain"},
		{name: "a slot more, that is off", old: plain, replace: []string{"say]", "{use: cart, off: true}, say]"}, want: all("moved")},
		{name: "a slot more, that is on", old: plain, replace: []string{"say]", "cart, say]"}, want: all("drain")},
		{name: "the order", old: plain, replace: []string{"errors, session", "session, errors"}, want: all("drain")},
		{name: "vars of all", old: plain, replace: []string{"light", "bright"}, want: "/ drain, /ws/x drain, /on/ moved"},
		{name: "vars of a URL", old: plain, replace: []string{"theme: dark", "theme: night"}, want: "/ moved, /ws/x moved, /on/ drain"},
		{name: "a file", old: "servers: [http]\nstack: [{use: depends, file: users, off: true}, say]\nurls: {/ws/: {depends: on}}\n", file: "users", replace: []string{"", "bob"}, want: "/ moved, /ws/x drain"},
		{name: "what isn't answered by the stack", old: plain, want: "/a/../b drain"},

		{name: "on_reload of all", old: "on_reload: keep\n" + plain, replace: []string{"errors,", "{use: errors, lines: 9},"}, want: all("keep")},
		{name: "on_reload of a URL", old: plain, replace: []string{"say: {text: ws}", "say: {text: sw}, on_reload: close"}, want: "/ws/x drain"},
		{name: "on_reload of the old file", old: plain + "  /ws/x: {on_reload: close}\n", replace: []string{"errors,", "", ", on_reload: close", ""}, want: "/ drain, /ws/x close"},
		{name: "on_reload alone", old: plain, replace: []string{"vars: {theme: light}", "on_reload: close\nvars: {theme: light}"}, want: all("moved")},
		{name: "on_reload, more specific", old: "on_reload: close\n" + plain + "  /ws/x: {on_reload: keep}\n  /ws/y: {on_reload: null}\n", replace: []string{"errors,", ""}, want: "/ close, /ws/x keep, /ws/y drain"},

		{name: "nothing, with mounts", old: mounts, want: "/ moved, /in/ws/x moved, /in/b/ moved, /own/a/ moved"},
		{name: "lines, with mounts", old: mounts, replace: []string{"stack:", "\n\nstack:"}, want: "/ moved, /in/ws/x moved, /own/a/ held, /own/b/ held"},
		{name: "a URL of a mounted file", old: mounts, file: "in.yaml", replace: []string{"text: b", "text: c"}, want: "/ moved, /in/ws/x held, /in/b/ drain, /own/a/ moved"},
		{name: "a slot of a mounted file", old: mounts, file: "in.yaml", replace: []string{"[tag,", "[{use: tag, text: t},"}, want: "/ moved, /in/ws/x drain, /in/b/ held, /own/a/ moved"},
		{name: "a URL of a mounted stack", old: mounts, replace: []string{"text: b", "text: c"}, want: "/ moved, /in/ws/x moved, /own/a/ held, /own/b/ drain"},
		{name: "the prefix", old: mounts, replace: []string{"prefix: /in,", ""}, want: "/ moved, /in/ws/x drain"},
		{name: "a slot around a mounted stack", old: mounts, replace: []string{"[tag,", "[{use: tag, text: t},"}, want: "/ drain, /in/ws/x drain, /own/a/ drain"},
		{name: "behind what rewrites", old: strings.Replace(mounts, "[tag, say]", "[turn, say]", 1), file: "in.yaml", replace: []string{"text: b", "text: c"}, want: "/in/ws/x drain, /own/a/ moved"},
		{name: "on_reload of a mounted file", old: mounts, inner: "on_reload: keep\n" + inner, replace: []string{"stack: [tag,", "stack: ["}, want: "/ drain, /in/ws/x keep"},
		{name: "on_reload around a mounted stack", old: "on_reload: keep\n" + mounts, replace: []string{"stack: [tag,", "stack: ["}, want: "/ keep, /in/ws/x keep, /own/a/ keep"},
		{
			name: "on_reload in a mounted stack", old: strings.NewReplacer("/a/: {", "/a/: {on_reload: close, ").Replace("on_reload: keep\n" + mounts),
			replace: []string{"stack: [tag,", "stack: ["}, want: "/own/a/ close, /own/b/ keep",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			contents := map[string]string{"stack.yaml": test.old, "in.yaml": inner, "users": ""}
			if test.inner != "" {
				contents["in.yaml"] = test.inner
			}
			for name, text := range contents {
				write(t, filepath.Join(dir, name), text)
			}
			file := filepath.Join(dir, "stack.yaml")
			old := mustBuild(t, reg, file, nil)
			changed := test.file
			if changed == "" {
				changed = "stack.yaml"
			}
			if len(test.replace) > 0 {
				text := strings.NewReplacer(test.replace...).Replace(contents[changed])
				if text == contents[changed] {
					t.Fatal("nothing is changed")
				}
				write(t, filepath.Join(dir, changed), text)
			}
			next := mustBuild(t, reg, file, old)
			s := next.Succeed(old)
			var got []string
			for url := range strings.SplitSeq(test.want, ", ") {
				url, _, _ = strings.Cut(url, " "+wayOf(url))
				method, path, ok := strings.Cut(url, " ")
				if !ok {
					method, path = http.MethodGet, url
				}
				f := s.Fate(method, "example.com", path)
				way := string(f.OnReload)
				switch {
				case f.Stays && f.Release == nil:
					way = "moved"
				case f.Stays:
					way = "held"
				}
				if f.Release != nil {
					f.Release()
				}
				got = append(got, url+" "+way)
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			old.Close()
			next.Close()
		})
	}
}

// wayOf returns the last word.
func wayOf(text string) string { return text[strings.LastIndexByte(text, ' ')+1:] }

// What a request holds is open until it gives it back, and then closed, with what it refers to last, if no stack has
// it; all else is closed with the stack.
func TestHeldInstances(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	const text = `servers: [noted_server]
on_reload: keep
stack:
  - {use: noted, as: one, name: a, store: {use: noted_store, name: s}}
  - {use: noted, as: two, name: b}
  - say
urls:
  /x/: {two: {name: x}}
`
	write(t, file, text)
	first := mustBuild(t, reg, file, nil)
	expectLog(t, l, "open store s", "open noted a on s", "open noted b", "open noted x", "open server ")

	write(t, file, strings.NewReplacer("name: s}", "name: t}", "name: b", "name: c").Replace(text))
	second := mustBuild(t, reg, file, first)
	expectLog(t, l, "open store t", "open noted a on t", "open noted c")
	kept := second.Succeed(first).Fate("GET", "", "/")
	if kept.Stays || kept.OnReload != OnReloadKeep || kept.Release == nil {
		t.Fatalf("the fate is %+v", kept)
	}
	again := second.Succeed(first).Fate("GET", "", "/")
	first.Close()
	expectLog(t, l) // x was carried over, and the others are held
	again.Release()
	expectLog(t, l)
	kept.Release()
	expectLog(t, l, "close noted b", "close noted a on s", "close store s")

	// One that is carried over while it is held is closed with the last who has it.
	write(t, file, text)
	third := mustBuild(t, reg, file, second)
	expectLog(t, l, "open store s", "open noted a on s", "open noted b")
	held := third.Succeed(second).Fate("GET", "", "/x/")
	second.Close()
	expectLog(t, l, "close noted c")
	third.Close()
	expectLog(t, l, "close server ", "close noted b", "close noted a on s", "close store s")
	held.Release()
	expectLog(t, l, "close noted x", "close noted a on t", "close store t")
}

// A request that moves or is kept pins no plan: 200 stacks later the memory is what it was. It can still ask what
// stack is running, and is told of the one that is.
func TestOutlivingRequestsPinNoPlan(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds stacks of many overrides")
	}
	reg := testRegistry(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	text := func(n int) string {
		return fmt.Sprintf("servers: [http]\non_reload: keep\nvars: {n: %d}\nstack: [say]\nurls:\n  /ws/: {vars: {n: 0}}\n", n) + repeat(300, "  /page%[1]d/: {say: {text: t%[1]d}}\n")
	}
	write(t, file, text(0))
	prev := mustBuild(t, reg, file, nil)
	// What requests keep is what their handlers have: the request with its environ, and the chain.
	var outliving []func() inspect.Stack
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var begin uint64
	for n := 1; n <= 210; n++ {
		var held []func()
		for _, path := range []string{"/", "/ws/"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
			c := prev.chains.find(target{r.Method, r.Host, r.URL.Path})
			r = c.begin().Open(r)
			handler := c.handler
			outliving = append(outliving, func() inspect.Stack {
				runtime.KeepAlive(handler)
				return inspect.Key.Get(r)
			})
		}
		write(t, file, text(n))
		next := mustBuild(t, reg, file, prev)
		for i, path := range []string{"/", "/ws/"} {
			f := next.Succeed(prev).Fate(http.MethodGet, "example.com", path)
			if f.Stays != (i == 1) {
				t.Fatalf("%s: the fate is %+v", path, f)
			}
			if f.Release != nil {
				held = append(held, f.Release)
			}
		}
		prev.Close()
		prev = next
		if n == 10 {
			begin = heap()
		}
		t.Cleanup(func() {
			for _, release := range held {
				release()
			}
		})
	}
	end := heap()
	each := (float64(end) - float64(begin)) / float64(len(outliving)-20)
	t.Logf("the heap went from %d to %d KiB; %.1f KiB for each of %d requests", begin>>10, end>>10, each/1024, len(outliving))
	if each > 16<<10 {
		t.Errorf("each request keeps %.1f KiB, and a plan is some 300", each/1024)
	}
	for _, outlives := range outliving {
		if got := len(outlives().Outline().Overrides); got != 301 {
			t.Fatalf("it is told of a stack with %d overrides", got)
		}
		if e, err := outlives().Explain(http.MethodGet, "/x"); err != nil || e.Vars[0].Value != "210" {
			t.Fatalf("it is told %+v, %v; want the stack that runs", e.Vars, err)
		}
	}
	prev.Close()
}

// A plan that was refused after it was built isn't what outlives the old one.
func TestSuccessionAfterRefusal(t *testing.T) {
	reg := testRegistry(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [http]\nstack: [say]\n")
	old := mustBuild(t, reg, file, nil)
	refused := mustBuild(t, reg, file, old)
	refused.Close()
	next := mustBuild(t, reg, file, old)
	if f := next.Succeed(old).Fate("GET", "", "/"); !f.Stays || f.Release != nil {
		t.Errorf("the fate is %+v", f)
	}
	old.Close()
	if w := get(t, next, "GET", "/"); w.Code != http.StatusOK {
		t.Errorf("the status is %d", w.Code)
	}
	next.Close()
}

func BenchmarkFate(b *testing.B) {
	reg := testRegistry(b)
	file := filepath.Join(b.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte("servers: [http]\nstack: [say]\nurls:\n"+repeat(1000, "  /page%[1]d/: {say: {text: t%[1]d}}\n")), 0o600); err != nil {
		b.Fatal(err)
	}
	plan, _, err := Load(b.Context(), reg, file, Options{})
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	old, err := plan.Build(b.Context(), log, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer old.Close()
	next, err := plan.Build(b.Context(), log, old)
	if err != nil {
		b.Fatal(err)
	}
	defer next.Close()
	s := next.Succeed(old)
	b.ReportAllocs()
	for b.Loop() {
		s.Fate(http.MethodGet, "example.com", "/page500/x")
	}
}
