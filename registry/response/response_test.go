package response_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/response"
)

// connection is the ResponseWriter of a server; it notes what reaches it.
type connection struct {
	header http.Header
	calls  []string
	err    error // of Flush and Hijack
}

func (c *connection) note(format string, args ...any) {
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

func (c *connection) Header() http.Header { return c.header }

func (c *connection) WriteHeader(status int) { c.note("header %d", status) }

func (c *connection) Write(p []byte) (int, error) {
	c.note("write %s", p)
	return len(p), nil
}

func (c *connection) ReadFrom(src io.Reader) (int64, error) {
	p, err := io.ReadAll(src)
	c.note("read %s", p)
	return int64(len(p)), err
}

func (c *connection) FlushError() error {
	c.note("flush")
	return c.err
}

func (c *connection) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.note("hijack")
	return nil, nil, c.err
}

func (c *connection) SetReadDeadline(time.Time) error {
	c.note("read deadline")
	return nil
}

func (c *connection) EnableFullDuplex() error {
	c.note("full duplex")
	return nil
}

var errBroken = errors.New("broken")

func TestWriter(t *testing.T) {
	write := func(t *testing.T, w io.Writer, s string) {
		t.Helper()
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Errorf("Write: got %d, %v", n, err)
		}
	}
	for _, test := range []struct {
		name     string
		err      error
		do       func(t *testing.T, w *response.Writer)
		calls    []string // of the connection and, as "before", of the function
		status   int
		bytes    int64
		hijacked bool
	}{
		{name: "nothing", do: func(*testing.T, *response.Writer) {}},
		{
			name:  "status",
			do:    func(_ *testing.T, w *response.Writer) { w.WriteHeader(404) },
			calls: []string{"before", "header 404"}, status: 404,
		},
		{
			name: "implicit 200",
			do: func(t *testing.T, w *response.Writer) {
				write(t, w, "one")
				write(t, w, "two")
			},
			calls: []string{"before", "write one", "write two"}, status: 200, bytes: 6,
		},
		{
			name: "second status",
			do: func(_ *testing.T, w *response.Writer) {
				w.WriteHeader(201)
				w.WriteHeader(500) // net/http complains of it
			},
			calls: []string{"before", "header 201", "header 500"}, status: 201,
		},
		{
			name: "1xx first",
			do: func(t *testing.T, w *response.Writer) {
				w.WriteHeader(103)
				w.WriteHeader(100)
				if w.Committed() || w.Status() != 0 {
					t.Errorf("after 1xx responses the status is %d", w.Status())
				}
				w.WriteHeader(204)
			},
			calls: []string{"header 103", "header 100", "before", "header 204"}, status: 204,
		},
		{
			name:  "101",
			do:    func(_ *testing.T, w *response.Writer) { w.WriteHeader(101) },
			calls: []string{"before", "header 101"}, status: 101,
		},
		{
			name: "flush first",
			do: func(t *testing.T, w *response.Writer) {
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Errorf("Flush: got %v", err)
				}
			},
			calls: []string{"before", "flush"}, status: 200,
		},
		{
			name:  "http.Flusher",
			do:    func(_ *testing.T, w *response.Writer) { http.Flusher(w).Flush() },
			calls: []string{"before", "flush"}, status: 200,
		},
		{
			name: "flush that fails", err: errBroken,
			do: func(t *testing.T, w *response.Writer) {
				if err := w.FlushError(); !errors.Is(err, errBroken) {
					t.Errorf("FlushError: got %v", err)
				}
			},
			calls: []string{"before", "flush"}, status: 200,
		},
		{
			name: "copy",
			do: func(t *testing.T, w *response.Writer) {
				// What can write itself would have no need of ReadFrom.
				src := struct{ io.Reader }{strings.NewReader("file")}
				if n, err := io.Copy(w, src); n != 4 || err != nil {
					t.Errorf("Copy: got %d, %v", n, err)
				}
			},
			calls: []string{"before", "read file"}, status: 200, bytes: 4,
		},
		{
			name: "hijack",
			do: func(t *testing.T, w *response.Writer) {
				if _, _, err := http.NewResponseController(w).Hijack(); err != nil {
					t.Errorf("Hijack: got %v", err)
				}
			},
			calls: []string{"hijack"}, status: 101, hijacked: true,
		},
		{
			name: "hijack after the header",
			do: func(t *testing.T, w *response.Writer) {
				w.WriteHeader(200)
				if _, _, err := w.Hijack(); err != nil {
					t.Errorf("Hijack: got %v", err)
				}
			},
			calls: []string{"before", "header 200", "hijack"}, status: 200, hijacked: true,
		},
		{
			name: "hijack that fails", err: errBroken,
			do: func(t *testing.T, w *response.Writer) {
				if _, _, err := w.Hijack(); !errors.Is(err, errBroken) {
					t.Errorf("Hijack: got %v", err)
				}
				w.WriteHeader(500)
			},
			calls: []string{"hijack", "before", "header 500"}, status: 500,
		},
		{
			name: "deadlines and full duplex",
			do: func(t *testing.T, w *response.Writer) {
				rc := http.NewResponseController(w)
				if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.EnableFullDuplex()); err != nil {
					t.Errorf("got %v", err)
				}
			},
			calls: []string{"read deadline", "full duplex"},
		},
	} {
		// The same through one layer and through three.
		for _, layers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d layers", test.name, layers), func(t *testing.T) {
				c := &connection{header: make(http.Header), err: test.err}
				writers := make([]response.Writer, layers)
				writers[0].Init(c, func() { c.note("before") })
				for i := 1; i < layers; i++ {
					writers[i].Init(&writers[i-1], nil)
				}
				test.do(t, &writers[layers-1])
				if diff := cmp.Diff(test.calls, c.calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				for i := range writers {
					w := &writers[i]
					if w.Status() != test.status || w.Bytes() != test.bytes || w.Hijacked() != test.hijacked || w.Committed() != (test.status != 0) {
						t.Errorf("layer %d: status %d, %d bytes, hijacked %t, committed %t; want %d, %d, %t",
							i, w.Status(), w.Bytes(), w.Hijacked(), w.Committed(), test.status, test.bytes, test.hijacked)
					}
				}
				var outermost http.ResponseWriter = &writers[layers-1]
				for range layers {
					outermost = outermost.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
				}
				if outermost != http.ResponseWriter(c) {
					t.Errorf("Unwrap leads to a %T", outermost)
				}
			})
		}
	}
}

