package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

const termSignal = syscall.SIGTERM

func TestSIGHUPReloads(t *testing.T) {
	p := run(t, sequence(
		Generation{Handler: say("one"), Servers: []Server{on("127.0.0.1:0", "1")}},
		Generation{Handler: say("two"), Servers: []Server{on("127.0.0.1:0", "1")}},
	))
	p.signals <- syscall.SIGHUP
	line := p.log.await(t, "generation serves", 2)
	for _, want := range []string{"INFO", "generation=2", "trigger=SIGHUP", "load=", "swap=", "servers_started=0", "servers_kept=1", "servers_ended=0"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log says %q without %s", line, want)
		}
	}
	if got := mustGet(t, newClient(t), p.url(t, "127.0.0.1:0")); got != "two" {
		t.Errorf("got %q", got)
	}
}

// The signals of the process itself are taken if no others are given.
func TestOwnSignals(t *testing.T) {
	log := newJournal()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(context.Background(), Options{Load: sequence(Generation{Handler: say("x")}), Logger: slog.New(log)})
	}()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []os.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		log.await(t, "generation serves", i+1)
		if err := self.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := receive(t, ended, "end of Run"); err != nil {
		t.Error(err)
	}
}

// A stop accepts no more, lets a request finish, and closes everything.
func TestStopDrains(t *testing.T) {
	reasons := map[string]func(p *process, cancel context.CancelFunc){
		"SIGTERM": func(p *process, _ context.CancelFunc) { p.signals <- syscall.SIGTERM },
		"SIGINT":  func(p *process, _ context.CancelFunc) { p.signals <- os.Interrupt },
		"context": func(_ *process, cancel context.CancelFunc) { cancel() },
	}
	for name, reason := range reasons {
		t.Run(name, func(t *testing.T) {
			before := measure(t)
			t.Run("run", func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "s")
				entered, finish := make(chan struct{}), make(chan struct{})
				closed := make(chan struct{})
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					close(entered)
					<-finish
					fmt.Fprint(w, r.Context().Err())
				})
				log := newJournal()
				signals := make(chan os.Signal, 1)
				r := New(Options{Logger: slog.New(log), Signals: signals, Load: sequence(Generation{
					Handler: handler,
					Servers: []Server{on("127.0.0.1:0", "1"), on("unix:"+path, "2")},
					Close:   func() error { close(closed); return nil },
				})})
				p := &process{Runtime: r, log: log, signals: signals, ended: make(chan error, 1)}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { p.ended <- r.Run(ctx) }()
				log.await(t, "generation serves", 1)
				url, answer := p.url(t, "127.0.0.1:0"), make(chan string, 1)
				address := p.Addresses()["127.0.0.1:0"].String()
				client := newClient(t)
				go func() {
					body, err := get(t.Context(), client, url)
					answer <- fmt.Sprint(body, err)
				}()
				receive(t, entered, "request")
				server := p.servers[0]
				reason(p, cancel)
				receive(t, server.ln.closed, "close of the listener")
				for _, to := range [][2]string{{"tcp", address}, {"unix", path}} {
					// The server closes its listener, and so do we; the last one refuses.
					for {
						c, err := net.Dial(to[0], to[1])
						if err != nil {
							break
						}
						c.Close()
					}
				}
				select {
				case <-closed:
					t.Error("closed while a request is inside")
				default:
				}
				close(finish)
				if got := receive(t, answer, "answer"); got != "<nil><nil>" {
					t.Errorf("the request got %q", got)
				}
				if err := p.end(t); err != nil {
					t.Errorf("Run: %v", err)
				}
				receive(t, closed, "close of the generation")
				if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("socket file: %v", err)
				}
			})
			noLeak(t, before)
		})
	}
}

// What holds a stop up, and what ends it.
func TestStopCuts(t *testing.T) {
	holds := map[string]func(entered chan<- struct{}, cause chan<- error) http.HandlerFunc{
		"a request that waits for its context": func(entered chan<- struct{}, cause chan<- error) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				<-r.Context().Done()
				cause <- context.Cause(r.Context())
			}
		},
		"a request that waits for a client who does not read": func(entered chan<- struct{}, cause chan<- error) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				for block := make([]byte, 1<<16); ; {
					if _, err := w.Write(block); err != nil {
						break
					}
				}
				cause <- context.Cause(r.Context())
			}
		},
		"a hijacked connection inside its request": func(entered chan<- struct{}, cause chan<- error) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					cause <- err
					return
				}
				entered <- struct{}{}
				_, _ = io.Copy(io.Discard, c) // until it is cut
				c.Close()
				cause <- context.Cause(r.Context())
			}
		},
	}
	ends := map[string]struct {
		timeout time.Duration
		again   bool
	}{
		"deadline":      {timeout: 20 * time.Millisecond},
		"second signal": {timeout: time.Hour, again: true},
	}
	for hold, handler := range holds {
		for end, how := range ends {
			t.Run(hold+"/"+end, func(t *testing.T) {
				before := measure(t)
				t.Run("run", func(t *testing.T) {
					entered, cause := make(chan struct{}, 1), make(chan error, 1)
					p := run(t, sequence(Generation{
						Handler:     handler(entered, cause),
						Servers:     []Server{on("127.0.0.1:0", "1")},
						StopTimeout: how.timeout,
					}))
					c, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					send(t, c, "GET /slow?secret=1 HTTP/1.1\r\nHost: example.org\r\n\r\n")
					receive(t, entered, "request")
					p.signals <- syscall.SIGTERM
					if how.again {
						p.log.await(t, "stopping", 1)
						p.signals <- syscall.SIGTERM
					}
					if err := receive(t, cause, "end of the request"); !errors.Is(err, ErrRetired) {
						t.Errorf("cause is %v", err)
					}
					if err := p.end(t); err != nil {
						t.Errorf("Run: %v", err)
					}
					want := "WARN generation=1 count=1 requests=[GET example.org/slow]"
					if lines := p.log.all("requests outlived the drain deadline and are cancelled"); len(lines) != 1 || lines[0] != want {
						t.Errorf("the log says %q, want %q", lines, want)
					}
				})
				noLeak(t, before)
			})
		}
	}
}

