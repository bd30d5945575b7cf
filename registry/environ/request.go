package environ

import "net/http"

// RequestID is what a middleware calls the request, so that what it left in different
// logs can be put together. It is safe to be written to a log or a header as it is.
var RequestID = NewKey[string]("request id")

// TraceID is the id of the trace that the request is part of, as 32 hexadecimal digits: what a
// middleware that traces requests tells the logs.
var TraceID = NewKey[string]("trace id")

// User is the name of the user whom a middleware has authenticated. It is never set on the
// word of the client alone, and it may hold any character that a name can.
var User = NewKey[string]("user")

// Generation returns which built stack answers the request: the number that the program logs when
// the stack begins to serve, one more with each reload. It is 0 outside of the program.
func Generation(r *http.Request) uint64 {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return rec.generation
	}
	return 0
}
