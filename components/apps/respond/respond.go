// Package respond answers every request with one fixed response.
//
// It is the app for a maintenance page, a health check, or a part of the site that is
// closed:
//
//	urls:
//	  /health: {finder: {use: respond, body: "fine\n"}}
//	  /old/:   {finder: {use: respond, status: 410, body: "gone for good\n"}}
//
// The method doesn't matter. HEAD gets the header without the body, and Content-Length is
// always set, except for statuses that have no body.
package respond

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the respond app.
var Component = registry.App[Config]{
	Name:    "respond",
	Default: Config{Status: http.StatusOK, Type: "text/plain; charset=utf-8"},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config is the response.
type Config struct {
	// Status is the status to answer with.
	Status int `yaml:"status" validate:"min=200,max=599"`
	// Body is the text to answer with. When it is empty the status' own words are, such as
	// "Not Found", and nothing with a status that has no body: 204, 205 and 304. With these it must
	// be empty.
	Body string `yaml:"body"`
	// Type is the Content-Type of the body; it isn't sent without one.
	Type string `yaml:"type" validate:"required"`
	// Headers are further header fields, such as Retry-After or Location. Content-Type and
	// Content-Length follow from type and body and can't be set here.
	Headers map[string]string `yaml:"headers"`
}

// Validate checks what concerns several settings, and what goes into the header.
func (c Config) Validate() error {
	var errs []error
	if c.Body != "" && bodyless(c.Status) {
		errs = append(errs, &registry.SettingError{
			Setting: "body",
			Problem: fmt.Sprintf("is not empty; it must be with status %d", c.Status),
		})
	}
	if !httpguts.ValidHeaderFieldValue(c.Type) {
		errs = append(errs, &registry.SettingError{Setting: "type", Problem: "has a control character; it must be a MIME type"})
	}
	reserved := []string{"Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Trailer"}
	first := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		key, value, problem := http.CanonicalHeaderKey(name), c.Headers[name], ""
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			problem = fmt.Sprintf("has the name %q; it must be letters, digits and hyphens", name)
		case !httpguts.ValidHeaderFieldValue(value):
			problem = "has a control character; it must be one line of text"
		case slices.Contains(reserved, key):
			problem = "is set; it must be left to stackd"
		case first[key] != "":
			problem = "is there twice, in other letters; it must be there once"
		}
		if problem != "" {
			errs = append(errs, &registry.SettingError{Setting: "headers[" + name + "]", Problem: problem})
		}
		first[key] = name
	}
	return errors.Join(errs...)
}

func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}

func build(_ *registry.Env, cfg Config) (http.Handler, error) {
	if cfg.Body == "" && !bodyless(cfg.Status) {
		cfg.Body = cmp.Or(http.StatusText(cfg.Status), strconv.Itoa(cfg.Status)) + "\n"
	}
	a := &answer{status: cfg.Status, body: []byte(cfg.Body)}
	for name, value := range cfg.Headers {
		a.header = append(a.header, field{http.CanonicalHeaderKey(name), []string{value}})
	}
	if cfg.Body != "" {
		a.header = append(a.header, field{"Content-Type", []string{cfg.Type}})
	}
	// RFC 9110, 8.6: a 204 has no Content-Length, and a 304's would be that of a 200.
	if cfg.Status != http.StatusNoContent && cfg.Status != http.StatusNotModified {
		a.header = append(a.header, field{"Content-Length", []string{strconv.Itoa(len(cfg.Body))}})
	}
	return a, nil
}

type answer struct {
	status int
	header []field
	body   []byte
}

// field is a header field whose values are shared by all responses: they have no spare
// capacity, so that whoever adds one makes a list of its own.
type field struct {
	name   string
	values []string
}

func (a *answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	for _, f := range a.header {
		if f.name == "Set-Cookie" || f.name == "Vary" {
			header[f.name] = append(header[f.name], f.values...) // both can stand
		} else {
			header[f.name] = f.values
		}
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead && len(a.body) > 0 {
		w.Write(a.body)
	}
}
