// Package servlet has one servlet answer every request, with no files around it.
//
// It is for a site that is a servlet, or a part of one:
//
//	stack:
//	  - session
//	  - {use: finder, root: site}
//	urls:
//	  /vote:
//	    finder:
//	      use: servlet
//	      servlet: {use: poll, question: "Tea?", file: var/vote.txt}
//
// The pattern under urls says for which URLs. To put servlets among the files of a site there is the factory servlet.
package servlet

import (
	"net/http"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/servlet"
)

func init() { registry.Register(Component) }

// Component is the servlet app.
var Component = registry.App[Config]{
	Name:   "servlet",
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:  func(_ *registry.Env, cfg Config) (http.Handler, error) { return cfg.Servlet.Get(), nil },
}

// Config says which servlet it is.
type Config struct {
	// Servlet is the servlet that answers.
	Servlet registry.Ref[*servlet.Servlet] `yaml:"servlet" validate:"required"`
}
