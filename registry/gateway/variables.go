package gateway

import (
	"fmt"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/resource"
)

// Variables makes the meta-variables of requests (RFC 3875, 4.1).
type Variables struct {
	// Root is the folder that PATH_TRANSLATED is taken from.
	Root string
	// Authorization says that the visitor's credentials are passed on.
	Authorization bool
}

// Each calls set with each variable that depends on the request; the last one of a name
// counts. Length is the body's. What doesn't depend on the request (GATEWAY_INTERFACE, SERVER_SOFTWARE,
// SCRIPT_FILENAME, DOCUMENT_ROOT) is the caller's to set.
//
// There are the meta-variables, REMOTE_USER where a middleware has set [environ.User], but no AUTH_TYPE, since how
// it came to know the user is its own affair; REMOTE_PORT, REQUEST_URI and HTTPS;
// STACKD_VAR_ for each of the [environ.Vars] that is a text, a number, true or false; and HTTP_ for each field of the
// header, except Proxy, Proxy-Authorization, Authorization unless it is asked for, and names that might pass for
// another's.
func (v Variables) Each(r *http.Request, length int64, set func(name, value string)) {
	m := resource.Key.Get(r)
	if m == nil {
		m = &resource.Match{ScriptName: r.URL.Path}
	}
	for name, value := range environ.Vars.Get(r) {
		switch value.(type) {
		case string, bool, int, int64, uint64, float64:
			set("STACKD_VAR_"+variable(name), fmt.Sprint(value))
		}
	}
	for name, values := range r.Header {
		if v.passes(name) {
			separator := ", "
			if name == "Cookie" {
				separator = "; "
			}
			set("HTTP_"+variable(name), strings.Join(values, separator))
		}
	}
	if r.Host != "" {
		set("HTTP_HOST", r.Host)
	}

	set("REQUEST_METHOD", r.Method)
	set("SCRIPT_NAME", environ.Prefix.Get(r)+m.ScriptName)
	set("PATH_INFO", m.PathInfo)
	if m.PathInfo != "" {
		set("PATH_TRANSLATED", filepath.Join(v.Root, filepath.FromSlash(path.Clean("/"+m.PathInfo))))
	}
	set("QUERY_STRING", r.URL.RawQuery)
	set("REQUEST_URI", r.RequestURI)
	set("SERVER_PROTOCOL", r.Proto)
	name, port := server(r)
	set("SERVER_NAME", name)
	set("SERVER_PORT", port)
	host, port, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host, port = r.RemoteAddr, "" // as of a unix socket
	}
	set("REMOTE_ADDR", host)
	set("REMOTE_HOST", host)
	set("REMOTE_PORT", port)
	if user := environ.User.Get(r); user != "" {
		set("REMOTE_USER", user)
	}
	if r.TLS != nil {
		set("HTTPS", "on")
	}
	if contentType := r.Header.Get("Content-Type"); contentType != "" {
		set("CONTENT_TYPE", contentType)
	}
	switch {
	case length > 0:
		set("CONTENT_LENGTH", strconv.FormatInt(length, 10))
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		set("CONTENT_LENGTH", "0") // many look for it where a body is to be expected
	}
}

// passes reports whether a field of the request's header becomes an HTTP_ variable.
func (v Variables) passes(name string) bool {
	switch name {
	case "Content-Length", "Content-Type", "Host": // they have variables of their own
		return false
	case "Authorization":
		return v.Authorization
	case "Proxy", "Proxy-Authorization":
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// variable returns name as part of an environment variable's name.
func variable(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, name)
}

// server returns the name by which r calls the server, its address if it has none for it, and the port it came in at.
func server(r *http.Request) (name, port string) {
	name, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		name, port = r.Host, "" // no port
	} else if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if tcp, ok := local.(*net.TCPAddr); ok {
		port = strconv.Itoa(tcp.Port)
		if name == "" {
			name = tcp.IP.String()
			if tcp.IP.To4() == nil {
				name = "[" + name + "]"
			}
		}
	}
	switch {
	case port != "":
	case r.TLS != nil:
		port = "443"
	default:
		port = "80"
	}
	return name, port
}
