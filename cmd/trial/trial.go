// Package trial asks a stack the questions of its tests.
//
// A test's requests go through Go's own HTTP client and server, over connections in memory, so a component meets
// what it meets in life: no network is used, and no server of the stack file. Each test has a stack of its own, which
// is closed after the last request has ended.
package trial

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/stackfile"
)

// Result is what came of a test.
type Result struct {
	// Name is the test's, and File and Line are where it stands.
	Name string
	File string
	Line int
	// Took is how long it took.
	Took time.Duration
	// Failures are what was not as it must be, none for a test that has passed.
	Failures []Failure
	// Log is what the stack logged meanwhile: warnings and errors, a line for each.
	Log string
}

// Failure is one thing that was not as it must be.
type Failure struct {
	// File and Line are where the test says what must be.
	File string
	Line int
	// Text says in a sentence what is and what must be. Detail shows more of it, in lines; it may be empty.
	Text, Detail string
}

// String returns the failure on one line: "site.test.yaml:7: …".
func (f Failure) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

// Run runs a test of a plan. No request may take longer than timeout. Secrets of the stack's files aren't in the result.
func Run(ctx context.Context, plan *stackfile.Plan, c stackfile.Case, timeout time.Duration) Result {
	begin := time.Now()
	r := Result{Name: c.Title()}
	r.File, r.Line = c.Place("")
	t := &trial{plan: plan, test: c, timeout: timeout}
	if err := t.run(ctx); err != nil {
		t.fail(0, "", "", "%s", err)
	}
	r.Took, r.Log = time.Since(begin), plan.Redact(t.log.String())
	slices.SortStableFunc(t.failures, func(a, b Failure) int { return cmp.Compare(a.Line, b.Line) })
	for _, f := range t.failures {
		f.Text, f.Detail = plan.Redact(f.Text), plan.Redact(f.Detail)
		r.Failures = append(r.Failures, f)
	}
	return r
}

// trial is the run of one test.
type trial struct {
	plan     *stackfile.Plan
	test     stackfile.Case
	timeout  time.Duration
	log      lines
	failures []Failure
}

// fail notes that a setting of a step wasn't met.
func (t *trial) fail(step int, setting, detail, format string, args ...any) {
	f := Failure{Detail: detail, Text: fmt.Sprintf(format, args...)}
	f.File, f.Line = t.test.Place(t.test.Path(step, setting))
	t.failures = append(t.failures, f)
}

func (t *trial) run(ctx context.Context) (err error) {
	stubs := make(map[string]http.Handler)
	for place, s := range t.test.Stubs {
		stubs[place] = stub(s)
	}
	log := slog.New(slog.NewTextHandler(&t.log, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: timeless}))
	building, cancel := context.WithTimeoutCause(ctx, t.plan.Deadlines().Build, errors.New("deadlines has no more time for it"))
	defer cancel()
	stack, err := t.plan.Rehearse(building, log, stackfile.Rehearsal{Stubs: stubs, Entered: entered})
	if err != nil {
		return err
	}
	h := newHost(stack, log)
	defer func() {
		if !h.close(t.timeout) {
			err = errors.Join(err, errors.New("a request has not ended, though its client is gone"))
			return // what it uses must stay
		}
		stack.Close()
	}()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: h.transport(), Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for i, step := range t.test.Steps() {
		if err := t.step(ctx, h, client, i, step); err != nil {
			t.fail(i, "ask", "", "%s: %s", step.Ask, err)
			return nil // the steps after it mean nothing
		}
	}
	return nil
}

// step asks one request and looks at the answer. An error says that there is none.
func (t *trial) step(ctx context.Context, h *host, client *http.Client, i int, step stackfile.Step) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("the answer was not whole after %s", t.timeout))
	defer cancel()
	r, err := request(ctx, step)
	if err != nil {
		return err
	}
	from, err := netip.ParseAddr(cmp.Or(step.From, "127.0.0.1"))
	if err != nil {
		return err
	}
	v := h.expect(from)
	resp, err := client.Do(r)
	if err == nil {
		defer resp.Body.Close()
		v.body, err = io.ReadAll(io.LimitReader(resp.Body, longestBody+1))
	}
	if err == nil && len(v.body) > longestBody {
		err = fmt.Errorf("the body is longer than %d MiB; it must not be", longestBody>>20)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return fmt.Errorf("the connection ended before the answer did: %w", err)
	}
	select {
	case <-v.done:
	case <-ctx.Done():
		return errors.New("the answer is whole, and the request does not end")
	}
	v.status, v.header = resp.StatusCode, resp.Header
	t.compare(i, step, v)
	return nil
}

// longestBody is how much of an answer is read.
const longestBody = 16 << 20

// request makes the request of a step.
func request(ctx context.Context, step stackfile.Step) (*http.Request, error) {
	method, target := step.Request()
	switch {
	case strings.HasPrefix(target, "/"):
		target = "http://localhost" + target
	case !strings.Contains(target, "://"):
		target = "http://" + target
	}
	var body io.Reader
	if step.Body != "" {
		body = strings.NewReader(step.Body)
	}
	if len(step.Form) > 0 {
		form := make(url.Values)
		for name, value := range step.Form {
			form.Set(name, value)
		}
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "stackd test")
	if len(step.Form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range step.Headers {
		if strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	for name, value := range step.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r, nil
}

// stub answers as the stub says.
func stub(s stackfile.Stub) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range s.Headers {
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Type") == "" && s.Body != "" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.WriteHeader(cmp.Or(s.Status, http.StatusOK))
		_, _ = io.WriteString(w, s.Body) // the client sees what is missing
	})
}

// timeless leaves the time out of a record, which would be another one each time.
func timeless(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// lines is a log in memory.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
