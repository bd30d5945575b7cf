package errorpages

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	catcher "github.com/stackd/stackd/components/middleware/errors"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	settings := func(intercept bool) func(t *testing.T) Config {
		return func(t *testing.T) Config { return Config{Root: folder(t, site404), Intercept: intercept} }
	}
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "a client that takes text", Settings: settings(false)},
		registrytest.Case[Config]{Name: "intercept", Settings: settings(true)},
		registrytest.Case[Config]{Name: "a browser", Settings: func(t *testing.T) Config {
			return Config{Root: folder(t, map[string]string{"404.html": "not here"})} // the kit has no such answer
		}, Request: func(r *http.Request) {
			if r.Header.Get("Accept") == "" {
				r.Header.Set("Accept", browser)
			}
		}},
	)
}

// browser is the field Accept of a browser that opens a page.
const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// site404 are the pages of most tests.
var site404 = map[string]string{
	"404.html": "<h1>Not here</h1>",
	"4xx.html": "<h1>{{.Status}} {{.StatusText}}</h1>",
	"5xx.html": "<h1>{{.Status}}{{if .Incident}}, {{.Incident}}{{end}}</h1>",
}

// folder makes a folder of files.
func folder(t testing.TB, files map[string]string) registry.Path {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return registry.Path(dir)
}

// serve starts a server for an app behind the middleware, and with it those that stand further in.
func serve(t *testing.T, cfg Config, app http.HandlerFunc, inner ...registry.Wrap) *httptest.Server {
	t.Helper()
	s := unstarted(t, cfg, app, inner...)
	s.Start()
	return s
}

func unstarted(t *testing.T, cfg Config, app http.HandlerFunc, inner ...registry.Wrap) *httptest.Server {
	t.Helper()
	var h http.Handler = app
	for _, wrap := range slices.Backward(append([]registry.Wrap{registrytest.Build(t, Component, cfg, nil)}, inner...)) {
		h = wrap(h)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, new(environ.Base).Open(r)) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(s.Close)
	return s
}

// catching is the errors middleware.
func catching(t *testing.T, show string) registry.Wrap {
	t.Helper()
	cfg := catcher.Component.Default
	cfg.Show, cfg.Reporters = show, nil
	return registrytest.Build(t, catcher.Component, cfg, nil)
}

// answer is what a client got, beside the body.
type answer struct {
	status          int
	length          int64
	header, trailer http.Header
}

// ask sends a request, and returns the answer with its body.
func ask(t *testing.T, s *httptest.Server, method string, header ...string) (answer, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Transport.RoundTrip(r) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.ContentLength, resp.Header, resp.Trailer}, string(body)
}

