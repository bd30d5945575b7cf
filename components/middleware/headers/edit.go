package headers

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/response"
)

// edit is what is done to a header, its names in canonical form.
type edit struct {
	remove           []string
	set, add, absent []field
}

// field is a header field. Its values are shared by all messages: the list has no spare capacity, so
// that whoever adds one makes a list of its own.
type field struct {
	name   string
	values []string
}

// newEdit returns nil for changes that change nothing.
func newEdit(c changes) *edit {
	e := &edit{set: fields(c.Set), add: fields(c.Add), absent: fields(c.Default)}
	for _, name := range c.Remove {
		e.remove = append(e.remove, http.CanonicalHeaderKey(name))
	}
	if len(e.remove)+len(e.set)+len(e.add)+len(e.absent) == 0 {
		return nil
	}
	return e
}

func fields(from map[string]string) []field {
	var list []field
	for _, name := range slices.Sorted(maps.Keys(from)) {
		list = append(list, field{http.CanonicalHeaderKey(name), []string{from[name]}})
	}
	return list
}

func (e *edit) apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	for _, f := range e.set {
		h[f.name] = f.values
	}
	for _, f := range e.add {
		h[f.name] = append(h[f.name], f.values...)
	}
	for _, f := range e.absent {
		if len(h[f.name]) == 0 {
			h[f.name] = f.values
		}
	}
}

// requests changes requests in one chain.
type requests struct {
	edit *edit
	next http.Handler
}

func (h *requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(r.Context())
	r.Header = r.Header.Clone()
	h.edit.apply(r.Header)
	for name := range r.Header {
		if strings.Contains(name, "_") && slices.Contains(h.edit.remove, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(r.Header, name)
		}
	}
	for _, fields := range [][]field{h.edit.set, h.edit.add, h.edit.absent} {
		for _, f := range fields {
			environ.Claim(r.Header, f.name)
		}
	}
	h.next.ServeHTTP(w, r)
}

// responses changes responses in one chain.
type responses struct {
	edit *edit
	next http.Handler
}

// exchange is the ResponseWriter of one request.
type exchange struct {
	response.Writer
	edit *edit
}

func (h *responses) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{edit: h.edit}
	x.Init(w, x.change)
	h.next.ServeHTTP(x, r)
	if !x.Committed() {
		x.change() // net/http sends the header of a handler that wrote nothing
	}
}

func (x *exchange) change() { x.edit.apply(x.Header()) }
