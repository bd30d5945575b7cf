package health

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{Name: "live"}, registrytest.Case[Config]{
		Name: "ready",
		Settings: func(t *testing.T) Config {
			cfg := Component.Default
			address, _ := listen(t, "tcp", "127.0.0.1:0")
			cfg.Needs, cfg.Unless = []registry.Address{address}, registry.Path(filepath.Join(t.TempDir(), "maintenance"))
			return cfg
		},
	})
}

// listen takes connections, and closes them, until it is told to stop.
func listen(t *testing.T, network, address string) (registry.Address, func()) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	stop := sync.OnceFunc(func() {
		l.Close()
		wg.Wait()
	})
	t.Cleanup(stop)
	if network == "unix" {
		return registry.Address("unix:" + address), stop
	}
	return registry.Address(l.Addr().String()), stop
}

// ask returns the status and the body.
func ask(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q; want no-store", got)
	}
	return w.Code, w.Body.String()
}

func want(t *testing.T, h http.Handler, status int, texts ...string) {
	t.Helper()
	got, body := ask(t, h)
	for _, text := range texts {
		if got != status || !strings.Contains(body, text) {
			t.Errorf("the answer is %d %q; want %d with %q", got, body, status, text)
		}
	}
}

func TestLive(t *testing.T) {
	want(t, registrytest.Build(t, Component, Component.Default, nil), 200, "up\n")
}

func TestNeeds(t *testing.T) {
	cfg := Component.Default
	cfg.Every = 0
	one, stopOne := listen(t, "tcp", "127.0.0.1:0")
	two, stopTwo := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
	cfg.Needs = []registry.Address{one, two}
	var log bytes.Buffer
	quiet := registrytest.Build(t, Component, cfg, &log)
	cfg.Details = true
	telling := registrytest.Build(t, Component, cfg, nil)
	want(t, quiet, 200, "up\n")
	stopTwo()
	want(t, quiet, 503, "down\n")
	want(t, telling, 503, "down: "+string(two)+": ")
	stopOne()
	want(t, telling, 503, string(one)+": ", string(two)+": ")
	if _, body := ask(t, quiet); body != "down\n" {
		t.Errorf("without details the answer is %q", body)
	}
	if got := log.String(); strings.Count(got, "this server is down") != 1 || !strings.Contains(got, string(two)) {
		t.Errorf("the log says %s; want what isn't well, once", got)
	}
}

func TestUnless(t *testing.T) {
	cfg := Component.Default
	file := filepath.Join(t.TempDir(), "maintenance")
	cfg.Unless, cfg.Details = registry.Path(file), true
	var log bytes.Buffer
	h := registrytest.Build(t, Component, cfg, &log)
	want(t, h, 200, "up\n")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, h, 503, "down: the file "+file+" exists\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(t, h, 200, "up\n")
	if got := log.String(); !strings.Contains(got, "this server is up again") {
		t.Errorf("the log says %s", got)
	}
}

// TestEvery proves for how long an answer holds.
func TestEvery(t *testing.T) {
	address, stop := listen(t, "tcp", "127.0.0.1:0")
	cfg := Component.Default
	cfg.Needs, cfg.Every = []registry.Address{address}, time.Hour
	h := registrytest.Build(t, Component, cfg, nil)
	want(t, h, 200, "up\n")
	stop()
	want(t, h, 200, "up\n")
	h.(*health).at = time.Now().Add(-time.Hour)
	want(t, h, 503, "down\n")
}

// TestWaits proves that those who wait for another's answer leave with their clients.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &health{cfg: Config{Unless: "/"}, turn: make(chan struct{}, 1)}
		h.turn <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		defer func() {
			if p := recover(); p != any(http.ErrAbortHandler) {
				t.Errorf("it panicked with %v; want http.ErrAbortHandler", p)
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		t.Error("it answered")
	})
}

func TestTraits(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want registry.Calls
	}{
		{"live", Config{}, registry.NonBlocking},
		{"needs", Config{Needs: []registry.Address{":1"}}, registry.Blocking},
		{"unless", Config{Unless: "/x"}, registry.Blocking},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cfg.Traits(Component.Traits).Calls; got != tt.want {
				t.Errorf("it is %v; want %v", got, tt.want)
			}
		})
	}
}

func TestHead(t *testing.T) {
	s := httptest.NewServer(registrytest.Build(t, Component, Component.Default, nil))
	defer s.Close()
	resp, err := http.Head(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if diff := cmp.Diff([]any{200, int64(3), ""}, []any{resp.StatusCode, resp.ContentLength, string(body)}); diff != "" || err != nil {
		t.Errorf("HEAD (-want +got), %v:\n%s", err, diff)
	}
}
