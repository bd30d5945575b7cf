package compress

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/registrytest"
)

func TestComponent(t *testing.T) {
	accepting := func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip, br, zstd") }
	registrytest.Run(t, Component,
		registrytest.Case[Config]{Name: "client accepts nothing"},
		registrytest.Case[Config]{
			Name:     "types don't match",
			Request:  accepting,
			Settings: func(*testing.T) Config { return config(func(c *Config) { c.Types = []string{"image/x-icon"} }) },
		},
		registrytest.Case[Config]{
			Name:    "responses too short",
			Request: accepting,
			Settings: func(*testing.T) Config {
				// The longest that the kit has for one that isn't flushed; types are by the content.
				return config(func(c *Config) { c.MinSize, c.Types = 1<<20, []string{"application/x-probe"} })
			},
		},
	)
}

// config returns the default settings, changed by f.
func config(f func(c *Config)) Config {
	c := Component.Default
	if f != nil {
		f(&c)
	}
	return c
}

// wrap builds the middleware as a stack does.
func wrap(t testing.TB, cfg Config, app http.HandlerFunc) http.Handler {
	t.Helper()
	reg, err := registry.New(Component)
	if err != nil {
		t.Fatal(err)
	}
	i, err := reg.All()[0].Open(t.Context(), &cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	h := i.Product.(registry.Wrap)(app)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, new(environ.Base).Open(r)) })
}

// serve is wrap behind a real server.
func serve(t *testing.T, cfg Config, app http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(wrap(t, cfg, app))
	s.EnableHTTP2 = false
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// client doesn't touch encodings.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// ask sends a request whose header fields are given as names and values. The caller closes the body.
func ask(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// decoder undoes an encoding.
func decoder(t *testing.T, encoding string, r io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case "br":
		return brotli.NewReader(r)
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	case "":
		return r
	}
	t.Fatalf("the encoding is %q", encoding)
	return nil
}

// text is a body worth compressing.
var text = strings.Repeat("All work and no play makes Jack a dull boy.\n", 500)

func TestEncodings(t *testing.T) {
	for _, test := range []struct {
		name    string
		accept  []string
		offered []string
		want    string
	}{
		{"nothing said", nil, nil, ""},
		{"empty", []string{""}, nil, ""},
		{"gzip", []string{"gzip"}, nil, "gzip"},
		{"its old name", []string{"x-gzip"}, nil, "gzip"},
		{"capitals", []string{"GZIP;Q=0.5"}, nil, "gzip"},
		{"brotli", []string{"br"}, nil, "br"},
		{"zstd", []string{"zstd"}, nil, "zstd"},
		{"as a browser", []string{"gzip, deflate, br, zstd"}, nil, "zstd"},
		{"as a browser, other order", []string{"gzip, deflate, br, zstd"}, []string{"br", "gzip", "zstd"}, "br"},
		{"one isn't offered", []string{"gzip, br"}, []string{"gzip"}, "gzip"},
		{"two fields", []string{"deflate", "gzip"}, nil, "gzip"},
		{"weights", []string{"zstd;q=0.3, br;q=0.5, gzip;q=0.8"}, nil, "gzip"},
		{"anything", []string{"*"}, nil, "zstd"},
		{"anything but", []string{"zstd;q=0, *"}, nil, "br"},
		{"nothing", []string{"*;q=0"}, nil, ""},
		{"refused", []string{"gzip;q=0"}, nil, ""},
		{"refused at length", []string{"gzip;q=0.000"}, nil, ""},
		{"rather as it is", []string{"gzip;q=0.5, identity"}, nil, ""},
		{"identity as well", []string{"identity, gzip"}, nil, "gzip"},
		{"unknown", []string{"deflate, compress"}, nil, ""},
		{"bad weight", []string{"gzip;q=much"}, nil, ""},
		{"weight too high", []string{"gzip;q=2"}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(nil)
			if test.offered != nil {
				cfg.Encodings = test.offered
			}
			url := serve(t, cfg, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				w.Header().Set("Content-Length", strconv.Itoa(len(text)))
				io.WriteString(w, text)
			})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header["Accept-Encoding"] = test.accept
			resp, err := client(t).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			sent, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			encoding := resp.Header.Get("Content-Encoding")
			if encoding != test.want {
				t.Fatalf("got the encoding %q, want %q", encoding, test.want)
			}
			got, err := io.ReadAll(decoder(t, encoding, bytes.NewReader(sent)))
			if err != nil || string(got) != text {
				t.Fatalf("the body is of %d bytes (%v), want the text", len(got), err)
			}
			if small := len(sent) < len(text)/10; small != (test.want != "") {
				t.Errorf("%d bytes of %d were sent", len(sent), len(text))
			}
			if vary := resp.Header["Vary"]; !slices.Equal(vary, []string{"Accept-Encoding"}) {
				t.Errorf("Vary is %q", vary)
			}
			if resp.ContentLength >= 0 && resp.ContentLength != int64(len(sent)) {
				t.Errorf("the length announced is %d, and %d bytes came", resp.ContentLength, len(sent))
			}
		})
	}
}

