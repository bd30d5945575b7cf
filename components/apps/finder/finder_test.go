package finder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/components/factories/static"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
	"github.com/stackd/stackd/registry/resource"
)

func TestComponent(t *testing.T) {
	var cases []registrytest.Case[Config]
	for _, path := range []string{"/about.html", "/docs/", "/tool/a/b"} {
		cases = append(cases, registrytest.Case[Config]{Name: path, Path: path, Settings: func(t *testing.T) Config {
			return settings(t, siteFolder(t))
		}})
	}
	registrytest.Run(t, Component, cases...)
}

// open builds a component as a loader does.
func open[T any](t testing.TB, component registry.Declaration, cfg any, log io.Writer) T {
	t.Helper()
	r, err := registry.New(component)
	if err != nil {
		t.Fatal(err)
	}
	d := r.All()[0]
	if cfg == nil {
		cfg = d.Default()
	}
	if found := d.Check(cfg); len(found) > 0 {
		t.Fatalf("the settings are refused: %v", found)
	}
	i, err := d.Open(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i.Product.(T)
}

// settings are the defaults with a root, the static factory for everything and, for .run, one that runs.
func settings(t testing.TB, root string) Config {
	t.Helper()
	cfg := Component.Default
	cfg.Root = registry.Path(root)
	cfg.Factories = map[string]registry.Ref[resource.Factory]{
		"*":    registry.Bound(open[resource.Factory](t, static.Component, nil, io.Discard)),
		".run": registry.Bound[resource.Factory](runner("run")),
	}
	return cfg
}

// runner is a factory whose apps tell what they were given and never what is in the file. They take path info.
type runner string

func (f runner) Make(file *resource.File) (resource.App, error) {
	return resource.App{
		Methods:  []string{"GET", "POST"},
		PathInfo: true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m := resource.Key.Get(r)
			fmt.Fprintf(w, "%s %s: %s + %s", string(f), m.File.Name, m.ScriptName, m.PathInfo)
			if m.ScriptName+m.PathInfo != r.URL.Path || m.File != file {
				fmt.Fprint(w, " which isn't the path")
			}
		}),
	}, nil
}

// sink catches failures as a catcher does.
type sink struct {
	w      http.ResponseWriter
	mu     *sync.Mutex
	caught *[]string
}

func (s sink) Fail(f failure.Failure) {
	s.mu.Lock()
	*s.caught = append(*s.caught, f.Err.Error())
	s.mu.Unlock()
	http.Error(s.w, "a failure", http.StatusInternalServerError)
}

// stack stands around the finder.
type stack struct {
	http.Handler
	mu     sync.Mutex
	caught []string
}

func (s *stack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = new(environ.Base).Open(r)
	failure.Key.Set(r, sink{w, &s.mu, &s.caught})
	s.Handler.ServeHTTP(w, r)
}

func serve(t testing.TB, cfg Config) *stack {
	t.Helper()
	return &stack{Handler: open[http.Handler](t, Component, &cfg, io.Discard)}
}

