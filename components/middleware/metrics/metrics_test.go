package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }

// config returns the default settings, changed by f.
func config(f func(c *Config)) Config {
	c := Component.Default
	if f != nil {
		f(&c)
	}
	return c
}

// open builds the middleware as a stack does.
func open(t testing.TB, cfg Config) registry.Wrap {
	t.Helper()
	return registrytest.Build(t, Component, cfg, nil)
}

// request makes a request from this machine, on a route with these patterns.
func request(method, target string, patterns ...string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+target, nil)
	r.RemoteAddr = "127.0.0.1:1234"
	var base environ.Base
	environ.Matched.Preset(&base, &environ.Route{Patterns: patterns})
	return base.Open(r)
}

// scrape asks for the metrics, and reads them.
func scrape(t *testing.T, h http.Handler) map[string]*dto.MetricFamily {
	t.Helper()
	return scrapeAs(t, h, "")
}

// scrapeAs asks for the metrics in one of Prometheus' formats, and reads them by its parsers.
func scrapeAs(t *testing.T, h http.Handler, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	r := request(http.MethodGet, "/metrics")
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("the metrics are %d: %s", w.Code, w.Body)
	}
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	families := make(map[string]*dto.MetricFamily)
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = family
	}
}

// Prometheus asks for what it likes best; its parsers read all of it alike.
func TestFormats(t *testing.T) {
	h := open(t, config(nil))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.ServeHTTP(httptest.NewRecorder(), request("GET", "/", "/\"quoted\\ ü/"))
	for name, accept := range map[string]string{
		"none":     "",
		"text":     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3",
		"version 3": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
	} {
		t.Run(name, func(t *testing.T) {
			families := scrapeAs(t, h, accept)
			if diff := cmp.Diff(map[string]float64{"GET /\"quoted\\ ü/ 200": 1}, series(families["stackd_http_requests_total"])); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if got := families["stackd_http_request_duration_seconds"].GetType(); got != dto.MetricType_HISTOGRAM {
				t.Errorf("the durations are a %v", got)
			}
		})
	}
}

// series returns the values of a metric by its labels: of a histogram, how many were observed.
func series(family *dto.MetricFamily) map[string]float64 {
	values := make(map[string]float64)
	for _, m := range family.GetMetric() {
		labels := make(map[string]string)
		for _, pair := range m.GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
		name := strings.TrimSpace(labels["method"] + " " + labels["route"] + " " + labels["status"])
		values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return values
}

func TestCounts(t *testing.T) {
	h := open(t, config(nil))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/cut-late":
			w.WriteHeader(http.StatusAccepted)
			panic(http.ErrAbortHandler)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "x")
		}
	}))
	for _, r := range []*http.Request{
		request("GET", "/a"),
		request("GET", "/b"),
		request("GET", "/early"),
		request("POST", "/missing", "/missing"),
		request("GET", "/x", "/", "/x/", "GET example.org/x/{id}"),
		request("BREW", "/a"),
		request("BREW2", "/a"),
		request("GET", "/cut"),
		request("GET", "/cut-late"),
	} {
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
					panic(p)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), r)
		}()
	}
	for range 2 { // asking changes nothing
		families := scrape(t, h)
		if diff := cmp.Diff(map[string]float64{
			"GET / 200": 3, "POST /missing 404": 1, "GET GET example.org/x/{id} 200": 1, "other / 200": 2, "GET / 0": 1, "GET / 202": 1,
		}, series(families["stackd_http_requests_total"])); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]float64{
			"GET /": 5, "POST /missing": 1, "GET GET example.org/x/{id}": 1, "other /": 2,
		}, series(families["stackd_http_request_duration_seconds"])); diff != "" {
			t.Errorf("durations (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]float64{"": 0}, series(families["stackd_http_requests_in_flight"])); diff != "" {
			t.Errorf("in flight (-want +got):\n%s", diff)
		}
		for _, name := range []string{"go_goroutines", "process_open_fds"} {
			if families[name] == nil {
				t.Errorf("there is no %s", name)
			}
		}
	}
}

func TestInFlight(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	h := open(t, config(nil))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	}))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), request("GET", "/")) })
		<-inside
	}
	if got := series(scrape(t, h)["stackd_http_requests_in_flight"])[""]; got != 3 {
		t.Errorf("%v requests are in flight, want 3", got)
	}
	close(leave)
	wg.Wait()
}

