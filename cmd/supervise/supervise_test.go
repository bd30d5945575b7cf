package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// asWorker makes the test binary a worker.
const asWorker = "SUPERVISE_TEST_WORKER"

func TestMain(m *testing.M) {
	if number := os.Getenv(asWorker); number != "" {
		os.Exit(workerMain(number))
	}
	os.Exit(m.Run())
}

// order is what the workers of these tests load.
type order struct {
	Body    string
	Address []string
	// Refuse, Die and Hang say what a worker of that number does in Load instead; DieLater, once it serves.
	Refuse, Die, Hang, DieLater int
	// Probation puts the generation on it, and Broken lets it answer with errors.
	Probation, Broken bool
	// Wait is the number of a worker that waits in Load until nobody writes to the FIFO Gate any more; then
	// each of them leaves its process's number in OnceIn.
	Wait int
	Gate string
	// OnceIn is a folder, where the first worker that dies or waits leaves a note, so that no other does.
	OnceIn string
	Stop   time.Duration
}

// workerMain is a worker, in a process of its own.
func workerMain(number string) int {
	n, err := strconv.Atoi(number)
	if err != nil {
		return 3
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("worker", n)
	err = RunWorker(context.Background(), WorkerOptions{
		Load: func(ctx context.Context, work json.RawMessage) (serve.Generation, error) {
			return loadOrder(ctx, n, work)
		},
		Refusal: func(err error) *control.Refusal { return &control.Refusal{Text: err.Error()} },
		Logger:  log,
	})
	if err != nil {
		log.Info("the worker ends", "err", err)
		return 1
	}
	return 0
}

func loadOrder(ctx context.Context, n int, work json.RawMessage) (serve.Generation, error) {
	var o order
	if err := json.Unmarshal(work, &o); err != nil {
		return serve.Generation{}, err
	}
	if o.Gate != "" {
		if err := os.WriteFile(filepath.Join(o.OnceIn, strconv.Itoa(n)), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return serve.Generation{}, err
		}
	}
	switch n {
	case o.Refuse:
		return serve.Generation{}, fmt.Errorf("worker %d does not like it", n)
	case o.Die:
		if !noted(o.OnceIn) {
			os.Exit(7)
		}
	case o.Hang:
		<-ctx.Done()
		return serve.Generation{}, context.Cause(ctx)
	case o.Wait:
		if noted(o.OnceIn) {
			break
		}
		opened := make(chan struct{})
		go func() {
			_, _ = os.ReadFile(o.Gate)
			close(opened)
		}()
		select {
		case <-opened:
		case <-ctx.Done():
			return serve.Generation{}, context.Cause(ctx)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s %d %d", o.Body, n, os.Getpid()) })
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for i := range 20 {
			select {
			case <-time.After(10 * time.Millisecond): // it is work that takes time
			case <-r.Context().Done():
				return
			}
			fmt.Fprint(w, i)
		}
	})
	g := serve.Generation{Handler: mux, Watch: []string{"/watched/" + o.Body}, StopTimeout: max(o.Stop, 0)}
	g.Made.Built = []string{o.Body}
	if o.Probation {
		g.Probation = &serve.Probation{Period: time.Hour, Threshold: 5}
	}
	if o.Broken {
		g.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	}
	if n == o.DieLater && !noted(o.OnceIn) {
		g.Current = func(uint64) { os.Exit(8) }
	}
	for _, address := range o.Address {
		g.Servers = append(g.Servers, serve.Server{Name: "http", Address: address, ID: "same", Serve: serveHTTP})
	}
	return g, nil
}

// noted reports whether somebody was here before; with no folder, nobody ever was.
func noted(folder string) bool {
	if folder == "" {
		return false
	}
	f, err := os.OpenFile(filepath.Join(folder, "note"), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return true
	}
	f.Close()
	return false
}

// ignore takes away what a server says that was told to end.
func ignore(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err := srv.Shutdown(context.Background())
	return errors.Join(err, ignore(<-served))
}

// house is a supervisor that runs.
type house struct {
	*serve.Runtime
	supervisor *Supervisor
	signals    chan os.Signal
	ended      chan error
	failed     chan string // generations that failed

	mu    sync.Mutex
	order order
	n     int // workers
	limit time.Duration
	log   bytes.Buffer
	grown chan struct{}
}

// Write takes the log in.
func (h *house) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log.Write(p)
	close(h.grown)
	h.grown = make(chan struct{})
	return len(p), nil
}

