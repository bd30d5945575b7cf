package stackfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/session"
)

// ledger notes what is opened and closed, in order.
type ledger struct {
	mu    sync.Mutex
	lines []string
}

func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// take returns the lines since the last call.
func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.lines
	l.lines = nil
	return taken
}

type notedConfig struct {
	Name  string                      `yaml:"name"`
	File  registry.Path               `yaml:"file"`
	Fail  bool                        `yaml:"fail"`
	Store registry.Ref[session.Store] `yaml:"store"`
}

type notedStore struct {
	session.Store
	name string
}

// notedRegistry has components that write what happens to them into l.
func notedRegistry(t *testing.T, l *ledger) *registry.Registry {
	t.Helper()
	open := func(env *registry.Env, what string, c notedConfig) error {
		l.note("open %s", what)
		env.OnClose(func() error { l.note("close %s", what); return nil })
		if c.File != "" {
			env.DependsOn(string(c.File))
		}
		if c.Fail {
			return errors.New("it was told to")
		}
		return nil
	}
	reg, err := registry.New(append(corpus(),
		registry.Store[notedConfig]{Name: "noted_store", Traits: safe, Build: func(env *registry.Env, c notedConfig) (session.Store, error) {
			return notedStore{name: c.Name}, open(env, "store "+c.Name, c)
		}},
		registry.Middleware[notedConfig]{Name: "noted", Traits: safe, Build: func(env *registry.Env, c notedConfig) (registry.Wrap, error) {
			what := "noted " + c.Name
			if !c.Store.IsZero() {
				what += " on " + c.Store.Get().(notedStore).name
			}
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Add("Noted", c.Name)
					next.ServeHTTP(w, r)
				})
			}, open(env, what, c)
		}},
		registry.Server[notedConfig]{Name: "noted_server", Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking}, Build: func(env *registry.Env, c notedConfig) (registry.ServeFunc, error) {
			return servesNothing(), open(env, "server "+c.Name, c)
		}},
		registry.App[notedConfig]{Name: "failing", Traits: safe, Build: func(*registry.Env, notedConfig) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/late" {
					_, _ = io.WriteString(w, "half a page")
				}
				if r.URL.Path == "/answered" {
					failure.Note(r, errors.New("no luck"))
					_, _ = io.WriteString(w, "an answer")
					return
				}
				failure.Report(r, failure.WithStatus(errors.New("no luck"), http.StatusBadGateway))
			}), nil
		}},
	)...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// servesNothing is a server that serves nothing: these tests ask the handler.
func servesNothing() registry.ServeFunc {
	return func(context.Context, net.Listener, http.Handler) error { return nil }
}

func build(t *testing.T, reg *registry.Registry, file string, prev *Stack) (*Stack, error) {
	t.Helper()
	plan, _, err := Load(t.Context(), reg, file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Build(t.Context(), slog.New(slog.DiscardHandler), prev)
}

func mustBuild(t *testing.T, reg *registry.Registry, file string, prev *Stack) *Stack {
	t.Helper()
	s, err := build(t, reg, file, prev)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expectLog(t *testing.T, l *ledger, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, l.take(), cmp.Transformer("none", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Fatalf("what was opened and closed: -want +got:\n%s", diff)
	}
}

const notedStack = `servers: [{use: noted_server, name: s}]
stack:
  - {use: noted, name: a, store: {use: noted_store, name: one}}
  - {use: noted, as: other, name: b}
  - say
`

func TestInstancesAreShared(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, notedStack+`urls:
  /x/: {other: {name: c}}
  /y/: {other: off}
  /z/: {noted: {name: d}}
`)
	s := mustBuild(t, reg, file, nil)
	expectLog(t, l, "open store one", "open noted a on one", "open noted b", "open noted c", "open noted d on one", "open server s")
	s.Close()
	s.Close()
	expectLog(t, l, "close server s", "close noted d on one", "close noted c", "close noted b", "close noted a on one", "close store one")
}

func TestInstancesAreCarriedOver(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	write(t, filepath.Join(dir, "users"), "ann")

	write(t, file, notedStack)
	first := mustBuild(t, reg, file, nil)
	expectLog(t, l, "open store one", "open noted a on one", "open noted b", "open server s")

	write(t, file, strings.Replace(notedStack, "name: b", "name: b2, file: users", 1))
	second := mustBuild(t, reg, file, first)
	expectLog(t, l, "open noted b2")
	first.Close()
	expectLog(t, l, "close noted b")
	if carried, all := carriedOf(second); carried != 4 || all != 5 {
		t.Errorf("carried over %d of %d, want 4 of 5", carried, all)
	}
	if first.Servers[0].ID != second.Servers[0].ID {
		t.Error("the server was carried over, but its ID differs")
	}

	third := mustBuild(t, reg, file, second)
	expectLog(t, l)
	second.Close()
	expectLog(t, l)

	write(t, filepath.Join(dir, "users"), "ann\nbob")
	if got := third.Depends(); !slices.Equal(got, []string{filepath.Join(dir, "users")}) {
		t.Errorf("the stack depends on %q", got)
	}
	fourth := mustBuild(t, reg, file, third)
	expectLog(t, l, "open noted b2")
	third.Close()
	expectLog(t, l, "close noted b2")

	// What a changed store is under is built anew, too.
	write(t, file, strings.Replace(notedStack, "name: one", "name: two", 1))
	fifth := mustBuild(t, reg, file, fourth)
	expectLog(t, l, "open store two", "open noted a on two", "open noted b")
	fourth.Close()
	expectLog(t, l, "close noted b2", "close noted a on one", "close store one")
	fifth.Close()
	expectLog(t, l, "close server s", "close noted b", "close noted a on two", "close store two")
}

func TestFailedBuildClosesOnlyWhatIsNew(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, notedStack)
	first := mustBuild(t, reg, file, nil)
	l.take()
	write(t, file, strings.NewReplacer("name: b", "name: b, fail: true", "name: a,", "name: a2,").Replace(notedStack))
	_, err := build(t, reg, file, first)
	want := file + `:4:5: other: middleware "noted" can't be built: it was told to`
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	expectLog(t, l, "open noted a2 on one", "open noted b", "close noted b", "close noted a2 on one")
	first.Close()
	expectLog(t, l, "close server s", "close noted b", "close noted a on one", "close store one")
}