// write makes files, and the folders that they are in. A name with a slash at its end is a folder, and content
// that begins with -> a symbolic link. The files were changed long ago.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "->"); link {
			err = os.Symlink(target, path)
		} else if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			change(t, path, content, changed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var changed = time.Date(2024, 2, 29, 12, 30, 15, 123456789, time.UTC)

func change(t testing.TB, path, content string, at time.Time) {
	t.Helper()
	err := os.WriteFile(path, []byte(content), 0o644)
	if err = errors.Join(err, os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// get asks for a path as it stands in a URL.
func get(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	return do(t, h, "GET", target)
}

func do(t testing.TB, h http.Handler, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	r := (&http.Request{Method: method, URL: u, Host: "stackd.test", Header: http.Header{}, Body: http.NoBody}).WithContext(t.Context())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// site is a tree with something for every rule.
var site = map[string]string{
	"index.html":          "home",
	"about.html":          "about",
	"about.run":           "source",
	"both":                "exact",
	"both.html":           "not this",
	"notes.htm":           "notes",
	"tool.run":            "source",
	"release-1.2.html":    "a version",
	"docs/index.htm":      "docs",
	"docs/a b.txt":        "space",
	"docs/ü€.txt":         "unicode",
	"docs/100%.txt":       "percent",
	"docs/a?b#c.txt":      "reserved",
	"docs/deep/x.txt":     "deep",
	"app/index.run":       "source",
	"app/list.html":       "list",
	"empty/":              "",
	"folder.html/":        "",
	"folder.html/in.txt":  "in a folder named like a file",
	"colon/b:c/":          "",
	"colon/b:c/index.htm": "colon",
	"LOUD.RUN":            "source",

	".secret":                 "hidden",
	".git/config":             "hidden",
	".git/hook.run":           "source",
	".well-known/test":        "known",
	".well-known/.hidden":     "hidden",
	"about.html~":             "hidden",
	"about.html.bak":          "hidden",
	"ABOUT.BAK":               "hidden",
	"#about.html#":            "hidden",
	"old.orig/x.txt":          "hidden",
	"docs/.x.html":            "hidden",
	"tool.run.txt":            "source",
	"tool.run.gz":             "source",
	"tool.run~1":              "source",
	"tool.run.":               "source",
	"tool.run ":               "source",
	"tool.run::$DATA":         "source",
	"tool.run_old":            "source",
	"TOOL.RUN.TXT":            "source",
	"a.run/readme.txt":        "in a folder that looks like a script's",
	"copy.run_.html":          "source",
	"known.txt.html":          "not known.txt",
	"runner.txt":              "no copy",
	"a.runner":                "no copy",
	"linked.html":             "->about.html",
	"inside":                  "->docs",
	"out.html":                "->../outside.txt",
	"outdir":                  "->..",
	"abs.html":                "->/etc/hostname",
	"loop.html":               "->loop.html",
	"dangling.html":           "->nothing.html",
	"same.html":               "html",
	"same.htm":                "htm",
	"MixedCase.html":          "case",
	"docs/index.html.d/x.txt": "x",
}

func siteFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "site")
	write(t, root, site)
	write(t, dir, map[string]string{"outside.txt": "outside"})
	return root
}

func TestFind(t *testing.T) {
	root := siteFolder(t)
	tests := []struct {
		name, target string
		status       int
		answer       string // the body, or where it is redirected to
	}{
		{"a file", "/about.html", 200, "about"},
		{"a file in a folder", "/docs/deep/x.txt", 200, "deep"},
		{"the query doesn't matter", "/about.html?x=/../y", 200, "about"},
		{"the root's index", "/", 200, "home"},
		{"a folder's index", "/docs/", 200, "docs"},
		{"a folder's index with a factory", "/app/", 200, "run app/index.run: /app/ + "},
		{"the index by its name", "/docs/index.htm", 200, "docs"},
		{"the index by half of its name", "/docs/index", 200, "docs"},
		{"a folder without an index", "/empty/", 404, ""},
		{"nothing", "/nothing", 404, ""},
		{"nothing with an extension", "/nothing.html", 404, ""},
		{"nothing in a folder that isn't", "/nothing/at/all", 404, ""},
		{"a name too long for the disk", "/" + strings.Repeat("x", 300), 404, ""},

		{"the extension left out", "/notes", 200, "notes"},
		{"ambiguous: the first extension", "/about", 200, "about"},
		{"ambiguous: the other first", "/same", 200, "html"},
		{"the exact name wins", "/both", 200, "exact"},
		{"an extension of a factory", "/tool", 200, "run tool.run: /tool + "},
		{"what looks like an extension and isn't", "/release-1.2", 200, "a version"},
		{"not behind an extension", "/about.htm", 404, ""},
		{"a folder isn't found so", "/folder", 404, ""},
		{"upper and lower case are two names", "/mixedcase.html", 404, ""},

		{"a space", "/docs/a%20b.txt", 200, "space"},
		{"letters of the world", "/docs/%C3%BC%E2%82%AC.txt", 200, "unicode"},
		{"a percent", "/docs/100%25.txt", 200, "percent"},
		{"reserved characters", "/docs/a%3Fb%23c.txt", 200, "reserved"},
		{"no second decoding", "/docs/100%2525.txt", 404, ""},
		{"no second decoding of dots", "/docs/%252e%252e/about.html", 404, ""},

		{"path info", "/tool.run/a/b", 200, "run tool.run: /tool.run + /a/b"},
		{"path info behind a slash", "/tool.run/", 200, "run tool.run: /tool.run + /"},
		{"path info without extension", "/tool/a/b/", 200, "run tool.run: /tool + /a/b/"},
		{"path info may look hidden", "/tool/.git/x~", 200, "run tool.run: /tool + /.git/x~"},
		{"path info isn't the index's", "/app/more", 404, ""},
		{"a file takes no path info", "/about.html/x", 404, ""},
		{"a file takes no slash", "/about.html/", 404, ""},
		{"nor without extension", "/notes/", 404, ""},
		{"an extension in upper case", "/LOUD.RUN", 200, "run LOUD.RUN: /LOUD.RUN + "},

		{"a folder without slash", "/docs", 308, "./docs/"},
		{"the query is kept", "/docs?a=b%20c&d", 308, "./docs/?a=b%20c&d"},
		{"a folder in a folder", "/docs/deep", 308, "./deep/"},
		{"a folder without an index as well", "/empty", 308, "./empty/"},
		{"a folder with a colon", "/colon/b:c", 308, "./b:c/"},
		{"a folder named like a file", "/folder.html", 308, "./folder.html/"},
		{"a file in it", "/folder.html/in.txt", 200, "in a folder named like a file"},
		{"a folder named like a script", "/a.run/readme.txt", 200, "in a folder that looks like a script's"},

		{"nor behind another one", "/known.txt", 404, ""},

		{"a dot-file", "/.secret", 404, ""},
		{"a dot-folder", "/.git/", 404, ""},
		{"a dot-folder without slash", "/.git", 404, ""},
		{"a file in it", "/.git/config", 404, ""},
		{"a script in it", "/.git/hook.run", 404, ""},
		{"path info behind that", "/.git/hook.run/x", 404, ""},
		{"the dot-folder that is shown", "/.well-known/test", 200, "known"},
		{"a dot-file in that", "/.well-known/.hidden", 404, ""},
		{"an editor's copy", "/about.html~", 404, ""},
		{"a backup", "/about.html.bak", 404, ""},
		{"a backup in upper case", "/ABOUT.BAK", 404, ""},
		{"an auto-save", "/%23about.html%23", 404, ""},
		{"a file in a hidden folder", "/old.orig/x.txt", 404, ""},
		{"hidden by the extension left out", "/docs/.x", 404, ""},

		{"a source by its copy .txt", "/tool.run.txt", 404, ""},
		{"a source, the extension left out", "/tool.run.txt/", 404, ""},
		{"a source by its copy .gz", "/tool.run.gz", 404, ""},
		{"a source by its numbered copy", "/tool.run~1", 404, ""},
		{"a source with a dot", "/tool.run.", 404, ""},
		{"a source with a space", "/tool.run%20", 404, ""},
		{"a source by a stream", "/tool.run::$DATA", 404, ""},
		{"a source with an underscore", "/tool.run_old", 404, ""},
		{"a source in upper case", "/TOOL.RUN.TXT", 404, ""},
		{"a source, the copy's extension left out", "/copy.run_", 404, ""},
		{"only the beginning of an extension", "/a.runner", 200, "no copy"},
		{"no dot", "/runner.txt", 200, "no copy"},

		{"a link in the root", "/linked.html", 200, "about"},
		{"a linked folder", "/inside/deep/x.txt", 200, "deep"},
		{"a link out", "/out.html", 404, ""},
		{"a link out, the extension left out", "/out", 404, ""},
		{"a linked folder out", "/outdir/outside.txt", 404, ""},
		{"a linked folder out, itself", "/outdir", 404, ""},
		{"an absolute link", "/abs.html", 404, ""},
		{"a link to itself", "/loop.html", 404, ""},
		{"a link to nothing", "/dangling.html", 404, ""},
	}
	h := serve(t, settings(t, root))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, when := range []string{"first", "remembered"} {
				w := get(t, h, tt.target)
				got := w.Body.String()
				switch w.Code {
				case 308:
					got = w.Header().Get("Location")
				case 404:
					if got != "404 page not found\n" {
						t.Errorf("%s: a 404 says %q; want the same as for every other", when, got)
					}
					got = ""
				}
				if w.Code != tt.status || got != tt.answer {
					t.Errorf("%s: %s is answered with %d %q; want %d %q", when, tt.target, w.Code, got, tt.status, tt.answer)
				}
			}
		})
	}
	if len(h.caught) > 0 {
		t.Errorf("failures were reported: %q", h.caught)
	}
}

