package authforward

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
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
	settings := func(t *testing.T) Config {
		return config(server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Remote-User", "ada")
		}), func(c *Config) {
			c.User, c.ToRequest, c.ToResponse = "Remote-User", []string{"Remote-User"}, []string{"Set-Cookie"}
		})
	}
	registrytest.Run(t, Component, registrytest.Case[Config]{Name: "passes", Settings: settings})
}

// server starts a server to ask, and returns its URL.
func server(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// config returns the default settings for a server to ask, changed by f.
func config(to string, f func(c *Config)) Config {
	c := Component.Default
	c.To = to
	if f != nil {
		f(&c)
	}
	return c
}

// wrap builds the middleware as a stack does.
func wrap(t *testing.T, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	if found := reg.All()[0].Check(&cfg); len(found) > 0 {
		t.Fatal(found)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
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

// request makes a request with an environ.
func request(ctx context.Context, method, target string, header http.Header) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader("a body"))
	r.RemoteAddr = "192.0.2.7:1234"
	maps.Copy(r.Header, header)
	return new(environ.Base).Open(r)
}

// sink takes failures.
type sink []failure.Failure

func (s *sink) Fail(f failure.Failure) { *s = append(*s, f) }

func TestQuestion(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Config)
		method string
		target string
		header http.Header
		want   http.Header
	}{
		{
			name: "defaults", method: http.MethodPost, target: "http://site.example:81/a%20b/?c=d",
			header: http.Header{
				"Cookie": {"a=1", "b=2"}, "Authorization": {"Bearer x"}, "Accept": {"text/html"}, "Accept-Language": {"de"},
				"User-Agent": {"probe"}, "Content-Type": {"text/plain"}, "Content-Length": {"6"}, "X-Own": {"1"}, "If-None-Match": {`"x"`},
				"X-Forwarded-Uri": {"/public"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			},
			want: http.Header{
				"Cookie": {"a=1", "b=2"}, "Authorization": {"Bearer x"}, "Accept": {"text/html"}, "Accept-Language": {"de"},
				"User-Agent": {"probe"}, "X-Forwarded-Method": {"POST"}, "X-Forwarded-Proto": {"http"},
				"X-Forwarded-Host": {"site.example:81"}, "X-Forwarded-Uri": {"/a%20b/?c=d"}, "X-Forwarded-For": {"192.0.2.7"},
			},
		},
		{
			name: "bare", method: http.MethodGet, target: "https://site.example/", // httptest gives it a TLS state
			want: http.Header{
				"X-Forwarded-Method": {"GET"}, "X-Forwarded-Proto": {"https"},
				"X-Forwarded-Host": {"site.example"}, "X-Forwarded-Uri": {"/"}, "X-Forwarded-For": {"192.0.2.7"},
			},
		},
		{
			name: "chosen", method: http.MethodGet, target: "http://site.example/",
			change: func(c *Config) { c.Send = []string{"x-own", "X-Forwarded-Proto"} },
			header: http.Header{"Cookie": {"a=1"}, "X-Own": {"1"}, "X-Forwarded-Proto": {"https"}},
			want: http.Header{
				"X-Forwarded-Method": {"GET"}, "X-Forwarded-Proto": {"https"}, "X-Own": {"1"},
				"X-Forwarded-Host": {"site.example"}, "X-Forwarded-Uri": {"/"}, "X-Forwarded-For": {"192.0.2.7"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := make(chan *http.Request, 1)
			to := server(t, func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || len(body) > 0 {
					t.Errorf("the question has the body %q (%v)", body, err)
				}
				asked <- r
			})
			reached := false
			h := wrap(t, config(to+"/verify?x=y", test.change), func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				reached = err == nil && string(body) == "a body"
			})
			h.ServeHTTP(httptest.NewRecorder(), request(t.Context(), test.method, test.target, test.header))
			if !reached {
				t.Fatal("the request didn't reach the app whole")
			}
			q := <-asked
			if q.Method != http.MethodGet || q.URL.RequestURI() != "/verify?x=y" {
				t.Errorf("it asked %s %s", q.Method, q.URL)
			}
			if diff := cmp.Diff(test.want, q.Header); diff != "" {
				t.Errorf("the question's header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPasses(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNoContent, 299} {
		to := server(t, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Remote-User", "ada")
			h["Remote-Groups"] = []string{"staff", "admin"}
			h["Set-Cookie"] = []string{"a=1", "b=2"}
			h.Set("X-Internal", "1")
			w.WriteHeader(status)
		})
		cfg := config(to, func(c *Config) {
			c.ToRequest = []string{"remote-user", "Remote-Groups", "Remote-Email"}
			c.ToResponse, c.User = []string{"Set-Cookie"}, "Remote-User"
		})
		var user string
		var inside http.Header
		h := wrap(t, cfg, func(w http.ResponseWriter, r *http.Request) {
			user, inside = environ.User.Get(r), r.Header
			http.SetCookie(w, &http.Cookie{Name: "c", Value: "3"})
		})
		r := request(t.Context(), http.MethodGet, "/", http.Header{
			"Remote-User": {"root"}, "Remote_user": {"root"}, "Remote_Groups": {"wheel"}, "Remote-Email": {"root@example.org"}, "X-Kept": {"1"}, "Connection": {"close, remote-user"},
		})
		before := r.Header.Clone()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)

		if user != "ada" {
			t.Errorf("the user is %q", user)
		}
		if diff := cmp.Diff(http.Header{"Remote-User": {"ada"}, "Remote-Groups": {"staff", "admin"}, "X-Kept": {"1"}, "Connection": {"close"}}, inside); diff != "" {
			t.Errorf("the app's request (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(http.Header{"Set-Cookie": {"a=1", "b=2", "c=3"}}, w.Header()); diff != "" {
			t.Errorf("the response (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, r.Header); diff != "" {
			t.Errorf("the request given was changed:\n%s", diff)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		body   string
		want   http.Header
	}{
		{
			"asked for a password", http.StatusUnauthorized,
			http.Header{"Www-Authenticate": {"Basic"}, "Content-Type": {"text/html"}},
			"<p>Who are you?",
			http.Header{"Www-Authenticate": {"Basic"}, "Content-Type": {"text/html"}, "Cache-Control": {"no-store"}, "Set-Cookie": {"outer=1"}},
		},
		{
			"sent to log in", http.StatusFound,
			http.Header{"Location": {"https://login.example/"}, "Set-Cookie": {"a=1", "b=2"}, "Content-Type": {"text/plain"}, "Cache-Control": {"private"}},
			"",
			http.Header{"Location": {"https://login.example/"}, "Set-Cookie": {"outer=1", "a=1", "b=2"}, "Content-Type": {"text/plain"}, "Cache-Control": {"private"}},
		},
		{
			"for one hop", http.StatusForbidden,
			http.Header{"Connection": {"x-hop"}, "X-Hop": {"1"}, "Keep-Alive": {"5"}, "Content-Type": {"text/plain"}},
			"no",
			http.Header{"Content-Type": {"text/plain"}, "Cache-Control": {"no-store"}, "Set-Cookie": {"outer=1"}},
		},
		{
			"a long page", http.StatusForbidden,
			http.Header{"Content-Type": {"text/plain"}},
			strings.Repeat("x", maxBody),
			http.Header{"Content-Type": {"text/plain"}, "Cache-Control": {"no-store"}, "Set-Cookie": {"outer=1"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			to := server(t, func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			h := wrap(t, config(to, nil), func(http.ResponseWriter, *http.Request) { t.Error("it passed") })
			w := httptest.NewRecorder()
			w.Header().Set("Set-Cookie", "outer=1")
			w.Header().Set("Content-Type", "application/outer")
			h.ServeHTTP(w, request(t.Context(), http.MethodGet, "/", nil))

			got := w.Header()
			got.Del("Date")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the response (-want +got):\n%s", diff)
			}
			if w.Code != test.status || w.Body.String() != test.body {
				t.Errorf("got %d with %d bytes, want %d with %d", w.Code, w.Body.Len(), test.status, len(test.body))
			}
		})
	}
}

// Nothing that is wrong lets a request pass.
func TestFails(t *testing.T) {
	status := func(status int) func(*testing.T) string {
		return func(t *testing.T) string {
			return server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		}
	}
	for _, test := range []struct {
		name string
		to   func(t *testing.T) string
		want int
		says string
	}{
		{"an error", status(500), 502, "status 500"},
		{"not modified", status(304), 502, "status 304"},
		{"an upgrade", status(101), 502, "status 101"},
		{"nobody there", func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			return "http://" + l.Addr().String()
		}, 502, "refused"},
		{"cut", func(t *testing.T) string {
			return server(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, 502, "EOF"},
		{"cut amid the body", func(t *testing.T) string {
			return server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "x")
			})
		}, 502, "EOF"},
		{"too long", func(t *testing.T) string {
			return server(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", maxBody+1)) })
		}, 502, "longer than 1048576 bytes"},
		{"too late", func(t *testing.T) string {
			return server(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}, 504, "no answer within 50ms"},
		{"too late with the body", func(t *testing.T) string {
			return server(t, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush() // the client gives up in any case
				<-r.Context().Done()
			})
		}, 504, "no answer within 50ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(test.to(t), func(c *Config) {
				if test.want == http.StatusGatewayTimeout {
					c.Timeout = 50 * time.Millisecond
				}
			})
			h := wrap(t, cfg, func(http.ResponseWriter, *http.Request) { t.Error("it passed") })
			var failures sink
			r := request(t.Context(), http.MethodGet, "/", nil)
			failure.Key.Set(r, failure.Sink(&failures))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if len(failures) != 1 {
				t.Fatalf("it reported %v", failures)
			}
			err := failures[0].Err
			if failure.Status(err) != test.want || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), cfg.To) {
				t.Errorf("it reported %d: %v; want %d, %q and the URL", failure.Status(err), err, test.want, test.says)
			}
			if len(w.Header()) > 0 || w.Body.Len() > 0 {
				t.Errorf("it answered itself: %v", w.Header())
			}
		})
	}
}

