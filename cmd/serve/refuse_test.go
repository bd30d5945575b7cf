package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Each of these second generations is refused, and the first serves on as if nothing had been.
func TestRefusedReload(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	broken := errors.New("stack.yaml:3:1: no such thing")
	serving := func(f func(context.Context, net.Listener, http.Handler) error) Generation {
		return Generation{Handler: say("new"), Servers: []Server{
			on("localhost:0", "is new"),
			{Name: "bad", Address: "127.0.0.2:0", Serve: f},
		}}
	}
	tests := map[string]struct {
		next    Generation
		err     error  // of Load
		want    string // part of the error
		is      error
		unbuilt bool // Load gave nothing to close
	}{
		"load fails":  {err: broken, want: broken.Error(), is: broken, unbuilt: true},
		"no handler":  {next: Generation{}, want: "the stack has no handler"},
		"no function": {next: serving(nil), want: `server "bad" on "127.0.0.2:0" has no function`},
		"two at one address": {
			next: Generation{Handler: say("new"), Servers: []Server{on("localhost:0", "1"), on("localhost:0", "2")}},
			want: `both listen on "localhost:0"`,
		},
		"address in use": {
			next: Generation{Handler: say("new"), Servers: []Server{on("localhost:0", "is new"), on(busy, "2")}},
			want: `server "http": listen on "` + busy + `": address already in use`,
			is:   syscall.EADDRINUSE,
		},
		"not an address": {
			next: Generation{Handler: say("new"), Servers: []Server{on("127.0.0.1", "2")}},
			want: `server "http": listen on "127.0.0.1": `,
		},
		"server fails at once": {
			next: serving(func(context.Context, net.Listener, http.Handler) error { return broken }),
			want: `server "bad" on "127.0.0.2:0": ` + broken.Error(),
			is:   broken,
		},
		"server ends at once": {
			next: serving(func(context.Context, net.Listener, http.Handler) error { return nil }),
			want: `server "bad" on "127.0.0.2:0": it ended by itself`,
		},
		"server never accepts": {
			next: serving(func(ctx context.Context, _ net.Listener, _ http.Handler) error { <-ctx.Done(); return nil }),
			want: `server "bad" on "127.0.0.2:0" did not start to accept: listen took longer than 0.3s`,
		},
		"not ready": {
			next: Generation{Handler: say("new"), Servers: []Server{on("localhost:0", "is new")}, Ready: func(_ context.Context, bound map[string]net.Addr) error {
				return fmt.Errorf("bound to port %d of %v: %w", bound["localhost:0"].(*net.TCPAddr).Port, bound, broken)
			}},
			want: "bound to port ",
			is:   broken,
		},
		"no folder for the socket": {
			next: Generation{Handler: say("new"), Servers: []Server{on("unix:/nonexistent/s", "2")}},
			want: `server "http": unix socket "/nonexistent/s": no such file or directory`,
			is:   fs.ErrNotExist,
		},
		"unix socket without path": {
			next: Generation{Handler: say("new"), Servers: []Server{on("unix:", "2")}},
			want: `unix socket "": it must be a file path`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := measure(t)
			t.Run("run", func(t *testing.T) {
				var closed atomic.Int64
				test.next.Close = func() error {
					closed.Add(1)
					return nil
				}
				first := Generation{Handler: say("old"), Servers: []Server{on("127.0.0.1:0", "1")}}
				test.next.ListenTimeout = patience
				if strings.Contains(name, "never") {
					test.next.ListenTimeout = 300 * time.Millisecond
				}
				var loads atomic.Int64
				p := run(t, func(context.Context) (Generation, error) {
					if loads.Add(1) == 1 {
						return first, nil
					}
					return test.next, test.err
				})
				c, url := newClient(t), p.url(t, "127.0.0.1:0")
				for range 2 { // the second attempt finds all as the first did
					report, err := p.Reload(t.Context(), Order{Trigger: "request"})
					if err == nil || !strings.Contains(err.Error(), test.want) {
						t.Fatalf("generation %d, error %v; want one with %q", report.Generation, err, test.want)
					}
					if test.is != nil && !errors.Is(err, test.is) {
						t.Errorf("error %v is not %v", err, test.is)
					}
					if got := mustGet(t, c, url); got != "old" {
						t.Errorf("got %q from the old generation", got)
					}
				}
				if lines := p.log.all("reload refused, the old generation serves on"); len(lines) != 2 ||
					!strings.HasPrefix(lines[0], "ERROR") || !strings.Contains(lines[0], test.want) || !strings.Contains(lines[0], "trigger=request") {
					t.Errorf("the log says %q", lines)
				}
				want := int64(2)
				if test.unbuilt {
					want = 0
				}
				if got := closed.Load(); got != want {
					t.Errorf("what was new was closed %d times, want %d", got, want)
				}
				if got := len(p.Addresses()); got != 1 {
					t.Errorf("listeners are %v", p.Addresses())
				}
				c.CloseIdleConnections()
				p.signals <- termSignal
				if err := p.end(t); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
			noLeak(t, before)
		})
	}
}

func TestOwnListenerInTheWay(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	everywhere, one := "0.0.0.0:"+port, "127.0.0.1:"+port
	p := run(t, sequence(
		Generation{Handler: say("old"), Servers: []Server{on(one, "1")}},
		Generation{Handler: say("new"), Servers: []Server{on(everywhere, "1")}},
	))
	_, err = p.Reload(t.Context(), Order{Trigger: "request"})
	if want := `by "` + one + `" of this process`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v; want one with %q", err, want)
	}
}

func TestFirstLoadFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := errors.New("broken")
	var closed atomic.Int64
	tests := map[string]struct {
		load   Generation
		err    error
		is     error
		closed int64
	}{
		"load":   {err: broken, is: broken},
		"listen": {load: Generation{Handler: say("x"), Servers: []Server{on(taken.Addr().String(), "")}}, is: syscall.EADDRINUSE, closed: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := measure(t)
			t.Run("run", func(t *testing.T) {
				closed.Store(0)
				test.load.Close = func() error {
					closed.Add(1)
					return nil
				}
				p := launch(t, func(context.Context) (Generation, error) { return test.load, test.err })
				if err := p.end(t); !errors.Is(err, test.is) {
					t.Errorf("Run returned %v, want %v", err, test.is)
				}
				if got := closed.Load(); got != test.closed {
					t.Errorf("closed %d times, want %d", got, test.closed)
				}
				if _, err := p.Reload(t.Context(), Order{Trigger: "request"}); err == nil {
					t.Error("Reload works although Run has returned")
				}
				if err := p.Run(t.Context()); err == nil {
					t.Error("Run works a second time")
				}
			})
			noLeak(t, before)
		})
	}
}

// A Load that ignores its deadline blocks neither the old generation nor the process; what it
// returns at last is closed, and until then no other Load runs.
func TestLoadTooSlow(t *testing.T) {
	var loads, closed, running atomic.Int64
	release := make(chan struct{})
	p := run(t, func(context.Context) (Generation, error) {
		if running.Add(1) != 1 {
			t.Error("two loads run at a time")
		}
		defer running.Add(-1)
		g := Generation{
			Handler: say("x"), CheckTimeout: 20 * time.Millisecond,
			Servers: []Server{on("127.0.0.1:0", "1")},
			Close:   func() error { closed.Add(1); return nil },
		}
		if loads.Add(1) == 2 {
			<-release
		}
		return g, nil
	})
	for _, want := range []string{"load: check took longer than 0.02s", "the load before has not ended: check took longer than 0.02s"} {
		if _, err := p.Reload(t.Context(), Order{Trigger: "request"}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	mustGet(t, newClient(t), p.url(t, "127.0.0.1:0"))
	close(release)
	p.loading <- struct{}{} // free when that load has ended
	<-p.loading
	if got := closed.Load(); got != 1 {
		t.Errorf("what came too late was closed %d times, want 1", got)
	}
}

func TestServerDies(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		err  error
		want string
	}{
		"with an error": {broken, `server "frail" on "127.0.0.2:0": broken`},
		"without":       {nil, `server "frail" on "127.0.0.2:0": it ended by itself`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := measure(t)
			t.Run("run", func(t *testing.T) {
				die := make(chan struct{})
				closed := make(chan struct{})
				p := run(t, sequence(Generation{
					Handler: say("x"),
					Servers: []Server{on("127.0.0.1:0", "1"), {
						Name: "frail", Address: "127.0.0.2:0",
						Serve: func(ctx context.Context, l net.Listener, h http.Handler) error {
							ctx, cancel := context.WithCancel(ctx)
							go func() { <-die; cancel() }()
							if err := serveHTTP(ctx, l, h); err != nil {
								return err
							}
							return test.err
						},
					}},
					Close: func() error { close(closed); return nil },
				}))
				close(die)
				if err := p.end(t); err == nil || err.Error() != test.want {
					t.Errorf("Run returned %v, want %q", err, test.want)
				}
				receive(t, closed, "close of the generation")
				if lines := p.log.all("stopping: a server died"); len(lines) != 1 || !strings.Contains(lines[0], test.want) {
					t.Errorf("the log says %q", lines)
				}
			})
			noLeak(t, before)
		})
	}
}

