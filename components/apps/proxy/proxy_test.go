package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// TestHandedOn proves what the upstream gets, and what comes back.
func TestHandedOn(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Up", "yes")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusTeapot)
		underscore := []string{}
		for name := range r.Header {
			if strings.Contains(name, "_") {
				underscore = append(underscore, name)
			}
		}
		fmt.Fprintf(w, "%s %s host=%s len=%d te=%q agent=%q conn=%q secret=%q upgrade=%q underscore=%q body=%s",
			r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding, r.Header["User-Agent"], r.Header["Connection"], r.Header["X-Secret"], r.Header["Upgrade"], underscore, body)
	}
	upstream := serve(t, echo)
	host := strings.TrimPrefix(upstream, "http://")
	tests := []struct {
		name, to, method, path, body string
		chunked                      bool
		header                       []string
		cfg                          func(c *Config)
		want                         string
	}{
		{name: "GET", path: "/a/b?c=d", want: "GET /a/b?c=d host=FRONT len=0"},
		{name: "a query that isn't well-formed", path: "/?a;b=%zz&&c", want: "GET /?a;b=%zz&&c host="},
		{name: "an encoded path", path: "/a%2Fb%20c//d", want: "GET /a%2Fb%20c//d host="},
		{name: "behind the upstream's path", to: upstream + "/base/", path: "/a%2Fb?x", want: "GET /base/a%2Fb?x host="},
		{name: "POST", method: "POST", path: "/", body: "hello", want: "POST / host=FRONT len=5 te=[]"},
		{name: "POST without a body", method: "POST", path: "/", want: "len=0"},
		{name: "a body of unknown length", method: "PUT", path: "/", body: "hello", chunked: true, want: `len=-1 te=["chunked"]`},
		{name: "the upstream's own host", cfg: func(c *Config) { c.KeepHost = false }, path: "/", want: "host=" + host + " "},
		{name: "the client's agent", header: []string{"User-Agent", "me/1"}, path: "/", want: `agent=["me/1"]`},
		{name: "no agent", header: []string{"User-Agent", ""}, path: "/", want: `agent=[]`},
		{name: "fields of the connection", header: []string{"Connection", "X-Secret", "X-Secret", "1"}, path: "/", want: `conn=[] secret=[]`},
		{name: "another field with an underscore", header: []string{"X_Other", "1"}, path: "/", want: `underscore=["X_other"]`},
		{name: "underscores that would pass for hyphens", header: []string{"X_Secret", "1", "X-Secret", "2", "X_Forwarded-For", "1.2.3.4", "X_Real_IP", "1.2.3.4", "Transfer_Encoding", "chunked"}, path: "/", want: `secret=["2"] upgrade=[] underscore=[]`},
		{name: "protocols to switch to", header: []string{"Connection", "Upgrade", "Upgrade", "a, b/1"}, path: "/", want: `conn=["Upgrade"] secret=[] upgrade=["a, b/1"]`},
		{name: "HTTP to switch to", header: []string{"Connection", "Upgrade", "Upgrade", "h2c", "Upgrade", "TLS/1.0,HTTP/2.0"}, path: "/", want: `conn=[] secret=[] upgrade=[]`},
		{name: "no protocol to switch to", header: []string{"Connection", "Upgrade", "Upgrade", "a b, c"}, path: "/", want: `conn=["Upgrade"] secret=[] upgrade=["c"]`},
		{name: "what the server answers by itself", method: "POST", header: []string{"Expect", "100-continue"}, body: "x", path: "/", want: `body=x`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := to(upstream)
			if tt.to != "" {
				cfg.To = []string{tt.to}
			}
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			s := front(t, cfg)
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			if tt.chunked {
				body = struct{ io.Reader }{body}
			}
			for range 2 { // over a new connection and a kept one
				if tt.body != "" {
					body = strings.NewReader(tt.body)
					if tt.chunked {
						body = struct{ io.Reader }{body}
					}
				}
				got := ask(t, s, tt.method, tt.path, body, tt.header...)
				got.want(t, http.StatusTeapot, strings.ReplaceAll(tt.want, "FRONT", s.Listener.Addr().String()))
				if !strings.HasSuffix(got.body, "body="+tt.body) {
					t.Errorf("the body is %q; want %q", got.body, tt.body)
				}
				if h := got.header; len(h["Set-Cookie"]) != 2 || h.Get("X-Up") != "yes" || h.Get("Keep-Alive") != "" {
					t.Errorf("the header is %v", h)
				}
			}
		})
	}
}

