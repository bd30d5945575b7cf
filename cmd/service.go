package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/handover"
	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/cmd/systemd"
	"github.com/stackd/stackd/stackfile"
)

// service is what this process has from whoever started it, and what it tells them and others.
type service struct {
	log *slog.Logger
	// path is the program's file, or noPath why it isn't known.
	path   string
	noPath error

	sockets     handover.Sockets
	predecessor *handover.Predecessor // nil if this process takes nobody's place
	notifier    *systemd.Notifier     // nil if nobody is to be told

	began   chan struct{} // closed when the first generation serves
	speaks  atomic.Bool   // it is for this process to tell the service manager how it is
	longest atomic.Int64  // how long a new process may take to serve
	refused atomic.Int64  // reloads

	mu      sync.Mutex
	notes   notes
	publish func() error // puts the notes in place when the predecessor has left everything to this process; nil when it has
	late    *texts       // what they are to say after a reload until then
}

// serviceOf takes it from the environment, all but the log.
func serviceOf() (*service, error) {
	s := &service{began: make(chan struct{})}
	s.path, s.noPath = programPath()
	sockets, err := systemd.Sockets()
	if err != nil {
		return nil, fmt.Errorf("sockets of the service manager: %w", err)
	}
	for _, one := range sockets {
		s.sockets.Add(one.Name, one.File)
	}
	if s.predecessor, err = handover.Open(&s.sockets); err != nil {
		return nil, err
	}
	s.notifier, err = systemd.Open()
	return s, err
}

// stderr is where this process, and those that it starts to serve with it, log for as long as they run.
func (s *service) stderr() *os.File {
	if s.predecessor != nil {
		return s.predecessor.Stderr()
	}
	return os.Stderr
}

// announce has a generation tell scripts where it listens: the first one before it serves, and it is refused if that can't be
// done. What it returns does so for those that come after it, and is to be called when the generation is the current one.
func (s *service) announce(g *serve.Generation, plan *stackfile.Plan, first bool) (current func()) {
	var say texts
	g.Ready = func(_ context.Context, bound map[string]net.Addr) (err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		say = textsOf(plan, g.Servers, bound)
		switch {
		case !first:
			return nil
		case s.predecessor != nil: // the notes are still that one's
			s.publish, err = s.notes.stage(say)
			return err
		}
		return s.notes.begin(say)
	}
	return func() {
		d := plan.Deadlines()
		s.longest.Store(int64(startTime + d.Check + d.Build + d.Listen))
		if first {
			for _, one := range s.sockets.Unclaimed() {
				s.log.Warn("a socket was handed in that no server listens on; connections to it hang", slog.String("socket", one))
			}
			close(s.began)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.publish != nil {
			s.late = &say
			return
		}
		s.notes.change(say, s.log)
	}
}

// takeOver has the predecessor, if there is one, leave everything to this process, which serves.
func (s *service) takeOver(ctx context.Context) error {
	if s.predecessor == nil {
		return nil
	}
	if err := s.predecessor.TakeOver(ctx); err != nil {
		return err
	}
	s.log.Info("this process has taken over", slog.Int("from", s.predecessor.PID))
	s.sockets.Drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.publish(); err != nil {
		s.log.Warn("a file for scripts is not up to date", slog.Any("err", err))
	}
	s.publish = nil
	if s.late != nil {
		s.notes.change(*s.late, s.log)
	}
	return nil
}

// end takes back what was told, and gives back what was handed in.
func (s *service) end() {
	s.untell()
	s.sockets.Close()
	s.tell(s.notifier.Close())
}

// untell takes back what scripts were told.
func (s *service) untell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.notes.end(); err != nil {
		s.log.Warn("removing a file for scripts", slog.Any("err", err))
	}
}

// attend takes over, and then does what the signals ask that are not the runtime's, until ctx ends.
func (l *loader) attend(ctx context.Context, signals <-chan os.Signal) {
	select {
	case <-l.service.began:
	case <-ctx.Done():
		return
	}
	if err := l.service.takeOver(ctx); err != nil {
		if ctx.Err() == nil {
			l.log.Error("the process before this one doesn't leave its place", slog.Any("err", err))
			_, _ = l.runtime.Stop(ctx) // it has said what went wrong
		}
		return
	}
	l.service.speaks.Store(true)
	l.service.tell(l.service.notifier.Ready(l.summary()))
	stopping := l.runtime.Stopping()
	for {
		select {
		case <-signals:
			_, _ = l.upgrade(ctx, "SIGUSR2") // it has logged the error
		case <-stopping:
			l.service.tell(l.service.notifier.Stopping("stopping, when the requests under way have ended"))
			stopping = nil
		case <-ctx.Done():
			return
		}
	}
}

// guard tells the watchdog that the runtime is alive, twice as often as it wants to know, and only if it is.
func (l *loader) guard(ctx context.Context) {
	period := l.service.notifier.Watchdog() / 2
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		if !l.service.speaks.Load() {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, period)
		err := l.runtime.Alive(limit)
		cancel()
		if err == nil {
			l.service.tell(l.service.notifier.Alive())
		} else if ctx.Err() == nil {
			l.log.Error("the watchdog is not told that this process is alive", slog.Any("err", err))
		}
	}
}

// reloading tells the service manager of a reload.
func (l *loader) reloading() (ended func(control.Reload, error)) {
	if !l.service.speaks.Load() {
		return func(control.Reload, error) {}
	}
	l.service.tell(l.service.notifier.Reloading())
	return func(_ control.Reload, err error) {
		if err != nil {
			l.service.refused.Add(1)
		}
		l.service.tell(l.service.notifier.Ready(l.summary()))
	}
}

// summary tells people in a line how the process is.
func (l *loader) summary() string {
	text := "nothing serves"
	if all := l.runtime.Status().Generations; len(all) > 0 {
		text = fmt.Sprintf("generation %d serves %s", all[0].Number, l.file)
	}
	if n := l.service.refused.Load(); n > 0 {
		text += "; " + count(int(n), "reload") + " refused"
	}
	return text
}

// tell notes that something could not be told.
func (s *service) tell(err error) {
	if err != nil {
		s.log.Warn("the service manager could not be told", slog.Any("err", err))
	}
}

// run runs the stack until it is told to stop.
func (l *loader) run(ctx context.Context) error {
	upgrades := make(chan os.Signal, 1)
	signal.Notify(upgrades, syscall.SIGUSR2)
	defer signal.Stop(upgrades)
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { l.attend(ctx, upgrades) })
	if l.service.notifier.Watchdog() > 0 {
		beside.Go(func() { l.guard(ctx) })
	}
	err := l.runtime.Run(ctx)
	cancel()
	beside.Wait()
	l.service.end()
	return err
}

// limit is how long a new process may take to serve.
func (s *service) limit() time.Duration { return time.Duration(s.longest.Load()) }

// errNotBegun is why what doesn't serve yet can't be upgraded.
var errNotBegun = errors.New("nothing serves yet")