// says is an app that answers with a status, fields and a body.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestReplaced(t *testing.T) {
	const text, html, json = "text/plain; charset=utf-8", "text/html; charset=utf-8", "application/json"
	for _, test := range []struct {
		name      string
		intercept bool
		app       http.HandlerFunc
		method    string
		accept    string
		status    int
		body      string
		vary      string
	}{
		{"a text", false, http.NotFound, "GET", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"a text, to POST", false, http.NotFound, "POST", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"a text, to HEAD", false, http.NotFound, "HEAD", browser, 404, "", "Accept"},
		{"another status of the client's", false, says(410, "gone", "Content-Type", "Text/Plain"), "GET", browser, 410, "<h1>410 Gone</h1>", "Accept"},
		{"a status without a name", false, says(499, "", "Content-Type", text), "GET", browser, 499, "<h1>499 </h1>", "Accept"},
		{"a status of the server's", false, says(503, "later", "Content-Type", text), "GET", browser, 503, "<h1>503</h1>", "Accept"},
		{"a status beyond all", false, says(600, "text", "Content-Type", text), "GET", browser, 600, "text", ""},
		{"no error", false, says(200, "text", "Content-Type", text), "GET", browser, 200, "text", ""},
		{"no error, and no body", false, says(204, ""), "GET", browser, 204, "", ""},
		{"a redirect", false, says(303, "", "Location", "/elsewhere"), "GET", browser, 303, "", ""},

		{"who takes anything", false, http.NotFound, "GET", "*/*", 404, "404 page not found\n", "Accept"},
		{"who wants data", false, http.NotFound, "GET", "application/json, text/plain, */*", 404, "404 page not found\n", "Accept"},
		{"who wants an image", false, http.NotFound, "GET", "image/avif,image/webp,*/*;q=0.8", 404, "404 page not found\n", "Accept"},
		{"an answer that varies already", false, says(404, "text", "Content-Type", text, "Vary", "Origin, accept"), "GET", browser, 404, "<h1>Not here</h1>", "Origin, accept"},

		{"no body and no type", false, says(404, ""), "GET", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"no body and no type, to HEAD", false, says(404, ""), "HEAD", browser, 404, "", "Accept"},
		{"no body and no type, for data", false, says(404, ""), "GET", json, 404, "", "Accept"},
		{"a script that broke off", false, says(500, "", "Content-Type", html), "GET", browser, 500, "<h1>500</h1>", "Accept"},
		{"a script that broke off, it says", false, says(500, "", "Content-Type", html, "Content-Length", "0"), "GET", browser, 500, "<h1>500</h1>", "Accept"},
		{"a script that broke off, behind a proxy", false, func(w http.ResponseWriter, r *http.Request) {
			says(500, "", "Content-Type", html)(w, r)
			w.(http.Flusher).Flush()
		}, "GET", browser, 500, "<h1>500</h1>", "Accept"},
		{"an API without a body", true, says(401, "", "Content-Type", json), "GET", browser, 401, "", ""},
		{"a body that turns out text", false, says(404, "no such thing"), "GET", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"a body that turns out HTML", false, says(404, "<!DOCTYPE html><p>Our own"), "GET", browser, 404, "<!DOCTYPE html><p>Our own", ""},

		{"an app's own page", false, says(404, "<p>Our own", "Content-Type", html), "GET", browser, 404, "<p>Our own", ""},
		{"an app's own page, to HEAD", false, says(404, "", "Content-Type", html), "HEAD", browser, 404, "", ""},
		{"an app's own page, intercepted", true, says(404, "<p>Our own", "Content-Type", html), "GET", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"an app's own XHTML, intercepted", true, says(404, "<p>Our own", "Content-Type", "application/xhtml+xml"), "GET", browser, 404, "<h1>Not here</h1>", "Accept"},
		{"an app's own page, for data", true, says(404, "<p>Our own", "Content-Type", html), "GET", "*/*", 404, "<p>Our own", "Accept"},
		{"an API", true, says(404, "{}", "Content-Type", json, "Content-Length", "2"), "GET", browser, 404, "{}", ""},
		{"an API, of unknown length", true, says(404, "{}", "Content-Type", json), "GET", browser, 404, "{}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, Config{Root: folder(t, site404), Intercept: test.intercept}, test.app)
			resp, body := ask(t, s, test.method, "Accept", test.accept)
			if resp.status != test.status || body != test.body || resp.header.Get("Vary") != test.vary {
				t.Errorf("got %d, %q, Vary: %s; want %d, %q, Vary: %s", resp.status, body, resp.header.Get("Vary"), test.status, test.body, test.vary)
			}
		})
	}
}

func TestNoPage(t *testing.T) {
	s := serve(t, Config{Root: folder(t, map[string]string{"404.html": "not here"})}, says(403, "no", "Content-Type", "text/plain"))
	if resp, body := ask(t, s, "GET", "Accept", browser); resp.status != 403 || body != "no" || resp.header["Vary"] != nil {
		t.Errorf("a status without a page: got %d, %q, %v", resp.status, body, resp.header)
	}
}

// TestHeader proves what stays of the header of an answer that is replaced.
func TestHeader(t *testing.T) {
	stays := http.Header{
		"Retry-After": {"9"}, "Www-Authenticate": {"Basic"}, "Allow": {"GET"}, "Set-Cookie": {"a=b", "c=d"}, "Incident-Id": {"x"},
		"Location": {"/there"}, "Cache-Control": {"max-age=9"}, "X-Content-Type-Options": {"nosniff"}, "Access-Control-Allow-Origin": {"*"},
	}
	goes := http.Header{
		"Content-Encoding": {"gzip"}, "Content-Length": {"4"}, "Content-Language": {"de"}, "Content-Disposition": {"attachment"},
		"Content-Security-Policy": {"default-src 'none'"}, "Etag": {`"x"`}, "Last-Modified": {"Sat, 03 Feb 2001 04:05:06 GMT"},
		"Accept-Ranges": {"bytes"}, "Link": {"</own.css>; rel=preload"}, "Trailer": {"X-Late"}, "Repr-Digest": {"sha-256=:x:"},
		"Content-Range": {"bytes */9"}, http.TrailerPrefix + "X-Sooner": {"1"},
	}
	for status, want := range map[int]string{404: "", 416: "bytes */9"} {
		s := unstarted(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, _ *http.Request) {
			for _, fields := range []http.Header{stays, goes, {"Content-Type": {"text/plain"}}} {
				maps.Copy(w.Header(), fields)
			}
			w.WriteHeader(status)
			io.WriteString(w, "text")
			w.Header().Set("X-Late", "1")
			w.Header().Set(http.TrailerPrefix+"X-Later", "1")
		})
		s.EnableHTTP2 = true // it sends trailers whatever the length
		s.StartTLS()
		resp, body := ask(t, s, "GET", "Accept", browser)
		got := resp.header.Clone()
		got.Del("Date")
		wanted := stays.Clone()
		wanted.Set("Content-Type", "text/html; charset=utf-8")
		wanted.Set("Vary", "Accept")
		wanted["Content-Length"] = resp.header["Content-Length"]
		if want != "" {
			wanted.Set("Content-Range", want)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("the header of %d (-want +got):\n%s", status, diff)
		}
		if resp.length != int64(len(body)) || len(resp.trailer) > 0 {
			t.Errorf("the Content-Length is %d for %q, the trailers are %v", resp.length, body, resp.trailer)
		}
	}
}

