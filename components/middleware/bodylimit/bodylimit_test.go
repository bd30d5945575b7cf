package bodylimit

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, limit registry.Size, app http.HandlerFunc) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &Config{MaxSize: limit}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i.Product.(registry.Wrap)(app)
}

func TestLimit(t *testing.T) {
	const limit = 1000
	for _, test := range []struct {
		name     string
		size     int
		announce bool
		status   int
		runs     bool // the app runs
		read     int  // as many bytes
	}{
		{"no body", 0, true, 200, true, 0},
		{"as long as may be", limit, true, 200, true, limit},
		{"too long", limit + 1, true, 413, false, 0},
		{"far too long", 1000 * limit, true, 413, false, 0},
		{"chunked", limit, false, 200, true, limit},
		{"chunked and too long", limit + 1, false, 400, true, limit},
		{"chunked and far too long", 1000 * limit, false, 400, true, limit},
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(test.name+"/"+version, func(t *testing.T) {
				ran, read := false, 0
				var failed error
				s := httptest.NewUnstartedServer(wrap(t, limit, func(w http.ResponseWriter, r *http.Request) {
					ran = true
					body, err := io.ReadAll(r.Body)
					read, failed = len(body), err
					if err != nil {
						w.WriteHeader(http.StatusBadRequest)
					}
				}))
				s.EnableHTTP2 = version == "HTTP/2.0"
				s.StartTLS()
				defer s.Close()
				var body io.Reader = strings.NewReader(strings.Repeat("a", test.size))
				if !test.announce {
					body = io.MultiReader(body)
				}
				resp, err := s.Client().Post(s.URL, "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				s.Close() // and wait for the app
				if resp.Proto != version || resp.StatusCode != test.status {
					t.Errorf("got %s %s, want %s with %d", resp.Proto, resp.Status, version, test.status)
				}
				if ran != test.runs || read != test.read {
					t.Errorf("the app ran: %t, and read %d bytes; want %t and %d", ran, read, test.runs, test.read)
				}
				if test.status == http.StatusRequestEntityTooLarge && !strings.Contains(string(text), "at most 1000 bytes") {
					t.Errorf("the answer is %q", text)
				}
				if tooLong, ok := errors.AsType[*http.MaxBytesError](failed); ok != (test.status == 400) || ok && tooLong.Limit != limit {
					t.Errorf("the app got the error %v", failed)
				}
			})
		}
	}
}

// TestRequestKept looks whether the request that a middleware further out holds is changed.
func TestRequestKept(t *testing.T) {
	body := io.NopCloser(strings.NewReader("body"))
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = -1
	wrap(t, 1, func(_ http.ResponseWriter, inner *http.Request) {
		if inner == r || inner.Body == body {
			t.Error("the body isn't limited")
		}
	}).ServeHTTP(httptest.NewRecorder(), r)
	if r.Body != body {
		t.Error("the request given was changed")
	}
}
