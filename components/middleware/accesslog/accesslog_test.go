package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	to := func(format string) func(t *testing.T) Config {
		return func(t *testing.T) Config {
			return Config{File: registry.Path(filepath.Join(t.TempDir(), "access.log")), Format: format}
		}
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "defaults"},
		registrytest.Case[Config]{Name: "json", Settings: to(formatJSON)},
		registrytest.Case[Config]{Name: "combined", Settings: to(formatCombined)},
	)
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, own io.Writer, app http.Handler) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.NewJSONHandler(own, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(registry.Wrap)(app)
}

// request is one with all that can be said of it.
func request() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://example.org/a%20path?token=1", strings.NewReader("body"))
	r.RequestURI = "/a%20path?token=1"
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("Referer", "http://example.org/from?secret=2")
	r.Header.Set("User-Agent", "browser/1")
	var b environ.Base
	environ.Matched.Preset(&b, &environ.Route{
		Patterns: []string{"/", "/a path"},
		Slots:    []environ.Slot{{Name: "access_log"}, {Name: "rate_limit"}, {Name: "finder"}},
	})
	return b.Open(r)
}

// full is an app that does all that a line tells of.
func full(w http.ResponseWriter, r *http.Request) {
	environ.User.Set(r, "ada")
	environ.RequestID.Set(r, "r1")
	environ.TraceID.Set(r, "t1")
	environ.Reached.Set(r, 2) // as the stack does on the way
	w.Header().Set("Incident-Id", "i1")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, "answer")
}

// serve lets a handler do what it likes, panics included.
func serve(h http.Handler, r *http.Request) {
	defer func() { _ = recover() }()
	h.ServeHTTP(httptest.NewRecorder(), r)
}

// members reads a line of JSON, and takes away what is different each time.
func members(t *testing.T, line string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	if at, err := time.Parse(time.RFC3339Nano, m["time"].(string)); err != nil || at.IsZero() {
		t.Errorf("the time is %v", m["time"])
	}
	if d, ok := m["duration"].(float64); !ok || d < 0 {
		t.Errorf("the duration is %v", m["duration"])
	}
	delete(m, "time")
	delete(m, "duration")
	return m
}

