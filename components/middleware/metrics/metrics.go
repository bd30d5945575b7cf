// Package metrics counts and times requests for Prometheus.
//
// Put it outermost, so that it sees the answers to failures too:
//
//	stack:
//	  - metrics
//	  - errors
//	  - finder
//
// # The metrics
//
//   - stackd_http_requests_total counts requests that were answered, by route, method and status.
//   - stackd_http_request_duration_seconds is a histogram of how long they took, by route and
//     method, from when they come here until the app is done. A stream counts as long
//     as it lasts; a connection that an app took over, such as a WebSocket, isn't timed.
//   - stackd_http_requests_in_flight is how many are under way.
//   - stackd_generation is the number of the stack that answers: it is one more after each reload that
//     worked, so that one which stays the same after you changed the stack file is an alarm.
//   - go_… and process_… tell of the program's memory, threads and files.
//
// The route is the most specific pattern under urls: that matched, or / where none does: never the
// path, of which there are as many as visitors invent. For the same reason a method that isn't one
// of HTTP's own counts as "other". Status is 0 when nothing was answered, since the connection was
// cut.
//
// The counts go on across reloads as long as the settings stay.
//
// # Where they are
//
// At path, for GET, by default only for this machine: the peer has a loopback address, the URL has
// localhost or such an address for its host, and no field says that a proxy has passed the request
// on. Behind a proxy on this machine that adds no such field, everybody looks like that: set
// expose to nobody for the URLs that it asks for, or have it refuse the path. For those who may not
// see the metrics the path is one like any other, and goes to the app. Requests for the metrics
// aren't counted themselves.
//
// Prometheus finds them with:
//
//	scrape_configs:
//	  - job_name: stackd
//	    static_configs: [{targets: ["127.0.0.1:8080"]}]
//
// URLs for which urls: has other settings have metrics of their own, so rather set them in one
// place. They are those of this process. Several processes would each answer with a part, another one each time, so
// with processes: this is a problem.
package metrics

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/local"
	"github.com/stackd/stackd/registry/response"
)

func init() { registry.Register(Component) }

// Component is the metrics middleware.
var Component = registry.Middleware[Config]{
	Name: "metrics",
	Default: Config{
		Path:    "/metrics",
		Expose:  exposeLoopback,
		Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	},
	Traits: registry.Traits{Processes: registry.SingleProcess, Calls: registry.NonBlocking},
	Build:  build,
}

// The values of Config.Expose.
const (
	exposeLoopback = "loopback"
	exposeAnyone   = "anyone"
	exposeNobody   = "nobody"
)

// Config says who sees the metrics, and how fine they are.
type Config struct {
	// Path is the path of the URL where the metrics are.
	Path string `yaml:"path" validate:"startswith=/"`
	// Expose says who may see them: loopback (this machine), anyone or nobody. With anyone, put
	// something in front that asks who it is.
	Expose string `yaml:"expose" validate:"oneof=loopback anyone nobody"`
	// Buckets are the upper bounds of the histogram's buckets, in seconds and ascending. Each costs
	// memory for every route and method.
	Buckets []float64 `yaml:"buckets" validate:"min=1,max=100"`
}

// Validate checks that the buckets are ones.
func (c Config) Validate() error {
	for i, bound := range c.Buckets {
		switch {
		case !(bound > 0): // not a number isn't, either
			return &registry.SettingError{Setting: fmt.Sprintf("buckets[%d]", i), Problem: fmt.Sprintf("is %v; it must be more than 0", bound)}
		case i > 0 && bound <= c.Buckets[i-1]:
			return &registry.SettingError{Setting: fmt.Sprintf("buckets[%d]", i), Problem: fmt.Sprintf("is %v; it must be more than the one before", bound)}
		}
	}
	return nil
}

// Warnings says who may see the metrics.
func (c Config) Warnings(site registry.Site) []registry.Warning {
	if c.Expose != exposeAnyone || !site.Public {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Exposed, Setting: "expose",
		Problem: "is anyone, so that everybody can see what is asked of the site and how it fares; it should be loopback, or something before it should ask who it is",
	}}
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	m, err := newMeter(cfg.Buckets)
	if err != nil {
		return nil, err
	}
	may := map[string]func(*http.Request) bool{
		exposeLoopback: local.Request,
		exposeAnyone:   func(*http.Request) bool { return true },
		exposeNobody:   func(*http.Request) bool { return false },
	}[cfg.Expose]
	return func(next http.Handler) http.Handler {
		return &handler{meter: m, path: cfg.Path, may: may, next: next}
	}, nil
}

// meter has the metrics of an instance.
type meter struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	// generation is set by those who ask.
	generation prometheus.Gauge
	page       http.Handler
}

func newMeter(buckets []float64) (*meter, error) {
	m := &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stackd_http_requests_total",
			Help: "Requests that were answered.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stackd_http_request_duration_seconds",
			Help:    "How long requests took.",
			Buckets: slices.Clone(buckets),
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stackd_http_requests_in_flight",
			Help: "Requests under way.",
		}),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "stackd_generation",
			Help: "Which built stack answers; one more with each reload.",
		}),
	}
	reg := prometheus.NewPedanticRegistry()
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.inFlight, m.generation,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	// Compression is the compress middleware's.
	m.page = promhttp.HandlerFor(reg, promhttp.HandlerOpts{DisableCompression: true})
	return m, nil
}

// handler is the middleware in one chain.
type handler struct {
	*meter
	path string
	may  func(r *http.Request) bool
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == h.path && (r.Method == http.MethodGet || r.Method == http.MethodHead) && h.may(r) {
		h.generation.Set(float64(environ.Generation(r)))
		w.Header().Set("Cache-Control", "no-store")
		h.page.ServeHTTP(w, r)
		return
	}
	m := &measured{meter: h.meter, r: r, start: time.Now()}
	m.Init(w, nil)
	h.inFlight.Inc()
	defer m.end()
	h.next.ServeHTTP(m, r)
	m.whole = true
}

// measured is the response to one request.
type measured struct {
	response.Writer
	*meter
	r     *http.Request
	start time.Time
	whole bool // the handler came to its end
}

// end notes what became of the request. It also runs while a panic is on its way out, and leaves
// it alone.
func (m *measured) end() {
	m.inFlight.Dec()
	route, method := routeOf(m.r), methodOf(m.r)
	m.requests.WithLabelValues(route, method, statusOf(m.Status(), m.whole)).Inc()
	if !m.Hijacked() {
		m.duration.WithLabelValues(route, method).Observe(time.Since(m.start).Seconds())
	}
}