func (h *house) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// await waits until the log has a text that many times.
func (h *house) await(t *testing.T, text string, times int) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		h.mu.Lock()
		n, grown := strings.Count(h.log.String(), text), h.grown
		h.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-grown:
		case <-limit.C:
			t.Fatalf("the log has %q %d times; want %d:\n%s", text, n, times, h.text())
		}
	}
}

// launch starts a supervisor of n workers.
func launch(t *testing.T, n int, o order) *house {
	t.Helper()
	h := &house{signals: make(chan os.Signal, 4), ended: make(chan error, 1), failed: make(chan string, 10), order: o, n: n, limit: patience, grown: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(h, nil))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.supervisor = New(Options{Logger: log, Failed: func(_ uint64, reason string) { h.failed <- reason }, Command: func(number int) *exec.Cmd {
		c := exec.Command(program)
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", asWorker, number))
		c.Stderr = t.Output()
		return c
	}})
	h.Runtime = serve.New(serve.Options{Logger: log, Signals: h.signals, Stop: h.supervisor.Stop, Load: func(context.Context) (serve.Generation, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		text, err := json.Marshal(h.order)
		g := serve.Generation{Handler: http.NotFoundHandler(), StopTimeout: h.order.Stop}
		for _, address := range h.order.Address {
			g.Servers = append(g.Servers, serve.Server{Name: "http", Address: address})
		}
		h.supervisor.Supervise(&g, Work{Processes: h.n, Load: text, Timeout: h.limit})
		return g, err
	}})
	go func() {
		h.ended <- h.Run(context.Background())
		close(h.ended)
	}()
	t.Cleanup(func() {
		h.signals <- syscall.SIGTERM
		h.signals <- syscall.SIGTERM
		for err := range h.ended {
			if err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Log(h.text())
		}
	})
	return h
}

// run is launch of what must start.
func run(t *testing.T, n int, body string) *house {
	t.Helper()
	h := launch(t, n, order{Body: body, Address: []string{"127.0.0.1:0"}})
	h.await(t, "generation serves", 1)
	return h
}

// change reloads with another order and number of workers.
func (h *house) change(n int, o order) (control.Reload, error) {
	h.mu.Lock()
	h.order, h.n = o, n
	h.mu.Unlock()
	return h.Reload(context.Background(), serve.Order{Trigger: "test"})
}