func TestMembers(t *testing.T) {
	bare := func(status, bytes float64) map[string]any {
		return map[string]any{
			"method": "POST", "host": "example.org", "url": "/a%20path?token=1", "proto": "HTTP/1.1", "remote": "192.0.2.1:4711",
			"status": status, "bytes": bytes, "referer": "http://example.org/from?secret=2", "user_agent": "browser/1", "route": "/a path",
		}
	}
	with := func(m map[string]any, more ...any) map[string]any {
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	for _, test := range []struct {
		name  string
		query bool
		app   http.HandlerFunc
		want  map[string]any
	}{
		{"all", true, full, with(bare(202, 6), "user", "ada", "request_id", "r1", "trace_id", "t1", "answered_by", "finder", "incident", "i1")},
		{"no query", false, func(http.ResponseWriter, *http.Request) {}, with(bare(200, 0), "url", "/a%20path", "referer", "http://example.org/from")},
		{"nothing written", true, func(http.ResponseWriter, *http.Request) {}, bare(200, 0)},
		{"cut with an incident", true, func(_ http.ResponseWriter, r *http.Request) {
			environ.Reached.Set(r, 1)
			failure.Caught.Set(r, &failure.Incident{ID: "i2"})
			panic(http.ErrAbortHandler)
		}, with(bare(0, 0), "cut", true, "incident", "i2", "answered_by", "rate_limit")},
		{"cut before the header", true, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, with(bare(0, 0), "cut", true)},
		{"cut amid the body", true, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}, with(bare(200, 4), "cut", true)},
		{"no body for HEAD", true, func(w http.ResponseWriter, r *http.Request) {
			r.Method = http.MethodHead // as if that was asked
			http.NotFound(w, r)
		}, with(bare(404, 0), "method", "HEAD")},
		{"URL changed further in", true, func(_ http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/other" // as of a component that breaks the rules
		}, bare(200, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			cfg := Config{File: registry.Path(path), Format: formatJSON, Query: test.query}
			var own bytes.Buffer
			serve(wrap(t, cfg, &own, test.app), request())
			line, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, members(t, string(line))); diff != "" {
				t.Errorf("the line in the file (-want +got):\n%s", diff)
			}
			if own.Len() > 0 {
				t.Errorf("stackd's own log says %s", own.String())
			}

			cfg.File = ""
			serve(wrap(t, cfg, &own, test.app), request())
			want := with(test.want, "level", "INFO", "msg", "request")
			if diff := cmp.Diff(want, members(t, own.String())); diff != "" {
				t.Errorf("stackd's own record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCombined(t *testing.T) {
	bubble := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when synctest begins
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, test := range []struct {
		name   string
		change func(r *http.Request)
		app    http.HandlerFunc
		want   string
	}{
		{
			"all", func(*http.Request) {}, full,
			`192.0.2.1 - ada [01/Jan/2000:00:00:00 +0000] "POST /a%20path?token=1 HTTP/1.1" 202 6 "http://example.org/from?secret=2" "browser/1"`,
		},
		{
			"nothing known", func(r *http.Request) {
				r.Header = http.Header{}
				r.RemoteAddr = ""
			}, abort,
			`- - - [01/Jan/2000:00:00:00 +0000] "POST /a%20path?token=1 HTTP/1.1" 000 0 "-" "-"`,
		},
		{
			"forged", func(r *http.Request) {
				r.Header.Set("User-Agent", "a\" \"\\\n\x7fä")
				r.Header.Del("Referer")
				r.RequestURI = "/\"\x00"
				environ.User.Set(r, "a b\" c")
			}, abort,
			`192.0.2.1 - a\x20b\x22\x20c [01/Jan/2000:00:00:00 +0000] "POST /\x22\x00 HTTP/1.1" 000 0 "-" "a\x22 \x22\x5C\x0A\x7F\xC3\xA4"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			synctest.Test(t, func(t *testing.T) { // for its clock
				h := wrap(t, Config{File: registry.Path(path), Format: formatCombined, Query: true}, io.Discard, test.app)
				r := request()
				test.change(r)
				serve(h, r)
			})
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(test.want, "01/Jan/2000:00:00:00 +0000", bubble.Local().Format("02/Jan/2006:15:04:05 -0700"), 1)
			if diff := cmp.Diff(want+"\n", string(got)); diff != "" {
				t.Errorf("the line (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	read := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	now := time.Unix(0, 0)
	f, err := openFile(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(line string) {
		t.Helper()
		if _, err := io.WriteString(f, line); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery - 1)
	write("two\n")
	now = now.Add(1)
	write("three\n")
	if got, want := read(path+".1"), "one\ntwo\n"; got != want {
		t.Errorf("the old file has %q, want %q", got, want)
	}
	if got, want := read(path), "three\n"; got != want {
		t.Errorf("the new file has %q, want %q", got, want)
	}

	// A path that leads nowhere, and then somewhere again.
	if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+".away"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	if _, err := io.WriteString(f, "lost\n"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("writing to a folder that is gone: got %v", err)
	}
	if err := os.Rename(filepath.Dir(path)+".away", filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	write("four\n")
	if got, want := read(path), "three\nfour\n"; got != want {
		t.Errorf("the new file has %q, want %q", got, want)
	}
}

// choked is a file on a disk that is full, now and then.
type choked struct{ full bool }

func (c *choked) Write(p []byte) (int, error) {
	if c.full {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestUnwritable(t *testing.T) {
	var own bytes.Buffer
	disk := &choked{}
	l := &logger{own: slog.New(slog.NewTextHandler(&own, nil))}
	l.format(disk, formatJSON)
	h := &handler{l, http.HandlerFunc(full)}
	for _, step := range []struct {
		full bool
		want int // how often stackd's own log has said so by then
	}{{false, 0}, {true, 1}, {true, 1}, {false, 1}, {true, 2}} {
		disk.full = step.full
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request())
		if w.Code != http.StatusAccepted {
			t.Errorf("the client got the status %d", w.Code)
		}
		if got := strings.Count(own.String(), "no space left on device"); got != step.want {
			t.Errorf("stackd's own log complains %d times, want %d:\n%s", got, step.want, own.String())
		}
	}
}

func TestFolder(t *testing.T) {
	build := func(path string) error {
		cfg := Config{File: registry.Path(path), Format: formatJSON}
		reg, err := registry.New(Component)
		if err != nil {
			t.Fatal(err)
		}
		i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			err = i.Close()
		}
		return err
	}
	path := filepath.Join(t.TempDir(), "var", "log", "access.log")
	if err := build(path); err != nil {
		t.Errorf("a folder that isn't there: got %v", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		t.Errorf("the file has the mode %v; nobody else may read it", info.Mode())
	}
	if err := build(filepath.Join(path, "access.log")); err == nil {
		t.Error("a file in the place of the folder: got no error")
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		wrong string
		calls registry.Calls
	}{
		{"own log", Config{Format: formatJSON}, "", registry.NonBlocking},
		{"file", Config{Format: formatCombined, File: "/access.log"}, "", registry.Blocking},
		{"combined without a file", Config{Format: formatCombined}, "format is combined; it must be json unless file is set", registry.NonBlocking},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.wrong {
				t.Errorf("got %q, want %q", got, test.wrong)
			}
			if got := test.cfg.Traits(Component.Traits).Calls; got != test.calls {
				t.Errorf("it is %v, want %v", got, test.calls)
			}
		})
	}
}
