package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bench is a Runtime without listeners, whose requests are made by calling its root: all that
// it waits for is inside a synctest bubble, and so its time is exact.
type bench struct {
	*Runtime
	log  *journal
	next Generation
	t    *testing.T

	mu     sync.Mutex
	events []string
	wg     sync.WaitGroup
}

func newBench(t *testing.T) *bench {
	b := &bench{log: newJournal(), t: t}
	b.Runtime = New(Options{Logger: slog.New(b.log), Load: func(context.Context) (Generation, error) { return b.next, nil }})
	b.watch = &watcher{log: slog.New(b.log), changed: make(chan struct{}, 1)} // with no files there is nothing to watch
	return b
}

// swap makes a generation current, which notes when it is closed.
func (b *bench) swap(g Generation) {
	b.t.Helper()
	number := b.number + 1
	if g.Handler == nil {
		g.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			b.note("%s of %d: %v", r.URL.Path, number, context.Cause(r.Context()))
		})
	}
	g.Close = func() error {
		b.note("close %d", number)
		return nil
	}
	b.next = g
	got, err := b.reload(b.t.Context(), Order{Trigger: "test"})
	if err != nil || got.Generation != number {
		b.t.Fatalf("generation %d, %v", got.Generation, err)
	}
}

// ask makes a request in the background, and returns when it is inside or over.
func (b *bench) ask(path string) (end context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	b.wg.Go(func() {
		b.root.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, http.NoBody).WithContext(ctx))
	})
	synctest.Wait()
	return func() {
		cancel(errors.New("ended"))
		synctest.Wait()
	}
}

func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, fmt.Sprintf(format, args...))
}

// want fails the test if anything else has happened.
func (b *bench) want(events ...string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(events, b.events); diff != "" {
		b.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// finish waits for all that drains.
func (b *bench) finish() {
	b.wg.Wait()
	b.drains.Wait()
	b.forceNow()
}

// pass lets that much time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestDrain(t *testing.T) {
	tests := map[string]func(b *bench){
		"closes at once without requests": func(b *bench) {
			b.swap(Generation{})
			b.want()
			b.swap(Generation{})
			b.want("close 1")
		},
		"closes once, after the last request": func(b *bench) {
			b.swap(Generation{})
			first, second, third := b.ask("/a"), b.ask("/b"), b.ask("/c")
			b.swap(Generation{})
			later := b.ask("/d")
			second()
			first()
			b.want("/b of 1: ended", "/a of 1: ended")
			third()
			b.want("/b of 1: ended", "/a of 1: ended", "/c of 1: ended", "close 1")
			pass(time.Hour)
			later()
			b.want("/b of 1: ended", "/a of 1: ended", "/c of 1: ended", "close 1", "/d of 2: ended")
		},
		"a later generation does not wait for an earlier one": func(b *bench) {
			b.swap(Generation{})
			slow := b.ask("/slow")
			b.swap(Generation{})
			b.swap(Generation{})
			b.want("close 2")
			slow()
			b.want("close 2", "/slow of 1: ended", "close 1")
		},
		"cancels at the default deadline": func(b *bench) {
			b.swap(Generation{})
			b.ask("/slow")
			b.swap(Generation{})
			pass(30*time.Second - 1)
			b.want()
			pass(1)
			b.want("/slow of 1: "+ErrRetired.Error(), "close 1")
			want := []string{"WARN generation=1 count=1 requests=[GET example.com/slow]"}
			if diff := cmp.Diff(want, b.log.all("requests outlived the drain deadline and are cancelled")); diff != "" {
				b.t.Error(diff)
			}
			want = []string{"INFO generation=1 drain=30s close=0s outlived=1"}
			if diff := cmp.Diff(want, b.log.all("generation closed")); diff != "" {
				b.t.Error(diff)
			}
		},
		"the deadline is the old generation's": func(b *bench) {
			b.swap(Generation{DrainTimeout: time.Minute})
			b.ask("/slow")
			b.swap(Generation{DrainTimeout: time.Second})
			pass(time.Minute - 1)
			b.want()
			pass(1)
			b.want("/slow of 1: "+ErrRetired.Error(), "close 1")
		},
		"a request that ends at nothing keeps its generation open": func(b *bench) {
			finish := make(chan struct{})
			b.swap(Generation{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-finish })})
			b.ask("/stuck")
			b.swap(Generation{})
			pass(24 * time.Hour)
			b.want()
			if lines := b.log.all("requests don't end although they are cancelled and cut off; the generation stays open for them"); len(lines) != 1 {
				b.t.Errorf("the log says %q", lines)
			}
			close(finish)
			b.want("close 1")
		},
		"a failing Close is logged": func(b *bench) {
			g := Generation{Handler: say("x")}
			b.next = g
			b.next.Close = func() error { return errors.New("disk full") }
			if _, err := b.reload(b.t.Context(), Order{Trigger: "test"}); err != nil {
				b.t.Fatal(err)
			}
			b.swap(g)
			synctest.Wait()
			if lines := b.log.all("closing a generation"); len(lines) != 1 || lines[0] != "ERROR generation=1 err=disk full" {
				b.t.Errorf("the log says %q", lines)
			}
		},
		"at most eight drain": func(b *bench) {
			forever := Generation{DrainTimeout: 1000 * time.Hour}
			var ends []context.CancelFunc
			for range 9 {
				b.swap(forever)
				ends = append(ends, b.ask("/slow"))
			}
			b.want() // eight drain, the ninth serves
			b.swap(forever)
			b.want("/slow of 1: "+ErrRetired.Error(), "close 1")
			if lines := b.log.all("too many generations drain, the oldest is cut"); len(lines) != 1 {
				b.t.Errorf("the log says %q", lines)
			}
			for _, end := range ends {
				end()
			}
		},
		"one that ended makes room": func(b *bench) {
			forever := Generation{DrainTimeout: 1000 * time.Hour}
			var ends []context.CancelFunc
			for range 9 {
				b.swap(forever)
				ends = append(ends, b.ask("/slow"))
			}
			ends[3]()
			b.swap(forever)
			b.want("/slow of 4: ended", "close 4")
			for _, end := range ends {
				end()
			}
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				f(b)
				b.finish()
			})
		})
	}
}