// TestRaw sends requests that no client library would, over a connection.
func TestRaw(t *testing.T) {
	server := httptest.NewServer(serve(t, settings(t, siteFolder(t))))
	defer server.Close()
	tests := []struct {
		name, target string
		status       int
	}{
		{"plain", "/about.html", 200},
		{"up", "/../outside.txt", 400},
		{"up from a folder", "/docs/../../outside.txt", 400},
		{"up and back", "/docs/../about.html", 400},
		{"up at the end", "/docs/..", 400},
		{"up, encoded", "/%2e%2e/outside.txt", 400},
		{"up, half encoded", "/.%2e/outside.txt", 400},
		{"up with an encoded slash", "/..%2foutside.txt", 400},
		{"up with an encoded backslash", "/..%5coutside.txt", 400},
		{"up with a backslash", `/..\outside.txt`, 400},
		{"up with an overlong encoding", "/%c0%ae%c0%ae/outside.txt", 400},
		{"dot", "/./about.html", 400},
		{"dot at the end", "/docs/.", 400},
		{"dots of another kind", "/.../about.html", 404},
		{"an empty segment", "/docs//deep/x.txt", 400},
		{"two slashes", "//about.html", 400},
		{"only two slashes", "//", 400},
		{"two slashes at the end", "/docs//", 400},
		{"an encoded slash", "/docs%2fdeep/x.txt", 400},
		{"an encoded slash in upper case", "/docs%2Fdeep/x.txt", 400},
		{"what is remembered", "/docs/deep/x.txt", 200},
		{"an encoded slash in that", "/docs%2fdeep%2fx.txt", 400},
		{"an encoded slash at the end", "/about.html%2f", 400},
		{"NUL", "/about.html%00", 400},
		{"NUL before an extension", "/tool.run%00.txt", 400},
		{"not UTF-8", "/%ff", 400},
		{"too long", "/" + strings.Repeat("a/", 2048) + "a", 414},
		{"as long as can be", "/" + strings.Repeat("a/", 2047) + "a", 404},
		{"a line break", "/a%0d%0aX:%20y", 404},
		{"path info with dots", "/tool/../x", 400},
		{"path info with an empty segment", "/tool//x", 400},
		{"another host", "http://evil.test/about.html", 200},
		{"another host with slashes", "http://evil.test//docs", 400},
		{"a parameter", "/about.html;x=y", 404},
		{"a drive", "/c:/about.html", 404},
		{"home", "/~root/", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := raw(t, server, "GET "+tt.target+" HTTP/1.1\r\nHost: stackd.test\r\nConnection: close\r\n\r\n")
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status {
				t.Errorf("the answer is %d %q; want %d", res.StatusCode, body, tt.status)
			}
			if s := string(body); res.StatusCode != 200 && (strings.Contains(s, "outside") || strings.Contains(s, "site") || len(s) > 80) {
				t.Errorf("the answer tells too much: %q", body)
			}
		})
	}
}

func raw(t *testing.T, server *httptest.Server, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestNoOpenRedirect proves that a redirect stays on the host, whatever is asked for.
func TestNoOpenRedirect(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"evil.test/": "", "x/evil.test/": "", "http:/evil.test/": "", "%2f/": "", "%5cevil.test/": "", "a b\r\nX: y/": "", "javascript:alert(1)/": "",
	})
	server := httptest.NewServer(serve(t, settings(t, dir)))
	defer server.Close()
	tests := []struct {
		target, location string // no location: no redirect
	}{
		{"/evil.test", "/evil.test/"},
		{"//evil.test", ""},
		{`/\evil.test`, ""},
		{"/%5cevil.test", ""},
		{"/%2fevil.test", ""},
		{"/x//evil.test", ""},
		{"/x/evil.test", "/x/evil.test/"},
		{"/http:/evil.test", "/http:/evil.test/"},
		{"/javascript:alert(1)", "/javascript:alert%281%29/"},
		{"/%252f", "/%252f/"},
		{"/%255cevil.test", "/%255cevil.test/"},
		{"/a%20b%0d%0aX:%20y", "/a%20b%0D%0AX:%20y/"},
		{"http://evil.test/x", "/x/"},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			res := raw(t, server, "GET "+tt.target+" HTTP/1.1\r\nHost: stackd.test\r\nConnection: close\r\n\r\n")
			defer res.Body.Close()
			location := res.Header.Get("Location")
			if tt.location == "" {
				if location != "" || res.StatusCode != 400 {
					t.Errorf("the answer is %d to %q; want 400", res.StatusCode, location)
				}
				return
			}
			base := &url.URL{Scheme: "http", Host: "stackd.test"}
			asked, err := url.Parse(tt.target)
			if err != nil {
				t.Fatal(err)
			}
			base.Path, base.RawPath = asked.Path, asked.RawPath
			to, err := base.Parse(location)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 308 || to.String() != "http://stackd.test"+tt.location {
				t.Errorf("the answer is %d to %q, which is %s; want 308 to %s", res.StatusCode, location, to, tt.location)
			}
			if res.Header.Get("X") != "" {
				t.Error("the redirect was made to hold another header field")
			}
		})
	}
}

func TestMethods(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/about.html", 200, ""},
		{"HEAD", "/about.html", 200, ""},
		{"POST", "/about.html", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", "/docs/", 405, "GET, HEAD, OPTIONS"},
		{"BREW", "/about", 405, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/about.html", 204, "GET, HEAD, OPTIONS"},
		{"POST", "/tool.run", 200, ""},
		{"POST", "/tool.run/x", 200, ""},
		{"HEAD", "/tool.run", 200, ""},
		{"PUT", "/tool.run/x", 405, "GET, POST, HEAD, OPTIONS"},
		{"OPTIONS", "/tool", 204, "GET, POST, HEAD, OPTIONS"},
		{"POST", "/nothing", 404, ""},
		{"OPTIONS", "/nothing", 404, ""},
		{"POST", "/docs", 308, ""},
		{"BREW", "/x.any", 200, ""},
		{"OPTIONS", "/x.any", 200, ""},
	}
	root := siteFolder(t)
	write(t, root, map[string]string{"x.any": ""})
	cfg := settings(t, root)
	cfg.Factories[".any"] = registry.Bound[resource.Factory](anyMethod{})
	h := serve(t, cfg)
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			w := do(t, h, tt.method, tt.target)
			if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
				t.Errorf("the answer is %d, Allow: %q; want %d, %q", w.Code, w.Header().Get("Allow"), tt.status, tt.allow)
			}
		})
	}
}

// anyMethod leaves the methods to the handler.
type anyMethod struct{}

func (anyMethod) Make(*resource.File) (resource.App, error) {
	return resource.App{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}, nil
}

