package trace

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "collector", Settings: func(t *testing.T) Config {
			return config(newCollector(t), func(c *Config) { c.Trust = true })
		}},
		registrytest.Case[Config]{Name: "no collector", Settings: func(*testing.T) Config {
			s := httptest.NewServer(http.NotFoundHandler())
			s.Close()
			return config(&collector{url: s.URL}, func(c *Config) { c.Queue = 1 })
		}},
	)
}

// config returns the default settings with that collector, changed by f.
func config(to *collector, f func(c *Config)) Config {
	c := Component.Default
	c.Endpoint = to.url
	if f != nil {
		f(&c)
	}
	return c
}

// collector takes spans as OTLP over HTTP has them.
type collector struct {
	url string

	mu        sync.Mutex
	header    http.Header
	paths     []string
	resources []string
	spans     []*otlp.Span
}

func newCollector(t testing.TB) *collector {
	c := new(collector)
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent coltrace.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, fmt.Sprint("this isn't OTLP: ", err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	c.paths = append(c.paths, r.Method+" "+r.URL.Path)
	for _, of := range sent.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			c.resources = append(c.resources, a.GetKey()+"="+a.GetValue().GetStringValue())
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
}

// taken returns the spans that were sent.
func (c *collector) taken() []*otlp.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// open builds the middleware as a stack does. End closes it, so that what waits is sent.
func open(t testing.TB, cfg Config, log io.Writer) (wrap registry.Wrap, end func()) {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return i.Product.(registry.Wrap), end
}

// request makes a request on a route with these patterns.
func request(method, target string, patterns ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	var base environ.Base
	environ.Matched.Preset(&base, &environ.Route{Patterns: patterns})
	return base.Open(r)
}

// serve lets a handler do what it likes, panics included.
func serve(h http.Handler, r *http.Request) {
	defer func() { _ = recover() }()
	h.ServeHTTP(httptest.NewRecorder(), r)
}

// values returns attributes as text.
func values(attributes []*common.KeyValue) map[string]string {
	all := make(map[string]string)
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.GetKey()] = fmt.Sprint(v.IntValue)
		}
	}
	return all
}

func TestSpans(t *testing.T) {
	ok := func(http.ResponseWriter, *http.Request) {}
	bare := func(more ...string) map[string]string {
		m := map[string]string{
			"http.request.method": "GET", "http.response.status_code": "200", "url.scheme": "http", "url.path": "/shop/7",
			"server.address": "example.org", "client.address": "192.0.2.1", "network.protocol.version": "1.1",
		}
		for i := 0; i < len(more); i += 2 {
			if m[more[i]] = more[i+1]; more[i+1] == "" {
				delete(m, more[i])
			}
		}
		return m
	}
	for _, test := range []struct {
		name   string
		r      *http.Request
		change func(r *http.Request)
		app    http.HandlerFunc
		span   string
		want   map[string]string
		status otlp.Status_StatusCode
		event  map[string]string
	}{
		{name: "no pattern", app: ok, span: "GET", want: bare()},
		{
			name: "patterns", r: request("POST", "http://example.org:8080/shop/7?token=secret", "/", "POST example.org/shop/{id}"), app: ok,
			span: "POST /shop/{id}", want: bare("http.request.method", "POST", "http.route", "/shop/{id}", "server.port", "8080"),
		},
		{
			name: "TLS, HTTP/2 and a browser", app: ok, span: "GET",
			change: func(r *http.Request) {
				r.TLS, r.Proto = new(tls.ConnectionState), "HTTP/2.0"
				r.Header.Set("User-Agent", "browser/1")
			},
			want: bare("url.scheme", "https", "network.protocol.version", "2", "user_agent.original", "browser/1"),
		},
		{
			name: "a method that somebody made up", r: request("BREW", "http://example.org/shop/7"), app: ok,
			span: "HTTP", want: bare("http.request.method", "_OTHER", "http.request.method_original", "BREW"),
		},
		{
			name: "not UTF-8, and long", app: ok, span: "GET",
			change: func(r *http.Request) { r.URL.Path = "/\xff" + strings.Repeat("a", 2000) },
			want:   bare("url.path", "/\uFFFD"+strings.Repeat("a", longest-2)),
		},
		{
			name: "client error", app: http.NotFound, span: "GET", want: bare("http.response.status_code", "404"),
		},
		{
			name: "server error", app: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			span: "GET", want: bare("http.response.status_code", "502", "error.type", "502"), status: otlp.Status_STATUS_CODE_ERROR,
		},
		{
			name: "cut before the header", app: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			span: "GET", want: bare("http.response.status_code", "", "error.type", "cut"), status: otlp.Status_STATUS_CODE_ERROR,
		},
		{
			name: "caught", span: "GET",
			app: func(w http.ResponseWriter, r *http.Request) {
				err := fmt.Errorf("no such table: %w", errors.New("shop"))
				failure.Caught.Set(r, &failure.Incident{ID: "i1", Failure: failure.Failure{Err: err}})
				w.WriteHeader(http.StatusInternalServerError)
			},
			want: bare("http.response.status_code", "500", "error.type", "500"), status: otlp.Status_STATUS_CODE_ERROR,
			event: map[string]string{"exception.type": "*fmt.wrapError", "exception.message": "no such table: shop", "stackd.incident": "i1"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := newCollector(t)
			wrap, end := open(t, config(to, nil), io.Discard)
			r := test.r
			if r == nil {
				r = request("GET", "http://example.org/shop/7?token=secret")
			}
			if test.change != nil {
				test.change(r)
			}
			serve(wrap(test.app), r)
			end()
			spans := to.taken()
			if len(spans) != 1 {
				t.Fatalf("the collector has %d spans", len(spans))
			}
			span := spans[0]
			if span.GetName() != test.span || span.GetKind() != otlp.Span_SPAN_KIND_SERVER || span.GetStatus().GetCode() != test.status {
				t.Errorf("the span is %q, %v with %v; want %q, a server's with %v", span.GetName(), span.GetKind(), span.GetStatus(), test.span, test.status)
			}
			if diff := cmp.Diff(test.want, values(span.GetAttributes())); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			switch events := span.GetEvents(); {
			case test.event == nil && len(events) > 0:
				t.Errorf("it has the events %v", events)
			case test.event != nil && len(events) != 1:
				t.Errorf("it has %d events", len(events))
			case test.event != nil:
				if diff := cmp.Diff(test.event, values(events[0].GetAttributes())); diff != "" || events[0].GetName() != "exception" {
					t.Errorf("the event %q (-want +got):\n%s", events[0].GetName(), diff)
				}
			}
		})
	}
}

