package trace

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const (
	// attempt is how long the collector may take for one batch, persistence how long a batch is
	// tried in all.
	attempt     = 10 * time.Second
	persistence = 30 * time.Second
	// farewell is how long what waits may take when the middleware ends.
	farewell = 5 * time.Second
	// quiet is how long nothing is said of further losses.
	quiet = time.Minute
)

// exporter sends batches of spans, and keeps the library's errors from the program's standard
// error, where it would write them.
type exporter struct {
	*otlptrace.Exporter
	client *http.Client
	log    *slog.Logger
	// gone ends when it is too late to send anything.
	gone   context.Context
	giveUp context.CancelFunc
	// leaving ends with the middleware: there is one try then for what waits.
	leaving context.Context
	leave   context.CancelFunc

	// The library exports one batch at a time.
	lost int   // spans nobody has been told of
	why  error // of the last ones
	told time.Time
}

func newExporter(ctx context.Context, cfg Config, log *slog.Logger) (*exporter, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = "/v1/traces"
	}
	headers := make(http.Header, len(cfg.Headers))
	for name, value := range cfg.Headers {
		headers.Set(name, value.Reveal())
	}
	e := &exporter{log: log}
	e.leaving, e.leave = context.WithCancel(context.WithoutCancel(ctx))
	e.client = &http.Client{
		Timeout: attempt,
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			ForceAttemptHTTP2: true,
			MaxIdleConns:      1,
			IdleConnTimeout:   time.Minute,
		},
		// Neither spans nor keys are sent to whom the settings don't name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.Exporter, err = otlptrace.New(ctx, &client{http: e.client, url: endpoint.String(), headers: headers, leaving: e.leaving})
	if err != nil {
		return nil, err
	}
	e.gone, e.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	return e, nil
}

// newProvider makes what collects the spans for e.
func newProvider(ctx context.Context, e *exporter, cfg Config) (*sdk.TracerProvider, error) {
	service, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(semconv.ServiceName(cfg.Service)))
	if err != nil {
		return nil, err
	}
	return sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Ratio))),
		sdk.WithResource(service),
		// The values are cut before they are set.
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: -1, AttributeCountLimit: 32, AttributePerEventCountLimit: 8,
			EventCountLimit: 8, LinkCountLimit: 1, AttributePerLinkCountLimit: 1,
		}),
		sdk.WithBatcher(e,
			sdk.WithMaxQueueSize(cfg.Queue),
			sdk.WithMaxExportBatchSize(min(cfg.Queue, sdk.DefaultMaxExportBatchSize)),
			sdk.WithBatchTimeout(5*time.Second),
			sdk.WithExportTimeout(persistence),
		),
	), nil
}

// ExportSpans sends a batch. It never returns an error: it logs it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.gone, cancel)()
	err := e.Exporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.lost += len(spans)
	e.why = err
	if now := time.Now(); now.Sub(e.told) >= quiet {
		e.told = now
		e.tell(ctx)
	}
	return nil
}

// tell logs what was lost.
func (e *exporter) tell(ctx context.Context) {
	e.log.LogAttrs(ctx, slog.LevelError, "spans are lost, the collector did not take them",
		slog.Int("spans", e.lost), slog.String("error", tidy(e.why.Error())))
	e.lost = 0
}

// finish sends what waits, and ends the goroutines.
func (e *exporter) finish(provider *sdk.TracerProvider) error {
	defer e.client.CloseIdleConnections()
	defer e.giveUp()
	e.leave()
	defer time.AfterFunc(farewell, e.giveUp).Stop()
	// It waits for its goroutine, which sends nothing any more once it is told to give up.
	ctx := context.WithoutCancel(e.gone)
	err := provider.Shutdown(ctx)
	if e.lost > 0 {
		e.tell(ctx)
	}
	return err
}