func TestFactories(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.html": "#!", "a.MD": "", "a.png": "", "a.gif": "", "a.txt": "#!/bin/sh", "script": "#!/bin/sh", "script.html": "#!/bin/sh",
		"script.md": "#!/bin/sh", "noexec": "#!/bin/sh", "short": "#", "none": "", "unknown.xyz": "", "new.foo": "",
	})
	for _, name := range []string{"script", "script.html", "script.md", "short", "none"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cfg := settings(t, dir)
	cfg.Types = map[string]string{".foo": "Text/X-Foo; charset=utf-8", ".GIF": "image/gif"}
	cfg.Factories = map[string]registry.Ref[resource.Factory]{
		"*": registry.Bound[resource.Factory](runner("any")), ".html": registry.Bound[resource.Factory](runner("html")),
		"#!": registry.Bound[resource.Factory](runner("script")), "text/markdown": registry.Bound[resource.Factory](runner("markdown")),
		"image/*": registry.Bound[resource.Factory](runner("image")), "image/gif": registry.Bound[resource.Factory](runner("gif")),
		"text/x-foo": registry.Bound[resource.Factory](runner("foo")), ".off": {},
	}
	h := serve(t, cfg)
	for name, want := range map[string]string{
		"a.html": "html", "a.MD": "markdown", "a.png": "image", "a.gif": "gif", "a.txt": "any", "script": "script",
		"script.html": "html", "script.md": "script", "noexec": "any", "short": "any", "none": "any", "unknown.xyz": "any", "new.foo": "foo",
	} {
		t.Run(name, func(t *testing.T) {
			got, _, _ := strings.Cut(get(t, h, "/"+name).Body.String(), " ")
			if got != want {
				t.Errorf("it is handled by %s; want %s", got, want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		delete(cfg.Factories, "*")
		if w := get(t, serve(t, cfg), "/unknown.xyz"); w.Code != 404 {
			t.Errorf("a file that no factory handles is answered with %d; want 404", w.Code)
		}
	})
}

// TestShow proves that show makes exceptions, for names as well as for copies.
func TestShow(t *testing.T) {
	cfg := settings(t, siteFolder(t))
	cfg.Show = []string{"*.RUN.txt", ".git"}
	h := serve(t, cfg)
	for target, status := range map[string]int{"/tool.run.txt": 200, "/tool.run.gz": 404, "/.git/config": 200, "/.well-known/test": 404} {
		if w := get(t, h, target); w.Code != status {
			t.Errorf("%s is answered with %d; want %d", target, w.Code, status)
		}
	}
}

// TestCopies proves that a source isn't shown by a copy whatever characters its extension has.
func TestCopies(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.my_run.txt": "source", "a.my_run_old": "source", "a.c++.txt": "source", "a.my_runner.txt": "no copy", "a.my.txt": "no copy"})
	cfg := settings(t, dir)
	cfg.Factories[".my_run"], cfg.Factories[".c++"] = cfg.Factories[".run"], cfg.Factories[".run"]
	h := serve(t, cfg)
	for target, status := range map[string]int{"/a.my_run.txt": 404, "/a.my_run_old": 404, "/a.c++.txt": 404, "/a.my_runner.txt": 200, "/a.my.txt": 200} {
		if w := get(t, h, target); w.Code != status {
			t.Errorf("%s is answered with %d %q; want %d", target, w.Code, w.Body, status)
		}
	}
}

// TestExtensions proves which extensions may be left out: those of the setting, then those of factories that
// aren't of the kind of "*"'s, unless the name is hidden then.
func TestExtensions(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.css": "css", "b.txt": "text", "b.css": "css", "c.run": "", "c.any": "", "d.txt": "hidden", "d.run": "", "e.html": "html",
	})
	cfg := settings(t, dir)
	cfg.Extensions = []string{".txt"}
	cfg.Hide = append(cfg.Hide, "d.txt")
	cfg.Factories[".css"] = cfg.Factories["*"]
	cfg.Factories[".any"] = registry.Bound[resource.Factory](runner("any"))
	h := serve(t, cfg)
	for target, want := range map[string]string{
		"/a": "404 page not found\n", "/a.css": "css", "/b": "text", "/c": "any c.any: /c + ", "/d": "run d.run: /d + ", "/e": "404 page not found\n",
	} {
		if got := get(t, h, target).Body.String(); got != want {
			t.Errorf("%s is answered with %q; want %q", target, got, want)
		}
	}
}

func TestNoPathInfo(t *testing.T) {
	cfg := settings(t, siteFolder(t))
	cfg.PathInfo = false
	h := serve(t, cfg)
	for target, status := range map[string]int{"/tool": 200, "/tool/": 404, "/tool/x": 404, "/tool.run/x": 404, "/docs/": 200} {
		if w := get(t, h, target); w.Code != status {
			t.Errorf("%s is answered with %d; want %d", target, w.Code, status)
		}
	}
}

// TestFile proves what a factory and a handler are told of a file.
func TestFile(t *testing.T) {
	root := siteFolder(t)
	var made *resource.File
	cfg := settings(t, root)
	cfg.Factories[".html"] = registry.Bound[resource.Factory](factoryFunc(func(f *resource.File) (resource.App, error) {
		made = f
		return runner("").Make(f)
	}))
	get(t, serve(t, cfg), "/about")
	if made == nil {
		t.Fatal("no app was made")
	}
	type told struct {
		Name, Root, Type string
		Size             int64
		Hidden           map[string]bool
	}
	got := told{made.Name, made.Root, made.Type, made.Info.Size(), map[string]bool{}}
	for _, name := range []string{"about.txt", "about.html.gz", "tool.run.gz", ".git/config", "docs/.x", "docs/x"} {
		got.Hidden[name] = made.Hidden(name)
	}
	want := told{"about.html", root, "text/html; charset=utf-8", 5, map[string]bool{
		"about.txt": false, "about.html.gz": true, "tool.run.gz": true, ".git/config": true, "docs/.x": true, "docs/x": false,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the factory is told (-want +got):\n%s", diff)
	}
	if content, err := fs.ReadFile(made.FS, made.Name); err != nil || string(content) != "about" {
		t.Errorf("it reads %q, %v", content, err)
	}
	if _, err := fs.ReadFile(made.FS, "out.html"); err == nil {
		t.Error("the tree can be left through a link")
	}
}

type factoryFunc func(f *resource.File) (resource.App, error)

func (f factoryFunc) Make(file *resource.File) (resource.App, error) { return f(file) }

// counting counts the apps it makes, each of which tells its number.
type counting struct{ made atomic.Int32 }

func (c *counting) Make(f *resource.File) (resource.App, error) {
	n := c.made.Add(1)
	return resource.App{Methods: []string{"GET"}, PathInfo: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "app %d of %s", n, f.Name)
	})}, nil
}

