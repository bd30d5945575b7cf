package stackfile

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/session"
)

// The components of the corpus. They are real, if small: the stacks made of them are built
// and asked, too.

type noSettings struct{}

type catchConfig struct {
	Show  string `yaml:"show" validate:"oneof=never loopback"`
	Lines int    `yaml:"lines" validate:"min=0,max=50"`
}

func (c catchConfig) Warnings(site registry.Site) []registry.Warning {
	if c.Show == "never" || !site.Public {
		return nil
	}
	return []registry.Warning{{Concern: registry.Exposed, Setting: "show", Problem: "is " + c.Show + "; it should be never where others can reach the server"}}
}

type cookieConfig struct {
	Name   string `yaml:"name" validate:"required"`
	Secure bool   `yaml:"secure"`
}

type sessionConfig struct {
	Store    registry.Ref[session.Store] `yaml:"store" validate:"required"`
	Lifetime time.Duration               `yaml:"lifetime" validate:"min=1s"`
	Cookie   cookieConfig                `yaml:"cookie"`
}

func (c sessionConfig) Validate() error {
	if c.Cookie.Name == "__Host-id" && !c.Cookie.Secure {
		return &registry.SettingError{Setting: "cookie.secure", Problem: "is false; it must be true for the name __Host-id"}
	}
	return nil
}

func (c sessionConfig) Warnings(site registry.Site) []registry.Warning {
	if c.Cookie.Secure || !site.Clear {
		return nil
	}
	return []registry.Warning{{Concern: registry.Clear, Setting: "cookie.secure", Problem: "is false; it should be true"}}
}

type guardConfig struct {
	Users registry.Path `yaml:"users"`
	Weak  bool          `yaml:"unsafe_passwords"`
}

func (c guardConfig) Warnings(registry.Site) []registry.Warning {
	if !c.Weak {
		return nil
	}
	return []registry.Warning{{Concern: registry.Unsafe, Setting: "unsafe_passwords", Problem: "is true, so that short passwords will do; it should be false"}}
}

func (c guardConfig) Expects() []expect.Expectation {
	return []expect.Expectation{expect.File("users", string(c.Users)), expect.Private("users", string(c.Users))}
}

type fileStoreConfig struct {
	Path     registry.Path   `yaml:"path" validate:"required"`
	Password registry.Secret `yaml:"password"`
}

func (c siteConfig) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Folder("root", string(c.Root))}
}

type siteConfig struct {
	Root      registry.Path                          `yaml:"root" validate:"required"`
	Index     []string                               `yaml:"index" validate:"dive,required"`
	Factories map[string]registry.Ref[registry.Wrap] `yaml:"factories"`
	Headers   map[string]string                      `yaml:"headers"`
	MaxSize   registry.Size                          `yaml:"max_size" validate:"min=1"`
}

type sayConfig struct {
	Text string `yaml:"text"`
}

type mountConfig struct {
	Mount  registry.Stack            `yaml:"mount" validate:"required"`
	Prefix string                    `yaml:"prefix"`
	Others map[string]registry.Stack `yaml:"others"`
}

func (c mountConfig) Inside(path string) (string, bool) { return strings.CutPrefix(path, c.Prefix) }

type serverConfig struct {
	Listen registry.Address `yaml:"listen" validate:"required"`
	Port   uint16           `yaml:"port"`
}

var (
	single = registry.Traits{Processes: registry.SingleProcess, Calls: registry.NonBlocking}
	safe   = registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}
)

func providing(t registry.Traits, keys ...environ.Name) registry.Traits { t.Provides = keys; return t }

func needing(t registry.Traits, keys ...environ.Name) registry.Traits { t.Needs = keys; return t }

type nothingStored struct{ session.Store }

// testRegistry returns the components of the corpus.
func testRegistry(t testing.TB) *registry.Registry {
	t.Helper()
	reg, err := registry.New(corpus()...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func corpus() []registry.Declaration {
	wrap := func(next http.Handler) http.Handler { return next }
	return []registry.Declaration{
		registry.Server[serverConfig]{Name: "http", Default: serverConfig{Listen: "127.0.0.1:8080"}, Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking}, Build: func(*registry.Env, serverConfig) (registry.ServeFunc, error) { return servesNothing(), nil }},
		registry.Server[serverConfig]{Name: "async", Default: serverConfig{Listen: "127.0.0.1:8081"}, Traits: safe, Build: func(*registry.Env, serverConfig) (registry.ServeFunc, error) { return servesNothing(), nil }},
		registry.Middleware[catchConfig]{Name: "errors", Default: catchConfig{Show: "never", Lines: 5}, Traits: providing(safe, failure.Key), Build: func(*registry.Env, catchConfig) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[sessionConfig]{Name: "session", Default: sessionConfig{Store: registry.Use[session.Store]("memory"), Lifetime: 12 * time.Hour, Cookie: cookieConfig{Name: "session"}}, Traits: providing(safe, session.Key), Build: func(*registry.Env, sessionConfig) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[noSettings]{Name: "cart", Traits: needing(safe, session.Key), Build: func(*registry.Env, noSettings) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[sayConfig]{Name: "tag", Traits: safe, Build: func(_ *registry.Env, c sayConfig) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Add("Tag", c.Text)
					next.ServeHTTP(w, r)
				})
			}, nil
		}},
		registry.Middleware[guardConfig]{Name: "guard", Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, Uses: []environ.Name{failure.Key}, Guards: true}, Build: func(*registry.Env, guardConfig) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[noSettings]{Name: "tls_only", Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, TLS: true}, Build: func(*registry.Env, noSettings) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[noSettings]{Name: "lint", Traits: safe, Build: func(env *registry.Env, _ noSettings) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					env.Logger().Info("watched")
					next.ServeHTTP(w, r)
				})
			}, nil
		}},
		registry.Middleware[noSettings]{Name: "pool", Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking, Workers: true}, Build: func(*registry.Env, noSettings) (registry.Wrap, error) { return wrap, nil }},
		registry.Middleware[noSettings]{Name: "twin", Traits: safe, Build: func(*registry.Env, noSettings) (registry.Wrap, error) { return wrap, nil }},
		registry.Store[noSettings]{Name: "twin", Traits: safe, Build: func(*registry.Env, noSettings) (session.Store, error) { return nothingStored{}, nil }},
		registry.Store[noSettings]{Name: "memory", Traits: single, Build: func(*registry.Env, noSettings) (session.Store, error) { return nothingStored{}, nil }},
		registry.Store[fileStoreConfig]{Name: "file", Default: fileStoreConfig{Path: "var/sessions"}, Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking}, Build: func(*registry.Env, fileStoreConfig) (session.Store, error) { return nothingStored{}, nil }},
		registry.App[siteConfig]{Name: "site", Default: siteConfig{Index: []string{"index.html"}, MaxSize: 1 << 20}, Traits: safe, Build: func(_ *registry.Env, c siteConfig) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.Root) }), nil
		}},
		registry.App[mountConfig]{Name: "stack", Traits: safe, Build: func(_ *registry.Env, c mountConfig) (http.Handler, error) {
			return http.StripPrefix(c.Prefix, c.Mount.Handler()), nil
		}},
		registry.App[sayConfig]{Name: "say", Default: sayConfig{Text: "hello"}, Traits: safe, Build: func(_ *registry.Env, c sayConfig) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "%s %v", c.Text, environ.Vars.Get(r)["theme"])
			}), nil
		}},
	}
}
