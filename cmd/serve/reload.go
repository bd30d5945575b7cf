package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// reloadAll makes the first generation, says on started how that went, and then makes the next
// for every trigger until ctx ends.
func (r *Runtime) reloadAll(ctx context.Context, started chan<- error) {
	_, err := r.reload(ctx, Order{Trigger: "start"})
	started <- err
	if err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.reloadPulse:
		case <-r.hangups:
			_, _ = r.reload(ctx, Order{Trigger: "SIGHUP"}) // it has logged the error
		case <-r.watch.changed:
			if files := r.watch.take(); len(files) > 0 {
				_, _ = r.reload(ctx, Order{Trigger: strings.Join(files, ", ")})
			}
		case <-r.verdicts:
			if o := r.judge(r.root.current.Load()); o != nil {
				_, _ = r.reload(ctx, *o)
			}
		case req := <-r.requests:
			// What has changed until now is what the order is about, and no reason for another reload.
			r.watch.compare()
			r.watch.take()
			report, err := r.reload(ctx, req.Order)
			req.reply <- outcome{report, err}
		case order := <-r.upgrades:
			order.reply <- r.replace(ctx, order)
			if r.replaced.Load() { // nothing is done here any more but to stop
				<-ctx.Done()
			}
		}
	}
}

// reload makes the next generation current. If it can't, the error says why, nothing has
// changed, and what was new is closed.
func (r *Runtime) reload(ctx context.Context, o Order) (report control.Reload, err error) {
	begin := time.Now()
	r.busy.Store(true)
	defer r.busy.Store(false)
	if r.options.Reloading != nil {
		ended := r.options.Reloading()
		defer func() { ended(report, err) }()
	}
	old := r.root.current.Load()
	at := newStages(ctx, r.log, o.Trigger)
	defer at.close()
	at.begin("check", or(old.CheckTimeout, defaultCheckTimeout))
	if o.Load == nil {
		o.Load = r.options.Load
	}

	next, err := r.load(at, o.Load)
	loaded := time.Now()
	var s *stage
	var agree time.Duration
	if err == nil {
		at.begin("listen", or(next.ListenTimeout, defaultListenTimeout))
		s, err = r.prepare(at, &next)
		at.ended()
		if err == nil && next.Agree != nil {
			agreeing := time.Now()
			if err = next.Agree(at, &next, s.conns()); err != nil {
				err = errors.Join(err, r.undo(s))
			}
			agree = time.Since(agreeing)
		}
		if err == nil && next.Ready != nil {
			if err = next.Ready(at, s.bound()); err != nil {
				err = errors.Join(err, r.undo(s))
			}
		}
		if err != nil {
			r.discard(next)
		}
	}
	at.ended()
	if err != nil {
		if r.number == 0 {
			return report, err
		}
		r.watch.add(next.Watch, begin)
		r.refuse(&control.Refused{At: time.Now(), Trigger: o.Trigger, Text: err.Error()})
		level := slog.LevelError
		if r.options.Quiet {
			level = slog.LevelDebug
		}
		r.log.Log(ctx, level, "reload refused, the old generation serves on",
			slog.Uint64("generation", r.number),
			slog.String("trigger", o.Trigger),
			slog.Duration("load", loaded.Sub(begin)),
			slog.Any("err", err))
		return report, err
	}
	if !oneRequest(next) {
		r.watch.poll(next.Poll)
		r.watch.set(next.Watch, begin)
	}

	swapping := time.Now()
	r.number = next.Number
	g := newGeneration(next, r.number)
	g.trigger, g.epoch, g.zombies = o.Trigger, r.started, &r.zombies
	if p := next.Probation; p != nil {
		g.counted = newTally(p.Period, r.verdicts)
		if old.counted != nil && next.Made.RollbackTo == 0 {
			g.follow(old)
		}
	}
	r.refuse(nil)
	r.root.swap(g)
	passed := r.handOver(old, g)
	r.set(s.servers, s.sockets)
	for _, started := range s.started {
		if started.control { // whoever asks finds the generation current
			continue
		}
		r.open(started)
		r.log.Log(ctx, r.routine(), "listening",
			slog.String("server", started.Name),
			slog.String("address", started.Address),
			slog.String("bound", started.ln.Addr().String()))
	}
	for _, retired := range s.retired {
		retired.retire()
	}
	r.tidy(s, next.all())
	if next.Current != nil {
		next.Current(r.number)
	}
	for _, started := range s.started {
		if started.control {
			r.open(started)
			r.log.Info("controlled by stackd reload, status, rollback and stop", slog.String("address", started.Address))
		}
	}
	report = control.Reload{
		Generation: r.number, Replaced: old.number, Trigger: o.Trigger, Made: next.Made,
		Listen: swapping.Sub(loaded) - agree, Swap: time.Since(swapping),
		Draining: old.count() - len(passed.closing), RequestsMoved: passed.moved, RequestsKept: passed.kept, RequestsClosed: len(passed.closing),
		Started: addresses(s.started), Ended: addresses(s.retired),
		Kept: addresses(slices.DeleteFunc(slices.Clone(s.servers), func(kept *server) bool { return slices.Contains(s.started, kept) })),
	}
	if next.Report != nil {
		report = next.Report(report)
	}
	r.log.Log(ctx, r.routine(), "generation serves", append(attributes(report), slog.Duration("load", loaded.Sub(begin)))...)
	if old.number > 0 {
		r.retire(old, s.retired, passed.closing)
	}
	return report, nil
}

