package stackfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

// life is what happens to one instance.
type life struct {
	name   string
	using  atomic.Int32
	closed atomic.Int32
	on     *life // the store that it refers to
}

// lives watches over all instances of a test.
type lives struct {
	t   *testing.T
	mu  sync.Mutex
	all []*life
}

// open begins a life, which must end once, not while in use, and before what it refers to.
func (l *lives) open(env *registry.Env, name string, on *life) *life {
	i := &life{name: name, on: on}
	env.OnClose(func() error {
		if n := i.using.Load(); n != 0 {
			l.t.Errorf("%s was closed while %d requests used it", i.name, n)
		}
		if i.on != nil && i.on.closed.Load() != 0 {
			l.t.Errorf("%s was closed after the store it is on", i.name)
		}
		if i.closed.Add(1) != 1 {
			l.t.Errorf("%s was closed twice", i.name)
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, i)
	return i
}

func (l *lives) count() (all, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.all {
		if i.closed.Load() == 0 {
			open++
		}
	}
	return len(l.all), open
}

type livingStore struct {
	session.Store
	life *life
}

func livesRegistry(t *testing.T, l *lives) *registry.Registry {
	t.Helper()
	blocking := registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking}
	prepare := func(env *registry.Env, c notedConfig) error {
		if c.File != "" {
			env.DependsOn(string(c.File))
		}
		if c.Fail {
			return errors.New("it was told to")
		}
		return nil
	}
	reg, err := registry.New(
		registry.Server[notedConfig]{Name: "server", Traits: blocking, Build: func(env *registry.Env, c notedConfig) (registry.ServeFunc, error) {
			l.open(env, "server "+c.Name, nil)
			return servesNothing(), prepare(env, c)
		}},
		registry.Store[notedConfig]{Name: "store", Traits: safe, Build: func(env *registry.Env, c notedConfig) (session.Store, error) {
			return livingStore{life: l.open(env, "store "+c.Name, nil)}, prepare(env, c)
		}},
		registry.Middleware[notedConfig]{Name: "wrap", Default: notedConfig{Store: registry.Use[session.Store]("store")}, Traits: safe, Build: func(env *registry.Env, c notedConfig) (registry.Wrap, error) {
			i := l.open(env, "wrap "+c.Name, c.Store.Get().(livingStore).life)
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					i.using.Add(1)
					defer i.using.Add(-1)
					if i.closed.Load() != 0 || i.on.closed.Load() != 0 {
						l.t.Errorf("a request used %s after it was closed", i.name)
					}
					next.ServeHTTP(w, r)
				})
			}, prepare(env, c)
		}},
		registry.App[notedConfig]{Name: "answer", Traits: safe, Build: func(env *registry.Env, c notedConfig) (http.Handler, error) {
			i := l.open(env, "answer "+c.Name, nil)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				i.using.Add(1)
				defer i.using.Add(-1)
				_, _ = fmt.Fprint(w, c.Name)
				if r.Header.Get("Stream") != "" {
					<-r.Context().Done()
				}
			}), prepare(env, c)
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// generation is a stack with the requests that use it.
type generation struct {
	stack    *Stack
	requests sync.WaitGroup
}

// underway is a request that uses a stack, or what it holds of one.
type underway struct {
	path    string
	in      *generation // nil for one that is kept
	release func()
	end     context.CancelFunc
}

// pass lets the requests of a generation stay or be kept, as the next one has it, and ends those that are to close.
func pass(all map[*underway]bool, was, next *generation) (stayed, kept, closed int) {
	s := next.stack.Succeed(was.stack)
	for u := range all {
		if u.in != was {
			continue
		}
		f := s.Fate(http.MethodGet, "example.com", u.path)
		switch {
		case f.Stays:
			stayed++
			next.requests.Add(1)
			u.in = next
		case f.OnReload == OnReloadKeep:
			kept++
			u.in = nil
		default:
			if f.OnReload == OnReloadClose {
				closed++
				u.end()
			}
			continue
		}
		was.requests.Done()
		switch {
		case u.release == nil:
			u.release = f.Release
		case f.Release != nil:
			f.Release()
		}
	}
	return stayed, kept, closed
}

