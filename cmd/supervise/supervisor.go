package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
)

const (
	// A worker that dies is replaced after least; one that dies young, after twice the time of the one before, but no more
	// than most. It is young until most has passed.
	least = 100 * time.Millisecond
	most  = 10 * time.Second

	// decisionTimeout is how long a worker may take to swap, or to forget what it has prepared.
	decisionTimeout = 10 * time.Second
	// silenceTimeout is how long it may take to say anything before a reload counts on it.
	silenceTimeout = 10 * time.Second
	// statusTimeout is how long it may take to say what it does.
	statusTimeout = 2 * time.Second
	// cutTimeout is how long it may take to end when everything in it has been cut.
	cutTimeout = 15 * time.Second
)

// Options is what a supervisor needs to know.
type Options struct {
	// Command returns a command that calls RunWorker. It is not started, and has no ExtraFiles.
	Command func(number int) *exec.Cmd
	// Failed is called when a generation has failed its probation in a worker, with the reason. It doesn't wait. It may
	// be nil.
	Failed func(generation uint64, reason string)
	// Logger is told of workers that come and go.
	Logger *slog.Logger
}

// Work is a generation for workers.
type Work struct {
	// Processes is how many workers serve it.
	Processes int
	// Load is what their Load gets, as JSON.
	Load []byte
	// Timeout is how long the workers may take to be ready.
	Timeout time.Duration
}

// Supervisor keeps workers. It is safe for concurrent use.
type Supervisor struct {
	options Options
	silence time.Duration  // after which a reload does without a worker
	all     sync.WaitGroup // goroutines of processes

	mu sync.Mutex
	// places are those of the generation that serves, in order.
	places []*place
	// leaving are workers that end and have no place any more.
	leaving []*member
	serving *job
	// changing says that a reload is under way, which sees to the places itself.
	changing bool
	stopping bool
}

// job is what workers are to do.
type job struct {
	Work
	assignment assignment
	sockets    map[string]syscall.Conn
}

// place is where one worker is, or ought to be.
type place struct {
	number   int
	member   *member // nil while there is none
	restarts int
	delay    time.Duration // before the next one, if that is young

	cancel context.CancelCauseFunc // of the replacing that is under way; nil for none
	done   chan struct{}           // closed when that has ended
}

// New returns a supervisor without workers.
func New(o Options) *Supervisor { return &Supervisor{options: o, silence: silenceTimeout} }

// errStopping is why nothing begins any more.
var errStopping = errors.New("the process is stopping")

// Supervise makes workers serve a generation, all of them or none: when its listeners stand, they are told to make it ready,
// each for itself; when all are, it becomes the current one of all.
func (s *Supervisor) Supervise(g *serve.Generation, w Work) {
	for i := range g.Servers {
		g.Servers[i].Held, g.Servers[i].ID = true, "held"
	}
	var next *round
	var sum control.Reload
	current, closing := g.Current, g.Close
	g.Agree = func(ctx context.Context, g *serve.Generation, sockets map[string]syscall.Conn) error {
		begin := time.Now()
		r, err := s.prepare(ctx, &job{Work: w, sockets: sockets, assignment: assignment{
			Generation: g.Number, Trigger: serve.Trigger(ctx), Processors: share(w.Processes), Work: w.Load,
		}})
		if err != nil {
			return err
		}
		next = r
		g.Watch = append(slices.Clip(g.Watch), r.first.Watch...)
		made := r.first.Made
		g.Made.Built, g.Made.Carried, g.Made.Retired, g.Made.Build = made.Built, made.Carried, made.Retired, time.Since(begin)
		return nil
	}
	g.Current = func(number uint64) {
		if current != nil {
			current(number)
		}
		sum = s.commit(next)
		next = nil
	}
	g.Report = func(r control.Reload) control.Reload { return adding(r, sum) }
	g.Close = func() error {
		if next != nil { // it was ready, and something else was against it
			s.abort(next)
		}
		if closing != nil {
			return closing()
		}
		return nil
	}
}

// share returns how many processors each of so many workers may use; 0 if the environment says it.
func share(workers int) int {
	if os.Getenv("GOMAXPROCS") != "" {
		return 0
	}
	return max(1, (runtime.GOMAXPROCS(0)+workers-1)/workers)
}

// round is a job that workers have prepared, or are preparing.
type round struct {
	job   *job
	first prepared // what the first one said

	mu      sync.Mutex
	asked   []*member // all that were told to prepare, by number
	started []*member // those of them that are new
}

func (r *round) add(m *member, isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, m)
	if isNew {
		r.started = append(r.started, m)
	}
}

// forget takes out a worker that ends by its own wish.
func (r *round) forget(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = slices.DeleteFunc(r.asked, func(other *member) bool { return other == m })
}