func TestForwarded(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip"} {
			fmt.Fprintf(w, "%s=%s\n", name, strings.Join(r.Header[name], "|"))
		}
	})
	said := []string{
		"Forwarded", "for=1.2.3.4", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil", "X-Forwarded-Port", "1",
		"X-Forwarded-Proto", "https", "X-Real-IP", "1.2.3.4",
	}
	tests := []struct {
		name      string
		trust     []registry.Network
		forwarded bool
		remote    string
		header    []string
		want      []string
	}{
		{
			name: "nobody is trusted", remote: "192.0.2.1:1000", header: said,
			want: []string{"Forwarded=", "X-Forwarded-For=192.0.2.1", "X-Forwarded-Host=example.org", "X-Forwarded-Port=", "X-Forwarded-Proto=http", "X-Real-Ip="},
		},
		{
			name: "another is trusted", trust: []registry.Network{"10.0.0.0/8", "unix"}, remote: "192.0.2.1:1000", header: said,
			want: []string{"Forwarded=", "X-Forwarded-For=192.0.2.1", "X-Forwarded-Host=example.org", "X-Forwarded-Port=", "X-Forwarded-Proto=http", "X-Real-Ip="},
		},
		{
			name: "trusted", trust: []registry.Network{"192.0.2.0/24"}, remote: "192.0.2.1:1000", header: said,
			want: []string{"Forwarded=for=1.2.3.4", "X-Forwarded-For=1.2.3.4, 192.0.2.1", "X-Forwarded-Host=evil", "X-Forwarded-Port=1", "X-Forwarded-Proto=https", "X-Real-Ip=1.2.3.4"},
		},
		{
			name: "trusted, and silent", trust: []registry.Network{"::ffff:192.0.2.1", "192.0.2.1"}, remote: "[::ffff:192.0.2.1]:1000",
			want: []string{"Forwarded=", "X-Forwarded-For=::ffff:192.0.2.1", "X-Forwarded-Host=example.org", "X-Forwarded-Port=", "X-Forwarded-Proto=http", "X-Real-Ip="},
		},
		{
			name: "over a unix socket", trust: []registry.Network{"unix"}, remote: "@", header: said,
			want: []string{"Forwarded=for=1.2.3.4", "X-Forwarded-For=1.2.3.4", "X-Forwarded-Host=evil", "X-Forwarded-Port=1", "X-Forwarded-Proto=https", "X-Real-Ip=1.2.3.4"},
		},
		{
			name: "the standard field", forwarded: true, remote: "[2001:db8::1]:9", header: said,
			want: []string{`Forwarded=for="[2001:db8::1]";host="example.org";proto=http`, "X-Forwarded-For=2001:db8::1", "X-Forwarded-Host=example.org", "X-Forwarded-Port=", "X-Forwarded-Proto=http", "X-Real-Ip="},
		},
		{
			name: "the standard field, added to", forwarded: true, trust: []registry.Network{"192.0.2.1"}, remote: "192.0.2.1:9", header: []string{"Forwarded", "for=1.2.3.4"},
			want: []string{`Forwarded=for=1.2.3.4, for=192.0.2.1;host="example.org";proto=http`, "X-Forwarded-For=192.0.2.1", "X-Forwarded-Host=example.org", "X-Forwarded-Port=", "X-Forwarded-Proto=http", "X-Real-Ip="},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := to(upstream)
			cfg.Trust, cfg.Forwarded = tt.trust, tt.forwarded
			r := httptest.NewRequestWithContext(t.Context(), "GET", "http://example.org/", nil)
			r.RemoteAddr = tt.remote
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			w := httptest.NewRecorder()
			catcher{open(t, cfg)}.ServeHTTP(w, r)
			if diff := cmp.Diff(tt.want, strings.Split(strings.TrimSpace(w.Body.String()), "\n")); diff != "" {
				t.Errorf("the upstream was told (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPrefix asks in a stack that is mounted below a prefix, and in one that isn't.
func TestPrefix(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["X-Forwarded-Prefix"])
	})
	cfg := to(upstream)
	cfg.Trust = []registry.Network{"192.0.2.1"}
	h := open(t, cfg)
	for _, tt := range []struct{ prefix, said, remote, want string }{
		{"", "", "192.0.2.2:1", "[]"},
		{"", "/evil", "192.0.2.2:1", "[]"},
		{"", "/front", "192.0.2.1:1", "[/front]"},
		{"/shop/blog", "", "192.0.2.1:1", "[/shop/blog]"},
		{"/blog", "/evil", "192.0.2.2:1", "[/blog]"},
		{"/blog", "/front", "192.0.2.1:1", "[/front/blog]"},
		{"/blog", "/front/", "192.0.2.1:1", "[/front/blog]"},
		{"/blog", "/", "192.0.2.1:1", "[/blog]"},
	} {
		var base environ.Base
		environ.Prefix.Preset(&base, tt.prefix)
		r := base.Open(httptest.NewRequestWithContext(t.Context(), "GET", "http://example.org/", nil))
		r.RemoteAddr = tt.remote
		if tt.said != "" {
			r.Header.Set("X-Forwarded-Prefix", tt.said)
		}
		w := httptest.NewRecorder()
		catcher{h}.ServeHTTP(w, r)
		if got := w.Body.String(); got != tt.want {
			t.Errorf("below %q, with %q said by %s, the upstream is told %s; want %s", tt.prefix, tt.said, tt.remote, got, tt.want)
		}
	}
}

// TestBalance proves how upstreams are chosen.
func TestBalance(t *testing.T) {
	t.Run("the one with the fewest requests", func(t *testing.T) {
		entered, release := make(chan string), make(chan struct{})
		hold := func(name string) string {
			return serve(t, func(http.ResponseWriter, *http.Request) {
				entered <- name
				<-release
			})
		}
		s := front(t, to(hold("a"), hold("b"), hold("c")))
		var wg sync.WaitGroup
		got := map[string]int{}
		for range 6 {
			wg.Go(func() { ask(t, s, "GET", "/", nil) })
			got[<-entered]++
		}
		close(release)
		wg.Wait()
		if diff := cmp.Diff(map[string]int{"a": 2, "b": 2, "c": 2}, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
	t.Run("in turn", func(t *testing.T) {
		s := front(t, to(serve(t, name("a")), serve(t, name("b"))))
		got := map[string]int{}
		for range 10 {
			got[ask(t, s, "GET", "/", nil).body]++
		}
		if diff := cmp.Diff(map[string]int{"a": 5, "b": 5}, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
	t.Run("by hash", func(t *testing.T) {
		var list []*upstream
		for i := range 4 {
			list = append(list, newUpstream(target{name: fmt.Sprint("http://h:", i)}, Component.Default, nil))
		}
		p := &proxy{cfg: Config{Balance: "hash"}, upstreams: list}
		p.hashBy, _ = parseHashBy("cookie:id")
		request := func(i int) *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.AddCookie(&http.Cookie{Name: "id", Value: fmt.Sprint(i)})
			return r
		}
		const n = 4000
		before := make([]*upstream, n)
		count := map[*upstream]int{}
		for i := range n {
			before[i] = p.choose(request(i), nil)
			count[before[i]]++
		}
		for _, u := range list {
			if c := count[u]; c < n/4*8/10 || c > n/4*12/10 {
				t.Errorf("%s has %d of %d", u.name, c, n)
			}
		}
		list[1].unwell.Store(true)
		for i := range n {
			u := p.choose(request(i), nil)
			if u == list[1] || u != before[i] && before[i] != list[1] {
				t.Fatalf("%d moved from %s to %s", i, before[i].name, u.name)
			}
		}
	})
	t.Run("what hash goes by", func(t *testing.T) {
		r := httptest.NewRequest("GET", "http://Example.org/path", nil)
		r.RemoteAddr = "192.0.2.1:77"
		r.Header.Set("X-Tenant", "t")
		r.Header.Set("Cookie", "id=c")
		for by, want := range map[string]string{
			"address": "192.0.2.1", "path": "/path", "host": "example.org", "header:x-tenant": "t", "cookie:id": "c", "cookie:none": "",
		} {
			f, err := parseHashBy(by)
			if err != nil {
				t.Fatal(err)
			}
			if got := f(r); got != want {
				t.Errorf("%s: got %q, want %q", by, got, want)
			}
		}
	})
}

// TestRetries proves that a request is made anew only where that is safe.
func TestRetries(t *testing.T) {
	// broken reads a request and closes; each connection is counted.
	broken := func(t *testing.T, calls *atomic.Int32) string {
		return script(t, func(_ int, c net.Conn) {
			calls.Add(1)
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil {
				drain(r.Body)
			}
		})
	}
	tests := []struct {
		name, method, body string
		dead               bool // the first upstream isn't there
		retries            int
		status             int
		calls              int32
	}{
		{name: "nobody there, GET", method: "GET", dead: true, retries: 1, status: 200},
		{name: "nobody there, POST", method: "POST", body: "x", dead: true, retries: 1, status: 200},
		{name: "nobody there, a long POST", method: "POST", body: strings.Repeat("x", 1<<20), dead: true, retries: 1, status: 200},
		{name: "nobody there, no retries", method: "GET", dead: true, status: 502},
		{name: "no answer, GET", method: "GET", retries: 1, status: 200, calls: 1},
		{name: "no answer, DELETE", method: "DELETE", retries: 1, status: 200, calls: 1},
		{name: "no answer, POST", method: "POST", retries: 1, status: 502, calls: 1},
		{name: "no answer, PUT with a body", method: "PUT", body: "x", retries: 1, status: 502, calls: 1},
		{name: "no answer, no retries", method: "GET", status: 502, calls: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			bad := broken(t, &calls)
			if tt.dead {
				bad = dead(t)
			}
			cfg := to(serve(t, name("good")), bad) // the first turn is the second one's
			cfg.Retries = tt.retries
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			ask(t, front(t, cfg), tt.method, "/", body).want(t, tt.status, "")
			if got := calls.Load(); got != tt.calls {
				t.Errorf("the broken one was asked %d times, want %d", got, tt.calls)
			}
		})
	}
}

// TestStale proves that a kept connection which the upstream has closed costs no request.
func TestStale(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			closed := make(chan struct{})
			upstream := script(t, func(n int, c net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
				if n == 0 {
					c.Close()
					close(closed)
				}
			})
			s := front(t, to(upstream))
			ask(t, s, method, "/", nil).want(t, 200, "0")
			<-closed
			ask(t, s, method, "/", nil).want(t, 200, "1")
		})
	}
}

// TestPassive proves that an upstream which fails is left out, and taken in again.
// late is a body that comes when f has returned.
type late struct {
	io.Reader
	f func()
}

func (l *late) Read(p []byte) (int, error) {
	l.f()
	return l.Reader.Read(p)
}

// TestLateBody proves that no connection is kept waiting for a short body: the upstream might close it meanwhile.
func TestLateBody(t *testing.T) {
	closing, closed := make(chan struct{}), make(chan struct{})
	upstream := script(t, func(n int, c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%d%4s", n, body)
		if n == 0 {
			<-closing
			c.Close()
			close(closed)
		}
	})
	h := open(t, to(upstream))
	ask := func(body io.Reader) answer {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", body)
		r.ContentLength = 4
		w := httptest.NewRecorder()
		catcher{h}.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
	ask(strings.NewReader("soon")).want(t, 200, "0soon")
	ask(&late{strings.NewReader("late"), sync.OnceFunc(func() {
		close(closing)
		<-closed
	})}).want(t, 200, "1late")
}

func TestPassive(t *testing.T) {
	var calls atomic.Int32
	bad := script(t, func(_ int, c net.Conn) {
		calls.Add(1)
		http.ReadRequest(bufio.NewReader(c)) //nolint:errcheck // it breaks whatever it gets
	})
	cfg := to(serve(t, name("good")), bad)
	cfg.MaxFails, cfg.FailTime = 2, time.Hour
	h := open(t, cfg)
	s := httptest.NewServer(catcher{h})
	defer s.Close()
	for range 12 {
		ask(t, s, "GET", "/", nil).want(t, 200, "good")
	}
	if got := calls.Load(); got != 2 {
		t.Errorf("the upstream that fails was asked %d times, want 2", got)
	}
	u := h.(*proxy).upstreams[1]
	u.downTo.Store(time.Now().Add(-time.Second).UnixNano()) // as when the time has passed
	for range 4 {
		ask(t, s, "GET", "/", nil)
	}
	if got := calls.Load(); got != 3 {
		t.Errorf("after its time, the upstream that fails was asked %d times, want once", got-2)
	}
	// When all of them failed, they are tried nevertheless.
	for _, u := range h.(*proxy).upstreams {
		u.downTo.Store(time.Now().Add(time.Hour).UnixNano())
	}
	ask(t, s, "GET", "/", nil).want(t, 200, "good")
}

// TestUnsendable proves that upstreams aren't left out for requests that can't be sent.
func TestUnsendable(t *testing.T) {
	cfg := to(serve(t, name("a")), serve(t, name("b")))
	cfg.MaxFails = 1
	h := open(t, cfg)
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Host = "a b"
	for range 4 {
		w := httptest.NewRecorder()
		catcher{h}.ServeHTTP(w, r)
		answer{w.Code, w.Header(), w.Body.String()}.want(t, 400, "can't be sent over HTTP/1.1")
	}
	for _, u := range h.(*proxy).upstreams {
		if u.fails.Load() != 0 || u.downTo.Load() != 0 {
			t.Errorf("%s is left out after %d failures", u.name, u.fails.Load())
		}
	}
}

// TestCheck proves that an upstream is left out while it isn't well.
func TestCheck(t *testing.T) {
	var well atomic.Bool
	checked := make(chan struct{})
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			if !well.Load() {
				w.WriteHeader(500)
			}
			select {
			case checked <- struct{}{}:
			case <-r.Context().Done():
			}
			return
		}
		fmt.Fprint(w, "good")
	})
	cfg := to(upstream)
	cfg.Check = Check{Path: "/health", Every: time.Millisecond, Timeout: time.Minute}
	s := front(t, cfg)
	<-checked
	ask(t, s, "GET", "/", nil).want(t, 200, "good")
	<-checked
	<-checked // the second one's answer was seen before the third was asked
	ask(t, s, "GET", "/", nil).want(t, 503, "no upstream is up")
	well.Store(true)
	<-checked
	<-checked
	<-checked
	ask(t, s, "GET", "/", nil).want(t, 200, "good")
}

