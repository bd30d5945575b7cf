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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/environ"
)

// controlledAt is a Control that answers with what it is given, until it is told to end.
func controlledAt(path string, h http.Handler) *Server {
	return &Server{Name: "control", Address: "unix:" + path, ID: "control", Mode: 0o600, Serve: func(ctx context.Context, l net.Listener, _ http.Handler) error {
		return serveHTTP(ctx, l, h)
	}}
}

func overUnix(t *testing.T, path string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestStatus(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	held := Generation{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r = new(environ.Base).Open(r)
			environ.PlaceOf(r).Enter(7)
			environ.PlaceOf(r).Wait(r.URL.Path == "/new")
			entered <- struct{}{}
			<-leave
		}),
		Slot:    func(number uint32) string { return fmt.Sprintf("slot%d", number) },
		Servers: []Server{on("127.0.0.1:0", "a")},
		Made:    control.Made{File: "stack.yaml", Hash: "aa"},
	}
	next := held
	next.Made = control.Made{File: "stack.yaml", Hash: "bb", RollbackTo: 7}
	p := run(t, sequence(held, next))
	client, url := newClient(t), p.url(t, "127.0.0.1:0")
	answered := make(chan error, 2)
	ask := func(path string) {
		go func() {
			_, err := get(context.Background(), client, url+path)
			answered <- err
		}()
		receive(t, entered, "request")
	}
	ask("old?password=secret")
	report, err := p.Reload(t.Context(), Order{Trigger: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	if report.Generation != 2 || report.Replaced != 1 || report.Trigger != "somebody" || report.Draining != 1 ||
		!cmp.Equal(report.Kept, []string{"127.0.0.1:0"}) || len(report.Started)+len(report.Ended) != 0 {
		t.Errorf("the report is %+v", report)
	}
	ask("new")
	failing := func(context.Context) (Generation, error) { return Generation{}, errors.New("no such luck") }
	if _, err := p.Reload(t.Context(), Order{Trigger: "somebody else", Load: failing}); err == nil {
		t.Error("a reload that can't load is no error")
	}
	s := p.Status()
	if s.Refused == nil || s.Refused.At.IsZero() || s.Refused.Trigger != "somebody else" || s.Refused.Text != "no such luck" {
		t.Errorf("refused was %+v", s.Refused)
	}
	if s.PID != os.Getpid() || s.Stopping || s.Started.IsZero() {
		t.Errorf("the status is %+v", s)
	}
	for i := range s.Generations {
		s.Generations[i].Since = time.Time{}
	}
	if diff := cmp.Diff([]control.Generation{
		{Number: 2, Trigger: "somebody", File: "stack.yaml", Hash: "bb", RollbackTo: 7, Requests: 1},
		{Number: 1, Trigger: "start", Draining: true, File: "stack.yaml", Hash: "aa", Requests: 1},
	}, s.Generations); diff != "" {
		t.Errorf("generations: -want +got:\n%s", diff)
	}
	bound := strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	if diff := cmp.Diff([]control.Listener{{Server: "http", Address: "127.0.0.1:0", Bound: bound, Connections: 2}}, s.Listeners); diff != "" {
		t.Errorf("listeners: -want +got:\n%s", diff)
	}
	if len(s.Requests) != 2 || s.Requests[0].Age < s.Requests[1].Age || s.Requests[1].Age <= 0 {
		t.Fatalf("the requests are %+v", s.Requests)
	}
	for i := range s.Requests {
		s.Requests[i].Age = 0
	}
	if diff := cmp.Diff([]control.Request{
		{Generation: 1, Method: "GET", Host: bound, Path: "/old", Slot: "slot7"},
		{Generation: 2, Method: "GET", Host: bound, Path: "/new", Slot: "slot7", State: control.Waits},
	}, s.Requests); diff != "" {
		t.Errorf("requests: -want +got:\n%s", diff)
	}
	close(leave)
	for range 2 {
		if err := receive(t, answered, "answer"); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Reload(t.Context(), Order{Trigger: "somebody"}); err != nil {
		t.Fatal(err)
	}
	if s := p.Status(); s.Refused != nil {
		t.Errorf("after a reload that was not refused, refused is %+v", s.Refused)
	}
}

// A request that was answered without its handlers is named until they end, and nobody waits for it.
func TestZombie(t *testing.T) {
	release, gone := make(chan struct{}), make(chan struct{})
	p := run(t, sequence(Generation{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r = new(environ.Base).Open(r)
			before := environ.PlaceOf(r).Enter(3)
			ended := environ.Abandon(r)
			go func() {
				<-release
				ended()
				close(gone)
			}()
			environ.PlaceOf(r).Enter(before)
		}),
		Slot:    func(number uint32) string { return fmt.Sprintf("slot%d", number) },
		Servers: []Server{on("127.0.0.1:0", "a")},
	}))
	url := p.url(t, "127.0.0.1:0")
	mustGet(t, newClient(t), url+"page?password=secret")
	p.reload(t)
	p.log.await(t, "generation closed", 1)
	s := p.Status()
	if len(s.Requests) != 1 || s.Zombies != 1 || s.Requests[0].Age <= 0 {
		t.Fatalf("%d zombies are told of, and the requests %+v", s.Zombies, s.Requests)
	}
	s.Requests[0].Age = 0
	want := control.Request{Generation: 1, Method: "GET", Host: strings.Trim(strings.TrimPrefix(url, "http://"), "/"), Path: "/page", Slot: "slot3", State: control.Zombie}
	if diff := cmp.Diff(want, s.Requests[0]); diff != "" {
		t.Errorf("the zombie: -want +got:\n%s", diff)
	}
	close(release)
	receive(t, gone, "end of the zombie")
	if s := p.Status(); len(s.Requests) != 0 || s.Zombies != 0 {
		t.Errorf("after its end there are %d, and the requests %+v", s.Zombies, s.Requests)
	}
}

