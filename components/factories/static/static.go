// Package static sends files as they are.
//
// It is the finder's factory for everything that no other one handles, with settings:
//
//	factories:
//	  "*": {use: static, cache_control: "public, max-age=3600"}
//
// # Validators and ranges
//
// Each response has an ETag and the file's time of change as Last-Modified, and what a client asks
// under conditions is answered as RFC 9110 wants it: If-Match, If-None-Match, If-Modified-Since,
// If-Unmodified-Since and If-Range. Parts of a file are sent for the Range that asks for
// them, one or several.
//
// The ETag of a file that is kept in memory comes from its content, so it is the same on every machine
// that serves the same file. That of another file comes from its time of change and its size.
//
// # Compressed siblings
//
// A file with a sibling that is called the same with .br, .zst or .gz in addition, and isn't older, is
// sent compressed to clients which accept that, and Vary says so. Nothing is compressed
// here: whoever makes the site makes the siblings. A part of a file is always one of the
// file itself. A sibling that the finder hides isn't used.
//
// # What is kept
//
// Small files are read once, and sent from memory until the finder notices that they have changed.
// Others are opened for each request and copied by the kernel. When such a file gets
// shorter while it is sent, the connection is cut, so that nobody takes a part for the whole.
package static

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the static factory.
var Component = registry.Factory[Config]{
	Name: "static",
	Default: Config{
		CacheControl:  "no-cache",
		Precompressed: []string{"br", "zstd", "gzip"},
		KeepBelow:     64 << 10,
		Memory:        64 << 20,
		Revalidate:    time.Second,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says how files are sent, and what of them is kept.
type Config struct {
	// CacheControl is sent as Cache-Control. The default lets browsers keep a file and ask each time
	// whether it has changed. When it is empty they guess for how long they need not ask.
	CacheControl string `yaml:"cache_control"`
	// Precompressed are the encodings in which a file may lie beside itself: br (.br), zstd (.zst) and gzip
	// (.gz). Of those that a client likes equally the one named first is sent.
	Precompressed []string `yaml:"precompressed" validate:"unique,dive,oneof=br zstd gzip"`
	// KeepBelow is the size up to which a file is kept in memory.
	KeepBelow registry.Size `yaml:"keep_below" validate:"min=0,max=16777216"`
	// Memory is how much memory the files that are kept may take together. When it is used up, further files
	// are read for each request.
	Memory registry.Size `yaml:"memory" validate:"min=0"`
	// Revalidate is how long a sibling that was looked for is trusted to be, or not to be, there.
	Revalidate time.Duration `yaml:"revalidate" validate:"min=0s"`
}

// Validate checks what goes into the header.
func (c Config) Validate() error {
	if !httpguts.ValidHeaderFieldValue(c.CacheControl) {
		return &registry.SettingError{Setting: "cache_control", Problem: "has a control character; it must be one line of text"}
	}
	return nil
}

func build(_ *registry.Env, cfg Config) (resource.Factory, error) {
	f := &factory{
		keepBelow:  int64(cfg.KeepBelow),
		memory:     int64(cfg.Memory),
		revalidate: cfg.Revalidate,
		began:      time.Now(),
	}
	for _, name := range cfg.Precompressed {
		f.encodings = append(f.encodings, encoding{
			name:   name,
			suffix: map[string]string{"br": ".br", "zstd": ".zst", "gzip": ".gz"}[name],
			header: []string{name},
		})
	}
	if cfg.CacheControl != "" {
		f.cacheControl = []string{cfg.CacheControl}
	}
	return f, nil
}

type factory struct {
	cacheControl []string
	encodings    []encoding
	keepBelow    int64
	memory       int64
	revalidate   time.Duration
	began        time.Time
	kept         atomic.Int64 // bytes of files in memory
}

// encoding is one in which a file may lie beside itself.
type encoding struct {
	name, suffix string
	header       []string
}

// Make makes the app that sends f.
func (f *factory) Make(file *resource.File) (resource.App, error) {
	a := &app{factory: f, file: file, contentType: []string{file.Type}}
	var err error
	if a.plain, err = f.read(file.FS, file.Name, nil); err != nil {
		return resource.App{}, err
	}
	for _, e := range f.encodings {
		if name := file.Name + e.suffix; file.Hidden == nil || !file.Hidden(name) {
			a.candidates = append(a.candidates, e)
		}
	}
	if len(a.candidates) > 0 {
		a.look()
		a.looked.Store(a.now())
	}
	return resource.App{Handler: a, Methods: []string{http.MethodGet}}, nil
}

// app sends one version of a file.
type app struct {
	*factory
	file        *resource.File
	contentType []string
	plain       *body
	candidates  []encoding

	// compressed are the siblings, in the order of candidates, and looked is when they were looked for.
	compressed atomic.Pointer[[]*body]
	looked     atomic.Int64
}

// now is the time on the factory's own clock, which is cheaper to read than time.Now.
func (f *factory) now() int64 { return int64(time.Since(f.began)) }

// siblings returns the compressed bodies. Of the requests that would take one and come when it is time to
// look for them again, one does.
func (a *app) siblings(accept []string) []*body {
	if len(a.candidates) == 0 {
		return nil
	}
	if len(accept) > 0 {
		now, then := a.now(), a.looked.Load()
		if now-then >= int64(a.revalidate) && a.looked.CompareAndSwap(then, now) {
			a.look()
		}
	}
	return *a.compressed.Load()
}

// look looks for the siblings. One that can't be read isn't used; the file itself is there.
func (a *app) look() {
	var old, found []*body
	if p := a.compressed.Load(); p != nil {
		old = *p
	}
	for i := range a.candidates {
		e := &a.candidates[i]
		name := a.file.Name + e.suffix
		info, err := stat(a.file.FS, name)
		if err != nil || !info.Mode().IsRegular() || info.ModTime().Before(a.file.Info.ModTime()) {
			continue
		}
		known := slices.IndexFunc(old, func(b *body) bool { return b.encoding == e && b.is(info) })
		if known >= 0 {
			found = append(found, old[known])
		} else if b, err := a.read(a.file.FS, name, e); err == nil {
			found = append(found, b)
		}
	}
	a.compressed.Store(&found)
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	accept := r.Header["Accept-Encoding"]
	siblings := a.siblings(accept)
	h := w.Header()
	h["X-Content-Type-Options"] = nosniff
	if a.cacheControl != nil {
		h["Cache-Control"] = a.cacheControl
	}
	chosen := a.plain
	if len(siblings) > 0 {
		if existing := h["Vary"]; len(existing) == 0 {
			h["Vary"] = acceptEncoding
		} else if !strings.EqualFold(existing[0], "Accept-Encoding") {
			h["Vary"] = slices.Concat(existing, acceptEncoding)
		}
		if len(r.Header["Range"]) == 0 {
			chosen = choose(accept, a.plain, siblings)
		}
	}
	err := a.send(w, r, chosen)
	if err != nil && chosen != a.plain {
		err = a.send(w, r, a.plain) // the sibling has gone a moment ago
	}
	if err != nil {
		a.fail(w, r, err)
	}
}

// The header values that are always the same. They have no spare capacity, so that whoever adds one
// makes a list of its own.
var (
	nosniff        = []string{"nosniff"}
	acceptEncoding = []string{"Accept-Encoding"}
	acceptRanges   = []string{"bytes"}
)

var errShort = errors.New("the file has become shorter while it is sent")