// TestFailures proves which failure is reported.
func TestFailures(t *testing.T) {
	answer := func(text string) func(t *testing.T) string {
		return func(t *testing.T) string {
			return script(t, func(_ int, c net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					say(c, "%s", text)
				}
			})
		}
	}
	silent := func(t *testing.T) string {
		return script(t, func(_ int, c net.Conn) { drain(c) })
	}
	tests := []struct {
		name   string
		to     func(t *testing.T) string
		cfg    func(c *Config)
		status int
		text   string
	}{
		{"nobody there", func(t *testing.T) string { return dead(t) }, nil, 502, "connection refused; before that, upstream"},
		{"no answer", answer(""), nil, 502, "it closed the connection before it answered"},
		{"no answer in time", silent, func(c *Config) { c.HeaderTimeout = 20 * time.Millisecond }, 504, "no answer began within 20ms"},
		{"half a header", answer("HTTP/1.1 200 OK\r\nA: "), nil, 502, "its answer can't be understood"},
		{"another protocol", answer("SSH-2.0-OpenSSH\r\n\r\n"), nil, 502, "its answer can't be understood"},
		{"no status", answer("HTTP/1.1 099 X\r\n\r\n"), nil, 502, "its status is 99"},
		{"an endless header", answer("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 2<<20)), nil, 502, "longer than 1048576 bytes"},
		{"another protocol unasked", answer("HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), nil, 502, "nobody asked it to"},
		{"no TLS", func(t *testing.T) string { return "https" + strings.TrimPrefix(serve(t, name("x")), "http") }, nil, 502, "tls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := to(tt.to(t))
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			ask(t, front(t, cfg), "GET", "/", nil).want(t, tt.status, tt.text)
		})
	}
	t.Run("a certificate nobody vouches for", func(t *testing.T) {
		s := httptest.NewTLSServer(name("x"))
		defer s.Close()
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		ask(t, front(t, to(s.URL)), "GET", "/", nil).want(t, 502, "certificate")
	})
	t.Run("CONNECT", func(t *testing.T) {
		ask(t, front(t, to(dead(t))), "CONNECT", "", nil).want(t, 405, "method not allowed")
	})
}

// TestBrokenAnswer proves that a client isn't given a part for the whole.
func TestBrokenAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
		"chunked":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"that stalls":   "stall",
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			upstream := script(t, func(_ int, c net.Conn) {
				http.ReadRequest(bufio.NewReader(c)) //nolint:errcheck // the answer doesn't depend on it
				if answer == "stall" {
					say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
					<-over
					return
				}
				say(c, "%s", answer)
			})
			defer close(over)
			cfg := to(upstream)
			cfg.BodyIdleTimeout = 50 * time.Millisecond
			s := front(t, cfg)
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				return // cut before anything was sent, which is as good
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("the client takes %q for the whole", text)
			}
		})
	}
}