// Traces that clients bring, and those that are handed on.
func TestContext(t *testing.T) {
	const (
		id       = "0af7651916cd43dd8448eb211c80319c"
		parent   = "b7ad6b7169203331"
		sampled  = "00-" + id + "-" + parent + "-01"
		declined = "00-" + id + "-" + parent + "-00"
	)
	for _, test := range []struct {
		name       string
		trust      bool
		ratio      float64
		brought    string
		state      string
		continued  bool // the trace is the one brought
		recorded   bool
		linked     bool
		wantsState string
	}{
		{name: "none brought", ratio: 1, recorded: true},
		{name: "none brought, none recorded", ratio: 0},
		{name: "not believed", ratio: 1, brought: sampled, state: "a=b", recorded: true, linked: true},
		{name: "not believed, none recorded", ratio: 0, brought: sampled, state: "a=b"},
		{name: "believed", trust: true, ratio: 0, brought: sampled, state: "a=b", continued: true, recorded: true, wantsState: "a=b"},
		{name: "believed, and not recorded", trust: true, ratio: 1, brought: declined, continued: true},
		{name: "nonsense", trust: true, ratio: 1, brought: "00-" + strings.Repeat("0", 32) + "-" + parent + "-01", state: "a=b", recorded: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := newCollector(t)
			wrap, end := open(t, config(to, func(c *Config) { c.Trust, c.Ratio = test.trust, test.ratio }), io.Discard)
			r := request("GET", "http://example.org/")
			if test.brought != "" {
				r.Header.Set("Traceparent", test.brought)
			}
			if test.state != "" {
				r.Header.Set("Tracestate", test.state)
			}
			r.Header.Set("Connection", "tracestate, Traceparent")
			before := r.Header.Clone()
			var handed http.Header
			var told string
			serve(wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				handed, told = r.Header, environ.TraceID.Get(r)
			})), r)
			end()
			if diff := cmp.Diff(before, r.Header); diff != "" {
				t.Errorf("the request was changed (-before +after):\n%s", diff)
			}
			parts := strings.Split(handed.Get("Traceparent"), "-")
			if len(parts) != 4 {
				t.Fatalf("the app has the traceparent %q", handed.Get("Traceparent"))
			}
			if (parts[1] == id) != test.continued || parts[2] == parent || (parts[3] == "01") != test.recorded || told != parts[1] {
				t.Errorf("the app has the traceparent %q, the logs the trace %q", handed.Get("Traceparent"), told)
			}
			if got := handed.Get("Tracestate"); got != test.wantsState {
				t.Errorf("the app has the tracestate %q, want %q", got, test.wantsState)
			}
			if got := handed.Get("Connection"); got != "" {
				t.Errorf("a proxy further in is told to drop %s", got)
			}
			spans := to.taken()
			if (len(spans) == 1) != test.recorded {
				t.Fatalf("the collector has %d spans", len(spans))
			}
			if !test.recorded {
				return
			}
			span := spans[0]
			if got := fmt.Sprintf("%x-%x", span.GetTraceId(), span.GetSpanId()); got != parts[1]+"-"+parts[2] {
				t.Errorf("the collector has the span %s, and the app %q", got, handed.Get("Traceparent"))
			}
			if got := fmt.Sprintf("%x", span.GetParentSpanId()); (got == parent) != test.continued {
				t.Errorf("the span's parent is %q", got)
			}
			if links := span.GetLinks(); (len(links) == 1) != test.linked || test.linked && fmt.Sprintf("%x", links[0].GetTraceId()) != id {
				t.Errorf("the span has the links %v", links)
			}
		})
	}
}

