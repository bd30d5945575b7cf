package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/session"
)

// GreetConfig are the settings of a middleware.
type GreetConfig struct {
	// Greeting goes before each answer.
	Greeting string `yaml:"greeting" validate:"required,max=20"`
	// Times is how often it does.
	Times int `yaml:"times" validate:"min=1"`
}

// Greet is a middleware. In a package of its own it is called Component, and its settings Config;
// the package's init registers it.
var Greet = registry.Middleware[GreetConfig]{
	Name:    "greet",
	Default: GreetConfig{Greeting: "hello, ", Times: 1},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   buildGreet,
}

// Build does once what needn't be done for each request.
func buildGreet(_ *registry.Env, cfg GreetConfig) (registry.Wrap, error) {
	greeting := strings.Repeat(cfg.Greeting, cfg.Times)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, greeting) // the client may be gone
			next.ServeHTTP(w, r)
		})
	}, nil
}

// Writing a middleware, and what a loader does with it.
func Example_middleware() {
	r, err := registry.New(Greet)
	if err != nil {
		fmt.Println(err)
		return
	}
	greet := r.Lookup(registry.KindMiddleware, "greet")

	// A stack file is decoded over the defaults, and checked without building anything.
	cfg := greet.Default().(*GreetConfig)
	cfg.Times = 0
	for _, e := range greet.Check(cfg) {
		fmt.Println("greet:", e.Error())
	}

	cfg.Times = 2
	instance, err := greet.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer instance.Close()
	world := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "world") // the client may be gone
	})
	rec := httptest.NewRecorder()
	instance.Product.(registry.Wrap)(world).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(rec.Body)
	// Output:
	// greet: times is 0; it must be at least 1
	// hello, hello, world
}

// ClockConfig are the settings of an app that does something by itself.
type ClockConfig struct {
	// Every is how often it looks at the clock.
	Every time.Duration `yaml:"every" validate:"min=1ms"`
}

// Clock is an app that owns a goroutine: it starts in Build, and closing waits for its end.
var Clock = registry.App[ClockConfig]{
	Name:    "clock",
	Default: ClockConfig{Every: time.Second},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   buildClock,
}

func buildClock(env *registry.Env, cfg ClockConfig) (http.Handler, error) {
	c := &clock{now: time.Now()}
	env.Go(func(ctx context.Context) { c.run(ctx, cfg.Every) })
	return c, nil
}

// clock answers with the time. It knows nothing of stackd.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.mu.Lock()
			c.now = now
			c.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

func (c *clock) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintln(w, c.now.Year() > 2000) // the client may be gone
}

// A component that owns a goroutine.
func Example_goroutine() {
	r, err := registry.New(Clock)
	if err != nil {
		fmt.Println(err)
		return
	}
	d := r.Lookup(registry.KindApp, "clock")
	instance, err := d.Open(context.Background(), d.Default(), slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	rec := httptest.NewRecorder()
	instance.Product.(http.Handler).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Print(rec.Body)
	fmt.Println(instance.Close()) // returns when the goroutine is gone
	// Output:
	// true
	// <nil>
}

// BasketConfig are the settings of an app that refers to another component, and has a rule across
// two settings.
type BasketConfig struct {
	// Store is where baskets are kept.
	Store registry.Ref[session.Store] `yaml:"store" validate:"required"`
	// Keep is how long a basket is kept.
	Keep time.Duration `yaml:"keep" validate:"min=1m"`
	// Warn is how long before its end the visitor is told.
	Warn time.Duration `yaml:"warn"`
}

// Validate is called with the settings of every URL. It is pure.
func (c BasketConfig) Validate() error {
	if c.Warn >= c.Keep {
		return &registry.SettingError{Setting: "warn", Problem: "is not less than keep; it must be"}
	}
	return nil
}

// Rules across settings, and a reference to another component.
func ExampleRef() {
	r, err := registry.New(registry.App[BasketConfig]{
		Name:    "basket",
		Default: BasketConfig{Store: registry.Use[session.Store]("memory"), Keep: time.Hour, Warn: 5 * time.Minute},
		Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
		Build: func(_ *registry.Env, cfg BasketConfig) (http.Handler, error) {
			store := cfg.Store.Get() // it was built before
			if store == nil {
				return nil, errors.New("no store")
			}
			return http.NotFoundHandler(), nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := r.Lookup(registry.KindApp, "basket")
	cfg := d.Default().(*BasketConfig)
	cfg.Warn = 2 * time.Hour
	fmt.Println(d.Check(cfg)[0].Problem)

	// A loader sees what the settings refer to without running anything.
	_ = d.References(cfg, func(path string, ref registry.Reference) error {
		fmt.Printf("%s: the %s %q\n", path, ref.Kind(), ref.Name())
		return nil
	})
	// Output:
	// is not less than keep; it must be
	// store: the store "memory"
}

func ExampleSecret() {
	password := registry.NewSecret("tiger")
	fmt.Printf("%v %s %+v %d bytes\n", password, password, struct{ P registry.Secret }{password}, len(password.Reveal()))
	// Output: [redacted] [redacted] {P:[redacted]} 5 bytes
}