func TestEligible(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header []string
		method string
		ask    []string
		body   string
		want   bool
		vary   bool
	}{
		{name: "HTML", header: []string{"Content-Type", "text/html; charset=utf-8"}, body: text, want: true, vary: true},
		{name: "type in capitals", header: []string{"Content-Type", "Text/HTML"}, body: text, want: true, vary: true},
		{name: "suffix", header: []string{"Content-Type", "image/svg+xml"}, body: text, want: true, vary: true},
		{name: "exact", header: []string{"Content-Type", "application/json"}, body: text, want: true, vary: true},
		{name: "exact is not a prefix", header: []string{"Content-Type", "application/json5"}, body: text},
		{name: "an image", header: []string{"Content-Type", "image/png"}, body: text},
		{name: "no type, text", body: text, want: true, vary: true},
		{name: "no type, an image", body: "\x89PNG\x0D\x0A\x1A\x0A" + text},
		{name: "no type on purpose", header: []string{"Content-Type", ""}, body: text},
		{name: "an error", status: 404, header: []string{"Content-Type", "text/html"}, body: text, want: true, vary: true},
		{name: "too short", header: []string{"Content-Type", "text/html"}, body: text[:1023], vary: true},
		{name: "long enough", header: []string{"Content-Type", "text/html"}, body: text[:1024], want: true, vary: true},
		{name: "too short, announced", header: []string{"Content-Type", "text/html", "Content-Length", "1023"}, body: text[:1023]},
		{name: "long enough, announced", header: []string{"Content-Type", "text/html", "Content-Length", "1024"}, body: text[:1024], want: true, vary: true},
		{name: "nothing written", header: []string{"Content-Type", "text/html"}},
		{name: "empty", status: 200, header: []string{"Content-Type", "text/html"}, vary: true},
		{name: "compressed already", header: []string{"Content-Type", "text/html", "Content-Encoding", "br"}, body: text},
		{name: "no-transform", header: []string{"Content-Type", "text/html", "Cache-Control", "private, no-transform"}, body: text},
		{name: "a digest", header: []string{"Content-Type", "text/html", "Content-Digest", "sha-256=:AA==:"}, body: text},
		{name: "a part", status: 206, header: []string{"Content-Type", "text/html", "Content-Range", "bytes 0-21999/99999"}, body: text},
		{name: "a range was asked for", ask: []string{"Range", "bytes=0-"}, header: []string{"Content-Type", "text/html"}, body: text, vary: true},
		{name: "no content", status: 204},
		{name: "events", header: []string{"Content-Type", "text/event-stream"}, body: text},
		{name: "HEAD, announced", status: 200, method: "HEAD", header: []string{"Content-Type", "text/html", "Content-Length", "22000"}, want: true, vary: true},
		{name: "HEAD, written", method: "HEAD", header: []string{"Content-Type", "text/html"}, body: text, want: true, vary: true},
		{name: "HEAD, announced an image", method: "HEAD", header: []string{"Content-Type", "image/png", "Content-Length", "22000"}},
		{name: "a name with spaces in Vary", header: []string{"Content-Type", "text/html", "Vary", "Cookie, accept-encoding"}, body: text, want: true, vary: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, config(nil), func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(test.header); i += 2 {
					if w.Header()[test.header[i]] = []string{test.header[i+1]}; test.header[i+1] == "" {
						w.Header()[test.header[i]] = nil
					}
				}
				if test.status != 0 {
					w.WriteHeader(test.status)
				}
				// In pieces that are shorter than min_size.
				for piece := range slices.Chunk([]byte(test.body), 1000) {
					if _, err := w.Write(piece); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
						t.Error(err)
					}
				}
			})
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			resp := ask(t, method, url, append([]string{"Accept-Encoding", "gzip"}, test.ask...)...)
			defer resp.Body.Close()
			encoding := resp.Header.Get("Content-Encoding")
			if got := encoding == "gzip"; got != test.want {
				t.Fatalf("the encoding is %q, want it compressed: %t", encoding, test.want)
			}
			if vary := lists(resp.Header["Vary"], "Accept-Encoding"); vary != test.vary || len(resp.Header["Vary"]) > 1 {
				t.Errorf("Vary is %q, want Accept-Encoding: %t", resp.Header["Vary"], test.vary)
			}
			if want := max(test.status, 200); resp.StatusCode != want {
				t.Errorf("the status is %d, want %d", resp.StatusCode, want)
			}
			if method == http.MethodHead {
				return
			}
			if encoding == "br" {
				encoding = "" // as the app said, wrongly
			}
			got, err := io.ReadAll(decoder(t, encoding, resp.Body))
			if err != nil || string(got) != test.body {
				t.Errorf("the body is of %d bytes (%v), want %d", len(got), err, len(test.body))
			}
			if _, typed := resp.Header["Content-Type"]; test.want && !typed {
				t.Error("it has no Content-Type")
			}
		})
	}
}