// The deadline reaches those who wait for their client too, over real connections, without the
// others on the same server: their connections are not cut.
func TestDrainSeversConnections(t *testing.T) {
	entered, ended := make(chan struct{}, 1), make(chan error, 1)
	flood := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/flood" {
			fmt.Fprint(w, "one")
			return
		}
		entered <- struct{}{}
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				break
			}
		}
		ended <- context.Cause(r.Context())
	})
	servers := []Server{on("127.0.0.1:0", "1")}
	p := run(t, sequence(
		Generation{Handler: flood, Servers: servers, DrainTimeout: 10 * time.Millisecond},
		Generation{Handler: say("two"), Servers: servers},
	))
	good := newClient(t)
	if got := mustGet(t, good, p.url(t, "127.0.0.1:0")); got != "one" {
		t.Errorf("got %q", got)
	}
	stalled, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	send(t, stalled, "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, entered, "request")
	p.reload(t)
	if err := receive(t, ended, "end of the request"); !errors.Is(err, ErrRetired) {
		t.Errorf("cause is %v", err)
	}
	p.log.await(t, "generation closed", 1)
	if got := mustGet(t, good, p.url(t, "127.0.0.1:0")); got != "two" {
		t.Errorf("got %q", got)
	}
}

// A server that was told to end and does not, because of a client that never sends its request, loses
// its connections at the deadline; its generation waits for it.
func TestDrainCutsServer(t *testing.T) {
	accepted := make(chan struct{}, 1)
	closed := make(chan struct{})
	ended := make(chan struct{})
	old := Server{Name: "http", Address: "127.0.0.1:0", ID: "old", Serve: func(ctx context.Context, l net.Listener, h http.Handler) error {
		defer close(ended)
		return serveHTTP(ctx, signallingListener{l, accepted}, h)
	}}
	p := run(t, sequence(
		Generation{Handler: say("one"), Servers: []Server{old}, DrainTimeout: 10 * time.Millisecond, Close: func() error {
			select {
			case <-ended:
			default:
				t.Error("closed before its server ended")
			}
			close(closed)
			return nil
		}},
		Generation{Handler: say("two"), Servers: []Server{on("127.0.0.1:0", "new")}},
	))
	silent, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	receive(t, accepted, "connection")
	p.reload(t)
	receive(t, closed, "close of the generation")
	lines := p.log.all("server outlived the drain deadline, its connections are cut")
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "connections=1") }) {
		t.Errorf("the log says %q", lines)
	}
	if got := mustGet(t, newClient(t), p.url(t, "127.0.0.1:0")); got != "two" {
		t.Errorf("got %q", got)
	}
}

type signallingListener struct {
	net.Listener
	accepted chan<- struct{}
}

func (l signallingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- struct{}{}
	}
	return c, err
}
