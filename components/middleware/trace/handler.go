package trace

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/response"
)

// tracer makes the spans of an instance.
type tracer struct {
	oteltrace.Tracer
	trust bool
}

// handler is the middleware in one chain.
type handler struct {
	*tracer
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := h.begin(r)
	t.Init(w, nil)
	defer t.end()
	h.next.ServeHTTP(t, t.r)
	t.whole = true
}

// traced is one request and the response to it.
type traced struct {
	response.Writer
	r     *http.Request
	span  oteltrace.Span
	whole bool // the handler came to its end
}

// begin starts the span of a request, and makes the copy of it that is handed on.
func (t *tracer) begin(r *http.Request) *traced {
	var w3c propagation.TraceContext
	ctx := r.Context()
	options := []oteltrace.SpanStartOption{oteltrace.WithSpanKind(oteltrace.SpanKindServer)}
	// A span that is there already is that of a stack in which this one is mounted.
	if !oteltrace.SpanContextFromContext(ctx).IsValid() {
		brought := w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
		if t.trust {
			ctx = brought
		} else if other := oteltrace.SpanContextFromContext(brought); other.IsValid() {
			options = append(options, oteltrace.WithLinks(oteltrace.Link{SpanContext: other.WithTraceState(oteltrace.TraceState{})}))
		}
	}
	ctx, span := t.Start(ctx, name(r), options...)
	r = r.WithContext(ctx)
	r.Header = maps.Clone(r.Header)
	for _, field := range w3c.Fields() {
		delete(r.Header, http.CanonicalHeaderKey(field))
		environ.Claim(r.Header, field)
	}
	w3c.Inject(ctx, propagation.HeaderCarrier(r.Header))
	environ.TraceID.Set(r, span.SpanContext().TraceID().String())
	return &traced{r: r, span: span}
}

// end ends the span. It also runs while a panic is on its way out, and leaves it alone.
func (t *traced) end() {
	defer t.span.End()
	if !t.span.IsRecording() {
		return
	}
	t.span.SetAttributes(asked(t.r)...)
	status := t.Status()
	if status == 0 && t.whole {
		status = http.StatusOK // net/http sends it for a handler that writes nothing
	}
	if status != 0 {
		t.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
	switch {
	case !t.whole:
		t.span.SetAttributes(semconv.ErrorTypeKey.String("cut"))
		t.span.SetStatus(codes.Error, "the answer was broken off")
	case status >= http.StatusInternalServerError:
		t.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
		t.span.SetStatus(codes.Error, "")
	}
	if caught := failure.Caught.Get(t.r); caught != nil {
		err := caught.Failure.Err
		// Sprint bears an Error method that panics.
		t.span.AddEvent(semconv.ExceptionEventName, oteltrace.WithTimestamp(caught.Time), oteltrace.WithAttributes(
			semconv.ExceptionType(fmt.Sprintf("%T", err)),
			semconv.ExceptionMessage(tidy(fmt.Sprint(err))),
			attribute.String("stackd.incident", caught.ID),
		))
	}
}

// asked returns the attributes that tell what was asked for.
func asked(r *http.Request) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 16)
	some := func(key attribute.Key, value string) {
		if value != "" {
			all = append(all, key.String(tidy(value)))
		}
	}
	if known(r.Method) {
		some(semconv.HTTPRequestMethodKey, r.Method)
	} else {
		some(semconv.HTTPRequestMethodKey, "_OTHER")
		some(semconv.HTTPRequestMethodOriginalKey, r.Method)
	}
	some(semconv.HTTPRouteKey, route(r))
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	some(semconv.URLSchemeKey, scheme)
	some(semconv.URLPathKey, r.URL.Path)
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	some(semconv.ServerAddressKey, host)
	if n, err := strconv.Atoi(port); err == nil {
		all = append(all, semconv.ServerPort(n))
	}
	if client, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		some(semconv.ClientAddressKey, client)
	}
	if version, ok := strings.CutPrefix(r.Proto, "HTTP/"); ok {
		some(semconv.NetworkProtocolVersionKey, strings.TrimSuffix(version, ".0"))
	}
	some(semconv.UserAgentOriginalKey, r.UserAgent())
	return all
}

// name returns the name of a request's span. There are no more of them than the stack file makes.
func name(r *http.Request) string {
	method := "HTTP"
	if known(r.Method) {
		method = r.Method
	}
	if path := route(r); path != "" {
		return method + " " + path
	}
	return method
}

// route returns the path of the most specific pattern that a request matched.
func route(r *http.Request) string {
	if route := environ.Matched.Get(r); route != nil && len(route.Patterns) > 0 {
		pattern := route.Patterns[len(route.Patterns)-1]
		return pattern[strings.IndexByte(pattern, '/'):]
	}
	return ""
}

// known reports whether a method is one that everybody knows.
func known(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// longest is how many bytes of a text are kept: clients and collectors choose some of them, and a
// whole queue waits in memory.
const longest = 1024

// tidy returns text as a span and a log may have it: a batch with a text that isn't UTF-8 would be
// refused as a whole.
func tidy(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), longest)], "\uFFFD")
}
