// Package compress makes responses smaller on their way, by zstd, brotli or gzip.
//
// Put it outside of session, so that it sees the cookies that session sets:
//
//	stack:
//	  - errors
//	  - compress
//	  - session
//	  - finder
//	urls:
//	  /events/: {compress: off}
//
// # What is compressed
//
// A response is, if its type is one of types, it is at least min_size long or of unknown length, and
// the client accepts one of encodings in its field Accept-Encoding. Of those that it likes equally
// well, the first of encodings is taken.
//
// Left as they are: what is compressed already (it has a Content-Encoding), parts (206, and whatever
// answers a request with Range), responses without a body, those with Cache-Control: no-transform, and
// those that carry a digest of their bytes.
//
// An app that sends its response in pieces, and flushes, has each piece compressed and sent at
// once. Before the first flush up to min_size bytes are held back, since nothing is known yet of the
// length. A compressed response keeps one to seven megabytes of memory busy until it ends; this is why
// streams of events (text/event-stream), which are many and long and small, are compressed only if
// types has that very name.
//
// # Header fields
//
// A response that is compressed gets Content-Encoding, has no Content-Length and no Accept-Ranges, and
// its ETag becomes a weak one; so does that of the 304 that confirms it. What would be compressed for
// another client has Vary: Accept-Encoding too.
//
// A response that ends before the Content-Length that its app announced is cut off, so that
// nobody takes it for a whole one.
//
// # Secrets
//
// Who can have a visitor's browser ask for pages, put a text of his own into them, and see
// how long the encrypted answers are, can guess the secrets in these pages letter by letter
// (the BREACH attack). It needs requests which other sites cause and which bring the visitor's
// credentials. So a response isn't compressed if its request has a Cookie or Authorization
// field, or the response sets a cookie, unless the browser says that the request
// comes from a page of this very site or from the visitor himself (Sec-Fetch-Site; for older browsers,
// Origin or Referer). Answers with Cache-Control: public have no secrets, and are compressed for
// everybody. A page asked for by a link on another site is the price: it is sent as it is, the
// pages after it are compressed.
package compress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

func init() { registry.Register(Component) }

// Component is the compress middleware.
var Component = registry.Middleware[Config]{
	Name: "compress",
	Default: Config{
		Encodings: []string{encodingZstd, encodingBrotli, encodingGzip},
		MinSize:   1 << 10,
		Types: []string{
			"text/*", "+json", "+xml",
			"application/javascript", "application/json", "application/wasm",
			"application/x-ndjson", "application/xml", "application/yaml",
			"application/vnd.ms-fontobject", "font/otf", "font/ttf",
			"image/bmp", "image/vnd.microsoft.icon", "image/x-icon",
		},
	},
	Traits: registry.Traits{
		Processes: registry.ProcessSafe,
		Calls:     registry.NonBlocking,
		// Further out it would hold back what the catcher takes for sent.
		Uses: []environ.Name{failure.Key},
	},
	Build: build,
}

// The values of Config.Encodings, as HTTP calls them.
const (
	encodingZstd   = "zstd"
	encodingBrotli = "br"
	encodingGzip   = "gzip"
)

// Config says what is compressed, and how.
type Config struct {
	// Encodings are the encodings to use: zstd, br (brotli) and gzip. Of those that a client
	// likes equally well, the first one is taken.
	Encodings []string `yaml:"encodings" validate:"min=1,unique,dive,oneof=zstd br gzip"`
	// MinSize is the length from which on a response is compressed. Shorter ones gain nothing: they
	// fit into one packet in any case.
	MinSize registry.Size `yaml:"min_size" validate:"min=0,max=1048576"`
	// Types are the MIME types to compress, without parameters. One that ends with /* stands for all that begin
	// so, and one that begins with + for all that end so, such as image/svg+xml for +xml.
	Types []string `yaml:"types" validate:"min=1"`
	// AllowBREACH compresses also what another site has a browser ask for with its
	// credentials. Set it only where pages have no secrets, or hide them in random bytes.
	AllowBREACH bool `yaml:"allow_breach"`
}

// Validate checks the form of the types.
func (c Config) Validate() error {
	for i, t := range c.Types {
		main, sub, slash := strings.Cut(t, "/")
		suffix := strings.HasPrefix(t, "+") && len(t) > 1 && !slash
		whole := slash && main != "" && sub != "" && !strings.ContainsAny(main, "*+") && (sub == "*" || !strings.Contains(sub, "*"))
		if !suffix && !whole || strings.ContainsAny(t, "; ,") {
			return &registry.SettingError{
				Setting: fmt.Sprintf("types[%d]", i),
				Problem: fmt.Sprintf("is %q; it must be like text/html, text/* or +json", t),
			}
		}
	}
	return nil
}

// Warnings says what compressing secrets means.
func (c Config) Warnings(registry.Site) []registry.Warning {
	if !c.AllowBREACH {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Unsafe, Setting: "allow_breach",
		Problem: "is true, so that other sites may guess secrets in pages from their compressed length; it should be false where pages have any",
	}}
}

func build(_ *registry.Env, cfg Config) (registry.Wrap, error) {
	c := &compressor{
		pools:       newPools(),
		offered:     slices.Clone(cfg.Encodings),
		minSize:     int64(cfg.MinSize),
		types:       newTypes(cfg.Types),
		allowBREACH: cfg.AllowBREACH,
	}
	return func(next http.Handler) http.Handler { return &handler{compressor: c, next: next} }, nil
}

// compressor is what the requests of an instance share.
type compressor struct {
	pools       pools
	offered     []string // encodings, the best first
	minSize     int64
	types       types
	allowBREACH bool
}

// handler is the middleware in one chain.
type handler struct {
	*compressor
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := &exchange{compressor: h.compressor, r: r, announced: unknown}
	e.Init(w, nil)
	if len(r.Header["Range"]) == 0 {
		e.encoding = accepted(r.Header["Accept-Encoding"], h.offered)
	}
	defer e.release()
	h.next.ServeHTTP(e, r)
	e.end()
}
