// Package proxy hands requests on to other servers over HTTP/1.1, and their answers back.
//
//	stack:
//	  - errors
//	  - use: proxy
//	    to: ["http://127.0.0.1:9000", "unix:/run/app.sock"]
//	    check: {path: /health}
//
// Bodies are streamed both ways, whatever their length. Trailers, 1xx responses, event streams and
// WebSockets pass through. The path and the query are sent as they came, behind the path of the
// upstream's URL if that has one.
//
// # Which upstream
//
// With balance least_connections a request goes to the upstream that has the fewest requests under way;
// of several, to each in turn. With hash it goes by hash_by: equal ones to the same upstream, for as
// long as that is up, and when one is down only its share moves to the others.
//
// An upstream of several that failed max_fails times in a row is left out for fail_time. Is none
// left, all are tried nevertheless. One that fails its check is left out until it passes again, and when
// none passes the answer is 503.
//
// # When one fails
//
// A request is tried anew, with another upstream if there is one, up to retries times and only when that can't do
// anything twice: when no connection was made, so that nothing was sent; or when the method is
// idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE: RFC 9110, 9.2.2), the request has no body, and the connection broke
// before the answer began. An answer is never asked for twice because of its status, and never after
// a timeout.
//
// Otherwise the failure is reported: as 504 when it was a timeout, as 503 when no upstream is up, and as
// 502 for everything else. When the answer had begun, the client's connection is cut, so that it
// doesn't take a part for the whole.
//
// # What is said about the client
//
// The upstream is told the client's address in X-Forwarded-For, and what it asked for in X-Forwarded-Host and
// X-Forwarded-Proto. What the client itself says in these, in any other X-Forwarded field, in Forwarded or
// in X-Real-IP is dropped, unless trust lists the address that the request comes from: then what it says stays, and
// its address is added to X-Forwarded-For.
//
// Many upstreams take an underscore in a field's name for a hyphen. So a field that has one is dropped where the field with
// the hyphen is there, or would be dropped.
//
// In a stack that is mounted below a prefix the upstream is asked for the path without it, and told the prefix in
// X-Forwarded-Prefix: behind what a trusted client says there that it has taken off itself.
//
// Fields that are for one connection only (RFC 9110, 7.6.1) aren't handed on. Nor is the wish to switch to another version
// of HTTP or to TLS, as what is asked after that would get past the stack.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
)

func init() { registry.Register(Component) }

