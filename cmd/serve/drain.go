package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// maxDraining is how many generations may drain at a time.
const maxDraining = 8

// drain is a retired generation whose requests still have time.
type drain struct {
	gen *generation
	cut context.CancelFunc // its time is over
}

// handover is what became of the requests of a generation that has been swapped out.
type handover struct {
	moved, kept int
	closing     map[*flight]bool
}

// handOver gives each request of a generation that has been swapped out to where it goes on.
func (r *Runtime) handOver(old, next *generation) handover {
	var h handover
	if next.Fate == nil {
		return h
	}
	defer func() { next.Fate = nil }() // what it knows of the generation before goes with that
	for _, f := range old.inside() {
		fate := next.Fate(Request{f.method, f.host, f.path})
		release := fate.Release
		note := func() {
			if f.release == nil { // else it holds all that it uses already
				f.release, release = release, nil
			}
		}
		switch fate.Way {
		case Move:
			if old.move(f, &next.flights, note) {
				h.moved++
			}
		case Keep:
			if old.move(f, &r.kept, func() { note(); f.kept = old.number }) {
				h.kept++
			}
		case Close:
			if h.closing == nil {
				h.closing = make(map[*flight]bool)
			}
			h.closing[f] = true
		case Drain:
		}
		if release != nil {
			release()
		}
	}
	return h
}

// retire drains a generation that has been swapped out, and the servers that it was the last
// to name, in the background. The requests that are closing have no time.
func (r *Runtime) retire(old *generation, servers []*server, closing map[*flight]bool) {
	servers = r.linger(old, servers)
	ctx, cut := context.WithTimeout(r.end, or(old.DrainTimeout, defaultDrainTimeout))
	d := &drain{old, cut}
	r.mu.Lock()
	r.draining = append(r.draining, d)
	var oldest *drain
	if len(r.draining) > maxDraining {
		oldest, r.draining = r.draining[0], slices.Clone(r.draining[1:])
	}
	r.mu.Unlock()
	if oldest != nil {
		r.log.Warn("too many generations drain, the oldest is cut", slog.Uint64("generation", oldest.gen.number))
		oldest.cut()
	}
	r.drains.Go(func() {
		defer cut()
		r.closeRequests(ctx, old, closing)
		r.drain(ctx, old, servers, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.draining = slices.DeleteFunc(r.draining, func(other *drain) bool { return other == d })
		})
	})
}

// closeRequests ends requests of a sealed generation at once: first it tells them, and then it takes their connections.
func (r *Runtime) closeRequests(ctx context.Context, g *generation, closing map[*flight]bool) {
	if len(closing) == 0 {
		return
	}
	for f := range closing {
		f.cut()
	}
	notice, cancel := context.WithTimeout(ctx, r.grace)
	defer cancel()
	if !drained(notice, g, nil) {
		g.sever(func(f *flight) bool { return closing[f] })
	}
}

// drain waits for the requests of a sealed generation and for servers that were told to end,
// cuts them when ctx ends, calls before, and closes the generation.
func (r *Runtime) drain(ctx context.Context, g *generation, servers []*server, before func()) {
	begin := time.Now()
	outlived := 0
	if !drained(ctx, g, servers) {
		outlived = r.cut(g, servers)
		r.outlived.Add(int64(outlived))
	}
	before()
	g.release() // of those that never end
	idle := time.Now()
	r.free(g)
	r.log.Log(context.Background(), r.routine(), "generation closed",
		slog.Uint64("generation", g.number),
		slog.Duration("drain", idle.Sub(begin)),
		slog.Duration("close", time.Since(idle)),
		slog.Int("outlived", outlived))
}

