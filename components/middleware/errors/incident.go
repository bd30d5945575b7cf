package errors

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// letters are those of an incident's id: none that is mistaken for another.
const letters = "23456789abcdefghjkmnpqrstuvwxyz"

// idLength makes 49 bits: among a million incidents two share an id once in a thousand times.
const idLength = 10

// newID returns a random id.
func newID() string {
	id := make([]byte, 0, idLength)
	for {
		var random [2 * idLength]byte
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			if n := int(b & 31); n < len(letters) {
				if id = append(id, letters[n]); len(id) == idLength {
					return string(id)
				}
			}
		}
	}
}

// newIncident makes the copy of a failure that reporters get. Its status is set when it is
// known.
func newIncident(id string, r *http.Request, f failure.Failure) *failure.Incident {
	f.Stack = slices.Clone(f.Stack)
	return &failure.Incident{
		ID:         id,
		Time:       time.Now(),
		Failure:    f,
		Method:     r.Method,
		URL:        redactURL(r.URL, everyValue),
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
		Header:     redactHeader(r.Header),
		Route:      environ.Matched.Get(r),
	}
}