// Component is the proxy app.
var Component = registry.App[Config]{
	Name: "proxy",
	Default: Config{
		Balance:         "least_connections",
		HashBy:          "address",
		KeepHost:        true,
		Retries:         2,
		MaxFails:        3,
		FailTime:        10 * time.Second,
		Check:           Check{Every: 5 * time.Second, Timeout: 2 * time.Second},
		DialTimeout:     5 * time.Second,
		HeaderTimeout:   time.Minute,
		BodyIdleTimeout: time.Minute,
		IdleTimeout:     30 * time.Second,
		MaxIdle:         128,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says where requests go, and how long the proxy waits for an answer.
type Config struct {
	// To are the upstreams: http://host:port, https://host:port, either with a path that goes before
	// the request's, or unix:/run/app.sock, the absolute path of a unix socket.
	To []string `yaml:"to" validate:"required,unique,dive,required"`
	// Balance is how one of several upstreams is chosen: least_connections, the one with the fewest requests under
	// way; or hash, always the same one for the same hash_by.
	Balance string `yaml:"balance" validate:"oneof=least_connections hash"`
	// HashBy is what hash goes by: address (the client's), path, host, or a field of the request's header such as
	// header:X-Tenant, or a cookie such as cookie:session. Requests without it count as equal.
	HashBy string `yaml:"hash_by" validate:"required"`
	// KeepHost says whether the upstream gets the Host that the client asked for. If not, it gets
	// the host and port of its own URL, as an upstream that serves several names may need.
	KeepHost bool `yaml:"keep_host"`
	// Trust are the networks of proxies in front of this one, such as 10.0.0.0/8 or 192.0.2.7, whose word about the
	// client is taken and handed on; unix are clients of a unix socket.
	Trust []registry.Network `yaml:"trust"`
	// Forwarded says whether the standard field Forwarded (RFC 7239) is sent beside the X-Forwarded ones.
	Forwarded bool `yaml:"forwarded"`
	// Retries is how often a request is tried anew where that is safe; 0 tries once.
	Retries int `yaml:"retries" validate:"min=0,max=10"`
	// MaxFails is how many failures in a row take one of several upstreams out; 0 never does.
	MaxFails int `yaml:"max_fails" validate:"min=0"`
	// FailTime is for how long.
	FailTime time.Duration `yaml:"fail_time" validate:"min=1ms"`
	// Check asks each upstream from time to time whether it is well.
	Check Check `yaml:"check"`
	// DialTimeout is how long making a connection may take, TLS included.
	DialTimeout time.Duration `yaml:"dial_timeout" validate:"min=1ms"`
	// HeaderTimeout is how long an upstream may take to begin its answer, once it has the whole request.
	HeaderTimeout time.Duration `yaml:"header_timeout" validate:"min=1ms"`
	// BodyIdleTimeout is how long an upstream may neither take more of a request's body nor send more of
	// an answer's. It doesn't hold for event streams and WebSockets, which may be silent.
	BodyIdleTimeout time.Duration `yaml:"body_idle_timeout" validate:"min=1ms"`
	// IdleTimeout is how long an unused connection is kept. It should be shorter than the upstream's.
	IdleTimeout time.Duration `yaml:"idle_timeout" validate:"min=1ms"`
	// MaxIdle is how many unused connections are kept to each upstream.
	MaxIdle int `yaml:"max_idle" validate:"min=0"`
}

// Check is how an upstream is asked whether it is well.
type Check struct {
	// Path is what a GET asks for. An answer of 200 to 399 is well; two others in a row, or
	// none in time, aren't. Without a path nothing is asked.
	Path string `yaml:"path"`
	// Every is the time from one check to the next.
	Every time.Duration `yaml:"every" validate:"min=1ms"`
	// Timeout is how long a check may take.
	Timeout time.Duration `yaml:"timeout" validate:"min=1ms"`
}

// Validate checks the texts that have a form of their own.
func (c Config) Validate() error {
	var errs []error
	wrong := func(setting, problem string, args ...any) {
		errs = append(errs, &registry.SettingError{Setting: setting, Problem: fmt.Sprintf(problem, args...)})
	}
	for i, to := range c.To {
		if _, err := parseTarget(to); err != nil && to != "" {
			wrong(fmt.Sprintf("to[%d]", i), "is %q; %v", to, err)
		}
	}
	if _, err := parseHashBy(c.HashBy); err != nil && c.HashBy != "" {
		wrong("hash_by", "is %q; %v", c.HashBy, err)
	}
	if p := c.Check.Path; p != "" && (p[0] != '/' || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == 0x7f })) {
		wrong("check.path", "is %q; it must be a path such as /health", p)
	}
	return errors.Join(errs...)
}

// parseHashBy returns the function that tells what a request is hashed by.
func parseHashBy(s string) (func(r *http.Request) string, error) {
	what, name, named := strings.Cut(s, ":")
	switch {
	case s == "address":
		return func(r *http.Request) string { return clientAddress(r.RemoteAddr) }, nil
	case s == "path":
		return func(r *http.Request) string { return r.URL.Path }, nil
	case s == "host":
		return func(r *http.Request) string { return strings.ToLower(r.Host) }, nil
	case what == "header" && httpguts.ValidHeaderFieldName(name):
		return func(r *http.Request) string { return r.Header.Get(name) }, nil
	case what == "cookie" && named && name != "":
		return func(r *http.Request) string {
			cookie, err := r.Cookie(name)
			if err != nil {
				return ""
			}
			return cookie.Value
		}, nil
	}
	return nil, errors.New("it must be address, path, host, header:NAME or cookie:NAME")
}

func build(env *registry.Env, cfg Config) (http.Handler, error) {
	p := &proxy{cfg: cfg, ctx: env.Context(), log: env.Logger(), trusts: registry.Clients(cfg.Trust)}
	var err error
	if p.hashBy, err = parseHashBy(cfg.HashBy); err != nil {
		return nil, err
	}
	for _, to := range cfg.To {
		t, err := parseTarget(to)
		if err != nil {
			return nil, err
		}
		p.upstreams = append(p.upstreams, newUpstream(t, cfg, env.Logger()))
	}
	for _, u := range p.upstreams {
		env.OnClose(func() error {
			u.pool.close()
			return nil
		})
		env.Go(u.tend)
		if cfg.Check.Path != "" {
			env.Go(func(ctx context.Context) { u.watch(ctx, cfg.Check) })
		}
	}
	return p, nil
}
