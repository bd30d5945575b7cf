package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// serveHTTP is a server as components are: net/http, ended by its context.
//
// It calls Shutdown only when nothing but idle connections are left: Shutdown drops a request that was
// read just now, even the first of its connection.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	busy := busy{conns: make(map[net.Conn]bool), none: make(chan struct{})}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: patience, ConnState: busy.state}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return err
	}
	srv.SetKeepAlivesEnabled(false)
	busy.end()
	<-busy.none
	return srv.Shutdown(context.Background())
}

// busy knows the connections of an http.Server that have a request or have had none yet.
type busy struct {
	mu     sync.Mutex
	conns  map[net.Conn]bool
	ending bool
	none   chan struct{}
}

func (b *busy) state(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == http.StateNew || s == http.StateActive {
		b.conns[c] = true
		return
	}
	delete(b.conns, c)
	b.check()
}

// end makes none close when no connection is busy.
func (b *busy) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending = true
	b.check()
}

func (b *busy) check() {
	if b.ending && len(b.conns) == 0 {
		select {
		case <-b.none:
		default:
			close(b.none)
		}
	}
}

// say answers with a text.
func say(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
}

// on is a server by serveHTTP.
func on(address, id string) Server {
	return Server{Name: "http", Address: address, ID: id, Serve: serveHTTP}
}

// journal is a slog.Handler that keeps the records, so that a test can wait for one.
type journal struct {
	mu      sync.Mutex
	records []slog.Record
	grown   chan struct{}
}

func newJournal() *journal { return &journal{grown: make(chan struct{})} }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, r.Clone())
	close(j.grown)
	j.grown = make(chan struct{})
	return nil
}

// all returns the records of that message, each as a line.
func (j *journal) all(message string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []string
	for _, r := range j.records {
		if r.Message != message {
			continue
		}
		line := r.Level.String()
		r.Attrs(func(a slog.Attr) bool {
			line += " " + a.String()
			return true
		})
		lines = append(lines, line)
	}
	return lines
}

// await returns the nth record of that message (from 1), when it has been written.
func (j *journal) await(t *testing.T, message string, nth int) string {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		j.mu.Lock()
		grown := j.grown
		j.mu.Unlock()
		if lines := j.all(message); len(lines) >= nth {
			return lines[nth-1]
		}
		select {
		case <-grown:
		case <-limit.C:
			t.Fatalf("no record %d of %q; the log has %v", nth, message, j.text())
		}
	}
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, r := range j.records {
		fmt.Fprintf(&b, "\n%s %s", r.Level, r.Message)
		r.Attrs(func(a slog.Attr) bool {
			fmt.Fprintf(&b, " %s", a)
			return true
		})
	}
	return b.String()
}

// process is a Runtime that runs.
type process struct {
	*Runtime
	log     *journal
	signals chan os.Signal
	ended   chan error // what Run returned
}

// run starts a Runtime and waits for its first generation. When the test ends, it is stopped.
func run(t *testing.T, load func(context.Context) (Generation, error)) *process {
	t.Helper()
	p := launch(t, load)
	p.log.await(t, "generation serves", 1)
	return p
}

// launch is run without waiting.
func launch(t *testing.T, load func(context.Context) (Generation, error)) *process {
	t.Helper()
	p := &process{log: newJournal(), signals: make(chan os.Signal, 4), ended: make(chan error, 1)}
	p.Runtime = New(Options{Load: load, Logger: slog.New(p.log), Signals: p.signals})
	p.grace = 100 * time.Millisecond
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
		if t.Failed() {
			text := p.log.text()
			t.Log("the log ends:", text[max(0, len(text)-4000):])
		}
	})
	return p
}

// end waits until Run returns.
func (p *process) end(t *testing.T) error {
	t.Helper()
	return receive(t, p.ended, "end of Run")
}

// url returns where the listener of that address can be reached.
func (p *process) url(t *testing.T, address string) string {
	t.Helper()
	bound := p.Addresses()[address]
	if bound == nil {
		t.Fatalf("no listener for %q among %v", address, p.Addresses())
	}
	return "http://" + bound.String() + "/"
}

// reload reloads, which must work.
func (p *process) reload(t *testing.T) uint64 {
	t.Helper()
	report, err := p.Reload(t.Context(), Order{Trigger: "test"})
	if err != nil {
		t.Fatalf("reload: %v", err)
	}
	return report.Generation
}

// receive takes a value, which must come.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case v := <-from:
		return v
	case <-limit.C:
		t.Fatalf("waited in vain for the %s", what)
		panic("unreachable")
	}
}

// send writes to a connection.
func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// newClient returns a client with connections of its own, closed when the test ends.
func newClient(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// get returns the body, and the error of asking for it.
func get(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(body), err
}

// mustGet is get that must work.
func mustGet(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	body, err := get(t.Context(), c, url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// sequence loads one generation after the other; the last one again and again.
func sequence(generations ...Generation) func(context.Context) (Generation, error) {
	var mu sync.Mutex
	return func(context.Context) (Generation, error) {
		mu.Lock()
		defer mu.Unlock()
		g := generations[0]
		if len(generations) > 1 {
			generations = generations[1:]
		}
		return g, nil
	}
}

// usage is what a process may leak.
type usage struct{ goroutines, files int }

func measure(t *testing.T) usage {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the first one opens the files of Go's poller, which stay
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if runtime.GOOS != "linux" {
		t.Skip("open files can only be counted on Linux")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return usage{runtime.NumGoroutine(), len(entries)}
}

// noLeak fails the test if what is used does not come back to what it was. A goroutine that was
// waited for may need a moment to be gone.
func noLeak(t *testing.T, before usage) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		after := measure(t)
		if after.goroutines <= before.goroutines && after.files <= before.files {
			return
		}
		if time.Now().After(limit) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("used before %+v, after %+v\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}
