package environ

import "net/http"

// Fork returns a copy of r with an environ of its own that begins with the values of r's, for handlers that run in
// another goroutine: what is set on either side isn't seen on the other. Join puts the fork's values back
// into r's environ. Call it when the other goroutine is done with the request, and not at all when it
// doesn't come to its end.
//
// A request without an environ is only copied.
func Fork(r *http.Request) (fork *http.Request, join func()) {
	outer, ok := r.Context().Value(recordKey{}).(*record)
	if !ok || !outer.open {
		return r.WithContext(r.Context()), func() {}
	}
	f := &frame{Context: r.Context()}
	f.rec.open, f.rec.generation, f.rec.place = true, outer.generation, outer.place
	f.rec.values = append(f.rec.array[:0], outer.values...)
	return r.WithContext(f), func() {
		outer.values = append(outer.values[:0], f.rec.values...)
	}
}
