package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// Options is what a Runtime needs to know.
type Options struct {
	// Load makes the next generation. It is called for the start and for each reload, never
	// twice at a time. When ctx ends it is to give up; what a Load that came too late
	// returns is closed. With an error, nothing but the generation's Watch is used: a change
	// of those files is then a reason to try again.
	Load func(ctx context.Context) (Generation, error)
	// Logger is told of each reload, of each generation that was closed, and of trouble.
	Logger *slog.Logger
	// Inherit is asked for the socket of a server before one is opened: another process may have opened it already. It
	// is asked again if a later generation listens there anew. It may be nil.
	Inherit func(ctx context.Context, s Server) (Inherited, error)
	// Stop is called when the process stops and its own sockets are closed, to end what serves them in other processes. It
	// returns how many requests did not end in time. Ctx ends when time is up: then it cuts what is left. It may be nil.
	Stop func(ctx context.Context) (outlived int)
	// Quiet says that another process is in charge of this one: it says when to reload, so that no file is watched here, and it
	// tells people what becomes of that, which is logged here for debugging.
	Quiet bool
	// Reloading is called when a load begins, the first one, too. What it returns is called when that is over, with what came
	// of it. It may be nil.
	Reloading func() (ended func(control.Reload, error))
	// Signals delivers SIGHUP, SIGINT and SIGTERM. If it is nil, those sent to the process are
	// taken while Run runs.
	Signals <-chan os.Signal
}

// Runtime serves one generation after the other. Its methods may be called at any time from
// any goroutine, except that Run may be called only once.
type Runtime struct {
	options Options
	log     *slog.Logger
	grace   time.Duration // how long a request may take to notice that it was cut

	root    *root
	kept    flights // the requests that no generation waits for
	zombies zombies
	conns   tracker
	watch   *watcher

	ran      atomic.Bool
	requests chan request  // from Reload
	upgrades chan upgrade  // from Upgrade
	stops    chan struct{} // from Stop
	stopping chan struct{} // closed when the stop begins
	drained  chan struct{} // closed when nothing is left but the control
	hangups  chan struct{} // a SIGHUP that no reload has answered yet
	verdicts chan struct{} // the generation that serves may have failed its probation
	blamed   atomic.Pointer[blame]
	deaths   chan error    // the first server that ended by itself
	done     chan struct{} // closed when Run has returned

	force    context.Context // ends when a signal asks to cut
	forceNow context.CancelFunc
	end      context.Context // ends when the stop's deadline has passed, or force
	endNow   context.CancelFunc

	drains  sync.WaitGroup
	loading chan struct{} // holds a token while Load runs

	// Only the goroutine that reloads uses these, and stop after that has ended.
	number uint64

	pulse, reloadPulse chan struct{} // from Alive
	busy               atomic.Bool   // a reload or an upgrade is under way

	upgrading atomic.Bool   // an Upgrade is under way
	replaced  atomic.Bool   // another process has taken over
	quiet     chan struct{} // closed when the stop has begun, and nothing is accepted any more if another process has taken over

	outlived atomic.Int64 // requests that were cut at a deadline of the stop
	started  time.Time

	mu       sync.Mutex
	servers  []*server          // those of the current generation
	sockets  map[string]*socket // by address
	draining []*drain           // oldest first
	closing  []*generation      // drained, and not yet closed
	refused  *control.Refused   // the last reload; nil if it wasn't
	stuck    []error            // what did not end when the process stopped
}

// defaultGrace is how long a request has to notice that its context ended, and then again
// that its connection is dead.
const defaultGrace = 5 * time.Second

// errStopping is why a reload is given up when the process stops.
var errStopping = errors.New("the process is stopping")

// New makes a Runtime. Nothing happens before Run.
func New(o Options) *Runtime {
	r := &Runtime{
		options:  o,
		log:      o.Logger,
		grace:    defaultGrace,
		root:     newRoot(),
		requests: make(chan request),
		upgrades: make(chan upgrade),
		quiet:    make(chan struct{}),
		pulse:    make(chan struct{}),

		reloadPulse: make(chan struct{}),
		stops:       make(chan struct{}, 1),
		stopping:    make(chan struct{}),
		drained:     make(chan struct{}),
		started:     time.Now(),
		hangups:     make(chan struct{}, 1),
		verdicts:    make(chan struct{}, 1),
		deaths:      make(chan error, 1),
		done:        make(chan struct{}),
		loading:     make(chan struct{}, 1),
		sockets:     make(map[string]*socket),
	}
	r.kept.init()
	r.kept.zombies = &r.zombies
	r.force, r.forceNow = context.WithCancel(context.Background())
	r.end, r.endNow = context.WithCancel(r.force)
	return r
}

// Run is New(o).Run(ctx), for who needs nothing else of the Runtime.
func Run(ctx context.Context, o Options) error { return New(o).Run(ctx) }

