package poll

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	sessions "github.com/stackd/stackd/components/middleware/session"
	"github.com/stackd/stackd/components/stores/memory"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/servlet"
	"github.com/stackd/stackd/registry/session"
)

func settings(t testing.TB) Config {
	t.Helper()
	return Config{Question: "Tea & coffee?", Choices: []string{"tea", "coffee", "<both>"}, File: registry.Path(filepath.Join(t.TempDir(), "var", "votes.txt"))}
}

func TestComponent(t *testing.T) {
	registrytest.Run(t, Component, registrytest.Case[Config]{
		Name:     "poll",
		Settings: func(t *testing.T) Config { return settings(t) },
		Environ:  func(b *environ.Base) { session.Key.Preset(b, session.Session(new(visit))) },
	})
}

// visit is a session that all requests of a test share.
type visit struct{ values sync.Map }

func (v *visit) Get(key string) (any, error) { value, _ := v.values.Load(key); return value, nil }
func (v *visit) Set(key string, value any) error {
	v.values.Store(key, value)
	return nil
}
func (v *visit) Delete(key string) error { v.values.Delete(key); return nil }
func (v *visit) Keys() ([]string, error) { return nil, errors.New("nobody asks for all keys") }
func (v *visit) Renew() error            { return nil }
func (v *visit) Destroy() error          { return nil }

// sink fails the test.
type sink struct{ testing.TB }

func (s sink) Fail(f failure.Failure) { s.Errorf("reported: %v", f.Err) }

