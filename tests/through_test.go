package tests

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/stackd/stackd/components/standard"
	"github.com/stackd/stackd/registry"
)

// throughEverything has every middleware there is, each switched on, in the order in which a site would have them. Files are
// sent by static at /files/, everything else by an upstream.
const throughEverything = `
servers:
  - {use: http, listen: "127.0.0.1:0", max_body: 0}
stack:
  - request_id
  - access_log
  - metrics
  - {use: trace, endpoint: "UPSTREAM"}
  - {use: real_ip, trusted: [127.0.0.1]}
  - https
  - {use: error_pages, root: pages}
  - errors
  - {use: headers, response: {set: {X-Through: everything}}}
  - {use: cors, origins: ["https://example.org"]}
  - {use: maintenance, flag: closed}
  - {use: rate_limit, requests: 1000000, per: 1s}
  - compress
  - {use: pool, hung_after: 10m}
  - timeout
  - {use: auth_basic, users: users.htpasswd}
  - {use: auth_forward, to: "UPSTREAM/door"}
  - {use: body_limit, max_size: 4GiB}
  - session
  - cache_headers
  - {use: rewrite, rules: [{match: /old/events, to: /events}]}
  - lint
  - {use: proxy, as: app, to: "UPSTREAM"}
urls:
  /files/: {app: {use: finder, root: .}}
`

// streamed is the length of what is sent down and up.
const streamed = 2 << 30

// maxMemory is what the program may have used at most, with all that under way.
const maxMemory = 64 << 20