func TestHead(t *testing.T) {
	s := serve(t, Config{Root: folder(t, site404)}, http.NotFound)
	if resp, _ := ask(t, s, "HEAD", "Accept", browser); resp.length != int64(len(site404["404.html"])) || resp.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %d bytes of %s", resp.length, resp.header.Get("Content-Type"))
	}
}

// TestCatcher proves that the pages of errors are replaced, and the debug page isn't.
func TestCatcher(t *testing.T) {
	fails := func(_ http.ResponseWriter, r *http.Request) { failure.Report(r, errors.New("the inside")) }
	for _, test := range []struct {
		name         string
		show         string
		intercept    bool
		app          http.HandlerFunc
		accept       string
		status       int
		contains     string
		replaced, id bool
	}{
		{"a failure", "never", false, fails, browser, 500, "<h1>500, ", true, true},
		{"a failure, for data", "never", false, fails, "application/json", 500, `"title": "Internal Server Error"`, false, true},
		{"a panic", "never", false, func(http.ResponseWriter, *http.Request) { panic("boom") }, browser, 500, "<h1>500, ", true, true},
		{"with a status", "never", false, func(_ http.ResponseWriter, r *http.Request) {
			failure.Report(r, failure.WithStatus(errors.New("x"), http.StatusNotFound))
		}, browser, 404, "<h1>Not here</h1>", true, false},
		{"the debug page", "loopback", false, fails, browser, 500, "the inside", false, true},
		{"the debug page, and intercept", "loopback", true, fails, browser, 500, "the inside", false, true},
		{"the debug text", "loopback", true, fails, "text/plain", 500, "the inside", false, true},
		{"an answer of the app's", "never", false, func(w http.ResponseWriter, r *http.Request) {
			failure.Note(r, errors.New("the inside"))
			http.Error(w, "sorry", http.StatusInternalServerError)
		}, browser, 500, "<h1>500, ", true, true},
		{"a page of the app's", "never", false, func(w http.ResponseWriter, r *http.Request) {
			failure.Note(r, errors.New("the inside"))
			says(500, "<p>Sorry", "Content-Type", "text/html")(w, r)
		}, browser, 500, "<p>Sorry", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, Config{Root: folder(t, site404), Intercept: test.intercept}, test.app, catching(t, test.show))
			resp, body := ask(t, s, "GET", "Accept", test.accept)
			id := resp.header.Get("Incident-Id")
			if resp.status != test.status || !strings.Contains(body, test.contains) || id == "" || test.id && !strings.Contains(body, id) {
				t.Errorf("got %d with the incident %q: %s", resp.status, id, body)
			}
			if test.replaced && resp.header.Get("Content-Security-Policy") != "" {
				t.Error("the policy of the lost page stays")
			}
		})
	}
}

// TestTwo proves that one error_pages around another shows what that has no page for.
func TestTwo(t *testing.T) {
	inner := registrytest.Build(t, Component, Config{Root: folder(t, map[string]string{"404.html": "the shop has no such thing"})}, nil)
	s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic("boom")
		}
		http.NotFound(w, r)
	}, inner, catching(t, "never"))
	if _, body := ask(t, s, "GET", "Accept", browser); body != "the shop has no such thing" {
		t.Errorf("what is not found: %s", body)
	}
	if _, body := ask(t, s, "POST", "Accept", browser); !strings.HasPrefix(body, "<h1>500, ") {
		t.Errorf("what fails: %s", body)
	}
}

