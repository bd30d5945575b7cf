// Package authforward asks another server whether a request may pass.
//
//	stack:
//	  - errors
//	  - use: auth_forward
//	    off: true
//	    to: "http://127.0.0.1:9091/verify"
//	    to_request: [Remote-User, Remote-Groups]
//	    user: Remote-User
//	  - finder
//	urls:
//	  /private/: {auth_forward: on}
//
// It works with what knows nginx' auth_request or Traefik's forward authentication, such as Authelia,
// Authentik and oauth2-proxy. The URL that is asked must not lead back through it.
//
// # The question
//
// A GET without a body, for every request. It has those fields of the request that are listed in
// send, and tells in X-Forwarded-Method, -Proto, -Host, -Uri and -For what was asked for and from which
// address. What a client itself says in these doesn't count, unless send lists them, as it should
// list X-Forwarded-Proto when a proxy in front speaks TLS with the client and sets it.
//
// # The answer
//
//   - 200 to 299: the request passes. Fields listed in to_request are set in it, for apps;
//     what the client sent by these names is removed in any case, also where it has an underscore for
//     a hyphen, since scripts can't tell these apart. Fields listed in to_response are
//     added to what the client is answered, such as Set-Cookie.
//   - 300 to 499, except 304: the client gets this answer instead, with its header and body of up to
//     1 MiB. This is how it is sent to a page to log in, or asked for a password.
//   - Anything else, or no answer in time: the request fails, with 502 or 504. It never
//     passes because of a fault.
//
// With user, the name in that field of the answer is the one that the access log writes and that scripts
// have as REMOTE_USER.
package authforward

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the auth_forward middleware.
var Component = registry.Middleware[Config]{
	Name: "auth_forward",
	Default: Config{
		Timeout: 5 * time.Second,
		Send:    []string{"Accept", "Accept-Language", "Authorization", "Cookie", "User-Agent"},
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.Blocking,
		Uses:      []environ.Name{failure.Key},
		Guards:    true,
	},
	Build: build,
}

// Config says whom to ask, and what is handed on.
type Config struct {
	// To is the URL that is asked, with http or https.
	To string `yaml:"to" validate:"required,url"`
	// Timeout is how long the answer may take.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms"`
	// Send are the fields of the request that the question has too.
	Send []string `yaml:"send"`
	// ToRequest are the fields of the answer that the app gets in the request. A client can't set them.
	ToRequest []string `yaml:"to_request"`
	// ToResponse are the fields of the answer that the client gets too when its request has
	// passed, such as Set-Cookie.
	ToResponse []string `yaml:"to_response"`
	// User is the field of the answer that has the user's name. Without it the user isn't
	// known.
	User string `yaml:"user"`
}

// Traits says that the user is known further in.
func (c Config) Traits(t registry.Traits) registry.Traits {
	if c.User != "" {
		t.Provides = []environ.Name{environ.User}
	}
	return t
}

// Validate checks the URL, and that fields are fields which can be handed on.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: problem})
	}
	if u, err := url.Parse(c.To); err == nil && c.To != "" {
		if u.Scheme != "http" && u.Scheme != "https" {
			wrong("to", "has the scheme "+u.Scheme+"; it must be http or https")
		}
		if u.User != nil {
			wrong("to", "has a user or a password, which would be shown in logs; it must have none")
		}
	}
	for setting, names := range map[string][]string{"send": c.Send, "to_request": c.ToRequest, "to_response": c.ToResponse} {
		for i, name := range names {
			if problem := field(name); problem != "" {
				wrong(fmt.Sprintf("%s[%d]", setting, i), problem)
			}
		}
	}
	if c.User != "" {
		if problem := field(c.User); problem != "" {
			wrong("user", problem)
		}
	}
	return errors.Join(errs...)
}

// field says what keeps a field from being handed on.
func field(name string) string {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Sprintf("is %q; it must be the name of a field, such as Remote-User", name)
	case slices.Contains(oneHop, http.CanonicalHeaderKey(name)):
		return "is " + name + "; it must not be a field about the connection or the length of the body"
	}
	return ""
}

// Expects says that the one who is asked must answer.
func (c Config) Expects() []expect.Expectation {
	u, err := url.Parse(c.To)
	if err != nil {
		return nil
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme
	}
	return []expect.Expectation{expect.Answers("to", "tcp", net.JoinHostPort(u.Hostname(), port))}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	a := newAsker(cfg)
	env.OnClose(func() error {
		a.transport.CloseIdleConnections()
		return nil
	})
	g := &gate{
		asker:      a,
		toRequest:  canonical(cfg.ToRequest),
		toResponse: canonical(cfg.ToResponse),
		user:       http.CanonicalHeaderKey(cfg.User),
	}
	return func(next http.Handler) http.Handler { return &handler{gate: g, next: next} }, nil
}

// canonical returns the names of fields as a [net/http.Header] has them.
func canonical(names []string) []string {
	made := make([]string, 0, len(names))
	for _, name := range names {
		made = append(made, http.CanonicalHeaderKey(name))
	}
	return made
}
