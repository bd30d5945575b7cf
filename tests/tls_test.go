package tests

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// write makes a folder with these files in it.
func write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read returns what is in a file.
func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// knowing returns a client that trusts the certificate in a file, and that makes a connection for each request
// unless it speaks HTTP/2.
func knowing(t *testing.T, file string, http2 bool) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(read(t, file))
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2, DisableKeepAlives: !http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestTLSPeers asks over TLS with other clients than Go's.
func TestTLSPeers(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:0", tls: {certificate: tls.pem, key: tls.pem}}]
stack: [errors, session, {use: finder, factories: {.cgi: cgi}}]
`,
		"site/index.html": "the page",
		"site/echo.cgi":   "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s ' \"$SERVER_PROTOCOL\" \"$HTTPS\"; cat\n",
		"tls.pem":         string(read(t, certificate(t))),
	})
	s := start(t, filepath.Join(dir, "stack.yaml"))
	url := strings.Replace(s.url, "http://", "https://", 1)
	for _, tt := range []struct {
		name, program string
		args          []string
		want          string
	}{
		{"curl", "curl", []string{"-sS", "--cacert", "tls.pem", url + "/"}, "the page"},
		{"curl over HTTP/2", "curl", []string{"-sS", "--http2", "--cacert", "tls.pem", "-d", "hello", url + "/echo.cgi"}, "HTTP/2.0 on hello"},
		{"curl over HTTP/1.1", "curl", []string{"-sS", "--http1.1", "--cacert", "tls.pem", "-d", "hello", url + "/echo.cgi"}, "HTTP/1.1 on hello"},
		{"curl over TLS 1.2", "curl", []string{"-sS", "--tls-max", "1.2", "--cacert", "tls.pem", url + "/"}, "the page"},
		{"curl without TLS", "curl", []string{"-sS", s.url + "/"}, "Client sent an HTTP request to an HTTPS server.\n"},
		{"nghttp", "nghttp", []string{"--no-verify-peer", "-d", "stack.yaml", url + "/echo.cgi"}, "HTTP/2.0 on servers: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), peer(t, tt.program), tt.args...)
			cmd.Dir = dir
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || !strings.HasPrefix(string(out), tt.want) {
				t.Errorf("%v: got %q; want %q\n%s", err, out, tt.want, stderr.String())
			}
		})
	}
}

// TestCertificateRenewed exchanges the certificate of a running server while clients ask all the time.
func TestCertificateRenewed(t *testing.T) {
	t.Parallel()
	first, second := certificate(t), certificate(t)
	dir := write(t, map[string]string{
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:0", tls: {certificate: tls/cert.pem, key: tls/key.pem}}]
stack: [errors, {use: finder, factories: {.cgi: cgi}}]
`,
		"site/index.html": "the page",
		"site/count.cgi":  "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; wc -c\n",
		"tls/cert.pem":    string(read(t, first)),
		"tls/key.pem":     string(read(t, first)),
	})
	s := start(t, filepath.Join(dir, "stack.yaml"))
	s.url = strings.Replace(s.url, "http://", "https://", 1)
	certFile, keyFile := filepath.Join(dir, "tls", "cert.pem"), filepath.Join(dir, "tls", "key.pem")
	both := filepath.Join(dir, "both.pem")
	if err := os.WriteFile(both, append(read(t, first), read(t, second)...), 0o600); err != nil {
		t.Fatal(err)
	}
	// serves checks which certificate a new connection gets.
	serves := func(file string) {
		t.Helper()
		if page := s.get(knowing(t, file, false), "/"); page.body != "the page" {
			t.Errorf("got %d, %q", page.status, page.body)
		}
	}
	serves(first)

	// An upload that begins before the change, and ends after it.
	body, more := io.Pipe()
	upload := make(chan string, 1)
	go func() {
		response, err := knowing(t, both, false).Post(s.url+"/count.cgi", "text/plain", body)
		if err != nil {
			upload <- err.Error()
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		upload <- fmt.Sprint(strings.TrimSpace(string(text)), " ", err)
	}()
	if _, err := io.WriteString(more, "before"); err != nil {
		t.Fatal(err)
	}

	stop := make(chan struct{})
	var asking sync.WaitGroup
	for _, http2 := range []bool{false, true} {
		client := knowing(t, both, http2)
		asking.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					t.Logf("%d requests, HTTP/2 %t", n, http2)
					return
				default:
				}
				response, err := client.Get(s.url + "/")
				if err != nil {
					t.Errorf("request %d, HTTP/2 %t: %v", n, http2, err)
					return
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || string(text) != "the page" {
					t.Errorf("request %d, HTTP/2 %t: %q, %v", n, http2, text, err)
					return
				}
			}
		})
	}

	// A certificate without its key is refused, and nothing changes.
	n := s.seen()
	replace(t, certFile, read(t, second))
	s.awaitAfter(n, "reload refused, the old generation serves on", nil)
	serves(first)
	// The key makes it whole.
	s.reload(func() { replace(t, keyFile, read(t, second)) })
	serves(second)
	close(stop)
	asking.Wait()

	if _, err := io.WriteString(more, " and after"); err != nil {
		t.Fatal(err)
	}
	more.Close()
	if got := <-upload; got != "16 <nil>" {
		t.Errorf("the upload counted %s\n%s", got, s.log())
	}
}