// drained tells whether nothing of g and the servers was left before ctx ended.
func drained(ctx context.Context, g *generation, servers []*server) bool {
	for _, s := range servers {
		select {
		case <-s.done:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case <-g.idle:
		return true
	case <-ctx.Done():
		return false
	}
}

// cut ends what outlived the deadline: first it tells the requests, then it takes their
// connections. It returns how many requests these were, when they have ended; or, if they never do, when
// the process's own end has come.
func (r *Runtime) cut(g *generation, servers []*server) (outlived int) {
	late := g.cancel()
	if len(late) > 0 {
		r.log.Warn("requests outlived the drain deadline and are cancelled", about(g, late)...)
	}
	servers = r.linger(g, servers) // a request may have come by one since
	notice, cancel := context.WithTimeout(r.force, r.grace)
	defer cancel()
	if drained(notice, g, servers) {
		return len(late)
	}
	g.sever(func(*flight) bool { return true })
	for _, s := range servers {
		select {
		case <-s.done:
		default:
			r.log.Warn("server outlived the drain deadline, its connections are cut",
				slog.String("server", s.Name),
				slog.String("address", s.Address),
				slog.Int("connections", r.conns.cut(s)))
		}
	}
	notice, cancel = context.WithTimeout(context.Background(), r.grace)
	defer cancel()
	if drained(notice, g, servers) {
		return len(late)
	}
	stuck := g.inside()
	r.log.Error("requests don't end although they are cancelled and cut off; the generation stays open for them", about(g, stuck)...)
	if !drained(r.end, g, servers) {
		r.leave(fmt.Errorf("generation %d was closed under what does not end: %d requests (%v), %d servers to wait for",
			g.number, len(stuck), few(stuck), running(servers)))
	}
	return len(late)
}

// linger lets those of the servers of g go on that have requests which others than g have by now, until these have ended. It
// returns the other servers. When the process stops, none goes on.
func (r *Runtime) linger(g *generation, servers []*server) (rest []*server) {
	if r.end.Err() != nil {
		return servers
	}
	r.mu.Lock()
	others := []*flights{&r.kept, &r.root.current.Load().flights}
	for _, d := range r.draining {
		if d.gen != g {
			others = append(others, &d.gen.flights)
		}
	}
	r.mu.Unlock()
	busy := make(map[*server]bool)
	for _, other := range others {
		other.each(func(f *flight) { busy[f.server] = true })
	}
	for _, s := range servers {
		if !busy[s] {
			rest = append(rest, s)
			continue
		}
		release := func() {}
		if s.Hold != nil {
			release = s.Hold()
		}
		r.drains.Go(func() {
			defer release()
			select {
			case <-s.done:
			case <-r.end.Done(): // the stop cuts its requests, and then all connections
				late := time.NewTimer(4 * r.grace)
				defer late.Stop()
				select {
				case <-s.done:
				case <-late.C:
					r.leave(fmt.Errorf("server %q on %q does not end", s.Name, s.Address))
					return
				}
			}
			r.log.Info("server ended after its last request", slog.String("server", s.Name), slog.String("address", s.Address))
		})
	}
	return rest
}

// about describes requests in a log record.
func about(g *generation, requests []*flight) []any {
	return []any{
		slog.Uint64("generation", g.number),
		slog.Int("count", len(requests)),
		slog.Any("requests", few(requests)),
	}
}

// few names the first of these requests.
func few(requests []*flight) []string {
	const most = 10
	names := make([]string, 0, most)
	for _, f := range requests[:min(len(requests), most)] {
		names = append(names, f.String())
	}
	return names
}

// running counts the servers that have not returned.
func running(servers []*server) (n int) {
	for _, s := range servers {
		select {
		case <-s.done:
		default:
			n++
		}
	}
	return n
}

// leave notes what the process leaves behind; Run returns it.
func (r *Runtime) leave(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = append(r.stuck, err)
}

// stop ends everything, in the reverse of the order in which it began; the control at last.
func (r *Runtime) stop() {
	r.watch.close()
	g := r.root.current.Load()
	timer := time.AfterFunc(or(g.StopTimeout, defaultStopTimeout), r.endNow)
	defer timer.Stop()
	var told *server
	var servers []*server
	sockets := maps.Clone(r.sockets)
	for _, s := range r.servers {
		if s.control {
			told = s
			delete(sockets, s.Address)
			continue
		}
		servers = append(servers, s)
	}
	for _, s := range slices.Backward(servers) {
		s.retire()
	}
	if told != nil && r.replaced.Load() { // who asks now is to reach the other process
		told.retire()
	}
	close(r.quiet)
	for _, address := range slices.Backward(slices.Sorted(maps.Keys(sockets))) {
		r.closeSocket(sockets[address])
	}
	if r.options.Stop != nil {
		r.outlived.Add(int64(r.options.Stop(r.end)))
	}
	if g.number > 0 {
		for _, s := range servers { // they may still bring requests
			select {
			case <-s.done:
			case <-r.end.Done():
			}
		}
		for _, f := range r.kept.inside() { // from now on they have the deadline that all have
			r.kept.move(f, &g.flights, func() {})
		}
		g.seal()
		r.drain(r.end, g, servers, func() {
			r.conns.wait(r.end) // those that were hijacked
			if n := r.conns.cut(nil); n > 0 {
				r.log.Warn("connections outlived the stop deadline and are cut", slog.Int("connections", n))
			}
		})
	}
	r.drains.Wait()
	patience := time.NewTimer(r.grace)
	defer patience.Stop()
	select {
	case r.loading <- struct{}{}:
	case <-patience.C:
		r.leave(errors.New("a load does not end although it is cancelled"))
	}
	if told != nil { // whoever waits for the stop then finds the socket gone
		r.closeSocket(r.sockets[told.Address])
	}
	r.set(nil, nil)
	close(r.drained)
	if told != nil {
		r.endServer(told)
	}
}

// closeSocket closes a socket; that it can't be done is said in the log.
func (r *Runtime) closeSocket(s *socket) {
	if err := s.close(); err != nil {
		r.log.Warn("closing a listener", slog.String("bound", s.ln.Addr().String()), slog.Any("err", err))
	}
}
