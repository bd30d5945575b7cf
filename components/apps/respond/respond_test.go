package respond

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{Name: "defaults"}, registrytest.Case[Config]{
		Name: "with a body",
		Settings: func(*testing.T) Config {
			cfg := Component.Default
			cfg.Status, cfg.Body, cfg.Headers = 404, "nothing\n", map[string]string{"Cache-Control": "no-store"}
			return cfg
		},
	})
}

// open builds the component as a loader does.
func open(t testing.TB, cfg Config) http.Handler {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)
}

func TestResponse(t *testing.T) {
	standard := Component.Default
	tests := []struct {
		name   string
		method string
		cfg    func(c *Config)
		status int
		header map[string]string // "" for one that must not be there
		body   string
	}{
		{
			name:   "without a body the status speaks for itself",
			status: 200,
			header: map[string]string{"Content-Length": "3", "Content-Type": "text/plain; charset=utf-8"},
			body:   "OK\n",
		},
		{
			name:   "a status without words is its number",
			cfg:    func(c *Config) { c.Status = 299 },
			status: 299,
			body:   "299\n",
		},
		{
			name:   "a body has a type and a length",
			cfg:    func(c *Config) { c.Body = "fine\n" },
			status: 200,
			header: map[string]string{"Content-Length": "5", "Content-Type": "text/plain; charset=utf-8"},
			body:   "fine\n",
		},
		{
			name:   "HEAD is GET without the body",
			method: "HEAD",
			cfg:    func(c *Config) { c.Body = "fine\n" },
			status: 200,
			header: map[string]string{"Content-Length": "5", "Content-Type": "text/plain; charset=utf-8"},
		},
		{
			name:   "the method doesn't matter",
			method: "POST",
			cfg:    func(c *Config) { c.Body, c.Status = "no", 403 },
			status: 403,
			header: map[string]string{"Content-Length": "2"},
			body:   "no",
		},
		{
			name: "further header fields, in any letters",
			cfg: func(c *Config) {
				c.Status, c.Body, c.Type = 503, "<p>soon", "text/html; charset=utf-8"
				c.Headers = map[string]string{"retry-after": "60", "X-Why": "maintenance"}
			},
			status: 503,
			header: map[string]string{"Retry-After": "60", "X-Why": "maintenance", "Content-Type": "text/html; charset=utf-8"},
			body:   "<p>soon",
		},
		{
			name:   "a redirect",
			cfg:    func(c *Config) { c.Status, c.Headers = 301, map[string]string{"Location": "/new/"} },
			status: 301,
			header: map[string]string{"Location": "/new/"},
			body:   "Moved Permanently\n",
		},
		{
			name:   "204 has no Content-Length",
			cfg:    func(c *Config) { c.Status = 204 },
			status: 204,
			header: map[string]string{"Content-Length": "", "Content-Type": ""},
		},
		{
			name:   "304 has none either",
			cfg:    func(c *Config) { c.Status = 304 },
			status: 304,
			header: map[string]string{"Content-Length": "", "Content-Type": ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := standard
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			server := httptest.NewServer(open(t, cfg))
			defer server.Close()
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+"/any/where", strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || string(body) != tt.body {
				t.Errorf("answer is %d %q; want %d %q", res.StatusCode, body, tt.status, tt.body)
			}
			for name, want := range tt.header {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s is %q; want %q", name, got, want)
				}
			}
		})
	}
}

func TestSettings(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup(registry.KindApp, "respond")
	tests := []struct {
		name string
		cfg  func(c *Config)
		want []string
	}{
		{"defaults", func(*Config) {}, nil},
		{"a status of informational responses", func(c *Config) { c.Status = 103 }, []string{"status is 103; it must be at least 200"}},
		{"a body where there can't be one", func(c *Config) { c.Status, c.Body = 204, "x" }, []string{"body is not empty; it must be with status 204"}},
		{"a type that would end the field", func(c *Config) { c.Type = "text/plain\r\nX: y" }, []string{"type has a control character; it must be a MIME type"}},
		{
			"header fields that can't be sent",
			func(c *Config) {
				c.Headers = map[string]string{"a b": "", "content-length": "7", "X-A": "1", "X-B": "1\n", "x-a": "2"}
			},
			[]string{
				"headers[X-B] has a control character; it must be one line of text",
				`headers[a b] has the name "a b"; it must be letters, digits and hyphens`,
				"headers[content-length] is set; it must be left to stackd",
				"headers[x-a] is there twice, in other letters; it must be there once",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Component.Default
			tt.cfg(&cfg)
			var got []string
			for _, found := range d.Check(&cfg) {
				got = append(got, found.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestShared proves that a response's header is its own, whatever others add to theirs.
func TestShared(t *testing.T) {
	cfg := Component.Default
	cfg.Headers = map[string]string{"Vary": "Accept"}
	h := open(t, cfg)
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Result().Header["Vary"]; len(got) != 1 {
			t.Fatalf("Vary is %q; want one value", got)
		}
		w.Header().Add("Vary", "Cookie")
	}
}

func BenchmarkRespond(b *testing.B) {
	cfg := Component.Default
	cfg.Body = "fine\n"
	h := open(b, cfg)
	w := discard{http.Header{}}
	r := httptest.NewRequest("GET", "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(p []byte) (int, error) { return len(p), nil }

// TestBeside proves that what middleware has set stays where both can stand: without Vary: Origin a cache would give the
// answer for one origin to all.
func TestBeside(t *testing.T) {
	h := open(t, Config{Status: 200, Type: "text/plain", Headers: map[string]string{"Vary": "Accept", "Set-Cookie": "b=2", "X-Other": "2"}})
	for range 2 {
		w := httptest.NewRecorder()
		for name, value := range map[string]string{"Vary": "Origin", "Set-Cookie": "a=1", "X-Other": "1"} {
			w.Header().Set(name, value)
		}
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		for name, want := range map[string][]string{"Vary": {"Origin", "Accept"}, "Set-Cookie": {"a=1", "b=2"}, "X-Other": {"2"}} {
			if got := w.Header()[name]; !slices.Equal(got, want) {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}