func TestEventsByName(t *testing.T) {
	h := wrap(t, config(func(c *Config) { c.Types = []string{"text/event-stream"} }), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, text)
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Encoding"); got != "gzip" {
		t.Errorf("the encoding is %q, want gzip", got)
	}
}

// Each piece that is flushed can be read before the app goes on.
func TestFlush(t *testing.T) {
	for _, encoding := range Component.Default.Encodings {
		t.Run(encoding, func(t *testing.T) {
			next := make(chan struct{})
			url := serve(t, config(nil), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				for _, piece := range []string{"one,", "two,", text} {
					io.WriteString(w, piece)
					if err := http.NewResponseController(w).Flush(); err != nil {
						t.Error(err)
					}
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
				}
			})
			resp := ask(t, http.MethodGet, url, "Accept-Encoding", encoding)
			defer resp.Body.Close()
			if got := resp.Header.Get("Content-Encoding"); got != encoding {
				t.Fatalf("the encoding is %q", got)
			}
			body := decoder(t, encoding, resp.Body)
			for _, piece := range []string{"one,", "two,", text} {
				got := make([]byte, len(piece))
				if _, err := io.ReadFull(body, got); err != nil || string(got) != piece {
					t.Fatalf("got %.20q (%v), want %.20q", got, err, piece)
				}
				next <- struct{}{}
			}
			if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
				t.Errorf("then came %.20q (%v)", rest, err)
			}
		})
	}
}

