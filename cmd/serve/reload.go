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
)

// reloadAll makes the first generation, says on started how that went, and then makes the next
// for every trigger until ctx ends.
func (r *Runtime) reloadAll(ctx context.Context, started chan<- error) {
	_, err := r.reload(ctx, "start")
	started <- err
	if err != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			_, _ = r.reload(ctx, "SIGHUP") // it has logged the error
		case <-r.watch.changed:
			if files := r.watch.take(); len(files) > 0 {
				_, _ = r.reload(ctx, strings.Join(files, ", "))
			}
		case req := <-r.requests:
			number, err := r.reload(ctx, "request")
			req.reply <- outcome{number, err}
		}
	}
}

// reload makes the next generation current. If it can't, the error says why, nothing has
// changed, and what was new is closed.
func (r *Runtime) reload(ctx context.Context, trigger string) (number uint64, err error) {
	begin := time.Now()
	old := r.root.current.Load()
	timeout := or(old.LoadTimeout, defaultLoadTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took longer than %s", timeout))
	defer cancel()

	next, err := r.load(ctx)
	loaded := time.Now()
	var s *stage
	if err == nil {
		s, err = r.prepare(ctx, next)
		if err != nil && next.Close != nil {
			if closeErr := next.Close(); closeErr != nil {
				r.log.Error("closing what was loaded", slog.Any("err", closeErr))
			}
		}
	}
	if err != nil {
		if r.number == 0 {
			return 0, err
		}
		r.watch.add(next.Watch, begin)
		r.log.Error("reload refused, the old generation serves on",
			slog.Uint64("generation", r.number),
			slog.String("trigger", trigger),
			slog.Duration("load", loaded.Sub(begin)),
			slog.Any("err", err))
		return 0, err
	}
	if !oneRequest(next) {
		r.watch.set(next.Watch, begin)
	}

	swapping := time.Now()
	r.number++
	r.root.swap(newGeneration(next, r.number))
	r.setSockets(s.sockets)
	r.servers = s.servers
	for _, started := range s.started {
		r.open(started)
		r.log.Info("listening",
			slog.String("server", started.Name),
			slog.String("address", started.Address),
			slog.String("bound", started.ln.Addr().String()))
	}
	for _, retired := range s.retired {
		retired.cancel()
	}
	r.tidy(s, next.Servers)
	r.log.Info("generation serves",
		slog.Uint64("generation", r.number),
		slog.String("trigger", trigger),
		slog.Duration("load", loaded.Sub(begin)),
		slog.Duration("swap", time.Since(swapping)),
		slog.Int("servers_started", len(s.started)),
		slog.Int("servers_kept", len(s.servers)-len(s.started)),
		slog.Int("servers_ended", len(s.retired)))
	if old.number > 0 {
		r.retire(old, s.retired)
	}
	return r.number, nil
}

// or returns d, or the default if d is zero.
func or(d, byDefault time.Duration) time.Duration {
	if d == 0 {
		return byDefault
	}
	return d
}

// load calls Load, but waits for it no longer than ctx.
func (r *Runtime) load(ctx context.Context) (Generation, error) {
	select {
	case r.loading <- struct{}{}:
	case <-ctx.Done():
		return Generation{}, fmt.Errorf("the load before has not ended: %w", context.Cause(ctx))
	}
	type result struct {
		generation Generation
		err        error
	}
	results := make(chan result)
	go func() { // whoever takes the next token waits for it
		defer func() { <-r.loading }()
		g, err := r.options.Load(ctx)
		if err == nil {
			err = g.check()
			if err != nil {
				err = errors.Join(err, newGeneration(g, 0).free())
			}
		}
		select {
		case results <- result{g, err}:
			return
		case <-ctx.Done():
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
func (r *Runtime) prepare(ctx context.Context, next Generation) (*stage, error) {
	s := &stage{sockets: make(map[string]*socket)}
	for address, sock := range r.sockets {
		if slices.ContainsFunc(next.Servers, func(n Server) bool { return n.Address == address }) {
			s.sockets[address] = sock
		} else {
			s.dropped = append(s.dropped, sock)
		}
	}
	for _, want := range next.Servers {
		i := slices.IndexFunc(r.servers, func(have *server) bool {
			return want.ID != "" && have.ID == want.ID && have.Address == want.Address
		})
		if i >= 0 {
			s.servers = append(s.servers, r.servers[i])
			continue
		}
		fresh, err := r.bring(ctx, s, want)
		if err != nil {
			for _, started := range slices.Backward(s.started) {
				r.endServer(started)
			}
			for _, opened := range slices.Backward(s.opened) {
				if closeErr := opened.close(); closeErr != nil {
					err = errors.Join(err, closeErr)
				}
			}
			return nil, err
		}
		s.servers = append(s.servers, fresh)
		s.started = append(s.started, fresh)
	}
	for _, have := range r.servers {
		if !slices.Contains(s.servers, have) {
			s.retired = append(s.retired, have)
		}
	}
	return s, nil
}

// bring starts a server, on a new socket if its address has none.
func (r *Runtime) bring(ctx context.Context, s *stage, want Server) (*server, error) {
	sock := s.sockets[want.Address]
	if sock == nil {
		var err error
		sock, err = openSocket(ctx, want.Address, want.mode())
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w%s", err, r.occupant(want.Address))
		}
		if err != nil {
			return nil, fmt.Errorf("server %q: %w", want.Name, err)
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
		if err := sock.close(); err != nil {
			r.log.Warn("closing a listener", slog.String("bound", sock.ln.Addr().String()), slog.Any("err", err))
		}
	}
	for _, named := range servers {
		if err := s.sockets[named.Address].setMode(named.mode()); err != nil {
			r.log.Warn("setting the mode of a socket", slog.String("address", named.Address), slog.Any("err", err))
		}
	}
}
