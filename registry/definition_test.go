package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

// opens defines an app with that Build.
func opens(t *testing.T, build func(env *registry.Env, cfg none) (http.Handler, error)) *registry.Definition {
	t.Helper()
	c := named[none, http.Handler]("probe")
	c.Build = build
	r, err := registry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r.All()[0]
}

// record notes what was done, in order.
type record struct {
	mu    sync.Mutex
	steps []string
}

func (r *record) add(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, step)
}

// frees returns an OnClose function that notes itself and whether the context had ended.
func (r *record) frees(env *registry.Env, name string, err error) func() error {
	return func() error {
		if env.Context().Err() == nil {
			name += " before the context ended"
		}
		r.add(name)
		return err
	}
}

func TestOpen(t *testing.T) {
	errFree := errors.New("can't be freed")
	errBuild := errors.New("can't be built")
	for _, test := range []struct {
		name  string
		build func(r *record, env *registry.Env) (http.Handler, error)
		err   []string // of Open
		close error    // of Close, when Open succeeds
		want  []string // what was freed when all is over
	}{
		{name: "success", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.OnClose(r.frees(env, "second", nil))
			return http.NotFoundHandler(), nil
		}, want: []string{"second", "first"}},
		{name: "nothing opened", build: func(*record, *registry.Env) (http.Handler, error) {
			return http.NotFoundHandler(), nil
		}},
		{name: "failed build", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.OnClose(r.frees(env, "second", errFree))
			return nil, errBuild
		}, err: []string{"can't be built", "can't be freed"}, want: []string{"second", "first"}},
		{name: "panicking build", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.OnClose(r.frees(env, "second", nil))
			panic("boom")
		}, err: []string{"panic: boom", "definition_test.go"}, want: []string{"second", "first"}},
		{name: "product is nil", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			return nil, nil
		}, err: []string{"it built nothing"}, want: []string{"first"}},
		{name: "product is a nil function", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			return http.HandlerFunc(nil), nil
		}, err: []string{"it built nothing"}, want: []string{"first"}},
		{name: "one that fails to close", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.OnClose(r.frees(env, "second", errFree))
			env.OnClose(r.frees(env, "third", nil))
			return http.NotFoundHandler(), nil
		}, close: errFree, want: []string{"third", "second", "first"}},
		{name: "goroutine", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.Go(func(ctx context.Context) {
				<-ctx.Done()
				r.add("its end")
			})
			return http.NotFoundHandler(), nil
		}, want: []string{"its end", "first"}},
		{name: "goroutine of a failed build", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", nil))
			env.Go(func(ctx context.Context) {
				<-ctx.Done()
				r.add("its end")
			})
			return nil, errBuild
		}, err: []string{"can't be built"}, want: []string{"its end", "first"}},
		{name: "one that panics when it is closed", build: func(r *record, env *registry.Env) (http.Handler, error) {
			env.OnClose(r.frees(env, "first", errFree))
			env.OnClose(func() error { panic("boom") })
			return http.NotFoundHandler(), nil
		}, close: errFree, want: []string{"first"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r record
			d := opens(t, func(env *registry.Env, _ none) (http.Handler, error) { return test.build(&r, env) })
			i, err := d.Open(t.Context(), d.Default(), slog.New(slog.DiscardHandler))
			if (err != nil) != (test.err != nil) {
				t.Fatalf("Open: got the error %v, want %q", err, test.err)
			}
			for _, want := range test.err {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open: got the error %v, want it to say %q", err, want)
				}
			}
			if err == nil {
				if len(r.steps) > 0 {
					t.Errorf("before Close %q were freed", r.steps)
				}
				if err := i.Close(); !errors.Is(err, test.close) {
					t.Errorf("Close: got %v, want %v", err, test.close)
				}
				if err := i.Close(); err != nil {
					t.Errorf("second Close: got %v", err)
				}
			}
			if diff := cmp.Diff(test.want, r.steps); diff != "" {
				t.Errorf("freed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenKeepsBuildError(t *testing.T) {
	want := errors.New("can't be built")
	d := opens(t, func(*registry.Env, none) (http.Handler, error) { return nil, want })
	if _, err := d.Open(t.Context(), d.Default(), slog.New(slog.DiscardHandler)); !errors.Is(err, want) {
		t.Errorf("Open: got %v, want one that wraps %v", err, want)
	}
}

func TestEnv(t *testing.T) {
	var log bytes.Buffer
	var env *registry.Env
	d := opens(t, func(e *registry.Env, _ none) (http.Handler, error) {
		env = e
		e.Logger().Info("building")
		for _, path := range []string{"/srv/site", "/etc/users", "/srv/site"} {
			e.DependsOn(path)
		}
		return http.NotFoundHandler(), nil
	})
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	defer cancel()
	i, err := d.Open(ctx, d.Default(), slog.New(slog.NewTextHandler(&log, nil)).With("component", "probe"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "msg=building component=probe") {
		t.Errorf("Logger wrote %q", log.String())
	}
	want := []string{"/srv/site", "/etc/users"}
	if diff := cmp.Diff(want, i.Depends()); diff != "" {
		t.Errorf("Depends (-want +got):\n%s", diff)
	}
	i.Depends()[0] = "changed"
	if diff := cmp.Diff(want, i.Depends()); diff != "" {
		t.Errorf("Depends, after the caller changed what it had got (-want +got):\n%s", diff)
	}
	if got := env.Context().Value(key{}); got != "value" || env.Context().Err() != nil {
		t.Errorf("Context: got the value %v and the error %v", got, env.Context().Err())
	}

	// The owner stops the instance without closing it.
	var r record
	env.OnClose(r.frees(env, "first", nil))
	cancel()
	if env.Context().Err() == nil {
		t.Error("Context goes on though that given to Open ended")
	}
	if len(r.steps) > 0 {
		t.Errorf("the end of the context freed %q", r.steps)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"first"}, r.steps); diff != "" {
		t.Errorf("freed (-want +got):\n%s", diff)
	}
	if got := caught(func() { env.OnClose(func() error { return nil }) }); got != "registry: OnClose after the instance was closed" {
		t.Errorf("OnClose of a closed instance panics with %v", got)
	}
}

func TestEnvIsSafeForConcurrentUse(t *testing.T) {
	var r record
	d := opens(t, func(env *registry.Env, _ none) (http.Handler, error) {
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				env.OnClose(r.frees(env, "free", nil))
				env.DependsOn(fmt.Sprintf("/%d", n))
			})
		}
		wg.Wait()
		return http.NotFoundHandler(), nil
	})
	i, err := d.Open(t.Context(), d.Default(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(i.Depends()); n != 50 {
		t.Errorf("Depends: %d paths, want 50", n)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := i.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(r.steps); n != 50 {
		t.Errorf("%d were freed, want 50", n)
	}
}

// shared has settings that a copy could share.
type shared struct {
	Names  []string            `yaml:"names"`
	Lists  map[string][]string `yaml:"lists"`
	Inside struct {
		Counts []map[string]int `yaml:"counts"`
	} `yaml:"inside"`
	Empty []string                    `yaml:"empty"`
	None  []string                    `yaml:"none"`
	Key   registry.Secret             `yaml:"key"`
	Store registry.Ref[session.Store] `yaml:"store"`
}

func newShared() shared {
	s := shared{
		Names: []string{"a", "b"}, Lists: map[string][]string{"x": {"y"}}, Empty: []string{},
		Key: registry.NewSecret("tiger"), Store: registry.Use[session.Store]("memory"),
	}
	s.Inside.Counts = []map[string]int{{"a": 1}}
	return s
}

func TestDefaultIsACopy(t *testing.T) {
	d := define(t, newShared())
	first := d.Default().(*shared)
	if !reflect.DeepEqual(*first, newShared()) {
		t.Errorf("Default: got %+v, want %+v", *first, newShared())
	}
	first.Names[0] = "changed"
	first.Lists["x"][0] = "changed"
	first.Lists["new"] = nil
	first.Inside.Counts[0]["a"] = 2
	first.Store.Choose("redis")
	if second := d.Default().(*shared); !reflect.DeepEqual(*second, newShared()) {
		t.Errorf("Default, after a copy was changed: got %+v, want %+v", *second, newShared())
	}
}

func TestInstancesGetTheirSettings(t *testing.T) {
	c := named[shared, http.Handler]("probe")
	c.Default = newShared()
	var got shared
	c.Build = func(_ *registry.Env, cfg shared) (http.Handler, error) {
		got = cfg
		return http.NotFoundHandler(), nil
	}
	r, err := registry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	d := r.All()[0]
	if d.Package != "github.com/stackd/stackd/registry_test" || d.Summary() != "process-safe, non-blocking" {
		t.Errorf("Package: got %q; Summary: got %q", d.Package, d.Summary())
	}
	cfg := d.Default().(*shared)
	cfg.Names = []string{"mine"}
	i, err := d.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, ok := i.Product.(http.Handler); !ok {
		t.Errorf("Product is a %T", i.Product)
	}
	if diff := cmp.Diff([]string{"mine"}, got.Names); diff != "" {
		t.Errorf("Build got the names (-want +got):\n%s", diff)
	}
}

// persistent says a trait by its settings.
type persistent struct {
	Path registry.Path `yaml:"path"`
}

func (p persistent) Traits(t registry.Traits) registry.Traits {
	if p.Path == "" {
		t.Processes = registry.SingleProcess
	}
	return t
}

func TestTraitsOfSettings(t *testing.T) {
	d := define(t, persistent{Path: "sessions.db"})
	if got := d.Traits(d.Default()).Processes; got != registry.ProcessSafe {
		t.Errorf("Traits of the defaults: got %v", got)
	}
	if got := d.Traits(&persistent{}).Processes; got != registry.SingleProcess {
		t.Errorf("Traits of other settings: got %v", got)
	}
	if d := define(t, none{}); d.Traits(d.Default()).Calls != registry.NonBlocking {
		t.Error("Traits of settings without such a method aren't the declared ones")
	}
}

// referring has references in every place where one can stand.
type referring struct {
	One    registry.Ref[session.Store] `yaml:"one"`
	Unset  registry.Ref[session.Store] `yaml:"unset"`
	Inside struct {
		Two registry.Ref[registry.ServeFunc] `yaml:"two"`
	} `yaml:"inside"`
	List []registry.Ref[session.Store]          `yaml:"list"`
	Map  map[string]registry.Ref[session.Store] `yaml:"map"`
}

func newReferring() referring {
	r := referring{
		One:  registry.Use[session.Store]("memory"),
		List: []registry.Ref[session.Store]{registry.Use[session.Store]("a"), {}, registry.Use[session.Store]("b")},
		Map: map[string]registry.Ref[session.Store]{
			".md": registry.Use[session.Store]("m"), ".a": registry.Use[session.Store]("n"), "": {},
		},
	}
	r.Inside.Two = registry.Use[registry.ServeFunc]("http")
	return r
}

// nowhere is a store of which only the identity matters.
type nowhere struct {
	session.Store
	path string
}

func TestReferences(t *testing.T) {
	d := define(t, newReferring())
	var got []string
	cfg := d.Default()
	err := d.References(cfg, func(path string, ref registry.Reference) error {
		got = append(got, fmt.Sprintf("%s: %s %s", path, ref.Kind(), ref.Name()))
		ref.Choose("other") // a loader does so in place, in maps too
		return fmt.Errorf("about %s", path)
	})
	want := []string{
		"one: store memory", "inside.two: server http", "list[0]: store a", "list[2]: store b", "map[.a]: store n", "map[.md]: store m",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("References (-want +got):\n%s", diff)
	}
	if err == nil || strings.Count(err.Error(), "about ") != len(want) {
		t.Errorf("References: got the error %v, want that of each call", err)
	}
	if name := cfg.(*referring).Map[".md"].Name(); name != "other" {
		t.Errorf("the reference in a map is to %q after Choose(other)", name)
	}
}

func TestBind(t *testing.T) {
	d := define(t, newReferring())
	cfg := d.Default()
	bound := d.Bind(cfg, func(path string) any {
		if path == "inside.two" {
			return registry.ServeFunc(nil)
		}
		return &nowhere{path: path}
	}).(*referring)
	for path, ref := range map[string]registry.Ref[session.Store]{"one": bound.One, "list[2]": bound.List[2], "map[.md]": bound.Map[".md"]} {
		if got := ref.Get().(*nowhere).path; got != path {
			t.Errorf("%s is bound to what was built for %s", path, got)
		}
	}
	if !bound.Unset.IsZero() {
		t.Error("a reference to nothing is bound")
	}
	for path, ref := range map[string]registry.Ref[session.Store]{
		"one": cfg.(*referring).One, "list[2]": cfg.(*referring).List[2], "map[.md]": cfg.(*referring).Map[".md"],
	} {
		if caught(func() { ref.Get() }) == nil {
			t.Errorf("Bind has bound %s of the settings that it was given", path)
		}
	}
}

func TestRef(t *testing.T) {
	var zero registry.Ref[session.Store]
	used := registry.Use[session.Store]("memory")
	bound := registry.Bound[session.Store](&nowhere{path: "here"})
	for _, test := range []struct {
		name   string
		ref    registry.Ref[session.Store]
		called string
		zero   bool
		panics bool
	}{
		{"zero", zero, "", true, true},
		{"used", used, "memory", false, true},
		{"bound", bound, "bound", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.ref.Name() != test.called || test.ref.IsZero() != test.zero {
				t.Errorf("Name: got %q, IsZero: got %t; want %q, %t", test.ref.Name(), test.ref.IsZero(), test.called, test.zero)
			}
			var p any
			if p = caught(func() { test.ref.Get() }); (p != nil) != test.panics {
				t.Errorf("Get panics with %v, want panics %t", p, test.panics)
			}
		})
	}
	if got := bound.Get().(*nowhere).path; got != "here" {
		t.Errorf("Get: got the store of %s", got)
	}
	bound.Choose("redis")
	if caught(func() { bound.Get() }) == nil || bound.Name() != "redis" {
		t.Errorf("after Choose it is still built, or named %q", bound.Name())
	}
	if used.Kind() != registry.KindStore {
		t.Errorf("Kind: got %q", used.Kind())
	}
}

func TestKinds(t *testing.T) {
	seen := make(map[registry.Kind]bool)
	for _, k := range registry.Kinds() {
		seen[k] = true
	}
	if got := slices.Sorted(maps.Keys(seen)); len(got) != 8 || len(registry.Kinds()) != 8 {
		t.Errorf("Kinds: got %q, want eight", registry.Kinds())
	}
}
