// Package session is the contract between what keeps sessions, what stores
// them and what uses them.
//
// An app asks for the session of its request:
//
//	s := session.Key.Get(r)
//	n, err := session.Value[int](s, "count")
//	…
//	err = s.Set("count", n+1)
//
// Asking costs nothing until the first method is called: only then is a store
// touched, and only a session that was changed is stored and gets a cookie.
package session

import (
	"context"
	"fmt"
	"time"

	"github.com/stackd/stackd/registry/environ"
)

// Key is the session of a request. It is nil when no session keeper stands further
// out for this URL; a component that can't do without lists it under Needs.
var Key = environ.NewKey[Session]("session")

// Session is the data kept for one visitor between requests.
//
// It belongs to the request's goroutine. Values are numbers, strings, bools,
// []byte, [time.Time], and slices and maps of those; other types must be known to
// the keeper's codec. Every method fails when the store can't be reached, and
// then changes nothing. A change made after the response's headers went
// out can't be told to the browser any more: it is an error.
type Session interface {
	// Get returns the value of key, or nil when there is none.
	Get(key string) (any, error)
	// Set sets the value of key.
	Set(key string, value any) error
	// Delete removes key; a key which isn't there is no error.
	Delete(key string) error
	// Keys returns all keys, sorted.
	Keys() ([]string, error)
	// Renew keeps the data under a new id. Call it when the visitor's privileges
	// change, as at log-in, so that an id seen before is worth nothing.
	Renew() error
	// Destroy removes the data and the cookie.
	Destroy() error
}

// Value returns the value of key as a T: T's zero value when there is none, an
// error when it is of another type.
func Value[T any](s Session, key string) (T, error) {
	var zero T
	v, err := s.Get(key)
	if err != nil || v == nil {
		return zero, err
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("session value %q is a %T; it must be a %T", key, v, zero)
	}
	return t, nil
}

// Store keeps session data under tokens. The token it is handed is already a hash of
// the visitor's: who can read the store can't impersonate anybody.
//
// All methods are safe for concurrent use and end when ctx ends. Data is the store's
// to keep once Commit returns, and the caller's once Find returned it: neither
// changes the other's bytes.
type Store interface {
	// Find returns the data of a token. A token that is unknown, expired or malformed
	// is not found, which is no error.
	Find(ctx context.Context, token string) (data []byte, found bool, err error)
	// Commit stores the data until expiry, in place of what was there. When it returns
	// without an error a following Find sees the data.
	Commit(ctx context.Context, token string, data []byte, expiry time.Time) error
	// Delete removes a token. One that isn't there is no error.
	Delete(ctx context.Context, token string) error
}
