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
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	p := &program{registry: reg, out: &output{Writer: io.Discard}, err: &output{Writer: io.Discard}}
	go func() {
		r.ended <- p.serve(ctx, file, slog.New(slog.NewJSONHandler(write, nil)), slog.LevelInfo)
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

// stackFor is the stack file of reload number n: each differs from the one before in
// another place.
func stackFor(n int) string {
	servers := `  - {use: http, listen: "127.0.0.1:0"}` + "\n"
	if n%5 == 3 {
		servers += fmt.Sprintf("  - {use: http, listen: \"unix:run/%d.sock\"}\n", n%3)
	}
	if n%7 == 2 {
		servers = strings.Replace(servers, `:0"`, `:0", idle_timeout: 3m`, 1)
	}
	return fmt.Sprintf(`servers:
%svars: {turn: %d}
stack:
  - {use: errors, source_lines: %d}
  - {use: session, lifetime: %dh}
  - use: finder
    root: site
    cache: %d
    factories: {.html: template}
urls:
  /a/: {session: {cookie: {name: a%d}}}
  /b/: {finder: {use: respond, body: "%d"}}
`, servers, n, n%3+1, n%4+1, n%6+100, n%2, n)
}

// TestReloadUnderLoad reloads 200 times while clients send requests on connections that they
// keep. Not one fails, and afterwards nothing is left over.
func TestReloadUnderLoad(t *testing.T) {
	reloads := 200
	if testing.Short() {
		reloads = 20
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
	if err := os.WriteFile(file, []byte(stackFor(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")

	var requests, failures atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for _, path := range []string{"/", "/a/", "/b/x", "/plain.txt"} {
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
				select {
				case <-stop:
					return
				default:
				}
				requests.Add(1)
				if err := ask(client, "http://"+address+path); err != nil {
					failures.Add(1)
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}

	turn := func(n int) {
		if n%10 == 9 { // a broken save stops nothing
			r.save("servers: [http]\nstack: [erors]\n")
			r.await("reload refused, the old generation serves on")
		}
		r.save(stackFor(n))
		r.await("generation serves")
		r.await("generation closed")
	}
	for n := 1; n <= 10; n++ {
		turn(n)
	}
	before := measure(t)
	for n := 11; n <= reloads; n++ {
		turn(n)
	}
	// Back to the stack of the first measurement, so that it is compared with the same.
	turn(10)
	after := measure(t)
	close(stop)
	clients.Wait()
	t.Logf("%d reloads, %d requests, %d failed; goroutines %d → %d, files %d → %d, heap %d → %d KiB",
		reloads, requests.Load(), failures.Load(), before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines+8 || after.files > before.files+8 {
		t.Errorf("%+v before, %+v after: something stays behind at each reload", before, after)
	}
	if after.heap > before.heap+before.heap/2+4<<20 {
		t.Errorf("the heap grew from %d to %d KiB", before.heap>>10, after.heap>>10)
	}
	r.cancel()
	var last map[string]any
	for record := range r.records { // so that the server can log while it ends
		last = record
	}
	if err := <-r.ended; err != nil {
		t.Errorf("the server ended with %v after %v", err, last)
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