// prepare lets all workers prepare a job. The first one does so alone: what is wrong with a stack is then found
// once.
func (s *Supervisor) prepare(ctx context.Context, j *job) (*round, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	r := &round{job: j}
	serve.Stage(ctx, "getting the workers ready", j.Timeout)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first, err := s.prepareOne(ctx, r, 1)
	if err == nil {
		r.first = first
		errs := make(chan error, j.Processes)
		for number := 2; number <= j.Processes; number++ {
			go func() {
				_, err := s.prepareOne(ctx, r, number)
				errs <- err
			}()
		}
		for range j.Processes - 1 {
			if each := <-errs; each != nil && err == nil {
				err = each
				cancel(errAborted)
			}
		}
	}
	if err != nil {
		s.abort(r)
		return nil, err
	}
	return r, nil
}

// prepareOne lets the worker of one place prepare, a new one if there is none.
func (s *Supervisor) prepareOne(ctx context.Context, r *round, number int) (prepared, error) {
	s.mu.Lock()
	var m *member
	if number <= len(s.places) {
		m = s.places[number-1].member
	}
	var had map[string]syscall.Conn
	if s.serving != nil {
		had = s.serving.sockets
	}
	s.mu.Unlock()
	if m != nil && s.heeds(ctx, m) {
		r.add(m, false)
		fresh := make(map[string]syscall.Conn)
		for address, socket := range r.job.sockets {
			if had[address] != socket {
				fresh[address] = socket
			}
		}
		p, err := m.prepare(ctx, r.job.assignment, fresh)
		if err == nil || ctx.Err() != nil || !s.leaves(m) {
			return p, err
		}
		r.forget(m) // it was told to end meanwhile, which says nothing of the job
	}
	m, err := s.hire(number)
	if err != nil {
		return prepared{}, err
	}
	r.add(m, true)
	return m.prepare(ctx, r.job.assignment, r.job.sockets)
}

// heeds reports whether a worker answers. One that doesn't, such as one that was stopped, would let the reload wait for all
// the time that there is: it is killed, so that the reload has another in its place.
func (s *Supervisor) heeds(ctx context.Context, m *member) bool {
	err := s.hear(ctx, m)
	if err == nil || ctx.Err() != nil {
		return true
	}
	s.fail(m, err)
	select {
	case <-m.exited:
		return false
	case <-ctx.Done():
		return true
	}
}

// hear returns an error if a worker doesn't answer.
func (s *Supervisor) hear(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.silence, fmt.Errorf("it said nothing for %s", s.silence))
	defer cancel()
	return m.ask(ctx, kindStatus, nil, nil)
}

// begin lets a reload see to the places: whoever is about to be put there isn't needed any more.
func (s *Supervisor) begin() error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return errStopping
	}
	s.changing = true
	s.mu.Unlock()
	s.endReplacing(errAborted)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.places {
		p.delay = 0 // what they died of may be over
	}
	return nil
}

// endReplacing gives up all replacing that is under way.
func (s *Supervisor) endReplacing(why error) {
	s.mu.Lock()
	var waits []chan struct{}
	for _, p := range s.places {
		if p.cancel != nil {
			p.cancel(why)
			waits = append(waits, p.done)
		}
	}
	s.mu.Unlock()
	for _, done := range waits {
		<-done
	}
}

// abort undoes what prepare did.
func (s *Supervisor) abort(r *round) {
	var all sync.WaitGroup
	for _, m := range r.asked {
		all.Go(func() {
			if slices.Contains(r.started, m) {
				m.kill()
				<-m.exited
				return
			}
			if err := m.abort(context.Background()); err != nil {
				s.fail(m, fmt.Errorf("giving a reload up: %w", err))
			}
		})
	}
	all.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

// leaves reports whether a worker is about to end.
func (s *Supervisor) leaves(m *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.leaving, m)
}

// fail kills a worker that doesn't do what it must, unless it is about to end anyway.
func (s *Supervisor) fail(m *member, err error) {
	if !s.leaves(m) && !m.over() {
		m.log.Error("a worker does not do what it is told, and is killed", slog.Any("err", err))
		m.kill()
	}
}

