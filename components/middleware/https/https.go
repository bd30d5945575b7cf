// Package https sends those who came without TLS to the same URL with https.
//
//	servers:
//	  - {use: http, listen: ":80"}
//	  - use: http
//	    listen: ":443"
//	    tls: {certificate: etc/fullchain.pem, key: etc/privkey.pem}
//	stack:
//	  - https
//	  - errors
//	  - finder
//	urls:
//	  # Who signs certificates asks there, without TLS.
//	  /.well-known/acme-challenge/: {https: off}
//
// The redirect is permanent and keeps the method (308). A request without a host, or with one that can't stand in a
// URL, is answered with 400.
//
// Those who came over TLS are told, by hsts, to use nothing else for this host from now on (Strict-Transport-Security,
// RFC 6797). A browser that was told so doesn't come without TLS again, whatever link it follows, until the time is
// over. So begin with a short time, and lengthen it when all works.
//
// Behind a proxy that speaks TLS put this inside of real_ip, which says how the visitor came: without that, everybody
// seems to come without TLS, and is redirected for ever.
package https

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

func init() { registry.Register(Component) }

// Component is the https middleware.
var Component = registry.Middleware[Config]{
	Name:    "https",
	Default: Config{Port: 443},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking, Uses: []environ.Name{environ.Client}, TLS: true},
	Build:   build,
}

// Config says where to, and for how long that is remembered.
type Config struct {
	// Port is the port that visitors reach the server with TLS at.
	Port uint16 `yaml:"port" validate:"min=1"`
	// HSTS is for how long browsers shall use nothing but https for this host; 0 says nothing about it. A year
	// (8760h) is common.
	HSTS time.Duration `yaml:"hsts" validate:"min=0s"`
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	port := ""
	if cfg.Port != 443 {
		port = ":" + strconv.Itoa(int(cfg.Port))
	}
	var hsts []string
	if seconds := int(cfg.HSTS.Seconds()); seconds > 0 {
		hsts = []string{"max-age=" + strconv.Itoa(seconds)}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil {
				redirect(w, r, port)
				return
			}
			if hsts != nil {
				w.Header()["Strict-Transport-Security"] = hsts[:1:1]
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// redirect sends the visitor to the port, which has its colon, or is empty for the usual one.
func redirect(w http.ResponseWriter, r *http.Request, port string) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	if host == "" || !httpguts.ValidHostHeader(host) || strings.ContainsAny(host, `/\?#@%"<>`) {
		http.Error(w, "400 the host is missing or malformed", http.StatusBadRequest)
		return
	}
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" // as in OPTIONS *
	}
	to := "https://" + host + port + path
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		to += "?" + r.URL.RawQuery
	}
	const text = "308 Permanent Redirect\n"
	h := w.Header()
	h.Set("Location", to)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusPermanentRedirect)
	if r.Method != http.MethodHead {
		w.Write([]byte(text))
	}
}
