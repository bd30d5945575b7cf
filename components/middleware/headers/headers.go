// Package headers sets, adds and removes header fields of requests and responses.
//
// A site's security headers, and a request that looks as the app wants it:
//
//	stack:
//	  - use: headers
//	    response:
//	      set: {Strict-Transport-Security: max-age=31536000}
//	      default: {X-Content-Type-Options: nosniff, X-Frame-Options: DENY}
//	      remove: [X-Powered-By]
//	    request:
//	      remove: [X-Debug]
//	  - errors
//	  - finder
//	urls:
//	  /embed/: {headers: {response: {default: {X-Frame-Options: null}}}}
//
// Of one header the changes are made in this order: remove, set, add, default. An override that
// writes null for a field takes back what is said of it further up in the stack file.
//
// Responses are changed at the last moment, just before the header goes out, so that whatever apps
// and middleware further in say is seen. Put it outside of errors to reach the error pages as
// well; these bring a Content-Security-Policy of their own, which default leaves in place.
// Early hints and other 1xx responses aren't changed, nor what an app writes to a
// connection that it took over.
//
// Requests are changed for what stands further in only. What is removed from them is removed also where it has an
// underscore for a hyphen, since many apps can't tell these apart.
//
// Host can't be changed in a request, nor can the fields that say how a message is sent:
// Connection, Content-Length, Keep-Alive, Trailer, Transfer-Encoding and Upgrade.
package headers

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the headers middleware.
var Component = registry.Middleware[Config]{
	Name:   "headers",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  build,
}

// Config says what is changed.
type Config struct {
	// Request is what is changed in the header of requests.
	Request changes `yaml:"request"`
	// Response is what is changed in the header of responses.
	Response changes `yaml:"response"`
}

type changes struct {
	// Set are fields that replace those of the same name.
	Set map[string]string `yaml:"set"`
	// Add are fields that are added to those of the same name.
	Add map[string]string `yaml:"add"`
	// Remove are the names of fields that are removed.
	Remove []string `yaml:"remove"`
	// Default are fields that are set where there is none of that name.
	Default map[string]string `yaml:"default"`
}

// Validate checks names and values.
func (c Config) Validate() error {
	return errors.Join(c.Request.validate("request", "Host"), c.Response.validate("response", ""))
}

// framing are the fields that say how a message is sent.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade"}

func (c changes) validate(path, barred string) error {
	var errs []error
	wrong := func(setting, problem string) {
		errs = append(errs, &registry.SettingError{Setting: path + "." + setting, Problem: problem})
	}
	name := func(setting, name string) {
		switch key := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name):
			wrong(setting, fmt.Sprintf("has the name %q; it must be letters, digits and hyphens", name))
		case key == barred || slices.Contains(framing, key):
			wrong(setting, "is there; it must be left to stackd")
		}
	}
	for _, part := range []struct {
		name   string
		fields map[string]string
	}{{"set", c.Set}, {"add", c.Add}, {"default", c.Default}} {
		first := make(map[string]bool)
		for _, field := range slices.Sorted(maps.Keys(part.fields)) {
			setting := part.name + "[" + field + "]"
			name(setting, field)
			if !httpguts.ValidHeaderFieldValue(part.fields[field]) {
				wrong(setting, "has a control character; it must be one line of text")
			}
			if key := strings.ToLower(field); first[key] {
				wrong(setting, "is there twice, in other letters; it must be there once")
			} else {
				first[key] = true
			}
		}
	}
	for i, field := range c.Remove {
		name(fmt.Sprintf("remove[%d]", i), field)
	}
	return errors.Join(errs...)
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	request, response := newEdit(cfg.Request), newEdit(cfg.Response)
	return func(next http.Handler) http.Handler {
		if response != nil {
			next = &responses{edit: response, next: next}
		}
		if request != nil {
			next = &requests{edit: request, next: next}
		}
		return next
	}, nil
}
