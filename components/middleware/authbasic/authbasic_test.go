package authbasic

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

// file is what programs of others made of the users ada, bob and dora; their passwords are sesame,
// password and password.
const file = `# who may come in
ada:$2y$04$ixjfO0BBYNoSgdeEp625uePStTod9.z8.0ivbabuo9hSasbopD/Ty

bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4
dora:$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc
`

// settings are the defaults with a file of users.
func settings(t *testing.T, users string) Config {
	t.Helper()
	cfg := Component.Default
	cfg.Users = registry.Path(filepath.Join(t.TempDir(), "users.htpasswd"))
	if err := os.WriteFile(string(cfg.Users), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestComponent(t *testing.T) {
	as := func(name, password string) registrytest.Case[Config] {
		return registrytest.Case[Config]{
			Name:     name,
			Settings: func(t *testing.T) Config { return settings(t, file) },
			Request:  func(r *http.Request) { r.SetBasicAuth(name, password) },
		}
	}
	registrytest.Run(t, Component, as("ada", "sesame"), as("bob", "password"))
}

// open builds the middleware as a stack does.
func open(t *testing.T, cfg Config) (*registry.Instance, error) {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { i.Close() })
	}
	return i, err
}

func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	i, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return i.Product.(registry.Wrap)(app)
}

func TestLogIn(t *testing.T) {
	const challenge = `Basic realm="the \"vault\"", charset="UTF-8"`
	for _, test := range []struct {
		name     string
		prepare  func(r *http.Request)
		admitted string // the user, or nobody
	}{
		{"nothing", func(*http.Request) {}, ""},
		{"bcrypt", func(r *http.Request) { r.SetBasicAuth("ada", "sesame") }, "ada"},
		{"bcrypt, wrong", func(r *http.Request) { r.SetBasicAuth("ada", "Sesame") }, ""},
		{"argon2id", func(r *http.Request) { r.SetBasicAuth("bob", "password") }, "bob"},
		{"argon2id, wrong", func(r *http.Request) { r.SetBasicAuth("bob", "sesame") }, ""},
		{"argon2id, two threads", func(r *http.Request) { r.SetBasicAuth("dora", "password") }, "dora"},
		{"nobody's name", func(r *http.Request) { r.SetBasicAuth("eve", "sesame") }, ""},
		{"another's password", func(r *http.Request) { r.SetBasicAuth("bob", "sesame") }, ""},
		{"no password", func(r *http.Request) { r.SetBasicAuth("ada", "") }, ""},
		{"no name", func(r *http.Request) { r.SetBasicAuth("", "sesame") }, ""},
		{"the name of a comment", func(r *http.Request) { r.SetBasicAuth("# who may come in", "") }, ""},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Bearer sesame") }, ""},
		{"no base64", func(r *http.Request) { r.Header.Set("Authorization", "Basic sesame") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := settings(t, file)
			cfg.Realm = `the "vault"`
			ran, user := false, ""
			h := wrap(t, cfg, func(w http.ResponseWriter, r *http.Request) {
				ran, user = true, environ.User.Get(r)
				io.WriteString(w, "inside")
			})
			for range 2 { // the second time, the password is remembered
				ran = false
				r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
				test.prepare(r)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if ran != (test.admitted != "") || user != test.admitted {
					t.Errorf("the app ran: %t, for %q; want it for %q", ran, user, test.admitted)
				}
				if ran {
					continue
				}
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != challenge || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("got %d with %v, want 401 with %s", w.Code, w.Header(), challenge)
				}
				if _, set := environ.User.Lookup(r); set {
					t.Error("the user is set")
				}
			}
		})
	}
}

func TestNoUsers(t *testing.T) {
	h := wrap(t, settings(t, "# nobody\n"), func(http.ResponseWriter, *http.Request) { t.Error("somebody came in") })
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
	r.SetBasicAuth("ada", "sesame")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("got %d, want 401", w.Code)
	}
}

func TestBuild(t *testing.T) {
	cfg := settings(t, file)
	i, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := i.Depends(); len(got) != 1 || got[0] != string(cfg.Users) {
		t.Errorf("it depends on %q, want the file of users", got)
	}

	broken := settings(t, file+"ada:x\n")
	if _, err := open(t, broken); err == nil || err.Error() != string(broken.Users)+`:6: the user "ada" is on line 2 already; it must be there once` {
		t.Errorf("a broken file: got %v", err)
	}
	cfg.Users += ".gone"
	if _, err := open(t, cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{Realm: "the vault, ünder"}).Validate(); err != nil {
		t.Errorf("a realm: got %v", err)
	}
	err := (Config{Realm: "a\r\nb"}).Validate()
	if want := "realm has a control character; it must be one line of text"; err == nil || err.Error() != want {
		t.Errorf("a realm of two lines: got %v, want %s", err, want)
	}
}