func TestBuildDeadline(t *testing.T) {
	begun, release, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	reg, err := registry.New(append(corpus(), registry.Middleware[noSettings]{Name: "slow", Traits: safe, Build: func(env *registry.Env, _ noSettings) (registry.Wrap, error) {
		env.OnClose(func() error { close(closed); return nil })
		close(begun)
		<-release
		return func(next http.Handler) http.Handler { return next }, nil
	}})...)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [http]\nstack: [slow, say]\n")
	plan, _, err := Load(t.Context(), reg, file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		cancel(errors.New("the time is over"))
	}()
	_, err = plan.Build(ctx, slog.New(slog.DiscardHandler), nil)
	if err == nil || !strings.Contains(err.Error(), "waiting for slow (middleware slow): the time is over") {
		t.Errorf("the error is %v; it must say why", err)
	}
	close(release)
	<-closed // what came too late is closed nevertheless
}

func get(t *testing.T, h http.Handler, method, url string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, url, nil))
	return w
}

func TestChains(t *testing.T) {
	reg := notedRegistry(t, &ledger{})
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, `servers: [noted_server]
vars: {theme: light}
stack:
  - {use: noted, name: a}
  - {use: noted, as: inner, name: b}
  - say
urls:
  /admin/: {vars: {theme: dark}, inner: {name: c}}
  /admin/plain: {noted: off}
  "POST /": {say: {text: posted}}
  "*.example.org/": {noted: off, inner: off}
`)
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	for _, tt := range []struct {
		method, url, body string
		noted             []string
	}{
		{"GET", "/", "hello light", []string{"a", "b"}},
		{"GET", "/admin", "hello light", []string{"a", "b"}},
		{"GET", "/admin/", "hello dark", []string{"a", "c"}},
		{"GET", "/admin/x/y", "hello dark", []string{"a", "c"}},
		{"GET", "/%61dmin/plain", "hello dark", []string{"c"}},
		{"GET", "http://example.org//admin/x", "hello dark", []string{"a", "c"}},
		{"GET", "/admin//plain", "hello dark", []string{"c"}},
		{"POST", "/x", "posted light", []string{"a", "b"}},
		{"POST", "/admin/x", "posted dark", []string{"a", "c"}},
		{"GET", "http://a.b.example.org:80/", "hello light", nil},
	} {
		t.Run(tt.method+" "+tt.url, func(t *testing.T) {
			w := get(t, s, tt.method, tt.url)
			if w.Body.String() != tt.body || !slices.Equal(w.Header()["Noted"], tt.noted) {
				t.Errorf("got %q through %q, want %q through %q", w.Body, w.Header()["Noted"], tt.body, tt.noted)
			}
		})
	}
}