// commit lets all workers serve what they have prepared, and sums what became of their requests. One that can't is replaced.
func (s *Supervisor) commit(r *round) (sum control.Reload) {
	surplus := s.seat(r)
	reports := make(chan control.Reload, len(r.asked))
	for _, m := range r.asked {
		go func() {
			report, err := m.commit(context.Background())
			if err != nil {
				s.fail(m, fmt.Errorf("serving what it was ready for: %w", err))
			}
			reports <- report
		}()
	}
	for range r.asked {
		sum = adding(sum, <-reports)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range surplus {
		s.release(m)
	}
	s.settle()
	return sum
}

// adding returns r with the requests that another process tells of beside its own.
func adding(r, other control.Reload) control.Reload {
	r.Draining += other.Draining
	r.RequestsMoved += other.RequestsMoved
	r.RequestsKept += other.RequestsKept
	r.RequestsClosed += other.RequestsClosed
	return r
}

// seat gives the workers of a round their places, and returns those that have none in it.
func (s *Supervisor) seat(r *round) (surplus []*member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = r.job
	before := s.places
	s.places = nil
	for number := 1; number <= r.job.Processes; number++ {
		p := &place{number: number}
		if number <= len(before) {
			p = before[number-1]
		}
		for _, m := range r.started {
			if m.number == number {
				p.member, m.serving = m, true
			}
		}
		s.places = append(s.places, p)
	}
	for _, p := range before[min(r.job.Processes, len(before)):] {
		if p.member != nil {
			surplus = append(surplus, p.member)
		}
	}
	return surplus
}

// release lets a worker that isn't needed end. The caller holds mu.
func (s *Supervisor) release(m *member) {
	if m.over() {
		return
	}
	m.log.Info("a worker that isn't needed any more ends")
	s.leaving = append(s.leaving, m)
	s.all.Go(func() { m.dismiss(context.Background()) }) // at once: what it accepts would be served as before
	s.all.Go(func() {
		if err := s.hear(context.Background(), m); err != nil && !m.over() {
			m.log.Error("a worker does not do what it is told, and is killed", slog.Any("err", err))
			m.kill()
		}
	})
}

// settle ends a reload: what has become vacant meanwhile is filled. The caller holds mu.
func (s *Supervisor) settle() {
	s.changing = false
	for _, p := range s.places {
		if m := p.member; m != nil && (m.over() || slices.Contains(s.leaving, m)) {
			s.vacate(p)
		}
		s.fill(p)
	}
}

// left takes the news that a worker ends by its own wish: another takes its place meanwhile.
func (s *Supervisor) left(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.over() || slices.Contains(s.leaving, m) {
		return
	}
	s.leaving = append(s.leaving, m)
	if s.stopping {
		return
	}
	m.log.Info("a worker was told to end, and is replaced")
	for _, p := range s.places {
		if p.member == m {
			s.vacate(p)
			s.fill(p)
		}
	}
}

// gone takes the news that a process has ended.
func (s *Supervisor) gone(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.leaving, m); i >= 0 {
		s.leaving = slices.Delete(s.leaving, i, i+1)
		m.log.Info("worker ended", slog.String("how", m.how))
		return
	}
	if m.serving && !s.stopping {
		m.log.Error("a worker died, and is replaced", slog.String("how", m.how))
	}
	for _, p := range s.places {
		if p.member == m {
			s.vacate(p)
			s.fill(p)
		}
	}
}

// vacate takes a worker off its place, and says how long the next one has to wait. The caller holds mu.
func (s *Supervisor) vacate(p *place) {
	old := time.Since(p.member.began) >= most
	switch {
	case slices.Contains(s.leaving, p.member) && old:
		p.delay = 0
	case old || p.delay == 0:
		p.delay = least
	default:
		p.delay = min(2*p.delay, most)
	}
	p.member = nil
}

// fill gets a worker for a vacant place, in the background. The caller holds mu.
func (s *Supervisor) fill(p *place) {
	if s.changing || s.stopping || p.member != nil || p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	p.cancel, p.done = cancel, done
	j := s.serving
	s.all.Go(func() {
		defer close(done)
		defer cancel(nil)
		s.replace(ctx, p, j)
	})
}

// replace starts workers until one serves, or ctx ends.
func (s *Supervisor) replace(ctx context.Context, p *place, j *job) {
	for {
		s.mu.Lock()
		delay := p.delay
		s.mu.Unlock()
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		var m *member
		err := ctx.Err()
		if err == nil {
			m, err = s.start(ctx, p.number, j)
		}
		s.mu.Lock()
		switch {
		case err != nil:
		case m.over():
			err = errors.New(m.how)
		default:
			p.member, m.serving = m, true
			p.restarts++
			m.log.Info("a worker serves in the place of another", slog.Uint64("generation", j.assignment.Generation), slog.Int("restarts", p.restarts))
		}
		if err == nil || ctx.Err() != nil {
			p.cancel = nil
			s.mu.Unlock()
			return
		}
		p.delay = min(max(2*p.delay, least), most)
		s.options.Logger.Error("a worker could not take its place", slog.Int("worker", p.number), slog.Any("err", err), slog.Duration("again_in", p.delay))
		s.mu.Unlock()
	}
}

// start gets one worker to serve what the others do.
func (s *Supervisor) start(ctx context.Context, number int, j *job) (*member, error) {
	m, err := s.hire(number)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, j.Timeout, fmt.Errorf("it took longer than %s", j.Timeout))
	defer cancel()
	a := j.assignment
	a.Trigger = "start"
	if _, err = m.prepare(ctx, a, j.sockets); err == nil {
		_, err = m.commit(context.WithoutCancel(ctx)) // from then on it has requests
	}
	if err != nil {
		m.kill()
		<-m.exited
		return nil, err
	}
	return m, nil
}

// Stop ends all workers, and returns when no process is left, with how many requests did not end in time. They have the time
// that the stack gives them; when ctx ends, they are cut.
func (s *Supervisor) Stop(ctx context.Context) (outlived int) {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.endReplacing(errStopping)
	s.mu.Lock()
	members := slices.Clone(s.leaving)
	for _, p := range s.places {
		if p.member != nil && !slices.Contains(members, p.member) {
			members = append(members, p.member)
		}
	}
	s.mu.Unlock()
	counts := make(chan int, len(members))
	for _, m := range members {
		go func() { counts <- m.dismiss(ctx) }()
	}
	for range members {
		outlived += <-counts
	}
	s.all.Wait()
	return outlived
}
