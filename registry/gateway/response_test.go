package gateway_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/gateway"
)

func TestResponse(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tt := range []struct {
		name, method string
		answer       http.HandlerFunc
		want         string
		fails        error
	}{
		{name: "nothing", answer: func(http.ResponseWriter, *http.Request) {}, want: "Status: 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "text", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hi") }, want: "Status: 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhi"},
		{name: "long", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) }, want: "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + long},
		{name: "flushed", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "b")
		}, want: "Status: 200 OK\r\n\r\nab"},
		{name: "head", method: "HEAD", answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hi") }, want: "Status: 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"},
		{name: "long head", method: "HEAD", answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, long)
			_, _ = io.WriteString(w, long)
		}, want: "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"},
		{name: "no content", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "hi"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body of 204 is taken: %v", err)
			}
		}, want: "Status: 204 No Content\r\n\r\n"},
		{name: "no content that has a length", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(204)
		}, want: "Status: 204 No Content\r\nContent-Type: text/plain\r\n\r\n"},
		{name: "not modified, of a length", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(304)
		}, want: "Status: 304 Not Modified\r\nContent-Length: 2\r\n\r\n"},
		{name: "no length", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Content-Length", "-1")
			_, _ = io.WriteString(w, "hi")
			_ = http.NewResponseController(w).Flush()
		}, want: "Status: 200 OK\r\n\r\nhi"},
		{name: "early hints", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(304)
			w.WriteHeader(500)
			w.Header().Set("Late", "x")
		}, want: "Status: 304 Not Modified\r\n\r\n"},
		{name: "of the connection", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Connection", "close")
			w.Header().Set("Transfer-Encoding", "chunked")
			w.Header().Set("Status", "500")
			w.Header().Set("Trailer:X", "y")
		}, want: "Status: 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "injection", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", "a\r\nSet-Cookie: b")
			w.Header()["A:b\r\nC"] = []string{"d"}
		}, want: "Status: 200 OK\r\nContent-Length: 0\r\nX: a  Set-Cookie: b\r\n\r\n"},
		{name: "too short", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Content-Length", "3")
			_, _ = io.WriteString(w, "hi")
		}, want: "Status: 200 OK\r\nContent-Length: 3\r\n\r\nhi", fails: io.ErrUnexpectedEOF},
		{name: "too long", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("Content-Length", "1")
			if _, err := io.WriteString(w, "hi"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("a body that is too long is taken: %v", err)
			}
			_, _ = io.WriteString(w, "x")
		}, want: "Status: 200 OK\r\nContent-Length: 1\r\n\r\nx"},
		{name: "abort", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fails: http.ErrAbortHandler},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := "GET"
			if tt.method != "" {
				method = tt.method
			}
			var out strings.Builder
			r := httptest.NewRequest(method, "/", nil)
			w := gateway.NewResponse(&out, r)
			err := gateway.Run(tt.answer, w, r, w.Finish, func(value any) { t.Errorf("it panics: %v", value) })
			if !errors.Is(err, tt.fails) {
				t.Errorf("it ends with %v; it must be %v", err, tt.fails)
			}
			if diff := cmp.Diff(sorted(tt.want), sorted(out.String())); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

// sorted returns a response with its fields, which come in any order, in one.
func sorted(response string) string {
	head, body, _ := strings.Cut(response, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func TestPanic(t *testing.T) {
	var got any
	r := httptest.NewRequest("GET", "/", nil)
	w := gateway.NewResponse(io.Discard, r)
	err := gateway.Run(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }), w, r, w.Finish, func(value any) { got = value })
	if got != "oh" || !errors.Is(err, http.ErrAbortHandler) {
		t.Errorf("it tells of %v, and ends with %v", got, err)
	}
}
