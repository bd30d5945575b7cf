package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/response"
)

// TestTally proves what is compared with what, and for how long.
func TestTally(t *testing.T) {
	const period = 10 * time.Second
	type step struct {
		after     time.Duration
		good, bad int
	}
	tests := map[string]struct {
		before []step
		now    []step
		fails  bool
	}{
		"as good as before":                   {before: []step{{good: 100}}, now: []step{{good: 100}}},
		"as bad as before":                    {before: []step{{good: 50, bad: 50}}, now: []step{{good: 50, bad: 50}}},
		"at the threshold":                    {before: []step{{good: 100}}, now: []step{{good: 95, bad: 5}}},
		"above the threshold":                 {before: []step{{good: 100}}, now: []step{{good: 94, bad: 6}}, fails: true},
		"above the threshold, which is added": {before: []step{{good: 90, bad: 10}}, now: []step{{good: 84, bad: 16}}, fails: true},
		"below it by what was there before":   {before: []step{{good: 90, bad: 10}}, now: []step{{good: 86, bad: 14}}},
		"nothing before":                      {now: []step{{good: 94, bad: 6}}, fails: true},
		"too few":                             {before: []step{{good: 100}}, now: []step{{bad: 19}}},
		"enough":                              {before: []step{{good: 100}}, now: []step{{bad: 20}}, fails: true},
		"the last of twenty":                  {before: []step{{good: 100}}, now: []step{{good: 18, bad: 2}}, fails: true},
		"in time":                             {before: []step{{good: 100}}, now: []step{{after: period, bad: 20}}, fails: true},
		"too late":                            {before: []step{{good: 100}}, now: []step{{after: period + 1, bad: 20}}},
		"too few in time":                     {before: []step{{good: 100}}, now: []step{{bad: 19}, {after: period + 1, bad: 19}}},
		"errors before that are long ago":     {before: []step{{bad: 100}, {after: period, good: 20}}, now: []step{{bad: 20}}, fails: true},
		"errors before that are recent":       {before: []step{{bad: 100}, {after: period * 8 / 10, good: 2}}, now: []step{{bad: 20}}},
		"before was long idle":                {before: []step{{bad: 100}, {after: 1000 * period, bad: 1}}, now: []step{{bad: 20}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				verdicts := make(chan struct{}, 1)
				play := func(of *tally, steps []step) {
					for _, s := range steps {
						<-time.After(s.after) // in the bubble's time
						for range s.good {
							of.add(false)
						}
						for range s.bad {
							of.add(true)
						}
					}
				}
				before, now := newTally(period, nil), newTally(period, verdicts)
				play(before, test.before)
				now.begin(&Probation{Period: period, Threshold: 5}, before.recent())
				play(now, test.now)
				if got := len(verdicts) == 1; got != test.fails {
					t.Errorf("it fails: %t; it has %+v", got, now.trial)
				}
				if state := now.onTrial(); (state != nil && state.failed) != test.fails {
					t.Errorf("the trial is %+v", state)
				}
			})
		})
	}
}

// aborted panics as net/http's own handlers do.
func aborted(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// TestCounted proves which answers are errors, over a real connection, and that nothing is taken from the response.
func TestCounted(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		want   counts
		cut    bool // the client gets no whole answer
	}{
		"nothing written": {func(http.ResponseWriter, *http.Request) {}, counts{1, 0}, false},
		"200":             {status(200), counts{1, 0}, false},
		"404":             {status(404), counts{1, 0}, false},
		"499":             {status(499), counts{1, 0}, false},
		"500":             {status(500), counts{1, 1}, false},
		"503":             {status(503), counts{1, 1}, false},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusBadGateway)
		}, counts{1, 1}, false},
		"a file": {func(w http.ResponseWriter, r *http.Request) {
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("the kernel can't copy the file")
			}
			http.ServeFile(w, r, file)
		}, counts{1, 0}, false},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}, counts{1, 0}, false},
		"a panic":                    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, counts{1, 1}, true},
		"a panic in the body":        {aborted, counts{1, 1}, true},
		"a panic after taking over":  {func(w http.ResponseWriter, _ *http.Request) { takeOver(t, w); panic(http.ErrAbortHandler) }, counts{1, 0}, true},
		"a connection that is taken": {func(w http.ResponseWriter, _ *http.Request) { takeOver(t, w) }, counts{1, 0}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := run(t, sequence(Generation{
				Handler: test.answer, Servers: []Server{on("127.0.0.1:0", "1")}, Probation: &Probation{Period: patience},
			}))
			_, err := get(t.Context(), newClient(t), p.url(t, "127.0.0.1:0"))
			if cut := err != nil && !strings.HasPrefix(err.Error(), "status "); cut != test.cut {
				t.Errorf("the client gets %v", err)
			}
			g := p.root.current.Load()
			p.signals <- termSignal // when Run has returned, the request has ended
			if err := p.end(t); err != nil {
				t.Errorf("Run returned %v", err)
			}
			if got := g.counted.recent(); got != test.want {
				t.Errorf("counted are %+v, want %+v", got, test.want)
			}
		})
	}
	t.Run("101", func(t *testing.T) {
		c := newTally(patience, nil)
		c.serve(status(http.StatusSwitchingProtocols), httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if got := c.recent(); got != (counts{1, 0}) {
			t.Errorf("counted are %+v", got)
		}
	})
	t.Run("a client that has gone", func(t *testing.T) {
		c := newTally(patience, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody)
		for _, h := range []http.HandlerFunc{aborted, status(502), status(200)} {
			func() {
				defer func() { _ = recover() }()
				c.serve(h, httptest.NewRecorder(), r)
			}()
		}
		if got := c.recent(); got != (counts{1, 0}) {
			t.Errorf("counted are %+v", got)
		}
	})
}

