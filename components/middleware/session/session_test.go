package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/stores/memory"
	"github.com/stackd/stackd/components/stores/sqlite"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/response"
	"github.com/stackd/stackd/registry/session"
)

func TestComponent(t *testing.T) {
	with := func(open func(t testing.TB) session.Store) func(t *testing.T) Config {
		return func(t *testing.T) Config { return settings(open(t)) }
	}
	registrytest.Run(
		t, Component,
		registrytest.Case[Config]{Name: "memory", Settings: with(memoryStore)},
		registrytest.Case[Config]{Name: "sqlite", Settings: with(sqliteStore)},
	)
}

// build builds a component as a stack does, and closes it when the test ends.
func buildOf[C, T any](t testing.TB, c registry.Component[C, T], cfg C) T {
	t.Helper()
	table, err := registry.New(c)
	if err != nil {
		t.Fatal(err)
	}
	i, err := table.All()[0].Open(context.Background(), &cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(T)
}

func memoryStore(t testing.TB) session.Store {
	return buildOf(t, memory.Component, memory.Component.Default)
}

func sqliteStore(t testing.TB) session.Store {
	cfg := sqlite.Component.Default
	cfg.Path = registry.Path(filepath.Join(t.TempDir(), "sessions.db"))
	return buildOf(t, sqlite.Component, cfg)
}

// settings are the defaults with a store.
func settings(s session.Store) Config {
	cfg := Component.Default
	cfg.Store = registry.Bound(s)
	return cfg
}

// stores are those that the tests of what is kept run with.
var stores = map[string]func(t testing.TB) session.Store{"memory": memoryStore, "sqlite": sqliteStore}

// tap stands before a store and counts what it is asked. A test may make it fail, or hold it up.
type tap struct {
	session.Store
	mu     sync.Mutex
	calls  []string
	tokens map[string]bool
	before func(ctx context.Context, call string) error
}

func (s *tap) note(ctx context.Context, call, token string) error {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	if s.tokens == nil {
		s.tokens = make(map[string]bool)
	}
	s.tokens[token] = true
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, call)
}

func (s *tap) Find(ctx context.Context, token string) ([]byte, bool, error) {
	if err := s.note(ctx, "find", token); err != nil {
		return nil, false, err
	}
	return s.Store.Find(ctx, token)
}

func (s *tap) Commit(ctx context.Context, token string, data []byte, expiry time.Time) error {
	if err := s.note(ctx, "commit", token); err != nil {
		return err
	}
	return s.Store.Commit(ctx, token, data, expiry)
}

func (s *tap) Delete(ctx context.Context, token string) error {
	if err := s.note(ctx, "delete", token); err != nil {
		return err
	}
	return s.Store.Delete(ctx, token)
}

// taken returns what was called since the last time.
func (s *tap) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := strings.Join(s.calls, " ")
	s.calls = nil
	return calls
}

func (s *tap) breaks(before func(ctx context.Context, call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// failing makes the calls of that name fail.
func (s *tap) failing(call string) {
	s.breaks(func(_ context.Context, c string) error {
		if c == call {
			return errors.New("the store is gone")
		}
		return nil
	})
}

// catch is a catcher that answers with the text of the first failure which isn't answered.
func catch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &caught{}
		c.Init(w, nil)
		failure.Key.Set(r, c)
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) || c.Committed() {
					panic(http.ErrAbortHandler)
				}
				http.Error(w, "panic", http.StatusInternalServerError)
			} else if c.err != nil && !c.Committed() {
				http.Error(w, c.err.Error(), failure.Status(c.err))
			}
		}()
		next.ServeHTTP(c, r)
	})
}

type caught struct {
	response.Writer
	err error
}

func (c *caught) Fail(f failure.Failure) {
	if c.err == nil && !f.Answered {
		c.err = f.Err
	}
}