// TestStreams proves that bodies pass as they come, in both directions.
func TestStreams(t *testing.T) {
	t.Run("events", func(t *testing.T) {
		next := make(chan string)
		upstream := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for s := range next {
				fmt.Fprintf(w, "data: %s\n", s)
				w.(http.Flusher).Flush()
			}
		})
		cfg := to(upstream)
		cfg.BodyIdleTimeout = time.Millisecond // which is not for them
		s := front(t, cfg)
		asked := make(chan *http.Response)
		go func() {
			resp, err := s.Client().Get(s.URL) //nolint:bodyclose // closed below
			if err != nil {
				t.Error(err)
			}
			asked <- resp
		}()
		next <- "0"
		resp := <-asked
		if resp == nil {
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		for i := range 5 {
			if line, err := lines.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) {
				t.Errorf("event %d is %q, %v", i, line, err)
			}
			if i < 4 {
				next <- fmt.Sprint(i + 1)
			}
		}
		close(next)
	})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run("both ways at once over "+protocol, func(t *testing.T) {
			upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					t.Error(err)
				}
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				lines := bufio.NewReader(r.Body)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					io.WriteString(w, strings.ToUpper(line))
					w.(http.Flusher).Flush()
				}
			})
			s := front(t, to(upstream))
			tr := &http.Transport{Protocols: new(http.Protocols)}
			tr.Protocols.SetHTTP1(protocol == "HTTP/1.1")
			tr.Protocols.SetUnencryptedHTTP2(protocol != "HTTP/1.1")
			defer tr.CloseIdleConnections()
			in, out := io.Pipe()
			r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, in)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			lines := bufio.NewReader(resp.Body)
			for _, word := range []string{"one", "two", "three"} {
				say(out, "%s\n", word)
				if line, err := lines.ReadString('\n'); line != strings.ToUpper(word)+"\n" {
					t.Errorf("%s came back as %q, %v", word, line, err)
				}
			}
			out.Close()
			if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
				t.Errorf("at the end comes %q, %v", rest, err)
			}
		})
	}
	t.Run("large", func(t *testing.T) {
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			h := sha256.New()
			n, _ := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
			w.Write(make([]byte, 8<<20))
		})
		s := front(t, to(upstream))
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
		for name, body := range map[string]io.Reader{"length": bytes.NewReader(data), "chunked": struct{ io.Reader }{bytes.NewReader(data)}} {
			t.Run(name, func(t *testing.T) {
				text := ask(t, s, "POST", "/", body).body
				head := fmt.Sprintf("%d %x", len(data), sha256.Sum256(data))
				if !strings.HasPrefix(text, head) || len(text) != len(head)+8<<20 {
					t.Errorf("%d bytes came back, beginning with %.80q; want %q and 8 MiB", len(text), text, head)
				}
			})
		}
	})
}

