// Package cgi answers the one request that a web server has started this process for.
//
// With it a stack file is a CGI program, that can be put into a cgi-bin as it is:
//
//	#!/usr/bin/stackd run
//	servers:
//	  - cgi
//	stack:
//	  - errors
//	  - {use: finder, root: /srv/site}
//
// The web server starts it for each request, tells the request in the process's environment and standard input, and passes
// on what is written to the standard output (RFC 3875). That costs a start of stackd each time, and nothing of the stack
// lives longer than the request: sessions need a store that does, such as sqlite. Where the web server can
// keep a connection to a stackd that runs, the fastcgi server is the better choice.
//
// # What the stack sees
//
// The path is the part of the URL behind the program's own (PATH_INFO), and "/" without one: the stack is a site of
// its own below the program, as one that is mounted below a prefix: redirects, the session's cookie and whatever else makes URLs put
// the program's own path before theirs. That is so where the visitor's URL has it, and not where the web server has made the path
// of another. The visitor's address is REMOTE_ADDR, and the request came over TLS when HTTPS is on. A body
// has as many bytes as CONTENT_LENGTH says.
//
// Words that a web server adds to the command line, as Apache does for a query without "=" in it, are ignored.
//
// # Limits
//
// A body announced longer than max_body is answered with 413, one of which nothing comes for body_idle_timeout fails at
// the read that waits for it, and when nothing of the response is taken for write_idle_timeout the program gives up. How long
// all of it may take is up to the web server, and so is how many such programs run at a time.
//
// # Ending
//
// The program ends when the request is answered, with status 0; files aren't watched. When it isn't started by a web
// server it says so, and ends with status 1. So it does when the answer broke off, which can't be told to a web
// server that already has a part of it. It logs warnings and what is worse, unless --log-level says otherwise.
package cgi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/gateway"
)

func init() { registry.Register(Component) }

// Component is the cgi server.
var Component = registry.Server[Config]{
	Name: "cgi",
	Default: Config{
		BodyIdleTimeout:  30 * time.Second,
		WriteIdleTimeout: time.Minute,
		MaxBody:          1 << 30,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says how long the server waits for the web server.
type Config struct {
	// BodyIdleTimeout is how long a request body may stall. It starts anew with every byte.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// WriteIdleTimeout is how long the web server may take nothing of a response that is ready for it.
	WriteIdleTimeout time.Duration `yaml:"write_idle_timeout" validate:"min=1ms"`
	// MaxBody is the longest body of a request, 0 for no limit.
	MaxBody registry.Size `yaml:"max_body" validate:"min=0"`
}

func build(env *registry.Env, cfg Config) (registry.ServeFunc, error) {
	s := &server{
		cfg:    cfg,
		single: &gateway.Single{BodyIdleTimeout: cfg.BodyIdleTimeout, Log: env.Logger()},
	}
	return s.serve, nil
}

// server serves the connections of processes, of which there is one in practice.
type server struct {
	cfg    Config
	single *gateway.Single
}

func (s *server) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	life := context.WithoutCancel(ctx) // requests under way finish
	var mu sync.Mutex
	var first error
	a := gateway.Acceptor{Max: 1024, WriteIdle: s.cfg.WriteIdleTimeout, Log: s.single.Log, Serve: func(c *gateway.Conn) {
		if err := s.converse(life, c, h); err != nil {
			mu.Lock()
			defer mu.Unlock()
			first = errors.Join(first, err)
		}
	}}
	err := a.Run(ctx, l)
	if errors.Is(err, io.EOF) { // the request is answered, and there is no other
		return first
	}
	return err
}

// converse answers the request of a process.
func (s *server) converse(ctx context.Context, c *gateway.Conn, h http.Handler) error {
	p, ok := c.Conn.(gateway.Process)
	if !ok {
		return errors.New("there is a connection without a process; there must be the standard input and output of one")
	}
	if !c.Begin() {
		return nil
	}
	vars := variables(p.Environ())
	if len(vars) == 0 {
		return errors.New("this is a CGI program: a web server must start it, with REQUEST_METHOD and the other variables of RFC 3875 in its environment")
	}
	r, err := gateway.NewRequest(ctx, vars, int64(s.cfg.MaxBody))
	if err != nil {
		if _, err := c.Write(gateway.Decline(err)); err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		return nil
	}
	if prefix := mount(r, vars); prefix != "" {
		r = environ.Below(r, prefix)
	}
	if err := s.single.Answer(c, bufio.NewReader(c), r, h); err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	return nil
}

// variables returns the variables in an environment, or none when there is no request.
func variables(environ []string) []gateway.Variable {
	vars := make([]gateway.Variable, 0, len(environ))
	asked := false
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		asked = asked || name == "REQUEST_METHOD"
		vars = append(vars, gateway.Variable{Name: name, Value: value})
	}
	if !asked {
		return nil
	}
	return vars
}

// mount takes the program's own path off the URL, and returns it if the visitor's URL has it. What is left is as the visitor wrote
// it, where that shows.
func mount(r *http.Request, vars []gateway.Variable) (prefix string) {
	var own, below string
	for _, v := range vars {
		switch v.Name {
		case "SCRIPT_NAME":
			own = v.Value
		case "PATH_INFO":
			below = v.Value
		}
	}
	rest := &url.URL{Path: below, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	if !strings.HasPrefix(below, "/") {
		rest.Path = "/" + below
	}
	escaped := (&url.URL{Path: own}).EscapedPath()
	if written, ok := strings.CutPrefix(r.URL.EscapedPath(), escaped); ok {
		visitors, err := url.PathUnescape(written)
		if err == nil && visitors == rest.Path {
			rest.RawPath = written
		}
		if err == nil && visitors == below && escaped == own && path.Clean("/"+own) == own && own != "/" {
			prefix = own
		}
	}
	r.URL = rest
	return prefix
}