// stackOf puts an environ, a catcher and the session around an app.
func stackOf(t testing.TB, cfg Config, app http.Handler) http.Handler {
	t.Helper()
	caught := catch(buildOf(t, Component, cfg)(app))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caught.ServeHTTP(w, new(environ.Base).Open(r))
	})
}

// site is a stack behind a real server.
type site struct {
	*httptest.Server
	protocols http.Protocols
}

// overBoth runs a test over HTTP/1.1 and over cleartext HTTP/2.
func overBoth(t *testing.T, test func(t *testing.T, start func(cfg Config, app http.Handler) *site)) {
	for _, name := range []string{"h1", "h2c"} {
		t.Run(name, func(t *testing.T) {
			test(t, func(cfg Config, app http.Handler) *site {
				s := &site{Server: httptest.NewUnstartedServer(stackOf(t, cfg, app))}
				s.protocols.SetHTTP1(name == "h1")
				s.protocols.SetUnencryptedHTTP2(name == "h2c")
				s.Config.Protocols = &s.protocols
				s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
				s.Start()
				t.Cleanup(s.Close)
				return s
			})
		})
	}
}

// visitor is a browser.
type visitor struct {
	t    testing.TB
	site *site
	http.Client
}

func (s *site) visitor(t testing.TB) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Protocols: &s.protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t, s, http.Client{Transport: transport, Jar: jar}}
}

// answer is a response that was read.
type answer struct {
	*http.Response
	body string
}

// get asks for a path, with the cookies given beside those of the jar.
func (v *visitor) get(path string, cookies ...string) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.site.URL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range cookies {
		r.Header.Add("Cookie", c)
	}
	resp, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, strings.TrimSpace(string(body))}
}

// answered is what a handler wrote. A recorded body needs no closing.
func answered(w *httptest.ResponseRecorder) answer {
	resp := w.Result()
	defer resp.Body.Close()
	return answer{resp, strings.TrimSpace(w.Body.String())}
}

// cookie says what a response does to the cookie named session: "", "set" or "removed".
func (a answer) cookie() (what, id string) {
	for _, c := range a.Cookies() {
		switch {
		case c.Name != "session":
		case c.MaxAge < 0:
			return "removed", ""
		default:
			return "set", c.Value
		}
	}
	return "", ""
}

// pad is an app that does what the URL says: /set?key=value, /get?key, /delete?key, /keys, /renew,
// /destroy, or several of them as /set?a=1;renew;get?a. It answers what the last of them returned.
func pad(w http.ResponseWriter, r *http.Request) {
	scripted(w, r, r.URL.String()[1:], func() {})
}

// scripted does what the script says, and calls before it writes.
func scripted(w http.ResponseWriter, r *http.Request, script string, before func()) {
	out, err := do(session.Key.Get(r), script)
	if err != nil {
		failure.Report(r, err)
		return
	}
	before()
	_, _ = io.WriteString(w, out)
}

func do(s session.Session, script string) (out string, err error) {
	for step := range strings.SplitSeq(script, ";") {
		verb, arg, _ := strings.Cut(step, "?")
		out = "ok"
		switch verb {
		case "nothing":
		case "set":
			key, value, _ := strings.Cut(arg, "=")
			err = s.Set(key, value)
		case "get":
			var value any
			if value, err = s.Get(arg); value != nil {
				out = value.(string)
			} else {
				out = "none"
			}
		case "delete":
			err = s.Delete(arg)
		case "keys":
			var keys []string
			keys, err = s.Keys()
			out = strings.Join(keys, ",")
		case "renew":
			err = s.Renew()
		case "destroy":
			err = s.Destroy()
		case "report":
			err = errors.New("reported")
		case "panic":
			panic("panicked")
		}
		if err != nil {
			return "", err
		}
	}
	return out, nil
}

