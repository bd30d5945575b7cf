package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/environ"
)

// fates decides by the first segment of the path; what is moved or kept is held.
func (b *bench) fates() func(Request) Fate {
	number := b.number + 1
	ways := map[string]Way{"move": Move, "keep": Keep, "close": Close}
	return func(r Request) Fate {
		if r.Method != http.MethodGet || r.Host != "example.com" {
			b.t.Errorf("asked for the fate of %v", r)
		}
		first, _, _ := strings.Cut(r.Path[1:], "/")
		f := Fate{Way: ways[first]}
		if f.Way == Move || f.Way == Keep {
			f.Release = func() { b.note("release %s at %d", r.Path, number) }
		}
		return f
	}
}

// succeed makes a generation current that decides by the path.
func (b *bench) succeed() { b.swap(Generation{Fate: b.fates()}) }

func TestFates(t *testing.T) {
	tests := map[string]func(b *bench){
		"one that is moved isn't drained, and its generation doesn't wait for it": func(b *bench) {
			b.succeed()
			end, slow := b.ask("/move"), b.ask("/slow")
			b.succeed()
			slow()
			b.want("/slow of 1: ended", "close 1")
			pass(time.Hour)
			end()
			b.want("/slow of 1: ended", "close 1", "/move of 1: ended", "release /move at 2")
		},
		"one that is moved is drained with the generation that it was moved to": func(b *bench) {
			b.succeed()
			b.ask("/move")
			b.succeed()
			b.want("close 1")
			b.swap(Generation{})
			pass(30*time.Second - 1)
			b.want("close 1")
			pass(1)
			b.want("close 1", "/move of 1: "+ErrRetired.Error(), "release /move at 2", "close 2")
		},
		"what is held is that of the first move": func(b *bench) {
			b.succeed()
			end := b.ask("/move")
			b.succeed()
			for range 100 {
				b.succeed()
				end := b.ask("/x")
				end()
				b.events = nil
			}
			end()
			b.want("/move of 1: ended", "release /move at 2")
		},
		"one that is kept outlasts its generation, and all deadlines": func(b *bench) {
			b.succeed()
			first, second := b.ask("/keep/1"), b.ask("/keep/2")
			b.succeed()
			b.want("close 1")
			pass(time.Second)
			third := b.ask("/keep/3")
			b.succeed()
			b.want("close 1", "close 2")
			pass(1000 * time.Hour)
			second()
			b.events = nil
			s := b.Status()
			for i := range s.Requests {
				s.Requests[i].Age = 0
			}
			if diff := cmp.Diff([]control.Request{
				{Generation: 1, Kept: true, Method: "GET", Host: "example.com", Path: "/keep/1"},
				{Generation: 2, Kept: true, Method: "GET", Host: "example.com", Path: "/keep/3"},
			}, s.Requests); diff != "" || s.KeptRequests != 2 {
				b.t.Errorf("%d kept; -want +got:\n%s", s.KeptRequests, diff)
			}
			if len(s.Generations) != 1 || s.Generations[0].Requests != 0 {
				b.t.Errorf("the generations are %+v", s.Generations)
			}
			first()
			third()
			b.want("/keep/1 of 1: ended", "release /keep/1 at 2", "/keep/3 of 2: ended", "release /keep/3 at 3")
		},
		"any number is kept, while eight generations drain": func(b *bench) {
			var ends []context.CancelFunc
			for range 50 {
				b.succeed()
				ends = append(ends, b.ask("/keep"))
			}
			for n, end := range ends {
				if n == len(ends)-1 {
					end() // it has not been kept yet
					continue
				}
				b.events = nil
				end()
				b.want(fmt.Sprintf("/keep of %d: ended", n+1), fmt.Sprintf("release /keep at %d", n+2))
			}
			b.events = nil
		},
		"one that is to close is cancelled at once, and others have time": func(b *bench) {
			b.succeed()
			b.ask("/close")
			slow := b.ask("/slow")
			b.succeed()
			b.want("/close of 1: " + ErrRetired.Error())
			pass(30*time.Second - 1)
			slow()
			b.want("/close of 1: "+ErrRetired.Error(), "/slow of 1: ended", "close 1")
		},
		"the report counts them": func(b *bench) {
			b.succeed()
			var ends []context.CancelFunc
			for _, path := range []string{"/move", "/move", "/move", "/keep", "/keep", "/close", "/slow"} {
				ends = append(ends, b.ask(path))
			}
			b.next = Generation{Handler: say("x"), Fate: b.fates()}
			r, err := b.reload(b.t.Context(), Order{Trigger: "test"})
			if err != nil {
				b.t.Fatal(err)
			}
			if r.RequestsMoved != 3 || r.RequestsKept != 2 || r.RequestsClosed != 1 || r.Draining != 1 {
				b.t.Errorf("the report is %+v", r)
			}
			line := strings.Join(b.log.all("generation serves"), "\n")
			if want := "moved=3 kept=2 closed=1 draining=1"; !strings.Contains(line, want) {
				b.t.Errorf("the log says %s without %s", line, want)
			}
			for _, end := range ends {
				end()
			}
		},
		"the age is that of the request, whoever has it": func(b *bench) {
			b.succeed()
			end := b.ask("/move")
			pass(time.Hour)
			b.succeed()
			pass(time.Minute)
			if s := b.Status(); len(s.Requests) != 1 || s.Requests[0].Age != time.Hour+time.Minute || s.Requests[0].Generation != 2 || s.Generations[0].Requests != 1 {
				b.t.Errorf("the status is %+v", s)
			}
			end()
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

// The environ of a request that moves keeps the number of the generation in which it began.
func TestMovedRequestKeepsItsGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var began, ended uint64
		b.swap(Generation{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			began = environ.Generation(r)
			<-r.Context().Done()
			ended = environ.Generation(r)
		})})
		end := b.ask("/move")
		b.succeed()
		end()
		if began != 1 || ended != 1 {
			t.Errorf("it is %d, and then %d", began, ended)
		}
		b.finish()
	})
}

