package registry

import (
	"context"
	"net"
	"net/http"
	"reflect"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

// ServeFunc is what a server's Build returns.
//
// It accepts connections on l and answers each request with h, until ctx ends. Then it
// stops accepting, closes idle connections, lets the requests under way finish, and
// returns nil; whoever called it closes the connections that take too long. It may be
// called for several listeners at a time, and again after it returned. An error before
// ctx ended says that it can't go on. That Accept fails for want of files or memory is no reason: others may be
// closed by and by.
//
// A server whose settings have no listen is given the standard input and output of the process: l has that one connection,
// a gateway.Process, and Accept returns [io.EOF] when it was closed. Then the server returns nil, and the process ends.
type ServeFunc func(ctx context.Context, l net.Listener, h http.Handler) error

// Wrap is what a middleware's Build returns: it puts the middleware around next. It is
// called once for each chain that the middleware stands in; what these share is
// what Build made.
type Wrap func(next http.Handler) http.Handler

// A Kind says what a component is for, and so where its name may stand in a stack file.
type Kind string

// The kinds, in the order in which a request meets them.
const (
	KindServer     Kind = "server"
	KindMiddleware Kind = "middleware"
	KindApp        Kind = "app"
	KindHook       Kind = "hook"
	KindFactory    Kind = "factory"
	KindServlet    Kind = "servlet"
	KindStore      Kind = "store"
	KindReporter   Kind = "reporter"
)

// Kinds returns all kinds, in the order in which a request meets them.
func Kinds() []Kind {
	return []Kind{KindServer, KindMiddleware, KindApp, KindHook, KindFactory, KindServlet, KindStore, KindReporter}
}

// kindOf returns the kind of components whose Build returns a t, or "".
func kindOf(t reflect.Type) Kind {
	switch t {
	case reflect.TypeFor[ServeFunc]():
		return KindServer
	case reflect.TypeFor[Wrap]():
		return KindMiddleware
	case reflect.TypeFor[http.Handler]():
		return KindApp
	case reflect.TypeFor[resource.Hook]():
		return KindHook
	case reflect.TypeFor[resource.Factory]():
		return KindFactory
	case reflect.TypeFor[*servlet.Servlet]():
		return KindServlet
	case reflect.TypeFor[session.Store]():
		return KindStore
	case reflect.TypeFor[failure.Reporter]():
		return KindReporter
	}
	return ""
}