func TestUnixSocket(t *testing.T) {
	// dead leaves a socket file that nobody answers.
	dead := func(t *testing.T, path string) {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	tests := map[string]struct {
		there func(t *testing.T, path string)
		mode  fs.FileMode
		want  string // part of the error; if "", it works
		perm  fs.FileMode
	}{
		"nothing there": {there: func(*testing.T, string) {}, perm: 0o660},
		"with a mode":   {there: func(*testing.T, string) {}, mode: 0o606, perm: 0o606},
		"stale":         {there: dead, perm: 0o660},
		"alive": {want: "somebody answers there", there: func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}},
		"a file": {want: "something else is there (-rw-r--r--)", there: func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		"a folder": {want: "something else is there (drwxr-xr-x)", there: func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		"a link to a stale one": {want: "something else is there (Lrwxrwxrwx)", there: func(t *testing.T, path string) {
			dead(t, path+"2")
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		}},
		"a datagram socket": {want: "whether it is in use can't be told", there: func(t *testing.T, path string) {
			l, err := net.ListenPacket("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			test.there(t, path)
			was, _ := os.Lstat(path)
			s, err := openSocket(t.Context(), "unix:"+path, (&Server{Mode: test.mode}).mode())
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v; want one with %q", err, test.want)
				}
				if is, err := os.Lstat(path); err != nil || !os.SameFile(is, was) {
					t.Errorf("what was there is gone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != fs.ModeSocket|test.perm {
				t.Errorf("mode is %v (%v), want %v", info.Mode(), err, test.perm)
			}
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file is still there: %v", err)
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		if _, err := openSocket(t.Context(), "unix:/"+strings.Repeat("x", 200), 0o600); err == nil || !strings.Contains(err.Error(), "at most 107 bytes") {
			t.Error(err)
		}
	})
	t.Run("replaced by somebody else is left to them", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		s, err := openSocket(t.Context(), "unix:"+path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		dead(t, path)
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	})
	t.Run("mode follows a reload", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		g := func(mode fs.FileMode) Generation {
			s := on("unix:"+path, "1")
			s.Mode = mode
			return Generation{Handler: say("x"), Servers: []Server{s}}
		}
		p := run(t, sequence(g(0o600), g(0o666)))
		p.reload(t)
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("mode is %v (%v)", info.Mode(), err)
		}
	})
}