// TestOneApp proves that an app is made once for a version of a file, whatever URLs lead there.
func TestOneApp(t *testing.T) {
	for _, capacity := range []int{1, 100, 4096} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"index.html": "x"})
			c := &counting{}
			cfg := settings(t, dir)
			cfg.Cache = capacity
			cfg.Factories["*"] = registry.Bound[resource.Factory](c)
			h := serve(t, cfg)
			var wg sync.WaitGroup
			for _, target := range []string{"/", "/index", "/index.html", "/index.html/x", "/index/y/z", "/"} {
				wg.Go(func() {
					if got := get(t, h, target).Body.String(); got != "app 1 of index.html" {
						t.Errorf("%s is answered by %q", target, got)
					}
				})
			}
			wg.Wait()
			for i, again := range []func(){
				func() { change(t, filepath.Join(dir, "index.html"), "longer", changed) },
				func() { change(t, filepath.Join(dir, "index.html"), "LONGER", changed.Add(time.Nanosecond)) },
				func() {
					change(t, filepath.Join(dir, "new"), "LONGER", changed.Add(time.Nanosecond))
					if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "index.html")); err != nil {
						t.Fatal(err)
					}
				},
				func() {
					if err := os.Chmod(filepath.Join(dir, "index.html"), 0o755); err != nil {
						t.Fatal(err)
					}
				},
			} {
				again()
				want := fmt.Sprintf("app %d of index.html", i+2)
				h.Handler.(*finder).revalidate = 0 // so that the change is noticed at once
				for range 2 {
					if got := get(t, h, "/").Body.String(); got != want {
						t.Errorf("after change %d / is answered by %q; want %q", i, got, want)
					}
				}
			}
		})
	}
}

// TestRevalidate proves the bound: what was found is trusted for the time revalidate, and not longer.
func TestRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.html": "one", "docs/index.htm": "docs"})
		h := serve(t, settings(t, dir))
		path := filepath.Join(dir, "a.html")
		for _, step := range []struct {
			name, target string
			do           func()
			before       string
			after        string
		}{
			{"changed", "/a.html", func() { change(t, path, "two", changed.Add(time.Second)) }, "one", "two"},
			{"of equal length", "/a.html", func() { change(t, path, "TWO", changed.Add(2*time.Second)) }, "two", "TWO"},
			{"another extension first", "/docs/", func() { write(t, dir, map[string]string{"docs/index.html": "new"}) }, "docs", "new"},
			{"made a folder", "/a", func() {
				if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(dir, "a"), 0o755)); err != nil {
					t.Fatal(err)
				}
			}, "TWO", ""},
		} {
			if got := get(t, h, step.target).Body.String(); got != step.before {
				t.Fatalf("%s: before: %q; want %q", step.name, got, step.before)
			}
			step.do()
			if got := get(t, h, step.target).Body.String(); got != step.before {
				t.Errorf("%s: noticed at once, as %q", step.name, got)
			}
			<-time.After(time.Second)
			for range 2 {
				if got := get(t, h, step.target).Body.String(); got != step.after {
					t.Errorf("%s: after a second: %q; want %q", step.name, got, step.after)
				}
			}
		}
		for range 2 {
			if w := get(t, h, "/a.html"); w.Code != 404 {
				t.Errorf("a file that went is answered with %d", w.Code)
			}
		}
		write(t, dir, map[string]string{"b/c": "file"})
		if got := get(t, h, "/b/c").Body.String(); got != "file" {
			t.Errorf("a file in a folder is answered with %q", got)
		}
		if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, map[string]string{"b": "made a file"})
		<-time.After(time.Second)
		for range 2 {
			if w := get(t, h, "/b/c"); w.Code != 404 {
				t.Errorf("a file in a folder that is a file now is answered with %d", w.Code)
			}
		}
		get(t, h, "/docs/index.htm")
		if err := os.Remove(filepath.Join(dir, "docs", "index.htm")); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		for range 2 {
			if w := get(t, h, "/docs/index.htm"); w.Code != 404 {
				t.Errorf("a file that went, asked for again, is answered with %d", w.Code)
			}
		}
	})
}

// TestUnsettled proves that a second write within a tick of the disk's clock, which leaves length and time as they
// are, is noticed.
func TestUnsettled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.html")
	cfg := settings(t, dir)
	cfg.Revalidate = 0
	h := serve(t, cfg)
	now := time.Now()
	change(t, path, "one", now)
	first := get(t, h, "/a").Body.String()
	change(t, path, "two", now)
	if second := get(t, h, "/a").Body.String(); first != "one" || second != "two" {
		t.Errorf("the answers are %q and %q; want one and two", first, second)
	}
}

func TestMakeFails(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.run": "", "gone.run": "", "secret.run": ""})
	var fail error
	cfg := settings(t, dir)
	cfg.Factories[".run"] = registry.Bound[resource.Factory](factoryFunc(func(f *resource.File) (resource.App, error) {
		if fail == nil {
			return runner("run").Make(f)
		}
		if fail.Error() == "panic" {
			panic(fail)
		}
		return resource.App{}, fail
	}))
	h := serve(t, cfg)
	layout := &fs.PathError{Op: "open", Path: "layout.html", Err: fs.ErrNotExist}
	for _, tt := range []struct {
		name, target string
		err          error
		status       int
		caught       string
	}{
		{"it is reported", "/a.run", errors.New("line 3: unexpected }"), 500, "line 3: unexpected }"},
		{"something else is missing", "/a.run", fmt.Errorf("a layout: %w", layout), 500, "a layout: open layout.html: file does not exist"},
		{"a panic", "/a.run", errors.New("panic"), 500, "panic while an app is made of a.run: panic"},
		{"the file went", "/gone.run", &fs.PathError{Op: "open", Path: "gone.run", Err: fs.ErrNotExist}, 404, ""},
		{"the file can't be read", "/secret.run", &fs.PathError{Op: "open", Path: "secret.run", Err: fs.ErrPermission}, 404, ""},
		{"nothing is kept of it", "/a.run", nil, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fail, h.caught = tt.err, nil
			if w := get(t, h, tt.target); w.Code != tt.status {
				t.Errorf("the answer is %d; want %d", w.Code, tt.status)
			}
			got := strings.Join(h.caught, ", ")
			got, _, _ = strings.Cut(got, "\n")
			if got != tt.caught {
				t.Errorf("reported is %q; want %q", got, tt.caught)
			}
		})
	}
}

// TestWaitEnds proves that who waits for an app that somebody else is making stops when its request ends.
func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"a.run": ""})
		release := make(chan struct{})
		cfg := settings(t, dir)
		cfg.Factories[".run"] = registry.Bound[resource.Factory](factoryFunc(func(f *resource.File) (resource.App, error) {
			<-release
			return runner("run").Make(f)
		}))
		h := serve(t, cfg)
		var wg sync.WaitGroup
		wg.Go(func() {
			if w := get(t, h, "/a.run"); w.Code != 200 {
				t.Errorf("who makes it is answered with %d", w.Code)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/a.run", nil).WithContext(ctx))
		if diff := cmp.Diff([]string{context.DeadlineExceeded.Error()}, h.caught); diff != "" || w.Code != 500 {
			t.Errorf("who waits is answered with %d, reported (-want +got):\n%s", w.Code, diff)
		}
		close(release)
		wg.Wait()
	})
}

