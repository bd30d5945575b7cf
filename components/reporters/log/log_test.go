package log

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) { registrytest.Run(t, Component) }

// script is an error as of a program that ended badly.
type script struct{ stderr string }

func (script) Error() string { return "exit status 1" }
func (s script) Details() []failure.Detail {
	return []failure.Detail{{Title: "Standard error", Text: s.stderr}}
}

// broken is an error that can't even say what it is.
type broken struct{}

func (*broken) Error() string { panic("no text") }

func TestReport(t *testing.T) {
	stack := []failure.Frame{
		{Function: "page", File: "site/page.html", Line: 3, Column: 7},
		{Function: "example.org/m/shop.(*Cart).Add", File: "/home/dev/m/shop/cart.go", Line: 12},
		{Function: "main.main", File: "/home/dev/m/main.go", Line: 5},
	}
	base := map[string]any{
		"level": "ERROR", "msg": "request failed", "incident": "abc", "status": 500.0, "method": "GET",
		"host": "example.org", "url": "/a?b=[redacted]", "remote": "192.0.2.1:99",
	}
	tests := []struct {
		name   string
		stack  int
		change func(*failure.Incident)
		want   map[string]any // beside base
	}{
		{"plain", 8, func(*failure.Incident) {}, map[string]any{"error": "boom"}},
		{"panic", 8, func(i *failure.Incident) { i.Failure.Panic = true }, map[string]any{"error": "boom", "panic": true}},
		{"whole stack", 8, func(i *failure.Incident) { i.Failure.Stack = stack }, map[string]any{
			"error": "boom", "stack": "site/page.html:3 page; shop/cart.go:12 shop.(*Cart).Add; m/main.go:5 main.main",
		}},
		{"some of the stack", 1, func(i *failure.Incident) { i.Failure.Stack = stack }, map[string]any{"error": "boom", "stack": "site/page.html:3 page"}},
		{"template of a folder", 8, func(i *failure.Incident) {
			i.Failure.Stack = []failure.Frame{{Function: `template "layouts/base.html"`, File: "/srv/site/layouts/base.html", Line: 1}}
		}, map[string]any{"error": "boom", "stack": `layouts/base.html:1 template "layouts/base.html"`}},
		{"no stack", 0, func(i *failure.Incident) { i.Failure.Stack = stack }, map[string]any{"error": "boom"}},
		{"route", 8, func(i *failure.Incident) { i.Route = &environ.Route{Patterns: []string{"/", "/a"}} }, map[string]any{"error": "boom", "route": "/a"}},
		{"route without overrides", 8, func(i *failure.Incident) { i.Route = &environ.Route{} }, map[string]any{"error": "boom"}},
		{"details", 8, func(i *failure.Incident) { i.Failure.Err = script{"no such table"} }, map[string]any{
			"error": "exit status 1", "detail_standard_error": "no such table",
		}},
		{"long details keep their end", 8, func(i *failure.Incident) { i.Failure.Err = script{strings.Repeat("x", 9000) + "why"} }, map[string]any{
			"error": "exit status 1", "detail_standard_error": "… " + strings.Repeat("x", longest-3) + "why",
		}},
		{"error that panics", 8, func(i *failure.Incident) { i.Failure.Err = &broken{} }, map[string]any{"error": "%!v(PANIC=Error method: no text)"}},
		{"cut connection", 8, func(i *failure.Incident) { i.Status = 0 }, map[string]any{"error": "boom", "status": 0.0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := &failure.Incident{
				ID: "abc", Status: http.StatusInternalServerError, Method: http.MethodGet, URL: "/a?b=[redacted]", Host: "example.org",
				RemoteAddr: "192.0.2.1:99", Failure: failure.Failure{Err: errors.New("boom")},
			}
			test.change(i)
			got := report(t, Config{Stack: test.stack}, i)
			want := maps.Clone(base)
			maps.Copy(want, test.want)
			delete(got, "time")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// report returns the record that a reporter writes.
func report(t *testing.T, cfg Config, i *failure.Incident) map[string]any {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	instance, err := reg.Lookup(registry.KindReporter, "log").Open(t.Context(), &cfg, slog.New(slog.NewJSONHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer instance.Close()
	if err := instance.Product.(failure.Reporter).Report(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatalf("the log isn't one record: %v\n%s", err, log.Bytes())
	}
	return got
}