// roomy is the context of a server that says which generation a request is for.
type roomy struct {
	context.Context
	room environ.Room
}

func (c *roomy) Value(key any) any {
	if v := c.room.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

func TestGeneration(t *testing.T) {
	h := open(t, config(nil))(http.NotFoundHandler())
	for _, want := range []uint64{3, 4} {
		ctx := &roomy{Context: t.Context()}
		ctx.room.SetGeneration(want)
		r := request("GET", "/metrics")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, new(environ.Base).Open(r.WithContext(ctx)))
		if line := fmt.Sprintf("\nstackd_generation %d\n", want); !strings.Contains(w.Body.String(), line) {
			t.Errorf("the metrics have no %q:\n%s", line, w.Body)
		}
	}
}

// A connection that is taken over is counted, and not timed.
func TestHijacked(t *testing.T) {
	wrap := open(t, config(nil))
	app := wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		if err != nil {
			t.Error(err)
		}
	}))
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		app.ServeHTTP(w, r)
	}))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	<-done
	families := scrape(t, app)
	if diff := cmp.Diff(map[string]float64{"GET / 101": 1}, series(families["stackd_http_requests_total"])); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := families["stackd_http_request_duration_seconds"]; got != nil {
		t.Errorf("it was timed: %v", got)
	}
}

func TestBuckets(t *testing.T) {
	h := open(t, config(func(c *Config) { c.Buckets = []float64{1e-9, 60} }))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
	histogram := scrape(t, h)["stackd_http_request_duration_seconds"].GetMetric()[0].GetHistogram()
	got := make(map[float64]uint64)
	for _, b := range histogram.GetBucket() {
		got[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	if diff := cmp.Diff(map[float64]uint64{1e-9: 0, 60: 1, math.Inf(1): 1}, got); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

// Two instances, as of one slot with two settings, don't see each other's metrics.
func TestOwnRegistry(t *testing.T) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	first, second := open(t, config(nil))(nothing), open(t, config(nil))(nothing)
	first.ServeHTTP(httptest.NewRecorder(), request("GET", "/"))
	if got := series(scrape(t, second)["stackd_http_requests_total"]); len(got) > 0 {
		t.Errorf("the second one has %v", got)
	}
}

func TestExpose(t *testing.T) {
	for _, test := range []struct {
		name   string
		expose string
		method string
		path   string
		peer   string
		host   string
		header string
		want   bool
	}{
		{name: "this machine", want: true},
		{name: "HEAD", method: "HEAD", want: true},
		{name: "POST", method: "POST"},
		{name: "another path", path: "/metrics/"},
		{name: "another machine", peer: "192.0.2.1:1"},
		{name: "a name that somebody made point here", host: "evil.example"},
		{name: "passed on", header: "X-Forwarded-For"},
		{name: "anyone", expose: "anyone", peer: "192.0.2.1:1", host: "site.example", header: "Via", want: true},
		{name: "nobody", expose: "nobody"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(func(c *Config) {
				if test.expose != "" {
					c.Expose = test.expose
				}
			})
			app := open(t, cfg)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }))
			or := func(value, fallback string) string {
				if value == "" {
					return fallback
				}
				return value
			}
			r := request(or(test.method, "GET"), or(test.path, "/metrics"))
			r.RemoteAddr, r.Host = or(test.peer, r.RemoteAddr), or(test.host, r.Host)
			if test.header != "" {
				r.Header[test.header] = []string{"192.0.2.1"}
			}
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			if shown := strings.Contains(w.Body.String(), "go_goroutines"); shown != test.want || (w.Code == http.StatusNotFound) == test.want {
				t.Errorf("the metrics were shown: %t, with %d; want %t", shown, w.Code, test.want)
			}
			if test.want && w.Header().Get("Cache-Control") != "no-store" {
				t.Error("they may be stored")
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name    string
		buckets []float64
		want    string
	}{
		{"good", []float64{.1, 1, 10}, ""},
		{"zero", []float64{0, 1}, "buckets[0] is 0; it must be more than 0"},
		{"twice", []float64{1, 1}, "buckets[1] is 1; it must be more than the one before"},
		{"descending", []float64{1, 2, 1.5}, "buckets[2] is 1.5; it must be more than the one before"},
		{"not a number", []float64{1, math.NaN()}, "buckets[1] is NaN; it must be more than 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := (Config{Buckets: test.buckets}).Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	h := open(b, config(nil))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w, r := httptest.NewRecorder(), request("GET", "/", "/x/")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