// TestReloads edits a stack file at random 200 times, and what it depends on, while requests
// run, short ones and such as outlast some reloads. Some builds fail. The stack before is closed by a goroutine of its own
// after its last request, often while the next ones are built; requests that stay or are kept use its instances still.
func TestReloads(t *testing.T) {
	l := &lives{t: t}
	reg := livesRegistry(t, l)
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	random := rand.New(rand.NewPCG(11, 12)) // for the files, which are the same in each run
	chance := rand.New(rand.NewPCG(13, 14))
	log := slog.New(slog.DiscardHandler)

	var (
		mu      sync.Mutex
		current *generation
		stop    = make(chan struct{})
		clients sync.WaitGroup
		closers sync.WaitGroup
		served  atomic.Int64
		all     = make(map[*underway]bool)
		streams sync.WaitGroup
	)
	begin := func(path string) (*underway, *Stack, context.Context) {
		ctx, end := context.WithCancel(t.Context())
		mu.Lock()
		defer mu.Unlock()
		u := &underway{path: path, in: current, end: end}
		u.in.requests.Add(1)
		all[u] = true
		return u, current.stack, ctx
	}
	ask := func(u *underway, stack *Stack, ctx context.Context, stream string) {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, u.path, nil)
		r.Header.Set("Stream", stream)
		stack.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("%s: the status is %d", u.path, w.Code)
		}
		served.Add(1)
		u.end()
		mu.Lock()
		delete(all, u)
		in, release := u.in, u.release
		mu.Unlock()
		if release != nil {
			release()
		}
		if in != nil {
			in.requests.Done()
		}
	}
	retire := func(g *generation) {
		closers.Go(func() {
			g.requests.Wait()
			g.stack.Close()
		})
	}
	// parts of the file, of which some are thrown anew each time.
	name := func() string { return fmt.Sprint("n", random.IntN(3)) }
	wrapped := func(n int) func() string {
		return func() string {
			file := []string{"", "", fmt.Sprint(", file: dep", random.IntN(2))}[random.IntN(3)]
			return fmt.Sprintf("  - {use: wrap, as: w%d, name: %s, store: {name: %s}%s}\n", n, name(), name(), file)
		}
	}
	override := func(path string) func() string {
		return func() string {
			return fmt.Sprintf("  %s: {w%d: {name: %s}, w2: %s}\n", path, random.IntN(2), name(), []string{"on", "off"}[random.IntN(2)])
		}
	}
	throws := []func() string{
		func() string { return fmt.Sprintf("servers: [{use: server, name: %s}]\n", name()) },
		func() string { return fmt.Sprintf("on_reload: %s\nstack:\n", OnReloads()[random.IntN(3)]) },
		wrapped(0), wrapped(1), wrapped(2),
		func() string {
			return fmt.Sprintf("  - {use: answer, name: %s, fail: %t}\nurls:\n", name(), random.IntN(5) == 0)
		},
		override("/a/"), override("/a/b/"), override("/c"),
	}
	parts := make([]string, len(throws))
	for i, throw := range throws {
		parts[i] = throw()
	}
	text := func() string {
		for range 1 + random.IntN(3) {
			i := random.IntN(len(parts))
			parts[i] = throws[i]()
		}
		return strings.Join(parts, "")
	}
	built, failed, carried, stayed, kept, closed := 0, 0, 0, 0, 0, 0
	for range 200 {
		write(t, file, text())
		if random.IntN(10) == 0 {
			write(t, filepath.Join(dir, fmt.Sprint("dep", random.IntN(2))), fmt.Sprint(random.IntN(3)))
		}
		plan, _, err := Load(t.Context(), reg, file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var prev *Stack
		if current != nil {
			prev = current.stack
		}
		next, err := plan.Build(t.Context(), log, prev)
		if err != nil {
			if failed++; !strings.Contains(err.Error(), "it was told to") {
				t.Fatal(err)
			}
			continue
		}
		built++
		n, _ := carriedOf(next)
		carried += n
		mu.Lock()
		was := current
		current = &generation{stack: next}
		var ends []*underway
		if was != nil {
			s, k, c := pass(all, was, current)
			stayed, kept, closed = stayed+s, kept+k, closed+c
			for u := range all {
				if chance.IntN(4) == 0 {
					ends = append(ends, u)
				}
			}
		}
		mu.Unlock()
		for range 3 {
			u, stack, ctx := begin([]string{"/", "/a/x", "/a/b/x", "/c"}[chance.IntN(4)])
			streams.Go(func() { ask(u, stack, ctx, "yes") })
		}
		if was != nil {
			retire(was)
			for _, u := range ends {
				u.end()
			}
			continue
		}
		for n := range 4 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						u, stack, ctx := begin([]string{"/", "/a/x", "/a/b/x", "/c"}[n])
						ask(u, stack, ctx, "")
					}
				}
			})
		}
	}
	mu.Lock()
	for u := range all {
		u.end()
	}
	mu.Unlock()
	streams.Wait()
	close(stop)
	clients.Wait() // one of theirs may be kept, and holds what it uses
	// What is open is what the last stack holds: nothing of the failed ones, nor of those before.
	closers.Wait()
	_, held := carriedOf(current.stack)
	if _, open := l.count(); open != held {
		t.Errorf("%d instances are open, and the stack has %d", open, held)
	}
	retire(current)
	closers.Wait()
	made, open := l.count()
	if open != 0 {
		t.Errorf("%d of %d instances were never closed", open, made)
	}
	t.Logf("%d stacks built, %d failed; %d instances made and %d carried over; %d requests; of those under way %d stayed, %d were kept and %d closed",
		built, failed, made, carried, served.Load(), stayed, kept, closed)
	if built < 50 || failed < 10 || carried < 100 || served.Load() < 100 || stayed < 10 || kept < 10 || closed < 10 {
		t.Error("the test must see more")
	}
}