// broken is a tree whose files have errors.
type broken struct {
	fstest.MapFS
	errs map[string]error
}

func (b *broken) Open(name string) (fs.File, error) {
	if err := b.errs[name]; err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return b.MapFS.Open(name)
}

func (b *broken) Stat(name string) (fs.FileInfo, error) {
	if err := b.errs[name]; err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return b.MapFS.Stat(name)
}

func TestDiskErrors(t *testing.T) {
	b := &broken{
		fstest.MapFS{"d/x": {}, "i/index.htm": {}},
		map[string]error{"eio": syscall.EIO, "eacces": syscall.EACCES, "c.html": syscall.EIO, "i/index": syscall.EIO, "d": syscall.EACCES},
	}
	cfg := settings(t, t.TempDir())
	cfg.Hooks = []registry.Ref[resource.Hook]{registry.Bound[resource.Hook](hookFunc(func(_ *http.Request, path string) (resource.Answer, error) {
		return resource.Answer{Tree: b, Path: path}, nil
	}))}
	h := serve(t, cfg)
	for _, tt := range []struct {
		target string
		status int
		caught []string
	}{
		{"/eio", 500, []string{"stat eio: input/output error"}},
		{"/c", 500, []string{"stat c.html: input/output error"}},
		{"/i/", 500, []string{"stat i/index: input/output error"}},
		{"/eacces", 404, nil},
		{"/d/x/y", 404, nil},
	} {
		t.Run(tt.target, func(t *testing.T) {
			h.caught = nil
			w := get(t, h, tt.target)
			if diff := cmp.Diff(tt.caught, h.caught); diff != "" || w.Code != tt.status {
				t.Errorf("the answer is %d; want %d; reported (-want +got):\n%s", w.Code, tt.status, diff)
			}
		})
	}
}

// TestUnreadable proves that a file which may not be read looks missing, and that the log says why.
func TestUnreadable(t *testing.T) {
	root := siteFolder(t)
	if err := os.Chmod(filepath.Join(root, "about.html"), 0); err != nil {
		t.Fatal(err)
	}
	targets := map[string]string{
		"/out.html": "out.html", "/outdir/outside.txt": "outdir/outside.txt",
		"/hook/out.html": "out.html", "/again/outdir/outside.txt": "outdir/outside.txt",
	}
	if os.Geteuid() != 0 { // root may read everything
		targets["/about.html"] = "about.html"
	}
	for target, name := range targets {
		t.Run(target, func(t *testing.T) {
			cfg := settings(t, root)
			disk, err := os.OpenRoot(root)
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			cfg.Hooks = []registry.Ref[resource.Hook]{registry.Bound[resource.Hook](hookFunc(func(_ *http.Request, path string) (resource.Answer, error) {
				switch first, rest, _ := strings.Cut(path, "/"); first {
				case "hook":
					return resource.Answer{Tree: disk.FS(), Path: rest}, nil
				case "again":
					return resource.Answer{Tree: incomparable{disk.FS(), nil}, Path: rest}, nil
				}
				return resource.Answer{}, nil
			}))}
			var log strings.Builder
			h := &stack{Handler: open[http.Handler](t, Component, &cfg, &log)}
			w := get(t, h, target)
			if w.Code != 404 || strings.Contains(w.Body.String(), name) || !strings.Contains(log.String(), name) || len(h.caught) > 0 {
				t.Errorf("the answer is %d %q, the log %q, reported %q; want a plain 404 and the name in the log", w.Code, w.Body, log.String(), h.caught)
			}
		})
	}
}

type hookFunc func(r *http.Request, path string) (resource.Answer, error)

func (f hookFunc) Find(r *http.Request, path string) (resource.Answer, error) { return f(r, path) }

