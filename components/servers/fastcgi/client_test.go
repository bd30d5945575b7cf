package fastcgi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/gateway/fcgi"
)

// client sends requests as a front server does, each on a connection of its own.
type client struct{ addr net.Addr }

func (c client) RoundTrip(r *http.Request) (*http.Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(r.Context(), c.addr.Network(), c.addr.String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	f := &front{Conn: conn, in: bufio.NewReader(conn)}
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	records := fcgi.AppendBegin(nil, 1, 0)
	records = append(records, params(1, map[string]string{
		"REQUEST_METHOD": r.Method, "REQUEST_URI": r.URL.RequestURI(), "HTTP_HOST": r.URL.Host, "SERVER_PROTOCOL": "HTTP/1.1",
		"CONTENT_LENGTH": strconv.Itoa(len(body)), "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "1234",
	})...)
	records = fcgi.AppendRecord(fcgi.AppendStream(records, fcgi.Stdin, 1, body), fcgi.Stdin, 1)
	go func() { _, _ = conn.Write(records) }() // the answer tells
	f.out = bufio.NewReader(stdout{f})
	h, err := gateway.ReadHeader(f.out, 1<<20)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, err
	}
	return &http.Response{
		StatusCode: h.Status, Header: h.Fields, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: h.Length,
		Body: struct {
			io.Reader
			io.Closer
		}{f.out, conn},
	}, nil
}

// front is the front server's end of a connection.
type front struct {
	net.Conn
	in, out *bufio.Reader
	left    int
	ended   bool
}

// stdout reads what the server sends as standard output.
type stdout struct{ f *front }

func (s stdout) Read(p []byte) (int, error) {
	f := s.f
	for f.left == 0 {
		if f.ended {
			return 0, io.EOF
		}
		h, err := fcgi.ReadHeader(f.in)
		if err != nil {
			return 0, fmt.Errorf("before the end: %w", errors.Join(io.ErrUnexpectedEOF, err))
		}
		switch h.Type {
		case fcgi.Stdout:
			f.left = h.Length
		case fcgi.EndRequest:
			f.ended = true
		default:
			return 0, fmt.Errorf("%v comes", h.Type)
		}
	}
	n, err := f.in.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// params returns the records of variables.
func params(id uint16, vars map[string]string) []byte {
	var pairs []byte
	for name, value := range vars {
		pairs = fcgi.AppendPair(pairs, name, value)
	}
	return fcgi.AppendRecord(fcgi.AppendStream(nil, fcgi.Params, id, pairs), fcgi.Params, id)
}

// connect opens a connection.
func connect(t *testing.T, addr net.Addr) *front {
	t.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &front{Conn: conn, in: bufio.NewReader(conn)}
}

func (f *front) send(t *testing.T, records []byte) {
	t.Helper()
	if _, err := f.Write(records); err != nil {
		t.Fatal(err)
	}
}

// next reads a record and writes it as text, "gone" at the end of the connection.
func (f *front) next(t *testing.T) string {
	t.Helper()
	h, err := fcgi.ReadHeader(f.in)
	if err != nil {
		return "gone"
	}
	content := make([]byte, h.Length+h.Padding)
	if _, err := io.ReadFull(f.in, content); err != nil {
		t.Fatal(err)
	}
	content = content[:h.Length]
	if h.Type == fcgi.EndRequest {
		return fmt.Sprintf("END_REQUEST %d, status %d", h.ID, content[4])
	}
	return strings.TrimSpace(fmt.Sprintf("%v %d %q", h.Type, h.ID, content))
}
