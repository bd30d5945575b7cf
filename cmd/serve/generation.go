package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// Generation is one built stack: what Load returns. It is not changed afterwards.
type Generation struct {
	// Handler answers every request, whichever server it came by.
	Handler http.Handler
	// Servers accept the connections. No two have the same address.
	Servers []Server
	// Watch is the files and folders that the generation was made of. A change of one of them
	// is a reason to reload. A folder changes when the list of its entries does.
	Watch []string
	// Fate tells what becomes of the requests that the generation before has under way when this one has taken its
	// place. It is called for one after the other, before that generation is closed. If it is nil, all of them
	// drain.
	Fate func(Request) Fate
	// Slot names a slot of the stack, or of one before it, by the number that the place of a request in its environ has.
	// It may be nil.
	Slot func(number uint32) string
	// Close frees what is behind Handler and Servers. It is called once, when nothing uses
	// them any more, save requests that were kept. It may be nil.
	Close func() error
	// Number is what it is called when it serves; 0 for one more than the generation before.
	Number uint64
	// Agree is called when all listeners of the generation stand and its servers are about to accept, to come to terms with
	// other processes that serve with this one. With an error the generation is refused. It is given the generation, with its
	// Number, and may add to Watch and Made what is known only then; and the listening sockets by address, which are good
	// until the generation has been replaced. It may be nil.
	Agree func(ctx context.Context, g *Generation, sockets map[string]syscall.Conn) error
	// Ready is called when all listeners of the generation stand and its servers are about to accept, after Agree and before it becomes
	// the current one, with the bound address of each listener by the address that was asked for. With an error the
	// generation is refused. It has no deadline but its own. It may be nil.
	Ready func(ctx context.Context, bound map[string]net.Addr) error
	// Closing names what Close is waiting for; it may be nil.
	Closing func() string
	// Current is called with the generation's number when it has become the current one, before
	// the next Load. It may be nil.
	Current func(number uint64)
	// Report adds to what the reload did what came of it in other processes that serve with this one. It is called after Current;
	// it may be nil.
	Report func(control.Reload) control.Reload
	// Control is where the process is told what to do; nil for nowhere. It isn't of the stack: it serves requests by
	// itself, not by the handler that it is given, and goes on while the process stops, until all else has ended.
	Control *Server
	// Made tells people how the generation was made.
	Made control.Made

	// Probation says how the generation is to prove itself, and that its answers are counted; nil for neither. One that
	// was rolled back to is only counted.
	Probation *Probation
	// Poll is how often the files of Watch are compared with what they were. 0 is when the system says so; where it
	// can't, every 2 s.
	Poll time.Duration
	// CheckTimeout is how long the Load after this one may take, unless it says by [Stage] that it does something
	// else. Default: 10 s.
	CheckTimeout time.Duration
	// ListenTimeout is how long it may take to open the listeners and start the servers of this generation. Default: 10 s.
	ListenTimeout time.Duration
	// DrainTimeout is how long requests of this generation may go on when the next one has
	// replaced it. Default: 30 s.
	DrainTimeout time.Duration
	// CloseTimeout is how long Close may take before the log complains. Default: 10 s.
	CloseTimeout time.Duration
	// StopTimeout is how long requests may go on when the process is told to stop. Default:
	// 30 s.
	StopTimeout time.Duration
}

const (
	defaultCheckTimeout  = 10 * time.Second
	defaultListenTimeout = 10 * time.Second
	defaultDrainTimeout  = 30 * time.Second
	defaultCloseTimeout  = 10 * time.Second
	defaultStopTimeout   = 30 * time.Second
)

// check returns what is wrong with a generation that Load returned.
func (g *Generation) check() error {
	var errs []error
	if g.Handler == nil {
		errs = append(errs, errors.New("the stack has no handler"))
	}
	names := make(map[string]string)
	for _, s := range g.all() {
		if s.Serve == nil && !s.Held {
			errs = append(errs, fmt.Errorf("server %q on %q has no function", s.Name, s.Address))
		}
		if first, taken := names[s.Address]; taken {
			errs = append(errs, fmt.Errorf("servers %q and %q both listen on %q; each needs an address of its own", first, s.Name, s.Address))
		}
		names[s.Address] = s.Name
	}
	return errors.Join(errs...)
}

// all returns the servers, and that of Control.
func (g *Generation) all() []Server {
	if g.Control == nil {
		return g.Servers
	}
	c := *g.Control
	c.control = true
	return append(slices.Clip(g.Servers), c)
}

// Request is one under way, as it came: without what handlers have made of it.
type Request struct{ Method, Host, Path string }

// Fate is what becomes of a request whose generation is replaced.
type Fate struct {
	Way Way
	// Release gives back what Fate has held for a request that is moved or kept. It is called once: when the
	// request has ended, or at once if it ended meanwhile or holds all that it uses since an earlier move. It may be
	// nil.
	Release func()
}

// Way is in what way a request goes on.
type Way int

const (
	// Drain leaves it to its generation, which has a deadline.
	Drain Way = iota
	// Move makes it a request of the generation that takes over, since that would serve it in just the same
	// way: its own generation doesn't wait for it.
	Move
	// Keep lets it go on until it ends by itself or the process stops. No generation waits for it.
	Keep
	// Close cancels it at once.
	Close
)

// ErrRetired is the cause of a request's cancellation, as [context.Cause] tells it, when the
// stack that serves it was replaced or stopped and its time to go on is over.
var ErrRetired = errors.New("the time is over that this request had to end, since its stack was replaced or the process stops")

// generation is a Generation that serves, and the requests that it is serving.
type generation struct {
	Generation
	flights
	number  uint64
	trigger string
	since   time.Time
	epoch   time.Time // what the requests' beginnings are told from
	counted *tally    // nil if the answers aren't counted
}

func newGeneration(g Generation, number uint64) *generation {
	now := time.Now()
	gen := &generation{Generation: g, number: number, since: now, epoch: now}
	gen.init()
	return gen
}

// enter puts a request into the generation. It returns nil if that is sealed; otherwise the
// caller calls leave when the request has ended.
func (g *generation) enter(w http.ResponseWriter, r *http.Request, by *server) *flight {
	f := &flight{Context: r.Context(), w: w, server: by, began: time.Since(g.epoch), method: r.Method, host: r.Host, path: r.URL.Path}
	f.room.SetGeneration(g.number)
	if by != nil && by.Address == Stdio { // no other server has taken something off the path
		f.room.Mount(r)
	}
	if !g.add(f) {
		return nil
	}
	return f
}

// free calls Close.
func (g *generation) free() error {
	if g.Close == nil {
		return nil
	}
	return g.Close()
}
