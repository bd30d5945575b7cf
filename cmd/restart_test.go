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

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/components/middleware/errors"
	"github.com/stackd/stackd/components/middleware/pool"
	"github.com/stackd/stackd/components/reporters/log"
	serverhttp "github.com/stackd/stackd/components/servers/http"
	"github.com/stackd/stackd/registry"
)

// TestHungRequests sends more requests to an app that hangs than its pool has workers: status tells who waits, and which are
// zombies, the catcher answers for these, and the log asks for a restart when they are too many.
func TestHungRequests(t *testing.T) {
	release := make(chan struct{})
	reg, err := registry.New(serverhttp.Component, errors.Component, log.Component, pool.Component, registry.App[struct{}]{
		Name:   "stuck",
		Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
		Build: func(*registry.Env, struct{}) (http.Handler, error) {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
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
