package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Clients with connections that they keep ask without pause while generations come and go: the
// handler is another each time, one server stays, one changes at the same address, one is on a
// unix socket, and one comes and goes. No request fails.
func TestSwapUnderLoad(t *testing.T) {
	const reloads, clients = 200, 4
	before := measure(t)
	t.Run("run", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "s")
		var loads, closed atomic.Int64
		inside := make([]atomic.Int64, reloads+2)
		p := run(t, func(context.Context) (Generation, error) {
			n := loads.Add(1)
			g := Generation{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					inside[n].Add(1)
					fmt.Fprint(w, n)
					inside[n].Add(-1)
				}),
				Servers: []Server{
					on("127.0.0.1:0", "same"),
					on("localhost:0", strconv.FormatInt(n, 10)),
					on("unix:"+socket, strconv.FormatInt(n/3, 10)),
				},
				Close: func() error {
					if left := inside[n].Load(); left != 0 {
						t.Errorf("generation %d is closed while %d requests are inside", n, left)
					}
					closed.Add(1)
					return nil
				},
			}
			if n%2 == 0 {
				g.Servers = append(g.Servers, on("127.0.0.2:0", "comes and goes"))
			}
			return g, nil
		})

		overUnix := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		defer overUnix.CloseIdleConnections()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var wg sync.WaitGroup
		var asked atomic.Int64
		for range clients {
			for _, target := range []struct {
				client *http.Client
				url    string
			}{
				{newClient(t), p.url(t, "127.0.0.1:0")},
				{newClient(t), p.url(t, "localhost:0")},
				{&http.Client{Transport: overUnix}, "http://unix/"},
			} {
				wg.Go(func() {
					last := 0
					for ctx.Err() == nil {
						// Not with ctx: what has begun must work.
						body, err := get(t.Context(), target.client, target.url)
						if err != nil {
							t.Errorf("%s: %v", target.url, err)
							return
						}
						n, err := strconv.Atoi(body)
						if err != nil || n < last {
							t.Errorf("%s: generation %q after %d", target.url, body, last)
						}
						last = n
						asked.Add(1)
					}
				})
			}
		}
		visitor := newClient(t)
		for n := range reloads {
			number := p.reload(t)
			if want := uint64(n + 2); number != want {
				t.Fatalf("generation %d serves, want %d", number, want)
			}
			if _, there := p.Addresses()["127.0.0.2:0"]; there != (number%2 == 0) {
				t.Fatalf("generation %d: listener 127.0.0.2:0 is there: %t", number, there)
			}
			if number%2 == 0 {
				// A listener never serves a generation older than the one that brought it.
				if body := mustGet(t, visitor, p.url(t, "127.0.0.2:0")); body != strconv.FormatUint(number, 10) {
					t.Fatalf("the new listener serves generation %s, want %d", body, number)
				}
				visitor.CloseIdleConnections()
			}
		}
		stop()
		wg.Wait()
		overUnix.CloseIdleConnections()
		p.signals <- termSignal
		if err := p.end(t); err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := closed.Load(); got != loads.Load() {
			t.Errorf("%d generations were loaded, %d closed", loads.Load(), got)
		}
		t.Logf("%d requests during %d reloads", asked.Load(), reloads)
	})
	noLeak(t, before)
}

// A server that takes its time to notice that it is to end gets no connection that is made after the reload, and sees the end
// of its context before that of its listener.
func TestReplacedAcceptsNothing(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = "unix:" + filepath.Join(t.TempDir(), "s")
			}
			notice, accepted := make(chan struct{}), make(chan error, 1)
			slow := Server{Name: "slow", Address: address, ID: "slow", Serve: func(ctx context.Context, l net.Listener, _ http.Handler) error {
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							accepted <- err
							return
						}
						_, _ = io.WriteString(c, "slow")
						c.Close()
					}
				}()
				<-ctx.Done()
				<-notice
				l.Close()
				return nil
			}}
			next := slow
			next.ID = "next"
			next.Serve = func(ctx context.Context, l net.Listener, _ http.Handler) error {
				defer context.AfterFunc(ctx, func() { l.Close() })()
				for {
					c, err := l.Accept()
					if err != nil {
						return nil
					}
					_, _ = io.WriteString(c, "next")
					c.Close()
				}
			}
			p := run(t, sequence(Generation{Handler: say("x"), Servers: []Server{slow}}, Generation{Handler: say("x"), Servers: []Server{next}}))
			bound := p.Addresses()[address]
			ask := func(want string) {
				t.Helper()
				c, err := net.Dial(bound.Network(), bound.String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got, err := io.ReadAll(c); err != nil || string(got) != want {
					t.Fatalf("got %q, %v; want %q", got, err, want)
				}
			}
			ask("slow")
			p.reload(t)
			for range 200 {
				ask("next")
			}
			select {
			case err := <-accepted:
				t.Errorf("the listener ended (%v) before the server closed it", err)
			default:
			}
			close(notice)
			if err := receive(t, accepted, "end of the listener"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept returned %v; want net.ErrClosed", err)
			}
		})
	}
}