// One that is to close and doesn't hear of it has its connection taken, and no other one has.
func TestCloseSeversConnection(t *testing.T) {
	entered, ended := make(chan struct{}, 2), make(chan error, 2)
	streams := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
			return
		}
		var err error
		for block := make([]byte, 1<<16); err == nil; {
			_, err = w.Write(block)
		}
		ended <- context.Cause(r.Context())
	})
	servers := []Server{on("127.0.0.1:0", "1")}
	p := run(t, sequence(
		Generation{Handler: streams, Servers: servers, DrainTimeout: time.Hour},
		Generation{Handler: say("two"), Servers: servers, Fate: func(r Request) Fate {
			return Fate{Way: map[string]Way{"/flood": Close, "/slow": Drain}[r.Path]}
		}},
	))
	dial := func(path string) net.Conn {
		c, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		receive(t, entered, "request")
		return c
	}
	flood, slow := dial("/flood"), dial("/slow")
	defer flood.Close()
	p.reload(t)
	if err := receive(t, ended, "end of the request"); !errors.Is(err, ErrRetired) {
		t.Errorf("cause is %v", err)
	}
	select {
	case err := <-ended:
		t.Errorf("the other one ended, too: %v", err)
	default:
	}
	slow.Close()
	if err := receive(t, ended, "end of the other request"); errors.Is(err, ErrRetired) {
		t.Errorf("its cause is %v", err)
	}
	p.log.await(t, "generation closed", 1)
}

// Those that were kept have the deadline of a stop, and what is held for them is given back before Run
// returns, even for one that never ends.
func TestStopEndsKept(t *testing.T) {
	tests := map[string]struct {
		handler func(r *http.Request, forever <-chan struct{})
		stuck   bool
	}{
		"one that hears of it": {func(r *http.Request, _ <-chan struct{}) { <-r.Context().Done() }, false},
		"one that never ends":  {func(_ *http.Request, forever <-chan struct{}) { <-forever }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			forever, entered := make(chan struct{}), make(chan struct{})
			var released atomic.Int32
			servers := []Server{on("127.0.0.1:0", "1")}
			p := run(t, sequence(
				Generation{Servers: servers, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(entered)
					test.handler(r, forever)
				})},
				Generation{Servers: servers, Handler: say("two"), StopTimeout: time.Millisecond, Fate: func(Request) Fate {
					return Fate{Way: Keep, Release: func() { released.Add(1) }}
				}},
			))
			var asked sync.WaitGroup
			asked.Go(func() { _, _ = get(context.Background(), newClient(t), p.url(t, "127.0.0.1:0")) })
			receive(t, entered, "request")
			p.reload(t)
			p.log.await(t, "generation closed", 1)
			if s := p.Status(); s.KeptRequests != 1 {
				t.Errorf("the status is %+v", s)
			}
			p.signals <- termSignal
			if err := p.end(t); (err != nil) != test.stuck {
				t.Errorf("Run returned %v", err)
			}
			if n := released.Load(); n != 1 {
				t.Errorf("what it held was given back %d times", n)
			}
			close(forever)
			asked.Wait()
		})
	}
}

// Requests come, go and are moved at the same time, through many generations: each generation waits for those
// that it has and no others, and what is held for one is given back once, after its end.
func TestMovesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const generations, clients = 300, 8
		var held, released atomic.Int64
		var last atomic.Int64
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			for range rand.IntN(20) {
				runtime.Gosched()
			}
		})
		fate := func(r Request) Fate {
			var once atomic.Bool
			held.Add(1)
			return Fate{Way: []Way{Move, Keep}[len(r.Path)%2], Release: func() {
				if once.Swap(true) {
					t.Error("released twice")
				}
				released.Add(1)
			}}
		}
		b := newBench(t)
		b.next = Generation{Handler: handler, Fate: fate}
		if _, err := b.reload(t.Context(), Order{}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for ctx.Err() == nil {
					path := "/" + strings.Repeat("x", int(last.Add(1)%2))
					b.root.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, http.NoBody))
				}
			})
		}
		moved, kept := 0, 0
		for range generations {
			r, err := b.reload(t.Context(), Order{})
			if err != nil {
				t.Fatal(err)
			}
			moved += r.RequestsMoved
			kept += r.RequestsKept
			runtime.Gosched()
		}
		stop()
		wg.Wait()
		synctest.Wait()
		if n := b.kept.count() + b.root.current.Load().count(); n != 0 {
			t.Errorf("%d requests are left", n)
		}
		if held.Load() != released.Load() {
			t.Errorf("%d were held and %d given back", held.Load(), released.Load())
		}
		if n := len(b.log.all("generation closed")); n != generations {
			t.Errorf("%d generations of %d are closed", n, generations)
		}
		t.Logf("%d requests, %d moved, %d kept, %d held", last.Load(), moved, kept, held.Load())
		if moved == 0 || kept == 0 {
			t.Error("the test must see more")
		}
		b.finish()
	})
}

