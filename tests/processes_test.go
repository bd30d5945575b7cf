package tests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stackd/stackd/cmd/control"
)

// backend is what the stacks of these tests are a proxy for. A request for /hold waits there until it is let go.
type backend struct {
	*httptest.Server
	held chan struct{} // has a value for each request that is held
	free chan struct{} // closed to let all go
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{held: make(chan struct{}, 10_000), free: make(chan struct{})}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			b.held <- struct{}{}
			select {
			case <-b.free:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = io.WriteString(w, "answered")
	}))
	t.Cleanup(b.Close)
	return b
}

// several writes a stack file of so many processes and starts it.
func several(t *testing.T, processes string) (*server, *backend) {
	t.Helper()
	b := newBackend(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte(stackOf(processes, b)), 0o600); err != nil {
		t.Fatal(err)
	}
	var s *server
	t.Cleanup(func() { // when it has stopped
		if s == nil {
			return
		}
		for _, pid := range group(t, s.cmd.Process.Pid) {
			t.Errorf("process %d was left over", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	s = start(t, file)
	s.await("generation serves", ofSupervisor)
	return s, b
}

// ofSupervisor reports whether it is the supervisor that says something.
func ofSupervisor(r record) bool { return r["worker"] == nil }

func stackOf(processes string, b *backend) string {
	return fmt.Sprintf("processes: %s\nservers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: headers, response: {set: {X-Was: here}}}, {use: proxy, to: %q}]\n", processes, b.URL)
}

// status asks the supervisor what it and its workers do.
func (s *server) status() control.Status {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := s.control().Status(ctx)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log())
	}
	return st
}

func (s *server) control() *control.Client {
	return control.New(filepath.Join(filepath.Dir(s.file), ".stack.yaml.sock"))
}

// awaitStatus asks until the status is as it must be.
func (s *server) awaitStatus(what string, good func(control.Status) bool) control.Status {
	s.t.Helper()
	for limit := time.Now().Add(patience); ; {
		st := s.status()
		if good(st) {
			return st
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%s did not come to pass: %+v\n%s", what, st, s.log())
		}
	}
}

// change changes the stack file, and waits until that is served. A reload by a command might come before or after that by the
// change, and would be another one.
func (s *server) change(stack string) {
	s.t.Helper()
	n := s.seen()
	replace(s.t, s.file, []byte(stack))
	s.awaitAfter(n, "generation serves", ofSupervisor)
}

// serving returns the processes that serve, by their places.
func serving(st control.Status) (pids []int) {
	for _, w := range st.Workers {
		if w.State == control.WorkerServes {
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// group returns the processes of a group that run. One that has ended and that nobody has waited for is none.
func group(t *testing.T, leader int) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(all) == 0 {
		unable(t, "processes can only be listed where there is /proc: %v", err)
	}
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		_, rest, _ := strings.Cut(string(stat), ") ") // behind the name
		var state string
		var parent, of int
		if _, err := fmt.Sscan(rest, &state, &parent, &of); err != nil || of != leader || state == "Z" || state == "X" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// Every worker serves, under the one port that the system chose, and the status sums them up.
func TestProcessesShare(t *testing.T) {
	s, b := several(t, "3")
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	var asking sync.WaitGroup
	held := 0
	var st control.Status
	for limit := time.Now().Add(patience); ; {
		asking.Go(func() {
			if err := ask(client, s.url+"/hold", "answered"); err != nil {
				t.Error(err)
			}
		})
		<-b.held
		held++
		st = s.status()
		if !slices.ContainsFunc(st.Workers, func(w control.Worker) bool { return w.Requests == 0 || w.Connections == 0 }) {
			break
		}
		if time.Now().After(limit) {
			t.Errorf("of %d requests not every worker has one: %+v", held, st.Workers)
			break
		}
	}
	if len(st.Workers) != 3 || len(st.Listeners) != 1 || st.Listeners[0].Connections < held || st.Generations[0].Requests != held || len(st.Requests) != held {
		t.Errorf("of %d requests the status tells %+v", held, st)
	}
	if st.PID != s.cmd.Process.Pid || st.Requests[0].Worker == 0 || st.Requests[0].Path != "/hold" {
		t.Errorf("the status is that of process %d, with the request %+v", st.PID, st.Requests[0])
	}
	close(b.free)
	asking.Wait()
}

// A worker that is killed takes those requests with it that it had, and another takes its place.
func TestProcessesKillWorker(t *testing.T) {
	s, _ := several(t, "2")
	const clients = 4
	l := newTraffic(t, s.url+"/", "answered", 0, clients)
	for range 3 {
		l.more(t, 50)
		before := s.awaitStatus("two workers that serve", func(st control.Status) bool { return len(serving(st)) == 2 })
		victim := before.Workers[0]
		if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.awaitStatus("another worker in that place", func(st control.Status) bool {
			return len(serving(st)) == 2 && st.Workers[0].PID != victim.PID && st.Workers[0].Restarts == victim.Restarts+1
		})
	}
	l.more(t, 200)
	// Each client can have had one request in each of the three.
	asked, failed := l.end()
	if len(failed) > 3*clients {
		t.Errorf("%d requests have failed; at most %d were in a worker that was killed: %v", len(failed), 3*clients, failed)
	}
	t.Logf("%d of %d requests failed with three workers that were killed", len(failed), asked)
	s.await("a worker died, and is replaced", func(r record) bool {
		return r["how"] == "it was ended by the signal killed" && r["level"] == "ERROR"
	})
}

// The request in the worker that isn't killed goes on, and so does that of one that was told to end.
func TestProcessesOtherRequestsLive(t *testing.T) {
	s, b := several(t, "2")
	results := make(chan error, cap(b.held))
	requests := 0
	s.awaitStatus("a request in each", func(control.Status) bool {
		go func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			results <- ask(client, s.url+"/hold", "answered")
		}()
		<-b.held
		requests++
		workers := s.status().Workers
		return workers[0].Requests > 0 && workers[1].Requests > 0
	})
	st := s.status()
	inside := st.Workers[0].Requests
	if err := syscall.Kill(st.Workers[1].PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus("one that drains, and another in its place", func(now control.Status) bool {
		return len(now.Workers) == 3 && now.Workers[1].PID != st.Workers[1].PID && now.Workers[1].State == control.WorkerServes && now.Workers[2].State == control.WorkerDrains
	})
	if err := syscall.Kill(st.Workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range inside {
		if err := <-results; err == nil {
			t.Error("a request in the worker that was killed was answered")
		}
	}
	close(b.free)
	for range requests - inside {
		if err := <-results; err != nil {
			t.Errorf("a request in the other worker: %v", err)
		}
	}
	s.awaitStatus("that nothing drains", func(now control.Status) bool { return len(now.Workers) == 2 && len(serving(now)) == 2 })
}

// When the supervisor is killed, the workers accept nothing more, let what they have end, and are gone.
func TestProcessesKillSupervisor(t *testing.T) {
	s, b := several(t, "3")
	result := make(chan error, 1)
	go func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		result <- ask(client, s.url+"/hold", "answered")
	}()
	<-b.held
	pids := serving(s.status())
	if len(pids) != 3 {
		t.Fatalf("the workers are %v", pids)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for i := range pids {
		s.await("the supervisor is gone: accepting nothing more, and ending when what is under way has ended", func(r record) bool { return r["worker"] == float64(i+1) })
	}
	for limit := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(limit) {
			t.Fatal("somebody accepts still")
		}
	}
	close(b.free)
	if err := <-result; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	// Their standard error is that of the supervisor, so its end is that of all.
	if err := <-s.exited; err == nil {
		t.Error("the supervisor that was killed ended well")
	}
	s.exited <- nil
	for limit := time.Now().Add(patience); len(group(t, s.cmd.Process.Pid)) > 0; {
		if time.Now().After(limit) {
			t.Fatal("some are still there")
		}
	}
}

// A terminal and a service manager signal all processes at once: that is a stop like any other.
func TestProcessesSignalled(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			s, b := several(t, "2")
			result := make(chan error, 1)
			go func() {
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
				result <- ask(client, s.url+"/hold", "answered")
			}()
			<-b.held
			if err := syscall.Kill(-s.cmd.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
			s.await("stopping", ofSupervisor)
			close(b.free)
			if err := <-result; err != nil {
				t.Errorf("the request that was under way: %v", err)
			}
			err := <-s.exited
			if err != nil {
				t.Errorf("it ended with %v\n%s", err, s.log())
			}
			s.exited <- nil
		})
	}
}

// Reloads under load, which change the number of workers too, fail no request.
func TestProcessesReloadUnderLoad(t *testing.T) {
	s, b := several(t, "2")
	l := newTraffic(t, s.url+"/", "answered", 2, 2)
	numbers := []string{"2", "4", "3", "1", "2"}
	for i := range 20 {
		number := numbers[i%len(numbers)]
		replace(t, s.file, []byte(strings.Replace(stackOf(number, b), "here", strconv.Itoa(i), 1)))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := s.control().Reload(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log())
		}
		if r.Generation < 2 || len(r.Started) != 0 {
			t.Errorf("the reload says %+v", r)
		}
		st := s.status()
		if got := strconv.Itoa(len(serving(st))); got != number {
			t.Errorf("%s workers serve; want %s: %+v", got, number, st.Workers)
		}
		response, err := http.Get(s.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("X-Was"); got != strconv.Itoa(i) {
			t.Errorf("after reload %d it is %q that answers", i, got)
		}
		l.more(t, 20)
	}
	l.good(t)
	s.awaitStatus("that no worker drains", func(st control.Status) bool { return len(st.Workers) == 2 })
}

// A file with problems is refused by the supervisor, and its problems are logged once; so are those that only
// building it finds. What a worker depends on is watched, too, and makes for one reload.
func TestProcessesRefuse(t *testing.T) {
	s, b := several(t, "2")
	users := filepath.Join(filepath.Dir(s.file), "users")
	if err := os.WriteFile(users, []byte("me:$2a$04$"+strings.Repeat("a", 53)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := strings.Replace(stackOf("2", b), "stack: [", "stack: [{use: auth_basic, off: true, users: users}, ", 1)
	for name, bad := range map[string]string{
		"misspelt": strings.Replace(good, "use: proxy", "use: prxy", 1),
		"missing":  strings.Replace(strings.Replace(good, "off: true, ", "", 1), "users: users", "users: nowhere", 1),
	} {
		t.Run(name, func(t *testing.T) {
			n := s.seen()
			replace(t, s.file, []byte(bad))
			s.awaitAfter(n, "reload refused, the old generation serves on", ofSupervisor)
			s.mu.Lock()
			var problems []record
			for _, r := range s.records[n:] {
				if r["level"] == "ERROR" {
					problems = append(problems, r)
				}
			}
			s.mu.Unlock()
			if len(problems) != 2 || problems[0]["msg"] != "problem" {
				t.Errorf("the log has %v", problems)
			}
			if got := s.get(http.DefaultClient, "/"); got.body != "answered" {
				t.Errorf("the answer is %+v", got)
			}
		})
	}
	n := s.seen()
	replace(t, s.file, []byte(strings.Replace(good, "off: true, ", "", 1)))
	s.awaitAfter(n, "generation serves", ofSupervisor)
	before := s.status().Generations[0].Number
	n = s.seen()
	if err := os.WriteFile(users, []byte("you:$2a$04$"+strings.Repeat("b", 53)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.awaitAfter(n, "generation serves", ofSupervisor)
	if after := s.status().Generations[0]; after.Number != before+1 || !strings.HasSuffix(after.Trigger, "users") {
		t.Errorf("after %d it is %+v", before, after)
	}
}

// What fails its probation in one worker is rolled back in all.
func TestProcessesProbation(t *testing.T) {
	s, b := several(t, "2")
	on := "reload: {watch_errors: 1h, threshold: 5%}\n"
	s.change(on + stackOf("2", b))
	// A second one has answers to be compared with.
	l := newTraffic(t, s.url+"/", "answered", 0, 2)
	l.more(t, 40)
	l.good(t)
	n := s.seen()
	s.change(strings.Replace(on+stackOf("2", b), "use: proxy, to: ", "use: respond, status: 500, body: ", 1))
	l = newTraffic(t, s.url+"/", "answered", 0, 2)
	s.awaitAfter(n, "generation serves", func(r record) bool { return ofSupervisor(r) && r["rollback_to"] != nil })
	l.end()
	if got := s.get(http.DefaultClient, "/"); got.body != "answered" {
		t.Errorf("the answer is %+v", got)
	}
	st := s.status()
	if g := st.Generations[0]; g.RollbackTo == 0 || !strings.Contains(g.Trigger, "probation of generation") || len(serving(st)) != 2 {
		t.Errorf("the status is %+v", st)
	}
}

// A stackd that was started with one process says that it can't become several.
func TestProcessesNotAfterwards(t *testing.T) {
	b := newBackend(t)
	file := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte(stackOf("1", b)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, file)
	if st := s.status(); len(st.Workers) != 0 {
		t.Errorf("the workers are %+v", st.Workers)
	}
	replace(t, file, []byte(stackOf("2", b)))
	_, err := s.control().Reload(t.Context())
	refusal, ok := errors.AsType[*control.Refusal](err)
	if !ok || len(refusal.Problems) != 1 || refusal.Problems[0].Line != 1 ||
		refusal.Problems[0].Text != "processes is 2, but this stackd was started with one and serves by itself; start it anew for more" {
		t.Errorf("the error is %+v", err)
	}
}

// streamsStack has a route where nothing changes, and one that changes for each word of on_reload.
const streamsStack = `processes: 2
servers: [{use: http, listen: "127.0.0.1:0"}]
deadlines: {drain: 1h, stop: 1ms}
stack: [headers, {use: proxy, to: %q}]
urls:
  /drain/: {headers: {response: {set: {X-Turn: "%[2]d"}}}}
  /keep/: {headers: {response: {set: {X-Turn: "%[2]d"}}}, on_reload: keep}
  /close/: {headers: {response: {set: {X-Turn: "%[2]d"}}}, on_reload: close}
`

// teller is the other end of streams: it says on an event stream what is sent to the channel of its path, and on a WebSocket
// what it hears there.
type teller struct {
	*httptest.Server
	mu     sync.Mutex
	events map[string]chan string
}

func newTeller(t *testing.T) *teller {
	t.Helper()
	up := &teller{events: make(map[string]chan string)}
	up.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echo(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for events := up.channel(r.URL.Path); ; {
			_ = http.NewResponseController(w).Flush() // the next write says what came of it
			select {
			case text := <-events:
				fmt.Fprintf(w, "data: %s\n\n", text)
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	return up
}

func (up *teller) channel(path string) chan string {
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.events[path] == nil {
		up.events[path] = make(chan string, 1)
	}
	return up.events[path]
}

// line is a WebSocket or an event stream that is open.
type line struct {
	path   string
	worker int // that has it
	ends
}

// ends is what a text goes into at one end of a line, and comes out of at the other.
type ends struct {
	in  func(text string) error
	out func() (string, error)
}

// goOn checks that streams go on.
func goOn(t *testing.T, when string, all []*line) {
	t.Helper()
	for _, l := range all {
		err := l.in(when)
		var got string
		if err == nil {
			got, err = l.out()
		}
		if err != nil || got != when {
			t.Errorf("%s: %s of worker %d brings %q, %v", when, l.path, l.worker, got, err)
		}
	}
}

// end waits until streams are ended by the server.
func end(t *testing.T, when string, all []*line) {
	t.Helper()
	for _, l := range all {
		if got, err := l.out(); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %s of worker %d must end; it brings %q, %v", when, l.path, l.worker, got, err)
		}
	}
}

// open opens WebSockets and event streams below a path, until each of the workers has one of both.
func (up *teller) open(t *testing.T, s *server, below string) (all []*line) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	for kind, open := range map[string]func(context.Context, *testing.T, string) ends{"socket": openSocket, "events": up.openEvents} {
		has := make(map[int]bool)
		for limit := time.Now().Add(patience); len(has) < 2; {
			l := &line{path: fmt.Sprint(below, kind, len(all))}
			l.ends = open(ctx, t, s.url+l.path)
			requests := s.status().Requests
			i := slices.IndexFunc(requests, func(r control.Request) bool { return r.Path == l.path })
			if i < 0 || time.Now().After(limit) {
				t.Fatalf("not every worker has a stream: %v; the last one is %s of %+v", has, l.path, requests)
			}
			l.worker = requests[i].Worker
			has[l.worker] = true
			all = append(all, l)
		}
	}
	return all
}

func openSocket(ctx context.Context, t *testing.T, url string) ends {
	t.Helper()
	ws, _, err := websocket.Dial(ctx, url, nil) //nolint:bodyclose // the connection has been taken over; there is no body
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ends{
		func(text string) error { return ws.Write(ctx, websocket.MessageText, []byte(text)) },
		func() (string, error) {
			_, text, err := ws.Read(ctx)
			return string(text), err
		},
	}
}

func (up *teller) openEvents(ctx context.Context, t *testing.T, url string) ends {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = response.Body.Close()
		transport.CloseIdleConnections()
	})
	events, lines := up.channel(request.URL.Path), bufio.NewReader(response.Body)
	return ends{
		func(text string) error {
			select {
			case events <- text:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		func() (string, error) {
			text, err := lines.ReadString('\n')
			if err == nil {
				_, err = lines.ReadString('\n') // the empty one behind it
			}
			return strings.TrimSuffix(strings.TrimPrefix(text, "data: "), "\n"), err
		},
	}
}

// startStreams starts two processes with streams open in both, below each of the paths.
func startStreams(t *testing.T, up *teller, below ...string) (s *server, streams map[string][]*line) {
	t.Helper()
	s = start(t, writeStack(t, fmt.Sprintf(streamsStack, up.URL, 0)))
	s.await("generation serves", ofSupervisor)
	streams = make(map[string][]*line)
	for _, path := range below {
		streams[path] = up.open(t, s, path)
	}
	return s, streams
}

// Streams live on through reloads that change nothing where they are, in the worker that they began in. What becomes of
// the others is for on_reload to say, in every worker.
func TestProcessesStreams(t *testing.T) {
	up := newTeller(t)
	s, streams := startStreams(t, up, "/same/", "/drain/", "/keep/", "/close/")
	before := serving(s.status())
	n := func(path string) int { return len(streams[path]) }
	var st control.Status
	for turn := range 3 {
		when := fmt.Sprint("after reload ", turn+1)
		s.change(fmt.Sprintf(streamsStack, up.URL, turn+1))
		if turn == 0 {
			end(t, when, streams["/close/"])
			r := s.await("generation serves", func(r record) bool { return ofSupervisor(r) && r["generation"] == 2.0 })
			for key, path := range map[string]string{"moved": "/same/", "kept": "/keep/", "closed": "/close/", "draining": "/drain/"} {
				if r[key] != float64(n(path)) {
					t.Errorf("the log says that %v streams are %s, of %d: %v", r[key], key, n(path), r)
				}
			}
		}
		for _, path := range []string{"/same/", "/drain/", "/keep/"} {
			goOn(t, when, streams[path])
		}
		// Nobody waits for what moves or is kept, so all but the first generation have ended.
		st = s.awaitStatus("that the streams are where they belong "+when, func(st control.Status) bool {
			return len(st.Generations) == 2 && st.Generations[0].Requests == n("/same/") && st.Generations[1].Requests == n("/drain/") && st.KeptRequests == n("/keep/")
		})
		if st.Generations[0].Number != uint64(turn+2) || st.Generations[1].Number != 1 {
			t.Errorf("%s the status is %+v", when, st)
		}
	}
	if after := serving(st); !slices.Equal(after, before) {
		t.Errorf("the workers were %v, and are %v", before, after)
	}
	has := make(map[string]int)
	for _, r := range st.Requests {
		has[r.Path] = r.Worker
	}
	for _, path := range []string{"/same/", "/drain/", "/keep/"} {
		for _, l := range streams[path] {
			if has[l.path] != l.worker {
				t.Errorf("%s is in worker %d; it was in worker %d", l.path, has[l.path], l.worker)
			}
		}
	}
}

// A worker that is killed takes no other streams with it than its own. Those of the other one live on, also through the next
// reload, which has a new worker beside theirs.
func TestProcessesKillStreams(t *testing.T) {
	up := newTeller(t)
	s, streams := startStreams(t, up, "/same/")
	var lost, left []*line
	for _, l := range streams["/same/"] {
		if l.worker == 1 {
			lost = append(lost, l)
		} else {
			left = append(left, l)
		}
	}
	victim := s.status().Workers[0]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end(t, "after the kill", lost)
	goOn(t, "after the kill", left)
	s.awaitStatus("another worker in that place", func(st control.Status) bool {
		return len(serving(st)) == 2 && st.Workers[0].PID != victim.PID
	})
	goOn(t, "with another worker", left)
	more := up.open(t, s, "/same/more/")
	s.change(fmt.Sprintf(streamsStack, up.URL, 1))
	goOn(t, "after a reload", slices.Concat(left, more))
	s.awaitStatus("that all have moved", func(st control.Status) bool {
		return len(st.Generations) == 1 && st.Generations[0].Requests == len(left)+len(more)
	})
}