// TestMounted proves that the catcher of a mounted stack is no other than one that stands here.
func TestMounted(t *testing.T) {
	var base environ.Base
	mount := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, base.Open(r)) })
	}
	s := serve(t, Config{Root: folder(t, site404)}, func(http.ResponseWriter, *http.Request) { panic("boom") }, mount, catching(t, "never"))
	if _, body := ask(t, s, "GET", "Accept", browser); !strings.HasPrefix(body, "<h1>500, ") {
		t.Errorf("got %s", body)
	}
}

func TestIncidentIsEscaped(t *testing.T) {
	s := serve(t, Config{Root: folder(t, site404)}, says(502, "", "Incident-Id", "<script>"))
	if _, body := ask(t, s, "GET", "Accept", browser); body != "<h1>502, &lt;script&gt;</h1>" {
		t.Errorf("got %s", body)
	}
}

// TestLost proves that whatever an app does after its answer was replaced, the page is whole.
func TestLost(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, write := range map[string]func(w http.ResponseWriter) error{
		"one long body": func(w http.ResponseWriter) error {
			n, err := io.WriteString(w, long)
			if n != len(long) {
				err = errors.Join(err, io.ErrShortWrite)
			}
			return err
		},
		"a file": func(w http.ResponseWriter) error {
			n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(long)})
			if n != int64(len(long)) {
				err = errors.Join(err, io.ErrShortWrite)
			}
			return err
		},
		"pieces": func(w http.ResponseWriter) error {
			for range 3 {
				io.WriteString(w, "piece")
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		for _, mime := range []string{"text/plain", ""} {
			t.Run(name+" of type "+mime, func(t *testing.T) {
				wrote := make(chan error, 1)
				s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, _ *http.Request) {
					if mime != "" {
						w.Header().Set("Content-Type", mime)
					}
					w.WriteHeader(404)
					wrote <- write(w)
				})
				resp, body := ask(t, s, "GET", "Accept", browser)
				if err := <-wrote; err != nil || body != site404["404.html"] || resp.status != 404 {
					t.Errorf("got %d, %.99q; the app got %v", resp.status, body, err)
				}
			})
		}
	}
}

// TestWaits proves that an answer which waits for its body goes out as the app sent it.
func TestWaits(t *testing.T) {
	for _, test := range []struct {
		name string
		app  http.HandlerFunc
		body string
	}{
		{"flushed before its body", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			w.(http.Flusher).Flush()
			io.WriteString(w, "<p>ours")
		}, "<p>ours"},
		{"with another status after it", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			w.WriteHeader(200)
			w.WriteHeader(103)
			io.WriteString(w, "<p>ours")
		}, "<p>ours"},
		{"with nothing written before", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			w.Write(nil)
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("<p>ours")}) // the client looks at it
		}, "<p>ours"},
		{"of no type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Content-Type")
			w.WriteHeader(404)
			w.(http.Flusher).Flush()
			io.WriteString(w, "<p>ours")
		}, "<p>ours"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Late")
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				test.app(w, r)
				w.Header().Set("X-Late", "1")
			})
			resp, body := ask(t, s, "GET", "Accept", browser)
			if resp.status != 404 || body != test.body || resp.trailer.Get("X-Late") != "1" || resp.header["X-Late"] != nil {
				t.Errorf("got %d, %q, the header %v and the trailers %v", resp.status, body, resp.header, resp.trailer)
			}
		})
	}
	t.Run("fields set between its header and its body", func(t *testing.T) {
		s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(404)
			w.Header().Set("X-Late", "1")
			io.WriteString(w, "<p>ours")
		})
		if resp, _ := ask(t, s, "GET", "Accept", browser); resp.header["X-Late"] != nil {
			t.Error("they are in the header")
		}
	})
	t.Run("a stream", func(t *testing.T) {
		read := make(chan struct{})
		s := serve(t, Config{Root: folder(t, site404), Intercept: true}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(503)
			w.(http.Flusher).Flush()
			<-read // the client has the header
			io.WriteString(w, "data: x\n\n")
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", browser)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		close(read)
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "data: x\n\n" {
			t.Errorf("got %q, %v", body, err)
		}
	})
	t.Run("a connection that is taken over", func(t *testing.T) {
		s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(426)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("by itself") // the client looks at it
			_ = rw.Flush()
		})
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n") // the answer tells
		all, err := io.ReadAll(bufio.NewReader(conn))
		if got := string(all); err != nil || !strings.HasPrefix(got, "HTTP/1.1 426 ") || !strings.HasSuffix(got, "by itself") || strings.Contains(got, "<h1>") {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("an app that breaks off", func(t *testing.T) {
		s := serve(t, Config{Root: folder(t, site404)}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			panic(http.ErrAbortHandler)
		})
		resp, err := s.Client().Get(s.URL)
		if err == nil {
			resp.Body.Close()
			t.Errorf("the client got a whole answer, %s", resp.Status)
		}
	})
}