// A stream that is moved or kept goes on over its connection, byte for byte.
func TestStreamGoesOn(t *testing.T) {
	more := make(chan string)
	stream := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for text := range more {
			if _, err := io.WriteString(w, text); err != nil {
				t.Error(err)
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	servers := []Server{on("127.0.0.1:0", "1")}
	ways := []Way{Move, Move, Keep, Drain}
	n := -1
	p := run(t, func(context.Context) (Generation, error) {
		n++
		way := ways[max(0, n-1)%len(ways)]
		return Generation{Handler: stream, Servers: servers, DrainTimeout: time.Millisecond, Fate: func(Request) Fate { return Fate{Way: way} }}, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url(t, "127.0.0.1:0"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	go func() { more <- "begin" }()
	resp, err := newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	read("begin")
	for n := range 4 { // the last one finds it kept, and doesn't ask
		p.reload(t)
		p.log.await(t, "generation closed", n+1)
		more <- "more"
		read("more")
	}
	close(more)
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("it ended with %q, %v", rest, err)
	}
}

// A stream that goes on does so too when its server is replaced, also beyond the drain deadline; the server ends after it, or
// when the process stops, and what it uses is open until then. Others on that server have the deadline.
func TestServerLingers(t *testing.T) {
	for name, stops := range map[string]bool{"until the stream ends": false, "until the process stops": true} {
		t.Run(name, func(t *testing.T) {
			entered, more, cut := make(chan struct{}, 2), make(chan string), make(chan error, 2)
			stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				for {
					select {
					case text, ok := <-more:
						if !ok {
							return
						}
						_, _ = io.WriteString(w, text)
						if err := http.NewResponseController(w).Flush(); err != nil {
							t.Error(err)
						}
					case <-r.Context().Done():
						cut <- context.Cause(r.Context())
						return
					}
				}
			})
			var held, released atomic.Int32
			old, fresh := on("127.0.0.1:0", "old"), on("127.0.0.1:0", "new")
			old.Hold = func() func() {
				held.Add(1)
				return func() { released.Add(1) }
			}
			p := run(t, sequence(
				Generation{Handler: stream, Servers: []Server{old}, DrainTimeout: 10 * time.Millisecond},
				Generation{Handler: stream, Servers: []Server{fresh}, StopTimeout: 10 * time.Millisecond, Fate: func(r Request) Fate {
					return Fate{Way: map[string]Way{"/stay": Move}[r.Path]}
				}},
			))
			url := p.url(t, "127.0.0.1:0")
			dial := func(path string) net.Conn {
				c, err := net.Dial("tcp", p.Addresses()["127.0.0.1:0"].String())
				if err != nil {
					t.Fatal(err)
				}
				send(t, c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
				receive(t, entered, "request")
				return c
			}
			stay, other := dial("/stay"), dial("/other")
			defer stay.Close()
			defer other.Close()
			p.reload(t)
			if err := receive(t, cut, "end of the other one"); !errors.Is(err, ErrRetired) {
				t.Errorf("cause is %v", err)
			}
			p.log.await(t, "generation closed", 1)
			if held.Load() != 1 || released.Load() != 0 {
				t.Errorf("it is held %d times, and given back %d times", held.Load(), released.Load())
			}
			if lines := p.log.all("server outlived the drain deadline, its connections are cut"); len(lines) > 0 {
				t.Errorf("the log says %q", lines)
			}
			if stops {
				p.signals <- termSignal
				if err := p.end(t); err != nil {
					t.Error(err)
				}
				if err := receive(t, cut, "end of the stream"); !errors.Is(err, ErrRetired) {
					t.Errorf("cause is %v", err)
				}
			} else {
				more <- "still here"
				close(more)
				answer, err := io.ReadAll(stay)
				if err != nil || !strings.Contains(string(answer), "still here") {
					t.Errorf("got %q, %v", answer, err)
				}
				if got := mustGet(t, newClient(t), url); got != "" {
					t.Errorf("the new server answers %q", got)
				}
			}
			p.log.await(t, "server ended after its last request", 1)
			if !stops {
				p.signals <- termSignal
				if err := p.end(t); err != nil {
					t.Error(err)
				}
			}
			if held.Load() != 1 || released.Load() != 1 {
				t.Errorf("at the end it was held %d times, and given back %d times", held.Load(), released.Load())
			}
		})
	}
}
