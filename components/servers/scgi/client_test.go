package scgi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/gateway"
)

// client sends requests as a front server does.
type client struct{ addr net.Addr }

func (c client) RoundTrip(r *http.Request) (*http.Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(r.Context(), c.addr.Network(), c.addr.String())
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
	text := netstring("CONTENT_LENGTH", strconv.Itoa(len(body)), "SCGI", "1", "REQUEST_METHOD", r.Method, "REQUEST_URI", r.URL.RequestURI(),
		"HTTP_HOST", r.URL.Host, "SERVER_PROTOCOL", "HTTP/1.1", "REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "1234")
	go func() { _, _ = io.WriteString(conn, text+string(body)) }() // the answer tells
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

// netstring returns the header with these names and values.
func netstring(texts ...string) string {
	header := strings.Join(texts, "\x00") + "\x00"
	return fmt.Sprintf("%d:%s,", len(header), header)
}