// A response that is held back has the header which it was sent with, and its trailers.
func TestHeldHeader(t *testing.T) {
	for name, body := range map[string]string{"plain": "short", "compressed": text} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, config(nil), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Trailer", "X-Sum")
				w.Header().Set("X-Kept", "1")
				w.WriteHeader(http.StatusAccepted)
				w.Header().Set("X-Kept", "2")
				w.Header().Set("X-Late", "1")
				w.Header().Set("X-Sum", "3")
				io.WriteString(w, body)
			})
			resp := ask(t, http.MethodGet, url, "Accept-Encoding", "gzip")
			defer resp.Body.Close()
			got, err := io.ReadAll(decoder(t, resp.Header.Get("Content-Encoding"), resp.Body))
			if err != nil || string(got) != body {
				t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(body))
			}
			if kept := resp.Header.Get("X-Kept"); resp.StatusCode != http.StatusAccepted || kept != "1" || resp.Header.Get("X-Late") != "" {
				t.Errorf("got %d with %v", resp.StatusCode, resp.Header)
			}
			if sum := resp.Trailer.Get("X-Sum"); sum != "3" {
				t.Errorf("the trailer is %q, want 3", sum)
			}
		})
	}
}

func TestETag(t *testing.T) {
	url := serve(t, config(nil), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader(text))
	})
	first := ask(t, http.MethodGet, url, "Accept-Encoding", "gzip")
	defer first.Body.Close()
	if tag := first.Header.Get("Etag"); tag != `W/"v1"` || first.Header.Get("Accept-Ranges") != "" {
		t.Fatalf("the compressed response has the ETag %s and Accept-Ranges %q", tag, first.Header.Get("Accept-Ranges"))
	}
	for _, test := range []struct {
		name   string
		header []string
		status int
		tag    string
		body   string
	}{
		{"confirmed", []string{"Accept-Encoding", "gzip", "If-None-Match", `W/"v1"`}, 304, `W/"v1"`, ""},
		{"confirmed among others", []string{"Accept-Encoding", "gzip", "If-None-Match", `"v0", W/"v1"`}, 304, `W/"v1"`, ""},
		{"confirmed as it is", []string{"If-None-Match", `"v1"`}, 304, `"v1"`, ""},
		{"as it is", nil, 200, `"v1"`, text},
		{"a part", []string{"Accept-Encoding", "gzip", "Range", "bytes=4-7"}, 206, `"v1"`, text[4:8]},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := ask(t, http.MethodGet, url, test.header...)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != test.status || resp.Header.Get("Etag") != test.tag || string(body) != test.body {
				t.Errorf("got %d %s with %d bytes (%v), want %d %s with %d", resp.StatusCode, resp.Header.Get("Etag"), len(body), err, test.status, test.tag, len(test.body))
			}
			if test.status == 304 && resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("Vary is %q", resp.Header["Vary"])
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	cookie := []string{"Cookie", "session=1"}
	for _, test := range []struct {
		name     string
		header   []string
		response []string
		allow    bool
		want     bool
	}{
		{name: "no credentials", header: []string{"Sec-Fetch-Site", "cross-site"}, want: true},
		{name: "a cookie from elsewhere", header: append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...)},
		{name: "a cookie from a sister site", header: append([]string{"Sec-Fetch-Site", "same-site"}, cookie...)},
		{name: "a cookie from here", header: append([]string{"Sec-Fetch-Site", "same-origin"}, cookie...), want: true},
		{name: "a cookie by the visitor", header: append([]string{"Sec-Fetch-Site", "none"}, cookie...), want: true},
		{name: "both", header: append([]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Site", "cross-site"}, cookie...)},
		{name: "a password from elsewhere", header: []string{"Sec-Fetch-Site", "cross-site", "Authorization", "Basic eDp5"}},
		{name: "a cookie is set", header: []string{"Sec-Fetch-Site", "cross-site"}, response: []string{"Set-Cookie", "session=1"}},
		{name: "public", header: append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...), response: []string{"Cache-Control", "max-age=60, public"}, want: true},
		{name: "allowed", header: append([]string{"Sec-Fetch-Site", "cross-site"}, cookie...), allow: true, want: true},
		{name: "nobody says", header: cookie},
		{name: "origin here", header: append([]string{"Origin", "http://site.example"}, cookie...), want: true},
		{name: "origin elsewhere, referer here", header: append([]string{"Origin", "http://other.example", "Referer", "http://site.example/"}, cookie...)},
		{name: "no origin to speak of", header: append([]string{"Origin", "null"}, cookie...)},
		{name: "referer here", header: append([]string{"Referer", "http://site.example/page"}, cookie...), want: true},
		{name: "referer elsewhere", header: append([]string{"Referer", "http://other.example/site.example/"}, cookie...)},
		{name: "referer with our name before an at", header: append([]string{"Referer", "http://site.example@other.example/"}, cookie...)},
		{name: "referer with another port", header: append([]string{"Referer", "http://site.example:81/"}, cookie...)},
		{name: "referer here, without TLS, behind a proxy with", header: append([]string{"Referer", "http://site.example/", "X-Forwarded-Proto", "https"}, cookie...)},
		{name: "referer here, behind a proxy with TLS", header: append([]string{"Referer", "https://site.example/", "X-Forwarded-Proto", "https"}, cookie...), want: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := wrap(t, config(func(c *Config) { c.AllowBREACH = test.allow }), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				for i := 0; i < len(test.response); i += 2 {
					w.Header().Set(test.response[i], test.response[i+1])
				}
				io.WriteString(w, text)
			})
			r := httptest.NewRequest(http.MethodGet, "http://site.example/", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			for i := 0; i < len(test.header); i += 2 {
				r.Header.Add(test.header[i], test.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != test.want {
				t.Errorf("compressed: %t, want %t", got, test.want)
			}
			if w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("Vary is %q", w.Header()["Vary"])
			}
		})
	}
}

