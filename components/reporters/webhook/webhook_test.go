package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/reporters/webhook"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	received := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer received.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	at := func(url string) func(*testing.T) webhook.Config {
		return func(*testing.T) webhook.Config {
			cfg := settings(url)
			cfg.Queue = 1000
			cfg.Timeout = 50 * time.Millisecond
			return cfg
		}
	}
	registrytest.Run(t, webhook.Component,
		registrytest.Case[webhook.Config]{Name: "received", Settings: at(received.URL)},
		registrytest.Case[webhook.Config]{Name: "nobody there", Settings: at("http://127.0.0.1:1/")},
		registrytest.Case[webhook.Config]{Name: "never answered", Settings: at(silent.URL)},
	)
}

func settings(url string) webhook.Config {
	cfg := webhook.Component.Default
	cfg.URL = registry.NewSecret(url)
	cfg.Backoff = time.Millisecond
	return cfg
}

// got is a request as it was received.
type got struct {
	header http.Header
	body   []byte
}

// receiver answers with each of the statuses in turn, and with the last one from then on.
func receiver(t *testing.T, header http.Header, statuses ...int) (string, <-chan got) {
	t.Helper()
	requests := make(chan got, 100)
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("a %s with the body %q, %v", r.Method, body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(w.Header(), header)
		w.WriteHeader(statuses[0])
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		requests <- got{r.Header, body}
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// script is an error as of a program that ended badly.
type script struct{ stderr string }

func (script) Error() string { return "exit status 1" }
func (s script) Details() []failure.Detail {
	return []failure.Detail{{Title: "Standard error", Text: s.stderr}}
}

func incident() *failure.Incident {
	return &failure.Incident{
		ID: "k7mq2", Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.FixedZone("", 3600)), Status: http.StatusBadGateway,
		Method: http.MethodGet, URL: "/a?b=[redacted]", Host: "example.org", RemoteAddr: "192.0.2.1:99",
		Failure: failure.Failure{Err: script{strings.Repeat("x", 5000) + "why"}, Stack: []failure.Frame{
			{Function: "page", File: "site/page.html", Line: 3, Column: 7},
			{Function: "main.main", File: "/home/dev/main.go", Line: 12},
			{Function: "runtime.main", File: "proc.go", Line: 1},
		}},
		Header: http.Header{"Cookie": {"[redacted]"}},
		Route:  &environ.Route{Patterns: []string{"/", "/a"}},
	}
}

func TestMessage(t *testing.T) {
	url, requests := receiver(t, nil, http.StatusAccepted)
	cfg := settings(url)
	cfg.Stack = 2
	cfg.Headers = map[string]registry.Secret{"authorization": registry.NewSecret("Bearer x")}
	if err := registrytest.Build(t, webhook.Component, cfg, nil).Report(t.Context(), incident()); err != nil {
		t.Fatal(err)
	}
	r := <-requests
	if r.header.Get("Content-Type") != "application/json" || r.header.Get("Authorization") != "Bearer x" || r.header.Get("Webhook-Signature") != "" {
		t.Errorf("the header is %v", r.header)
	}
	var body any
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "incident", "timestamp": "2026-01-31T11:00:00Z",
		"data": map[string]any{
			"id": "k7mq2", "status": 502.0, "error": "exit status 1", "error_type": "webhook_test.script", "panic": false,
			"method": "GET", "host": "example.org", "url": "/a?b=[redacted]", "remote_addr": "192.0.2.1:99", "route": "/a",
			"stack": []any{
				map[string]any{"function": "page", "file": "site/page.html", "line": 3.0, "column": 7.0},
				map[string]any{"function": "main.main", "file": "/home/dev/main.go", "line": 12.0},
			},
			"details": []any{map[string]any{"title": "Standard error", "text": "… " + strings.Repeat("x", 4093) + "why"}},
		},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSignature(t *testing.T) {
	tests := []struct {
		name, secret string
		key          []byte
	}{
		{"the key itself", "a secret", []byte("a secret")},
		{"base64", "whsec_" + base64.StdEncoding.EncodeToString([]byte{1, 2, 255}), []byte{1, 2, 255}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, requests := receiver(t, nil, http.StatusOK)
			cfg := settings(url)
			cfg.Secret = registry.NewSecret(test.secret)
			if err := registrytest.Build(t, webhook.Component, cfg, nil).Report(t.Context(), incident()); err != nil {
				t.Fatal(err)
			}
			r := <-requests
			at := r.header.Get("Webhook-Timestamp")
			mac := hmac.New(sha256.New, test.key)
			mac.Write([]byte(r.header.Get("Webhook-Id") + "." + at + "." + string(r.body)))
			if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.header.Get("Webhook-Signature") != want {
				t.Errorf("the signature is %q, want %q", r.header.Get("Webhook-Signature"), want)
			}
			if seconds, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
				t.Errorf("the time is %q", at)
			}
		})
	}
}

