package serve

import (
	"context"
	"errors"
	"fmt"
)

// Stopping is closed when the process begins to stop.
func (r *Runtime) Stopping() <-chan struct{} { return r.stopping }

// Alive returns nil if the runtime does what it is there for: it takes signals, and reloads when it is asked to, or is
// about a reload or an upgrade, which have deadlines of their own. It waits for that until ctx ends. What the stack's
// handlers do is not looked at.
func (r *Runtime) Alive(ctx context.Context) error {
	r.mu.Lock() // whoever holds it for ever stops everything
	_ = len(r.servers)
	r.mu.Unlock()
	select {
	case r.pulse <- struct{}{}:
	case <-r.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("signals are not taken: %w", context.Cause(ctx))
	}
	if r.busy.Load() {
		return nil
	}
	select {
	case r.reloadPulse <- struct{}{}:
		return nil
	case <-r.stopping: // nothing is reloaded any more
		return nil
	case <-ctx.Done():
	}
	if r.busy.Load() { // since a moment ago
		return nil
	}
	return errors.Join(errors.New("nothing is reloaded"), context.Cause(ctx))
}
