//go:build unix

package cgi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/factories/cgi"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
)

// dump is a script that answers with its environment.
const dump = "printf 'Content-Type: text/plain\\n\\n'; env"

func TestEnvironment(t *testing.T) {
	t.Setenv("STACKD_TEST_SECRET", "must not be seen")
	t.Setenv("STACKD_TEST_LANG", "C.UTF-8")
	s := newSite(t, map[string]string{"env": dump}, func(c *cgi.Config) {
		c.Env = map[string]string{"COLOR": "blue", "REMOTE_USER": "ada", "SCRIPT_NAME": "faked"}
		c.Secrets = map[string]registry.Secret{"PASSWORD": registry.NewSecret("sesame")}
		c.Inherit = append(c.Inherit, "STACKD_TEST_LANG", "STACKD_TEST_NOT_SET")
	})
	environ.Vars.Preset(&s.Base, map[string]any{
		"theme": "dark", "max-age": 10, "ratio": 1.5, "debug": true, "list": []any{1}, "nested": map[string]any{"a": 1}, "none": nil,
	})
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.Server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	const absent = "(absent)"
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		body               io.Reader
		want               map[string]string
	}{
		{name: "get", method: "GET", path: "/env", want: map[string]string{
			"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/env", "PATH_INFO": "", "PATH_TRANSLATED": absent,
			"QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": host, "SERVER_PORT": port, "SERVER_SOFTWARE": "stackd",
			"REMOTE_ADDR": "127.0.0.1", "REMOTE_HOST": "127.0.0.1", "REQUEST_URI": "/env", "CONTENT_LENGTH": absent, "CONTENT_TYPE": absent,
			"SCRIPT_FILENAME": filepath.Join(s.Dir, "env"), "DOCUMENT_ROOT": s.Dir, "REDIRECT_STATUS": "200", "HTTPS": absent,
			"AUTH_TYPE": absent, "HTTP_HOST": host + ":" + port, "PWD": s.Dir, "PATH": os.Getenv("PATH"),
		}},
		{name: "path info", method: "GET", path: "/env/a%20b/../c//d?x=%20y&z", want: map[string]string{
			"PATH_INFO": "/a b/../c//d", "PATH_TRANSLATED": filepath.Join(s.Dir, "c/d"), "QUERY_STRING": "x=%20y&z",
			"REQUEST_URI": "/env/a%20b/../c//d?x=%20y&z",
		}},
		{name: "body", method: "POST", path: "/env", body: strings.NewReader("12345"), header: http.Header{"Content-Type": {"text/x"}}, want: map[string]string{
			"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5", "CONTENT_TYPE": "text/x", "HTTP_CONTENT_LENGTH": absent, "HTTP_CONTENT_TYPE": absent,
		}},
		{name: "chunked body", method: "PUT", path: "/env", body: io.MultiReader(strings.NewReader("12345")), want: map[string]string{"CONTENT_LENGTH": "5"}},
		{name: "empty body", method: "POST", path: "/env", want: map[string]string{"CONTENT_LENGTH": "0"}},
		{name: "other method", method: "PROPFIND", path: "/env", want: map[string]string{"REQUEST_METHOD": "PROPFIND"}},
		{name: "fields", method: "GET", path: "/env", header: http.Header{
			"X-Two": {"a", "b"}, "Cookie": {"a=1", "b=2"}, "Accept-Language": {"de"}, "X-Shell": {"() { :; }; echo $(id)"},
		}, want: map[string]string{
			"HTTP_X_TWO": "a, b", "HTTP_COOKIE": "a=1; b=2", "HTTP_ACCEPT_LANGUAGE": "de", "HTTP_X_SHELL": "() { :; }; echo $(id)",
		}},
		{name: "fields left out", method: "GET", path: "/env", header: http.Header{
			"Proxy": {"http://evil.example"}, "X_Under": {"1"}, "X.Dot": {"1"}, "Authorization": {"Basic abc"}, "Proxy-Authorization": {"Basic abc"},
		}, want: map[string]string{
			"HTTP_PROXY": absent, "HTTP_X_UNDER": absent, "HTTP_X_DOT": absent, "HTTP_AUTHORIZATION": absent, "HTTP_PROXY_AUTHORIZATION": absent,
		}},
		{name: "vars", method: "GET", path: "/env", want: map[string]string{
			"STACKD_VAR_THEME": "dark", "STACKD_VAR_MAX_AGE": "10", "STACKD_VAR_RATIO": "1.5", "STACKD_VAR_DEBUG": "true",
			"STACKD_VAR_LIST": absent, "STACKD_VAR_NESTED": absent, "STACKD_VAR_NONE": absent,
		}},
		{name: "settings", method: "GET", path: "/env", want: map[string]string{
			"COLOR": "blue", "PASSWORD": "sesame", "REMOTE_USER": "ada", "SCRIPT_NAME": "/env",
			"STACKD_TEST_SECRET": absent, "STACKD_TEST_LANG": "C.UTF-8", "STACKD_TEST_NOT_SET": absent, "HOME": absent,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := s.Request(tt.method, tt.path, tt.body)
			maps.Copy(r.Header, tt.header)
			res := s.Send(r)
			s.Quiet()
			env := make(map[string]string)
			for line := range strings.Lines(res.Text) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				env[name] = value
			}
			got := make(map[string]string)
			for name := range tt.want {
				value, ok := env[name]
				if !ok {
					value = absent
				}
				got[name] = value
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNoHost proves that a script knows the server's name though the client, of HTTP/1.0, gave it none (RFC 3875, 4.1.14).
func TestNoHost(t *testing.T) {
	s := newSite(t, map[string]string{"env": dump}, nil)
	c, err := net.Dial("tcp", s.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /env HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if text := string(answer); err != nil || !strings.Contains(text, "\nSERVER_NAME=127.0.0.1\n") || strings.Contains(text, "HTTP_HOST") {
		t.Errorf("answered with %s (%v); want the address for a name, and no HTTP_HOST", text, err)
	}
}

func TestUser(t *testing.T) {
	for _, tt := range []struct{ name, user, want string }{
		{"known", "ada", "\nREMOTE_USER=ada\n"},
		{"unknown, and set", "", "\nREMOTE_USER=anybody\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"env": dump}, func(c *cgi.Config) { c.Env = map[string]string{"REMOTE_USER": "anybody"} })
			if tt.user != "" {
				environ.User.Preset(&s.Base, tt.user)
			}
			if res := s.Send(s.Request("GET", "/env", nil)); !strings.Contains("\n"+res.Text, tt.want) || strings.Count(res.Text, "REMOTE_USER=") != 1 {
				t.Errorf("the environment has no %q, or another one too:\n%s", tt.want, res.Text)
			}
		})
	}
}

func TestAuthorization(t *testing.T) {
	s := newSite(t, map[string]string{"env": dump}, func(c *cgi.Config) { c.Authorization = true })
	r := s.Request("GET", "/env", nil)
	r.SetBasicAuth("ada", "secret")
	if res := s.Send(r); !strings.Contains(res.Text, "\nHTTP_AUTHORIZATION=Basic ") {
		t.Errorf("the environment has no HTTP_AUTHORIZATION:\n%s", res.Text)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, method, script string
		status               int
		header               http.Header
		body                 string
		fails                string // the beginning of what is reported
		cut                  bool   // the body can't be read to its end
	}{
		{name: "document", script: `printf 'Content-Type: text/plain\n\nhello'`, status: 200, header: http.Header{"Content-Type": {"text/plain"}}, body: "hello"},
		{name: "empty document", script: `printf 'Content-Type: text/plain\n\n'`, status: 200},
		{name: "status", script: `printf 'Status: 418 Teapot\nContent-Type: text/plain\n\nshort and stout'`, status: 418, body: "short and stout"},
		{name: "redirect", script: `printf 'Location: /there\n\n'`, status: 302, header: http.Header{"Location": {"/there"}}},
		{name: "type is not guessed", script: `printf 'Status: 200\n\n<html>'`, status: 200, header: http.Header{"Content-Type": nil}, body: "<html>"},
		{name: "length", script: `printf 'Content-Type: a/b\nContent-Length: 5\n\nhello'`, status: 200, header: http.Header{"Content-Length": {"5"}}, body: "hello"},
		{name: "no content", script: `printf 'Status: 204\n\nthrown away'`, status: 204},
		{name: "not modified", script: `printf 'Status: 304\nETag: "x"\n\n'`, status: 304, header: http.Header{"Etag": {`"x"`}}},
		{name: "head", method: "HEAD", script: `printf 'Content-Type: a/b\nContent-Length: 5\n\nhello'`, status: 200, header: http.Header{"Content-Length": {"5"}, "Content-Type": {"a/b"}}},
		{name: "head of much", method: "HEAD", script: `printf 'Content-Type: a/b\n\n'; head -c 1000000 /dev/zero`, status: 200},
		{name: "cookies", script: `printf 'Content-Type: a/b\nSet-Cookie: a=1\nSet-Cookie: b=2\n\n'`, status: 200, header: http.Header{"Set-Cookie": {"a=1", "b=2"}}},
		{name: "nothing", script: ``, status: 502, fails: "script: it ended without writing anything"},
		{name: "no header", script: `echo "oops"; echo`, status: 502, fails: `script: line 1 of the header is "oops"; it must be a field`},
		{name: "exit before the header", script: `exit 3`, status: 502, fails: "script: it ended without writing anything (exit status 3)"},
		{name: "exit after the header", script: `printf 'Content-Type: a/b\n\n'; exit 3`, status: 502, fails: "script: exit status 3"},
		{name: "exit after the header of head", method: "HEAD", script: `printf 'Content-Type: a/b\n\nhello'; exit 3`, status: 502, fails: "script: exit status 3"},
		{name: "body missing", script: `printf 'Content-Type: a/b\nContent-Length: 9\n\n'`, status: 502, fails: "script: the body ends 9 bytes before its Content-Length"},
		{name: "exit after the body", script: `printf 'Content-Type: a/b\n\nhello'; exit 3`, status: 200, fails: "script: exit status 3", cut: true},
		{name: "signal", script: `printf 'Content-Type: a/b\n\nhello'; kill -9 $$`, status: 200, fails: "script: signal: killed", cut: true},
		{name: "body too short", script: `printf 'Content-Type: a/b\nContent-Length: 9\n\nhello'`, status: 200, fails: "script: the body ends 4 bytes before its Content-Length", cut: true},
		{name: "body too long", script: `printf 'Content-Type: a/b\nContent-Length: 4\n\nhello'`, status: 200, fails: "script: the body is longer than its Content-Length", cut: true},
		{name: "header too long", script: `printf 'Content-Type: a/b\nX: '; head -c 70000 /dev/zero | tr '\0' x; printf '\n\n'`, status: 502, fails: "script: the header is longer than max_header, 65536 bytes"},
		{name: "endless header", script: `while :; do echo 'X: y'; done`, status: 502, fails: "script: the header is longer than max_header, 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, map[string]string{"script": tt.script}, nil)
			s.Server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			method := "GET"
			if tt.method != "" {
				method = tt.method
			}
			res, err := s.Do(s.Server.Client(), s.Request(method, "/script", nil))
			if tt.cut {
				if err == nil && res.Err == nil {
					t.Error("the response was whole; it must be cut")
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				if res.Err != nil {
					t.Errorf("the body can't be read: %v", res.Err)
				}
				if res.StatusCode != tt.status {
					t.Errorf("the status is %d; it must be %d", res.StatusCode, tt.status)
				}
			}
			if tt.fails != "" {
				if err := s.Failure(); !strings.HasPrefix(err.Error(), tt.fails) || failure.Status(err) != 502 {
					t.Errorf("it was reported with status %d:\n%v\nit must be with 502:\n%s", failure.Status(err), err, tt.fails)
				}
				return
			}
			s.Quiet()
			if res.Text != tt.body {
				t.Errorf("the body is %q; it must be %q", res.Text, tt.body)
			}
			for name, want := range tt.header {
				if diff := cmp.Diff(want, res.Header[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestStandardError(t *testing.T) {
	s := newSite(t, map[string]string{
		"fails": `echo "line 1" >&2; echo "line 2" >&2; exit 1`,
		"much":  `head -c 100000 /dev/zero | tr '\0' x >&2; echo end >&2; exit 1`,
		"well":  `echo careful >&2; printf 'Content-Type: text/plain\n\nfine'; echo "twice" >&2`,
	}, nil)
	t.Run("in the report", func(t *testing.T) {
		s.Get("/fails")
		err := s.Failure()
		detailed, ok := errors.AsType[failure.Detailed](err)
		if !ok {
			t.Fatalf("the error is %v; it must have details", err)
		}
		want := []failure.Detail{{Title: "standard error of fails", Text: "line 1\nline 2\n"}}
		if diff := cmp.Diff(want, detailed.Details()); diff != "" {
			t.Errorf("details (-want +got):\n%s", diff)
		}
		if log := s.Logged(); log != "" {
			t.Errorf("it was logged as well: %s", log)
		}
	})
	t.Run("only its end", func(t *testing.T) {
		s.Get("/much")
		detailed, ok := errors.AsType[failure.Detailed](s.Failure())
		if !ok {
			t.Fatal("the error must have details")
		}
		text := detailed.Details()[0].Text
		if len(text) != 64<<10+len("…") || !strings.HasPrefix(text, "…x") || !strings.HasSuffix(text, "xend\n") {
			t.Errorf("%d bytes are kept, %.5q to %q", len(text), text, text[len(text)-5:])
		}
	})
	t.Run("in the log", func(t *testing.T) {
		if res := s.Get("/well"); res.Text != "fine" {
			t.Errorf("the body is %q", res.Text)
		}
		s.Server.Close() // the line is logged after the response
		log := s.Logged()
		for _, want := range []string{`"level":"WARN"`, `"script":"well"`, `"line":"careful"`, `"line":"twice"`} {
			if !strings.Contains(log, want) {
				t.Errorf("the log has no %s:\n%s", want, log)
			}
		}
	})
}

// noise returns bytes that don't repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b)
	return b
}

func TestEcho(t *testing.T) {
	s := newSite(t, map[string]string{"echo": `printf 'Content-Type: application/octet-stream\nX-Length: %s\n\n' "$CONTENT_LENGTH"; cat`}, nil)
	data := noise(20 << 20)
	for _, protocol := range []struct {
		name   string
		client *http.Client
	}{{"HTTP/1.1", s.Server.Client()}, {"HTTP/2", s.http2()}} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chunked %v", protocol.name, chunked), func(t *testing.T) {
				r := s.Request("POST", "/echo", bytes.NewReader(data))
				if chunked {
					r.ContentLength = -1
				}
				res := s.SendBy(protocol.client, r)
				s.Quiet()
				if res.Err != nil || sha256.Sum256([]byte(res.Text)) != sha256.Sum256(data) {
					t.Errorf("%d bytes came back (%v); they must be the %d sent", len(res.Text), res.Err, len(data))
				}
				if got := res.Header.Get("X-Length"); got != strconv.Itoa(len(data)) {
					t.Errorf("CONTENT_LENGTH is %s; it must be %d", got, len(data))
				}
			})
		}
	}
}

// The answer arrives as it is written, while the script runs.
func TestStreams(t *testing.T) {
	go1, go2 := fifo(t), fifo(t)
	s := newSite(t, map[string]string{"slow": fmt.Sprintf(`
		printf 'Content-Type: text/plain\n\nfirst'
		read x < %s; printf 'second'
		read x < %s; printf 'third'`, go1, go2)}, nil)
	for name, client := range map[string]*http.Client{"HTTP/1.1": s.Server.Client(), "HTTP/2": s.http2()} {
		t.Run(name, func(t *testing.T) {
			res, err := client.Do(s.Request("GET", "/slow", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var got []string
			got = append(got, hear(t, res.Body, len("first")))
			say(t, open(t, go1, os.O_WRONLY), "go")
			got = append(got, hear(t, res.Body, len("second")))
			say(t, open(t, go2, os.O_WRONLY), "go")
			got = append(got, hear(t, res.Body, len("third")))
			if diff := cmp.Diff([]string{"first", "second", "third"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The script answers to the first half of a body before the second is sent.
func TestBothWays(t *testing.T) {
	s := newSite(t, map[string]string{"cat": `printf 'Content-Type: text/plain\n\n'; exec cat`}, nil)
	for name, client := range map[string]*http.Client{"HTTP/1.1": s.Server.Client(), "HTTP/2": s.http2()} {
		t.Run(name, func(t *testing.T) {
			out, in := io.Pipe()
			r := s.Request("POST", "/cat", out)
			r.ContentLength = int64(len("ping pong"))
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				if _, err := io.WriteString(in, "ping "); err != nil {
					t.Error(err)
				}
			})
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got := hear(t, res.Body, len("ping ")); got != "ping " {
				t.Errorf("it answers %q", got)
			}
			if _, err := io.WriteString(in, "pong"); err != nil {
				t.Fatal(err)
			}
			in.Close()
			if got := hear(t, res.Body, len("pong")); got != "pong" {
				t.Errorf("it answers %q", got)
			}
		})
	}
}

// A script that doesn't read its input answers all the same, and the connection or the next one
// is good for the next request.
func TestInputNotRead(t *testing.T) {
	s := newSite(t, map[string]string{"deaf": `printf 'Content-Type: text/plain\n\nhello'`}, nil)
	for i := range 5 {
		for _, size := range []int{10, 1 << 20} {
			r := s.Request("POST", "/deaf", bytes.NewReader(noise(size)))
			if res := s.Send(r); res.Text != "hello" || res.Err != nil {
				t.Errorf("request %d with %d bytes: the body is %q (%v)", i, size, res.Text, res.Err)
			}
			s.Quiet()
		}
	}
	t.Run("from a client that stops sending", func(t *testing.T) {
		out, in := io.Pipe()
		defer in.Close()
		r := s.Request("POST", "/deaf", out)
		r.ContentLength = 100
		if res := s.Send(r); res.Text != "hello" {
			t.Errorf("the body is %q (%v)", res.Text, res.Err)
		}
		s.Quiet()
	})
}

// When the client goes away the script ends, with what it started.
func TestKilledWithRequest(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"script", `echo ready >&3; exec sleep 1000`},
		{"shell that waits", `echo ready >&3; sleep 1000`},
		{"background process", `sleep 1000 & echo ready >&3; wait`},
		{"grandchild", `sh -c 'sleep 1000 & sleep 1000' & echo ready >&3; wait`},
		{"ignoring sigterm", `trap '' TERM; echo ready >&3; while :; do sleep 1000; done`},
		{"writing", `echo ready >&3; while :; do echo more || exit 1; done`},
		{"reading", `echo ready >&3; cat >/dev/null; sleep 1000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alive := fifo(t)
			// All that it starts keeps the fifo open.
			s := newSite(t, map[string]string{"script": "exec 3>" + alive + "\nprintf 'Content-Type: text/plain\\n\\n'\n" + tt.script}, func(c *cgi.Config) {
				c.KillDelay = 20 * time.Millisecond
			})
			ctx, cancel := context.WithCancel(t.Context())
			body, in := io.Pipe()
			defer in.Close()
			r := s.Request("POST", "/script", body).WithContext(ctx)
			r.ContentLength = 100
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = s.Do(s.Server.Client(), r) })
			f := open(t, alive, os.O_RDONLY)
			hear(t, f, len("ready\n"))
			cancel()
			if rest, err := io.ReadAll(f); err != nil || len(rest) > 0 {
				t.Errorf("after it was killed there is %q (%v)", rest, err)
			}
			in.Close()
			wg.Wait()
		})
	}
}

// What a script leaves in its process group ends with it, and doesn't hold the response up. What left the
// group lives on.
func TestLeftBehind(t *testing.T) {
	t.Run("in the group", func(t *testing.T) {
		alive := fifo(t)
		s := newSite(t, map[string]string{"script": "exec 3>" + alive + "; sleep 1000 & printf 'Content-Type: text/plain\\n\\nhello'"}, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if rest, err := io.ReadAll(open(t, alive, os.O_RDONLY)); err != nil || len(rest) > 0 {
				t.Errorf("there is %q (%v)", rest, err)
			}
		})
		if res := s.Get("/script"); res.Text != "hello" || res.Err != nil {
			t.Errorf("the body is %q (%v)", res.Text, res.Err)
		}
		s.Quiet()
		wg.Wait()
	})
	t.Run("out of the group", func(t *testing.T) {
		needs(t, "setsid")
		left, ears, mouth := fifo(t), fifo(t), fifo(t)
		s := newSite(t, map[string]string{"script": fmt.Sprintf(
			`setsid sh -c 'echo left > %[1]s; read x < %[2]s; echo $x > %[3]s' & read x < %[1]s; printf 'Content-Type: text/plain\n\nhello'`,
			left, ears, mouth)}, nil)
		if res := s.Get("/script"); res.Text != "hello" || res.Err != nil {
			t.Errorf("the body is %q (%v)", res.Text, res.Err)
		}
		s.Quiet()
		say(t, open(t, ears, os.O_WRONLY), "alive")
		if got, err := io.ReadAll(open(t, mouth, os.O_RDONLY)); err != nil || string(got) != "alive\n" {
			t.Errorf("it says %q (%v)", got, err)
		}
	})
}

func TestTimeout(t *testing.T) {
	s := newSite(t, map[string]string{
		"header": `sleep 1000`,
		"body":   `printf 'Content-Type: text/plain\n\nhello'; sleep 1000`,
		"input":  `exec <&0; sleep 1000`,
		"closed": `printf 'Content-Type: text/plain\n\nhello'; exec >&- ; sleep 1000`,
		"sum":    `printf 'Content-Type: text/plain\n\n'; cat`,
	}, func(c *cgi.Config) { c.Timeout = 200 * time.Millisecond })
	for _, tt := range []struct {
		name, path string
		body       []byte
		cut        bool
	}{
		{"before the header", "/header", nil, false},
		{"in the body", "/body", nil, true},
		{"not reading", "/input", noise(1 << 20), false},
		{"after closing its output", "/closed", nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, err := s.Do(s.Server.Client(), s.Request("POST", tt.path, bytes.NewReader(tt.body)))
			if tt.cut && err == nil && res.Err == nil {
				t.Error("the response is whole; it must be cut")
			}
			if !tt.cut && (err != nil || res.StatusCode != 504) {
				t.Errorf("the answer is %+v (%v); the status must be 504", res.Response, err)
			}
			got := s.Failure()
			if want := strings.TrimPrefix(tt.path, "/") + ": it did nothing for longer than timeout"; got.Error() != want || failure.Status(got) != 504 {
				t.Errorf("it was reported with %d: %v; it must be with 504: %s", failure.Status(got), got, want)
			}
		})
	}
	t.Run("not while the client is slow", func(t *testing.T) {
		body, in := io.Pipe()
		r := s.Request("POST", "/sum", body)
		r.ContentLength = 2
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 2 {
				<-time.After(400 * time.Millisecond) // twice the timeout, which is what this is about
				if _, err := io.WriteString(in, "x"); err != nil {
					t.Error(err)
				}
			}
			in.Close()
		})
		if res := s.Send(r); res.Text != "xx" {
			t.Errorf("the body is %q (%v)", res.Text, res.Err)
		}
		s.Quiet()
		wg.Wait()
	})
}

func TestMaxProcesses(t *testing.T) {
	start := func(t *testing.T, queue time.Duration) (s *site, running *os.File, release func()) {
		ready, wait := fifo(t), fifo(t)
		s = newSite(t, map[string]string{
			"slow": fmt.Sprintf("echo ready > %s; read x < %s; printf 'Content-Type: text/plain\\n\\nslow'", ready, wait),
			"fast": `printf 'Content-Type: text/plain\n\nfast'`,
		}, func(c *cgi.Config) { c.MaxProcesses, c.QueueTimeout = 1, queue })
		return s, open(t, ready, os.O_RDWR), func() { say(t, open(t, wait, os.O_WRONLY), "go") }
	}
	t.Run("refused", func(t *testing.T) {
		s, ready, release := start(t, time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() {
			if res := s.Get("/slow"); res.Text != "slow" {
				t.Errorf("the body is %q", res.Text)
			}
		})
		hear(t, ready, len("ready\n"))
		if res := s.Get("/fast"); res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
			t.Errorf("the status is %d, Retry-After %q; they must be 503 and 1", res.StatusCode, res.Header.Get("Retry-After"))
		}
		release()
		wg.Wait()
	})
	t.Run("served in the end", func(t *testing.T) {
		s, ready, release := start(t, time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { s.Get("/slow") })
		hear(t, ready, len("ready\n"))
		wg.Go(func() {
			if res := s.Get("/fast"); res.Text != "fast" {
				t.Errorf("the body is %q", res.Text)
			}
		})
		release()
		wg.Wait()
		s.Quiet()
	})
	t.Run("not waiting for a client that is gone", func(t *testing.T) {
		s, ready, release := start(t, time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() { s.Get("/slow") })
		hear(t, ready, len("ready\n"))
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { _, _ = s.Do(s.Server.Client(), s.Request("GET", "/fast", nil).WithContext(ctx)) })
		cancel()
		release()
		wg.Wait()
	})
}

func TestBodyRefused(t *testing.T) {
	s := newSite(t, map[string]string{"cat": `printf 'Content-Type: text/plain\n\n'; cat`, "late": `cat >/dev/null; printf 'Content-Type: text/plain\n\n'`}, func(c *cgi.Config) { c.MaxSpool = 100 })
	t.Run("just fits", func(t *testing.T) {
		res := s.Send(s.Request("POST", "/cat", io.MultiReader(bytes.NewReader(noise(100)))))
		if res.StatusCode != 200 || len(res.Text) != 100 {
			t.Errorf("the status is %d, the length %d", res.StatusCode, len(res.Text))
		}
	})
	t.Run("too long to spool", func(t *testing.T) {
		res := s.Send(s.Request("POST", "/cat", io.MultiReader(bytes.NewReader(noise(101)))))
		if err := s.Failure(); res.StatusCode != 413 {
			t.Errorf("the status is %d (%v); it must be 413", res.StatusCode, err)
		}
	})
	t.Run("longer than the server takes", func(t *testing.T) {
		for _, chunked := range []bool{false, true} {
			handler := s.Server.Config.Handler
			s.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r2 := r.WithContext(r.Context())
				r2.Body = http.MaxBytesReader(w, r.Body, 10)
				handler.ServeHTTP(w, r2)
			})
			r := s.Request("POST", "/late", bytes.NewReader(noise(20)))
			if chunked {
				r.ContentLength = -1
			}
			res := s.Send(r)
			s.Server.Config.Handler = handler
			if err := s.Failure(); res.StatusCode != 413 {
				t.Errorf("chunked %v: the status is %d (%v); it must be 413", chunked, res.StatusCode, err)
			}
		}
	})
}

func TestCommand(t *testing.T) {
	s := newSite(t, nil, func(c *cgi.Config) {
		c.Command = []string{"sh", "-c", `printf 'Content-Type: text/plain\n\n'; cat "$SCRIPT_FILENAME"`}
	})
	if err := os.WriteFile(filepath.Join(s.Dir, "page.x"), []byte("not executable"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := s.Get("/page.x"); res.Text != "not executable" {
		t.Errorf("the body is %q", res.Text)
	}
	s.Quiet()
}

func TestMake(t *testing.T) {
	s := newSite(t, map[string]string{"script": ""}, nil)
	if err := os.WriteFile(filepath.Join(s.Dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	inArchive := s.File("script")
	inArchive.Root = ""
	for _, tt := range []struct {
		name string
		file *resource.File
		want string
	}{
		{"not executable", s.File("plain"), "plain isn't executable; it must be (chmod +x), unless command is set"},
		{"folder", s.File("folder"), "folder is no regular file; a script must be"},
		{"not on disk", inArchive, "script isn't a file on disk, so it can't be run"},
		{"gone", s.File("none"), "stat none: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Factory.Make(tt.file); err == nil || err.Error() != tt.want {
				t.Errorf("the error is %v; it must be %s", err, tt.want)
			}
		})
	}
	app, err := s.Factory.Make(s.File("script"))
	if err != nil {
		t.Fatal(err)
	}
	if !app.PathInfo || app.Methods != nil {
		t.Errorf("the app has path info %v and methods %q; it must take any", app.PathInfo, app.Methods)
	}
}

func TestNotStarted(t *testing.T) {
	s := newSite(t, nil, nil)
	s.write("bad", "#!/no/such/interpreter\n")
	if res := s.Get("/bad"); res.StatusCode != 502 {
		t.Errorf("the status is %d; it must be 502", res.StatusCode)
	}
	if err := s.Failure(); !strings.HasPrefix(err.Error(), "bad: it can't be started: ") {
		t.Errorf("it was reported: %v", err)
	}
}

// TestLongField proves that a header which no environment can hold is the client's error. Linux takes 128 KiB for a variable.
func TestLongField(t *testing.T) {
	s := newSite(t, map[string]string{"script": `printf 'Content-Type: text/plain\n\n'`}, nil)
	r := s.Request("GET", "/script", nil)
	r.Header.Set("Cookie", strings.Repeat("x", 512<<10))
	if res := s.Send(r); runtime.GOOS == "linux" && res.StatusCode != 431 {
		t.Errorf("the status is %d; it must be 431", res.StatusCode)
	}
}

func TestConcurrent(t *testing.T) {
	s := newSite(t, map[string]string{"echo": `printf 'Content-Type: text/plain\n\n'; cat; printf '%s' "$PATH_INFO"`}, func(c *cgi.Config) {
		c.MaxProcesses = 8
		c.QueueTimeout = time.Minute
	})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			body := strings.Repeat(strconv.Itoa(i)+" ", 1000*(i%3))
			path := fmt.Sprintf("/echo/%d", i)
			r := s.Request("POST", path, strings.NewReader(body))
			if i%2 == 0 {
				r.ContentLength = -1
			}
			res, err := s.Do(s.Server.Client(), r)
			if want := body + fmt.Sprintf("/%d", i); err != nil || res.Err != nil || res.Text != want {
				t.Errorf("request %d: %v, %v and %d bytes; they must be %d", i, err, res.Err, len(res.Text), len(want))
			}
		})
	}
	wg.Wait()
	s.Quiet()
}

// After requests of all sorts no process of ours is left, not even a dead one.
func TestNoProcessLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes can only be listed on Linux")
	}
	spools := t.TempDir()
	t.Setenv("TMPDIR", spools)
	s := newSite(t, map[string]string{
		"well": `printf 'Content-Type: text/plain\n\nhello'`,
		"ill":  `exit 1`,
		"slow": `sleep 1000`,
		"fork": `sleep 1000 & exit 1`,
	}, func(c *cgi.Config) { c.Timeout = 50 * time.Millisecond })
	for _, name := range []string{"well", "ill", "slow", "fork"} {
		s.Get("/" + name)
		s.Send(s.Request("POST", "/"+name, io.MultiReader(strings.NewReader("chunked"))))
	}
	s.Server.Close()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no process can be listed: %v", err)
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			t.Errorf("a process is left: %s", b)
		}
	}
	if left, err := os.ReadDir(spools); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v (%v)", left, err)
	}
}

func TestSettings(t *testing.T) {
	reg, err := registry.New(cgi.Component)
	if err != nil {
		t.Fatal(err)
	}
	def := reg.Lookup(registry.KindFactory, "cgi")
	for _, tt := range []struct {
		name string
		edit func(*cgi.Config)
		want []string
	}{
		{"defaults", func(*cgi.Config) {}, nil},
		{"names", func(c *cgi.Config) {
			c.Env = map[string]string{"A=B": "1"}
			c.Secrets = map[string]registry.Secret{"": {}}
			c.Inherit = []string{"PATH", "X="}
		}, []string{
			`env has the name "A=B"; it must be the name of an environment variable`,
			`secrets has the name ""; it must be the name of an environment variable`,
			`inherit has the name "X="; it must be the name of an environment variable`,
		}},
		{"twice", func(c *cgi.Config) {
			c.Env = map[string]string{"A": "1"}
			c.Secrets = map[string]registry.Secret{"A": {}}
		}, []string{`secrets has the name "A", as env has; it must be in one of them`}},
		{"empty command", func(c *cgi.Config) { c.Command = []string{""} }, []string{"command begins with an empty text; it must begin with a program"}},
		{"no processes", func(c *cgi.Config) { c.MaxProcesses = 0 }, []string{"max_processes is 0; it must be at least 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := cgi.Component.Default
			cfg.Inherit = slices.Clone(cfg.Inherit)
			tt.edit(&cfg)
			var got []string
			for _, p := range def.Check(&cfg) {
				got = append(got, p.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no such command", func(t *testing.T) {
		cfg := cgi.Component.Default
		cfg.Command = []string{"no-such-program"}
		_, err := def.Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
		if want := `command: exec: "no-such-program": executable file not found in $PATH`; err == nil || err.Error() != want {
			t.Errorf("the error is %v; it must be %s", err, want)
		}
	})
}
