package environ

import (
	"net/http"
	"sync/atomic"
)

// Place is where in its stack a request is at the moment, for people who ask while it runs. The goroutine that
// runs the request's handlers writes it, any other may read it: see [Room.Place].
//
// The methods of a nil Place do nothing.
type Place struct{ at atomic.Uint32 }

// waits is set in a place whose request waits for its turn.
const waits = 1 << 31

// PlaceOf returns the place of r, or nil when r has no environ. A stack that is mounted in another has the outer one's,
// and a [Fork] that of the request.
func PlaceOf(r *http.Request) *Place {
	if rec, ok := r.Context().Value(recordKey{}).(*record); ok {
		return rec.place
	}
	return nil
}

// Enter says that the request has come to a slot, and returns where it was, to be said when it comes back. The
// stack itself calls it, with numbers that only the stack can tell the names of; 0 is no slot.
func (p *Place) Enter(slot uint32) (before uint32) {
	if p == nil {
		return 0
	}
	before = p.at.Load()
	p.at.Store(slot)
	return before
}

// Wait says whether the request waits for its turn in the slot where it is, such as in a queue.
func (p *Place) Wait(waiting bool) {
	switch {
	case p == nil:
	case waiting:
		p.at.Store(p.at.Load() | waits)
	default:
		p.at.Store(p.at.Load() &^ waits)
	}
}

// Place returns the slot that the request is in, by the number that its stack has for it, and whether it waits there
// for its turn. It may be called from any goroutine, at any time.
func (room *Room) Place() (slot uint32, waiting bool) {
	at := room.rec.own.at.Load()
	return at &^ waits, at&waits != 0
}

// Generation returns what [Room.SetGeneration] has set.
func (room *Room) Generation() uint64 { return room.rec.generation }

// Host is who runs a request. It is the value under [HostKey] of the context that the request came with.
type Host interface {
	// Abandon is called for a request whose handlers go on running in another goroutine although it is answered
	// without them. They have returned when ended is called.
	Abandon() (ended func())
}

// HostKey is the key of a [Host] in the context of a request.
type HostKey struct{}

// Abandon tells who runs r that handlers of it don't come to an end, so that r is answered without them. They are
// named among what the program is doing until ended is called.
func Abandon(r *http.Request) (ended func()) {
	if host, ok := r.Context().Value(HostKey{}).(Host); ok {
		return host.Abandon()
	}
	return func() {}
}
