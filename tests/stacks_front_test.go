package tests

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// askFront asks as the proxy on this machine that the stack trusts.
func askFront(t *testing.T, s *server) {
	const visitor = "192.0.2.7"
	dir := filepath.Join(filepath.Dir(s.file), "front")
	status := func(what string, a answer, want int) {
		t.Helper()
		if a.status != want {
			t.Errorf("%s answered %d, want %d", what, a.status, want)
		}
	}
	field := func(what string, a answer, name, want string) {
		t.Helper()
		if got := strings.Join(a.header[name], "; "); got != want {
			t.Errorf("%s has the %s %q, want %q", what, name, got, want)
		}
	}
	get := func(path string, header ...string) answer {
		t.Helper()
		return s.get(http.DefaultClient, path, append(header, "X-Forwarded-For", "10.9.9.9, "+visitor)...)
	}

	start := get("/")
	status("the start page", start, http.StatusOK)
	contains(t, "the start page", start.body, "The front of a site")
	field("the start page", start, "Cache-Control", "no-cache")
	field("the start page", start, "X-Content-Type-Options", "nosniff")
	field("the start page", start, "X-Frame-Options", "DENY")
	if id := start.header.Get("X-Request-Id"); len(id) != 26 {
		t.Errorf("the start page has the request id %q", id)
	}
	field("the style", get("/style.css"), "Cache-Control", "public, max-age=3600")
	field("the piece for others", get("/embed.html"), "X-Frame-Options", "")
	missing := get("/missing")
	status("a page that isn't there", missing, http.StatusNotFound)
	field("a page that isn't there", missing, "Referrer-Policy", "same-origin")
	field("a page that isn't there", missing, "Cache-Control", "")

	hello := get("/hello/ada?more=1")
	contains(t, "the greeting", hello.body, "Hello, ada&more=1. You asked for /hello/ada?more=1, from "+visitor+".")

	// Of another origin.
	allowed := get("/api/status.json", "Origin", "https://app.example.org")
	field("the API", allowed, "Access-Control-Allow-Origin", "https://app.example.org")
	contains(t, "the API", allowed.body, `"fine"`)
	field("the API, for another origin,", get("/api/status.json", "Origin", "https://evil.example"), "Access-Control-Allow-Origin", "")
	field("the start page, for the origin of the API,", get("/", "Origin", "https://app.example.org"), "Access-Control-Allow-Origin", "")

	// More than a form.
	r, err := http.NewRequest(http.MethodPost, s.url+"/hello.cgi", strings.NewReader(strings.Repeat("a", 64<<10+1)))
	if err != nil {
		t.Fatal(err)
	}
	status("a form that is too long", s.do(http.DefaultClient, r), http.StatusRequestEntityTooLarge)

	// Who may come in.
	private := func(password, id string) answer {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, s.url+"/private/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("ada", password)
		r.Header.Set("X-Request-Id", id)
		r.Header.Set("X-Forwarded-For", visitor)
		return s.do(http.DefaultClient, r)
	}
	status("the private part, to nobody,", get("/private/"), http.StatusUnauthorized)
	status("the private part, to a wrong password,", private("guess", ""), http.StatusUnauthorized)
	inside := private("sesame", "forged")
	status("the private part", inside, http.StatusOK)
	contains(t, "the private part", inside.body, "Only you can read this, ada. Your request is "+inside.header.Get("X-Request-Id"))
	field("the private part", inside, "Cache-Control", "no-store")

	// Closed, and open again.
	flag := filepath.Join(dir, "var", "closed")
	s.reload(func() { replace(t, flag, nil) })
	closed := get("/")
	status("the closed site", closed, http.StatusServiceUnavailable)
	field("the closed site", closed, "Retry-After", "300")
	field("the closed site", closed, "X-Frame-Options", "DENY")
	contains(t, "the closed site", closed.body, "Closed for a moment")
	status("what watches the server", get("/health"), http.StatusOK)
	s.reload(func() {
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
	})
	status("the start page, open again,", get("/"), http.StatusOK)

	// Who was removed is out.
	s.reload(func() { replace(t, filepath.Join(dir, "etc", "users.htpasswd"), []byte("# nobody\n")) })
	status("the private part, to who was removed,", private("sesame", ""), http.StatusUnauthorized)

	log, err := os.ReadFile(filepath.Join(dir, "var", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`192\.0\.2\.7 - - \[[^]]+\] "GET / HTTP/1\.1" 200 \d+ "-" "Go-http-client/1\.1"`,
		`192\.0\.2\.7 - - \[[^]]+\] "GET /hello/ada\?more=1 HTTP/1\.1" 200 \d+ `,
		`192\.0\.2\.7 - ada \[[^]]+\] "GET /private/ HTTP/1\.1" 200 \d+ `,
		`192\.0\.2\.7 - - \[[^]]+\] "GET /private/ HTTP/1\.1" 401 \d+ `,
		`127\.0\.0\.1 - - \[[^]]+\] "POST /hello\.cgi HTTP/1\.1" 413 \d+ `,
		`192\.0\.2\.7 - - \[[^]]+\] "GET / HTTP/1\.1" 503 \d+ `,
	} {
		if !regexp.MustCompile(`(?m)^` + line).Match(log) {
			t.Errorf("the access log has no line like %s:\n%s", line, log)
		}
	}
	if strings.Contains(string(log), "/health") || strings.Contains(string(log), "10.9.9.9") {
		t.Errorf("the access log has what watches the server, or an address that the visitor made up:\n%s", log)
	}
}
