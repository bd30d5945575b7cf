package cmd

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/components/apps/respond"
	"github.com/stackd/stackd/components/middleware/errors"
	"github.com/stackd/stackd/components/middleware/pool"
	"github.com/stackd/stackd/components/reporters/log"
	serverhttp "github.com/stackd/stackd/components/servers/http"
	"github.com/stackd/stackd/registry"
)

// TestMain is the worker, too, that a supervisor of these tests starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		registry.Register(stuck(nil))
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// stuck is an app that heeds no context, but ends when it is released.
func stuck(release <-chan struct{}) registry.App[struct{}] {
	return registry.App[struct{}]{
		Name:   "stuck",
		Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
		Build: func(*registry.Env, struct{}) (http.Handler, error) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), nil
		},
	}
}

// withStuck has what the stacks of these tests are made of.
func withStuck(t *testing.T, release <-chan struct{}) *registry.Registry {
	t.Helper()
	reg, err := registry.New(serverhttp.Component, errors.Component, log.Component, pool.Component, respond.Component, stuck(release))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// TestZombiesReplaceWorker has a request hang for good in one of two processes: it is answered, and the process replaced.
func TestZombiesReplaceWorker(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte(`processes: 2
servers: [{use: http, listen: "127.0.0.1:0"}]
stack:
  - errors
  - {use: pool, max_zombies: 0}
  - {use: respond, body: page}
urls:
  /hangs: {pool: {hung_after: 1ms}, respond: {use: stuck}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runWith(t, withStuck(t, nil), file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")
	status := func() control.Status {
		t.Helper()
		s, err := control.New(filepath.Join(dir, ".stack.yaml.sock")).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := status()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	get := func(path string) int {
		t.Helper()
		response, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := get("/hangs"); got != http.StatusGatewayTimeout {
		t.Errorf("the request that hangs is answered with %d", got)
	}
	for limit := time.Now().Add(patience); ; {
		after, fresh, restarts := status(), 0, 0
		for _, w := range after.Workers {
			restarts += w.Restarts
			if w.State == control.WorkerServes && !slices.ContainsFunc(before.Workers, func(old control.Worker) bool { return old.PID == w.PID }) {
				fresh++
			}
		}
		if len(after.Workers) == 2 && fresh == 1 && restarts == 1 && after.Zombies == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the process was not replaced: %+v, and before %+v", after.Workers, before.Workers)
		}
	}
	for range 10 {
		if got := get("/page"); got != http.StatusOK {
			t.Errorf("afterwards a page is answered with %d", got)
		}
	}
	r.cancel()
	for range r.records {
		continue
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// TestHungRequests sends more requests to an app that hangs than its pool has workers: status tells who waits, and which are
// zombies, the catcher answers for these, and the log asks for a restart when they are too many.
func TestHungRequests(t *testing.T) {
	release := make(chan struct{})
	reg := withStuck(t, release)
	dir := t.TempDir()
	file := filepath.Join(dir, "stack.yaml")
	if err := os.WriteFile(file, []byte(`servers: [{use: http, listen: "127.0.0.1:0"}]
stack:
  - errors
  - {use: pool, workers: 1, queue: 10, queue_time: 1h, hung_after: 1h, max_zombies: 1}
  - stuck
urls:
  /hung/: {pool: {hung_after: 1ms}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := runWith(t, reg, file)
	address := r.await("listening")["bound"].(string)
	r.await("generation serves")
	status := func(enough func(control.Status) bool) []control.Request {
		t.Helper()
		client := control.New(filepath.Join(dir, ".stack.yaml.sock"))
		for {
			s, err := client.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !enough(s) {
				continue
			}
			for i := range s.Requests {
				s.Requests[i].Age = 0
			}
			slices.SortFunc(s.Requests, func(a, b control.Request) int { return cmp.Compare(a.Slot+a.Path, b.Slot+b.Path) })
			return s.Requests
		}
	}
	var asked sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
	defer client.CloseIdleConnections()
	get := func(path string, want int) {
		asked.Go(func() {
			request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+address+path, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := client.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
			if response.StatusCode != want {
				t.Errorf("%s was answered with %s, want %d", path, response.Status, want)
			}
		})
	}
	request := func(path, slot string, state control.State) control.Request {
		return control.Request{Generation: 1, Method: "GET", Host: address, Path: path, Slot: slot, State: state}
	}

	get("/one", http.StatusOK)
	status(func(s control.Status) bool { return len(s.Requests) == 1 && s.Requests[0].Slot == "stuck" })
	get("/two", http.StatusOK)
	got := status(func(s control.Status) bool {
		return len(s.Requests) == 2 && slices.ContainsFunc(s.Requests, func(r control.Request) bool { return r.State != "" })
	})
	if want := []control.Request{request("/two", "pool", control.Waits), request("/one", "stuck", "")}; !slices.Equal(got, want) {
		t.Errorf("the status has %+v, want %+v", got, want)
	}

	get("/hung/one", http.StatusGatewayTimeout)
	if record := r.await("a hung request goes on running"); record["zombies"] != 1.0 {
		t.Errorf("the first zombie is logged as %v", record)
	}
	get("/hung/two", http.StatusGatewayTimeout)
	if record := r.await("the process must be restarted; nothing else helps, and nobody is there who does it"); record["reason"] != "2 hung requests of a pool go on running, and max_zombies is 1" {
		t.Errorf("the log asks for a restart with %v", record)
	}
	got = status(func(s control.Status) bool { return s.Zombies == 2 && len(s.Requests) == 4 })
	if want := []control.Request{
		request("/two", "pool", control.Waits), request("/hung/one", "stuck", control.Zombie), request("/hung/two", "stuck", control.Zombie), request("/one", "stuck", ""),
	}; !slices.Equal(got, want) {
		t.Errorf("the status has %+v, want %+v", got, want)
	}

	close(release)
	asked.Wait()
	if got := status(func(s control.Status) bool { return s.Zombies == 0 }); len(got) > 0 {
		t.Errorf("at the end the status has %+v", got)
	}
	r.cancel()
	for range r.records {
		continue
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}