// The question is given up when the client is gone.
func TestClientGone(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	h := wrap(t, config(server(t, func(_ http.ResponseWriter, r *http.Request) {
		leave()
		<-r.Context().Done()
	}), nil), func(http.ResponseWriter, *http.Request) { t.Error("it passed") })
	var failures sink
	r := request(ctx, http.MethodGet, "/", nil)
	failure.Key.Set(r, failure.Sink(&failures))
	h.ServeHTTP(httptest.NewRecorder(), r)
	if len(failures) != 1 || !errors.Is(failures[0].Err, context.Canceled) || failure.Status(failures[0].Err) != http.StatusBadGateway {
		t.Errorf("it reported %v", failures)
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"good", Config{To: "https://auth.example/verify?x=y", Send: []string{"cookie"}, ToRequest: []string{"Remote-User"}, User: "Remote-User"}, ""},
		{"scheme", Config{To: "ftp://auth.example/"}, "to has the scheme ftp; it must be http or https"},
		{"password", Config{To: "http://ada:sesame@auth.example/"}, "to has a user or a password, which would be shown in logs; it must have none"},
		{"send", Config{To: "http://auth.example/", Send: []string{"Cookie", "A B"}}, `send[1] is "A B"; it must be the name of a field, such as Remote-User`},
		{"length", Config{To: "http://auth.example/", ToRequest: []string{"content-length"}}, "to_request[0] is content-length; it must not be a field about the connection or the length of the body"},
		{"response", Config{To: "http://auth.example/", ToResponse: []string{""}}, `to_response[0] is ""; it must be the name of a field, such as Remote-User`},
		{"user", Config{To: "http://auth.example/", User: "Upgrade"}, "user is Upgrade; it must not be a field about the connection or the length of the body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestTraits(t *testing.T) {
	if got := (Config{}).Traits(Component.Traits).Provides; len(got) != 0 {
		t.Errorf("without user it provides %v", got)
	}
	if got := (Config{User: "Remote-User"}).Traits(Component.Traits).Provides; len(got) != 1 || got[0].Name() != environ.User.Name() {
		t.Errorf("with user it provides %v", got)
	}
}