// Run loads the first generation and serves until ctx ends, a signal says stop, or a server
// ends by itself. If the first generation can't be loaded or its listeners can't be opened,
// nothing is served and the error says why. The end of ctx and a signal are no errors.
func (r *Runtime) Run(ctx context.Context) error {
	if r.ran.Swap(true) {
		return errors.New("the runtime has been run already")
	}
	defer close(r.done)
	signals := r.options.Signals
	if signals == nil {
		c := make(chan os.Signal, 8)
		signal.Notify(c, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
		defer signal.Stop(c)
		signals = c
	}
	if r.options.Quiet {
		r.watch = blindWatcher(r.log)
	} else {
		r.watch = newWatcher(r.log)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make(chan error, 1)
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		r.reloadAll(ctx, started)
	}()

	err := r.untilStop(ctx, signals, started)
	close(r.stopping)
	cancel(errStopping)
	<-reloaded
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.stop()
	}()
	for running := true; running; {
		select {
		case <-r.pulse:
		case s := <-signals:
			if s != syscall.SIGHUP {
				r.log.Warn("cutting what is left", slog.String("signal", s.String()))
				r.forceNow()
			}
		case <-stopped:
			running = false
		}
	}
	r.forceNow() // frees the contexts
	return errors.Join(append([]error{err}, r.stuck...)...)
}

// untilStop serves until there is a reason to stop, and returns it if it is an error.
func (r *Runtime) untilStop(ctx context.Context, signals <-chan os.Signal, started <-chan error) error {
	for {
		select {
		case <-r.pulse:
		case err := <-started:
			if err != nil {
				return err
			}
			started = nil
		case s := <-signals:
			if s != syscall.SIGHUP {
				r.log.Log(ctx, r.routine(), "stopping", slog.String("signal", s.String()))
				return nil
			}
			select {
			case r.hangups <- struct{}{}:
			default: // the reload to come will answer this one too
			}
		case err := <-r.deaths:
			if errors.Is(err, errServed) {
				r.log.Info("stopping: the request is served")
				return nil
			}
			r.log.Error("stopping: a server died", slog.Any("err", err))
			return err
		case <-r.stops:
			r.log.Log(ctx, r.routine(), "stopping", r.stopTrigger())
			return nil
		case <-ctx.Done():
			r.log.Log(ctx, r.routine(), "stopping")
			return nil
		}
	}
}

// Addresses returns the bound address of each listener by the address that was asked for: for
// port 0 it has the port that the system chose.
func (r *Runtime) Addresses() map[string]net.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	bound := make(map[string]net.Addr, len(r.sockets))
	for address, s := range r.sockets {
		bound[address] = s.ln.Addr()
	}
	return bound
}

// Order is what Reload is told.
type Order struct {
	// Trigger tells people who gave it.
	Trigger string
	// Load makes the next generation, in place of that of the Options; nil for that one.
	Load func(ctx context.Context) (Generation, error)
}

// request is a call of Reload.
type request struct {
	Order
	reply chan<- outcome
}

// outcome is what Reload returns.
type outcome struct {
	report control.Reload
	err    error
}

// errStopped is what comes too late.
var errStopped = errors.New("the process has stopped")

// Reload puts the next generation in place of the current one, as SIGHUP does, and tells what it
// did: the first generation has the number 1, and each that serves after it has the next. An
// error says why the current one serves on. Reload waits for a reload under way, and returns
// early only when ctx or the process ends; a reload that it started then goes on.
func (r *Runtime) Reload(ctx context.Context, o Order) (control.Reload, error) {
	reply := make(chan outcome, 1)
	select {
	case r.requests <- request{o, reply}:
	case <-ctx.Done():
		return control.Reload{}, context.Cause(ctx)
	case <-r.stopping:
		return control.Reload{}, r.whyStopping()
	case <-r.done:
		return control.Reload{}, errStopped
	}
	select {
	case out := <-reply:
		return out.report, out.err
	case <-ctx.Done():
		return control.Reload{}, context.Cause(ctx)
	case <-r.stopping:
		return control.Reload{}, r.whyStopping()
	case <-r.done:
		return control.Reload{}, errStopped
	}
}

// Stop stops, as SIGTERM does, and returns when nothing but the Control is left, or ctx ends.
func (r *Runtime) Stop(ctx context.Context) (control.Stopped, error) {
	select {
	case r.stops <- struct{}{}:
	default: // another one asked for it
	}
	select {
	case <-r.drained:
		r.mu.Lock()
		defer r.mu.Unlock()
		return control.Stopped{Outlived: int(r.outlived.Load())}, errors.Join(r.stuck...)
	case <-ctx.Done():
		return control.Stopped{}, context.Cause(ctx)
	case <-r.done:
		return control.Stopped{}, errStopped
	}
}

// routine is the level of what is logged in the course of things.
func (r *Runtime) routine() slog.Level {
	if r.options.Quiet {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// Cut lets a stop take no more time, as a second signal does: what is under way is cut. A stop that begins later has
// none, either.
func (r *Runtime) Cut() { r.forceNow() }

// set replaces what the current generation has.
func (r *Runtime) set(servers []*server, sockets map[string]*socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers, r.sockets = servers, maps.Clone(sockets)
}

// died reports a server that ended by itself; only the first such report counts.
func (r *Runtime) died(s *server) {
	if s.control { // the stack serves on
		r.log.Error("the control socket ended", slog.String("address", s.Address), slog.Any("err", s.err))
		return
	}
	select {
	case r.deaths <- fmt.Errorf("server %q on %q: %w", s.Name, s.Address, s.err):
	default:
	}
}