// The order has a load of its own, and what had changed before it is no reason for another reload.
func TestOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := Generation{Handler: say("disk"), Servers: []Server{on("127.0.0.1:0", "a")}, Watch: []string{file}}
	var numbers []uint64
	g.Current = func(number uint64) { numbers = append(numbers, number) }
	p := run(t, sequence(g))
	if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := g
	kept.Handler = say("kept")
	if _, err := p.Reload(t.Context(), Order{Trigger: "rollback", Load: sequence(kept)}); err != nil {
		t.Fatal(err)
	}
	url := p.url(t, "127.0.0.1:0")
	if got := mustGet(t, newClient(t), url); got != "kept" {
		t.Errorf("got %q from the order's load", got)
	}
	if err := os.WriteFile(file, []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	line := p.log.await(t, "generation serves", 3)
	if !strings.Contains(line, file) {
		t.Errorf("the change after it led to %q", line)
	}
	if got := mustGet(t, newClient(t), url); got != "disk" {
		t.Errorf("got %q after the file changed", got)
	}
	p.signals <- termSignal
	if err := p.end(t); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(numbers, []uint64{1, 2, 3}) {
		t.Errorf("current were %d", numbers)
	}
}

// The control goes on while the process stops, and is the last to end; who waits for the stop is told.
func TestControlOutlivesTheStop(t *testing.T) {
	before := measure(t)
	t.Run("run", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "c")
		entered, leave := make(chan struct{}), make(chan struct{})
		var p *process
		mux := http.NewServeMux()
		mux.HandleFunc("/stop", func(w http.ResponseWriter, r *http.Request) {
			s, err := p.Stop(r.Context())
			if err != nil || s.Outlived != 0 {
				t.Errorf("the stop came to %+v, %v", s, err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("the socket is still there when the stop is answered")
			}
			io.WriteString(w, "stopped")
		})
		mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
			if s := p.Status(); s.Stopping {
				io.WriteString(w, "stopping")
			}
		})
		mux.HandleFunc("/reload", func(w http.ResponseWriter, r *http.Request) {
			_, err := p.Reload(r.Context(), Order{})
			io.WriteString(w, err.Error())
		})
		p = launch(t, sequence(Generation{
			Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				entered <- struct{}{}
				<-leave
			}),
			Servers: []Server{on("127.0.0.1:0", "a")},
			Control: controlledAt(path, mux),
		}))
		p.log.await(t, "generation serves", 1)
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket is %v, %v", info, err)
		}
		client, url := newClient(t), p.url(t, "127.0.0.1:0")
		answered, stopped := make(chan error, 1), make(chan string, 1)
		go func() {
			_, err := get(context.Background(), client, url)
			answered <- err
		}()
		receive(t, entered, "request")
		go func() {
			body, err := get(context.Background(), overUnix(t, path), "http://stackd/stop")
			if err != nil {
				t.Error(err)
			}
			stopped <- body
		}()
		p.log.await(t, "stopping", 1)
		c := overUnix(t, path)
		if got := mustGet(t, c, "http://stackd/status"); got != "stopping" {
			t.Errorf("while it stops the status is %q", got)
		}
		if got := mustGet(t, c, "http://stackd/reload"); got != errStopping.Error() {
			t.Errorf("while it stops a reload comes to %q", got)
		}
		c.CloseIdleConnections()
		close(leave)
		if err := receive(t, answered, "answer"); err != nil {
			t.Error(err)
		}
		if got := receive(t, stopped, "answer to the stop"); got != "stopped" {
			t.Errorf("the stop was answered with %q", got)
		}
		if err := p.end(t); err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
	})
	noLeak(t, before)
}

