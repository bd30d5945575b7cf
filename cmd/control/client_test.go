package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestClient(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	status, kind, body := http.StatusOK, "application/json", ""
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.String()
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	c := New(socket)
	of := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		name   string
		call   func(context.Context) error
		status int
		kind   string
		body   any
		want   string
		err    string
	}{
		{"status", func(ctx context.Context) error { return of(c.Status(ctx)) }, 200, "application/json", Status{PID: 7}, "GET /v1/status", ""},
		{"reload", func(ctx context.Context) error { return of(c.Reload(ctx)) }, 200, "application/json", Reload{}, "POST /v1/reload", ""},
		{"rollback", func(ctx context.Context) error { return of(c.Rollback(ctx, 0)) }, 200, "application/json", Reload{}, "POST /v1/rollback", ""},
		{"rollback to", func(ctx context.Context) error { return of(c.Rollback(ctx, 4)) }, 200, "application/json", Reload{}, "POST /v1/rollback?to=4", ""},
		{"stop", func(ctx context.Context) error { return of(c.Stop(ctx)) }, 200, "application/json", Stopped{}, "POST /v1/stop", ""},
		{"refused", func(ctx context.Context) error { return of(c.Reload(ctx)) }, 409, "application/json", Refusal{Text: "no", Problems: []Problem{{Line: 3}}}, "POST /v1/reload", "no"},
		{"another server", func(ctx context.Context) error { return of(c.Status(ctx)) }, 404, "text/plain", nil, "GET /v1/status", "404 Not Found: null"},
		{"another answer", func(ctx context.Context) error { return of(c.Status(ctx)) }, 200, "text/html", "<p>", "GET /v1/status", "does not speak as stackd does"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := json.Marshal(tt.body)
			if err != nil {
				t.Fatal(err)
			}
			status, kind, body = tt.status, tt.kind, string(text)
			err = tt.call(t.Context())
			if got := <-asked; got != tt.want {
				t.Errorf("it asked for %s, want %s", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("the error is %v, want %q", err, tt.err)
			}
			if refusal, ok := errors.AsType[*Refusal](err); ok && (len(refusal.Problems) != 1 || refusal.Problems[0].Line != 3) {
				t.Errorf("the refusal is %+v", refusal)
			}
		})
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket + "3"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, socket, want string }{
		{"nobody", socket + "2", "there is none, so no stackd that would listen there runs: no such file or directory"},
		{"killed", socket + "3", "nobody listens there; a stackd that was killed has left it: connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := fmt.Sprintf("control socket %q: %s", tt.socket, tt.want)
			if _, err := New(tt.socket).Status(t.Context()); err == nil || err.Error() != want {
				t.Errorf("the error is\n%v, want\n%s", err, want)
			}
		})
	}
	t.Run("dies", func(t *testing.T) {
		dying, err := net.Listen("unix", socket+"5")
		if err != nil {
			t.Fatal(err)
		}
		defer dying.Close()
		go func() {
			if c, err := dying.Accept(); err == nil {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				c.Close()
			}
		}()
		want := fmt.Sprintf("control socket %q: the process that listened there ended before it answered: ", socket+"5")
		if _, err := New(socket + "5").Upgrade(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the error is\n%v, want\n%s", err, want)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		hanging, err := net.Listen("unix", socket+"4")
		if err != nil {
			t.Fatal(err)
		}
		defer hanging.Close()
		c := New(socket + "4")
		c.silence = time.Millisecond
		want := fmt.Sprintf("control socket %q: no answer in 1ms; the process that listens there hangs, or is stopped", socket+"4")
		if _, err := c.Status(t.Context()); err == nil || err.Error() != want {
			t.Errorf("the error is\n%v, want\n%s", err, want)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		if _, err := c.Status(ctx); err == nil || err.Error() != "enough" {
			t.Errorf("the error is %v", err)
		}
	})
}
