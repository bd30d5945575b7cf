// Package errorpages answers with the site's own pages when something is not found or goes wrong.
//
// The pages are in a folder, each named after the status that it is for:
//
//	stack:
//	  - use: error_pages
//	    root: errors
//	  - errors
//	  - finder
//
// errors/404.html is for what is not found, errors/4xx.html for all else that a client does
// wrong, and errors/5xx.html for what the server does. An answer with a status that has no page stays
// as it is. The status is never changed: a page for 404 goes out with 404.
//
// # What is replaced
//
// A page goes out in the place of what says little anyway: a text of type text/plain, such as "404 page not
// found", the page that errors makes for visitors, and HTML without a body, as it comes of a PHP script that broke
// off. An answer that says no type is taken for what its body looks like, and one without a body
// replaced. And pages go to those only who would rather have HTML than text or JSON, by the field Accept: a
// browser that opens a page. What fetches data, scripts or images gets what the app said.
//
// The HTML pages of apps are left alone, since an app knows best what to say about its own errors; so is whatever is
// neither HTML nor text, such as the JSON of an API. With intercept: true the HTML pages of apps are
// replaced, too. That is for an app whose own nobody should see:
//
//	urls:
//	  /shop/:
//	    finder: {use: proxy, to: "http://127.0.0.1:9000"}
//	    error_pages: {intercept: true}
//
// The debug page of errors always comes through.
//
// # Where it stands
//
// Put it outside of errors, so that it sees the pages of that as well; a check warns when it
// doesn't. It sees only what stands further in: access_log and metrics outside of it count the pages that
// visitors get. The headers middleware reaches the pages from outside, too.
//
// The header of the answer stays, as Retry-After, WWW-Authenticate, Allow, Cache-Control, cookies and the
// Incident-Id do, except what described the lost body, such as its length, encoding, entity tag and date,
// and its Content-Security-Policy. Answers whose form depends on it say Vary: Accept.
//
// # The pages
//
// A page is in UTF-8 and in the language of Go's [html/template], and has at hand:
//
//   - .Status: the status, such as 404.
//   - .StatusText: what it is called, such as Not Found.
//   - .Incident: the id of the incident by which somebody who complains can be helped. Empty, and false
//     in an if, where there is none, as for a page that isn't there.
//
// So one page can be for many:
//
//	<h1>{{.Status}} {{.StatusText}}</h1>
//	{{with .Incident}}<p>If you tell us, please mention {{.}}.</p>{{end}}
//
// It knows nothing of the request. Since it is shown for any URL, links in it must begin with a slash.
// Best it has its style in itself, so that it looks right whatever is broken; where a
// Content-Security-Policy of the site forbids that, link to a style sheet that is a plain file.
//
// Pages are read when the stack is built, and anew when one of them changes, comes or goes. All
// that they can show is tried then; one that fails, that is longer than 1 MiB or that is named like a page and is
// none, such as 50x.html or 404.htm, is an error. Other files in the folder are left alone, and none
// of them is served. Keep the folder out of the finder's root.
package errorpages

import (
	"context"
	"net/http"
	"os"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the error_pages middleware.
var Component = registry.Middleware[Config]{
	Name: "error_pages",
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Provides:  []environ.Name{failure.Made},
	},
	Build: build,
}

// Config says where the pages are.
type Config struct {
	// Root is the folder of the pages: 404.html for one status, 4xx.html and 5xx.html for those that have no page of their
	// own. It must have at least one.
	Root registry.Path `yaml:"root" validate:"required"`
	// Intercept also replaces the HTML pages of apps.
	Intercept bool `yaml:"intercept"`
}

// Expects says that the folder must be there, with pages that can be shown.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{
		expect.Folder("root", string(c.Root)),
		{Setting: "root", Look: func(context.Context) error {
			if _, err := os.ReadDir(string(c.Root)); err != nil {
				return nil // that is for the other one to say
			}
			_, err := load(string(c.Root), func(string) {})
			return err
		}},
	}
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	pages, err := load(string(cfg.Root), env.DependsOn)
	if err != nil {
		return nil, err
	}
	s := &site{pages: pages, intercept: cfg.Intercept, log: env.Logger()}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(next, w, r) })
	}, nil
}