// TestThroughEverything sends an event stream, a WebSocket, two downloads and an upload of 2 GB and requests for a range
// through every middleware, at the same time.
func TestThroughEverything(t *testing.T) {
	t.Parallel()
	for _, d := range registry.Compiled().All() {
		if d.Kind == registry.KindMiddleware && !regexp.MustCompile(`(?m)^  - (\{use: )?`+d.Name+`\b`).MatchString(throughEverything) {
			t.Errorf("nothing goes through %s; add it to the stack of this test", d.Name)
		}
	}
	u := &upstream{sent: make(chan string)}
	app := httptest.NewServer(u)
	defer app.Close()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "stack.yaml")
	for name, text := range map[string]string{
		"stack.yaml":     strings.ReplaceAll(throughEverything, "UPSTREAM", app.URL),
		"users.htpasswd": "ada:" + string(hash) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"files", "pages"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "pages", "4xx.html"), []byte("{{.Status}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, "files", "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if _, err := big.WriteAt([]byte("the very end"), streamed-12); err != nil {
		t.Fatal(err)
	}
	s := start(t, file)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	c := &visitor{ctx: ctx, url: s.url}

	events, err := c.ask(http.MethodGet, "/old/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	lines := bufio.NewScanner(events.Body)
	ws, reply, err := websocket.Dial(ctx, s.url+"/echo", &websocket.DialOptions{HTTPHeader: c.header()}) //nolint:bodyclose // the connection has been taken over; there is no body
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	defer func() { _ = ws.CloseNow() }()
	if reply.Header.Get("X-Request-Id") == "" || reply.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("the WebSocket's answer has not gone through everything: %v", reply.Header)
	}
	// pulse proves that both are alive at this moment.
	pulse := func(text string) {
		select {
		case u.sent <- text:
		case <-ctx.Done():
			t.Fatal("the event stream's upstream has gone")
		}
		if !lines.Scan() || lines.Text() != "data: "+text || !lines.Scan() {
			t.Fatalf("the event stream brought %q, %v; it must bring %q", lines.Text(), lines.Err(), text)
		}
		if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != text {
			t.Fatalf("the WebSocket brought %q, %v; it must bring %q", got, err, text)
		}
	}
	pulse("before")

	var wg sync.WaitGroup
	for what, do := range map[string]func() error{
		"download from the upstream": func() error { return c.download("/download", new(pattern)) },
		"download of a file":         func() error { return c.download("/files/big.bin", big) },
		"upload":                     c.upload,
		"range of a file":            func() error { return c.lastBytes("/files/big.bin", "the very end") },
		"range of the upstream":      func() error { return c.lastBytes("/download", string(block[len(block)-12:])) },
	} {
		wg.Go(func() {
			if err := do(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	pulse("during")
	wg.Wait()
	pulse("after")

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		unable(t, "the memory was not measured: %v", err)
	}
	peak, err := strconv.Atoi(string(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("memory at most: %.1f MB", float64(peak)/1e3)
	if peak<<10 > maxMemory {
		t.Errorf("the program used %d MB; it must use less than %d", peak>>10, maxMemory>>20)
	}
}

// visitor asks for what the stack of the test has.
type visitor struct {
	ctx context.Context
	url string
}

func (c *visitor) header() http.Header {
	r := http.Request{Header: http.Header{"Origin": {"https://example.org"}, "X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"}}}
	r.SetBasicAuth("ada", "secret")
	return r.Header
}

func (c *visitor) ask(method, path string, body io.Reader, fields ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(c.ctx, method, c.url+path, body)
	if err != nil {
		return nil, err
	}
	r.Header = c.header()
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode > 299 || answer.Header.Get("X-Through") != "everything" {
		answer.Body.Close()
		return nil, fmt.Errorf("answered %s, %v", answer.Status, answer.Header)
	}
	return answer, nil
}

// download compares all of a response with what it must be.
func (c *visitor) download(path string, want io.ReaderAt) error {
	answer, err := c.ask(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return same(answer.Body, io.NewSectionReader(want, 0, streamed))
}

func (c *visitor) upload() error {
	answer, err := c.ask(http.MethodPut, "/upload", io.NewSectionReader(new(pattern), 0, streamed))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && string(text) != "all there\n" {
		err = errors.New(string(text))
	}
	return err
}

// lastBytes asks for the end of what is at path.
func (c *visitor) lastBytes(path, want string) error {
	answer, err := c.ask(http.MethodGet, path, nil, "Range", fmt.Sprintf("bytes=-%d", len(want)))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusPartialContent || string(got) != want) {
		err = fmt.Errorf("answered %s, %.99q; the end is %q", answer.Status, got, want)
	}
	return err
}

// upstream is the app behind the stack.
type upstream struct {
	sent chan string // the events to send
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/door", "/traces":
	case "/download":
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(new(pattern), 0, streamed))
	case "/upload":
		if err := same(r.Body, io.NewSectionReader(new(pattern), 0, streamed)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "all there")
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			_ = http.NewResponseController(w).Flush() // the next write says what came of it
			select {
			case text := <-u.sent:
				fmt.Fprintf(w, "data: %s\n\n", text)
			case <-r.Context().Done():
				return
			}
		}
	case "/echo":
		echo(w, r)
	}
}

// block is what pattern repeats. Its length is odd, so that a piece out of place is seen.
var block = func() []byte {
	b := make([]byte, 64<<10-1)
	for i := range b {
		b[i] = byte(i * i >> 7)
	}
	return b
}()

// pattern is a file without an end, and its end is block's.
type pattern struct{}

// ReadAt implements [io.ReaderAt].
func (pattern) ReadAt(p []byte, off int64) (int, error) {
	shift := int64(streamed % len(block)) // so that streamed ends with a whole block
	for n := 0; n < len(p); {
		at := (off + int64(n) + int64(len(block)) - shift) % int64(len(block))
		n += copy(p[n:], block[at:])
	}
	return len(p), nil
}

// same reports the first difference between two streams.
func same(got, want io.Reader) error {
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := int64(0); ; {
		n, err := io.ReadFull(got, a)
		m, _ := io.ReadFull(want, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("it differs in the %d bytes from byte %d on; there must be %d", n, at, m)
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
	}
}