// TestAddresses adds an address to a running server, and takes it away.
func TestAddresses(t *testing.T) {
	t.Parallel()
	one, two := `listen: "127.0.0.1:0"`, `listen: ["127.0.0.1:0", "unix:run.sock"]`
	dir := write(t, map[string]string{
		"stack.yaml":      "servers: [{use: http, " + one + "}]\nstack: [errors, finder]\n",
		"site/index.html": "the page",
	})
	s := start(t, filepath.Join(dir, "stack.yaml"))
	socket := filepath.Join(dir, "run.sock")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	over := &http.Client{Transport: transport}
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("the socket is there before it is in the file")
	}
	var kept bool
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { kept = c.Reused }}
	s.get(http.DefaultClient, "/")
	for range 2 {
		s.reload(func() { edit(t, s.file, `listen: "127.0.0.1:0"`, two) })
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, s.url+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.do(http.DefaultClient, r); !kept {
			t.Error("a connection to the one address was closed since another was added")
		}
		for name, client := range map[string]*http.Client{"tcp": http.DefaultClient, "unix": over} {
			if page := s.get(client, "/"); page.body != "the page" {
				t.Errorf("%s: got %d, %q", name, page.status, page.body)
			}
		}
		s.reload(func() { edit(t, s.file, `listen: \[[^]]*\]`, one) })
		if _, err := net.Dial("unix", socket); err == nil {
			t.Error("the socket is there although it is no longer in the file")
		}
		if page := s.get(http.DefaultClient, "/"); page.body != "the page" {
			t.Errorf("at the other address: got %d, %q", page.status, page.body)
		}
	}
}

// TestProxyProtocol stands behind a haproxy that passes bytes on, TLS and all.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	program := peer(t, "haproxy")
	pem := certificate(t)
	dir := write(t, map[string]string{
		"stack.yaml": `servers:
  - {use: http, listen: "unix:clear.sock", proxy_protocol: unix}
  - {use: http, listen: "unix:tls.sock", proxy_protocol: unix, tls: {certificate: tls.pem, key: tls.pem}}
stack: [errors, {use: finder, factories: {.cgi: cgi}}]
`,
		"site/who.cgi": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s %s' \"$REMOTE_ADDR\" \"$SERVER_PORT\" \"$HTTPS\"\n",
		"tls.pem":      string(read(t, pem)),
	})
	s := start(t, filepath.Join(dir, "stack.yaml"))
	s.bound("unix:" + filepath.Join(dir, "tls.sock"))
	config := "global\n  log stderr local0\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
	address := make(map[string]string)
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		for _, socket := range []string{"clear", "tls"} {
			name := socket + "-" + version
			address[name] = reserve(t)
			config += fmt.Sprintf("listen %s\n  bind %s\n  server s unix@%s %s check inter 100ms\n", name, address[name], filepath.Join(dir, socket+".sock"), version)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(dir, "haproxy.pid")
	daemon(t, pid, program, "-D", "-f", filepath.Join(dir, "haproxy.cfg"), "-p", pid)
	for name, at := range address {
		t.Run(name, func(t *testing.T) {
			scheme, secure := "http", ""
			if strings.HasPrefix(name, "tls") {
				scheme, secure = "https", "on"
			}
			client := knowing(t, pem, false)
			// From an address that only the header tells of.
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			client.Transport.(*http.Transport).DialContext = dialer.DialContext
			response, err := client.Get(scheme + "://" + at + "/who.cgi")
			if err != nil {
				t.Fatalf("%v\n%s", err, s.log())
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			_, port, _ := strings.Cut(at, ":")
			if want := "127.0.0.2 " + port + " " + secure; err != nil || string(text) != want {
				t.Errorf("the script saw %q, %v; want %q", text, err, want)
			}
		})
	}
	// Who comes to the socket without a header isn't served.
	conn, err := net.Dial("unix", filepath.Join(dir, "clear.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /who.cgi HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("without a header it is %s", response.Status)
	}
}

// TestSchemeBehindProxy proves that it is one fact for all components whether a visitor came over TLS, when the
// proxy that he came through says so.
func TestSchemeBehindProxy(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"stack.yaml": `servers: [{use: http, listen: "127.0.0.1:0"}]
stack: [{use: real_ip, trusted: 127.0.0.1}, {use: https, hsts: 1h}, errors, session, {use: finder, factories: {.cgi: cgi, .html: template}}]
`,
		"site/count.html": `{{.Session.Add "n" 1}}`,
		"site/who.cgi":    "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n%s %s' \"$REMOTE_ADDR\" \"$HTTPS\"\n",
	})
	s := start(t, filepath.Join(dir, "stack.yaml"))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	through := func(scheme string) []string {
		return []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", scheme}
	}

	if page := s.get(client, "/who.cgi", through("https")...); page.body != "192.0.2.7 on" || page.header.Get("Strict-Transport-Security") != "max-age=3600" {
		t.Errorf("over TLS a script saw %q, and %v", page.body, page.header)
	}
	contains(t, "the session's cookie", s.get(client, "/count", through("https")...).header.Get("Set-Cookie"), "; Secure")
	if page := s.get(client, "/count", through("http")...); page.status != http.StatusPermanentRedirect {
		t.Errorf("without TLS the page is %d", page.status)
	}
}
