package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/control"
)

// Each stage has its own time, and the error names it; what Load knows of it comes with it.
func TestStageDeadlines(t *testing.T) {
	const soon = 20 * time.Millisecond
	tests := map[string]struct {
		first Generation
		load  func(ctx context.Context) (Generation, error)
		want  string
	}{
		"check": {
			first: Generation{CheckTimeout: soon},
			load: func(ctx context.Context) (Generation, error) {
				<-ctx.Done()
				return Generation{}, fmt.Errorf("stack.yaml: the load was given up: %w", context.Cause(ctx))
			},
			want: "stack.yaml: the load was given up: check took longer than 0.02s",
		},
		"build, after a check that had its time": {
			first: Generation{CheckTimeout: patience},
			load: func(ctx context.Context) (Generation, error) {
				Stage(ctx, "build", soon)
				<-ctx.Done()
				return Generation{}, fmt.Errorf("waiting for a store: %w", context.Cause(ctx))
			},
			want: "waiting for a store: build took longer than 0.02s",
		},
		"build, in a context of its own": {
			load: func(ctx context.Context) (Generation, error) {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				Stage(ctx, "build", soon)
				<-ctx.Done()
				return Generation{}, context.Cause(ctx)
			},
			want: "build took longer than 0.02s",
		},
		"a generation that comes too late": {
			load: func(ctx context.Context) (Generation, error) {
				Stage(ctx, "build", soon)
				<-ctx.Done()
				return Generation{Handler: say("late")}, nil
			},
			want: "load: build took longer than 0.02s",
		},
		"listen": {
			load: func(context.Context) (Generation, error) {
				return Generation{
					Handler: say("new"), ListenTimeout: 300 * time.Millisecond,
					Servers: []Server{{Name: "slow", Address: "127.0.0.2:0", Serve: func(ctx context.Context, _ net.Listener, _ http.Handler) error {
						<-ctx.Done()
						return nil
					}}},
				}, nil
			},
			want: `server "slow" on "127.0.0.2:0" did not start to accept: listen took longer than 0.3s`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.first.Handler, test.first.Servers = say("old"), []Server{on("127.0.0.1:0", "1")}
			p := run(t, sequence(test.first))
			_, err := p.Reload(t.Context(), Order{Trigger: "request", Load: test.load})
			if err == nil || err.Error() != test.want {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
			if got := mustGet(t, newClient(t), p.url(t, "127.0.0.1:0")); got != "old" {
				t.Errorf("got %q from the old generation", got)
			}
		})
	}
}

// Each stage is a record for those who look closely.
func TestStagesLogged(t *testing.T) {
	p := run(t, func(ctx context.Context) (Generation, error) {
		Stage(ctx, "build", patience)
		return Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "1")}}, nil
	})
	p.reload(t)
	var stages []string
	for _, line := range p.log.all("a stage of the reload has ended") {
		level, rest, _ := strings.Cut(line, " ")
		stage, _, _ := strings.Cut(rest, " took=")
		stages = append(stages, level+" "+stage)
	}
	want := []string{
		"DEBUG stage=check trigger=start", "DEBUG stage=build trigger=start", "DEBUG stage=listen trigger=start",
		"DEBUG stage=check trigger=test", "DEBUG stage=build trigger=test", "DEBUG stage=listen trigger=test",
	}
	if !slices.Equal(stages, want) {
		t.Errorf("the stages are %q, want %q", stages, want)
	}
	if line := p.log.await(t, "generation closed", 1); !strings.Contains(line, " drain=") || !strings.Contains(line, " close=") {
		t.Errorf("the end of a generation is %q", line)
	}
}

// A generation that takes its time to close is waited for, named and counted; the others go on.
func TestCloseTooSlow(t *testing.T) {
	release := make(chan struct{})
	servers := []Server{on("127.0.0.1:0", "1")}
	slow := Generation{
		Handler: say("slow"), Servers: servers, CloseTimeout: time.Millisecond,
		Close:   func() error { <-release; return errors.New("at last") },
		Closing: func() string { return "session.store (store sqlite)" },
	}
	p := run(t, sequence(slow, Generation{Handler: say("new"), Servers: servers}))
	p.reload(t)
	line := p.log.await(t, "closing a generation takes longer than its deadline", 1)
	if want := "WARN generation=1 deadline=1ms waiting_for=session.store (store sqlite)"; line != want {
		t.Errorf("the log says %q, want %q", line, want)
	}
	all := p.Status().Generations
	if len(all) != 2 || all[1].Number != 1 || all[1].Closing != "session.store (store sqlite)" || all[0].Closing != "" {
		t.Errorf("the status has %+v", all)
	}
	if got := p.reload(t); got != 3 {
		t.Errorf("the generation after it has the number %d", got)
	}
	if got := mustGet(t, newClient(t), p.url(t, "127.0.0.1:0")); got != "new" {
		t.Errorf("got %q", got)
	}
	close(release)
	p.log.await(t, "generation closed", 2)
	if all := p.Status().Generations; len(all) != 1 {
		t.Errorf("the status has %+v", all)
	}
	if lines := p.log.all("closing a generation"); len(lines) != 1 || lines[0] != "ERROR generation=1 err=at last" {
		t.Errorf("the log says %q", lines)
	}
}

// A close that never ends doesn't keep the process.
func TestCloseNever(t *testing.T) {
	release := make(chan struct{})
	p := launch(t, sequence(Generation{
		Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "1")}, CloseTimeout: time.Millisecond, StopTimeout: time.Millisecond,
		Close: func() error { <-release; return nil },
	}))
	defer close(release)
	p.log.await(t, "generation serves", 1)
	p.signals <- termSignal
	if err := p.end(t); err == nil || err.Error() != "generation 1 is not closed; it waits for its end" {
		t.Errorf("Run returned %v", err)
	}
}

// What was loaded in vain is closed, and a reload doesn't wait longer for that than it should.
func TestDiscardTooSlow(t *testing.T) {
	release := make(chan struct{})
	servers := []Server{on("127.0.0.1:0", "1")}
	p := run(t, sequence(
		Generation{Handler: say("old"), Servers: servers},
		Generation{Handler: say("bad"), Servers: []Server{on("nowhere", "2")}, CloseTimeout: time.Millisecond, Close: func() error { <-release; return nil }},
		Generation{Handler: say("new"), Servers: servers},
	))
	defer close(release)
	if _, err := p.Reload(t.Context(), Order{Trigger: "request"}); err == nil {
		t.Error("the reload works")
	}
	p.reload(t)
	if got := mustGet(t, newClient(t), p.url(t, "127.0.0.1:0")); got != "new" {
		t.Errorf("got %q", got)
	}
	if all := p.Status().Generations; slices.ContainsFunc(all, func(g control.Generation) bool { return g.Number == 0 }) {
		t.Errorf("the status has %+v", all)
	}
}
