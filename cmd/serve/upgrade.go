package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"syscall"
)

// Handed is a listening socket that is handed over to another process.
type Handed struct {
	// Address is where it listens, as the server's address says it.
	Address string
	// File is its descriptor.
	File *os.File
	// Ours tells whether the file of a unix socket is handed over with it. Otherwise it belongs to somebody else.
	Ours bool
}

// errUpgrading is why a second upgrade is refused.
var errUpgrading = errors.New("an upgrade is under way already")

// errReplaced is why a reload is given up when another process has taken over.
var errReplaced = errors.New("another process has taken the place of this one")

// upgrade is a call of Upgrade.
type upgrade struct {
	give  func(ctx context.Context, sockets []Handed) error
	reply chan<- error
}

// Upgrade lets another process take the place of this one. It calls give, which starts that process, hands it the
// listening sockets, and returns when it serves on them. Until then this process serves on as if nothing had been; then it
// stops, as Stop does, but leaves the files of unix sockets, which are the other's now. With an error of give it
// goes on, and Upgrade returns that error. The descriptors are closed when give has returned.
//
// Upgrade returns when this process accepts nothing more, and before it has stopped. It waits for a reload under way; reloads wait for it. A second call is
// refused while one is under way. The context of give ends with ctx, and when the process is told to stop.
func (r *Runtime) Upgrade(ctx context.Context, give func(ctx context.Context, sockets []Handed) error) error {
	if !r.upgrading.CompareAndSwap(false, true) {
		return errUpgrading
	}
	defer r.upgrading.Store(false)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reply := make(chan error, 1)
	order := upgrade{reply: reply, give: func(life context.Context, sockets []Handed) error {
		defer context.AfterFunc(life, func() { cancel(context.Cause(life)) })()
		return give(ctx, sockets)
	}}
	select {
	case r.upgrades <- order:
		if err := <-reply; err != nil {
			return err
		}
		<-r.quiet
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stopping:
		return r.whyStopping()
	case <-r.done:
		return errStopped
	}
}

// whyStopping is why nothing more is done.
func (r *Runtime) whyStopping() error {
	if r.replaced.Load() {
		return errReplaced
	}
	return errStopping
}

// replace carries out an upgrade. The goroutine that reloads calls it.
func (r *Runtime) replace(ctx context.Context, u upgrade) error {
	r.busy.Store(true)
	defer r.busy.Store(false)
	sockets, err := r.hand()
	if err == nil {
		err = u.give(ctx, sockets)
	}
	for _, s := range sockets {
		_ = s.File.Close() // the sockets stay open
	}
	if err != nil {
		return err
	}
	for _, s := range r.sockets { // no file is removed any more
		s.inherited, s.ours = true, func() bool { return false }
	}
	r.replaced.Store(true)
	select {
	case r.stops <- struct{}{}:
	default: // it stops already
	}
	return nil
}

// hand returns the sockets of the current generation.
func (r *Runtime) hand() ([]Handed, error) {
	var all []Handed
	for _, address := range slices.Sorted(maps.Keys(r.sockets)) {
		s := r.sockets[address]
		own, ok := s.ln.(syscall.Conn)
		if !ok {
			return all, fmt.Errorf("what serves one request at %s can't be upgraded", address)
		}
		fd, err := descriptor(own)
		if err != nil {
			return all, fmt.Errorf("the socket of %q: %w", address, err)
		}
		all = append(all, Handed{address, os.NewFile(uintptr(fd), address), !s.inherited || s.ours != nil && s.ours()})
	}
	return all, nil
}

// stopTrigger says in the log why the process stops.
func (r *Runtime) stopTrigger() slog.Attr {
	if r.replaced.Load() {
		return slog.String("trigger", "upgrade")
	}
	return slog.String("trigger", "stackd stop")
}
