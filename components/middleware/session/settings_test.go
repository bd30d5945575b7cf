package session

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func TestSettings(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Config)
		want   []string
	}{
		{"defaults", func(*Config) {}, nil},
		{"no idle timeout", func(c *Config) { c.Idle = 0 }, nil},
		{"an idle timeout beyond the lifetime, as an override may leave it", func(c *Config) { c.Lifetime = time.Minute }, nil},
		{"times", func(c *Config) { c.Lifetime, c.Idle = 0, -time.Second }, []string{
			"lifetime is 0s; it must be at least 1s",
			"idle is -1s; it must be at least 0s",
		}},
		{"no store", func(c *Config) { c.Store.Choose("") }, []string{
			"store is missing; it must be the name of a store, or a map with use: and the store's settings",
		}},
		{"words", func(c *Config) { c.Cookie.Secure, c.Cookie.SameSite = "yes", "Lax" }, []string{
			"cookie.secure is \"yes\"; it must be auto, always or never",
			"cookie.same_site is Lax; it must be lax, strict or none",
		}},
		{"no name", func(c *Config) { c.Cookie.Name = "" }, []string{"cookie.name is missing; it must be a text"}},
		{"a name with a space", func(c *Config) { c.Cookie.Name = "my session" }, []string{
			`cookie.name is "my session"; it must be of letters, digits and !#$%&'*+-.^_` + "`|~ only",
		}},
		{"a name with an equals sign", func(c *Config) { c.Cookie.Name = "a=b" }, []string{
			`cookie.name is "a=b"; it must be of letters, digits and !#$%&'*+-.^_` + "`|~ only",
		}},
		{"all the letters", func(c *Config) { c.Cookie.Name = "Az09!#$%&'*+-.^_`|~" }, nil},
		{"a domain", func(c *Config) { c.Cookie.Domain = "example.org" }, nil},
		{"no domain", func(c *Config) { c.Cookie.Domain = "https://example.org" }, []string{
			`cookie.domain is "https://example.org"; it must be a domain such as example.org`,
		}},
		{"a path", func(c *Config) { c.Cookie.Path = "/app/" }, nil},
		{"a relative path", func(c *Config) { c.Cookie.Path = "app" }, []string{"cookie.path is app; it must begin with /"}},
		{"a path that ends the cookie", func(c *Config) { c.Cookie.Path = "/; secure" }, []string{
			`cookie.path is "/; secure"; it must be of printable ASCII without semicolons`,
		}},
		{"same_site none", func(c *Config) { c.Cookie.SameSite = "none" }, []string{
			"cookie.same_site is none; it must be lax or strict unless secure is always",
		}},
		{"same_site none, secure", func(c *Config) { c.Cookie.SameSite, c.Cookie.Secure = "none", "always" }, nil},
		{"__Host-", func(c *Config) { c.Cookie.Name, c.Cookie.Secure = "__Host-session", "always" }, nil},
		{"__Host- with all that it can't have", func(c *Config) {
			c.Cookie.Name, c.Cookie.Path, c.Cookie.Domain = "__host-session", "/app/", "example.org"
		}, []string{
			"cookie.secure is auto; it must be always for a cookie named __host-session",
			`cookie.path is "/app/"; it must be / for a cookie named __host-session`,
			`cookie.domain is "example.org"; it must be empty for a cookie named __host-session`,
		}},
		{"__Secure-", func(c *Config) {
			c.Cookie.Name, c.Cookie.Secure, c.Cookie.Domain, c.Cookie.Path = "__Secure-s", "always", "example.org", "/a/"
		}, nil},
		{"__Secure- without", func(c *Config) { c.Cookie.Name = "__Secure-s" }, []string{
			"cookie.secure is auto; it must be always for a cookie named __Secure-s",
		}},
		{"__Http- without", func(c *Config) { c.Cookie.Name, c.Cookie.Secure = "__Http-s", "never" }, []string{
			"cookie.secure is never; it must be always for a cookie named __Http-s",
		}},
	}
	table, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Component.Default
			tt.change(&cfg)
			var got []string
			for _, problem := range table.All()[0].Check(&cfg) {
				got = append(got, problem.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCookieOfAMountedStack sends it below the prefix alone, unless its name forbids that.
func TestCookieOfAMountedStack(t *testing.T) {
	for _, tt := range []struct{ name, path, want string }{
		{"session", "/", "/blog"},
		{"session", "/app/", "/blog/app/"},
		{"__Host-session", "/", "/"},
		{"__host-session", "/", "/"},
	} {
		t.Run(tt.name+" at "+tt.path, func(t *testing.T) {
			r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
			environ.Prefix.Set(r, "/blog")
			if got := (cookie{Name: tt.name, Path: tt.path}).issue(r, "id", time.Time{}).Path; got != tt.want {
				t.Errorf("its path is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCookie(t *testing.T) {
	defaults := Component.Default.Cookie
	tests := []struct {
		name   string
		change func(c *cookie)
		tls    bool
		want   string // after name and value
	}{
		{"defaults", func(*cookie) {}, false, "Path=/; HttpOnly; SameSite=Lax"},
		{"defaults over TLS", func(*cookie) {}, true, "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"always secure", func(c *cookie) { c.Secure = "always" }, false, "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"never secure", func(c *cookie) { c.Secure = "never" }, true, "Path=/; HttpOnly; SameSite=Lax"},
		{"strict", func(c *cookie) { c.SameSite = "strict" }, false, "Path=/; HttpOnly; SameSite=Strict"},
		{"none", func(c *cookie) { c.SameSite, c.Secure = "none", "always" }, false, "Path=/; HttpOnly; Secure; SameSite=None"},
		{"elsewhere", func(c *cookie) { c.Path, c.Domain = "/app/", "example.org" }, false, "Path=/app/; Domain=example.org; HttpOnly; SameSite=Lax"},
		{"named", func(c *cookie) { c.Name, c.Secure = "__Host-s", "always" }, false, "Path=/; HttpOnly; Secure; SameSite=Lax"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(memoryStore(t))
			cfg.Cookie = defaults
			tt.change(&cfg.Cookie)
			h := stackOf(t, cfg, http.HandlerFunc(pad))
			ask := func(path, cookie string) string {
				w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
				if tt.tls {
					r.TLS = &tls.ConnectionState{}
				}
				r.Header.Set("Cookie", cookie)
				h.ServeHTTP(w, r)
				return w.Header().Get("Set-Cookie")
			}
			pair, got, _ := strings.Cut(ask("/set?a=1", ""), "; ")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("set (-want +got):\n%s", diff)
			}
			name, id, _ := strings.Cut(pair, "=")
			if name != cfg.Cookie.Name || !validID(id) {
				t.Errorf("set: %s", pair)
			}
			// It is only removed by one with the same attributes.
			pair, got, _ = strings.Cut(ask("/destroy", pair), "; ")
			want := strings.Replace(tt.want, "; HttpOnly", "; Max-Age=0; HttpOnly", 1)
			if diff := cmp.Diff(want, got); diff != "" || pair != cfg.Cookie.Name+"=" {
				t.Errorf("removed with %s (-want +got):\n%s", pair, diff)
			}
		})
	}
}
