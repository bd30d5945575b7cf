package environ

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// RequestID is what a middleware calls the request, so that what it left in different
// logs can be put together. It is safe to be written to a log or a header as it is.
var RequestID = NewInherited[string]("request id")

// TraceID is the id of the trace that the request is part of, as 32 hexadecimal digits: what a
// middleware that traces requests tells the logs.
var TraceID = NewInherited[string]("trace id")

// User is the name of the user whom a middleware has authenticated. It is never set on the
// word of the client alone, and it may hold any character that a name can.
var User = NewInherited[string]("user")

// Prefix is what was taken off the front of the URL's path, since the stack is mounted below it: /blog, or
// /shop/blog for one within another. It is empty for a stack that isn't mounted, or at the root. A server may have
// taken something off, too; see [Below].
//
// Whoever writes a URL of this site for a browser puts it before a path that begins with a slash. It
// has no slash at its end, and no character that a URL would escape.
var Prefix = NewInherited[string]("prefix")

// Below returns a copy of r for a server that has taken prefix off its path, as one does whose stack has a place of its own in
// another web server's site. It must be such as a [Prefix] is, which it becomes.
func Below(r *http.Request, prefix string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), belowKey{}, prefix))
}

type belowKey struct{}

// Mount takes over what [Below] has said of r. Call it before the request is handed on.
func (room *Room) Mount(r *http.Request) {
	if prefix, ok := r.Context().Value(belowKey{}).(string); ok {
		room.rec.set(Prefix.index, prefix)
	}
}

// A Fact is the [Name] of what a middleware makes known of a request in the request itself, and not by a key: for
// the traits of those that make it known and of those that rely on it.
type Fact string

// Name returns the fact as messages call it.
func (f Fact) Name() string { return string(f) }

// Client is that the RemoteAddr and TLS of the request are the visitor's, where a proxy in front has others.
const Client Fact = "visitor's address and scheme"

// Claim takes the name of a field out of Connection. A middleware calls it for what it sets in a request's header, which is
// a copy of its own: the field would otherwise be for one connection only (RFC 9110, 7.6.1), so that the client could
// have it dropped by naming it.
func Claim(h http.Header, name string) {
	claimed := func(option string) bool { return strings.EqualFold(strings.Trim(option, " \t"), name) }
	for i, list := range h["Connection"] {
		if options := strings.Split(list, ","); slices.ContainsFunc(options, claimed) {
			h["Connection"] = slices.Clone(h["Connection"])
			h["Connection"][i] = strings.TrimSpace(strings.Join(slices.DeleteFunc(options, claimed), ","))
		}
	}
}

// Generation returns which built stack answers the request: the number that the program logs when
// the stack begins to serve, one more with each reload. It is 0 outside of the program. A request that a reload
// leaves alone, since nothing that it meets has changed, keeps the number with which it began.
func Generation(r *http.Request) uint64 {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return rec.generation
	}
	return 0
}
