package registry

import (
	"net/http"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

// Component declares a component with settings C whose Build makes a T. Use it
// through the alias of its kind. Declaring one does nothing.
type Component[C, T any] struct {
	// Name is what a stack file calls it: lower case letters, digits and underscores. It is
	// unique within the kind; middleware and apps share their names.
	Name string
	// Default are the settings that a stack file starts from.
	Default C
	// Traits are its promises. Processes and Calls must be stated.
	Traits Traits
	// Build makes an instance. See the package comment for its life.
	Build func(env *Env, cfg C) (T, error)
	// Prose is what the comments of its package say, for the manual and the schema: the prose.json that
	//
	//	go run github.com/stackd/stackd/schema/generate .
	//
	// writes, embedded. Without it the manual has only facts. The components of stackd have theirs in package schema.
	Prose []byte
}

// Server is a component that accepts requests from a network.
type Server[C any] = Component[C, ServeFunc]

// Middleware is a component that stands between the server and an app.
type Middleware[C any] = Component[C, Wrap]

// App is a component that answers requests; it is the last entry of a stack.
type App[C any] = Component[C, http.Handler]

// Hook is a component that a finder asks before it looks at the disk.
type Hook[C any] = Component[C, resource.Hook]

// Factory is a component that makes apps of files.
type Factory[C any] = Component[C, resource.Factory]

// Servlet is a component that answers requests for one URL, put there by the factory or the app servlet.
type Servlet[C any] = Component[C, *servlet.Servlet]

// Store is a component that keeps session data.
type Store[C any] = Component[C, session.Store]

// Reporter is a component that tells somebody about incidents.
type Reporter[C any] = Component[C, failure.Reporter]
