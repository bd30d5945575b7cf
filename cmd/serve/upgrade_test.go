package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// successor is a runtime that has the sockets of another one, as another process would.
func successor(t *testing.T, g Generation, sockets []Handed) *process {
	t.Helper()
	files := make(map[string]Inherited)
	for _, s := range sockets {
		in := Inherited{File: again(t, s.File)}
		if s.Ours {
			in.Ours = func() bool { return true }
		}
		files[s.Address] = in
	}
	p := &process{log: newJournal(), signals: make(chan os.Signal, 4), ended: make(chan error, 1)}
	p.Runtime = New(Options{
		Load: sequence(g), Logger: slog.New(p.log), Signals: p.signals,
		Inherit: func(_ context.Context, s Server) (Inherited, error) {
			in := files[s.Address]
			delete(files, s.Address)
			return in, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(p.ended)
		p.ended <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		for range p.ended {
			continue
		}
	})
	p.log.await(t, "generation serves", 1)
	return p
}

// TestUpgrade has ten runtimes take over from each other, each while a client asks on and on and a request is under way
// in the one before. Nothing fails, and the socket's file and the port stay.
func TestUpgrade(t *testing.T) {
	before := measure(t)
	t.Cleanup(func() { noLeak(t, before) })
	path := filepath.Join(t.TempDir(), "s")
	inside, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			inside <- struct{}{}
			<-release
		}
		say("x").ServeHTTP(w, r)
	})
	g := Generation{Handler: slow, Servers: []Server{on("127.0.0.1:0", "1"), on("unix:"+path, "2")}}
	old := run(t, sequence(g))
	bound, url := old.Addresses()["127.0.0.1:0"].String(), old.url(t, "127.0.0.1:0")

	stop, stopped := make(chan struct{}), make(chan error, 1)
	busy := newClient(t)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := get(context.Background(), busy, url); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 10 {
		late := make(chan error, 1)
		waiting := newClient(t)
		go func() {
			_, err := get(context.Background(), waiting, url+"slow")
			late <- err
		}()
		receive(t, inside, "request")
		var next *process
		if err := old.Upgrade(t.Context(), func(_ context.Context, sockets []Handed) error {
			next = successor(t, g, sockets)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := old.Upgrade(t.Context(), nil); !errors.Is(err, errReplaced) && !errors.Is(err, errStopped) {
			t.Errorf("another upgrade: %v", err)
		}
		if _, err := old.Reload(t.Context(), Order{}); !errors.Is(err, errReplaced) && !errors.Is(err, errStopped) {
			t.Errorf("a reload: %v", err)
		}
		release <- struct{}{}
		if err := receive(t, late, "answer of the old process"); err != nil {
			t.Error(err)
		}
		if err := old.end(t); err != nil {
			t.Errorf("the old process ends with %v", err)
		}
		if got := next.Addresses()["127.0.0.1:0"].String(); got != bound {
			t.Errorf("it is bound to %s, before it was %s", got, bound)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		waiting.CloseIdleConnections()
		old = next
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Errorf("a request failed: %v", err)
	}
	busy.CloseIdleConnections()
	old.signals <- termSignal
	if err := old.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the last one leaves the socket: %v", err)
	}
}

// TestUpgradeRefused holds that a process nobody takes over from serves on.
func TestUpgradeRefused(t *testing.T) {
	before := measure(t)
	t.Cleanup(func() { noLeak(t, before) })
	path := filepath.Join(t.TempDir(), "s")
	p := run(t, sequence(Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", ""), on("unix:"+path, "")}}))
	broken := errors.New("it crashed")
	var held []*os.File
	if err := p.Upgrade(t.Context(), func(ctx context.Context, sockets []Handed) error {
		for _, s := range sockets {
			held = append(held, s.File)
		}
		if err := p.Upgrade(ctx, nil); !errors.Is(err, errUpgrading) {
			t.Errorf("a second upgrade: %v", err)
		}
		// A reload waits.
		waits, giveUp := context.WithCancelCause(ctx)
		giveUp(broken)
		if _, err := p.Reload(waits, Order{}); !errors.Is(err, broken) {
			t.Errorf("a reload: %v", err)
		}
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	for _, f := range held {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s is left open: %v", f.Name(), err)
		}
	}
	if len(held) != 2 {
		t.Errorf("%d sockets were handed over", len(held))
	}
	p.reload(t)
	client := newClient(t)
	if got := mustGet(t, client, p.url(t, "127.0.0.1:0")); got != "x" {
		t.Errorf("got %q", got)
	}
	client.CloseIdleConnections()
	p.signals <- termSignal
	if err := p.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestUpgradeStopped tells the process to stop while another one starts.
func TestUpgradeStopped(t *testing.T) {
	p := run(t, sequence(Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "")}}))
	err := p.Upgrade(t.Context(), func(ctx context.Context, _ []Handed) error {
		p.signals <- termSignal
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if !errors.Is(err, errStopping) {
		t.Errorf("error %v, want %v", err, errStopping)
	}
	if err := p.end(t); err != nil {
		t.Error(err)
	}
}

// TestUpgradeOfAnothersSocket holds that a socket which isn't this process's is not the next one's, either.
func TestUpgradeOfAnothersSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	theirs, _ := outside(t, "unix", path)
	p := successor(t, Generation{Handler: say("x"), Servers: []Server{on("unix:"+path, ""), on("127.0.0.1:0", "")}}, []Handed{{"unix:" + path, theirs, false}})
	got := make(map[string]bool)
	if err := p.Upgrade(t.Context(), func(_ context.Context, sockets []Handed) error {
		for _, s := range sockets {
			got[s.Address] = s.Ours
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["unix:"+path] || !got["127.0.0.1:0"] {
		t.Errorf("ours are %v", got)
	}
	if err := p.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

// TestUpgradeAndLostSocket holds that a reload makes a unix socket anew whose file was removed, also of a process that got it in an
// upgrade; but not that of somebody else.
func TestUpgradeAndLostSocket(t *testing.T) {
	dir := t.TempDir()
	ours, others := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	theirs, _ := outside(t, "unix", others)
	g := Generation{Handler: say("x"), Servers: []Server{on("unix:"+ours, "1")}}
	old := run(t, sequence(g))
	var next *process
	if err := old.Upgrade(t.Context(), func(_ context.Context, sockets []Handed) error {
		g.Servers = append(g.Servers, on("unix:"+others, "2"))
		next = successor(t, g, append(sockets, Handed{"unix:" + others, theirs, false}))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{ours, others} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	next.reload(t)
	c, err := net.Dial("unix", ours)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := os.Stat(others); !os.IsNotExist(err) {
		t.Errorf("another socket stands where that of another process was: %v", err)
	}
	next.signals <- termSignal
	if err := next.end(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ours); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}