func TestConversations(t *testing.T) {
	type step struct {
		path, body string
		cookie     string // what happens to it
		calls      string // what the store is asked
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"a value stays", []step{
			{"/set?a=1", "ok", "set", "commit"},
			{"/get?a", "1", "", "find"},
			{"/set?a=2", "ok", "", "find find commit"},
			{"/get?a", "2", "", "find"},
		}},
		{"who doesn't use it costs nothing", []step{
			{"/nothing", "ok", "", ""},
			{"/set?a=1", "ok", "set", "commit"},
			{"/nothing", "ok", "", ""},
		}},
		{"who only looks gets nothing", []step{
			{"/get?a", "none", "", ""},
			{"/keys", "", "", ""},
			{"/delete?a", "ok", "", ""},
			{"/renew", "ok", "", ""},
			{"/destroy", "ok", "", ""},
			{"/set?a=1;delete?a", "ok", "", ""},
			{"/set?a=1;destroy;get?a", "none", "", ""},
		}},
		{"one commit a request", []step{
			{"/set?a=1;set?b=2;set?a=3;delete?b;set?c=4;renew", "ok", "set", "commit"},
			{"/set?d=1;get?d;set?e=1;keys", "a,c,d,e", "", "find find commit"},
		}},
		{"deleted keys", []step{
			{"/set?a=1;set?b=2", "ok", "set", "commit"},
			{"/delete?a;delete?none;keys", "b", "", "find find commit"},
			{"/delete?b", "ok", "", "find find commit"},
			{"/keys", "", "", "find"},
			{"/delete?b", "ok", "", "find"},
			{"/set?c=1", "ok", "", "find find commit"},
		}},
		{"a new id", []step{
			{"/set?a=1", "ok", "set", "commit"},
			{"/renew", "ok", "set", "find find commit delete"},
			{"/get?a", "1", "", "find"},
			{"/set?b=2;renew;set?c=3;keys", "a,b,c", "set", "find find commit delete"},
			{"/keys", "a,b,c", "", "find"},
		}},
		{"the end", []step{
			{"/set?a=1", "ok", "set", "commit"},
			{"/destroy;get?a", "none", "removed", "find delete"},
			{"/get?a", "none", "", ""},
		}},
		{"the end and a new beginning", []step{
			{"/set?a=1", "ok", "set", "commit"},
			{"/set?x=1;destroy;set?b=2;renew;keys", "b", "set", "find delete commit"},
			{"/keys", "b", "", "find"},
		}},
		{"a request that fails changes nothing", []step{
			{"/set?a=1", "ok", "set", "commit"},
			{"/set?a=2;renew;panic", "panic", "", "find"},
			{"/destroy;report", "reported", "", "find"},
			{"/get?a", "1", "", "find"},
		}},
		{"nor does it begin a session", []step{
			{"/set?a=1;panic", "panic", "", ""},
			{"/set?a=1;report", "reported", "", ""},
			{"/get?a", "none", "", ""},
		}},
	}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		for _, tt := range tests {
			for name, open := range stores {
				t.Run(tt.name+" in "+name, func(t *testing.T) {
					store := &tap{Store: open(t)}
					v := start(settings(store), http.HandlerFunc(pad)).visitor(t)
					seen := map[string]bool{}
					for _, want := range tt.steps {
						a := v.get(want.path)
						got := step{path: want.path, body: a.body, calls: store.taken()}
						var id string
						got.cookie, id = a.cookie()
						if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
							t.Errorf("(-want +got):\n%s", diff)
						}
						if got.cookie == "set" && (seen[id] || !validID(id)) {
							t.Errorf("%s: the id %q is not a new one of 256 bits", want.path, id)
						}
						seen[id] = true
					}
				})
			}
		}
	})
}

