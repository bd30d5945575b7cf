package trial_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/cmd/trial"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

type none struct{}

type secretive struct {
	Key registry.Secret `yaml:"key"`
}

// components are what the tests' stacks are made of. Opened counts those that are open.
func components(t *testing.T, opened *atomic.Int32) *registry.Registry {
	t.Helper()
	safe := registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking}
	app := func(name string, serve http.HandlerFunc) registry.App[none] {
		return registry.App[none]{Name: name, Traits: safe, Build: func(env *registry.Env, _ none) (http.Handler, error) {
			opened.Add(1)
			env.OnClose(func() error { opened.Add(-1); return nil })
			return serve, nil
		}}
	}
	reg, err := registry.New(
		registry.Server[none]{Name: "http", Traits: safe, Build: func(*registry.Env, none) (registry.ServeFunc, error) {
			t.Error("a server was built")
			return nil, nil
		}},
		registry.Middleware[none]{Name: "door", Traits: safe, Build: func(*registry.Env, none) (registry.Wrap, error) {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/closed" {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, r)
				})
			}, nil
		}},
		app("echo", func(w http.ResponseWriter, r *http.Request) {
			count := 0
			if c, err := r.Cookie("count"); err == nil {
				_, _ = fmt.Sscan(c.Value, &count)
			}
			http.SetCookie(w, &http.Cookie{Name: "count", Value: fmt.Sprint(count + 1)})
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s%s from %s tls %t count %d %q %s\n", r.Method, r.Host, r.URL, r.RemoteAddr, r.TLS != nil, count, body, r.Header.Get("Content-Type"))
		}),
		app("hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		app("abort", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}),
		registry.App[secretive]{Name: "tell", Traits: safe, Build: func(_ *registry.Env, cfg secretive) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, cfg.Key.Reveal()) }), nil
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// tried runs the tests in a stack file whose app is echo unless the path says something else. It returns what failed.
func tried(t *testing.T, tests string) []string {
	t.Helper()
	var opened atomic.Int32
	file := filepath.Join(t.TempDir(), "stack.yaml")
	text := "servers: [http]\nstack: [door, echo]\nurls:\n  /hang: {echo: {use: hang}}\n  /abort: {echo: {use: abort}}\n  /tell: {echo: {use: tell, key: swordfish}}\ntests:\n" + tests
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, _, err := stackfile.Load(t.Context(), components(t, &opened), file, stackfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, c := range plan.Tests() {
		for _, f := range trial.Run(t.Context(), plan, c, time.Second).Failures {
			failed = append(failed, strings.TrimPrefix(f.String(), filepath.Dir(file)+"/"))
			if f.Detail != "" {
				failed = append(failed, f.Detail)
			}
		}
	}
	if n := opened.Load(); n != 0 {
		t.Errorf("%d components are open in the end", n)
	}
	return failed
}

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name, tests string
		failed      []string
	}{
		{"what is asked", `
  - {ask: "/a?b=c", expect: {body: "GET localhost/a?b=c from 127.0.0.1:40000 tls false count 0 \"\" "}}
  - {ask: "https://example.org/", expect: {body: {contains: ["example.org/ from", "tls true"]}}}
  - {ask: "PUT example.org", from: "2001:db8::7", body: hello, headers: {Host: other.example, Content-Type: text/plain}, expect: {body: "PUT other.example/ from [2001:db8::7]:40000 tls false count 0 \"hello\" text/plain"}}
  - {ask: "POST /", form: {b: "1 2"}, cookies: {count: 7}, expect: {body: {contains: ["count 7 \"b=1+2\" application/x-www-form-urlencoded"]}}}
`, nil},
		{"cookies stay within a test", `
  - ask: /
    expect: {body: {contains: count 0}}
    then: [{ask: /, expect: {body: {contains: count 1}}}, {ask: /, expect: {body: {contains: count 2}}}]
  - {ask: /, expect: {body: {contains: count 0}}}
`, nil},
		{"the way", `
  - {ask: /closed, expect: {status: 403, answered: door, ran: [door], skipped: [echo], body: {absent: true}}}
  - {ask: /, expect: {answered: echo, ran: [door, echo]}}
`, nil},
		{"another way", `
  - {ask: /closed, expect: {status: 403, answered: echo, ran: [echo], skipped: [door]}}
`, []string{
			"stack.yaml:9: /closed: it came to door last (door); it must be echo",
			"stack.yaml:9: /closed: it did not come to echo, only to door; it must",
			"stack.yaml:9: /closed: it came to door; it must not",
		}},
		{"stubs", `
  - ask: /hang
    stubs: {echo: {status: 201, headers: {Content-Type: application/json}, body: '{"a": [1, {"b": 2, "c": 3}], "d": null}'}}
    expect: {status: 201, headers: {content-type: application/json}, body: {json: {a: [1, {c: 3}]}}, answered: echo}
  - {ask: /a, stubs: {door: {status: 204}}, expect: {status: 204, answered: door}}
`, nil},
		{"another JSON", `
  - ask: /
    stubs: {echo: {body: '{"a": [1], "b": 2}'}}
    expect: {body: {json: {a: [2]}}}
`, []string{
			"stack.yaml:11: /: the body is another value",
			"--- expected\n+++ answered\n@@ -1,5 +1,5 @@\n {\n   \"a\": [\n-    2\n+    1\n   ]\n }\n",
		}},
		{"a stub for nothing", `
  - {ask: /, stubs: {door.key: {}}}
`, []string{`stack.yaml:9: the stub "door.key" stands for nothing in the stack; there is door or echo`}},
		{"no answer", `
  - {ask: /abort}
`, []string{"stack.yaml:9: /abort: the connection ended before the answer did: EOF"}},
		{"secrets", `
  - {ask: /tell, expect: {body: fish, settings: {echo: {key: fish}}}}
`, []string{
			`stack.yaml:9: /tell: the body is "[redacted]"; it must be "fish"`,
			"stack.yaml:9: /tell: echo's key is [redacted] (stack.yaml:6); it must be fish",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := tried(t, test.tests)
			for i, line := range got { // origins are whole paths
				if before, after, ok := strings.Cut(line, "("+os.TempDir()); ok {
					got[i] = before + "(" + after[strings.Index(after, "stack.yaml"):]
				}
			}
			if diff := cmp.Diff(test.failed, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestPatience proves that a request that hangs ends the test and not more.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := tried(t, "  - {ask: /hang, then: [{ask: /}]}\n")
		want := []string{"stack.yaml:8: /hang: the answer was not whole after 1s"}
		if diff := cmp.Diff(want, failed); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestCancel(t *testing.T) {
	var opened atomic.Int32
	file := filepath.Join(t.TempDir(), "stack.yaml")
	if err := os.WriteFile(file, []byte("servers: [http]\nstack: [hang]\ntests: [{ask: /}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, _, err := stackfile.Load(t.Context(), components(t, &opened), file, stackfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := trial.Run(ctx, plan, plan.Tests()[0], time.Hour); len(r.Failures) != 1 || opened.Load() != 0 {
		t.Errorf("it came to %v, with %d components open", r.Failures, opened.Load())
	}
}

func TestWriteJUnit(t *testing.T) {
	var b strings.Builder
	err := trial.WriteJUnit(&b, []trial.Suite{{Name: "a.yaml", Results: []trial.Result{
		{Name: "good", File: "a.yaml", Line: 3, Took: 1500 * time.Microsecond},
		{Name: "b<a\x1bd", File: "a.yaml", Line: 4, Failures: []trial.Failure{{File: "a.yaml", Line: 5, Text: `is "x"`, Detail: "<html>\n"}}, Log: "a line\n"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Time    string `xml:"time,attr"`
			Failure string `xml:"failure"`
			Log     string `xml:"system-err"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if back.Tests != 2 || back.Failures != 1 || len(back.Cases) != 2 || back.Cases[0].Time != "0.002" || back.Cases[0].Failure != "" ||
		back.Cases[1].Failure != "a.yaml:5: is \"x\"\n<html>\n" || back.Cases[1].Name != "b<a\uFFFDd" || back.Cases[1].Log != "a line\n" {
		t.Errorf("it is %+v", back)
	}
}
