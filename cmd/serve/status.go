package serve

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// Status tells what is going on.
func (r *Runtime) Status() control.Status {
	s := control.Status{
		PID: os.Getpid(), Started: r.started, Kept: []uint64{},
		Generations: []control.Generation{}, Listeners: []control.Listener{}, Requests: []control.Request{},
	}
	select {
	case <-r.stopping:
		s.Stopping = true
	default:
	}
	r.mu.Lock()
	s.Refused = r.refused
	var all []*generation
	if g := r.root.current.Load(); g.number > 0 {
		all = append(all, g)
	}
	for _, d := range r.draining {
		all = append(all, d.gen)
	}
	drains := len(all)
	for _, g := range r.closing {
		if g.number > 0 { // another was never served
			all = append(all, g)
		}
	}
	connections := r.conns.count()
	for _, served := range r.servers {
		if !served.control {
			s.Listeners = append(s.Listeners, control.Listener{
				Server: served.Name, Address: served.Address, Bound: served.ln.Addr().String(), Connections: connections[served],
			})
		}
	}
	r.mu.Unlock()

	for i, g := range all {
		requests, closing := r.describe(&g.flights, func(*flight) uint64 { return g.number }), ""
		if i >= drains {
			closing = g.waitsFor()
		}
		s.Generations = append(s.Generations, control.Generation{
			Number: g.number, Since: g.since, Trigger: g.trigger, Draining: i > 0, Closing: closing,
			File: g.Made.File, Hash: g.Made.Hash, RollbackTo: g.Made.RollbackTo, Requests: len(requests),
		})
		s.Requests = append(s.Requests, requests...)
	}
	if len(all) > 0 && !s.Generations[0].Draining {
		s.Generations[0].Probation = all[0].counted.status()
	}
	kept := r.describe(&r.kept, func(f *flight) uint64 { return f.kept })
	for i := range kept {
		kept[i].Kept = true
	}
	s.KeptRequests = len(kept)
	s.Requests = append(s.Requests, kept...)
	abandoned := r.zombies.requests(time.Since(r.started), r.slot())
	s.Zombies = len(abandoned)
	s.Requests = append(s.Requests, abandoned...)
	slices.SortStableFunc(s.Requests, func(a, b control.Request) int { return cmp.Compare(b.Age, a.Age) })
	s.Requests = s.Requests[:min(len(s.Requests), control.MaxRequests)]
	return s
}

// describe tells of the requests under way in a list. Of tells which generation one counts to.
func (r *Runtime) describe(l *flights, of func(*flight) uint64) (all []control.Request) {
	now, slot := time.Since(r.started), r.slot()
	l.each(func(f *flight) {
		request := control.Request{Generation: of(f), Method: f.method, Host: f.host, Path: f.path, Age: now - f.began}
		number, waits := f.room.Place()
		request.Slot = slot(number)
		if waits {
			request.State = control.Waits
		}
		all = append(all, request)
	})
	return all
}

// slot returns what names slots: the current generation knows those before it, too.
func (r *Runtime) slot() func(number uint32) string {
	if slot := r.root.current.Load().Slot; slot != nil {
		return slot
	}
	return func(uint32) string { return "" }
}