// refuse notes what the last reload was refused for; nil if it wasn't.
func (r *Runtime) refuse(why *control.Refused) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = why
}

// addresses are those of servers.
func addresses(servers []*server) []string {
	all := []string{}
	for _, s := range servers {
		if !s.control {
			all = append(all, s.Address)
		}
	}
	return all
}

// attributes describes a reload in a log record.
func attributes(d control.Reload) []any {
	all := []any{slog.Uint64("generation", d.Generation), slog.String("trigger", d.Trigger)}
	if d.File != "" {
		all = append(all, slog.String("file", d.File), slog.String("hash", d.Hash))
	}
	if d.RollbackTo > 0 {
		all = append(all, slog.Uint64("rollback_to", d.RollbackTo))
	}
	return append(all,
		slog.Any("built", some(d.Built)), slog.Int("carried_over", len(d.Carried)), slog.Any("retired", some(d.Retired)),
		slog.Int("moved", d.RequestsMoved), slog.Int("kept", d.RequestsKept), slog.Int("closed", d.RequestsClosed), slog.Int("draining", d.Draining),
		slog.Duration("check", d.Check), slog.Duration("build", d.Build), slog.Duration("listen", d.Listen), slog.Duration("swap", d.Swap),
		slog.Int("servers_started", len(d.Started)), slog.Int("servers_kept", len(d.Kept)), slog.Int("servers_ended", len(d.Ended)))
}

// some names the first of these, and counts the others.
func some(names []string) []string {
	const most = 20
	if len(names) <= most {
		return names
	}
	return append(slices.Clone(names[:most]), fmt.Sprintf("and %d others", len(names)-most))
}

// or returns d, or the default if d is zero.
func or(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return d
}

// load calls the function, but waits for it no longer than ctx.
func (r *Runtime) load(ctx context.Context, load func(context.Context) (Generation, error)) (Generation, error) {
	select {
	case r.loading <- struct{}{}:
	case <-ctx.Done():
		return Generation{}, fmt.Errorf("the load before has not ended: %w", context.Cause(ctx))
	}
	type result struct {
		generation Generation
		err        error
	}
	results, left := make(chan result), make(chan struct{})
	defer close(left)
	go func() { // whoever takes the next token waits for it
		defer func() { <-r.loading }()
		g, err := load(ctx)
		if err == nil {
			err = g.check()
			if err != nil {
				err = errors.Join(err, newGeneration(g, 0).free())
			}
		}
		select {
		case results <- result{g, err}:
			return
		case <-left:
		}
		if err == nil { // it came too late
			if err := newGeneration(g, 0).free(); err != nil {
				r.log.Error("closing what was loaded too late", slog.Any("err", err))
			}
		}
	}()
	select {
	case res := <-results:
		return res.generation, res.err
	case <-ctx.Done():
	}
	// It knows what it is doing, and tells so if it heeds its context.
	notice := time.NewTimer(r.grace)
	defer notice.Stop()
	select {
	case res := <-results:
		if res.err == nil {
			r.discard(res.generation)
			res = result{err: fmt.Errorf("load: %w", context.Cause(ctx))}
		}
		return res.generation, res.err
	case <-notice.C:
		return Generation{}, fmt.Errorf("load: %w", context.Cause(ctx))
	}
}

