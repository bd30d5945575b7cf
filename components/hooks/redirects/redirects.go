// Package redirects sends visitors of old URLs to the new ones, by a list in a file.
//
//	stack:
//	  - use: finder
//	    root: site
//	    hooks:
//	      - {use: redirects, file: redirects.txt}
//
// Each line of the file has an old path, the new path or URL, and if it is to be another than the setting status, the
// status:
//
//	# what moved in 2026
//	/about.html      /about
//	/blog/*          https://blog.example.org/*
//	/sale            /offers/summer    302
//
// A path ends in a star for everything below it; the star of the new one stands for what the old one's stood for. An exact line
// goes before one with a star, and a longer one with a star before a shorter. A query is kept, unless the new
// URL has one. In a stack that is mounted all paths are those below its prefix. Paths are written as people read them, or with %XX for a space. Lines that are empty or begin with # mean nothing.
//
// The file is read when the stack is built, and again when it changes. When a line is wrong then, the log says
// which, and the stack serves on with the old list.
package redirects

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the redirects hook.
var Component = registry.Hook[Config]{
	Name:    "redirects",
	Default: Config{Status: http.StatusMovedPermanently},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
	Build:   build,
}

// Config says where the list is.
type Config struct {
	// File is the list.
	File registry.Path `yaml:"file" validate:"required"`
	// Status is that of lines which have none: 301 and 308 are for good, 302 and 307 for now. After 301 and 302
	// browsers turn POST into GET.
	Status int `yaml:"status" validate:"oneof=301 302 303 307 308"`
}

// Expects says that the list must be there.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.File("file", string(c.File))}
}

func build(env *registry.Env, cfg Config) (resource.Hook, error) {
	env.DependsOn(string(cfg.File))
	f, err := os.Open(string(cfg.File))
	if err != nil {
		return nil, fmt.Errorf("file: %w; it must be a list of redirects", err)
	}
	defer f.Close()
	l, err := read(f, string(cfg.File), cfg.Status)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// list is what is in the file. Its keys are paths without the slash that they begin with.
type list struct {
	exact map[string]*target
	below map[string]*target // keys end in a slash, or are empty
}

// target is where a line leads.
type target struct {
	line   int
	url    string
	star   bool // what is below goes to what is below
	query  bool // it has one of its own
	status int
}

// read reads a list; name is for messages. It returns every fault that it finds.
func read(r io.Reader, name string, status int) (*list, error) {
	l := &list{exact: make(map[string]*target), below: make(map[string]*target)}
	var errs []error
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := l.add(n, strings.Fields(text), status); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s:%d: %w", name, n+1, err))
	}
	return l, errors.Join(errs...)
}

func (l *list) add(n int, fields []string, status int) error {
	if len(fields) < 2 || len(fields) > 3 {
		return fmt.Errorf("it has %d words; it must have an old path, a new one, and perhaps a status", len(fields))
	}
	t := &target{line: n, status: status}
	if len(fields) == 3 {
		switch fields[2] {
		case "301", "302", "303", "307", "308":
			t.status, _ = strconv.Atoi(fields[2])
		default:
			return fmt.Errorf("the status is %q; it must be 301, 302, 303, 307 or 308", fields[2])
		}
	}
	old, all := strings.CutSuffix(fields[0], "*")
	from, err := url.PathUnescape(old)
	if err != nil || !clean(from) || all && !strings.HasSuffix(from, "/") {
		return fmt.Errorf("the old path is %q; it must be clean and begin with a slash, such as /old or /old/*", fields[0])
	}
	to := fields[1]
	t.url, t.star = strings.CutSuffix(to, "*")
	u, err := url.Parse(t.url)
	local := strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.HasPrefix(to, `/\`)
	switch {
	case err != nil || !local && (u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return fmt.Errorf("the new URL is %q; it must begin with http://, https:// or one slash", to)
	case t.star && !all:
		return fmt.Errorf("the new URL %q ends in a star, and the old path %q doesn't; it must, too", to, fields[0])
	case t.star && (u.RawQuery != "" || u.ForceQuery || u.Fragment != ""):
		return fmt.Errorf("the new URL is %q; it must have no star behind a query or fragment", to)
	case t.star && !strings.HasSuffix(u.Path, "/"):
		return fmt.Errorf("the new URL is %q; it must have a slash before the star", to)
	case local && u.Path == from && t.star == all:
		return fmt.Errorf("%q leads to itself", fields[0])
	}
	t.url, t.query = u.String(), u.RawQuery != "" || u.ForceQuery
	paths := l.exact
	if all {
		paths = l.below
	}
	if first := paths[from[1:]]; first != nil {
		return fmt.Errorf("%q is in line %d already; it must be there once", fields[0], first.line)
	}
	paths[from[1:]] = t
	return nil
}

// clean reports whether a path is one that a finder may ask for.
func clean(p string) bool {
	short := strings.TrimSuffix(p, "/")
	return strings.HasPrefix(p, "/") && (p == "/" || path.Clean(p) == short) && !strings.ContainsAny(p, "\\\x00")
}

// Find answers for the paths in the list, and below them.
func (l *list) Find(_ *http.Request, p string) (resource.Answer, error) {
	if t := l.exact[p]; t != nil {
		return resource.Answer{Handler: t.redirect(t.url)}, nil
	}
	// Every slash may be where an old path ends, the last one first.
	for end := len(p); len(l.below) > 0; {
		end = strings.LastIndexByte(p[:end], '/') // -1 for the root, before whose path nothing is
		if t := l.below[p[:end+1]]; t != nil {
			return resource.Answer{Handler: t.redirect(t.join(p[end+1:]))}, nil
		}
		if end < 0 {
			break
		}
	}
	return resource.Answer{}, nil
}

// join returns the URL for what was asked for below the old path.
func (t *target) join(rest string) string {
	if !t.star {
		return t.url
	}
	// With another slash at its front it could become a host.
	return t.url + (&url.URL{Path: "/" + strings.TrimLeft(rest, "/")}).EscapedPath()[1:]
}

func (t *target) redirect(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := to
		if strings.HasPrefix(to, "/") {
			to = environ.Prefix.Get(r) + to
		}
		if q := r.URL.RawQuery; q != "" && !t.query {
			before, fragment, found := strings.Cut(to, "#")
			to := before + "?" + q
			if found {
				to += "#" + fragment
			}
			w.Header().Set("Location", to)
		} else {
			w.Header().Set("Location", to)
		}
		text := strconv.Itoa(t.status) + " " + http.StatusText(t.status) + "\n"
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(t.status)
		if r.Method != http.MethodHead {
			io.WriteString(w, text)
		}
	})
}
