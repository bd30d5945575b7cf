package maintenance

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "open", Settings: func(t *testing.T) Config {
			return Config{Flag: registry.Path(filepath.Join(t.TempDir(), "closed"))}
		}},
		registrytest.Case[Config]{Name: "let in", Settings: func(t *testing.T) Config {
			cfg := Component.Default
			cfg.Page = write(t, "page.html", "closed")
			cfg.Allow = []registry.Network{"127.0.0.0/8", "::1", "192.0.2.1"} // the last is of requests without a network
			return cfg
		}},
	)
}

// write makes a file.
func write(t *testing.T, name, content string) registry.Path {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return registry.Path(path)
}

// open builds the middleware as a stack does.
func open(t *testing.T, cfg Config) (*registry.Instance, error) {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { i.Close() })
	}
	return i, err
}

// ask sends one request to the middleware, and says what came back and whether the app ran.
func ask(t *testing.T, cfg Config, method, remote string) (w *httptest.ResponseRecorder, ran bool) {
	t.Helper()
	i, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/", nil)
	r.RemoteAddr = remote
	w = httptest.NewRecorder()
	i.Product.(registry.Wrap)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })).ServeHTTP(w, r)
	return w, ran
}

func TestAnswer(t *testing.T) {
	const text = "503 Service Unavailable: closed for maintenance; please come again in a while\n"
	header := func(more ...string) http.Header {
		h := http.Header{"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = []string{more[i+1]}
		}
		return h
	}
	page := write(t, "page.html", "<p>Closed.")
	for _, test := range []struct {
		name   string
		cfg    Config
		method string
		header http.Header
		body   string
	}{
		{"text", Config{}, "GET", header("Content-Type", "text/plain; charset=utf-8", "Content-Length", "78"), text},
		{"page", Config{Page: page}, "POST", header("Content-Type", "text/html; charset=utf-8", "Content-Length", "10"), "<p>Closed."},
		{"HEAD", Config{Page: page}, "HEAD", header("Content-Type", "text/html; charset=utf-8", "Content-Length", "10"), ""},
		{"when to come again", Config{Page: page, RetryAfter: 90 * time.Second}, "GET", header("Content-Type", "text/html; charset=utf-8", "Content-Length", "10", "Retry-After", "90"), "<p>Closed."},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, ran := ask(t, test.cfg, test.method, "192.0.2.1:1")
			if w.Code != http.StatusServiceUnavailable || ran {
				t.Errorf("got the status %d, and the app ran: %t; want 503 alone", w.Code, ran)
			}
			if diff := cmp.Diff(test.header, w.Header()); diff != "" {
				t.Errorf("the header (-want +got):\n%s", diff)
			}
			if got := w.Body.String(); got != test.body {
				t.Errorf("the body is %q, want %q", got, test.body)
			}
		})
	}
}

func TestAllow(t *testing.T) {
	for remote, want := range map[string]bool{
		"127.0.0.1:1":              true,
		"127.0.0.2:1":              false,
		"[::ffff:127.0.0.1]:1":     true,
		"10.200.0.1:1":             true,
		"11.0.0.1:1":               false,
		"[2001:db8::5]:1":          true,
		"[2001:db9::5]:1":          false,
		"[2001:db8::5%eth0]:1":     true,
		"@":                        false,
		"":                         false,
		"localhost:1":              false,
		"127.0.0.1:1, 127.0.0.1:1": false,
	} {
		t.Run(remote, func(t *testing.T) {
			if _, ran := ask(t, Config{Allow: []registry.Network{"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"}}, "GET", remote); ran != want {
				t.Errorf("let in: %t, want %t", ran, want)
			}
		})
	}
}

func TestFlag(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "closed")
	cfg := Config{Flag: registry.Path(flag)}
	i, err := open(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// It is built anew when the file comes or goes.
	if diff := cmp.Diff([]string{flag}, i.Depends()); diff != "" {
		t.Errorf("what it depends on (-want +got):\n%s", diff)
	}
	if _, ran := ask(t, cfg, "GET", "192.0.2.1:1"); !ran {
		t.Error("without the file it is closed")
	}
	if err := os.Symlink("nowhere", flag); err != nil {
		t.Fatal(err)
	}
	if _, ran := ask(t, cfg, "GET", "192.0.2.1:1"); ran {
		t.Error("with the file it is open")
	}
	cfg.Flag += "/below" // a file isn't a folder
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, cfg); err == nil {
		t.Error("with a flag that can't be looked for it is open")
	}
}

func TestPage(t *testing.T) {
	page := write(t, "page.html", "closed")
	i, err := open(t, Config{Page: page})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(page)}, i.Depends()); diff != "" {
		t.Errorf("what it depends on (-want +got):\n%s", diff)
	}
	if _, err := open(t, Config{Page: page + ".gone"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the page: got %v", err)
	}
}
