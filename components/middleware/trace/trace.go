// Package trace tells an OpenTelemetry collector about requests.
//
// Put it outermost but for real_ip, so that it sees the answers to failures too, and times all:
//
//	stack:
//	  - use: trace
//	    endpoint: http://127.0.0.1:4318
//	    service: shop
//	    ratio: 0.1
//	  - access_log
//	  - errors
//	  - finder
//
// Whatever speaks OTLP over HTTP takes the spans: the OpenTelemetry Collector, Jaeger, Grafana
// Tempo, or a service on the net, whose key goes into headers.
//
// # Traces
//
// A request gets a span of its own, and what stands further in finds it in the fields traceparent
// and tracestate of the request (W3C Trace Context): the server behind a proxy, a script, or a
// program that speaks FastCGI then adds its spans to the same trace. What auth_forward asks is part of
// the trace when its send lists traceparent. The access log writes the id as trace_id.
//
// What a client itself says in these fields isn't believed, unless trust says that somebody in front
// sets them: the request begins a trace of its own, whose span has a link to the one that the
// client named.
//
// # What a span tells
//
// Its name is the method and the most specific pattern under urls: that matched, such as "GET /shop/",
// or the method alone. Its attributes are those of OpenTelemetry's conventions for HTTP servers
// (http.request.method, http.route, http.response.status_code, url.scheme, url.path,
// server.address, server.port, client.address, network.protocol.version, user_agent.original), each cut
// after 1024 bytes. The query of the URL isn't told, since it may hold secrets.
//
// A span is an error when the status is 500 or above, or the answer was broken off. What the errors
// middleware caught is an event "exception" in it, with the error's type and text, and the id of the
// incident as stackd.incident. A stream's span lasts as long as the stream does.
//
// # What a request waits for, and what is lost
//
// A request waits for nothing: spans are sent in batches, every five seconds, by a goroutine beside.
// A collector that asks for patience, or doesn't answer in time, is tried again for half a minute.
// What couldn't be sent is lost; stackd's log says so, with how many spans and why, at most once a
// minute. Up to queue spans wait; more are lost without a word. When stackd ends or the settings
// change, what waits is sent within five seconds.
//
// The environment variable OTEL_RESOURCE_ATTRIBUTES adds attributes to the service, such as
// deployment.environment.name=staging. What can be set here, no such variable changes.
package trace

import (
	"errors"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
)

func init() { registry.Register(Component) }

// Component is the trace middleware.
var Component = registry.Middleware[Config]{
	Name: "trace",
	Default: Config{
		Endpoint: "http://127.0.0.1:4318",
		Service:  "stackd",
		Ratio:    1,
		Queue:    2048,
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		Provides:  []environ.Name{environ.TraceID},
	},
	Build: build,
}

// Config says where spans go, and of which requests.
type Config struct {
	// Endpoint is the URL of the collector, with http or https. Without a path it is the one that the
	// protocol has for traces, /v1/traces.
	Endpoint string `yaml:"endpoint" validate:"required,url"`
	// Headers are sent to the collector, such as Authorization.
	Headers map[string]registry.Secret `yaml:"headers"`
	// Service is what the collector calls this server (service.name).
	Service string `yaml:"service" validate:"required"`
	// Ratio is how many of the traces that begin here are recorded: 1 for all, 0.01 for one in
	// a hundred, 0 for none.
	Ratio float64 `yaml:"ratio" validate:"min=0,max=1"`
	// Trust continues the trace that a request brings, and records it if its sender does. Set it when
	// everybody who reaches this server may say so, or a proxy in front sets the fields.
	Trust bool `yaml:"trust"`
	// Queue is how many spans may wait to be sent.
	Queue int `yaml:"queue" validate:"min=1,max=100000"`
}

// Expects says that the collector must answer.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Origin("endpoint", c.Endpoint)}
}

// Validate checks the URL and the headers.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: problem})
	}
	if u, err := url.Parse(c.Endpoint); err == nil && c.Endpoint != "" {
		switch {
		case u.Scheme != "http" && u.Scheme != "https":
			wrong("endpoint", "has the scheme "+u.Scheme+"; it must be http or https")
		case u.User != nil:
			wrong("endpoint", "has a user or a password, which would be shown in logs; it must have none, and headers an Authorization")
		case u.RawQuery != "" || u.Fragment != "":
			wrong("endpoint", "has more than a path; it must be like http://127.0.0.1:4318/v1/traces")
		}
	}
	for name, value := range c.Headers {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			wrong("headers["+name+"]", "isn't the name of a header field; it must be letters, digits and hyphens")
		case !httpguts.ValidHeaderFieldValue(value.Reveal()):
			wrong("headers["+name+"]", "has a control character; it must have none")
		}
	}
	return errors.Join(errs...)
}

func build(env *registry.Env, cfg Config) (registry.Wrap, error) {
	e, err := newExporter(env.Context(), cfg, env.Logger())
	if err != nil {
		return nil, err
	}
	provider, err := newProvider(env.Context(), e, cfg)
	if err != nil {
		return nil, err
	}
	env.OnClose(func() error { return e.finish(provider) })
	t := &tracer{Tracer: provider.Tracer("github.com/stackd/stackd"), trust: cfg.Trust}
	return func(next http.Handler) http.Handler { return &handler{tracer: t, next: next} }, nil
}
