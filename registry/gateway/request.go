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
)

// NewRequest makes the request that a front server's variables stand for, without its body. ContentLength is -1
// when they don't tell it.
//
// Its URL is REQUEST_URI, as the visitor wrote it; without that, SCRIPT_NAME and PATH_INFO joined, and QUERY_STRING. Its
// RemoteAddr is the visitor's (REMOTE_ADDR and REMOTE_PORT), TLS isn't nil when HTTPS says so, and the
// [http.LocalAddrContextKey] of its context is the front server's address. Fields about the connection to the front server
// are left out, and so is Proxy. An error says which variable can't be.
func NewRequest(ctx context.Context, vars map[string]string) (*http.Request, error) {
	r := &http.Request{Header: make(http.Header), Body: http.NoBody, ContentLength: -1}
	if r.Method = vars["REQUEST_METHOD"]; !validName(r.Method) {
		return nil, fmt.Errorf("REQUEST_METHOD is %q; it must be a method such as GET", shorten([]byte(r.Method)))
	}
	r.Proto = vars["SERVER_PROTOCOL"]
	var known bool
	if r.ProtoMajor, r.ProtoMinor, known = http.ParseHTTPVersion(r.Proto); !known {
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
	if text := vars["CONTENT_LENGTH"]; text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("CONTENT_LENGTH is %q; it must be a number of bytes", shorten([]byte(text)))
		}
		r.ContentLength = int64(n)
	}
	if err := addFields(r.Header, vars); err != nil {
		return nil, err
	}
	if r.Host = vars["HTTP_HOST"]; r.Host == "" {
		r.Host = vars["SERVER_NAME"]
	}
	if err := setURL(r, vars); err != nil {
		return nil, err
	}
	if r.RemoteAddr = vars["REMOTE_ADDR"]; r.RemoteAddr != "" {
		port := vars["REMOTE_PORT"]
		if port == "" {
			port = "0"
		}
		r.RemoteAddr = net.JoinHostPort(r.RemoteAddr, port)
	}
	if https := strings.ToLower(vars["HTTPS"]); https == "on" || https == "1" || vars["REQUEST_SCHEME"] == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	if local, ok := localAddr(vars); ok {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, local)
	}
	return r.WithContext(ctx), nil
}

// addFields makes the fields of the header of the HTTP_ variables.
func addFields(h http.Header, vars map[string]string) error {
	for name, value := range vars {
		field, ok := strings.CutPrefix(name, "HTTP_")
		if name == "CONTENT_TYPE" && value != "" {
			field, ok = name, true
		}
		if !ok {
			continue
		}
		field = http.CanonicalHeaderKey(strings.ReplaceAll(field, "_", "-"))
		switch field {
		case "Host", "Content-Length", "Proxy", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect":
			continue
		case "Content-Type":
			if name != "CONTENT_TYPE" {
				continue
			}
		}
		if !validName(field) || !validValue(value) {
			return fmt.Errorf("%s is %q; it can't be a field of a header", shorten([]byte(name)), shorten([]byte(value)))
		}
		h.Set(field, value)
	}
	return nil
}

// setURL sets what the request asks for.
func setURL(r *http.Request, vars map[string]string) error {
	r.RequestURI = vars["REQUEST_URI"]
	if r.RequestURI == "" {
		path := url.URL{Path: vars["SCRIPT_NAME"] + vars["PATH_INFO"], RawQuery: vars["QUERY_STRING"]}
		r.RequestURI = path.RequestURI()
	}
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

// localAddr is where the front server took the request.
func localAddr(vars map[string]string) (net.Addr, bool) {
	port, err := strconv.ParseUint(vars["SERVER_PORT"], 10, 16)
	if err != nil {
		return nil, false
	}
	ip, err := netip.ParseAddr(vars["SERVER_ADDR"])
	if err != nil {
		ip = netip.IPv4Unspecified()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))), true
}

// Refusal returns what to answer a client that speaks another protocol than that port's, which it can show to
// whoever sits before it: an HTTP response, as that is the protocol in all likelihood.
func Refusal(protocol string) string {
	text := "This port speaks " + protocol + ", and not what you sent. Connect through a web server that does, such as nginx.\n"
	return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " + strconv.Itoa(len(text)) +
		"\r\nConnection: close\r\n\r\n" + text
}