func (h *house) get(path string) (string, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := c.Get("http://" + h.Addresses()["127.0.0.1:0"].String() + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// status is what stackd status tells.
func (h *house) status() control.Status {
	s := h.Status()
	h.supervisor.Sum(context.Background(), &s)
	return s
}

// pids returns the processes that serve, by their place.
func (h *house) pids() []int {
	var pids []int
	for _, w := range h.status().Workers {
		if w.State == control.WorkerServes {
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// answered asks until every worker of a generation has answered, and nobody else has.
func (h *house) answered(t *testing.T, body string, workers ...int) {
	t.Helper()
	seen := make(map[int]bool)
	for limit := time.Now().Add(patience); len(seen) < len(workers); {
		text, err := h.get("/")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(text)
		n, _ := strconv.Atoi(fields[1])
		if fields[0] != body || !slices.Contains(workers, n) {
			t.Fatalf("the answer is %q; want %s by one of %v", text, body, workers)
		}
		seen[n] = true
		if time.Now().After(limit) {
			t.Fatalf("only %v of %v have answered", seen, workers)
		}
	}
}

// alive reports whether a process is there, be it as a zombie.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// All workers serve, under one port.
func TestWorkersShare(t *testing.T) {
	h := run(t, 3, "one")
	h.answered(t, "one", 1, 2, 3)
	s := h.status()
	if len(s.Workers) != 3 || len(s.Listeners) != 1 || len(s.Generations) != 1 || s.PID != os.Getpid() {
		t.Errorf("the status is %+v", s)
	}
}

// A first generation that one worker can't serve is the error of Run, and no process is left.
func TestFirstStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    order
		want string
	}{
		{"the first refuses", order{Refuse: 1}, "worker 1 does not like it"},
		{"another refuses", order{Refuse: 3}, "worker 3 does not like it"},
		{"one dies", order{Die: 2}, "worker 2 was not ready: it ended with exit status 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Address = []string{"127.0.0.1:0"}
			h := launch(t, 3, tt.o)
			err := <-h.ended
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v; want %q", err, tt.want)
			}
			if s := h.status(); len(s.Workers) != 0 {
				t.Errorf("these workers are left: %+v", s.Workers)
			}
		})
	}
}

// A reload is one of all workers or of none.
func TestReload(t *testing.T) {
	h := run(t, 3, "one")
	before := h.pids()
	good := order{Body: "two", Address: []string{"127.0.0.1:0", "localhost:0"}}
	report, err := h.change(3, good)
	if err != nil || report.Generation != 2 || !slices.Equal(report.Built, []string{"two"}) || len(report.Started) != 1 {
		t.Fatalf("it came to %+v, %v", report, err)
	}
	h.answered(t, "two", 1, 2, 3)
	for _, tt := range []struct {
		name string
		o    order
		want string
		dies bool
	}{
		{"the first refuses", order{Refuse: 1}, "worker 1 does not like it", false},
		{"another refuses", order{Refuse: 2}, "worker 2 does not like it", false},
		{"one refuses while one hangs", order{Refuse: 2, Hang: 3}, "worker 2 does not like it", false},
		{"one dies", order{Die: 3}, "worker 3 was not ready: it ended with exit status 7", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Body, tt.o.Address = "bad", []string{"127.0.0.1:0", "localhost:00"}
			_, err := h.change(3, tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v; want %q", err, tt.want)
			}
			h.answered(t, "two", 1, 2, 3)
			if !tt.dies && !slices.Equal(h.pids(), before) {
				t.Errorf("the workers are %v; want the same %v", h.pids(), before)
			}
		})
	}
	good.Body = "three"
	if report, err := h.change(3, good); err != nil || report.Generation != 3 {
		t.Fatalf("it came to %+v, %v", report, err)
	}
	h.answered(t, "three", 1, 2, 3)
}

// One that takes too long is an error that says so, and the others serve on.
func TestReloadTakesTooLong(t *testing.T) {
	h := run(t, 2, "one")
	h.mu.Lock()
	h.limit = 300 * time.Millisecond
	h.mu.Unlock()
	_, err := h.change(2, order{Body: "two", Address: []string{"127.0.0.1:0"}, Hang: 2})
	if err == nil || !strings.Contains(err.Error(), "getting the workers ready took longer than 0.3s") {
		t.Errorf("the error is %v", err)
	}
	h.answered(t, "one", 1, 2)
}

// A reload doesn't wait for a worker that is stopped, nor for one that has just died: others take their places.
func TestReloadWithoutAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		worker int
		signal syscall.Signal
	}{
		{"the first is stopped", 1, syscall.SIGSTOP},
		{"another is stopped", 3, syscall.SIGSTOP},
		{"one is killed", 2, syscall.SIGKILL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := run(t, 3, "one")
			h.supervisor.silence = time.Second
			pid := h.status().Workers[tt.worker-1].PID
			if err := syscall.Kill(pid, tt.signal); err != nil {
				t.Fatal(err)
			}
			if tt.signal == syscall.SIGSTOP {
				var status syscall.WaitStatus
				if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
					t.Fatalf("it is not stopped: %v, %v", status, err)
				}
			}
			if _, err := h.change(3, order{Body: "two", Address: []string{"127.0.0.1:0"}}); err != nil {
				t.Fatal(err)
			}
			h.answered(t, "two", 1, 2, 3)
			for _, w := range h.status().Workers {
				if w.PID == pid {
					t.Errorf("process %d is there again: %+v", pid, w)
				}
			}
			if tt.signal == syscall.SIGSTOP && !strings.Contains(h.text(), "it said nothing for 1s") {
				t.Error("the log does not say why it was killed")
			}
		})
	}
}