// A stack that is mounted in another traces a part of the same trace.
func TestMounted(t *testing.T) {
	to := newCollector(t)
	outer, endOuter := open(t, config(to, nil), io.Discard)
	inner, endInner := open(t, config(to, nil), io.Discard)
	mounted := inner(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	serve(outer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mounted.ServeHTTP(w, new(environ.Base).Open(r))
	})), request("GET", "/"))
	endInner()
	endOuter()
	spans := to.taken()
	if len(spans) != 2 || !bytes.Equal(spans[0].GetTraceId(), spans[1].GetTraceId()) || !bytes.Equal(spans[0].GetParentSpanId(), spans[1].GetSpanId()) {
		t.Errorf("the spans are %v", spans)
	}
}

func TestCollector(t *testing.T) {
	for path, want := range map[string]string{"": "POST /v1/traces", "/": "POST /v1/traces", "/otlp/v1/traces": "POST /otlp/v1/traces"} {
		t.Run("endpoint with "+path, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=other,more=yes")
			t.Setenv("OTEL_SERVICE_NAME", "other")
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
			to := newCollector(t)
			wrap, end := open(t, config(to, func(c *Config) {
				c.Endpoint += path
				c.Service = "shop"
				c.Headers = map[string]registry.Secret{"api-key": registry.NewSecret("k1")}
			}), io.Discard)
			app := wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			for range 3 {
				serve(app, request("GET", "/"))
			}
			end()
			if got := to.taken(); len(got) != 3 || !slices.Equal(to.paths, []string{want}) {
				t.Errorf("%d spans came as %q, want 3 as %q", len(got), to.paths, want)
			}
			if to.header.Get("Api-Key") != "k1" || to.header.Get("More") != "" {
				t.Errorf("they came with %v", to.header)
			}
			for _, want := range []string{"service.name=shop", "telemetry.sdk.language=go", "deployment.environment.name=staging"} {
				if !slices.Contains(to.resources, want) {
					t.Errorf("they came from %q, without %s", to.resources, want)
				}
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Config)
		want   []string
	}{
		{"defaults", func(*Config) {}, nil},
		{"another protocol", func(c *Config) { c.Endpoint = "grpc://127.0.0.1:4317" }, []string{"endpoint has the scheme grpc; it must be http or https"}},
		{"a password", func(c *Config) { c.Endpoint = "http://me:it@example.org" }, []string{"endpoint has a user or a password, which would be shown in logs; it must have none, and headers an Authorization"}},
		{"a query", func(c *Config) { c.Endpoint = "http://example.org/?a=b" }, []string{"endpoint has more than a path; it must be like http://127.0.0.1:4318/v1/traces"}},
		{"no field", func(c *Config) { c.Headers = map[string]registry.Secret{"a b": registry.NewSecret("x")} }, []string{"headers[a b] isn't the name of a header field; it must be letters, digits and hyphens"}},
		{"no value", func(c *Config) { c.Headers = map[string]registry.Secret{"a": registry.NewSecret("x\ny")} }, []string{"headers[a] has a control character; it must have none"}},
		{"too many", func(c *Config) { c.Ratio = 2 }, []string{"ratio is 2; it must be at most 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Component.Default
			test.change(&cfg)
			if diff := cmp.Diff(test.want, registrytest.Problems(t, Component, cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, ratio := range map[string]float64{"recorded": 1, "not recorded": 0} {
		b.Run(name, func(b *testing.B) {
			wrap, _ := open(b, config(newCollector(b), func(c *Config) { c.Ratio = ratio }), io.Discard)
			h := wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			w, r := httptest.NewRecorder(), request("GET", "/", "/x/")
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
