package webkit_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/stackd/stackd/registry/gateway"
)

// client sends requests as an adapter does, which ends its direction behind the body.
type client struct{ addr net.Addr }

func (c client) RoundTrip(r *http.Request) (*http.Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(r.Context(), c.addr.Network(), c.addr.String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(r.Context(), func() {
		if tcp, ok := conn.(*net.TCPConn); ok { // the end of the other direction alone wouldn't be seen
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	})
	var body []byte
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	text := request("CONTENT_LENGTH", strconv.Itoa(len(body)), "REQUEST_METHOD", r.Method, "REQUEST_URI", r.URL.RequestURI(),
		"HTTP_HOST", r.URL.Host, "SERVER_PROTOCOL", "HTTP/1.1", "REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "1234")
	go func() {
		_, _ = io.WriteString(conn, text+string(body)) // the answer tells
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
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

// request returns what an adapter sends before the body.
func request(texts ...string) string {
	environ := "{"
	for _, text := range texts {
		environ += str(text)
	}
	return announced("{" + str("format") + str("CGI") + str("time") + "i\x01\x02\x03\x04" + str("environ") + environ + "0" + "0")
}

// announced returns the dictionary with its length before it.
func announced(dict string) string {
	return string(binary.LittleEndian.AppendUint32([]byte("i"), uint32(len(dict)))) + dict
}

// str returns a text as marshal writes it.
func str(text string) string {
	return string(binary.LittleEndian.AppendUint32([]byte("s"), uint32(len(text)))) + text
}