func TestHooks(t *testing.T) {
	archive := fstest.MapFS{
		"index.html": {Data: []byte("archive")}, "tool.run": {}, ".secret": {}, "sub/index.htm": {Data: []byte("sub")},
	}
	var asked []string
	hooks := []hookFunc{
		func(_ *http.Request, path string) (resource.Answer, error) {
			asked = append(asked, path)
			return resource.Answer{}, nil
		},
		func(_ *http.Request, path string) (resource.Answer, error) {
			switch first, rest, _ := strings.Cut(path, "/"); first {
			case "handled":
				return resource.Answer{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "handled") })}, nil
			case "archive":
				return resource.Answer{Tree: archive, Path: rest, ScriptName: "/archive"}, nil
			case "slow": // comparing it would panic
				return resource.Answer{Tree: incomparable{archive, nil}, Path: rest, ScriptName: "/slow/"}, nil
			case "noslash":
				return resource.Answer{Tree: archive, Path: "sub", ScriptName: "/noslash"}, nil
			case "up":
				return resource.Answer{Tree: archive, Path: "../" + rest, ScriptName: "/up"}, nil
			case "fails":
				return resource.Answer{}, errors.New("the database is down")
			}
			return resource.Answer{}, nil
		},
		func(_ *http.Request, path string) (resource.Answer, error) {
			if path == "handled" {
				t.Error("a hook is asked although one before had an answer")
			}
			return resource.Answer{}, nil
		},
	}
	cfg := settings(t, siteFolder(t))
	for _, hook := range hooks {
		cfg.Hooks = append(cfg.Hooks, registry.Bound[resource.Hook](hook))
	}
	h := serve(t, cfg)
	for _, tt := range []struct {
		target string
		status int
		answer string
	}{
		{"/handled", 200, "handled"},
		{"/archive/", 200, "archive"},
		{"/archive/tool/a/b", 200, "run tool.run: /archive/tool + /a/b"},
		{"/archive/tool.run", 200, "run tool.run: /archive/tool.run + "},
		{"/archive/.secret", 404, "404 page not found\n"},
		{"/archive/nothing", 404, "404 page not found\n"},
		{"/archive/sub", 308, ""},
		{"/slow/tool/x", 200, "run tool.run: /slow/tool + /x"},
		{"/noslash/", 200, "sub"},
		{"/noslash", 308, ""},
		{"/up/tool.run", 404, "404 page not found\n"},
		{"/fails", 500, "a failure\n"},
		{"/about.html", 200, "about"},
		{"/tool/x", 200, "run tool.run: /tool + /x"},
		{"/../x", 400, "the path has a dot segment\n"},
		{"/docs/", 200, "docs"},
	} {
		for range 2 {
			asked = nil
			w := get(t, h, tt.target)
			if w.Code != tt.status || w.Body.String() != tt.answer {
				t.Errorf("%s is answered with %d %q; want %d %q", tt.target, w.Code, w.Body, tt.status, tt.answer)
			}
			want := []string{tt.target[1:]}
			if tt.status == 400 {
				want = nil
			}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("%s: asked (-want +got):\n%s", tt.target, diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"the database is down", "the database is down"}, h.caught); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

type incomparable struct {
	fs.FS
	_ []int
}

// TestTreesOfHooks proves that apps made of files in a hook's tree are kept, and that not all trees are.
func TestTreesOfHooks(t *testing.T) {
	c := &counting{}
	var tree fs.FS
	cfg := settings(t, t.TempDir())
	cfg.Factories["*"] = registry.Bound[resource.Factory](c)
	cfg.Hooks = []registry.Ref[resource.Hook]{registry.Bound[resource.Hook](hookFunc(func(_ *http.Request, path string) (resource.Answer, error) {
		return resource.Answer{Tree: tree, Path: path}, nil
	}))}
	h := serve(t, cfg)
	for i := range maxOthers * 2 {
		tree = &fstest.MapFS{"a": {ModTime: changed}}
		for range 2 {
			want := fmt.Sprintf("app %d of a", i+1)
			if got := get(t, h, "/a").Body.String(); got != want {
				t.Fatalf("tree %d is answered by %q; want %q", i, got, want)
			}
		}
	}
	if n := len(h.Handler.(*finder).others); n > maxOthers {
		t.Errorf("%d trees are remembered; want at most %d", n, maxOthers)
	}
}

// TestFolderOfHookExchanged proves that of a folder which a hook shows nothing is kept once another one has its place, and
// that folders at two places don't take each other's.
func TestFolderOfHookExchanged(t *testing.T) {
	trees := map[string]fs.FS{}
	cfg := settings(t, t.TempDir())
	cfg.Hooks = []registry.Ref[resource.Hook]{registry.Bound[resource.Hook](hookFunc(func(_ *http.Request, path string) (resource.Answer, error) {
		place, rest, _ := strings.Cut(path, "/")
		return resource.Answer{Tree: trees[place], Path: rest, ScriptName: "/" + place, Root: "/srv/current"}, nil
	}))}
	h := serve(t, cfg)
	for release := range 3 {
		for _, place := range []string{"a", "b"} {
			trees[place] = &fstest.MapFS{"x.txt": {Data: fmt.Append(nil, place, release), ModTime: changed}}
		}
		for _, place := range []string{"a", "b", "a"} {
			if got, want := get(t, h, "/"+place+"/x.txt").Body.String(), fmt.Sprint(place, release); got != want {
				t.Errorf("answered with %q; want %q", got, want)
			}
		}
		if n := len(h.Handler.(*finder).others); n != 2 {
			t.Errorf("%d trees are remembered; want those that are there, 2", n)
		}
	}
}

// TestRootExchanged proves that a root which is a link to the current release is followed to the next
// one.
func TestRootExchanged(t *testing.T) {
	for _, revalidate := range []time.Duration{0, time.Second} {
		t.Run(revalidate.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, map[string]string{"1/a.html": "first", "2/a.html": "other", "2/b.html": "new", "current": "->1"})
				current := filepath.Join(dir, "current")
				cfg := settings(t, current)
				cfg.Revalidate = revalidate
				h := serve(t, cfg)
				if got := get(t, h, "/a").Body.String(); got != "first" {
					t.Fatalf("the first release is answered with %q", got)
				}
				write(t, dir, map[string]string{"next": "->2"})
				if err := os.Rename(filepath.Join(dir, "next"), current); err != nil {
					t.Fatal(err)
				}
				<-time.After(revalidate)
				for target, want := range map[string]string{"/a": "other", "/b": "new"} {
					if got := get(t, h, target).Body.String(); got != want {
						t.Errorf("%s of the next release is answered with %q; want %q", target, got, want)
					}
				}
				if err := os.Remove(current); err != nil {
					t.Fatal(err)
				}
				<-time.After(revalidate)
				if got := get(t, h, "/a").Body.String(); got != "other" {
					t.Errorf("without a release the answer is %q; want the last one's", got)
				}
			})
		})
	}
}

func TestBuildFails(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": ""})
	for _, root := range []string{filepath.Join(dir, "nothing"), filepath.Join(dir, "file")} {
		cfg := settings(t, root)
		_, err := r.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), root) || !strings.Contains(err.Error(), "it must be a folder that can be read") {
			t.Errorf("the error is %v; want one that names the root", err)
		}
	}
}

