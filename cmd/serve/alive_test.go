package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
)

func TestAlive(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := New(Options{Logger: slog.New(newJournal()), Load: sequence(Generation{})})
	if err := fresh.Alive(over); !errors.Is(err, context.Canceled) {
		t.Errorf("one that never ran: %v", err)
	}

	loading, release := make(chan struct{}), make(chan struct{})
	loads := 0
	g := Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "")}}
	p := run(t, func(context.Context) (Generation, error) {
		if loads++; loads == 2 {
			close(loading)
			<-release
		}
		return g, nil
	})
	if err := p.Alive(t.Context()); err != nil {
		t.Errorf("one that serves: %v", err)
	}
	go func() { _, _ = p.Reload(context.Background(), Order{}) }()
	receive(t, loading, "load")
	if err := p.Alive(t.Context()); err != nil {
		t.Errorf("one that loads: %v", err)
	}
	close(release)
	p.log.await(t, "generation serves", 2)
	select {
	case <-p.Stopping():
		t.Error("it stops")
	default:
	}
	if err := p.Alive(t.Context()); err != nil {
		t.Errorf("one that has loaded: %v", err)
	}
	p.signals <- termSignal
	receive(t, p.Stopping(), "stop")
	if err := p.end(t); err != nil {
		t.Error(err)
	}
	if err := p.Alive(t.Context()); !errors.Is(err, errStopped) {
		t.Errorf("one that has stopped: %v", err)
	}
}

// TestReloading holds that each load is told of, and what came of it.
func TestReloading(t *testing.T) {
	broken := errors.New("broken")
	g := Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "")}}
	loads := 0
	var events []string
	p := &process{log: newJournal(), signals: make(chan os.Signal, 1), ended: make(chan error, 1)}
	p.Runtime = New(Options{
		Load: func(context.Context) (Generation, error) {
			if loads++; loads == 2 {
				return Generation{}, broken
			}
			return g, nil
		},
		Reloading: func() func(control.Reload, error) {
			events = append(events, "begins")
			return func(r control.Reload, err error) { events = append(events, fmt.Sprint(r.Generation, " ", err)) }
		},
		Logger: slog.New(p.log), Signals: p.signals,
	})
	go func() { p.ended <- p.Run(t.Context()) }()
	p.log.await(t, "generation serves", 1)
	if _, err := p.Reload(t.Context(), Order{}); !errors.Is(err, broken) {
		t.Error(err)
	}
	p.reload(t)
	p.signals <- termSignal
	if err := p.end(t); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"begins", "1 <nil>", "begins", "0 broken", "begins", "2 <nil>"}, events); diff != "" {
		t.Error(diff)
	}
}
