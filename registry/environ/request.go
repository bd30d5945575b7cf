package environ

// RequestID is what a middleware calls the request, so that what it left in different
// logs can be put together. It is safe to be written to a log or a header as it is.
var RequestID = NewKey[string]("request id")

// User is the name of the user whom a middleware has authenticated. It is never set on the
// word of the client alone, and it may hold any character that a name can.
var User = NewKey[string]("user")
