package session

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a visitor in a bubble, where time passes at once.
type clock struct {
	handler http.Handler
	cookies map[string]string
}

func (c *clock) get(path string) answer {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	c.handler.ServeHTTP(w, r)
	a := answered(w)
	for _, set := range a.Cookies() {
		c.cookies[set.Name] = set.Value
		if set.MaxAge < 0 {
			delete(c.cookies, set.Name)
		}
	}
	return a
}

func TestLimits(t *testing.T) {
	type step struct {
		after  time.Duration // since the step before
		path   string
		body   string
		calls  string
		maxAge int // of the cookie that is set; 0 for none
	}
	const (
		lifetime = 12 * time.Hour
		quarter  = 15 * time.Minute
	)
	tests := []struct {
		name    string
		idle    time.Duration
		persist bool
		steps   []step
	}{
		{"lifetime", 0, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{lifetime - time.Second, "/get?a", "1", "find", 0},
			{time.Second, "/get?a", "none", "find", 0},
		}},
		{"lifetime isn't moved by use", 0, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{lifetime / 2, "/set?a=2", "ok", "find find commit", 0},
			{lifetime/2 - time.Second, "/get?a", "2", "find", 0},
			{time.Second, "/get?a", "none", "find", 0},
		}},
		{"a new id begins a new lifetime", 0, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{lifetime / 2, "/renew", "ok", "find find commit delete", 0},
			{lifetime - time.Second, "/get?a", "1", "find", 0},
			{time.Second, "/get?a", "none", "find", 0},
		}},
		{"idle", time.Hour, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{time.Hour, "/get?a", "none", "find", 0},
		}},
		{"idle is moved by reading, with a write a quarter", time.Hour, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{quarter - time.Second, "/get?a", "1", "find", 0},
			{time.Second, "/get?a", "1", "find find commit", 0},
			{time.Second, "/get?a", "1", "find", 0},
			{time.Hour - 2*time.Second, "/get?a", "1", "find find commit", 0},
			{time.Hour, "/get?a", "none", "find", 0},
		}},
		{"idle isn't moved by requests that don't use it", time.Hour, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{30 * time.Minute, "/nothing", "ok", "", 0},
			{30 * time.Minute, "/get?a", "none", "find", 0},
		}},
		{"idle doesn't outlast the lifetime", 11 * time.Hour, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{10 * time.Hour, "/get?a", "1", "find find commit", 0},
			{2*time.Hour - time.Second, "/get?a", "1", "find", 0},
			{time.Second, "/get?a", "none", "find", 0},
		}},
		{"a failed request isn't a use", time.Hour, false, []step{
			{0, "/set?a=1", "ok", "commit", 0},
			{30 * time.Minute, "/get?a;report", "reported", "find", 0},
			{30 * time.Minute, "/get?a", "none", "find", 0},
		}},
		{"a cookie that persists", 0, true, []step{
			{0, "/set?a=1", "ok", "commit", 12*3600 + 1},
			{time.Hour, "/set?a=2", "ok", "find find commit", 0},
			{time.Hour, "/renew", "ok", "find find commit delete", 12*3600 + 1},
		}},
		{"a cookie that persists goes along with idle", time.Hour, true, []step{
			{0, "/set?a=1", "ok", "commit", 3600 + 1},
			{time.Minute, "/get?a", "1", "find", 0},
			{quarter, "/get?a", "1", "find find commit", 3600 + 1},
			{time.Minute, "/set?a=2", "ok", "find find commit", 3600 + 1},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &tap{Store: memoryStore(t)}
				cfg := settings(store)
				cfg.Lifetime, cfg.Idle, cfg.Cookie.Persist = lifetime, tt.idle, tt.persist
				c := &clock{stackOf(t, cfg, http.HandlerFunc(pad)), map[string]string{}}
				for i, want := range tt.steps {
					<-time.After(want.after)
					a := c.get(want.path)
					got := step{after: want.after, path: want.path, body: a.body, calls: store.taken()}
					for _, set := range a.Cookies() {
						got.maxAge = set.MaxAge
					}
					if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
						t.Errorf("step %d (-want +got):\n%s", i+1, diff)
					}
				}
			})
		})
	}
}

// A use that can't be recorded fails nothing.
func TestUseNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tap{Store: memoryStore(t)}
		c := &clock{stackOf(t, settings(store), http.HandlerFunc(pad)), map[string]string{}}
		c.get("/set?a=1")
		<-time.After(30 * time.Minute)
		store.failing("commit")
		if got := c.get("/get?a"); got.body != "1" || got.StatusCode != http.StatusOK {
			t.Errorf("answered %s %q", got.Status, got.body)
		}
		if got := store.taken(); got != "commit find find commit" {
			t.Errorf("the store was asked %q", got)
		}
	})
}

// Overrides make two slots over one store: each holds its own limits against a session.
func TestTwoLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &tap{Store: memoryStore(t)}
		cfg := settings(store)
		cfg.Idle = 0
		all := stackOf(t, cfg, http.HandlerFunc(pad))
		cfg.Lifetime = 15 * time.Minute
		admin := stackOf(t, cfg, http.HandlerFunc(pad))
		c := &clock{nil, map[string]string{}}
		ask := func(h http.Handler, path, want string) {
			t.Helper()
			c.handler = h
			if got := c.get(path).body; got != want {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
		}
		ask(all, "/set?a=1", "ok")
		ask(admin, "/get?a", "1")
		ask(admin, "/set?b=1", "ok") // shortens nothing
		<-time.After(15 * time.Minute)
		ask(admin, "/get?a", "none")
		ask(all, "/keys", "a,b")

		t.Log("a change at admin begins anew, and deletes the old one")
		before := c.cookies["session"]
		ask(admin, "/set?c=1", "ok")
		ask(all, "/keys", "c")
		c.cookies["session"], before = before, c.cookies["session"]
		ask(all, "/keys", "")

		t.Log("a log-out at admin ends what admin itself wouldn't take any more")
		c.cookies["session"] = before
		<-time.After(15 * time.Minute)
		ask(all, "/keys", "c")
		ask(admin, "/destroy", "ok")
		c.cookies["session"] = before
		ask(all, "/keys", "")
	})
}
