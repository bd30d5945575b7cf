package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/failure"
)

// Variable is one of the variables that stand for a request, such as REQUEST_METHOD.
type Variable struct{ Name, Value string }

// NewRequest makes the request that a front server's variables stand for, without its body. ContentLength is -1
// when they don't tell it.
//
// Its URL is REQUEST_URI, as the visitor wrote it; without that, SCRIPT_NAME and PATH_INFO joined, and QUERY_STRING. Its
// RemoteAddr is the visitor's (REMOTE_ADDR and REMOTE_PORT), or "@" as net/http has it when that isn't an IP address;
// TLS isn't nil when HTTPS says so, and the [http.LocalAddrContextKey] of its context is the front server's address. Fields
// about the connection to the front server are left out, and so is Proxy.
//
// A variable may come twice. HTTP_ variables are fields of the header that came twice then. CONTENT_LENGTH and HTTP_HOST
// must not differ, since two who believe different ones don't talk about the same request. Of any other the last one
// counts: that is how nginx overrides what it includes.
//
// An error says which variable can't be, or that the body is announced to be longer than maxBody, unless that is 0. It has
// a status.
func NewRequest(ctx context.Context, vars []Variable, maxBody int64) (*http.Request, error) {
	r, err := newRequest(ctx, vars)
	if err != nil {
		return nil, failure.WithStatus(err, http.StatusBadRequest)
	}
	if maxBody > 0 && r.ContentLength > maxBody {
		err := fmt.Errorf("the request body may have at most %d bytes", maxBody)
		return nil, failure.WithStatus(err, http.StatusRequestEntityTooLarge)
	}
	return r, nil
}

func newRequest(ctx context.Context, vars []Variable) (*http.Request, error) {
	m := meta{header: make(http.Header, len(vars)), values: make([]string, 0, len(vars))}
	for _, v := range vars {
		if err := m.take(v); err != nil {
			return nil, err
		}
	}
	r := &http.Request{Header: m.header, Body: http.NoBody, Method: m.method, Proto: m.proto}
	if !validName(r.Method) {
		return nil, fmt.Errorf("REQUEST_METHOD is %q; it must be a method such as GET", shorten([]byte(r.Method)))
	}
	var err error
	if r.ContentLength, err = length(m.length); err != nil {
		return nil, err
	}
	var known bool
	if r.ProtoMajor, r.ProtoMinor, known = http.ParseHTTPVersion(r.Proto); !known {
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
	if r.Host = m.host; r.Host == "" {
		r.Host = m.serverName
	}
	if r.RequestURI = m.uri; r.RequestURI == "" {
		path := url.URL{Path: m.scriptName + m.pathInfo, RawQuery: m.query}
		r.RequestURI = path.RequestURI()
	}
	if err := setURL(r); err != nil {
		return nil, err
	}
	if !validHost(r.Host) {
		return nil, fmt.Errorf("the host is %q; it must be one such as example.org or 192.0.2.1:8080", shorten([]byte(r.Host)))
	}
	r.RemoteAddr = m.remote()
	if strings.EqualFold(m.https, "on") || m.https == "1" || m.scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	if local, ok := m.local(); ok {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, local)
	}
	return r.WithContext(ctx), nil
}

// meta is what the variables say, each by itself.
type meta struct {
	method, proto, length, host, serverName, serverAddr, serverPort string
	uri, scriptName, pathInfo, query, remoteAddr, remotePort        string
	https, scheme                                                   string

	header http.Header
	values []string // those of header are slices of it
}

