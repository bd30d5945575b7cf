package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stackd/stackd/cmd/control"
	_ "github.com/stackd/stackd/components/standard" // the components of the stack under test
	"github.com/stackd/stackd/registry"
)

const patience = 30 * time.Second

// running is a stack file that this process serves.
type running struct {
	t       *testing.T
	file    string
	records chan map[string]any
	ended   chan error
	cancel  context.CancelFunc
}

func run(t *testing.T, file string) *running {
	t.Helper()
	return runWith(t, registry.Compiled(), file)
}

// runWith is run with these components.
func runWith(t *testing.T, reg *registry.Registry, file string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, file: file, records: make(chan map[string]any, 4096), ended: make(chan error, 1), cancel: cancel}
	read, write := io.Pipe()
	go func() {
		lines := bufio.NewScanner(read)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			record := map[string]any{}
			if err := json.Unmarshal(lines.Bytes(), &record); err == nil {
				r.records <- record
			}
		}
		close(r.records)
	}()
	p := &program{registry: reg, out: &output{Writer: io.Discard}, err: &output{Writer: write}}
	go func() {
		r.ended <- p.serve(ctx, file, slog.LevelInfo)
		write.Close()
	}()
	return r
}

// await returns the next record with that message.
func (r *running) await(msg string) map[string]any {
	r.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case record, ok := <-r.records:
			if !ok {
				r.t.Fatalf("the server ended before it logged %q: %v", msg, <-r.ended)
			}
			if record["msg"] == msg {
				return record
			}
		case <-timeout.C:
			r.t.Fatalf("%q was not logged within %s", msg, patience)
		}
	}
}

// save puts a stack file in place, as editors do.
func (r *running) save(content string) {
	r.t.Helper()
	if err := os.WriteFile(r.file+"~", []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.file+"~", r.file); err != nil {
		r.t.Fatal(err)
	}
}

// figures are what must not grow.
type figures struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) figures {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return figures{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// stackFor is the stack file of reload number n: each differs from the one before in another place, but not for what is
// below /live/.
func stackFor(n int, upstream string) string {
	servers := `  - {use: http, listen: "127.0.0.1:0"}` + "\n"
	if n%5 == 3 {
		servers += fmt.Sprintf("  - {use: http, listen: \"unix:run/%d.sock\"}\n", n%3)
	}
	if n%7 == 2 {
		servers = strings.Replace(servers, `:0"`, `:0", idle_timeout: 3m`, 1)
	}
	return fmt.Sprintf(`servers:
%[1]svars: {turn: %[2]d}
stack:
  - {use: errors, source_lines: %[3]d}
  - {use: session, lifetime: %[4]dh}
  - use: finder
    root: site
    cache: %[5]d
    factories: {.html: template}
urls:
  /a/: {session: {cookie: {name: a%[6]d}}}
  /b/: {finder: {use: respond, body: "%[2]d"}}
  /live/:
    errors: {source_lines: 1}
    session: off
    finder: {use: proxy, to: ["%[7]s"]}
    vars: {turn: none}
  /kept/:
    session: off
    finder: {use: proxy, to: ["%[7]s"], max_idle: %[3]d}
    on_reload: keep
`, servers, n, n%3+1, n%4+1, n%6+100, n%2, upstream)
}

// tally counts the records of a log by their messages.
type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	records map[string]map[string]any // the last one of each message
	bad     []map[string]any          // those that are more than information
	last    map[string]any
	grown   chan struct{}
}

// follow counts the records from now on.
func (r *running) follow() *tally {
	c := &tally{counts: make(map[string]int), records: make(map[string]map[string]any), grown: make(chan struct{})}
	go func() {
		for record := range r.records {
			msg, _ := record["msg"].(string)
			c.mu.Lock()
			c.counts[msg]++
			c.last, c.records[msg] = record, record
			if level := record["level"]; level == "WARN" || level == "ERROR" {
				c.bad = append(c.bad, record)
			}
			close(c.grown)
			c.grown = make(chan struct{})
			c.mu.Unlock()
		}
	}()
	return c
}

// await waits until there were n records with that message, and returns the last one.
func (c *tally) await(t *testing.T, msg string, n int) map[string]any {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		have, record, grown := c.counts[msg], c.records[msg], c.grown
		c.mu.Unlock()
		if have >= n {
			return record
		}
		select {
		case <-grown:
		case <-timeout.C:
			t.Fatalf("%q was logged %d times, want %d", msg, have, n)
		}
	}
}

// upstream answers WebSockets with what they say, and sends event streams what is told. It returns its URL.
func upstream(t *testing.T) (url string, tell func(string)) {
	t.Helper()
	var mu sync.Mutex
	listeners := make(map[chan string]bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.CloseNow() }()
			for {
				kind, data, err := c.Read(context.WithoutCancel(r.Context()))
				if err != nil || c.Write(context.WithoutCancel(r.Context()), kind, data) != nil {
					return
				}
			}
		}
		events := make(chan string, 16)
		mu.Lock()
		listeners[events] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			delete(listeners, events)
			mu.Unlock()
		}()
		w.Header().Set("Content-Type", "text/event-stream")
		event := "hello"
		for {
			fmt.Fprintf(w, "data: %s\n\n", event)
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case event = <-events:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func(event string) {
		mu.Lock()
		defer mu.Unlock()
		for events := range listeners {
			events <- event
		}
	}
}