func TestPathsThatGoRoundOverrides(t *testing.T) {
	reg := notedRegistry(t, &ledger{})
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [noted_server]\nstack: [say]\n")
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	for path, status := range map[string]int{
		"/":             200,
		"/...":          200,
		"/.well-known/": 200,
		"/a//b":         200,
		"/a/../b":       400,
		"/..":           400,
		"/%2e%2e/b":     400,
		"/a/%2E":        400,
		"/a/./b":        400,
		"/a%00b":        400,
		"/a%0ab":        400,
	} {
		t.Run(path, func(t *testing.T) {
			if w := get(t, s, "GET", path); w.Code != status {
				t.Errorf("the status is %d, want %d: %s", w.Code, status, w.Body)
			}
		})
	}
}

func TestFailureWithoutCatcher(t *testing.T) {
	reg := notedRegistry(t, &ledger{})
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [noted_server]\nstack: [failing]\n")
	s := mustBuild(t, reg, file, nil)
	defer s.Close()
	if w := get(t, s, "GET", "/"); w.Code != http.StatusBadGateway {
		t.Errorf("the status is %d, want that of the error", w.Code)
	}
	if w := get(t, s, "GET", "/answered"); w.Code != http.StatusOK || w.Body.String() != "an answer" {
		t.Errorf("what the app answers by itself is %d %q", w.Code, w.Body)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	r, err := http.Get(server.URL + "/late")
	if err == nil {
		defer r.Body.Close()
		_, err = io.ReadAll(r.Body)
	}
	if err == nil {
		t.Error("half a page was taken for a whole one")
	}
}

// The same plan is built twice, and instances don't share what they may change.
func TestPlanIsReusable(t *testing.T) {
	l := &ledger{}
	reg := notedRegistry(t, l)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, notedStack)
	plan, files, err := Load(t.Context(), reg, file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(files, []string{file}) {
		t.Errorf("the load depended on %q", files)
	}
	log := slog.New(slog.DiscardHandler)
	a, errA := plan.Build(t.Context(), log, nil)
	b, errB := plan.Build(t.Context(), log, nil)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Close()
	if lines := l.take(); len(lines) != 16 {
		t.Errorf("two stacks of four noted instances opened and closed %d times: %q", len(lines), lines)
	}
}

// bigFile writes a stack file with n overrides, of many kinds.
func bigFile(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("servers: [http]\nvars: {theme: light}\nstack:\n  - errors\n  - session\n  - {use: tag, text: a}\n  - {use: site, root: www}\nurls:\n")
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "  /area%d/:\n    session: {lifetime: %dm}\n    vars: {theme: dark}\n", i, i%50+1)
		case 1:
			fmt.Fprintf(&b, "  /area%d/sub/: {tag: {text: t%d}}\n", i-1, i)
		case 2:
			fmt.Fprintf(&b, "  \"POST /area%d/{id}\": {site: {max_size: %dMiB}}\n", i-2, i%100+1)
		case 3:
			fmt.Fprintf(&b, "  host%d.example.org/area%d/: {session: off}\n", i%20, i)
		default:
			fmt.Fprintf(&b, "  /file%d.html: {tag: off, vars: {title: %d}}\n", i, i)
		}
	}
	file := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// BenchmarkCheck tells how the cost of a check grows, and how much memory is alive at once.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1000, 3000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			file, reg := bigFile(b, n), testRegistry(b)
			peak := watchHeap()
			found, err := Check(b.Context(), reg, file, Options{}, false)
			if err != nil || len(found) > 0 {
				b.Fatalf("the file is not as it should be: %v, %v", err, found)
			}
			live := peak()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(b.Context(), reg, file, Options{}, false); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(live)/1e6, "MB-alive")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/override")
		})
	}
}

// BenchmarkExplain explains URLs of a stack with 10,000 overrides.
func BenchmarkExplain(b *testing.B) {
	plan, _, err := Load(b.Context(), testRegistry(b), bigFile(b, 10_000), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if plan.Explain("POST", "host3.example.org", fmt.Sprintf("/area%d/sub/x", i%2000*5)).String() == "" {
			b.Fatal("nothing is explained")
		}
		i++
	}
}

// BenchmarkCheckCross checks a file in which each of 200 hosts crosses each of 800 paths.
func BenchmarkCheckCross(b *testing.B) {
	file, reg := filepath.Join(b.TempDir(), "stack.yaml"), testRegistry(b)
	write(b, file, "servers: [http]\nstack:\n  - errors\n  - session\n  - {use: tag, text: a}\n  - {use: site, root: www}\nurls:\n"+
		repeat(200, "  host%[1]d.example.org/: {vars: {host: %[1]d}, site: {root: www%[1]d}}\n")+repeat(800, "  /area%[1]d/: {session: {lifetime: %[1]dm}}\n")[len("  /area0/: {session: {lifetime: 0m}}\n"):])
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Load(b.Context(), reg, file, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
