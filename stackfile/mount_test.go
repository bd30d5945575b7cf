package stackfile

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/session"
)

const (
	outerFile = `servers: [noted_server]
stack:
  - {use: noted, name: outer}
  - {use: stack, mount: in/stack.yaml}
urls:
  /x/: {stack: {prefix: /x}}
`
	innerFile = `stack:
  - {use: noted, name: a, store: {use: noted_store, name: one}}
  - {use: noted, as: other, name: b, file: users}
  - say
urls:
  /y/: {other: {name: c}}
`
)

// TestMountedInstances follows the instances of a mounted stack through reloads: those that stay the same are
// carried over, and what mounts them isn't when one of them or the file has changed.
func TestMountedInstances(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	dir := t.TempDir()
	outer, inner, users := filepath.Join(dir, "stack.yaml"), filepath.Join(dir, "in/stack.yaml"), filepath.Join(dir, "in/users")
	var last *Stack
	// The app is there twice, with and without the prefix, over the same instances.
	for _, step := range []struct {
		name, file, content string
		carried, all        int
		want                []string
	}{
		{"nothing before", inner, innerFile, 0, 9, []string{"open server ", "open noted outer", "open store one", "open noted a on one", "open noted b", "open noted c"}},
		{"the same", inner, innerFile, 9, 9, nil},
		{"a comment in the outer file", outer, "# note\n" + outerFile, 9, 9, nil},
		{"a comment in the inner file", inner, "# note\n" + innerFile, 7, 9, nil},
		{"a setting of the inner stack", inner, "# note\n" + strings.Replace(innerFile, "name: c", "name: c2", 1), 6, 9, []string{"open noted c2", "close noted c"}},
		{"a file that one depends on", users, "bob", 5, 9, []string{"open noted b", "open noted c2", "close noted b", "close noted c2"}},
		{"a store of the inner stack", inner, strings.Replace(innerFile, "name: one", "name: two", 1), 0, 9, nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			if last == nil {
				write(t, outer, outerFile)
				write(t, users, "ann")
			}
			write(t, step.file, step.content)
			next := mustBuild(t, reg, outer, last)
			if carried, all := carriedOf(next); step.name != "a store of the inner stack" && (carried != step.carried || all != step.all) {
				t.Errorf("carried over %d of %d, want %d of %d", carried, all, step.carried, step.all)
			}
			if last != nil {
				last.Close()
			}
			last = next
			got := l.take()
			slices.Sort(got)
			slices.Sort(step.want)
			if step.want != nil && !slices.Equal(got, step.want) || step.want == nil && step.carried > 0 && len(got) > 0 {
				t.Errorf("opened and closed were\n%q; want\n%q", got, step.want)
			}
			for path, noted := range map[string]string{"/": "outer a b", "/x/y": "outer a b"} {
				if w := get(t, next, "GET", path); strings.Join(w.Header()["Noted"], " ") != noted || !strings.HasPrefix(w.Body.String(), "hello") {
					t.Errorf("%s is answered with %q, %s; want %s", path, w.Header()["Noted"], w.Body, noted)
				}
			}
		})
	}
	last.Close()
	_ = os.Remove(users)
}

// whoKey is what a test hands down.
var whoKey = environ.NewInherited[string]("test who")

// TestMountedEnviron shows what a mounted stack takes over from the one around it, and what it doesn't.
func TestMountedEnviron(t *testing.T) {
	caught := 0
	reg, err := registry.New(append(
		corpus(),
		registry.Middleware[noSettings]{Name: "facts", Traits: providing(safe, session.Key), Build: func(*registry.Env, noSettings) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					whoKey.Set(r, "around")
					environ.User.Set(r, "ada")
					environ.RequestID.Set(r, "7")
					environ.Prefix.Set(r, "/p")
					session.Key.Set(r, noSession{})
					next.ServeHTTP(w, r)
					_, _ = fmt.Fprintf(w, " then %s %v", whoKey.Get(r), len(environ.Matched.Get(r).Slots))
				})
			}, nil
		}},
		registry.Middleware[sayConfig]{Name: "catch", Traits: providing(safe, failure.Key), Build: func(_ *registry.Env, c sayConfig) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					failure.Key.Set(r, catcher(func(f failure.Failure) { caught++; http.Error(w, c.Text+": "+f.Err.Error(), http.StatusBadGateway) }))
					next.ServeHTTP(w, r)
				})
			}, nil
		}},
		registry.App[noSettings]{Name: "tell", Traits: safe, Build: func(*registry.Env, noSettings) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, hasSession := session.Key.Lookup(r)
				_, _ = fmt.Fprintf(w, "%s %s%s %s %s session=%t vars=%v slots=%d patterns=%v", whoKey.Get(r), environ.Prefix.Get(r), r.URL.Path, environ.User.Get(r),
					environ.RequestID.Get(r), hasSession, environ.Vars.Get(r), len(environ.Matched.Get(r).Slots), environ.Matched.Get(r).Patterns)
				whoKey.Set(r, "within")
			}), nil
		}},
		registry.App[noSettings]{Name: "fail", Traits: safe, Build: func(*registry.Env, noSettings) (http.Handler, error) {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, io.ErrUnexpectedEOF) }), nil
		}},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, `servers: [http]
vars: {a: outer}
stack:
  - {use: catch, text: around}
  - {use: facts, off: true}
  - {use: stack, mount: {vars: {b: inner}, stack: [tell], urls: {/c: {vars: {b: c}}}}}
urls:
  /in/: {facts: on, stack: {prefix: /in}}
  /fail/: {stack: {mount: {stack: [fail]}}}
  /caught/: {stack: {mount: {stack: [{use: catch, text: within}, fail]}}}
  /none/: {catch: off, stack: {mount: {stack: [fail]}}}
`)
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	for _, tt := range []struct{ path, want string }{
		{"/in/b", "200 around /p/b ada 7 session=false vars=map[b:inner] slots=1 patterns=[] then around 3"},
		{"/in/c", "200 around /p/c ada 7 session=false vars=map[b:c] slots=1 patterns=[/c] then around 3"},
		{"/in/./c", "400 400 bad request: the path must not have \".\" or \"..\" in it\n"},
		{"/fail/", "502 around: unexpected EOF\n"},
		{"/caught/", "502 within: unexpected EOF\n"},
		{"/none/", "500 Internal Server Error\n"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			if w := get(t, s, "GET", tt.path); fmt.Sprintf("%d %s", w.Code, w.Body) != tt.want {
				t.Errorf("the answer is %d %s; want %s", w.Code, w.Body, tt.want)
			}
		})
	}
	if caught != 2 {
		t.Errorf("%d failures were caught, want 2", caught)
	}
}

