// Package session keeps data for a visitor from one request to the next.
//
// Apps further in ask for the session of a request with session.Key of
// registry/session. What they put into it is kept in a store, and the visitor gets a
// cookie with a random id.
//
//	stack:
//	  - errors
//	  - use: session
//	    store: {use: sqlite, path: var/sessions.db}
//	    idle: 30m
//	    cookie: {name: __Host-session, secure: always}
//	  - finder
//	urls:
//	  /admin/: {session: {lifetime: 15m}}
//
// # What it costs
//
// A request whose app doesn't use the session costs next to nothing: the cookie isn't read
// and the store isn't asked. A visitor gets a cookie, and a place in the store, when
// an app first puts something in; one who merely looks, like most robots, gets neither.
// Reading hardly ever writes: with an idle timeout the time of use is recorded, when a
// quarter of that timeout has passed since it was last.
//
// # When it is stored
//
// Once, just before the header of the response goes out, or when the app is done
// without having written. If the store fails then, nothing of the app's response is
// sent: the app's writes fail, and the catcher further out answers with its error page.
// Later changes are an error, since the visitor couldn't be told any more. A request that
// panics, or reports a failure before it wrote, stores nothing; for this the catcher must
// stand further out than the session.
//
// What is stored are the changes, key by key, on top of what the store holds at that
// moment. So requests of one visitor that run at the same time and set different keys
// lose nothing, and of one key the last value stays. Within one slot of a stack this has no gap.
// Between processes, or overrides that make it two slots with different settings, there
// remains the moment between that read and the write. If the session has meanwhile ended or
// got a new id through another request, the changes are refused with status 409,
// instead of bringing back a session that somebody logged out of.
//
// A connection that an app takes over, such as a WebSocket, has its changes stored
// before. A change that needs a new cookie (the first one, or a new id) can't
// be told to the visitor then, and makes taking over an error; answering 101 through the
// ResponseWriter first is the way out.
//
// # Ids
//
// An id has 256 random bits. The store gets its SHA-256 only, so that who reads the store can't
// act for a visitor. An id that the store doesn't know is never taken over: the visitor
// gets a new one with the first change. Of several cookies of that name the first
// one known counts; the rest, and what isn't an id, is passed over.
//
// Each session knows when it began and when it was last used, and lifetime and idle are
// held against that wherever it is used: with the stack file above /admin/ takes no session
// older than 15 minutes, while the rest of the site goes on with it. An app at /admin/
// that then puts something in begins a new session for the whole site, and the old one is
// deleted. For a session of its
// own, give /admin/ a cookie with another name too.
//
// # Headers
//
// A response for which the session was used gets Vary: Cookie. If there is a session, it
// also gets Cache-Control: private, unless the app has set Cache-Control itself. One that
// sets the cookie has no-cache="Set-Cookie" in Cache-Control in any case. The cookie is
// always HttpOnly.
//
// # Values
//
// An app may put in numbers, strings, bools, []byte, [time.Time] and [time.Duration], slices
// of those, maps from strings or ints to those and to slices of them, and []any and
// map[string]any of all these. Other types must be registered with [encoding/gob] by the
// program; putting in one that isn't is an error at once. To put in nil is to delete.
// A map or slice that was changed must be put in again. A stored session that can't be read,
// as after such a type was renamed, is logged and counts as none.
package session

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/session"
)

func init() { registry.Register(Component) }

// Component is the session middleware.
var Component = registry.Middleware[Config]{
	Name: "session",
	Default: Config{
		Store:    registry.Use[session.Store]("memory"),
		Lifetime: 12 * time.Hour,
		Idle:     time.Hour,
		Cookie:   cookie{Name: "session", Path: "/", Secure: "auto", SameSite: "lax"},
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe, // the store says otherwise where it isn't
		Calls:     registry.NonBlocking, // likewise
		Provides:  []environ.Name{session.Key},
		Uses:      []environ.Name{failure.Key}, // what failed stores nothing
	},
	Build: build,
}

// Config says where sessions are kept, for how long, and what the cookie is like.
type Config struct {
	// Store keeps the data.
	Store registry.Ref[session.Store] `yaml:"store" validate:"required"`
	// Lifetime is how long a session lasts at most, counted from its beginning or from when
	// it got a new id, as at log-in.
	Lifetime time.Duration `yaml:"lifetime" validate:"min=1s"`
	// Idle is how long a session lasts without being used; 0 means as long as its lifetime.
	// It may end up to a quarter earlier, since not every use is recorded.
	Idle time.Duration `yaml:"idle" validate:"min=0s"`
	// Cookie is what the browser is given.
	Cookie cookie `yaml:"cookie"`
}