// TestTrailers proves that trailers pass, in both directions, and 1xx responses.
func TestTrailers(t *testing.T) {
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.Header().Set("Trailer", "X-Sum")
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(http.Header{"X-Count": {"4"}}, r.Trailer); diff != "" {
			t.Errorf("the upstream's trailers (-want +got):\n%s", diff)
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-Count"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	s := front(t, to(upstream))
	var hints atomic.Int32
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 && h.Get("Link") != "" {
			hints.Add(1)
		}
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL, struct{ io.Reader }{strings.NewReader("body")})
	if err != nil {
		t.Fatal(err)
	}
	// Those that would not be handed on in the header aren't here, either, nor is another value of what is there.
	r.Trailer = http.Header{"X-Count": {"4"}, "X-Forwarded-For": {"1.2.3.4"}, "X_Real_Ip": {"1.2.3.4"}, "X-User": {"root"}}
	r.Header.Set("X-User", "ada")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" {
		t.Errorf("the body is %q, %v", body, err)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"4"}, "X-Late": {"late"}}, resp.Trailer); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	if hints.Load() != 1 {
		t.Errorf("%d early hints came, want 1", hints.Load())
	}
}

// TestWebSocket proves that WebSockets pass, and end when the instance retires.
func TestWebSocket(t *testing.T) {
	ended := make(chan error, 1)
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			t.Error(err)
			return
		}
		for {
			kind, data, err := c.Read(context.WithoutCancel(r.Context()))
			if err != nil {
				ended <- err
				return
			}
			if err := c.Write(r.Context(), kind, bytes.ToUpper(data)); err != nil {
				t.Error(err)
			}
		}
	})
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	cfg := to(upstream)
	cfg.BodyIdleTimeout, cfg.HeaderTimeout = 100*time.Millisecond, 100*time.Millisecond
	life, retire := context.WithCancel(t.Context())
	i, err := r.Lookup(registry.KindApp, "proxy").Open(life, &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(catcher{i.Product.(http.Handler)})
	defer s.Close()
	c, _, err := websocket.Dial(t.Context(), s.URL, nil) //nolint:bodyclose // it has none
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(word)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); string(got) != strings.ToUpper(word) {
			t.Errorf("%s came back as %q, %v", word, got, err)
		}
		// Longer than its timeouts.
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		<-ctx.Done()
		cancel()
	}
	retire()
	if err := <-ended; err == nil {
		t.Error("the upstream's side goes on")
	}
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the client's side goes on")
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// TestEarlyAnswer proves that an answer which comes before the body has ended reaches the client, and that the body's
// sending ends then.
func TestEarlyAnswer(t *testing.T) {
	upstream := script(t, func(_ int, c net.Conn) {
		b := bufio.NewReader(c)
		if _, err := http.ReadRequest(b); err == nil {
			say(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")
			drain(b)
		}
	})
	for _, size := range []int64{10 << 20, -1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := front(t, to(upstream))
			in, out := io.Pipe()
			r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, in)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = size
			go io.WriteString(out, "begun") //nolint:errcheck // it's cut off
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answer{resp.StatusCode, resp.Header, string(body)}.want(t, 413, "no")
			out.CloseWithError(errors.New("over"))
		})
	}
}