// A worker that isn't needed any more and says nothing is killed.
func TestSurplusWithoutAnswer(t *testing.T) {
	h := run(t, 2, "one")
	h.supervisor.silence = time.Second
	if err := syscall.Kill(h.pids()[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := h.change(1, order{Body: "two", Address: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	h.await(t, "worker ended", 1)
	h.answered(t, "two", 1)
}

// The number of workers follows the reload.
func TestNumber(t *testing.T) {
	h := run(t, 2, "one")
	first := h.pids()
	if _, err := h.change(4, order{Body: "two", Address: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	h.answered(t, "two", 1, 2, 3, 4)
	all := h.pids()
	if len(all) != 4 || !slices.Equal(all[:2], first) {
		t.Errorf("the workers are %v; the first two must be %v", all, first)
	}
	// More, of which one can't: none is left over.
	if _, err := h.change(6, order{Body: "three", Address: []string{"127.0.0.1:0"}, Refuse: 6}); err == nil {
		t.Error("a worker that refuses was no error")
	}
	if got := h.pids(); !slices.Equal(got, all) {
		t.Errorf("the workers are %v; want %v", got, all)
	}
	if _, err := h.change(1, order{Body: "four", Address: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	h.await(t, "worker ended", 3)
	h.answered(t, "four", 1)
	for _, pid := range all[1:] {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// A worker that is killed is replaced, and serves what the others do. One that is told to end ends by itself, and its
// request with it.
func TestReplaced(t *testing.T) {
	h := run(t, 2, "one")
	if _, err := h.change(2, order{Body: "two", Address: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.order.Body = "what is on disk now"
	h.mu.Unlock()
	pid := h.pids()[0]
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.await(t, "a worker serves in the place of another", 1)
	h.await(t, "it was ended by the signal killed", 1)
	h.answered(t, "two", 1, 2)
	s := h.status()
	if w := s.Workers[0]; w.Restarts != 1 || w.PID == pid || w.State != control.WorkerServes || s.Generations[0].Number != 2 {
		t.Errorf("the worker is %+v", w)
	}

	// A request in a worker that is told to end: which one, the status says.
	began := make(chan struct{})
	bodies := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + h.Addresses()["127.0.0.1:0"].String() + "/slow")
		close(began)
		if err != nil {
			bodies <- err.Error()
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		bodies <- string(text)
	}()
	<-began
	for _, pid := range h.pids() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	h.await(t, "a worker serves in the place of another", 3)
	if got := <-bodies; got != "012345678910111213141516171819" {
		t.Errorf("the request got %q", got)
	}
	h.answered(t, "two", 1, 2)
	h.await(t, "it ended with exit status 0", 2)
}

// A worker that is told to end while a reload makes it ready, or when it is ready and waits for the others, is no reason to
// refuse that: another takes its place.
func TestToldToEndInAReload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		worker int
		before int // workers
	}{
		{"a new one that is ready", 1, 0},
		{"one that is ready", 1, 2},
		{"one that is loading", 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gate := filepath.Join(t.TempDir(), "gate")
			if err := syscall.Mkfifo(gate, 0o600); err != nil {
				t.Fatal(err)
			}
			o := order{Body: "two", Address: []string{"127.0.0.1:0"}, Wait: 2, Gate: gate, OnceIn: t.TempDir()}
			var h *house
			changed := make(chan error, 1)
			if tt.before == 0 {
				h = launch(t, 2, o)
			} else {
				h = run(t, tt.before, "one")
				go func() {
					_, err := h.change(2, o)
					changed <- err
				}()
			}
			f, err := os.OpenFile(gate, os.O_WRONLY, 0) // when the second one loads, the first one is ready
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			text, err := os.ReadFile(filepath.Join(o.OnceIn, strconv.Itoa(tt.worker)))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			h.await(t, "a worker was told to end, and is replaced", 1)
			if tt.worker != o.Wait {
				f.Close()
			}
			if tt.before > 0 {
				if err := <-changed; err != nil {
					t.Fatal(err)
				}
			}
			h.await(t, "generation serves", min(tt.before, 1)+1)
			h.answered(t, "two", 1, 2)
		})
	}
}

// One that dies as soon as it serves is tried again, ever more slowly, until a reload puts an end to that.
func TestCrashLoop(t *testing.T) {
	h := run(t, 2, "one")
	begin := time.Now()
	if _, err := h.change(2, order{Body: "two", Address: []string{"127.0.0.1:0"}, DieLater: 2}); err != nil {
		t.Fatal(err)
	}
	h.await(t, "a worker could not take its place", 3)
	if least := 100*time.Millisecond + 200*time.Millisecond + 400*time.Millisecond; time.Since(begin) < least {
		t.Errorf("it was tried three times in %s; there must be %s between", time.Since(begin), least)
	}
	h.answered(t, "two", 1)
	if w := h.status().Workers[1]; w.State != control.WorkerStarts || w.PID != 0 {
		t.Errorf("the worker is %+v", w)
	}
	if _, err := h.change(2, order{Body: "three", Address: []string{"127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	h.answered(t, "three", 1, 2)
}

// What fails its probation in a worker is told by it once, and the status sums up what all of them count.
func TestProbation(t *testing.T) {
	h := launch(t, 2, order{Body: "one", Address: []string{"127.0.0.1:0"}, Probation: true})
	h.await(t, "generation serves", 1)
	h.answered(t, "one", 1, 2)
	if _, err := h.change(2, order{Body: "two", Address: []string{"127.0.0.1:0"}, Probation: true, Broken: true}); err != nil {
		t.Fatal(err)
	}
	if p := h.status().Generations[0].Probation; p == nil || p.AnswersBefore < 2 {
		t.Errorf("the probation is %+v", p)
	}
	asking, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-asking:
				return
			default:
			}
			if _, err := h.get("/"); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	reason := <-h.failed
	close(asking)
	<-done
	if !strings.Contains(reason, "probation of generation 2: 100.0%") || len(h.failed) > 1 {
		t.Errorf("the reason is %q, and there are %d more", reason, len(h.failed))
	}
}

// A stop waits for the requests that workers have; a second signal doesn't.
func TestStop(t *testing.T) {
	h := run(t, 2, "one")
	pids := h.pids()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Addresses()["127.0.0.1:0"].String()+"/wait", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stopped := make(chan control.Stopped, 1)
	go func() {
		s, err := h.Stop(context.Background())
		if err != nil {
			t.Error(err)
		}
		stopped <- s
	}()
	h.await(t, "msg=stopping", 1)
	select {
	case <-stopped:
		t.Error("it did not wait")
	case <-time.After(50 * time.Millisecond): // no proof, but a chance to fail
	}
	h.signals <- syscall.SIGTERM
	if s := <-stopped; s.Outlived != 1 {
		t.Errorf("%d requests outlived the stop; want 1", s.Outlived)
	}
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if _, err := h.Reload(context.Background(), serve.Order{}); err == nil {
		t.Error("a reload after the stop worked")
	}
}

// Nothing is left of a hundred reloads with deaths between them.
func TestNoLeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files can only be counted on Linux")
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	h := run(t, 2, "start")
	before := open()
	for i := range 100 {
		o := order{Body: strconv.Itoa(i), Address: []string{"127.0.0.1:0"}}
		if i%3 == 0 {
			o.Address = append(o.Address, "localhost:0")
		}
		if i%10 == 5 {
			o.Refuse = 2
		}
		if i%25 == 0 {
			if pids := h.pids(); len(pids) > 0 {
				_ = syscall.Kill(pids[len(pids)-1], syscall.SIGKILL)
			}
		}
		if _, err := h.change(2+i%2, o); err != nil && o.Refuse == 0 && !strings.Contains(err.Error(), "it was ended by the signal killed") {
			t.Fatalf("reload %d: %v", i, err)
		}
	}
	if _, err := h.change(2, order{Body: "end", Address: []string{"127.0.0.1:0"}}); err != nil && !strings.Contains(err.Error(), "killed") {
		t.Fatal(err)
	}
	for limit := time.Now().Add(patience); ; {
		if s := h.status(); len(s.Workers) == 2 && open() <= before {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d files are open, %d were before; the workers are %+v", open(), before, h.status().Workers)
		}
	}
}

// A worker that somebody starts by hand says what it is.
func TestNotStartedByASupervisor(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), asWorker+"=1")
	out, err := c.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("a worker is started by stackd run")) {
		t.Errorf("it came to %v: %s", err, out)
	}
}

// The processors are shared out, unless the environment says how many each may use.
func TestShare(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	cpus := runtime.GOMAXPROCS(0)
	for workers, want := range map[int]int{1: cpus, cpus: 1, cpus + 1: 1, 1000 * cpus: 1} {
		if got := share(workers); got != want {
			t.Errorf("each of %d workers on %d processors may use %d; want %d", workers, cpus, got, want)
		}
	}
	t.Setenv("GOMAXPROCS", "3")
	if got := share(2); got != 0 {
		t.Errorf("the environment says 3, and each may use %d", got)
	}
}