// stream is a long request under way. Hears waits for what it is told by the other end.
type stream struct {
	name  string
	hears func(text string) error
}

// open begins a WebSocket or an event stream.
func open(ctx context.Context, t *testing.T, address, path string, socket bool) stream {
	t.Helper()
	if socket {
		c, _, err := websocket.Dial(ctx, "ws://"+address+path, nil) //nolint:bodyclose // it has none
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		return stream{"WebSocket " + path, func(text string) error {
			if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				return err
			}
			_, got, err := c.Read(ctx)
			if err == nil && string(got) != text {
				err = fmt.Errorf("got %q", got)
			}
			return err
		}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		response.Body.Close()
		transport.CloseIdleConnections()
	})
	lines := bufio.NewReader(response.Body)
	s := stream{"event stream " + path, func(text string) error {
		line, err := lines.ReadString('\n')
		if err == nil {
			_, err = lines.ReadString('\n')
		}
		if err == nil && line != "data: "+text+"\n" {
			err = fmt.Errorf("got %q", line)
		}
		return err
	}}
	if err := s.hears("hello"); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReloadUnderLoad reloads 1,000 times while two clients send requests on connections that they keep, and 100 WebSockets
// and event streams are open where nothing changes: listeners come and go, the server is replaced, files are broken. Not one
// request fails, no stream is cut, and afterwards nothing is left over.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 1000
	if testing.Short() {
		reloads = 50
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"site/index.html": `{{.Vars.turn}} {{.Session.Add "n" 1}}`, "site/a/index.html": `a {{.Vars.turn}}`, "site/plain.txt": "plain",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stack.yaml")
	up, tell := upstream(t)
	if err := os.WriteFile(file, []byte(stackFor(0, up)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")
	log := r.follow()
	client := control.New(filepath.Join(dir, ".stack.yaml.sock"))

	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var streams []stream
	for n := range 100 {
		streams = append(streams, open(ctx, t, address, fmt.Sprint("/live/", n), n%2 == 0))
	}
	for n := range 10 { // these are kept, by on_reload
		streams = append(streams, open(ctx, t, address, fmt.Sprint("/kept/", n), n%2 == 0))
	}
	cuts := 0
	listen := func(text string) {
		t.Helper()
		tell(text)
		for i, s := range streams {
			if s.hears == nil {
				continue
			}
			if err := s.hears(text); err != nil {
				cuts++
				t.Errorf("%s: %v", s.name, err)
				streams[i].hears = nil
			}
		}
	}

	var requests, failures atomic.Int64
	var pause sync.RWMutex
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			jar, err := cookiejar.New(nil) // or each request begins a session, and the heap grows by right
			if err != nil {
				t.Error(err)
				return
			}
			client := &http.Client{Transport: transport, Jar: jar, Timeout: patience}
			for {
				for _, path := range []string{"/", "/a/", "/b/x", "/plain.txt"} {
					select {
					case <-stop:
						return
					default:
					}
					pause.RLock()
					requests.Add(1)
					if err := ask(client, "http://"+address+path); err != nil {
						failures.Add(1)
						t.Errorf("%s: %v", path, err)
					}
					pause.RUnlock()
				}
			}
		})
	}

	served, refused := 0, 0
	turn := func(n int) {
		t.Helper()
		if n%10 == 9 { // a broken save stops nothing
			r.save("servers: [http]\nstack: [erors]\n")
			refused++
			if _, err := client.Reload(t.Context()); err == nil {
				t.Error("a broken file was loaded")
			}
		}
		r.save(stackFor(n, up))
		served++
		if n%100 == 50 { // the watcher finds it, too
			log.await(t, "generation serves", served)
			return
		}
		if _, err := client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// quiet measures while no client asks and nothing drains.
	quiet := func() figures {
		t.Helper()
		pause.Lock()
		defer pause.Unlock()
		log.await(t, "generation closed", served)
		return measure(t)
	}
	for n := 1; n <= 10; n++ {
		turn(n)
	}
	listen("begin")
	before := quiet()
	for n := 11; n <= reloads; n++ {
		turn(n)
		if n%50 == 0 {
			listen(fmt.Sprint("turn ", n))
		}
	}
	// Back to the stack of the first measurement, so that it is compared with the same.
	turn(10)
	listen("end")
	after := quiet()
	status, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Generations) != 1 || status.KeptRequests != 10 {
		t.Errorf("%d generations and %d kept requests are left; want 1 and 10", len(status.Generations), status.KeptRequests)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d reloads and %d that were refused, %d requests, %d failed, %d streams, %d cut; goroutines %d → %d, files %d → %d, heap %d → %d KiB",
		served, refused, requests.Load(), failures.Load(), len(streams), cuts,
		before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines+8 || after.files > before.files+8 {
		t.Errorf("%+v before, %+v after: something stays behind at each reload", before, after)
	}
	if after.heap > before.heap+before.heap/20+1<<20 {
		t.Errorf("the heap grew from %d to %d KiB", before.heap>>10, after.heap>>10)
	}
	hangUp()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("the server ended with %v after %v", err, log.last)
	}
	if c, err := net.DialTimeout("tcp", address, patience); err == nil {
		c.Close()
		t.Error("the address is still open after the end")
	}
}

func ask(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return err
}