// take takes a variable in.
func (m *meta) take(v Variable) error {
	switch v.Name {
	case "REQUEST_METHOD":
		m.method = v.Value
	case "SERVER_PROTOCOL":
		m.proto = v.Value
	case "CONTENT_LENGTH":
		return once(&m.length, v)
	case "CONTENT_TYPE":
		delete(m.header, "Content-Type")
		if v.Value != "" {
			return m.field("Content-Type", v)
		}
	case "HTTP_HOST":
		return once(&m.host, v)
	case "SERVER_NAME":
		m.serverName = v.Value
	case "SERVER_ADDR":
		m.serverAddr = v.Value
	case "SERVER_PORT":
		m.serverPort = v.Value
	case "REQUEST_URI":
		m.uri = v.Value
	case "SCRIPT_NAME":
		m.scriptName = v.Value
	case "PATH_INFO":
		m.pathInfo = v.Value
	case "QUERY_STRING":
		m.query = v.Value
	case "REMOTE_ADDR":
		m.remoteAddr = v.Value
	case "REMOTE_PORT":
		m.remotePort = v.Value
	case "HTTPS":
		m.https = v.Value
	case "REQUEST_SCHEME":
		m.scheme = v.Value
	default:
		if name, ok := strings.CutPrefix(v.Name, "HTTP_"); ok {
			return m.passed(name, v)
		}
	}
	return nil
}

// once takes the value of a variable that must not have two.
func once(have *string, v Variable) error {
	if *have != "" && v.Value != "" && *have != v.Value {
		return fmt.Errorf("%s is %q and %q; it must not have two values", v.Name, shorten([]byte(*have)), shorten([]byte(v.Value)))
	}
	if v.Value != "" {
		*have = v.Value
	}
	return nil
}

// passed takes a field of the visitor's header, unless it is about a connection, or one that there is a variable for.
func (m *meta) passed(name string, v Variable) error {
	switch name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")); name {
	case "Content-Length", "Content-Type", "Proxy", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect":
		return nil
	}
	return m.field(name, v)
}

// field adds a field to the header.
func (m *meta) field(name string, v Variable) error {
	if !validName(name) || !validValue(v.Value) {
		return fmt.Errorf("%s is %q; it can't be a field of a header", shorten([]byte(v.Name)), shorten([]byte(v.Value)))
	}
	if before := m.header[name]; before != nil {
		m.header[name] = append(before, v.Value)
		return nil
	}
	n := len(m.values)
	m.values = append(m.values, v.Value)
	m.header[name] = m.values[n : n+1 : n+1]
	return nil
}

// length reads CONTENT_LENGTH. It is -1 without one.
func length(text string) (int64, error) {
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("CONTENT_LENGTH is %q; it must be a number of bytes", shorten([]byte(text)))
	}
	return int64(n), nil
}

// setURL sets what the request asks for.
func setURL(r *http.Request) error {
	if r.RequestURI == "*" && r.Method == http.MethodOptions {
		r.URL = &url.URL{Path: "*"}
		return nil
	}
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		return fmt.Errorf("REQUEST_URI is %q; it must be a path such as /a?b=c", shorten([]byte(r.RequestURI)))
	}
	if u.Host != "" { // as in a request to a proxy
		r.Host, u.Scheme, u.Host, u.User = u.Host, "", "", nil
	}
	r.URL = u
	return nil
}

// remote is where the visitor connected from.
func (m *meta) remote() string {
	if _, err := netip.ParseAddr(m.remoteAddr); err != nil {
		return "@" // the front server listens on a unix socket
	}
	port := m.remotePort
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = "0"
	}
	return net.JoinHostPort(m.remoteAddr, port)
}

// local is where the front server took the request.
func (m *meta) local() (net.Addr, bool) {
	port, err := strconv.ParseUint(m.serverPort, 10, 16)
	if err != nil {
		return nil, false
	}
	ip, err := netip.ParseAddr(m.serverAddr)
	if err != nil {
		ip = netip.IPv4Unspecified()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))), true
}

// validHost reports whether host has nothing in it but what a host and a port may have (RFC 3986, 3.2.2).
func validHost(host string) bool {
	for _, c := range []byte(host) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("-._~!$&'()*+,;=:[]%", c) < 0 {
			return false
		}
	}
	return true
}