// What the visitor sends is never what the store knows, nor taken over as an id.
func TestIDs(t *testing.T) {
	store := &tap{Store: memoryStore(t)}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		s := start(settings(store), http.HandlerFunc(pad))
		mine := s.visitor(t)
		_, id := mine.get("/set?who=me").cookie()
		unknown := newID()

		t.Run("hashed at rest", func(t *testing.T) {
			if !store.tokens[token(id)] || store.tokens[id] {
				t.Errorf("the store knows %v; the id is %s", store.tokens, id)
			}
		})
		t.Run("the hash is no id", func(t *testing.T) {
			if got := s.visitor(t).get("/get?who", "session="+token(id)).body; got != "none" {
				t.Errorf("who sends the hash is taken for %s", got)
			}
		})
		tests := []struct {
			name, cookie string
			want         string // what it stands for
			find         int    // how often the store is asked
		}{
			{"known", "session=" + id, "me", 1},
			{"unknown", "session=" + unknown, "none", 1},
			{"too short", "session=" + id[:42], "none", 0},
			{"too long", "session=" + id + "A", "none", 0},
			{"of other letters", "session=" + id[:42] + ".", "none", 0},
			{"with stray bits", "session=" + id[:42] + stray(id[42]), "none", 0},
			{"empty", "session=", "none", 0},
			{"huge", "session=" + strings.Repeat("A", 8000), "none", 0},
			{"of another name", "Session=" + id, "none", 0},
			{"a path", "session=../../etc/passwd", "none", 0},
			{"several, the second known", "session=" + unknown + "; session=" + id, "me", 2},
			{"several, the first no id", "session=x; session=; session=" + id, "me", 1},
			{"far too many", strings.Repeat("session="+unknown+"; ", 50) + "session=" + id, "none", 4},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				v := s.visitor(t)
				store.taken()
				if got := v.get("/get?who", tt.cookie).body; got != tt.want {
					t.Errorf("it stands for %q, want %q", got, tt.want)
				}
				if n := strings.Count(store.taken(), "find"); n != tt.find {
					t.Errorf("the store is asked %d times, want %d", n, tt.find)
				}
				if tt.want == "me" {
					return
				}
				what, got := v.get("/set?a=1", tt.cookie).cookie()
				if what != "set" || strings.Contains(tt.cookie, got) {
					t.Errorf("a session that begins with it gets the id %q", got)
				}
				if got := mine.get("/keys").body; got != "who" {
					t.Errorf("the session of another visitor has the keys %s now", got)
				}
			})
		}
	})
}

// stray returns the base64 letter beside c, which encodes the same bits and one more.
func stray(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return letters[strings.IndexByte(letters, c)^1:][:1]
}

// An id that somebody learned, or planted, before the log-in is worth nothing after it.
func TestFixation(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		s := start(settings(memoryStore(t)), http.HandlerFunc(pad))
		attacker, victim := s.visitor(t), s.visitor(t)
		_, planted := attacker.get("/set?user=nobody").cookie()

		if got := victim.get("/get?user", "session="+planted).body; got != "nobody" {
			t.Fatalf("the planted session isn't taken: %s", got)
		}
		what, id := victim.get("/renew;set?user=victim", "session="+planted).cookie()
		if what != "set" || id == planted {
			t.Fatalf("after the log-in the cookie is %s to %q", what, id)
		}
		if got := victim.get("/get?user").body; got != "victim" {
			t.Errorf("the victim is %s", got)
		}
		if got := attacker.get("/get?user").body; got != "none" {
			t.Errorf("the attacker is %s", got)
		}
		victim.get("/destroy")
		if got := s.visitor(t).get("/get?user", "session="+id).body; got != "none" {
			t.Errorf("after the log-out the id is still good for %s", got)
		}
	})
}