// A connection that was hijacked, and whose request has ended, lives on over a reload that ends
// its server, and has until the stop deadline.
func TestHijackedConnection(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, rw) // until it is cut
		}()
	})
	before := measure(t)
	t.Run("run", func(t *testing.T) {
		p := run(t, sequence(
			Generation{Handler: echo, Servers: []Server{on("127.0.0.1:0", "1")}},
			Generation{Handler: echo, Servers: []Server{on("127.0.0.2:0", "1")}, StopTimeout: 20 * time.Millisecond},
		))
		c, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		lines := bufio.NewReader(c)
		echoed := func(line string) {
			t.Helper()
			send(t, c, line+"\n")
			if got, err := lines.ReadString('\n'); err != nil || got != line+"\n" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		echoed("before")
		p.reload(t)
		p.log.await(t, "generation closed", 1)
		echoed("after")
		p.signals <- syscall.SIGTERM
		if _, err := lines.ReadString('\n'); err == nil {
			t.Error("the connection still talks")
		}
		if err := p.end(t); err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := p.log.all("connections outlived the stop deadline and are cut"); len(got) != 1 {
			t.Errorf("the log says %q", got)
		}
	})
	noLeak(t, before)
}

// When a request ends at nothing at all, the process does, and says what it left.
func TestStopDoesNotHang(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	closed := make(chan struct{})
	p := run(t, sequence(Generation{
		Handler:     http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-finish }),
		Servers:     []Server{on("127.0.0.1:0", "1")},
		StopTimeout: time.Millisecond,
		Close:       func() error { close(closed); return nil },
	}))
	defer close(finish)
	c, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, "GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, entered, "request")
	p.signals <- syscall.SIGTERM
	if err := p.end(t); err == nil || !strings.Contains(err.Error(), "1 requests ([GET x/stuck])") {
		t.Errorf("Run returned %v", err)
	}
	receive(t, closed, "close of the generation")
}

// A signal during the first load ends the process without an error.
func TestStopWhileLoading(t *testing.T) {
	loading := make(chan struct{})
	p := launch(t, func(ctx context.Context) (Generation, error) {
		close(loading)
		<-ctx.Done()
		return Generation{}, context.Cause(ctx)
	})
	receive(t, loading, "load")
	p.signals <- syscall.SIGTERM
	if err := p.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestConnectionsKeepTheirMethods(t *testing.T) {
	type halfCloser interface{ CloseWrite() error }
	accepted := make(chan net.Conn, 1)
	accept := func(ctx context.Context, l net.Listener, _ http.Handler) error {
		go func() { <-ctx.Done(); l.Close() }()
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			accepted <- c
		}
	}
	path := filepath.Join(t.TempDir(), "s")
	p := run(t, sequence(Generation{Handler: say("x"), Servers: []Server{
		{Name: "tcp", Address: "127.0.0.1:0", Serve: accept},
		{Name: "unix", Address: "unix:" + path, Serve: accept},
	}, StopTimeout: time.Millisecond}))
	for _, to := range []net.Addr{p.Addresses()["127.0.0.1:0"], p.Addresses()["unix:"+path]} {
		t.Run(to.Network(), func(t *testing.T) {
			client, err := net.Dial(to.Network(), to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c := receive(t, accepted, "connection")
			defer c.Close()
			if _, ok := c.(syscall.Conn); !ok {
				t.Error("no syscall.Conn")
			}
			half, ok := c.(halfCloser)
			if !ok {
				t.Fatal("no CloseWrite")
			}
			if to.Network() == "tcp" {
				from, ok := c.(io.ReaderFrom)
				if !ok {
					t.Fatal("no io.ReaderFrom, and so no sendfile")
				}
				if _, err := from.ReadFrom(strings.NewReader("through ReadFrom")); err != nil {
					t.Error(err)
				}
			}
			if err := half.CloseWrite(); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadAll(client); err != nil {
				t.Error(err)
			}
		})
	}
}