func TestServerOfSameIDGoesOn(t *testing.T) {
	var calls atomic.Int64
	counted := on("127.0.0.1:0", "a")
	counted.Serve = func(ctx context.Context, l net.Listener, h http.Handler) error {
		calls.Add(1)
		return serveHTTP(ctx, l, h)
	}
	other := counted
	other.ID = "b"
	nameless := counted
	nameless.ID = ""
	g := func(s Server) Generation { return Generation{Handler: say("x"), Servers: []Server{s}} }
	p := run(t, sequence(g(counted), g(counted), g(other), g(nameless), g(nameless)))
	bound := p.Addresses()["127.0.0.1:0"].String()
	for i, want := range []int64{1, 2, 3, 4} {
		p.reload(t)
		if got := calls.Load(); got != want {
			t.Errorf("after reload %d Serve has been called %d times, want %d", i+1, got, want)
		}
		if got := p.Addresses()["127.0.0.1:0"].String(); got != bound {
			t.Errorf("after reload %d the listener is at %s, was at %s", i+1, got, bound)
		}
	}
}

// A connection of the kept server is the same one before and after the reload.
func TestKeptServerKeepsConnections(t *testing.T) {
	var opened atomic.Int64
	s := Server{Name: "http", Address: "127.0.0.1:0", ID: "a", Serve: func(ctx context.Context, l net.Listener, h http.Handler) error {
		return serveHTTP(ctx, countingListener{l, &opened}, h)
	}}
	p := run(t, sequence(
		Generation{Handler: say("one"), Servers: []Server{s}},
		Generation{Handler: say("two"), Servers: []Server{s}},
	))
	c := newClient(t)
	if got := mustGet(t, c, p.url(t, "127.0.0.1:0")); got != "one" {
		t.Errorf("got %q", got)
	}
	p.reload(t)
	if got := mustGet(t, c, p.url(t, "127.0.0.1:0")); got != "two" {
		t.Errorf("got %q", got)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}

// A request that was under way when its server was replaced at the same address is finished by
// the old server and the old generation, while new ones go to the new.
func TestHandover(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	var closed atomic.Bool
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		fmt.Fprintf(w, "old, closed %t", closed.Load())
	})
	p := run(t, sequence(
		Generation{Handler: slow, Servers: []Server{on("127.0.0.1:0", "old")}, Close: func() error {
			closed.Store(true)
			return nil
		}},
		Generation{Handler: say("new"), Servers: []Server{on("127.0.0.1:0", "new")}},
	))
	url := p.url(t, "127.0.0.1:0")
	answer := make(chan string, 1)
	first := newClient(t)
	go func() {
		body, err := get(t.Context(), first, url)
		answer <- fmt.Sprint(body, err)
	}()
	receive(t, entered, "slow request")
	p.reload(t)
	if got := mustGet(t, newClient(t), url); got != "new" {
		t.Errorf("during the drain: %q", got)
	}
	close(finish)
	if got := receive(t, answer, "answer"); got != "old, closed false<nil>" {
		t.Errorf("slow request: %q", got)
	}
	p.log.await(t, "generation closed", 1)
	if !closed.Load() {
		t.Error("the old generation was not closed")
	}
}

// A server that is ready before the others of its generation accepts nothing until the swap.
func TestNewServerWaitsForTheSwap(t *testing.T) {
	bound := make(chan string, 1)
	early := on("127.0.0.1:0", "early")
	early.Serve = func(ctx context.Context, l net.Listener, h http.Handler) error {
		bound <- l.Addr().String()
		return serveHTTP(ctx, l, h)
	}
	answers := make(chan string, 1)
	late := on("127.0.0.2:0", "late")
	late.Serve = func(ctx context.Context, l net.Listener, h http.Handler) error {
		c, err := net.Dial("tcp", <-bound)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		// Here the swap has not happened, since this server has not started.
		if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("an answer before the swap: %d bytes, %w", n, err)
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
		go func() {
			defer c.Close()
			text, err := io.ReadAll(c)
			answers <- fmt.Sprintln(string(text), err)
		}()
		return serveHTTP(ctx, l, h)
	}
	p := run(t, sequence(
		Generation{Handler: say("old"), Servers: []Server{on("localhost:0", "1")}},
		Generation{Handler: say("new"), Servers: []Server{early, late}},
	))
	p.reload(t)
	if got := receive(t, answers, "answer"); !strings.HasSuffix(got, "\r\n\r\nnew <nil>\n") {
		t.Errorf("got %q", got)
	}
}
