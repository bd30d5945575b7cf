package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
)

// pairs makes variables of names and values.
func pairs(texts ...string) []gateway.Variable {
	var vars []gateway.Variable
	for i := 0; i < len(texts); i += 2 {
		vars = append(vars, gateway.Variable{Name: texts[i], Value: texts[i+1]})
	}
	return vars
}

func TestNewRequest(t *testing.T) {
	type seen struct {
		URL, Host, Remote, Proto, Local string
		TLS                             bool
		Length                          int64
		Header                          http.Header
	}
	plain := func(change func(*seen)) seen {
		s := seen{URL: "/a", Remote: "@", Proto: "HTTP/1.1", Local: "<nil>", Length: -1, Header: http.Header{}}
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		vars []string
		want seen
	}{
		{"least", nil, plain(func(*seen) {})},
		{"visitor", []string{"REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "1234"}, plain(func(s *seen) { s.Remote = "192.0.2.1:1234" })},
		{"visitor without a port", []string{"REMOTE_ADDR", "2001:db8::1", "REMOTE_PORT", "x"}, plain(func(s *seen) { s.Remote = "[2001:db8::1]:0" })},
		{"visitor at a unix socket", []string{"REMOTE_ADDR", "unix:", "REMOTE_PORT", ""}, plain(func(*seen) {})},
		{"https", []string{"HTTPS", "On"}, plain(func(s *seen) { s.TLS = true })},
		{"no https", []string{"HTTPS", "off"}, plain(func(*seen) {})},
		{"scheme", []string{"REQUEST_SCHEME", "https", "HTTPS", ""}, plain(func(s *seen) { s.TLS = true })},
		{"front server", []string{"SERVER_ADDR", "192.0.2.2", "SERVER_PORT", "8443"}, plain(func(s *seen) { s.Local = "192.0.2.2:8443" })},
		{"protocol", []string{"SERVER_PROTOCOL", "HTTP/1.0"}, plain(func(s *seen) { s.Proto = "HTTP/1.0" })},
		{"unknown protocol", []string{"SERVER_PROTOCOL", "INCLUDED"}, plain(func(*seen) {})},
		{"overridden", []string{"REQUEST_URI", "/b", "REQUEST_URI", "/c"}, plain(func(s *seen) { s.URL = "/c" })},
		{"field twice", []string{"HTTP_X_A", "1", "HTTP_X_A", "2"}, plain(func(s *seen) { s.Header["X-A"] = []string{"1", "2"} })},
		{"length twice the same", []string{"CONTENT_LENGTH", "1", "CONTENT_LENGTH", "1"}, plain(func(s *seen) { s.Length = 1 })},
		{"length twice, once empty", []string{"CONTENT_LENGTH", "1", "CONTENT_LENGTH", ""}, plain(func(s *seen) { s.Length = 1 })},
		{"type twice", []string{"CONTENT_TYPE", "a/b", "CONTENT_TYPE", "c/d"}, plain(func(s *seen) { s.Header["Content-Type"] = []string{"c/d"} })},
		{"lengths and types that are fields", []string{"HTTP_CONTENT_LENGTH", "7", "HTTP_CONTENT_TYPE", "a/b"}, plain(func(*seen) {})},
		{"fields of a connection", []string{
			"HTTP_CONNECTION", "close", "HTTP_KEEP_ALIVE", "1", "HTTP_TRANSFER_ENCODING", "chunked", "HTTP_TE", "x", "HTTP_TRAILER", "x", "HTTP_UPGRADE", "x",
			"HTTP_EXPECT", "x", "HTTP_PROXY_CONNECTION", "x",
		}, plain(func(*seen) {})},
		{"httpoxy", []string{"HTTP_PROXY", "evil.example:80"}, plain(func(*seen) {})},
		{"host", []string{"HTTP_HOST", "[::1]:80", "SERVER_NAME", "b"}, plain(func(s *seen) { s.Host = "[::1]:80" })},
		{"name", []string{"SERVER_NAME", "b"}, plain(func(s *seen) { s.Host = "b" })},
		{"escaped traversal", []string{"REQUEST_URI", "/..%2f..%2fetc/../passwd"}, plain(func(s *seen) { s.URL = "/..%2f..%2fetc/../passwd" })},
		{"two slashes", []string{"REQUEST_URI", "//evil.example/"}, plain(func(s *seen) { s.URL = "//evil.example/" })},
		{"of parts", []string{"REQUEST_URI", "", "SCRIPT_NAME", "/é", "PATH_INFO", "/b?", "QUERY_STRING", "c"}, plain(func(s *seen) { s.URL = "/%C3%A9/b%3F?c" })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := gateway.NewRequest(t.Context(), pairs(append([]string{"REQUEST_METHOD", "GET", "REQUEST_URI", "/a"}, tt.vars...)...), 0)
			if err != nil {
				t.Fatal(err)
			}
			local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			got := seen{r.URL.String(), r.Host, r.RemoteAddr, r.Proto, fmt.Sprint(local), r.TLS != nil, r.ContentLength, r.Header}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRequestRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		vars   []string
		status int
		want   string
	}{
		{"no method", []string{"REQUEST_METHOD", ""}, 400, `REQUEST_METHOD is ""; it must be a method such as GET`},
		{"method of two words", []string{"REQUEST_METHOD", "GET /"}, 400, `REQUEST_METHOD is "GET /"`},
		{"no path", []string{"REQUEST_URI", "a"}, 400, `REQUEST_URI is "a"; it must be a path such as /a?b=c`},
		{"to connect", []string{"REQUEST_METHOD", "CONNECT", "REQUEST_URI", "example.org:443"}, 400, `REQUEST_URI is "example.org:443"`},
		{"path with an end of line", []string{"REQUEST_URI", "/a\r\nX: y"}, 400, `REQUEST_URI is "/a\r\nX: y"`},
		{"path with a NUL", []string{"REQUEST_URI", "/a\x00.cgi"}, 400, `REQUEST_URI is "/a\x00.cgi"`},
		{"negative length", []string{"CONTENT_LENGTH", "-1"}, 400, `CONTENT_LENGTH is "-1"; it must be a number of bytes`},
		{"signed length", []string{"CONTENT_LENGTH", "+1"}, 400, `CONTENT_LENGTH is "+1"`},
		{"length and space", []string{"CONTENT_LENGTH", "1 "}, 400, `CONTENT_LENGTH is "1 "`},
		{"hexadecimal length", []string{"CONTENT_LENGTH", "0x1"}, 400, `CONTENT_LENGTH is "0x1"`},
		{"two lengths in one", []string{"CONTENT_LENGTH", "1, 1"}, 400, `CONTENT_LENGTH is "1, 1"`},
		{"huge length", []string{"CONTENT_LENGTH", "9223372036854775808"}, 400, `CONTENT_LENGTH is "9223372036854775808"`},
		{"two lengths", []string{"CONTENT_LENGTH", "1", "CONTENT_LENGTH", "2"}, 400, `CONTENT_LENGTH is "1" and "2"; it must not have two values`},
		{"too long", []string{"CONTENT_LENGTH", "101"}, 413, "the request body may have at most 100 bytes"},
		{"two hosts", []string{"HTTP_HOST", "a", "HTTP_HOST", "b"}, 400, `HTTP_HOST is "a" and "b"`},
		{"host with an end of line", []string{"HTTP_HOST", "a\r\nX: y"}, 400, `the host is "a\r\nX: y"; it must be one such as`},
		{"host with a path", []string{"HTTP_HOST", "a/b"}, 400, `the host is "a/b"`},
		{"host of the URI", []string{"REQUEST_URI", "http://a<b/"}, 400, "a<b"},
		{"header injection", []string{"HTTP_X", "a\r\nb: c"}, 400, `HTTP_X is "a\r\nb: c"; it can't be a field of a header`},
		{"NUL in a field", []string{"HTTP_X", "a\x00b"}, 400, `HTTP_X is "a\x00b"`},
		{"name of a field", []string{"HTTP_X:Y", "a"}, 400, `HTTP_X:Y is "a"`},
		{"field without a name", []string{"HTTP_", "a"}, 400, `HTTP_ is "a"`},
		{"type", []string{"CONTENT_TYPE", "a/b\nX: y"}, 400, `CONTENT_TYPE is "a/b\nX: y"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := gateway.NewRequest(t.Context(), pairs(append([]string{"REQUEST_METHOD", "GET", "REQUEST_URI", "/a"}, tt.vars...)...), 100)
			if err == nil || failure.Status(err) != tt.status || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v with %d; it must be %q with %d", err, failure.Status(err), tt.want, tt.status)
			}
		})
	}
}

func TestRefusal(t *testing.T) {
	const through = ". Connect through a friend.\n"
	web := func(what string) string {
		return "HTTP/1.1 400 Bad Request\r\n…This port speaks X, and not " + what + through
	}
	script := func(what string) string {
		return "Status: 502 Bad Gateway\r\n…This port speaks X, and not " + what + through
	}
	for _, tt := range []struct{ name, came, want string }{
		{"http", "GET / HT", web("HTTP")},
		{"short http", "GET", web("HTTP")},
		{"tls", "\x16\x03\x01\x02\x00\x01\x00\x01", web("TLS")},
		{"fastcgi", "\x01\x01\x02\x03\x00\x08\x00\x00", script("FastCGI")},
		{"short fastcgi", "\x01", web("what you sent")},
		{"scgi", "70:CONTE", script("SCGI")},
		{"webkit", "i\x01\x00\x00\x00{t\x06", script("WebKit's adapter protocol")},
		{"word", "info\n", web("what you sent")},
		{"number", "12345678", web("what you sent")},
		{"nothing", "", web("what you sent")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := string(gateway.Refusal("X", "a friend", []byte(tt.came)))
			if tt.name == "fastcgi" {
				const begins, ends = "\x01\x06\x02\x03", "\x01\x06\x02\x03\x00\x00\x00\x00\x01\x03\x02\x03\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
				if !strings.HasPrefix(got, begins) || !strings.HasSuffix(got, ends) {
					t.Fatalf("it is %q", got)
				}
				got = got[8 : len(got)-len(ends)]
			}
			head, text, _ := strings.Cut(got, "\r\n\r\n")
			line, rest, _ := strings.Cut(head, "\r\n")
			if got := line + "\r\n…" + text; got != tt.want {
				t.Errorf("it is %q; it must be %q", got, tt.want)
			}
			if want := fmt.Sprintf("Content-Length: %d", len(text)); !strings.Contains(rest, want) {
				t.Errorf("it has the fields %q; one must be %q", rest, want)
			}
		})
	}
}