func TestPages(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // of the error
	}{
		{"none", nil, "has no page; it must have one at least, named like 404.html, 4xx.html or 5xx.html"},
		{"other files only", map[string]string{"style.css": "", "404.svg": "", "index.html": ""}, "has no page"},
		{"beside other files", map[string]string{"404.html": "", "404.svg": "", "README": ""}, ""},
		{"of one status", map[string]string{"503.html": ""}, ""},
		{"as nginx has it", map[string]string{"404.html": "", "50x.html": ""}, "50x.html is not the name of a page; it must be like 404.html, 4xx.html or 5xx.html"},
		{"htm", map[string]string{"404.htm": ""}, "404.htm is not the name of a page"},
		{"in capitals", map[string]string{"4XX.html": ""}, "4XX.html is not the name of a page"},
		{"of no error", map[string]string{"404.html": "", "301.html": ""}, "301.html is not the name of a page"},
		{"a mistake in a page", map[string]string{"404.html": "{{if}}"}, "404.html:1: missing value for if"},
		{"what no page has", map[string]string{"404.html": "\n{{.Request}}"}, "404.html:2:"},
		{"what no page has, with an incident", map[string]string{"5xx.html": "{{if .Incident}}{{.Path}}{{end}}"}, "can't evaluate field Path"},
		{"what no page has, with one status", map[string]string{"5xx.html": "{{if eq .Status 599}}{{.Path}}{{end}}"}, "can't evaluate field Path"},
		{"as long as may be", map[string]string{"404.html": strings.Repeat("x", 1<<20)}, ""},
		{"too long", map[string]string{"404.html": strings.Repeat("x", 1<<20+1)}, "404.html is longer than 1 MiB; it must not be"},
	} {
		t.Run(test.name, func(t *testing.T) { tells(t, folder(t, test.files), test.want) })
	}
	t.Run("no folder", func(t *testing.T) {
		gone := folder(t, nil) + "/gone"
		if _, err := open(t, Config{Root: gone}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	dir := folder(t, nil)
	for name, make := range map[string]func(path string) error{
		"a folder":         func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":           func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link elsewhere": func(path string) error { return os.Symlink("/etc/passwd", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(string(dir), "404.html")
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Remove(path) }()
			tells(t, dir, map[string]string{
				"a folder": "404.html is not a file; it must be", "a pipe": "404.html is not a file; it must be", "a link elsewhere": "path escapes from parent",
			}[name])
		})
	}
}

// tells compares what building says of a folder, and what a check of the environment does.
func tells(t *testing.T, dir registry.Path, want string) {
	t.Helper()
	cfg := Config{Root: dir}
	_, built := open(t, cfg)
	var checked error
	for _, e := range cfg.Expects() {
		checked = errors.Join(checked, e.Look(context.Background()))
	}
	for who, err := range map[string]error{"building": built, "checking": checked} {
		switch {
		case want == "" && err != nil, want != "" && err == nil:
			t.Errorf("%s: got %v, want %q", who, err, want)
		case err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), string(dir))):
			t.Errorf("%s: got %v, want %q, with the folder", who, err, want)
		}
	}
}

// open builds the middleware as a stack does.
func open(t *testing.T, cfg Config) (*registry.Instance, error) {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(func() { i.Close() })
	}
	return i, err
}

func TestDepends(t *testing.T) {
	dir := folder(t, map[string]string{"404.html": "", "5xx.html": "", "style.css": ""})
	i, err := open(t, Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{string(dir), string(dir) + "/404.html", string(dir) + "/5xx.html"}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(i.Depends()))); diff != "" {
		t.Errorf("what it depends on (-want +got):\n%s", diff)
	}
}

// still is a ResponseWriter that costs nothing.
type still struct{ h http.Header }

func (s still) Header() http.Header               { return s.h }
func (still) WriteHeader(int)                     {}
func (still) Write(p []byte) (int, error)         { return len(p), nil }
func fine(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func TestFree(t *testing.T) {
	h := registrytest.Build(t, Component, Config{Root: folder(t, site404)}, nil)(http.HandlerFunc(fine))
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	w := still{make(http.Header)}
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n > 1 {
		t.Errorf("an answer that is no error costs %v allocations; want 1", n)
	}
}

func BenchmarkNoError(b *testing.B) {
	h := registrytest.Build(b, Component, Config{Root: folder(b, site404)}, nil)(http.HandlerFunc(fine))
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	w := still{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
