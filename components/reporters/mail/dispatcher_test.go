package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/failure"
)

// desk is a dispatcher with its clock in a bubble, and the mails that it sent.
type desk struct {
	*ledger
	sent  []string    // subjects, with the minute
	down  atomic.Bool // no mail can be sent
	tries atomic.Int32
	log   strings.Builder
	start time.Time
}

// at runs f beside a dispatcher, and ends that after it.
func at(t *testing.T, change func(*Config), f func(d *desk)) *desk {
	t.Helper()
	d := new(desk)
	synctest.Test(t, func(t *testing.T) {
		d.ledger = newLedger()
		cfg := Component.Default
		cfg.AtOnce = 2
		if change != nil {
			change(&cfg)
		}
		d.start = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &dispatcher{ledger: d.ledger, cfg: cfg, log: slog.New(slog.NewTextHandler(&d.log, nil))}
		p.send = func(_ context.Context, subject, _ string) error {
			d.tries.Add(1)
			if d.down.Load() {
				return errors.New("nobody there")
			}
			d.sent = append(d.sent, fmt.Sprintf("%v %s", time.Since(d.start).Truncate(time.Minute), subject))
			return nil
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			p.run(ctx)
		}()
		synctest.Wait()
		f(d)
		cancel()
		<-ended
	})
	return d
}

// fail reports n incidents with that error, and lets the dispatcher do what it does.
func (d *desk) fail(t *testing.T, n int, text string) {
	t.Helper()
	for range n {
		if err := d.Report(t.Context(), incident(text)); err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
}

// wait lets time pass in the bubble.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
}

func incident(text string) *failure.Incident {
	return &failure.Incident{ID: "k7mq2", Status: http.StatusInternalServerError, Method: http.MethodGet, Host: "example.org", URL: "/a", Failure: failure.Failure{Err: errors.New(text)}}
}

func TestDispatch(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		f      func(t *testing.T, d *desk)
		want   []string
	}{
		{"the first at once, then a digest", nil, func(t *testing.T, d *desk) {
			d.fail(t, 1, "a")
			d.fail(t, 4, "a")
			wait(t, 16*time.Minute)
			wait(t, 15*time.Minute) // nothing came
		}, []string{"0s [stackd] GET example.org/a: a", "15m0s [stackd] 4 times GET example.org/a: a"}},
		{"groups", nil, func(t *testing.T, d *desk) {
			d.fail(t, 1, "a")
			d.fail(t, 1, "b")
			d.fail(t, 3, "a")
			d.fail(t, 1, "b")
			wait(t, 16*time.Minute)
		}, []string{"0s [stackd] GET example.org/a: a", "0s [stackd] GET example.org/a: b", "15m0s [stackd] 4 incidents of 2 kinds"}},
		{"no more than at_once", nil, func(t *testing.T, d *desk) {
			for c := 'a'; c < 'f'; c++ {
				d.fail(t, 1, string(c))
			}
			wait(t, 16*time.Minute)
			d.fail(t, 1, "x")
		}, []string{"0s [stackd] GET example.org/a: a", "0s [stackd] GET example.org/a: b", "15m0s [stackd] 3 incidents of 3 kinds", "16m0s [stackd] GET example.org/a: x"}},
		{"digests only", func(c *Config) { c.AtOnce = 0 }, func(t *testing.T, d *desk) {
			d.fail(t, 2, "a")
			wait(t, 16*time.Minute)
		}, []string{"15m0s [stackd] 2 times GET example.org/a: a"}},
		{"news after quiet", func(c *Config) { c.Quiet = time.Hour }, func(t *testing.T, d *desk) {
			d.fail(t, 1, "a")
			wait(t, 40*time.Minute)
			d.fail(t, 1, "a") // no news, and told at 45
			wait(t, 80*time.Minute)
			d.fail(t, 1, "a") // news
		}, []string{"0s [stackd] GET example.org/a: a", "45m0s [stackd] GET example.org/a: a", "2h0m0s [stackd] GET example.org/a: a"}},
		{"what is left is told at the end", nil, func(t *testing.T, d *desk) {
			d.fail(t, 1, "a")
			d.fail(t, 2, "a")
		}, []string{"0s [stackd] GET example.org/a: a", "0s [stackd] 2 times GET example.org/a: a"}},
		{"a dead server", nil, func(t *testing.T, d *desk) {
			d.down.Store(true)
			d.fail(t, 1, "a")
			d.fail(t, 5, "b")
			wait(t, 5*time.Minute+time.Second)
			if n := d.tries.Load(); n != 6 {
				t.Errorf("it was tried %d times in five minutes", n)
			}
			d.down.Store(false)
			wait(t, time.Minute)
			d.fail(t, 1, "c")
		}, []string{"6m0s [stackd] 6 incidents of 2 kinds", "6m0s [stackd] GET example.org/a: c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := at(t, test.change, func(d *desk) { test.f(t, d) })
			if diff := cmp.Diff(test.want, d.sent); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLost(t *testing.T) {
	d := at(t, nil, func(d *desk) {
		d.down.Store(true)
		d.fail(t, 3, "a")
	})
	if log := d.log.String(); !strings.Contains(log, `msg="incidents not mailed" incidents=3`) || !strings.Contains(log, "mail not sent") {
		t.Errorf("the log is %s", log)
	}
}

// TestBounded proves that a flood of different errors takes no more memory than maxGroups.
func TestBounded(t *testing.T) {
	l := newLedger()
	for n := range 1000 {
		i := incident("boom")
		i.Failure.Stack = []failure.Frame{{Function: "f", File: "f.go", Line: n}}
		if err := l.Report(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	groups := l.pending()
	if len(groups) != maxGroups || count(groups) != 1000 {
		t.Errorf("there are %d groups of %d incidents", len(groups), count(groups))
	}
	if last := groups[len(groups)-1]; last.key != "" || last.total != 1000-maxGroups+1 || !strings.Contains(body(groups), "no room") {
		t.Errorf("the others are %d in the group %q", last.total, last.key)
	}
}

func TestFingerprint(t *testing.T) {
	with := func(text string, stack ...failure.Frame) *failure.Incident {
		i := incident(text)
		i.Failure.Stack = stack
		return i
	}
	here, there := failure.Frame{Function: "f", File: "f.go", Line: 1}, failure.Frame{Function: "f", File: "f.go", Line: 2}
	tests := []struct {
		name string
		a, b *failure.Incident
		same bool
	}{
		{"equal", with("boom", here), with("boom", here), true},
		{"another number", with("user 12 at 0xff", here), with("user 9 at 0xc00a", here), true},
		{"another id", with("no 4bf92f3577b34da6a3ce929d0e0e4736", here), with("no 00f067aa0ba902b7a3ce929d0e0e4736", here), true},
		{"another number in a long text", with("user 12"+strings.Repeat(" and so on", 100), here), with("user 9"+strings.Repeat(" and so on", 100), here), true},
		{"another text", with("boom", here), with("bang", here), false},
		{"another place", with("boom", here), with("boom", there), false},
		{"the panic's own place", with("boom", failure.Frame{Function: "runtime.gopanic"}, here), with("boom", failure.Frame{Function: "runtime.gopanic"}, there), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fingerprint(test.a) == fingerprint(test.b); got != test.same {
				t.Errorf("the same: %v", got)
			}
		})
	}
}
