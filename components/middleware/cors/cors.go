// Package cors lets pages of other origins use what is here, by the CORS protocol.
//
// Browsers keep a page from reading what another origin answers, unless the answer allows it:
//
//	stack:
//	  - errors
//	  - use: cors
//	    off: true
//	    origins: ["https://app.example.org"]
//	    headers: [Content-Type]
//	  - finder
//	urls:
//	  /api/: {cors: on}
//
// A preflight (an OPTIONS request with Origin and Access-Control-Request-Method) is answered here,
// with 204, and never reaches the app; one from an origin that isn't allowed gets no allowance.
// Other OPTIONS requests pass.
//
// A request from an origin that isn't allowed passes too: it is the browser that keeps the answer
// from the page. CORS isn't a protection against requests, nor against clients that
// aren't browsers.
//
// Responses say Vary: Origin wherever they depend on it, so that caches keep them apart. An app that
// sets these fields itself overrides what is set here.
package cors

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the cors middleware.
var Component = registry.Middleware[Config]{
	Name:    "cors",
	Default: Config{Methods: []string{"GET", "HEAD", "POST"}, MaxAge: 10 * time.Minute},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says who may do what.
type Config struct {
	// Origins are those whose pages may read the answers, such as https://app.example.org or
	// http://localhost:3000. In https://*.example.org the star stands for any subdomains. A star
	// alone allows every origin; use it for what is public anyway.
	Origins []string `yaml:"origins" validate:"required"`
	// Methods are those that pages may use. Browsers don't ask before a GET, a HEAD and
	// most POSTs.
	Methods []string `yaml:"methods" validate:"min=1"`
	// Headers are the fields that pages may set, beside the few that every page may, such as
	// Accept.
	Headers []string `yaml:"headers"`
	// Expose are the fields of an answer that pages may read, beside the few that every page may,
	// such as Content-Type.
	Expose []string `yaml:"expose"`
	// Credentials lets requests of those pages carry the visitor's cookies and log-in. Then the
	// pages can do here whatever the visitor can, so every origin must be one that you
	// trust.
	Credentials bool `yaml:"credentials"`
	// MaxAge is how long a browser may remember the answer to a preflight. Browsers have limits of
	// their own.
	MaxAge time.Duration `yaml:"max_age" validate:"min=0s"`
}

// Validate checks the origins and names.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting string, i int, format string, args ...any) {
		errs = append(errs, &registry.SettingError{Setting: fmt.Sprintf("%s[%d]", setting, i), Problem: fmt.Sprintf(format, args...)})
	}
	for i, origin := range c.Origins {
		switch {
		case origin == anyOrigin && c.Credentials:
			wrong("origins", i, "is *; it must be an origin when credentials is true")
		case origin != anyOrigin && !validOrigin(origin):
			wrong("origins", i, "is %q; it must be a scheme and a host in lower case, such as https://app.example.org, without a path", origin)
		}
	}
	for i, method := range c.Methods {
		if !httpguts.ValidHeaderFieldName(method) || method == "*" { // a method is a token as well
			wrong("methods", i, "is %q; it must be a method such as PUT", method)
		}
	}
	for setting, names := range map[string][]string{"headers": c.Headers, "expose": c.Expose} {
		for i, name := range names {
			if !httpguts.ValidHeaderFieldName(name) || name == "*" {
				wrong(setting, i, "is %q; it must be the name of a field", name)
			}
		}
	}
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// anyOrigin allows every origin.
const anyOrigin = "*"

// validOrigin reports whether an origin is written as browsers do, but for a star.
func validOrigin(origin string) bool {
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	host = strings.TrimPrefix(host, "*.")
	u, err := url.Parse(scheme + "://" + host)
	return err == nil && u.Host != "" && u.Scheme+"://"+u.Host == scheme+"://"+host && u.Hostname() != "" &&
		host == strings.ToLower(host) && !strings.Contains(host, "*") && !strings.HasSuffix(host, ":") &&
		(scheme != "https" || u.Port() != "443") && (scheme != "http" || u.Port() != "80")
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	p := newPolicy(cfg)
	return func(next http.Handler) http.Handler { return &handler{policy: p, next: next} }, nil
}

func newPolicy(cfg Config) *policy {
	p := &policy{
		exact:       make(map[string]bool),
		credentials: cfg.Credentials,
		methods:     strings.Join(cfg.Methods, ", "),
		headers:     strings.Join(cfg.Headers, ", "),
		expose:      strings.Join(cfg.Expose, ", "),
		maxAge:      strconv.Itoa(int(cfg.MaxAge.Seconds())),
	}
	for _, origin := range cfg.Origins {
		if origin == anyOrigin {
			p.all = true
		} else if scheme, domain, ok := strings.Cut(origin, "*"); ok {
			p.domains = append(p.domains, domains{scheme, domain})
		} else {
			p.exact[origin] = true
		}
	}
	return p
}