// stage is what a reload has made ready before the swap.
type stage struct {
	sockets map[string]*socket // of the next generation
	servers []*server          // of the next generation
	started []*server          // those of servers that are new
	retired []*server          // those of the current generation that are not in servers
	opened  []*socket          // those of sockets that are new
	dropped []*socket          // those of the current generation that are not in sockets
}

// prepare opens the listeners of next that are new, and starts its servers that are.
func (r *Runtime) prepare(ctx context.Context, next *Generation) (*stage, error) {
	s := &stage{sockets: make(map[string]*socket)}
	for address, sock := range r.sockets {
		if slices.ContainsFunc(next.all(), func(n Server) bool { return n.Address == address && (n.Held || !sock.lost()) }) {
			s.sockets[address] = sock
		} else {
			s.dropped = append(s.dropped, sock)
		}
	}
	for _, want := range next.all() {
		i := slices.IndexFunc(r.servers, func(have *server) bool {
			return want.ID != "" && have.ID == want.ID && have.Address == want.Address && s.sockets[want.Address] == r.sockets[want.Address]
		})
		if i >= 0 {
			s.servers = append(s.servers, r.servers[i])
			continue
		}
		fresh, err := r.bring(ctx, s, want)
		if err != nil && want.Optional {
			r.log.Warn("there is no control socket; stackd status and the like won't find this process", slog.Any("err", err))
			continue
		}
		if err != nil {
			return nil, errors.Join(err, r.undo(s))
		}
		s.servers = append(s.servers, fresh)
		s.started = append(s.started, fresh)
	}
	for _, have := range r.servers {
		if !slices.Contains(s.servers, have) {
			s.retired = append(s.retired, have)
		}
	}
	if next.Number == 0 {
		next.Number = r.number + 1
	}
	return s, nil
}

// undo ends what prepare has begun.
func (r *Runtime) undo(s *stage) error {
	var errs []error
	for _, started := range slices.Backward(s.started) {
		r.endServer(started)
	}
	for _, opened := range slices.Backward(s.opened) {
		errs = append(errs, opened.close())
	}
	return errors.Join(errs...)
}

// bound returns where the addresses of the next generation are bound.
func (s *stage) bound() map[string]net.Addr {
	bound := make(map[string]net.Addr, len(s.sockets))
	for address, sock := range s.sockets {
		bound[address] = sock.ln.Addr()
	}
	return bound
}

// conns returns the sockets of the next generation by address.
func (s *stage) conns() map[string]syscall.Conn {
	conns := make(map[string]syscall.Conn, len(s.sockets))
	for address, sock := range s.sockets {
		if c, ok := sock.ln.(syscall.Conn); ok {
			conns[address] = c
		}
	}
	return conns
}

// bring starts a server, on a new socket if its address has none.
func (r *Runtime) bring(ctx context.Context, s *stage, want Server) (*server, error) {
	sock := s.sockets[want.Address]
	if sock == nil {
		var err error
		sock, err = r.listen(ctx, want)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w%s", err, r.occupant(want.Address))
		}
		if err != nil {
			return nil, fmt.Errorf("server %q: %w", want.Name, err)
		}
		if want.Held {
			if err := sock.hold(); err != nil {
				return nil, errors.Join(fmt.Errorf("server %q on %q: %w", want.Name, want.Address, err), sock.close())
			}
		}
		s.sockets[want.Address] = sock
		s.opened = append(s.opened, sock)
	}
	return r.startServer(ctx, want, sock)
}

// occupant says if it is one of our own listeners that has the port of address: a listener is
// opened before the old one is closed, so ":80" can't become "127.0.0.1:80" in one step.
func (r *Runtime) occupant(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	for _, own := range slices.Sorted(maps.Keys(r.sockets)) {
		if _, ownPort, err := net.SplitHostPort(own); err == nil && ownPort == port {
			return fmt.Sprintf(" by %q of this process; remove that, reload, and then add this one", own)
		}
	}
	return ""
}

// tidy does after the swap what may fail without harm.
func (r *Runtime) tidy(s *stage, servers []Server) {
	for _, sock := range s.dropped {
		r.closeSocket(sock)
	}
	for _, named := range servers {
		if s.sockets[named.Address] == nil { // an optional one
			continue
		}
		if err := s.sockets[named.Address].setMode(named.mode()); err != nil {
			r.log.Warn("setting the mode of a socket", slog.String("address", named.Address), slog.Any("err", err))
		}
	}
}