// TestClientGone proves that the upstream's connection ends with the client's.
func TestClientGone(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	upstream := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(gone)
	})
	s := front(t, to(upstream))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		cancel()
	}()
	if resp, err := s.Client().Do(r); err == nil {
		resp.Body.Close()
		t.Error("there is an answer")
	}
	<-gone
}

// TestKept proves that connections are used again, within their limits.
func TestKept(t *testing.T) {
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		drain(r.Body)
		io.WriteString(w, "hello")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	tests := []struct {
		name   string
		cfg    func(c *Config)
		method string
		body   string
		opened int32
	}{
		{name: "GET", method: "GET", opened: 1},
		{name: "HEAD", method: "HEAD", opened: 1},
		{name: "a short body", method: "POST", body: "x", opened: 1},
		{name: "a long body", method: "POST", body: strings.Repeat("x", 1<<20), opened: 1},
		{name: "none kept", method: "GET", cfg: func(c *Config) { c.MaxIdle = 0 }, opened: 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opened.Store(0)
			cfg := to(s.URL)
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			f := front(t, cfg)
			for range 5 {
				ask(t, f, tt.method, "/", strings.NewReader(tt.body)).want(t, 200, "")
			}
			if got := opened.Load(); got != tt.opened {
				t.Errorf("%d connections were opened, want %d", got, tt.opened)
			}
		})
	}
	t.Run("closed when idle", func(t *testing.T) {
		closed := make(chan struct{})
		upstream := script(t, func(_ int, c net.Conn) {
			b := bufio.NewReader(c)
			http.ReadRequest(b) //nolint:errcheck // the answer doesn't depend on it
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			b.ReadByte() //nolint:errcheck // the end of the connection
			close(closed)
		})
		cfg := to(upstream)
		cfg.IdleTimeout = 10 * time.Millisecond
		ask(t, front(t, cfg), "GET", "/", nil)
		<-closed
	})
	t.Run("not used when idle for too long", func(t *testing.T) {
		upstream := script(t, func(n int, c net.Conn) {
			for b := bufio.NewReader(c); ; {
				if _, err := http.ReadRequest(b); err != nil {
					return
				}
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
			}
		})
		cfg := to(upstream)
		cfg.IdleTimeout = time.Hour
		h := open(t, cfg)
		ask := func() answer {
			w := httptest.NewRecorder()
			catcher{h}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
			return answer{w.Code, w.Header(), w.Body.String()}
		}
		ask().want(t, 200, "0")
		kept := h.(*proxy).upstreams[0].pool.idle[0]
		kept.since = kept.since.Add(-time.Minute)
		ask().want(t, 200, "0")
		kept.since = kept.since.Add(-time.Hour) // as when nobody has looked yet
		ask().want(t, 200, "1")
	})
}

