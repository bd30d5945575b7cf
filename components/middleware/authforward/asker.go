package authforward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// asker puts the question.
type asker struct {
	url       string
	timeout   time.Duration
	send      []string
	transport *http.Transport
}

// What is taken of an answer, at most.
const (
	maxHeader = 64 << 10
	maxBody   = 1 << 20
)

func newAsker(cfg Config) *asker {
	return &asker{
		url:     cfg.To,
		timeout: cfg.Timeout,
		send:    canonical(cfg.Send),
		transport: &http.Transport{
			DisableCompression:     true, // the body may go to the client as it is
			MaxIdleConnsPerHost:    64,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
}

// answer is what the server said, its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask asks about r. An error has the status to answer with.
func (a *asker) ask(r *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), a.timeout)
	defer cancel()
	got, err := a.exchange(ctx, r)
	if err == nil {
		return got, nil
	}
	status := http.StatusBadGateway
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && r.Context().Err() == nil {
		status = http.StatusGatewayTimeout
		err = fmt.Errorf("no answer within %v: %w", a.timeout, err)
	}
	return nil, failure.WithStatus(fmt.Errorf("asking %s whether the request may pass: %w", a.url, err), status)
}

func (a *asker) exchange(ctx context.Context, r *http.Request) (*answer, error) {
	question, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return nil, err
	}
	a.fill(question.Header, r)
	resp, err := a.transport.RoundTrip(question)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got := &answer{status: resp.StatusCode, header: resp.Header}
	if !got.passes() && !got.refuses() {
		return nil, fmt.Errorf("the answer has the status %d; it must be from 200 to 499, and not 304", got.status)
	}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(got.body) > maxBody {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	return got, nil
}

// fill sets the header of the question about r.
func (a *asker) fill(h http.Header, r *http.Request) {
	h["User-Agent"] = nil // none of our own
	h.Set("X-Forwarded-Method", r.Method)
	h.Set("X-Forwarded-Proto", "http")
	if r.TLS != nil {
		h.Set("X-Forwarded-Proto", "https")
	}
	h.Set("X-Forwarded-Host", r.Host)
	h.Set("X-Forwarded-Uri", environ.Prefix.Get(r)+r.URL.RequestURI())
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", host)
	}
	if id := environ.RequestID.Get(r); id != "" {
		h.Set("X-Request-Id", id)
	}
	for _, name := range a.send {
		if values := r.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
}

func (a *answer) passes() bool { return a.status >= 200 && a.status < 300 }

func (a *answer) refuses() bool {
	return a.status >= 300 && a.status < 500 && a.status != http.StatusNotModified
}
