package files

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{
		Name: "new folder",
		Settings: func(t *testing.T) Config {
			cfg := Component.Default
			cfg.Folder = registry.Path(filepath.Join(t.TempDir(), "var", "incidents"))
			return cfg
		},
	})
}

// script is an error as of a program that ended badly.
type script struct{ stderr string }

func (script) Error() string { return "exit status 1 <here>" }
func (s script) Details() []failure.Detail {
	return []failure.Detail{{Title: "Standard error", Text: s.stderr}}
}

// report has a reporter write the incidents, and returns the log of what went wrong.
func report(t *testing.T, cfg Config, incidents ...*failure.Incident) string {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	instance, err := reg.Lookup(registry.KindReporter, "files").Open(t.Context(), &cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range incidents {
		if err := instance.Product.(failure.Reporter).Report(t.Context(), i); err != nil {
			t.Error(err)
		}
	}
	if err := instance.Close(); err != nil { // writes what waits
		t.Error(err)
	}
	return log.String()
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.FixedZone("", 3600))

func settings(dir string) Config {
	cfg := Component.Default
	cfg.Folder = registry.Path(dir)
	return cfg
}

func TestPage(t *testing.T) {
	dir := t.TempDir()
	report(t, settings(dir), &failure.Incident{
		ID: "k7mq2", Time: noon, Status: http.StatusBadGateway, Method: http.MethodGet, URL: "/a?b=[redacted]", Host: "example.org", RemoteAddr: "192.0.2.1:99",
		Failure: failure.Failure{Err: script{"<no such table>"}, Stack: []failure.Frame{
			{Function: `template "main"`, File: "site/page.html", Line: 3, Column: 7, First: 2, Source: []string{"<p>", "{{.X}}"}},
			{Function: "main.main", File: "/home/dev/main.go", Line: 12},
		}},
		Header: http.Header{"User-Agent": {"<script>"}},
		Route: &environ.Route{Patterns: []string{"/", "/a"}, Slots: []environ.Slot{
			{Name: "finder", Component: "finder", Kind: "app", Origin: "stack.yaml:12", Settings: []environ.Setting{{Name: "root", Value: "site", Origin: "stack.yaml:13"}}},
		}},
	})
	if diff := cmp.Diff([]string{"20260131T110000Z-k7mq2.html"}, names(t, dir)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	name := filepath.Join(dir, "20260131T110000Z-k7mq2.html")
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
		t.Errorf("the page is %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"k7mq2", "Sat, 31 Jan 2026 11:00:00 UTC", "answered with 502", "exit status 1 &lt;here&gt;", "GET example.org/a?b=[redacted]", "192.0.2.1:99",
		"files.script", "<h2>Standard error</h2>", "&lt;no such table&gt;", "site/page.html:3:7", `<span class="here"><i>3</i>{{.X}}</span>`,
		"main.main", "/home/dev/main.go:12", "&lt;script&gt;", "<code>/a</code>", "stack.yaml:12", "<th>root</th><td>site</td>", "stack.yaml:13",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	boom := failure.Failure{Err: errors.New("boom")}
	report(t, settings(dir),
		&failure.Incident{ID: "same", Time: noon, Failure: boom},
		&failure.Incident{ID: "same", Time: noon, Failure: boom},
		&failure.Incident{ID: "../../x/\x00y", Time: noon, Failure: boom},
		&failure.Incident{Time: noon, Failure: boom},
	)
	want := []string{"20260131T110000Z-same-2.html", "20260131T110000Z-same.html", "20260131T110000Z-unnamed.html", "20260131T110000Z-xy.html"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// treacherous panics when the page asks it.
type treacherous struct{ error }

func (treacherous) Details() []failure.Detail { panic("no details") }

func TestPageFails(t *testing.T) {
	dir := t.TempDir()
	log := report(t, settings(dir), &failure.Incident{ID: "a", Time: noon, Failure: failure.Failure{Err: treacherous{errors.New("boom")}}})
	if !strings.Contains(log, "incident not written") || !strings.Contains(log, "no details") || len(names(t, dir)) != 0 {
		t.Errorf("there is %q, and the log is %s", names(t, dir), log)
	}
}

func TestRetention(t *testing.T) {
	now := time.Now()
	// The name, how many hours old and how long each file is.
	before := []struct {
		name  string
		hours int
		size  int
	}{
		{"20260101T000000Z-a.html", 50, 100},
		{"20260102T000000Z-b-2.html", 30, 100},
		{"20260103T000000Z-c.html", 10, 100},
		{"20260104T000000Z-d.html", 1, 300},
		{"notes.html", 900, 9000},
		{"20260101T000000Z-e.txt", 900, 9000},
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   string // of the pages
	}{
		{"all fit", func(*Config) {}, "abcd"},
		{"too many", func(c *Config) { c.MaxFiles = 2 }, "cd"},
		{"too old", func(c *Config) { c.MaxAge = 40 * time.Hour }, "bcd"},
		{"for ever", func(c *Config) { c.MaxAge = 0 }, "abcd"},
		{"too large", func(c *Config) { c.MaxSize = 450 }, "cd"},
		{"the latest alone is too large", func(c *Config) { c.MaxSize = 10 }, "d"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range before {
				name := filepath.Join(dir, f.name)
				if err := os.WriteFile(name, make([]byte, f.size), 0o600); err != nil {
					t.Fatal(err)
				}
				at := now.Add(-time.Duration(f.hours) * time.Hour)
				if err := os.Chtimes(name, at, at); err != nil {
					t.Fatal(err)
				}
			}
			cfg := settings(dir)
			test.change(&cfg)
			if log := report(t, cfg); log != "" {
				t.Error(log)
			}
			got := ""
			left := names(t, dir)
			for _, name := range left {
				if ours.MatchString(name) {
					got += name[17:18]
				}
			}
			if got != test.want {
				t.Errorf("the pages kept are %q, want %q", got, test.want)
			}
			if !slices.Contains(left, "notes.html") || !slices.Contains(left, "20260101T000000Z-e.txt") {
				t.Errorf("a file that isn't ours was removed; there is %q", left)
			}
		})
	}
}

func TestFlood(t *testing.T) {
	dir := t.TempDir()
	cfg := settings(dir)
	cfg.MaxFiles, cfg.Queue = 3, 50
	var flood []*failure.Incident
	for n := range 50 {
		flood = append(flood, &failure.Incident{ID: "x", Time: noon.Add(time.Duration(n) * time.Second), Failure: failure.Failure{Err: errors.New("boom")}})
	}
	report(t, cfg, flood...)
	want := []string{"20260131T110047Z-x.html", "20260131T110048Z-x.html", "20260131T110049Z-x.html"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	cfg := settings(file)
	_, err = reg.Lookup(registry.KindReporter, "files").Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "folder: ") {
		t.Errorf("the error is %v", err)
	}
}
