package trace

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// spans returns n of them.
func spans(n int) []sdk.ReadOnlySpan { return make(tracetest.SpanStubs, n).Snapshots() }

// piped makes an exporter whose connections end in a server within this test, whose time is
// that of a bubble.
func piped(t *testing.T, collect http.Handler, log io.Writer) *exporter {
	t.Helper()
	e, err := newExporter(t.Context(), Component.Default, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l := &pipes{made: make(chan net.Conn), closed: make(chan struct{})}
	e.client.Transport.(*http.Transport).DialContext = l.dial
	s := &http.Server{Handler: collect}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return e
}

// pipes is a network of its own.
type pipes struct {
	made   chan net.Conn
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.made <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.made:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		to := new(collector)
		asked := 0
		e := piped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked <= 3 {
				http.Error(w, "not yet", http.StatusServiceUnavailable)
				return
			}
			to.ServeHTTP(w, r)
		}), &log)
		if err := e.ExportSpans(t.Context(), spans(2)); err != nil || log.Len() > 0 || len(to.taken()) != 2 {
			t.Errorf("the collector has %d spans, with %v; the log says %q", len(to.taken()), err, log.String())
		}
	})
}

// A collector that takes nothing is complained of once a minute, and at the end.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := piped(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "who are you? "+strings.Repeat("x", 10_000), http.StatusUnauthorized)
		}), &log)
		provider, err := newProvider(t.Context(), e, Component.Default)
		if err != nil {
			t.Fatal(err)
		}
		said := func(times int, want ...string) {
			t.Helper()
			text := log.String()
			if len(text) > 2000 {
				t.Errorf("the log has %d bytes", len(text))
			}
			if got := strings.Count(text, "spans are lost"); got != times {
				t.Errorf("the log complains %d times, want %d", got, times)
			}
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("the log has no %q:\n%s", w, text)
				}
			}
			log.Reset()
		}
		send := func(n int) {
			t.Helper()
			if err := e.ExportSpans(t.Context(), spans(n)); err != nil {
				t.Error(err)
			}
		}
		send(1)
		said(1, "spans=1 ", "who are you?")
		send(2)
		<-time.After(quiet - time.Second)
		send(3)
		said(0)
		<-time.After(time.Second)
		send(4)
		said(1, "spans=9 ")
		send(5)
		if err := e.finish(provider); err != nil {
			t.Error(err)
		}
		said(1, "spans=5 ")
	})
}

// A collector that hangs holds up no request, and the end for no longer than the farewell.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hang := make(chan struct{})
		defer close(hang)
		e := piped(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }), &log)
		cfg := Component.Default
		provider, err := newProvider(t.Context(), e, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h := &handler{&tracer{Tracer: provider.Tracer("test")}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		begin := time.Now()
		for range 3 * cfg.Queue {
			h.ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the requests waited for %v", took)
		}
		if err := e.finish(provider); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != farewell {
			t.Errorf("the end took %v, want %v", took, farewell)
		}
		if !strings.Contains(log.String(), "spans are lost") {
			t.Errorf("the log says %q", log.String())
		}
	})
}