func TestSettings(t *testing.T) {
	r, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	static := registry.Use[resource.Factory]("static")
	tests := []struct {
		name string
		cfg  func(c *Config)
		want []string
	}{
		{"defaults with a root", func(*Config) {}, nil},
		{"no root", func(c *Config) { c.Root = "" }, []string{"root is missing; it must be a path"}},
		{"an index elsewhere", func(c *Config) { c.Index = []string{"a/index"} }, []string{`index[0] is "a/index"; it must be the name of a file in the folder`}},
		{
			"extensions", func(c *Config) { c.Extensions = []string{".tar.gz", "html"} },
			[]string{
				"extensions[1] is html; it must begin with .",
				`extensions[0] is ".tar.gz"; it must be a dot and what follows the last dot of a name`,
			},
		},
		{
			"patterns", func(c *Config) { c.Hide, c.Show = []string{"[", "ok*"}, []string{"a/b"} },
			[]string{
				`hide[0] is "["; it must be a pattern of one name, such as *.bak`,
				`show[0] is "a/b"; it must be a pattern of one name, such as *.bak`,
			},
		},
		{
			"types", func(c *Config) { c.Types = map[string]string{"foo": "text/x-foo", ".bar": "no type; at all"} },
			[]string{
				`types[.bar] is "no type; at all"; it must be a MIME type such as text/html; charset=utf-8`,
				`types[foo] is for "foo"; it must be for an extension such as .foo`,
			},
		},
		{
			"keys of factories", func(c *Config) {
				c.Factories = map[string]registry.Ref[resource.Factory]{
					"*": static, "#!": static, ".x": static, "a/b": static, "a/*": static,
					"php": static, ".": static, "*/*": static, "": static, ".tar.gz": static, "a/b; c=d": static,
				}
			},
			[]string{
				`factories[] is for ""; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
				`factories[*/*] is for "*/*"; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
				`factories[.] is for "."; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
				`factories[.tar.gz] is for ".tar.gz"; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
				`factories[a/b; c=d] is for "a/b; c=d"; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
				`factories[php] is for "php"; it must be for an extension (.html), a MIME type (text/html, text/*), #! or *`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Component.Default
			cfg.Root = "/srv/site"
			tt.cfg(&cfg)
			var got []string
			for _, found := range r.All()[0].Check(&cfg) {
				got = append(got, found.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWarnings proves that a list which is to add to the default, and takes its place, is noticed.
func TestWarnings(t *testing.T) {
	all := Component.Default.Hide
	for _, tt := range []struct {
		name       string
		hide, show []string
		want       []string
	}{
		{"default", all, Component.Default.Show, nil},
		{"more", append(slices.Clone(all), "*.sql"), []string{".well-known", "x.php.txt"}, nil},
		{"another list", []string{"*.sql"}, nil, []string{"hide lets .env, notes.txt~, notes.txt.bak be found, as it takes the place of the default; it should have .*, *~, *.bak, too"}},
		{"a part", []string{".*", "*.BAK"}, nil, []string{"hide lets notes.txt~ be found, as it takes the place of the default; it should have *~, too"}},
		{"shown", all, []string{".*"}, []string{"show lets .env be found; it should have single names, such as .well-known"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Component.Default
			cfg.Hide, cfg.Show = tt.hide, tt.show
			var got []string
			for _, w := range cfg.Warnings(registry.Site{}) {
				if w.Concern != registry.Unsafe {
					t.Errorf("the concern is %s", w.Concern)
				}
				got = append(got, w.Setting+" "+w.Problem)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConcurrent asks from many goroutines while files change, come and go. Each answer is one that was
// right at some time.
func TestConcurrent(t *testing.T) {
	for _, revalidate := range []time.Duration{0, time.Microsecond, time.Second} {
		t.Run(revalidate.String(), func(t *testing.T) {
			dir := t.TempDir()
			contents := []string{strings.Repeat("a", 100), strings.Repeat("b", 3000)}
			write(t, dir, map[string]string{"a.html": contents[0], "tool.run": ""})
			cfg := settings(t, dir)
			cfg.Revalidate, cfg.Cache = revalidate, 3
			h := serve(t, cfg)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for i := range 100 {
						if w := get(t, h, "/a"); w.Code != 404 && w.Body.String() != contents[0] && w.Body.String() != contents[1] {
							t.Errorf("the answer is %d with %d bytes", w.Code, w.Body.Len())
						}
						want := fmt.Sprintf("run tool.run: /tool + /%d", i)
						if got := get(t, h, fmt.Sprintf("/tool/%d", i)).Body.String(); got != want {
							t.Errorf("the answer is %q; want %q", got, want)
						}
						get(t, h, "/nothing")
					}
				})
			}
			next, path := filepath.Join(dir, "next.txt"), filepath.Join(dir, "a.html")
			for i := range 100 {
				change(t, next, contents[i%2], time.Now())
				if err := os.Rename(next, path); err != nil {
					t.Error(err)
				}
				if i%10 == 9 {
					if err := os.Remove(path); err != nil {
						t.Error(err)
					}
				}
			}
			wg.Wait()
			if len(h.caught) > 0 {
				t.Errorf("failures were reported: %q", h.caught)
			}
		})
	}
}

func TestCache(t *testing.T) {
	for _, capacity := range []int{0, 1, 7, 16 * maxShards} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			c := newCache[int](capacity)
			for i := range 10 * (capacity + 1) {
				key := fmt.Sprint(i)
				c.put(key, i+1)
				if got := c.get(key); capacity > 0 && got != i+1 {
					t.Fatalf("%s is %d right after it was set to %d", key, got, i+1)
				}
			}
			n := 0
			for i := range c.shards {
				n += len(c.shards[i].entries)
			}
			if n > capacity || capacity < 16 && n != capacity {
				t.Errorf("it keeps %d entries; want %d", n, capacity)
			}
			for i := range c.shards {
				for key := range c.shards[i].entries {
					c.drop(key)
					if c.get(key) != 0 {
						t.Errorf("%s is there after it was dropped", key)
					}
				}
			}
		})
	}
}

// FuzzPath proves of any path that nothing out of the root, nothing hidden and no source is served.
func FuzzPath(f *testing.F) {
	for name := range site {
		f.Add("/"+name, "")
	}
	for _, path := range []string{"/../outside.txt", "/docs/../../outside.txt", "/tool/../.secret", "/outdir/outside.txt", "//", "", "*", "/a\x00b"} {
		f.Add(path, "")
	}
	f.Add("/a/b", "/a%2fb")
	root := siteFolder(f)
	cfg := settings(f, root)
	h := serve(f, cfg)
	f.Fuzz(func(t *testing.T, path, rawPath string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.URL = &url.URL{Path: path, RawPath: rawPath}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch body := w.Body.String(); w.Code {
		case 200:
			if body == "outside" || body == "hidden" || body == "source" {
				t.Errorf("%q is answered with what is %s", path, body)
			}
			if strings.Contains(body, "which isn't the path") {
				t.Errorf("%q is answered with %q", path, body)
			}
		case 308:
			to, err := url.Parse(w.Header().Get("Location"))
			if err != nil || to.IsAbs() || to.Host != "" || !strings.HasPrefix(to.Path, "./") {
				t.Errorf("%q is redirected to %q", path, w.Header().Get("Location"))
			}
		case 400, 404, 414:
		default:
			t.Errorf("%q is answered with %d", path, w.Code)
		}
		if len(h.caught) > 0 {
			t.Errorf("%q is a failure: %q", path, h.caught)
		}
	})
}

// BenchmarkHit is the way of a request for a small file, from the finder to the response.
func BenchmarkHit(b *testing.B) {
	dir := b.TempDir()
	write(b, dir, map[string]string{"docs/a.txt": strings.Repeat("x", 1024)})
	h := serve(b, settings(b, dir)).Handler
	r := new(environ.Base).Open(httptest.NewRequest("GET", "/docs/a.txt", nil))
	b.Run("serial", func(b *testing.B) {
		w := &discard{http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, r)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			w := &discard{http.Header{}}
			r := new(environ.Base).Open(httptest.NewRequest("GET", "/docs/a.txt", nil))
			for pb.Next() {
				h.ServeHTTP(w, r)
			}
		})
	})
}

// BenchmarkMiss is a request for a file that isn't there.
func BenchmarkMiss(b *testing.B) {
	h := serve(b, settings(b, siteFolder(b))).Handler
	r := new(environ.Base).Open(httptest.NewRequest("GET", "/docs/nothing", nil))
	w := &discard{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
