package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// sender posts one incident after the other.
type sender struct {
	cfg    Config
	key    []byte
	log    *slog.Logger
	client *http.Client
}

func newSender(cfg Config, key []byte, log *slog.Logger) *sender {
	return &sender{cfg: cfg, key: key, log: log, client: &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			ForceAttemptHTTP2: true,
			MaxIdleConns:      1,
			IdleConnTimeout:   time.Minute,
		},
		// An incident isn't sent to whom the settings don't name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// farewell is how long what waits may take when the reporter ends.
const farewell = 5 * time.Second

// run posts what comes until ctx ends, and then what waits, once.
func (s *sender) run(ctx context.Context, queue <-chan *failure.Incident) {
	var last *post // what was under way when ctx ended
	for ctx.Err() == nil {
		select {
		case i := <-queue:
			if p := s.prepare(ctx, i); p != nil && !s.deliver(ctx, p) {
				last = p
			}
		case <-ctx.Done():
		}
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if last != nil {
		s.once(bye, last)
	}
	for {
		select {
		case i := <-queue:
			if p := s.prepare(bye, i); p != nil {
				s.once(bye, p)
			}
		default:
			return
		}
	}
}

// post is an incident that is ready to be sent.
type post struct {
	incident string
	id       string // the same for each attempt
	body     []byte
}

// prepare returns nil for an incident that can't be sent, which it logs.
func (s *sender) prepare(ctx context.Context, i *failure.Incident) *post {
	body, err := encode(i, s.cfg.Stack)
	if err != nil {
		s.lost(ctx, i.ID, err)
		return nil
	}
	return &post{incident: i.ID, id: "msg_" + rand.Text(), body: body}
}

// lost logs that an incident wasn't posted.
func (s *sender) lost(ctx context.Context, incident string, err error) {
	s.log.LogAttrs(ctx, slog.LevelError, "incident not posted", slog.String("incident", incident), slog.String("error", err.Error()))
}

func (s *sender) once(ctx context.Context, p *post) {
	if err := s.try(ctx, p); err != nil {
		s.lost(ctx, p.incident, err)
	}
}

// longestWait is how long it waits at most before it tries again.
const longestWait = time.Minute

// deliver tries until the incident is posted or given up. It returns false when ctx ended before.
func (s *sender) deliver(ctx context.Context, p *post) bool {
	wait := s.cfg.Backoff
	for attempt := 1; ; attempt++ {
		err := s.try(ctx, p)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		answered, ok := errors.AsType[*answerError](err)
		if attempt == s.cfg.Attempts || ok && answered.final() {
			s.lost(ctx, p.incident, err)
			return true
		}
		pause := wait
		if ok && answered.retryAfter > 0 {
			pause = min(answered.retryAfter, longestWait)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		wait = min(2*wait, longestWait)
	}
}

// answerError is an answer other than 2xx.
type answerError struct {
	status     int
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	return fmt.Sprintf("it was answered with the status %d; it must be 200 to 299", e.status)
}

// final reports whether the same request would be answered alike later.
func (e *answerError) final() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.status < 500
}

// try makes one attempt.
func (s *sender) try(ctx context.Context, p *post) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL.Reveal(), bytes.NewReader(p.body))
	if err != nil {
		return withoutURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "stackd")
	for name, value := range s.cfg.Headers {
		r.Header.Set(name, value.Reveal())
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Webhook-Id", p.id)
	r.Header.Set("Webhook-Timestamp", now)
	if len(s.key) > 0 {
		mac := hmac.New(sha256.New, s.key)
		mac.Write([]byte(p.id + "." + now + "."))
		mac.Write(p.body)
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	// Read to its end, so that the connection can be used again; what it says doesn't matter.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	failed := &answerError{status: resp.StatusCode}
	after := resp.Header.Get("Retry-After") // RFC 9110, 10.2.3
	if seconds, err := strconv.Atoi(after); err == nil {
		failed.retryAfter = time.Duration(min(seconds, int(longestWait/time.Second))) * time.Second
	} else if date, err := http.ParseTime(after); err == nil {
		failed.retryAfter = time.Until(date)
	}
	return failed
}

// withoutURL keeps the URL, which may hold a key, out of the log.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
