// Package redirect sends every visitor to another URL.
//
//	stack:
//	  - {use: redirect, to: "https://{host}{path}{query}"}
//	urls:
//	  /blog/: {redirect: {to: "https://blog.example.org{path}"}}
//	  /shop:  {redirect: {to: "/store/", status: 302}}
//
// In to stand for parts of the URL that was asked for:
//
//   - {host} is the host without the port, {port} the port with its colon, if there is one;
//   - {path} is the path as it was sent, with the slash that it begins with;
//   - {query} is the query with its question mark, or nothing when there is none.
//
// The rest is sent as it is. The method doesn't matter; whether it stays the same at the new place is
// the status' affair. In a stack that is mounted, a URL that begins with a slash is one of that stack, and {path} is then the
// path below its prefix. A request without a host where to has {host}, or with one that can't stand in a URL, is
// answered with 400.
package redirect

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the redirect app.
var Component = registry.App[Config]{
	Name:    "redirect",
	Default: Config{Status: http.StatusPermanentRedirect},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says where to.
type Config struct {
	// To is the URL to go to, with parts of the one that was asked for in braces. It begins with http://,
	// https://, or a slash for this site.
	To string `yaml:"to" validate:"required"`
	// Status says how: 308 for good and 307 for now, both with the same method; 301 for good and 302 for now, where
	// browsers turn POST into GET; 303 to a page that tells what came of a POST.
	Status int `yaml:"status" validate:"oneof=301 302 303 307 308"`
}

// Validate checks the URL.
func (c Config) Validate() error {
	if c.To == "" {
		return nil // which is said already
	}
	if _, err := parse(c.To); err != nil {
		return &registry.SettingError{Setting: "to", Problem: fmt.Sprintf("is %q; %v", c.To, err)}
	}
	return nil
}

// part is a piece of the URL: text, or what stands in braces.
type part struct{ text, name string }

// parse takes the URL apart.
func parse(to string) ([]part, error) {
	switch {
	case strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) || strings.HasPrefix(to, "/{"):
		// A browser takes the first two for another host, and so what {path} would make of the third.
		return nil, errors.New("it must have a letter after the first slash, or the whole URL with http:// or https://")
	case !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://"):
		return nil, errors.New("it must begin with http://, https:// or a slash")
	case strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, errors.New("it must have no spaces or letters that a URL writes as %XX")
	}
	var parts []part
	example := to
	for rest := to; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		if text != "" {
			parts = append(parts, part{text: text})
		}
		if !found {
			break
		}
		name, after, found := strings.Cut(after, "}")
		switch {
		case !found:
			return nil, errors.New("it must have a } for each {")
		case name != "host" && name != "port" && name != "path" && name != "query":
			return nil, fmt.Errorf("{%s} is unknown; it must be {host}, {port}, {path} or {query}", name)
		}
		parts = append(parts, part{name: name})
		example = strings.ReplaceAll(example, "{"+name+"}", map[string]string{"host": "h", "port": ":1", "path": "/p", "query": "?q"}[name])
		rest = after
	}
	if u, err := url.Parse(example); err != nil || u.Scheme != "" && u.Host == "" {
		return nil, errors.New("it must be a URL such as https://example.org/")
	}
	return parts, nil
}

func build(_ *registry.Env, cfg Config) (http.Handler, error) {
	parts, err := parse(cfg.To)
	if err != nil {
		return nil, err
	}
	return &redirect{parts: parts, status: cfg.Status, text: strconv.Itoa(cfg.Status) + " " + http.StatusText(cfg.Status) + "\n"}, nil
}

type redirect struct {
	parts  []part
	status int
	text   string
}

func (a *redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	location, ok := a.location(r)
	if !ok {
		http.Error(w, "400 the host is missing or malformed", http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set("Location", location)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(a.text)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write([]byte(a.text))
	}
}

func (a *redirect) location(r *http.Request) (location string, ok bool) {
	var b strings.Builder
	prefix, here := environ.Prefix.Get(r), strings.HasPrefix(a.parts[0].text, "/")
	if here {
		b.WriteString(prefix)
	}
	for _, p := range a.parts {
		switch p.name {
		case "":
			b.WriteString(p.text)
		case "host", "port":
			host, port := split(r.Host)
			if p.name == "port" {
				b.WriteString(port)
				continue
			}
			if host == "" || !httpguts.ValidHostHeader(host) || strings.ContainsAny(host, `/\?#@%"<>`) {
				return "", false
			}
			b.WriteString(host)
		case "path":
			if !here {
				b.WriteString(prefix)
			}
			b.WriteString(slash(r.URL.EscapedPath()))
		case "query":
			if r.URL.RawQuery != "" {
				b.WriteByte('?')
				b.WriteString(r.URL.RawQuery)
			}
		}
	}
	return b.String(), true
}

// split splits a host from its port, which keeps its colon.
func split(hostport string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, ""
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return host, ""
	}
	return host, ":" + port
}

// slash returns the path with a slash at its front: the one of "OPTIONS *" has none, and would run into
// the host.
func slash(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/"
}
