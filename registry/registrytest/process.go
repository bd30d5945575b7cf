package registrytest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/gateway"
)

// processes is a listener whose connections are each a gateway.Process: the environment comes first, every variable ended by
// a NUL, and one more NUL behind the last.
type processes struct{ net.Listener }

func (p processes) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &process{Conn: c, in: bufio.NewReader(c)}, nil
}

type process struct {
	net.Conn
	in *bufio.Reader
}

func (p *process) Environ() []string {
	var environ []string
	for {
		v, err := p.in.ReadString(0)
		if err != nil || v == "\x00" {
			return environ
		}
		environ = append(environ, v[:len(v)-1])
	}
}

func (p *process) Read(b []byte) (int, error) { return p.in.Read(b) }

// starter sends requests to processes, as a web server does that starts CGI programs.
type starter struct{ addr net.Addr }

func (s starter) RoundTrip(r *http.Request) (*http.Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(r.Context(), s.addr.Network(), s.addr.String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() })
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	environ := strings.Join([]string{
		"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=" + r.Method, "REQUEST_URI=/program" + r.URL.RequestURI(), "SCRIPT_NAME=/program", "PATH_INFO=" + r.URL.Path,
		"QUERY_STRING=" + r.URL.RawQuery, "CONTENT_LENGTH=" + strconv.Itoa(len(body)), "HTTP_HOST=" + r.URL.Host, "SERVER_PROTOCOL=HTTP/1.1", "REMOTE_ADDR=192.0.2.1",
	}, "\x00") + "\x00\x00"
	go func() { _, _ = io.WriteString(conn, environ+string(body)) }() // the answer tells
	in := bufio.NewReader(conn)
	h, err := gateway.ReadHeader(in, 1<<20)
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
		}{in, conn},
	}, nil
}
