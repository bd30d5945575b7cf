package stackfile

import (
	"net/http"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// passing notes that a request has come to a slot, and that it has come back.
type passing struct {
	place uint32
	slot  int // for environ.Reached; -1 if nobody further out asks
	next  http.Handler
}

func (p *passing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.slot >= 0 {
		environ.Reached.Set(r, p.slot)
	}
	place := environ.PlaceOf(r)
	before := place.Enter(p.place)
	p.next.ServeHTTP(w, r)
	place.Enter(before) // after a panic whoever recovers from it does
}

// placesOf returns what to call the place of a request that enters a slot, by the slot's index; empty where that is
// noted no more than before. It is noted for what may wait, since there is where people find a request: pieces
// that never wait and follow one another are one place, "headers to compress". That keeps the price of one that does
// nothing at the call that it is. From the slot followed on, each slot is noted anyway.
func placesOf(effects []*effect, followed int) []string {
	places := make([]string, len(effects))
	begun := -1 // where the present run of those that never wait began
	first := ""
	for i, e := range effects {
		if e.instance == nil {
			continue
		}
		name := e.instance.full()
		never := i <= followed && e.instance.def.Kind == registry.KindMiddleware
		e.instance.walk(func(p *planned) { never = never && p.def.Traits(p.cfg).Calls == registry.NonBlocking })
		switch {
		case !never:
			begun, places[i] = -1, name
		case begun < 0:
			begun, first, places[i] = i, name, name
		default:
			places[begun] = first + " to " + strings.TrimPrefix(name, e.instance.within)
		}
	}
	return places
}

// place returns the number of a slot, for [environ.Place]. A stack and its successors give a name the same number.
func (d *depot) place(slot string) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, known := d.places[slot]
	if !known {
		if d.places == nil {
			d.places = make(map[string]uint32)
		}
		d.slots = append(d.slots, slot)
		number = uint32(len(d.slots))
		d.places[slot] = number
	}
	return number
}

// Slot returns the name of the slot with that number, as a request's [environ.Place] has it: session, or
// blog.stack/session for one of a stack that is mounted; or of two slots, "headers to compress", where those and all
// between never wait. It is empty for no slot. A stack knows the numbers of those before it, too.
func (s *Stack) Slot(number uint32) string {
	d := s.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	if number == 0 || int(number) > len(d.slots) {
		return ""
	}
	return d.slots[number-1]
}