// A stack is closed by another goroutine while the next is built of it: whatever was taken over
// is open, and what wasn't is built anew.
func TestBuildWhilePreviousCloses(t *testing.T) {
	l := &lives{t: t}
	reg := livesRegistry(t, l)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	write(t, file, "servers: [server]\nstack:\n"+repeat(30, "  - {use: wrap, as: w%[1]d, name: n%[1]d, store: {name: s%[1]d}}\n")+"  - answer\n")
	plan, _, err := Load(t.Context(), reg, file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	prev, err := plan.Build(t.Context(), log, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var closing sync.WaitGroup
		was := prev
		closing.Go(was.Close)
		next, err := plan.Build(t.Context(), log, was)
		if err != nil {
			t.Fatal(err)
		}
		closing.Wait()
		if w := get(t, next, "GET", "/"); w.Code != http.StatusOK {
			t.Errorf("the status is %d", w.Code)
		}
		prev = next
	}
	prev.Close()
	if all, open := l.count(); open != 0 {
		t.Errorf("%d of %d instances were never closed", open, all)
	}
}

// What changes between the moment when Build named a file and that when it read it is
// noticed by the next build.
func TestDependencyChangesWhileBuilding(t *testing.T) {
	dir := t.TempDir()
	file, users := filepath.Join(dir, "stack.yaml"), filepath.Join(dir, "users")
	builds := 0
	server := registry.Server[noSettings]{Name: "idle", Traits: safe, Build: func(*registry.Env, noSettings) (registry.ServeFunc, error) { return servesNothing(), nil }}
	reader := registry.Middleware[notedConfig]{Name: "reader", Traits: safe, Build: func(env *registry.Env, c notedConfig) (registry.Wrap, error) {
		env.DependsOn(string(c.File))
		_, err := os.ReadFile(string(c.File))
		if builds++; builds == 1 {
			write(t, users, "ann\nbob")
		}
		return func(next http.Handler) http.Handler { return next }, err
	}}
	reg, err := registry.New(append(corpus(), server, reader)...)
	if err != nil {
		t.Fatal(err)
	}
	write(t, users, "ann")
	write(t, file, "servers: [idle]\nstack: [{use: reader, file: users}, say]\n")
	first := mustBuild(t, reg, file, nil)
	for _, want := range []int{2, 2} { // once for the change, and then no more
		next := mustBuild(t, reg, file, first)
		first.Close()
		first = next
		if builds != want {
			t.Errorf("it was built %d times, want %d", builds, want)
		}
	}
	first.Close()
}