func TestSettings(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.Lookup(registry.KindApp, "proxy")
	form := "it must be http://host:port, https://host:port or unix:/path"
	tests := []struct {
		name string
		cfg  func(c *Config)
		want []string
	}{
		{"good ones", func(c *Config) {
			c.To = []string{"http://a", "https://[::1]:8443/base", "unix:/run/a.sock"}
			c.Trust, c.HashBy = []registry.Network{"10.0.0.0/8", "::1", "unix"}, "header:X-A"
		}, nil},
		{"no upstream", func(c *Config) { c.To = nil }, []string{"to is missing; it must be a list"}},
		{"upstreams", func(c *Config) {
			c.To = []string{"127.0.0.1:80", "ftp://a", "http://", "http://a:x", "unix:run/a", "http://u:p@a/?b", "unix:/" + strings.Repeat("a", 107)}
		}, []string{
			`to[0] is "127.0.0.1:80"; ` + form, `to[1] is "ftp://a"; ` + form, `to[2] is "http://"; ` + form, `to[3] is "http://a:x"; ` + form,
			`to[4] is "unix:run/a"; the path of the socket must be absolute`,
			`to[5] is "http://u:p@a/?b"; it must have no user, query or fragment`,
			`to[6] is "unix:/` + strings.Repeat("a", 107) + `"; the path of the socket is 108 bytes long; it must be at most 107`,
		}},
		{"hash_by", func(c *Config) { c.HashBy = "cookie:" }, []string{`hash_by is "cookie:"; it must be address, path, host, header:NAME or cookie:NAME`}},
		{"check", func(c *Config) { c.Check.Path = "health" }, []string{`check.path is "health"; it must be a path such as /health`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := to("http://127.0.0.1:9000")
			tt.cfg(&cfg)
			var got []string
			for _, found := range d.Check(&cfg) {
				got = append(got, found.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkProxy(b *testing.B) {
	s := front(b, to(serve(b, name("hello"))))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			b.Fatal(err)
		}
		drain(resp.Body)
		resp.Body.Close()
	}
}