type noSession struct{ session.Session }

type catcher func(failure.Failure)

func (c catcher) Fail(f failure.Failure) { c(f) }

// TestMountedFailsToBuild names the inner file, and the slot.
func TestMountedFailsToBuild(t *testing.T) {
	reg := notedRegistry(t, &ledger{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "stack.yaml"), outerFile)
	write(t, filepath.Join(dir, "in/stack.yaml"), strings.Replace(innerFile, "name: a", "name: a, fail: true", 1))
	_, err := build(t, reg, filepath.Join(dir, "stack.yaml"), nil)
	want := filepath.Join(dir, "in/stack.yaml") + `:2:5: noted: middleware "noted" can't be built: it was told to`
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestDependsOn names every file, and the folders in which another one would count.
func TestDependsOn(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"stack.yaml":      "extends: base/base.yaml\ninclude: [urls.d/*.yaml]\nvars: {x: '${file:x}'}\n",
		"x":               "x",
		"base/base.yaml":  "servers: [http]\nstack: [{use: stack, mount: ../in.yaml}]\n",
		"urls.d/one.yaml": "urls: {/a: {vars: {x: '${file:x}'}}}\n",
		"urls.d/x":        "x",
		"in.yaml":         "include: more.yaml\nstack: [say]\n",
		"more.yaml":       "urls: {/a: {vars: {x: y}}}\n",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	want := []string{"stack.yaml", "base/base.yaml", "in.yaml", "more.yaml", "urls.d", "urls.d/one.yaml", "urls.d/x", "x"}
	_, files, err := Load(t.Context(), testRegistry(t), filepath.Join(dir, "stack.yaml"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i], _ = filepath.Rel(dir, files[i])
	}
	if len(files) == 0 || files[0] != want[0] {
		t.Errorf("the first is not the stack file: %q", files)
	}
	slices.Sort(files)
	slices.Sort(want)
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What is missing may come.
	if err := os.Remove(filepath.Join(dir, "more.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, files, err := Load(t.Context(), testRegistry(t), filepath.Join(dir, "stack.yaml"), Options{}); err == nil || !slices.Contains(files, filepath.Join(dir, "more.yaml")) {
		t.Errorf("without more.yaml the error is %v, and the files are %q", err, files)
	}
}

// TestMountedCost bounds what stacks within stacks may cost.
func TestMountedCost(t *testing.T) {
	if underRace {
		t.Skip("the race detector has costs of its own; this runs without it")
	}
	mounts := "servers: [http]\nstack: [say]\nurls:\n" + repeat(80, "  /%[1]d/: {say: {use: stack, mount: in%[1]d.yaml}}\n")
	heavy := "stack: [say]\nurls:\n" + repeat(15_000, "  /%[1]d/: {say: {text: a}, vars: {x: %[1]d}}\n")
	cross := "stack: [say]\nurls:\n" + repeat(220, "  h%d/: {vars: {a: 1}}\n") + repeat(220, "  /%d/: {vars: {b: 1}}\n")
	for _, tt := range []struct{ name, content, want string }{
		{"many stacks", "stack: [say]\n", "more than 64 stacks are mounted"},
		{"much in each", heavy, "more than"},
		{"patterns that cross", cross, "overlap in more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "stack.yaml"), mounts)
			for i := range 80 {
				write(t, filepath.Join(dir, fmt.Sprintf("in%d.yaml", i)), tt.content)
			}
			peak := watchHeap()
			_, _, err := Load(t.Context(), testRegistry(t), filepath.Join(dir, "stack.yaml"), Options{})
			live := peak() >> 20
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %.300v; want %s", err, tt.want)
			}
			t.Logf("%d MiB", live)
			if live > 128 {
				t.Errorf("up to %d MiB were alive; it must be at most 128", live)
			}
		})
	}
}
