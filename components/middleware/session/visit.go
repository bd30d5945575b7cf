package session

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
	"github.com/stackd/stackd/registry/session"
)

var (
	errLate   = errors.New("the response's header has gone out; a session must be changed before")
	errHijack = errors.New("session: it needs a new cookie, which a connection taken over can't bring; " +
		"it must be changed in another request, or status 101 be sent through the ResponseWriter first")
)

// handler is the middleware in one chain.
type handler struct {
	keeper *keeper
	next   http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{keeper: h.keeper, request: r, catcher: failure.Key.Get(r)}
	v.Init(w, nil)
	session.Key.Set(r, v)
	if v.catcher != nil {
		failure.Key.Set(r, v)
	}
	h.next.ServeHTTP(v, r)
	if !v.Committed() {
		v.conclude()
	}
}

// visit is the session of one request and, so that both cost one allocation, its ResponseWriter.
//
// It also stands between the app and the catcher, so as to know of a reported failure. It isn't taken
// out again: all that it does after the response is to pass failures on.
type visit struct {
	response.Writer
	keeper  *keeper
	request *http.Request
	catcher failure.Sink
	data    *data // nil until the session is used
	closed  bool  // changes can't be told to the visitor any more
	failed  bool
}

// Fail passes a failure on to the catcher. The session goes with the response that the app makes.
func (v *visit) Fail(f failure.Failure) {
	v.failed = v.failed || !f.Answered
	v.catcher.Fail(f)
}

// open returns the session's data. The first call asks the store.
func (v *visit) open() (*data, error) {
	if v.data != nil {
		return v.data, nil
	}
	d, err := v.keeper.load(v.request)
	if err != nil {
		return nil, err
	}
	v.data = d
	if !v.Committed() {
		// Only now is there something to do before the header. Nothing was written, so that
		// beginning again loses nothing.
		v.Init(v.ResponseWriter, v.conclude)
	}
	return d, nil
}

// change is open for those who want to change the data.
func (v *visit) change() (*data, error) {
	if v.closed || v.Committed() {
		return nil, errLate
	}
	return v.open()
}

// Get returns the value of key.
func (v *visit) Get(key string) (any, error) {
	d, err := v.open()
	if err != nil {
		return nil, err
	}
	return d.values[key], nil
}

// Keys returns all keys, sorted.
func (v *visit) Keys() ([]string, error) {
	d, err := v.open()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.values)), nil
}

// Set sets the value of key.
func (v *visit) Set(key string, value any) error {
	if value == nil {
		return v.Delete(key)
	}
	if err := encodable(value); err != nil {
		return fmt.Errorf("session value %q is a %T, which can't be stored: %w", key, value, err)
	}
	d, err := v.change()
	if err != nil {
		return fmt.Errorf("set session value %q: %w", key, err)
	}
	d.set(key, value)
	return nil
}

// Delete removes key.
func (v *visit) Delete(key string) error {
	d, err := v.change()
	if err != nil {
		return fmt.Errorf("delete session value %q: %w", key, err)
	}
	d.remove(key)
	return nil
}

// Renew gives the session a new id.
func (v *visit) Renew() error {
	d, err := v.change()
	if err != nil {
		return fmt.Errorf("renew session: %w", err)
	}
	d.renew()
	return nil
}

// Destroy removes the data and the cookie.
func (v *visit) Destroy() error {
	d, err := v.change()
	if err != nil {
		return fmt.Errorf("destroy session: %w", err)
	}
	d.destroy()
	return nil
}

// conclude stores the session and sets its headers. It runs just before the header goes out, or when the
// app is done without one.
func (v *visit) conclude() {
	v.closed = true
	if v.data == nil || v.failed {
		return
	}
	if err := v.data.save(v.request.Context(), v.keeper); err != nil {
		v.refuse(err)
		return
	}
	v.setHeaders()
}

// refuse keeps the app's response from going out, so that the catcher can answer. To panic
// instead would be shorter, but the app may be writing from a goroutine where nobody recovers.
func (v *visit) refuse(err error) {
	v.ResponseWriter = refused{header: make(http.Header), err: err}
	if v.catcher == nil {
		panic(err)
	}
	v.catcher.Fail(failure.New(err, 1))
}

func (v *visit) setHeaders() {
	d, h := v.data, v.Header()
	if !varies(h) {
		h.Add("Vary", "Cookie")
	}
	if (d.id != "" || d.cookie != cookieKept) && len(h["Cache-Control"]) == 0 {
		h.Set("Cache-Control", "private")
	}
	switch d.cookie {
	case cookieKept:
		return
	case cookieSet:
		http.SetCookie(v, v.keeper.cookie.issue(v.request, d.id, d.expiry))
	case cookieRemoved:
		http.SetCookie(v, v.keeper.cookie.issue(v.request, "", d.expiry))
	}
	h.Add("Cache-Control", `no-cache="Set-Cookie"`)
}

// varies reports whether the response already says that it depends on the cookies.
func varies(h http.Header) bool {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Cookie") {
				return true
			}
		}
	}
	return false
}

// Hijack stores the session and hands the connection over.
func (v *visit) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if v.data != nil && !v.Committed() && !v.failed {
		if v.data.needsCookie() {
			return nil, nil, errHijack
		}
		if err := v.data.save(v.request.Context(), v.keeper); err != nil {
			return nil, nil, err
		}
	}
	return v.Writer.Hijack()
}

// refused is the ResponseWriter of an app whose session couldn't be stored.
type refused struct {
	header http.Header
	err    error
}

func (w refused) Header() http.Header       { return w.header }
func (w refused) WriteHeader(int)           {}
func (w refused) Write([]byte) (int, error) { return 0, w.err }
func (w refused) FlushError() error         { return w.err }
