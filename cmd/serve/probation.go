package serve

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/response"
)

// Probation says how a generation proves itself: by the answers that it gives in its first time, compared with those of the
// generation before it in its last. Where there is none, or that has a Probation too little, nothing is compared. One that
// follows another before that has proved itself is held against what that was held against, and its Failed is asked in the
// place of its own: what is gone back to has proved itself.
type Probation struct {
	// Period is how long its answers are compared, and how long the time is with which they are.
	Period time.Duration
	// Threshold is by how many percentage points more of its answers may be errors (5xx).
	Threshold float64
	// Failed is called, once, when there are more. It is told what happened, and returns the [Order] to be carried out
	// because of it; nil for none. It may be nil.
	Failed func(reason string) *Order
}

// enough is how many answers are compared at least.
const enough = 20

// buckets is how many buckets the last time of a tally is divided into.
const buckets = 10

// tally counts the answers of a generation.
type tally struct {
	part    time.Duration // what one bucket has
	since   time.Time
	verdict chan<- struct{} // gets a token when a trial has failed

	mu     sync.Mutex
	newest int64           // the number of the newest bucket
	last   [buckets]counts // by number, modulo buckets
	trial  *trial          // nil for none
}

// counts are answers, and the errors among them.
type counts struct{ answers, errors int }

// trial is a probation, under way or over.
type trial struct {
	before, now counts
	threshold   float64
	until       time.Time
	failed      bool
}

func newTally(period time.Duration, verdict chan<- struct{}) *tally {
	return &tally{part: max(period/buckets, 1), since: time.Now(), verdict: verdict}
}

// share returns how many percent are errors.
func (c counts) share() float64 {
	if c.answers == 0 {
		return 0
	}
	return 100 * float64(c.errors) / float64(c.answers)
}

// String tells it to people.
func (c counts) String() string {
	return fmt.Sprintf("%.1f%% (%d of %d)", c.share(), c.errors, c.answers)
}

func (c *counts) add(failed bool) {
	c.answers++
	if failed {
		c.errors++
	}
}

// serve answers a request by h, and counts what came of it.
func (t *tally) serve(h http.Handler, w http.ResponseWriter, r *http.Request) {
	rw := new(response.Writer)
	rw.Init(w, nil)
	returned := false
	defer func() {
		switch {
		case rw.Hijacked(), returned && rw.Status() < http.StatusInternalServerError:
			t.add(false)
		case r.Context().Err() == nil: // else nobody waits for the answer any more
			t.add(true)
		}
	}()
	h.ServeHTTP(rw, r)
	returned = true
}

// add counts an answer.
func (t *tally) add(failed bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	t.last[t.newest%buckets].add(failed)
	tr := t.trial
	if tr == nil || tr.failed || now.After(tr.until) {
		return
	}
	tr.now.add(failed)
	if failed && tr.now.answers >= enough && tr.now.share() > tr.before.share()+tr.threshold {
		tr.failed = true
		select {
		case t.verdict <- struct{}{}:
		default: // there is one, and whoever takes it looks at the generation that serves then
		}
	}
}

// advance empties the buckets whose time is over. The caller holds mu.
func (t *tally) advance(now time.Time) {
	n := int64(now.Sub(t.since) / t.part)
	for t.newest = max(t.newest, n-buckets); t.newest < n; {
		t.newest++
		t.last[t.newest%buckets] = counts{}
	}
}

// recent returns what was counted in the last period.
func (t *tally) recent() (all counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(time.Now())
	for _, c := range t.last {
		all.answers += c.answers
		all.errors += c.errors
	}
	return all
}

// begin puts the generation on trial.
func (t *tally) begin(p *Probation, before counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trial = &trial{before: before, threshold: p.Threshold, until: time.Now().Add(p.Period)}
}

// follow puts g, which is counted, on trial after old, which is counted too.
func (g *generation) follow(old *generation) {
	tr := old.counted.onTrial()
	if tr == nil {
		g.counted.begin(g.Probation, old.counted.recent())
		return
	}
	inherited := *g.Probation
	inherited.Failed = old.Probation.Failed
	g.Probation = &inherited
	g.counted.begin(g.Probation, tr.before)
}

// onTrial returns the trial as it stands, or nil if there is none or its time is over.
func (t *tally) onTrial() *trial {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trial == nil || !t.trial.failed && time.Now().After(t.trial.until) {
		return nil
	}
	state := *t.trial
	return &state
}

// status tells of the probation of a generation; nil if it is on none.
func (t *tally) status() *control.Probation {
	tr := t.onTrial()
	if tr == nil {
		return nil
	}
	return &control.Probation{
		Until: tr.until, Threshold: tr.threshold, Answers: tr.now.answers, Errors: tr.now.errors,
		AnswersBefore: tr.before.answers, ErrorsBefore: tr.before.errors,
	}
}

// blame is what another process says of a generation.
type blame struct {
	generation uint64
	reason     string
}

// Fail says that a generation has failed its probation in another process that serves it, and why. One that doesn't serve
// any more is left alone.
func (r *Runtime) Fail(generation uint64, reason string) {
	r.blamed.Store(&blame{generation, reason})
	select {
	case r.verdicts <- struct{}{}:
	default: // there is one
	}
}

// judge looks at a generation whose trial may have failed, and returns what is to be done about it.
func (r *Runtime) judge(g *generation) *Order {
	if b := r.blamed.Swap(nil); b != nil && b.generation == g.number && g.Probation != nil && g.Probation.Failed != nil {
		return g.Probation.Failed(b.reason)
	}
	tr := g.counted.onTrial()
	if tr == nil || !tr.failed {
		return nil // another one has taken the place of that which failed
	}
	g.counted.acquit()
	r.log.Error("the new generation answers with too many errors",
		slog.Uint64("generation", g.number),
		slog.String("errors", tr.now.String()), slog.String("errors_before", tr.before.String()),
		slog.String("threshold", fmt.Sprintf("%g%%", tr.threshold)))
	if g.Probation.Failed == nil {
		return nil
	}
	return g.Probation.Failed(fmt.Sprintf("probation of generation %d: %s of its answers were errors, %s before", g.number, tr.now, tr.before))
}

// acquit ends the trial.
func (t *tally) acquit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trial = nil
}