func TestHeaders(t *testing.T) {
	const noCache = `no-cache="Set-Cookie"`
	tests := []struct {
		name   string
		header http.Header // set by the app first
		script string
		vary   []string
		cache  []string
	}{
		{"unused", nil, "nothing", nil, nil},
		{"looked for", nil, "get?a", []string{"Cookie"}, nil},
		{"read", nil, "set?a=1;-;get?a", []string{"Cookie"}, []string{"private"}},
		{"begun", nil, "set?a=1", []string{"Cookie"}, []string{"private", noCache}},
		{"changed", nil, "set?a=1;-;set?a=2", []string{"Cookie"}, []string{"private"}},
		{"renewed", nil, "set?a=1;-;renew", []string{"Cookie"}, []string{"private", noCache}},
		{"destroyed", nil, "set?a=1;-;destroy", []string{"Cookie"}, []string{"private", noCache}},
		{
			"the app's own, unused",
			http.Header{"Vary": {"Accept"}, "Cache-Control": {"max-age=60"}},
			"nothing",
			[]string{"Accept"},
			[]string{"max-age=60"},
		},
		{
			"the app's own, read",
			http.Header{"Vary": {"Accept"}, "Cache-Control": {"no-store"}},
			"set?a=1;-;get?a",
			[]string{"Accept", "Cookie"},
			[]string{"no-store"},
		},
		{
			"the app's own, begun",
			http.Header{"Vary": {"Accept, cookie"}, "Cache-Control": {"max-age=60"}},
			"set?a=1",
			[]string{"Accept, cookie"},
			[]string{"max-age=60", noCache},
		},
		{"varies by all", http.Header{"Vary": {"*"}}, "get?a", []string{"*"}, nil},
	}
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				v := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					maps.Copy(w.Header(), tt.header)
					pad(w, r)
				})).visitor(t)
				script := tt.script
				if before, after, two := strings.Cut(script, ";-;"); two {
					v.get("/" + before)
					script = after
				}
				a := v.get("/" + script)
				if diff := cmp.Diff(tt.vary, a.Header["Vary"]); diff != "" {
					t.Errorf("Vary (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.cache, a.Header["Cache-Control"]); diff != "" {
					t.Errorf("Cache-Control (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// A session outlives the middleware, the store and the process, as far as its store does.
func TestRestart(t *testing.T) {
	values := map[string]any{"number": 1, "text": "x", "time": time.Unix(1, 2).UTC(), "list": []string{"a", "b"}}
	path := registry.Path(filepath.Join(t.TempDir(), "sessions.db"))
	table, err := registry.New(sqlite.Component)
	if err != nil {
		t.Fatal(err)
	}
	// generation answers one request with a stack of its own.
	generation := func(cookie string, app func(s session.Session) error) (set []*http.Cookie) {
		t.Helper()
		cfg := sqlite.Component.Default
		cfg.Path = path
		i, err := table.All()[0].Open(context.Background(), &cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		h := stackOf(t, settings(i.Product.(session.Store)), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, app(session.Key.Get(r)))
		}))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if w.Code != http.StatusOK {
			t.Fatal(w.Body)
		}
		return answered(w).Cookies()
	}
	cookies := generation("", func(s session.Session) error {
		var errs []error
		for key, value := range values {
			errs = append(errs, s.Set(key, value))
		}
		return errors.Join(errs...)
	})
	got := make(map[string]any)
	generation("session="+cookies[0].Value, func(s session.Session) error {
		keys, err := s.Keys()
		for _, key := range keys {
			value, errGet := s.Get(key)
			err = errors.Join(err, errGet)
			got[key] = value
		}
		return err
	})
	if diff := cmp.Diff(values, got); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// The contract's helper meets what the codec brings back.
func TestValueTypes(t *testing.T) {
	overBoth(t, func(t *testing.T, start func(Config, http.Handler) *site) {
		v := start(settings(memoryStore(t)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.Key.Get(r)
			n, err := session.Value[int](s, "count")
			if err := errors.Join(err, s.Set("count", n+1)); err != nil {
				failure.Report(r, err)
				return
			}
			_ = json.NewEncoder(w).Encode(n + 1)
		})).visitor(t)
		for _, want := range []string{"1", "2", "3"} {
			if got := v.get("/").body; got != want {
				t.Errorf("counted %s, want %s", got, want)
			}
		}
	})
}