// run reports one incident, waits for so many attempts, and returns them and the log.
func run(t *testing.T, cfg webhook.Config, requests <-chan got, attempts int) ([]got, string) {
	t.Helper()
	reg, err := registry.New(webhook.Component)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	i, err := reg.Lookup(registry.KindReporter, "webhook").Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r := i.Product.(failure.Reporter)
	var all []got
	if err := r.Report(t.Context(), incident()); err != nil {
		t.Error(err)
	}
	for range attempts {
		all = append(all, <-requests)
	}
	// The next one is posted when the first is done with, which shows that there was no further attempt.
	if err := r.Report(t.Context(), &failure.Incident{ID: "next", Failure: failure.Failure{Err: errors.New("boom")}}); err != nil {
		t.Error(err)
	}
	if next := <-requests; !bytes.Contains(next.body, []byte(`"id":"next"`)) {
		t.Errorf("after %d attempts there is another one: %s", attempts, next.body)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	return all, log.String()
}

func TestAttempts(t *testing.T) {
	tests := []struct {
		name     string
		statuses []int
		attempts int
		lost     string // what the log says
	}{
		{"taken", []int{200}, 1, ""},
		{"taken late", []int{500, 503, 429, 408, 204, 200}, 5, ""},
		{"given up", []int{500, 500, 500, 500, 500, 500, 200}, 6, "it was answered with the status 500; it must be 200 to 299"},
		{"refused", []int{400, 200}, 1, "it was answered with the status 400"},
		{"moved", []int{307, 200}, 1, "it was answered with the status 307"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url, requests := receiver(t, http.Header{"Location": {"/elsewhere"}}, test.statuses...)
			all, log := run(t, settings(url), requests, test.attempts)
			for _, r := range all[1:] {
				if r.header.Get("Webhook-Id") != all[0].header.Get("Webhook-Id") || !bytes.Equal(r.body, all[0].body) {
					t.Errorf("an attempt differs:\n%v\n%v", all[0], r)
				}
			}
			if lost := strings.Contains(log, "incident=k7mq2"); lost != (test.lost != "") || !strings.Contains(log, test.lost) {
				t.Errorf("the log is %q, want %q", log, test.lost)
			}
			if strings.Contains(log, url) {
				t.Errorf("the log tells the URL: %s", log)
			}
		})
	}
}

// TestRetryAfter proves that the receiver's own wish counts more than a backoff that would never end.
func TestRetryAfter(t *testing.T) {
	for _, after := range []string{"1", time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)} {
		t.Run(after, func(t *testing.T) {
			url, requests := receiver(t, http.Header{"Retry-After": {after}}, http.StatusTooManyRequests, http.StatusOK)
			cfg := settings(url)
			cfg.Backoff = time.Minute
			run(t, cfg, requests, 2)
		})
	}
}

// TestEnd proves that what waits is tried once more at the end, and that the end comes.
func TestEnd(t *testing.T) {
	url, requests := receiver(t, nil, http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusOK)
	cfg := settings(url)
	cfg.Backoff = time.Minute
	var log bytes.Buffer
	reg, err := registry.New(webhook.Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.Lookup(registry.KindReporter, "webhook").Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := i.Product.(failure.Reporter).Report(t.Context(), incident()); err != nil {
			t.Error(err)
		}
	}
	<-requests // and now it waits for a minute
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if len(requests) != 2 || strings.Count(log.String(), "incident not posted") != 1 {
		t.Errorf("there were %d more attempts, and the log is %s", len(requests), log.String())
	}
}

// TestFullQueue proves that a request doesn't wait for a place.
func TestFullQueue(t *testing.T) {
	url, requests := receiver(t, nil, http.StatusServiceUnavailable)
	cfg := settings(url)
	cfg.Queue, cfg.Backoff, cfg.Attempts = 1, time.Minute, 2
	r := registrytest.Build(t, webhook.Component, cfg, nil)
	if err := r.Report(t.Context(), incident()); err != nil {
		t.Error(err)
	}
	<-requests // it waits now
	if err := r.Report(t.Context(), incident()); err != nil {
		t.Error(err)
	}
	if err := r.Report(t.Context(), incident()); err == nil || err.Error() != "the queue is full; this incident is lost" {
		t.Errorf("the error is %v", err)
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*webhook.Config)
		want   []string
	}{
		{"good", func(*webhook.Config) {}, nil},
		{"no URL", func(c *webhook.Config) { c.URL = registry.Secret{} }, []string{"url is missing; it must be a text"}},
		{"another URL", func(c *webhook.Config) { c.URL = registry.NewSecret("ftp://hunter2/") }, []string{"url isn't a URL; it must be like https://example.org/hook"}},
		{"bad secret", func(c *webhook.Config) { c.Secret = registry.NewSecret("whsec_?") }, []string{"secret begins with whsec_, and what follows isn't base64; it must be"}},
		{"bad header", func(c *webhook.Config) {
			c.Headers = map[string]registry.Secret{"a b": registry.NewSecret("x")}
		}, []string{"headers[a b] isn't the name of a header field; it must be letters, digits and hyphens"}},
		{"bad value", func(c *webhook.Config) {
			c.Headers = map[string]registry.Secret{"A": registry.NewSecret("x\n")}
		}, []string{"headers[A] has a control character; it must have none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := settings("https://example.org/")
			test.change(&cfg)
			if diff := cmp.Diff(test.want, registrytest.Problems(t, webhook.Component, cfg)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
