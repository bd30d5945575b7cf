package tests

import (
	le "encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// spoken is how the variables of a request, and its body, are sent over each of the gateways' protocols.
var spoken = map[string]func(vars []gateway.Variable, body string) []byte{
	"fastcgi": func(vars []gateway.Variable, body string) []byte {
		var params []byte
		for _, v := range vars {
			params = fcgi.AppendPair(params, v.Name, v.Value)
		}
		b := fcgi.AppendStream(fcgi.AppendBegin(nil, 1, 0), fcgi.Params, 1, params)
		b = fcgi.AppendStream(fcgi.AppendRecord(b, fcgi.Params, 1), fcgi.Stdin, 1, []byte(body))
		return fcgi.AppendRecord(b, fcgi.Stdin, 1)
	},
	"scgi": func(vars []gateway.Variable, body string) []byte {
		header := fmt.Sprintf("CONTENT_LENGTH\x00%d\x00SCGI\x001\x00", len(body))
		for _, v := range vars {
			header += v.Name + "\x00" + v.Value + "\x00"
		}
		return fmt.Appendf(nil, "%d:%s,%s", len(header), header, body)
	},
	"webkit": func(vars []gateway.Variable, body string) []byte {
		text := func(s string) string { return string(le.LittleEndian.AppendUint32([]byte("s"), uint32(len(s)))) + s }
		environ := text("CONTENT_LENGTH") + text(fmt.Sprint(len(body)))
		for _, v := range vars {
			environ += text(v.Name) + text(v.Value)
		}
		request := "{" + text("format") + text("CGI") + text("environ") + "{" + environ + "0" + "0"
		return append(le.LittleEndian.AppendUint32([]byte("i"), uint32(len(request))), request+body...)
	},
}

// TestRawGateways sends what no decent front server sends to the essay's stack, and expects a clear answer, nothing leaked,
// and a server that goes on.
func TestRawGateways(t *testing.T) {
	t.Parallel()
	dir := copyStacks(t)
	for name, content := range map[string]string{"secret.txt": secret, "webware/secret.txt": secret, "webware/site/.env": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, filepath.Join(dir, "behind-apache.yaml"))
	bound := map[string]string{"fastcgi": s.bound("127.0.0.1:0"), "scgi": s.bound("127.0.0.1:00"), "webkit": s.bound("127.0.0.1:000")}
	long := strings.Repeat("a", 100_000)
	for _, tt := range []struct {
		name   string
		vars   []string
		status string // how the answer begins
	}{
		{"plain", []string{"REQUEST_URI", "/style.css"}, "Status: 200 "},
		{"dot dot", []string{"REQUEST_URI", "/../secret.txt"}, "Status: 400 "},
		{"encoded dots", []string{"REQUEST_URI", "/%2e%2e/secret.txt"}, "Status: 400 "},
		{"encoded slash", []string{"REQUEST_URI", "/..%2fsecret.txt"}, "Status: 400 "},
		{"backslash", []string{"REQUEST_URI", "/..\\secret.txt"}, "Status: 400 "},
		{"dot file", []string{"REQUEST_URI", "/.env"}, "Status: 404 "},
		{"absolute", []string{"REQUEST_URI", "http://x/../secret.txt"}, "Status: 400 "},
		{"a path of the front server's own", []string{"REQUEST_URI", "/nothing", "SCRIPT_FILENAME", "/etc/passwd", "DOCUMENT_ROOT", "/etc", "PATH_TRANSLATED", "/etc/passwd"}, "Status: 404 "},
		{"dot dot in parts", []string{"SCRIPT_NAME", "/..", "PATH_INFO", "/secret.txt"}, "Status: 400 "},
		{"dot dot across parts", []string{"SCRIPT_NAME", "/.", "PATH_INFO", "./secret.txt"}, "Status: 400 "},
		{"NUL", []string{"REQUEST_URI", "/style.css%00.html"}, "Status: 400 "},
		{"header injection", []string{"REQUEST_URI", "/counter", "HTTP_X", "a\r\nSet-Cookie: b"}, "Status: 400"},
		{"injection by the host", []string{"REQUEST_URI", "/admin", "HTTP_HOST", "a\r\nSet-Cookie: b"}, "Status: 400"},
		{"injection by the path", []string{"REQUEST_URI", "/admin%0d%0aSet-Cookie:%20b"}, "Status: 4"},
		{"another length", []string{"REQUEST_METHOD", "POST", "REQUEST_URI", "/counter", "CONTENT_LENGTH", "3"}, "Status: 400"},
		{"chunked", []string{"REQUEST_METHOD", "POST", "REQUEST_URI", "/style.css", "HTTP_TRANSFER_ENCODING", "chunked"}, "Status: 405 "},
		{"method in lower case", []string{"REQUEST_METHOD", "get", "REQUEST_URI", "/style.css"}, "Status: 405 "},
		{"nothing", nil, "Status: 400"},
		{"too much", []string{"REQUEST_URI", "/", "HTTP_X", long}, "Status: 431"},
	} {
		for protocol, speak := range spoken {
			t.Run(protocol+"/"+tt.name, func(t *testing.T) {
				vars := []gateway.Variable{{Name: "CONTENT_LENGTH", Value: "4"}}
				if protocol != "fastcgi" { // they say it themselves
					vars = nil
				}
				if tt.vars != nil {
					vars = append(vars, gateway.Variable{Name: "REQUEST_METHOD", Value: "GET"}, gateway.Variable{Name: "HTTP_HOST", Value: "x"})
				}
				for i := 0; i < len(tt.vars); i += 2 {
					if name := tt.vars[i]; name == "HTTP_HOST" {
						vars[len(vars)-1].Value = tt.vars[i+1]
						continue
					}
					vars = append(vars, gateway.Variable{Name: tt.vars[i], Value: tt.vars[i+1]})
				}
				answer := raw(t, bound[protocol], speak(vars, "body"))
				if protocol == "fastcgi" && len(answer) > 8 {
					answer = answer[8:] // the record's header
				}
				if !strings.HasPrefix(answer, tt.status) {
					t.Errorf("it is answered with %.300q; that must begin with %q", answer, tt.status)
				}
				for _, leak := range []string{secret, dir, "\nSet-Cookie: b", "goroutine ", "root:"} {
					if strings.Contains(answer, leak) {
						t.Errorf("the answer has %q in it:\n%.600s", leak, answer)
					}
				}
			})
		}
	}
	// What is sent to a port of another protocol gets an answer in its own.
	for protocol, speak := range spoken {
		for port, address := range bound {
			if port == protocol {
				continue
			}
			t.Run(protocol+" to "+port, func(t *testing.T) {
				answer := raw(t, address, speak([]gateway.Variable{{Name: "REQUEST_METHOD", Value: "GET"}}, ""))
				contains(t, "the answer", answer, "Status: 502 Bad Gateway\r\n", "This port speaks ", ", and not ")
			})
		}
	}
	if strings.Contains(s.log(), "panic") {
		t.Errorf("something panicked:\n%s", s.log())
	}
}

// raw sends a request and returns what comes back until the connection is closed.
func raw(t *testing.T, address string, request []byte) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write(request) // it may be refused meanwhile
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(answer), err)
	}
	return string(answer)
}
