package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is told that the generation is ready can refuse it, and then nothing has happened.
func TestAgreeRefuses(t *testing.T) {
	before := measure(t)
	t.Run("run", func(t *testing.T) {
		dir := t.TempDir()
		refusal := errors.New("another one can't")
		closed := make(chan struct{})
		watched := filepath.Join(dir, "f")
		second := Generation{
			Handler: say("second"),
			Servers: []Server{on("127.0.0.1:0", "a"), on("unix:"+filepath.Join(dir, "s"), "b")},
			Close:   func() error { close(closed); return nil },
			Agree: func(_ context.Context, g *Generation, sockets map[string]syscall.Conn) error {
				if g.Number != 2 || len(sockets) != 2 || sockets["127.0.0.1:0"] == nil {
					t.Errorf("it is generation %d with %d sockets", g.Number, len(sockets))
				}
				g.Watch = append(g.Watch, watched)
				return refusal
			},
		}
		third := Generation{Handler: say("third"), Servers: []Server{on("127.0.0.1:0", "a")}}
		p := run(t, sequence(Generation{Handler: say("first"), Servers: []Server{on("127.0.0.1:0", "a")}}, second, third))
		url, client := p.url(t, "127.0.0.1:0"), newClient(t)
		if _, err := p.Reload(t.Context(), Order{Trigger: "test"}); !errors.Is(err, refusal) {
			t.Fatalf("the error is %v", err)
		}
		receive(t, closed, "end of what was refused")
		if _, err := os.Lstat(filepath.Join(dir, "s")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the new socket is still there: %v", err)
		}
		if got := mustGet(t, client, url); got != "first" {
			t.Errorf("it is %q that serves", got)
		}
		// What it added to Watch is a reason to try again.
		if err := os.WriteFile(watched, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.log.await(t, "generation serves", 2)
		if got := mustGet(t, client, url); got != "third" {
			t.Errorf("it is %q that serves", got)
		}
	})
	noLeak(t, before)
}

// A first generation that is refused is the error of Run.
func TestAgreeRefusesTheFirst(t *testing.T) {
	refusal := errors.New("no")
	p := launch(t, sequence(Generation{
		Handler: say(""), Servers: []Server{on("127.0.0.1:0", "a")},
		Agree: func(context.Context, *Generation, map[string]syscall.Conn) error { return refusal },
	}))
	if err := p.end(t); !errors.Is(err, refusal) {
		t.Errorf("the error is %v", err)
	}
}

// The swap waits for Agree, and a generation is called what it says.
func TestAgreeBeforeTheSwap(t *testing.T) {
	asked, proceed := make(chan struct{}), make(chan struct{})
	second := Generation{
		Handler: say("second"), Servers: []Server{on("127.0.0.1:0", "a")}, Number: 7,
		Agree: func(ctx context.Context, g *Generation, _ map[string]syscall.Conn) error {
			close(asked)
			select {
			case <-proceed:
				g.Made.Built = []string{"what was built elsewhere"}
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
	p := run(t, sequence(Generation{Handler: say("first"), Servers: []Server{on("127.0.0.1:0", "a")}}, second, Generation{Handler: say("third"), Servers: []Server{on("127.0.0.1:0", "a")}}))
	url, client := p.url(t, "127.0.0.1:0"), newClient(t)
	reports := make(chan outcome, 1)
	go func() {
		report, err := p.Reload(context.Background(), Order{Trigger: "test"})
		reports <- outcome{report, err}
	}()
	receive(t, asked, "question")
	if got := mustGet(t, client, url); got != "first" {
		t.Errorf("it is %q that serves", got)
	}
	close(proceed)
	out := receive(t, reports, "report")
	if out.err != nil || out.report.Generation != 7 || len(out.report.Built) != 1 {
		t.Errorf("it came to %+v, %v", out.report, out.err)
	}
	if got := mustGet(t, client, url); got != "second" {
		t.Errorf("it is %q that serves", got)
	}
	if n := p.reload(t); n != 8 {
		t.Errorf("the next generation is %d", n)
	}
}

// A socket that is held is for others to accept from: here for this test, which gets its connections also after a
// reload, until the process stops. Then Stop ends those who serve it.
func TestHeld(t *testing.T) {
	before := measure(t)
	t.Run("run", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		address := "unix:" + path
		var served net.Listener
		server := Server{Name: "http", Address: address, Mode: 0o600, ID: "a", Held: true}
		g := Generation{Handler: http.NotFoundHandler(), Servers: []Server{server}, StopTimeout: time.Hour}
		g.Agree = func(_ context.Context, _ *Generation, sockets map[string]syscall.Conn) error {
			if served != nil {
				return nil
			}
			fd, err := descriptor(sockets[address])
			if err != nil {
				return err
			}
			f := os.NewFile(uintptr(fd), path)
			defer f.Close()
			served, err = net.FileListener(f)
			return err
		}
		p := &process{log: newJournal(), signals: make(chan os.Signal, 4), ended: make(chan error, 1)}
		stopping := make(chan struct{})
		p.Runtime = New(Options{Load: sequence(g), Logger: slog.New(p.log), Signals: p.signals, Quiet: true, Stop: func(ctx context.Context) int {
			close(stopping)
			<-ctx.Done()
			return 3
		}})
		go func() { p.ended <- p.Run(context.Background()) }()
		if line := p.log.await(t, "generation serves", 1); !strings.HasPrefix(line, "DEBUG") {
			t.Errorf("a quiet runtime logs %s", line)
		}
		p.reload(t)
		p.reload(t)
		client, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		other, err := served.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if listeners := p.Status().Listeners; len(listeners) != 1 || listeners[0].Bound != path {
			t.Errorf("the listeners are %+v", listeners)
		}
		p.signals <- syscall.SIGTERM
		receive(t, stopping, "call of Stop")
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is there while others end: %v", err)
		}
		p.signals <- syscall.SIGTERM // cuts
		if err := p.end(t); err != nil {
			t.Error(err)
		}
		if n := p.outlived.Load(); n != 3 {
			t.Errorf("%d outlived; want what Stop said", n)
		}
		served.Close()
	})
	noLeak(t, before)
}
