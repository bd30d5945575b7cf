package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// certify makes the certificate that site.yaml asks for.
func certify(t *testing.T, stacks string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost", "www.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(stacks, "site", "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// surfer is a browser that knows the certificate.
func surfer(t *testing.T, site string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(site, "tls", "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(text)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: known}, ForceAttemptHTTP2: true, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar}
}

// stay lets a client look at redirects.
func stay(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

func askSite(t *testing.T, s *server) {
	site := filepath.Join(filepath.Dir(s.file), "site")
	client := surfer(t, site)
	plain, secured := s.url, s.bound("127.0.0.1:00")
	s.url = "https://" + secured
	_, port, err := net.SplitHostPort(secured)
	if err != nil {
		t.Fatal(err)
	}
	var spans struct {
		sync.Mutex
		strings.Builder
	}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		spans.Lock()
		defer spans.Unlock()
		if _, err := io.Copy(&spans, r.Body); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("the collector was asked for %s: %v", r.URL, err)
		}
	}))
	defer collector.Close()
	s.reload(func() { edit(t, s.file, `https, port: 8443`, "https, port: "+port) })
	s.reload(func() {
		edit(t, s.file, `off: true, endpoint: "[^"]*", service: site, ratio: 0.1`, `endpoint: "`+collector.URL+`", service: site, ratio: 1`)
	})
	field := func(what string, a answer, name, want string) {
		t.Helper()
		if got := strings.Join(a.header[name], "; "); got != want {
			t.Errorf("%s has the %s %q, want %q", what, name, got, want)
		}
	}
	status := func(what string, a answer, want int) {
		t.Helper()
		if a.status != want {
			t.Errorf("%s answered %d, want %d", what, a.status, want)
		}
	}
	leave := func(note string) answer {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, s.url+"/note", strings.NewReader(url.Values{"note": {note}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return s.do(stay(client), r)
	}

	// Without TLS.
	without := &server{t: t, url: plain}
	moved := without.get(stay(client), "/note?a=b")
	status("a page without TLS", moved, http.StatusPermanentRedirect)
	field("a page without TLS", moved, "Location", s.url+"/note?a=b")
	health := without.get(stay(client), "/health")
	status("the health", health, http.StatusOK)

	// A page and what comes with it.
	page := s.get(client, "/")
	contains(t, "the start page", page.body, "<h1>A site for the public</h1>")
	field("the start page", page, "X-Content-Type-Options", "nosniff")
	field("the start page", page, "Cache-Control", "no-cache")
	field("the start page", page, "Set-Cookie", "")
	if len(page.header.Get("X-Request-Id")) != 26 || page.header.Get("Content-Security-Policy") == "" {
		t.Errorf("the start page has %v", page.header)
	}
	small := s.get(client, "/", "Accept-Encoding", "gzip, br, zstd")
	if len(small.body) >= len(page.body) || small.header.Get("Content-Encoding") == "" {
		t.Errorf("the start page is %d bytes, and %d of %q compressed", len(page.body), len(small.body), small.header.Get("Content-Encoding"))
	}
	field("the style", s.get(client, "/style.css"), "Cache-Control", "public, max-age=3600")

	// A visitor, and one who sends too much, and too often.
	kept := leave("buy milk")
	status("the form", kept, http.StatusSeeOther)
	if cookie := kept.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-session=") || !strings.Contains(cookie, "; Secure") {
		t.Errorf("the visitor got the cookie %q", cookie)
	}
	contains(t, "the visitor's note", s.get(client, "/note").body, "<q>buy milk</q>")
	status("a form that is too long", leave(strings.Repeat("a", 64<<10)), http.StatusRequestEntityTooLarge)
	for range 3 {
		status("the form", leave("buy milk"), http.StatusSeeOther)
	}
	hasty := leave("buy more")
	status("the form, at last,", hasty, http.StatusTooManyRequests)

	www, err := http.NewRequest(http.MethodGet, s.url+"/page?a=b", nil)
	if err != nil {
		t.Fatal(err)
	}
	www.Host = "www.example.org"
	field("the other name", s.do(stay(client), www), "Location", "https://example.org/page?a=b")

	// A page that fails, and whom that is told.
	replace(t, filepath.Join(site, "pages", "broken.html"), []byte(`{{fail "the shelf came down"}}`))
	broken := s.get(client, "/broken")
	status("the page that fails", broken, http.StatusInternalServerError)
	field("the page that fails", broken, "X-Content-Type-Options", "nosniff")
	ours := s.get(client, "/broken", "Accept", "text/html")
	status("the page that fails, in a browser,", ours, http.StatusInternalServerError)
	field("the page that fails, in a browser,", ours, "Content-Security-Policy", page.header.Get("Content-Security-Policy"))
	contains(t, "the page that fails, in a browser,", ours.body, "Something broke", "<code>"+ours.header.Get("Incident-Id")+"</code>")
	s.reload(func() { replace(t, filepath.Join(site, "errors", "404.html"), []byte("{{.Status}}, and nothing else")) })
	contains(t, "what isn't there", s.get(client, "/nothing", "Accept", "text/html").body, "404, and nothing else")
	t.Run("mail", func(t *testing.T) {
		server, letters := receiveMail(t)
		s.reload(func() { edit(t, s.file, `localhost:25`, server) })
		id := s.get(client, "/broken").header.Get("Incident-Id")
		contains(t, "the mail", <-letters, "the shelf came down", id)
	})

	metrics := s.get(client, "/metrics")
	contains(t, "the metrics", metrics.body,
		`stackd_http_requests_total{method="POST",route="POST /",status="303"} 4`,
		`stackd_http_requests_total{method="POST",route="POST /",status="413"} 1`,
		`stackd_http_requests_total{method="POST",route="POST /",status="429"} 1`,
		`stackd_http_requests_total{method="GET",route="/health",status="200"} 1`, "\nstackd_generation ")
	status("the metrics, to somebody else,", s.get(client, "/metrics", "X-Forwarded-For", "192.0.2.1"), http.StatusNotFound)

	s.stop() // what waits is written
	lines := accessLog(t, filepath.Join(site, "var", "access.log"))
	for what, want := range map[string]map[string]any{
		page.header.Get("X-Request-Id"):   {"url": "/", "status": 200.0, "answered_by": "finder", "proto": "HTTP/2.0"},
		hasty.header.Get("X-Request-Id"):  {"url": "/note", "status": 429.0, "answered_by": "form_limit", "route": "POST /"},
		moved.header.Get("X-Request-Id"):  {"url": "/note?a=b", "status": 308.0, "answered_by": "https"},
		broken.header.Get("X-Request-Id"): {"url": "/broken", "status": 500.0, "answered_by": "finder", "incident": broken.header.Get("Incident-Id")},
	} {
		line := lines[what]
		for name, value := range want {
			if line[name] != value {
				t.Errorf("the line about %s has the %s %v, want %v:\n%v", want["url"], name, line[name], value, line)
			}
		}
		generation, trace := line["generation"], line["trace_id"]
		s.await("generation serves", func(r record) bool { return r["generation"] == generation })
		if id, ok := trace.(string); !ok || len(id) != 32 {
			t.Errorf("the line about %s has the trace %v", want["url"], trace)
		}
	}
	if line, ok := lines[health.header.Get("X-Request-Id")]; ok {
		t.Errorf("the health is in the log: %v", line)
	}
	collector.Close() // it has all
	contains(t, "what the collector got", spans.String(), "service.name", "site", "POST /", "http.response.status_code")

	again := start(t, s.file)
	again.url = "https://" + again.bound("127.0.0.1:00")
	contains(t, "the visitor's note, after a restart,", again.get(client, "/note").body, "<q>buy milk</q>")
}

// accessLog returns the lines of a log by the ids of the requests.
func accessLog(t *testing.T, file string) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]map[string]any)
	for line := range strings.Lines(string(text)) {
		var members map[string]any
		if err := json.Unmarshal([]byte(line), &members); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		id, _ := members["request_id"].(string)
		lines[id] = members
	}
	return lines
}