func TestControlMoves(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	g := func(c *Server) Generation {
		return Generation{Handler: say("x"), Servers: []Server{on("127.0.0.1:0", "a")}, Control: c}
	}
	taken := controlledAt(filepath.Join(dir, "file"), say(""))
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	optional := *taken
	optional.Optional = true
	p := run(t, sequence(g(controlledAt(first, say("1"))), g(controlledAt(first, say("not built"))), g(controlledAt(second, say("2"))), g(taken), g(&optional), g(nil)))
	there := func(path, want string) {
		t.Helper()
		if want == "" {
			if _, err := os.Lstat(path); err == nil {
				t.Errorf("%s is still there", path)
			}
			return
		}
		if got := mustGet(t, overUnix(t, path), "http://stackd/"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	there(first, "1")
	p.reload(t) // the same goes on
	there(first, "1")
	p.reload(t)
	there(first, "")
	there(second, "2")
	if _, err := p.Reload(t.Context(), Order{}); err == nil || !strings.Contains(err.Error(), "something else is there") {
		t.Errorf("one that can't be had gives the error %v", err)
	}
	there(second, "2")
	p.reload(t)
	there(second, "")
	if warned := p.log.all("there is no control socket; stackd status and the like won't find this process"); len(warned) != 1 {
		t.Errorf("that an optional one can't be had is logged as %q", warned)
	}
	p.reload(t)
	if got := len(p.Status().Listeners); got != 1 {
		t.Errorf("the status has %d listeners", got)
	}
}

// A reload makes sockets anew whose files somebody has removed; it is no reason to refuse one that the folder is gone.
func TestSocketFileRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	told, served := filepath.Join(dir, "told"), filepath.Join(dir, "served")
	p := run(t, sequence(Generation{
		Handler: say("x"), Servers: []Server{on("unix:"+served, "a")}, Control: controlledAt(told, say("control")),
	}))
	answered := func() {
		t.Helper()
		for path, want := range map[string]string{told: "control", served: "x"} {
			if got := mustGet(t, overUnix(t, path), "http://stackd/"); got != want {
				t.Errorf("%s answers %q, want %q", path, got, want)
			}
		}
	}
	answered()
	for _, path := range []string{told, served} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		p.reload(t)
		answered()
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p.reload(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.reload(t)
	answered()
}
