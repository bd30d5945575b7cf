package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
)

// linkDescriptor is where a worker finds the link to its supervisor.
const linkDescriptor = 3

// assignment is what a worker is told to serve.
type assignment struct {
	Generation uint64 `json:"generation"`
	Trigger    string `json:"trigger"`
	// Processors is how many it may use at a time; 0 for as many as it likes.
	Processors int `json:"processors,omitempty"`
	// Work is what its Load makes a generation of.
	Work json.RawMessage `json:"work"`
}

// failure is what a worker says of a generation that has failed its probation.
type failure struct {
	Generation uint64 `json:"generation"`
	Reason     string `json:"reason"`
}

// prepared is the answer to an assignment that can be served.
type prepared struct {
	Watch []string     `json:"watch,omitempty"`
	Made  control.Made `json:"made"`
}

// WorkerOptions is what a worker needs to know.
type WorkerOptions struct {
	// Load makes a generation of what the supervisor was given as [Work].
	Load func(ctx context.Context, work json.RawMessage) (serve.Generation, error)
	// Refusal tells why Load failed.
	Refusal func(err error) *control.Refusal
	Logger  *slog.Logger
}

// worker is this process's end of the link.
type worker struct {
	WorkerOptions
	link    *link
	runtime *serve.Runtime
	signals chan os.Signal
	begin   chan *term // the first one
	answers sync.WaitGroup

	mu      sync.Mutex
	sockets map[string]*os.File // handed in and not taken yet
	term    *term               // under way
	begun   bool
	leaving bool
	closed  bool // nothing is answered any more
}

// errAborted is why a generation that was ready doesn't serve.
var errAborted = errors.New("the supervisor gave it up, since not all workers were ready")

// errNoSupervisor is why a worker ends.
var errNoSupervisor = errors.New("the supervisor is gone")

// RunWorker serves what the supervisor that has started this process says, until that says stop, or is gone, or SIGTERM
// comes. Then it accepts nothing more, and what is under way has its time.
func RunWorker(ctx context.Context, o WorkerOptions) error {
	_, err := unix.GetsockoptInt(linkDescriptor, unix.SOL_SOCKET, unix.SO_TYPE) // what is no socket is somebody else's
	var l *link
	if err == nil {
		unix.CloseOnExec(linkDescriptor)
		l, err = open(linkDescriptor)
	}
	if err != nil {
		return fmt.Errorf("a worker is started by stackd run, with a link to it: %w", err)
	}
	w := &worker{
		WorkerOptions: o, link: l,
		signals: make(chan os.Signal, 8), begin: make(chan *term, 1), sockets: make(map[string]*os.File),
	}
	return w.run(ctx)
}

func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	taken := make(chan os.Signal, 8)
	signal.Notify(taken, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(taken)
	var first *term
	w.runtime = serve.New(serve.Options{
		Load:   func(ctx context.Context) (serve.Generation, error) { return first.load(ctx) },
		Logger: w.Logger, Inherit: w.inherit, Signals: w.signals, Quiet: true,
	})
	ended := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { w.listen(taken, ended) })
	all.Go(func() { w.link.serve(w.handle) })
	all.Go(func() {
		select {
		case <-w.link.ended:
			w.Logger.Warn("the supervisor is gone: accepting nothing more, and ending when what is under way has ended")
			cancel(errNoSupervisor)
		case <-ended:
		}
	})
	defer all.Wait()
	defer func() { _ = w.link.close() }() // what there was to say is said
	defer close(ended)

	select {
	case first = <-w.begin:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := w.runtime.Run(ctx)
	first.end(control.Reload{}, err)
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.answers.Wait()
	return err
}

// listen takes the signals. Only SIGTERM is for a worker: the others come from a terminal, to all of its processes.
func (w *worker) listen(taken <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case s := <-taken:
			if s != syscall.SIGTERM && !w.orphaned() {
				continue
			}
			w.mu.Lock()
			again := w.leaving
			w.leaving = true
			w.mu.Unlock()
			if !again {
				_ = w.link.tell(kindLeaving, nil, nil) // if it is gone, that is a reason to end, too
			}
			select {
			case w.signals <- syscall.SIGTERM:
			default: // there are enough
			}
		case <-ended:
			return
		}
	}
}

// orphaned reports whether the supervisor is gone.
func (w *worker) orphaned() bool {
	select {
	case <-w.link.ended:
		return true
	default:
		return false
	}
}

// handle takes a message of the supervisor's.
func (w *worker) handle(m message) {
	switch m.Kind {
	case kindSocket:
		w.receive(m)
	case kindPrepare:
		w.prepare(m)
	case kindCommit, kindAbort:
		w.mu.Lock()
		t := w.term
		if t != nil {
			t.decide(m)
		}
		w.mu.Unlock()
		switch {
		case t != nil:
		case m.Kind == kindAbort:
			w.reply(m.ID, nil, nil)
		default:
			w.reply(m.ID, nil, &control.Refusal{Text: "nothing is ready"})
		}
	case kindStatus:
		w.later(func() { w.reply(m.ID, w.runtime.Status(), nil) })
	case kindStop:
		w.later(func() {
			stopped, err := w.runtime.Stop(context.Background())
			if err != nil {
				w.Logger.Error("stopping", slog.Any("err", err))
			}
			w.reply(m.ID, stopped, nil)
		})
	case kindCut: // it may come before the stop has begun
		w.runtime.Cut()
	}
}

