package trace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// client sends spans by OTLP/HTTP (OpenTelemetry Protocol 1.9, OTLP/HTTP), and is otlptrace's client. The library's own
// brings the whole of gRPC into the program, which it doesn't use.
type client struct {
	http    *http.Client
	url     string
	headers http.Header
	// leaving ends when the middleware does: what fails then isn't tried again.
	leaving context.Context
}

// Start implements otlptrace.Client.
func (*client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It tries again as long as ctx lasts when the collector is away or asks for it.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// A TracesData is on the wire what an ExportTraceServiceRequest is.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	for pause := time.Second; ; pause = min(2*pause, attempt) {
		wait, err := c.post(ctx, body)
		if err == nil || wait < 0 {
			return err
		}
		timer := time.NewTimer(max(pause, wait))
		select {
		case <-timer.C:
		case <-c.leaving.Done():
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// post sends a batch once. When there is an error, wait is how long to wait at least before the next try, negative for never.
func (c *client) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	r.Header = c.headers.Clone()
	r.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
			wait = time.Duration(min(seconds, 3600)) * time.Second
		}
	case http.StatusOK:
		return -1, err
	default:
		wait = -1
	}
	return wait, fmt.Errorf("%s answered %s: %.200q", c.url, answer.Status, said)
}