func TestInitAgain(t *testing.T) {
	var w response.Writer
	w.Init(&connection{}, nil)
	w.WriteHeader(404)
	w.Init(&connection{}, nil)
	if w.Status() != 0 || w.Committed() || w.Bytes() != 0 {
		t.Errorf("after another Init the status is %d, with %d bytes", w.Status(), w.Bytes())
	}
}

func TestBeforeChangesTheHeader(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var rw response.Writer
		rw.Init(w, func() {
			rw.Header().Set("X-Status", fmt.Sprint(rw.Status()))
			rw.Header().Del("X-Secret")
		})
		rw.Header().Set("X-Secret", "tiger")
		rw.WriteHeader(http.StatusTeapot)
	}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Status"); resp.StatusCode != http.StatusTeapot || got != "418" || resp.Header.Get("X-Secret") != "" {
		t.Errorf("got the status %d with %v", resp.StatusCode, resp.Header)
	}
}

// A catcher further out must still be able to make a response.
func TestPanicInBeforeLeavesTheHeaderUnsent(t *testing.T) {
	for _, test := range []struct {
		name string
		send func(w *response.Writer)
	}{
		{"WriteHeader", func(w *response.Writer) { w.WriteHeader(200) }},
		{"Write", func(w *response.Writer) { _, _ = w.Write([]byte("body")) }},
		{"Flush", func(w *response.Writer) { w.Flush() }},
		{"ReadFrom", func(w *response.Writer) { _, _ = w.ReadFrom(strings.NewReader("body")) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &connection{header: make(http.Header)}
			var catcher, inner response.Writer
			catcher.Init(c, nil)
			inner.Init(&catcher, func() { panic(errBroken) })
			func() {
				defer func() {
					if got := recover(); got != any(errBroken) {
						t.Errorf("recovered %v", got)
					}
				}()
				test.send(&inner)
			}()
			if catcher.Committed() {
				t.Error("for the catcher the response is sent")
			}
			catcher.WriteHeader(500)
			if diff := cmp.Diff([]string{"header 500"}, c.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// plain is a ResponseWriter that can do nothing more.
type plain struct{ http.ResponseWriter }

func TestWhatTheServerCant(t *testing.T) {
	rec := httptest.NewRecorder()
	var w response.Writer
	w.Init(plain{rec}, nil)
	rc := http.NewResponseController(&w)
	if err := rc.SetWriteDeadline(time.Time{}); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("SetWriteDeadline: got %v", err)
	}
	if _, _, err := rc.Hijack(); !errors.Is(err, http.ErrNotSupported) || w.Committed() {
		t.Errorf("Hijack: got %v, committed %t", err, w.Committed())
	}
	if n, err := w.ReadFrom(strings.NewReader("body")); n != 4 || err != nil || rec.Body.String() != "body" {
		t.Errorf("ReadFrom: got %d, %v and the body %q", n, err, rec.Body)
	}
	if err := rc.Flush(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("Flush: got %v", err)
	}
}

func TestAllocations(t *testing.T) {
	c := &connection{}
	if got := testing.AllocsPerRun(100, func() {
		s := struct{ response.Writer }{}
		s.Init(c, nil)
		if s.Committed() {
			t.Error("committed")
		}
	}); got > 0 {
		t.Errorf("a Writer that doesn't escape costs %v allocations", got)
	}
}

func ExampleWriter() {
	// timed tells the client how long the handler took until it answered.
	type timed struct {
		response.Writer
		start time.Time
	}
	timing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t := &timed{start: time.Now()}
			t.Init(w, func() {
				t.Header().Set("Server-Timing", fmt.Sprintf("app;dur=%d", time.Since(t.start).Milliseconds()))
			})
			next.ServeHTTP(t, r)
		})
	}

	rec := httptest.NewRecorder()
	timing(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(rec.Code, strings.HasPrefix(rec.Header().Get("Server-Timing"), "app;dur="))
	// Output: 404 true
}
