package serve

import (
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// free closes what is behind a generation that nothing uses any more, and returns when that is done. When it takes
// longer than the generation's CloseTimeout, the log says what it waits for; whoever asks for the status is told, too.
// It is given up only when the process's own end has come.
func (r *Runtime) free(g *generation) {
	r.mu.Lock()
	r.closing = append(r.closing, g)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closing = slices.DeleteFunc(r.closing, func(other *generation) bool { return other == g })
	}()
	done := make(chan error, 1)
	go func() { done <- g.free() }() // done tells when it has ended, and if it never does, the process says so
	limit := or(g.CloseTimeout, defaultCloseTimeout)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	err, late := error(nil), false
	select {
	case err = <-done:
	case <-timer.C:
		late = true
	}
	if late {
		r.log.Warn("closing a generation takes longer than its deadline", slog.Uint64("generation", g.number),
			slog.Duration("deadline", limit), slog.String("waiting_for", g.waitsFor()))
		select {
		case err = <-done:
		case <-r.end.Done():
			r.leave(fmt.Errorf("generation %d is not closed; it waits for %s", g.number, g.waitsFor()))
			return
		}
	}
	if err != nil {
		r.log.Error("closing a generation", slog.Uint64("generation", g.number), slog.Any("err", err))
	}
}

// discard closes what was loaded in vain. It waits for it as long as free does without complaint.
func (r *Runtime) discard(next Generation) {
	g := newGeneration(next, 0)
	done := make(chan struct{})
	r.drains.Go(func() {
		defer close(done)
		r.free(g)
	})
	timer := time.NewTimer(or(g.CloseTimeout, defaultCloseTimeout))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// waitsFor tells what Close waits for.
func (g *generation) waitsFor() string {
	if g.Closing != nil {
		if name := g.Closing(); name != "" {
			return name
		}
	}
	return "its end"
}
