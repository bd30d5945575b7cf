package environ

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

func TestPlace(t *testing.T) {
	ctx := &roomy{Context: context.Background()}
	at := func(want uint32, waits bool) {
		t.Helper()
		if slot, waiting := ctx.room.Place(); slot != want || waiting != waits {
			t.Errorf("it is at %d, waiting %t; want %d, %t", slot, waiting, want, waits)
		}
	}
	at(0, false)
	var base Base
	r := base.Open(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
	place := PlaceOf(r)
	if before := place.Enter(3); before != 0 {
		t.Errorf("before it was at %d", before)
	}
	at(3, false)
	place.Wait(true)
	at(3, true)
	place.Wait(false)
	at(3, false)

	mounted := new(Base).Open(r.WithContext(context.WithValue(r.Context(), t, t)))
	if before := PlaceOf(mounted).Enter(4); before != 3 {
		t.Errorf("outside of the mounted stack it was at %d", before)
	}
	at(4, false)
	fork, _ := Fork(mounted)
	PlaceOf(fork).Wait(true)
	seen := make(chan struct{})
	go func() { // the race detector watches
		defer close(seen)
		for {
			if slot, waiting := ctx.room.Place(); slot == 5 && !waiting {
				return
			}
			runtime.Gosched()
		}
	}()
	PlaceOf(fork).Enter(5)
	<-seen
}

func TestNoPlace(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	place := PlaceOf(r)
	place.Wait(true)
	place.Wait(false)
	if place != nil || place.Enter(1) != 0 {
		t.Errorf("a request without an environ is at %v", place)
	}
	own := new(Base).Open(r) // its server made no room
	if PlaceOf(own).Enter(1) != 0 || PlaceOf(own).Enter(0) != 1 {
		t.Error("a request whose server made no room has no place of its own")
	}
}

// host counts the requests that were abandoned.
type host struct {
	context.Context
	abandoned, ended int
}

func (h *host) Value(key any) any {
	if key == (HostKey{}) {
		return h
	}
	return h.Context.Value(key)
}

func (h *host) Abandon() func() {
	h.abandoned++
	return func() { h.ended++ }
}

func TestAbandon(t *testing.T) {
	h := &host{Context: context.Background()}
	r := new(Base).Open(httptest.NewRequestWithContext(h, http.MethodGet, "/", http.NoBody))
	fork, _ := Fork(r)
	ended := Abandon(fork)
	if h.abandoned != 1 || h.ended != 0 {
		t.Errorf("the host was told %d times, and of the end %d times", h.abandoned, h.ended)
	}
	ended()
	if h.ended != 1 {
		t.Error("the host was not told of the end")
	}
	Abandon(httptest.NewRequest(http.MethodGet, "/", http.NoBody))() // nobody is there to be told
}

func BenchmarkPlace(b *testing.B) {
	ctx := &roomy{Context: context.Background()}
	r := new(Base).Open(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
	b.ReportAllocs()
	for b.Loop() {
		place := PlaceOf(r)
		place.Enter(place.Enter(1))
	}
}