// takeOver ends the connection of a request.
func takeOver(t *testing.T, w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	c.Close()
}

// Without a Probation the handler has the server's own ResponseWriter.
func TestUncounted(t *testing.T) {
	for _, counted := range []bool{false, true} {
		wrapped := make(chan bool, 1)
		g := Generation{Servers: []Server{on("127.0.0.1:0", "1")}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, is := w.(*response.Writer)
			wrapped <- is
		})}
		if counted {
			g.Probation = &Probation{Period: time.Minute}
		}
		p := run(t, sequence(g))
		mustGet(t, newClient(t), p.url(t, "127.0.0.1:0"))
		if got := <-wrapped; got != counted {
			t.Errorf("with counting %t the ResponseWriter is wrapped: %t", counted, got)
		}
	}
}

// TestProbation proves who is on probation, and what comes of failing.
func TestProbation(t *testing.T) {
	const on1 = "127.0.0.1:0"
	servers := []Server{on(on1, "1")}
	failures := make(chan string, 8)
	fine := Generation{Handler: say("fine"), Servers: servers, Probation: &Probation{
		Period: time.Hour, Threshold: 5, Failed: func(reason string) *Order { failures <- reason; return nil },
	}}
	bad := fine
	bad.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	uncounted := fine
	uncounted.Probation = nil
	back := fine
	back.Made.RollbackTo = 1
	restoring := bad
	restoring.Probation = &Probation{Period: time.Hour, Threshold: 5, Failed: func(reason string) *Order {
		return &Order{Trigger: reason, Load: func(context.Context) (Generation, error) { return back, nil }}
	}}
	asked := func(t *testing.T, p *process, times int) {
		t.Helper()
		c, url := newClient(t), p.url(t, on1)
		for range times {
			if _, err := get(t.Context(), c, url); err != nil && !strings.HasPrefix(err.Error(), "status 503") {
				t.Fatal(err)
			}
		}
	}
	reload := func(t *testing.T, p *process, g Generation) uint64 {
		t.Helper()
		report, err := p.Reload(t.Context(), Order{Trigger: "test", Load: func(context.Context) (Generation, error) { return g, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return report.Generation
	}
	probation := func(p *process) *control.Probation { return p.Status().Generations[0].Probation }

	t.Run("rolls back, once", func(t *testing.T) {
		p := run(t, sequence(fine))
		asked(t, p, 50)
		if got := probation(p); got != nil {
			t.Errorf("the first generation is on probation: %+v", got)
		}
		reload(t, p, restoring)
		asked(t, p, 10)
		got := probation(p)
		if got == nil {
			t.Fatal("the second generation isn't on probation")
		}
		got.Until = time.Time{}
		if diff := cmp.Diff(&control.Probation{Threshold: 5, Answers: 10, Errors: 10, AnswersBefore: 50}, got); diff != "" {
			t.Errorf("its probation (-want +got):\n%s", diff)
		}
		asked(t, p, 10)
		line := p.log.await(t, "generation serves", 3)
		const reason = "probation of generation 2: 100.0% (20 of 20) of its answers were errors, 0.0% (0 of 50) before"
		if !strings.Contains(line, "generation=3 trigger="+reason+" rollback_to=1 ") {
			t.Errorf("the log says %q", line)
		}
		lines := p.log.all("the new generation answers with too many errors")
		if len(lines) != 1 || lines[0] != "ERROR generation=2 errors=100.0% (20 of 20) errors_before=0.0% (0 of 50) threshold=5%" {
			t.Errorf("the log says %q", lines)
		}
		if got := mustGet(t, newClient(t), p.url(t, on1)); got != "fine" {
			t.Errorf("got %q", got)
		}
		now := p.Status().Generations[0]
		if now.Probation != nil || now.Trigger != reason {
			t.Errorf("the status is %+v", now)
		}
	})
	t.Run("fails without a way back", func(t *testing.T) {
		p := run(t, sequence(fine))
		reload(t, p, bad)
		asked(t, p, 20)
		if got := receive(t, failures, "failure"); !strings.HasPrefix(got, "probation of generation 2: ") {
			t.Errorf("the reason is %q", got)
		}
		asked(t, p, 50)
		if got := reload(t, p, fine); got != 3 || len(failures) > 0 {
			t.Errorf("generation %d, after %d failures more", got, len(failures))
		}
	})
	spared := map[string][]Generation{
		"the first":                         {bad},
		"one that was rolled back to":       {fine, func() Generation { g := bad; g.Made.RollbackTo = 1; return g }()},
		"one after one that wasn't counted": {uncounted, bad},
		"one that isn't counted":            {fine, func() Generation { g := bad; g.Probation = nil; return g }()},
	}
	for name, generations := range spared {
		t.Run("spares "+name, func(t *testing.T) {
			p := run(t, sequence(generations[0]))
			for i, g := range generations[1:] {
				reload(t, p, g)
				if i < len(generations)-2 {
					asked(t, p, 19) // too few to fail
				}
			}
			asked(t, p, 40)
			reload(t, p, fine) // whatever was to be done is done
			if lines := p.log.all("the new generation answers with too many errors"); len(lines) > 0 {
				t.Errorf("the log says %q", lines)
			}
		})
	}
	t.Run("spares one after one that was let stay", func(t *testing.T) {
		p := run(t, sequence(fine))
		reload(t, p, bad)
		asked(t, p, 20)
		receive(t, failures, "failure")
		reload(t, p, bad)
		asked(t, p, 40)
		reload(t, p, fine) // whatever was to be done is done
		if lines := p.log.all("the new generation answers with too many errors"); len(lines) != 1 || len(failures) > 0 {
			t.Errorf("the log says %q", lines)
		}
	})
	t.Run("one that comes meanwhile", func(t *testing.T) {
		p := run(t, sequence(fine))
		asked(t, p, 50)
		reload(t, p, restoring)
		asked(t, p, 19)
		reload(t, p, bad)
		asked(t, p, 20)
		line := p.log.await(t, "generation serves", 4)
		if want := "probation of generation 3: 100.0% (20 of 20) of its answers were errors, 0.0% (0 of 50) before rollback_to=1 "; !strings.Contains(line, want) || len(failures) > 0 {
			t.Errorf("the log says %q", line)
		}
	})
	t.Run("a reload ends it", func(t *testing.T) {
		p := run(t, sequence(fine))
		reload(t, p, bad)
		g := p.root.current.Load()
		asked(t, p, 19)
		reload(t, p, fine)
		g.counted.add(true) // the last one, of a request that was still under way
		reload(t, p, fine)
		if lines := p.log.all("the new generation answers with too many errors"); len(lines) > 0 || len(failures) > 0 {
			t.Errorf("the log says %q", lines)
		}
	})
	t.Run("the way back is barred", func(t *testing.T) {
		broken := bad
		broken.Probation = &Probation{Period: time.Hour, Failed: func(reason string) *Order {
			return &Order{Trigger: reason, Load: func(context.Context) (Generation, error) { return Generation{}, errors.New("barred") }}
		}}
		p := run(t, sequence(fine))
		reload(t, p, broken)
		asked(t, p, 20)
		if line := p.log.await(t, "reload refused, the old generation serves on", 1); !strings.Contains(line, "err=barred") {
			t.Errorf("the log says %q", line)
		}
		asked(t, p, 40)
		reload(t, p, fine)
		if lines := p.log.all("reload refused, the old generation serves on"); len(lines) != 1 {
			t.Errorf("the log says %q", lines)
		}
	})
}

// TestTallyAtOnce proves that the counts are right when many count at once, and that one failure is one.
func TestTallyAtOnce(t *testing.T) {
	verdicts := make(chan struct{}, 1)
	c := newTally(time.Hour, verdicts)
	c.begin(&Probation{Period: time.Hour, Threshold: 5}, counts{100, 0})
	const clients, each = 8, 500
	done := make(chan struct{})
	for range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range each {
				c.add(i%2 == 0)
			}
		}()
	}
	for range clients {
		<-done
	}
	if got := c.recent(); got != (counts{clients * each, clients * each / 2}) {
		t.Errorf("counted are %+v", got)
	}
	if len(verdicts) != 1 {
		t.Error("no failure is told")
	}
}