// serve puts a poll behind real sessions.
func serve(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	keeper := sessions.Component.Default
	keeper.Store = registry.Bound(registrytest.Build(t, memory.Component, memory.Component.Default, nil))
	chain := registrytest.Build(t, sessions.Component, keeper, nil)(registrytest.Build(t, Component, cfg, nil))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = new(environ.Base).Open(r)
		failure.Key.Set(r, sink{t})
		chain.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// visitor is a browser, with cookies and redirects.
func visitor(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

func read(t *testing.T, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// call makes a call by JSON-RPC, and returns what is in the answer.
func call(t *testing.T, c *http.Client, at, method, params string) (result result, problem *servlet.Error) {
	t.Helper()
	resp, err := c.Post(at, "application/json", strings.NewReader(`{"jsonrpc": "2.0", "id": 1, "method": "`+method+`", "params": `+params+`}`))
	_, body := read(t, resp, err)
	answer := struct {
		Result any
		Error  **servlet.Error
	}{&result, &problem}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return result, problem
}

func TestForm(t *testing.T) {
	cfg := settings(t)
	cfg.Stylesheet = "/style.css"
	srv := serve(t, cfg)
	ada := visitor(t)
	resp, err := ada.Get(srv.URL + "/vote")
	_, body := read(t, resp, err)
	if strings.Contains(body, "<table>") || !strings.Contains(body, `value="&lt;both&gt;"`) || !strings.Contains(body, "<h1>Tea &amp; coffee?</h1>") || !strings.Contains(body, `href="/style.css"`) {
		t.Errorf("before the vote the page is\n%s", body)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || len(resp.Cookies()) > 0 {
		t.Errorf("before the vote the header is %v", resp.Header)
	}
	for _, second := range []string{"<both>", "tea"} { // which is not counted
		resp, err := ada.PostForm(srv.URL+"/vote", url.Values{"choice": {second}})
		status, body := read(t, resp, err)
		if status != 200 || resp.Request.URL.Path != "/vote" || !strings.Contains(body, "<th scope=\"row\">&lt;both&gt;<td>1<") || !strings.Contains(body, "You chose &lt;both&gt;") || strings.Contains(body, "<form") {
			t.Errorf("after the vote for %s the page at %s is %d\n%s", second, resp.Request.URL, status, body)
		}
	}
	resp, err = visitor(t).PostForm(srv.URL+"/vote", url.Values{"choice": {"water"}})
	if status, body := read(t, resp, err); status != 400 {
		t.Errorf("a choice that there isn't is answered with %d %s", status, body)
	}
	votes, err := os.ReadFile(string(cfg.File))
	if string(votes) != "<both>\n" || err != nil {
		t.Errorf("the file is %q, %v", votes, err)
	}
}

func TestForeignForm(t *testing.T) {
	srv := serve(t, settings(t))
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.test"}}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("choice=tea"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(r)
		if status, body := read(t, resp, err); status != http.StatusForbidden {
			t.Errorf("a form of another site (%v) is answered with %d %s", header, status, body)
		}
	}
	if got, _ := call(t, visitor(t), srv.URL, "result", "[]"); got.Choices[0].Votes != 0 {
		t.Errorf("it was counted: %+v", got)
	}
}

func TestRPC(t *testing.T) {
	srv := serve(t, settings(t))
	ada := visitor(t)
	got, problem := call(t, ada, srv.URL, "vote", `["tea"]`)
	want := result{Question: "Tea & coffee?", Choices: []count{{"tea", 1}, {"coffee", 0}, {"<both>", 0}}, Chosen: "tea"}
	if diff := cmp.Diff(want, got); diff != "" || problem != nil {
		t.Errorf("a vote is answered with %v, and (-want +got):\n%s", problem, diff)
	}
	if _, problem := call(t, ada, srv.URL, "vote", `{"choice": "coffee"}`); problem == nil || problem.Code != 1 || problem.Data != any("tea") {
		t.Errorf("a second vote is answered with %+v", problem)
	}
	if _, problem := call(t, visitor(t), srv.URL, "vote", `["water"]`); problem == nil || problem.Code != servlet.InvalidParams {
		t.Errorf("a choice that there isn't is answered with %+v", problem)
	}
	want.Chosen = ""
	got, _ = call(t, visitor(t), srv.URL, "result", `[]`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("another visitor sees (-want +got):\n%s", diff)
	}
}

// TestFile proves that several polls may share a file, and what its lines count for.
func TestFile(t *testing.T) {
	cfg := settings(t)
	old := cfg
	old.Choices = []string{"tea", "milk"}
	one, other := serve(t, cfg), serve(t, old)
	stands := func(when string, want ...int) {
		t.Helper()
		got, _ := call(t, visitor(t), one.URL, "result", "[]")
		for i, c := range got.Choices {
			if c.Votes != want[i] {
				t.Errorf("%s it stands %+v, want %v", when, got.Choices, want)
				return
			}
		}
	}
	stands("at first", 0, 0, 0)
	var voters sync.WaitGroup
	for i := range 20 {
		voters.Go(func() {
			resp, err := http.PostForm([]string{one.URL, other.URL}[i%2], url.Values{"choice": {"tea"}})
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	voters.Wait()
	for choice, at := range map[string]string{"milk": other.URL, "coffee": one.URL} {
		if _, problem := call(t, visitor(t), at, "vote", `["`+choice+`"]`); problem != nil {
			t.Errorf("a vote for %s is answered with %v", choice, problem)
		}
	}
	stands("after votes for both polls", 20, 1, 0)
	if err := os.Truncate(string(cfg.File), 0); err != nil {
		t.Fatal(err)
	}
	stands("emptied", 0, 0, 0)
	if err := os.WriteFile(string(cfg.File), []byte("tea\r\ntea\nte"), 0o600); err != nil {
		t.Fatal(err)
	}
	stands("with half a line at its end", 2, 0, 0)
}

func TestSettings(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"question is missing":         func(c *Config) { c.Question = "" },
		"choices has 1 entry":         func(c *Config) { c.Choices = c.Choices[:1] },
		"it must have no entry twice": func(c *Config) { c.Choices[1] = "tea" },
		"choices[2] has a line break": func(c *Config) { c.Choices[2] = "a\nb" },
		"choices[0] is missing":       func(c *Config) { c.Choices[0] = "" },
		"file is missing; it must be": func(c *Config) { c.File = "" },
	} {
		cfg := settings(t)
		change(&cfg)
		found := registrytest.Problems(t, Component, cfg)
		if len(found) != 1 || !strings.Contains(found[0], want) {
			t.Errorf("found %v, want %s", found, want)
		}
	}
}