// A body that isn't what was announced is never taken for a whole one.
func TestAnnouncedLength(t *testing.T) {
	for name, n := range map[string]int{"too short": len(text) - 1, "too long": len(text) + 1} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, config(nil), func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.Header().Set("Content-Length", strconv.Itoa(len(text)))
				_, err := io.WriteString(w, (text + "x")[:n])
				if tooLong := n > len(text); tooLong != errors.Is(err, http.ErrContentLength) {
					t.Errorf("the write returned %v", err)
				}
			})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Encoding", "gzip")
			resp, err := client(t).Do(r)
			if err != nil {
				return // cut before the header: as good
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("the client got %d bytes, as if they were the whole", len(body))
			}
		})
	}
}

// An app that panics leaves a response that is cut, and an encoder that works for the next one.
func TestPanic(t *testing.T) {
	fail := true
	h := wrap(t, config(nil), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, text)
		if fail {
			panic(http.ErrAbortHandler)
		}
	})
	for range 3 {
		for _, encoding := range Component.Default.Encodings {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", encoding)
			w := httptest.NewRecorder()
			func() {
				defer func() {
					if p := recover(); (p == any(http.ErrAbortHandler)) != fail {
						t.Errorf("%s: got the panic %v", encoding, p)
					}
				}()
				h.ServeHTTP(w, r)
			}()
			body, err := io.ReadAll(decoderOf(t, encoding, w.Body))
			if whole := err == nil && string(body) == text; whole == fail {
				t.Errorf("%s: got a whole answer: %t (%v)", encoding, whole, err)
			}
		}
		fail = !fail
	}
}

// decoderOf is decoder, where the beginning may be missing already.
func decoderOf(t *testing.T, encoding string, body *bytes.Buffer) io.Reader {
	if body.Len() == 0 {
		return strings.NewReader("")
	}
	return decoder(t, encoding, body)
}

func TestValidate(t *testing.T) {
	for name, ok := range map[string]bool{
		"text/html": true, "text/*": true, "+json": true, "application/vnd.ms-fontobject": true,
		"": false, "text": false, "text/": false, "/html": false, "*/*": false, "te*/html": false, "text/h*": false, "+": false, "+a/b": false,
		"text/html; charset=utf-8": false, "text/html, text/css": false,
	} {
		t.Run(name, func(t *testing.T) {
			if err := (Config{Types: []string{name}}).Validate(); (err == nil) != ok {
				t.Errorf("got %v, want it valid: %t", err, ok)
			}
		})
	}
}
