package metrics

import (
	"net/http"
	"strconv"

	"github.com/stackd/stackd/registry/environ"
)

// routeOf returns the most specific pattern that a request matched. There are no more of
// them than the stack file has.
func routeOf(r *http.Request) string {
	if route := environ.Matched.Get(r); route != nil && len(route.Patterns) > 0 {
		return route.Patterns[len(route.Patterns)-1]
	}
	return "/"
}

// methodOf returns the method, if it is one that everybody knows.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "other"
}

// statusOf returns what the client got to see.
func statusOf(status int, whole bool) string {
	if status == 0 && whole {
		status = http.StatusOK // net/http sends it for a handler that writes nothing
	}
	return strconv.Itoa(status)
}