type cookie struct {
	// Name is the cookie's name. With secure: always, a name that begins with __Host- makes
	// browsers refuse a cookie that another host of the domain has planted.
	Name string `yaml:"name" validate:"required"`
	// Domain is the domain whose hosts all get the cookie. Empty, the default, means
	// this host alone, which is safer.
	Domain string `yaml:"domain"`
	// Path is where on the host the cookie is sent.
	Path string `yaml:"path" validate:"startswith=/"`
	// Secure says whether browsers send the cookie over TLS only: auto does so when the
	// request that sets it came over TLS, always also when it came from a proxy
	// that speaks TLS with the browser. With never, whoever listens on the line can take the
	// session over.
	Secure string `yaml:"secure" validate:"oneof=auto always never"`
	// SameSite says when browsers send the cookie along with a request from another site: lax
	// for links only, strict never, none always. With none, which needs secure: always, the
	// apps must protect themselves against cross-site request forgery.
	SameSite string `yaml:"same_site" validate:"oneof=lax strict none"`
	// Persist keeps the cookie until the session ends, even if the browser is closed before.
	// Otherwise browsers forget it when they are closed.
	Persist bool `yaml:"persist"`
}

// Validate holds the settings against RFC 6265 and what browsers ask of prefixed names
// (RFC 6265bis, 4.1.3).
func (c cookie) Validate() error {
	var errs []error
	wrong := func(setting, format string, args ...any) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: fmt.Sprintf(format, args...)})
	}
	if c.Name != "" && (&http.Cookie{Name: c.Name}).Valid() != nil {
		wrong("name", "is %q; it must be of letters, digits and !#$%%&'*+-.^_`|~ only", c.Name)
	}
	if c.Domain != "" && (&http.Cookie{Name: "c", Domain: c.Domain}).Valid() != nil {
		wrong("domain", "is %q; it must be a domain such as example.org", c.Domain)
	}
	if (&http.Cookie{Name: "c", Path: c.Path}).Valid() != nil {
		wrong("path", "is %q; it must be of printable ASCII without semicolons", c.Path)
	}
	if c.SameSite == "none" && c.Secure != "always" {
		wrong("same_site", "is none; it must be lax or strict unless secure is always")
	}
	// Browsers don't mind the case of the prefixes.
	name := strings.ToLower(c.Name)
	host := strings.HasPrefix(name, "__host-")
	if host || strings.HasPrefix(name, "__secure-") || strings.HasPrefix(name, "__http-") {
		if c.Secure != "always" {
			wrong("secure", "is %s; it must be always for a cookie named %s", c.Secure, c.Name)
		}
	}
	if host && c.Path != "/" {
		wrong("path", "is %q; it must be / for a cookie named %s", c.Path, c.Name)
	}
	if host && c.Domain != "" {
		wrong("domain", "is %q; it must be empty for a cookie named %s", c.Domain, c.Name)
	}
	return errors.Join(errs...)
}

// issue makes the cookie that answers r: with the id until expiry, or, without an id, one
// that removes it.
func (c cookie) issue(r *http.Request, id string, expiry time.Time) *http.Cookie {
	path := environ.Prefix.Get(r) + c.Path
	switch {
	case strings.HasPrefix(strings.ToLower(c.Name), "__host-"):
		path = "/" // which the name demands
	case c.Path == "/" && path != "/":
		path = strings.TrimSuffix(path, "/") // so that the prefix without a slash has it, too
	}
	made := &http.Cookie{
		Name:     c.Name,
		Value:    id,
		Domain:   c.Domain,
		Path:     path,
		HttpOnly: true,
		Secure:   c.Secure == "always" || c.Secure == "auto" && r.TLS != nil,
		SameSite: map[string]http.SameSite{
			"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode,
		}[c.SameSite],
	}
	switch {
	case id == "":
		made.MaxAge = -1
	case c.Persist:
		made.MaxAge = int(time.Until(expiry).Seconds()) + 1 // rounded up: 0 would mean that it is not set
	}
	return made
}

// Warnings says where the cookie goes over a network as it is.
func (c Config) Warnings(site registry.Site) []registry.Warning {
	if !site.Clear || c.Cookie.Secure == "always" {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Clear, Setting: "cookie.secure",
		Problem: "is " + c.Cookie.Secure + ", so that without TLS browsers send the cookie as it is, and whoever listens can take the session over; it should be always, and the site be served over TLS",
	}}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	registerTypes()
	k := newKeeper(cfg, env.Logger())
	return func(next http.Handler) http.Handler { return &handler{keeper: k, next: next} }, nil
}
