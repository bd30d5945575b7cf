// Package authbasic asks for a user name and a password, by HTTP's own log-in.
//
//	stack:
//	  - errors
//	  - {use: auth_basic, off: true, users: etc/users.htpasswd}
//	  - finder
//	urls:
//	  /admin/: {auth_basic: on}
//
// A request without a right name and password is answered with 401, for which browsers show a window
// to type them in (RFC 7617). The name of the user is handed on: to the access log, and as
// REMOTE_USER to scripts. Passwords travel readable with every request, so use it over TLS.
//
// # The file
//
// A line for each user, the name, a colon and a hash of the password; empty lines and those that begin
// with # are passed over. Hashes are bcrypt's, which begin with $2y$, $2a$ or $2b$, and argon2id's,
// which begin with $argon2id$:
//
//	htpasswd -B -C 10 etc/users.htpasswd ada
//	printf %s 'sesame' | argon2 "$(openssl rand -hex 8)" -id -e
//
// The first asks for the password and writes the line, the second prints an argon2id hash to be
// written behind a name and a colon.
//
// Other hashes, such as those that htpasswd makes without -B, are too easy to guess passwords from;
// they are an error. So are parameters which would let one log-in cost more than a few seconds
// or 256 MiB. When the file changes, it is read again, and who was removed is out.
//
// # Cost
//
// Hashing is slow on purpose. At most parallel passwords are tried at a time; who has waited for longer
// than wait gets 503 with Retry-After. A right password is remembered as a keyed digest in memory, so
// that it is tried once for each user and not for each request. To guess is as slow as it
// ever was.
//
// An unknown name takes as long as the first user of the file with a wrong password, so that
// names can't be found out by the time. For this all lines should have the same kind of
// hash.
package authbasic

import (
	"net/http"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
)

func init() { registry.Register(Component) }

// Component is the auth_basic middleware.
var Component = registry.Middleware[Config]{
	Name:    "auth_basic",
	Default: Config{Realm: "restricted", Parallel: 2, Wait: 5 * time.Second},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.Blocking,
		Provides:  []environ.Name{environ.User},
		Guards:    true,
	},
	Build: build,
}

// Config says who the users are.
type Config struct {
	// Users is the file of names and hashes. Keep it out of what is served.
	Users registry.Path `yaml:"users" validate:"required"`
	// Realm is what browsers say that the password is for. Parts of a site with the same realm
	// share what was typed in.
	Realm string `yaml:"realm" validate:"required"`
	// Parallel is how many passwords are tried at a time. Each takes a processor, and with argon2id the
	// memory that its parameters say.
	Parallel int `yaml:"parallel" validate:"min=1,max=256"`
	// Wait is how long a request waits for its turn.
	Wait time.Duration `yaml:"wait" validate:"min=0s"`
}

// Validate checks that the realm fits into a header field.
func (c Config) Validate() error {
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return &registry.SettingError{Setting: "realm", Problem: "has a control character; it must be one line of text"}
	}
	return nil
}

// Warnings says who else reads the passwords without TLS.
func (c Config) Warnings(site registry.Site) []registry.Warning {
	if !site.Clear {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Clear,
		Problem: "browsers send the password along with every request, and it goes over the network as it is; serve TLS",
	}}
}

// Expects says that the file must be there, and be read by nobody else.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.File("users", string(c.Users)), expect.Private("users", string(c.Users))}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	env.DependsOn(string(cfg.Users))
	users, err := readUsers(string(cfg.Users))
	if err != nil {
		return nil, err
	}
	g := newGate(users, cfg.Parallel, cfg.Wait)
	challenge := `Basic realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(cfg.Realm) + `", charset="UTF-8"`
	return func(next http.Handler) http.Handler {
		return &handler{gate: g, challenge: challenge, next: next}
	}, nil
}

// handler is the middleware in one chain.
type handler struct {
	gate      *gate
	challenge string
	next      http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verdict := refused
	name, password, ok := r.BasicAuth()
	if ok {
		verdict = h.gate.ask(r.Context(), name, password)
	}
	switch verdict {
	case admitted:
		environ.User.Set(r, name)
		h.next.ServeHTTP(w, r)
	case refused:
		w.Header().Set("WWW-Authenticate", h.challenge)
		answer(w, http.StatusUnauthorized, "401 Unauthorized: a user name and a password are needed")
	case crowded:
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusServiceUnavailable, "503 Service Unavailable: too many log in at the moment; please try again in a while")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}