// later does what may take time, beside what else the supervisor asks.
func (w *worker) later(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.answers.Go(do)
	}
}

// receive keeps a socket until a generation takes it.
func (w *worker) receive(m message) {
	var address string
	if err := json.Unmarshal(m.Body, &address); err != nil || m.file == nil {
		w.Logger.Error("the supervisor handed in something else than a socket", slog.Any("err", err))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.sockets[address]; old != nil {
		_ = old.Close()
	}
	w.sockets[address] = m.file
}

// inherit gives the runtime the sockets that were handed in.
func (w *worker) inherit(_ context.Context, s serve.Server) (serve.Inherited, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.sockets[s.Address]
	if f == nil {
		return serve.Inherited{}, errors.New("the supervisor has handed in none")
	}
	delete(w.sockets, s.Address)
	return serve.Inherited{File: f}, nil
}

// reply answers a question. A supervisor that is gone needs no answer.
func (w *worker) reply(id uint64, body any, refusal *control.Refusal) {
	if err := w.link.answer(id, body, refusal); err != nil {
		w.Logger.Debug("answering the supervisor", slog.Any("err", err))
	}
}

// prepare begins a term.
func (w *worker) prepare(m message) {
	t := &term{worker: w, id: m.ID, decision: make(chan message, 1)}
	if err := json.Unmarshal(m.Body, &t.assignment); err != nil {
		w.reply(m.ID, nil, &control.Refusal{Text: err.Error()})
		return
	}
	w.mu.Lock()
	busy, first := w.term != nil, !w.begun
	if !busy {
		w.term, w.begun = t, true
	}
	w.mu.Unlock()
	switch {
	case busy:
		w.reply(m.ID, nil, &control.Refusal{Text: "the generation before isn't decided upon"})
	case first:
		t.first = true
		w.begin <- t
	default:
		w.later(func() {
			t.end(w.runtime.Reload(context.Background(), serve.Order{Trigger: t.assignment.Trigger, Load: t.load}))
		})
	}
}

// term is the making of one generation, from the question for it to what comes of it.
type term struct {
	*worker
	id         uint64
	assignment assignment
	first      bool

	ready    bool         // the question is answered; for the goroutine that reloads
	decision chan message // has room for one

	// The worker's mu guards these.
	aborted bool
	giveUp  context.CancelCauseFunc // of the load
}

// decide takes what becomes of the generation. The caller holds mu.
func (t *term) decide(m message) {
	select {
	case t.decision <- m:
	default: // there can be only one
	}
	if m.Kind == kindAbort {
		t.aborted = true
		if t.giveUp != nil {
			t.giveUp(errAborted)
		}
	}
}

func (t *term) load(ctx context.Context) (serve.Generation, error) {
	loading, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	t.mu.Lock()
	aborted := t.aborted
	t.giveUp = giveUp
	t.mu.Unlock()
	if aborted {
		return serve.Generation{}, errAborted
	}
	if t.assignment.Processors > 0 {
		runtime.GOMAXPROCS(t.assignment.Processors)
	}
	g, err := t.Load(loading, t.assignment.Work)
	if err != nil {
		return serve.Generation{}, err
	}
	ready := prepared{g.Watch, g.Made}
	g.Number, g.Watch = t.assignment.Generation, nil
	if g.Probation != nil {
		g.Probation.Failed = func(reason string) *serve.Order {
			_ = t.link.tell(kindFailed, failure{g.Number, reason}, nil) // without a supervisor it ends anyway
			return nil
		}
	}
	g.Agree = func(ctx context.Context, _ *serve.Generation, _ map[string]syscall.Conn) error {
		return t.agree(ctx, ready)
	}
	if current := g.Current; t.first {
		g.Current = func(number uint64) {
			if current != nil {
				current(number)
			}
			t.end(control.Reload{Generation: number}, nil)
		}
	}
	return g, nil
}

// agree tells that it is ready, and waits for what becomes of that.
func (t *term) agree(ctx context.Context, ready prepared) error {
	t.ready = true
	t.reply(t.id, ready, nil)
	select {
	case m := <-t.decision:
		t.decision <- m // end answers it
		if m.Kind == kindAbort {
			return errAborted
		}
		return nil
	case <-t.link.ended:
		return errNoSupervisor
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end answers what is open when the generation serves, or with the reason why it doesn't. A second call does nothing.
func (t *term) end(report control.Reload, err error) {
	t.mu.Lock()
	if t.term != t {
		t.mu.Unlock()
		return
	}
	t.term = nil
	for _, unused := range t.sockets {
		_ = unused.Close()
	}
	clear(t.sockets)
	t.mu.Unlock()
	var refusal *control.Refusal
	if err != nil {
		refusal = t.Refusal(err)
	}
	if !t.ready {
		t.reply(t.id, nil, refusal)
	}
	select {
	case m := <-t.decision:
		if m.Kind == kindAbort {
			refusal = nil
		}
		t.reply(m.ID, report, refusal)
	default:
	}
}
