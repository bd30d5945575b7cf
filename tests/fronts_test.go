package tests

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// said is what the script say.cgi answers with: what it is told that doesn't depend on who asks it, and the body.
const said = `#!/bin/sh
case $QUERY_STRING in
	busy) printf 'Status: 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Type: text/plain\r\n\r\nlater\n'; exit;;
	cookies) printf 'Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/\r\nX-Odd: "; =,\r\nContent-Type: text/plain\r\n\r\nhere\n'; exit;;
	moved) printf 'Location: https://example.org/x?y=%%20\r\n\r\n'; exit;;
	up) printf 'Content-Type: text/plain\r\n\r\n%s\n' "$(cksum)"; exit;; # a server in front may stop sending when the answer begins
	wait) printf 'Content-Type: text/event-stream\r\n\r\ndata: first\n\n'; read -r line <gate; printf 'data: %s\n\n' "$line"; exit;;
	nothing) printf 'Status: 204 No Content\r\n\r\n'; exit;;
	who) printf 'Content-Type: text/plain\r\n\r\n%s %s\n' "$REMOTE_ADDR" "$HTTPS"; exit;;
esac
printf 'Content-Type: application/octet-stream\r\n\r\n'
for name in REQUEST_METHOD REQUEST_URI SCRIPT_NAME PATH_INFO QUERY_STRING CONTENT_TYPE CONTENT_LENGTH HTTP_X_A HTTP_COOKIE HTTP_AUTHORIZATION HTTP_PROXY HTTP_CONNECTION SERVER_PROTOCOL; do
	eval "printf '%s=%s\n' $name \"\$$name\""
done
exec cat
`

// addPages adds to the site of a copy of stacks/ what compare asks for.
func addPages(t *testing.T, stacks string) {
	t.Helper()
	site := filepath.Join(stacks, "webware", "site")
	for name, text := range map[string]string{
		"say.cgi": said, "a b \u00e9.txt": "A name with a blank and a letter that isn't ASCII.\n",
		"large.bin": string(large), "empty.txt": "",
	} {
		if err := os.WriteFile(filepath.Join(site, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(site, "gate"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stream asks for a page of which the second part is made when the first one has arrived.
func stream(t *testing.T, s *server, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/say.cgi?wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	const first, second = "data: first\n\n", "data: second\n\n"
	part := make([]byte, len(first))
	if _, err := io.ReadFull(response.Body, part); err != nil || string(part) != first {
		t.Fatalf("the first part is %q (%v)", part, err)
	}
	gate := filepath.Join(filepath.Dir(s.file), "webware", "site", "gate")
	if err := os.WriteFile(gate, []byte("second\n"), 0o600); err != nil { // the script waits for it
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != second {
		t.Errorf("then comes %q (%v)", rest, err)
	}
}

// large is a body that no server in front keeps in memory whole.
var large = func() []byte {
	b := make([]byte, 5<<20)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}()

// asked is a request that must be answered the same whoever is in front.
type asked struct {
	method, target string
	body           string
	header         []string
	chunked        bool
}

func (a asked) String() string { return a.method + " " + a.target }

// compare asks for pages directly, by the client direct, and through a server in front, which listens at address, without
// leaving out any but those for which except returns true. What differs may only be about the connection.
func compare(t *testing.T, s *server, address string, except func(asked) bool) {
	t.Helper()
	style := s.get(http.DefaultClient, "/style.css")
	for _, a := range []asked{
		{method: "GET", target: "/"},
		{method: "HEAD", target: "/"},
		{method: "GET", target: "/style.css"},
		{method: "HEAD", target: "/style.css"},
		{method: "GET", target: "/style.css", header: []string{"Range", "bytes=3-20"}},
		{method: "GET", target: "/style.css", header: []string{"Range", "bytes=-5"}},
		{method: "GET", target: "/style.css", header: []string{"Range", "bytes=99999-"}},
		{method: "GET", target: "/style.css", header: []string{"If-None-Match", style.header.Get("ETag")}},
		{method: "GET", target: "/style.css", header: []string{"If-Modified-Since", style.header.Get("Last-Modified")}},
		{method: "GET", target: "/style.css", header: []string{"If-Match", `"other"`}},
		{method: "GET", target: "/style%2ecss?x=%20"},
		{method: "GET", target: "/empty.txt"},
		{method: "GET", target: "/a%20b%20%c3%a9.txt"},
		{method: "GET", target: "/%61%20b%20%C3%A9.txt"},
		{method: "GET", target: "/large.bin"},
		{method: "GET", target: "/large.bin", header: []string{"Range", "bytes=1000000-4000000"}},
		{method: "GET", target: "/admin"},
		{method: "GET", target: "/nothing"},
		{method: "GET", target: "/.env"},
		{method: "GET", target: "/counter"},
		{method: "POST", target: "/counter", body: "a=b", header: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{method: "DELETE", target: "/style.css"},
		{method: "GET", target: "/say.cgi"},
		{method: "HEAD", target: "/say.cgi"},
		{method: "GET", target: "/say.cgi?a=%20b&c=%C3%A9;+%2B%26&&=&d=\"<>?/%zz"},
		{method: "GET", target: "/say.cgi?%00"},
		{method: "GET", target: "/say.cgi/?"},
		{method: "GET", target: "/say.cgi/a%20b/%C3%A9/"},
		{method: "GET", target: "/say.cgi/a;b=c,d:e@f$g!h*i'j(k)"},
		{method: "GET", target: "/say.cgi/a%3Fb%23c%25d"},
		{method: "GET", target: "/say.cgi/a%2Fb"},
		{method: "GET", target: "/say.cgi/a/../../say.cgi/b"},
		{method: "GET", target: "/say.cgi/a/b/%2e%2e/c"},
		{method: "GET", target: "/say.cgi/a//b"},
		{method: "GET", target: "/say.cgi?x", header: []string{"X-A", "one", "X-A", "two", "Cookie", "a=1; b=2", "Authorization", "Basic YTpi", "Proxy", "evil.example"}},
		{method: "POST", target: "/say.cgi", body: "body"},
		{method: "POST", target: "/say.cgi"},
		{method: "PUT", target: "/say.cgi/p", body: "{\"a\": 1}", header: []string{"Content-Type", "application/json"}},
		{method: "POST", target: "/say.cgi?up", body: string(large), header: []string{"Content-Type", "application/octet-stream"}},
		{method: "POST", target: "/say.cgi?up", body: string(large[:100_000]), chunked: true},
		{method: "GET", target: "/say.cgi?busy"},
		{method: "GET", target: "/say.cgi?cookies"},
		{method: "GET", target: "/say.cgi?moved"},
		{method: "GET", target: "/say.cgi?nothing"},
	} {
		if except != nil && except(a) {
			continue
		}
		one, two := answered(t, strings.TrimPrefix(s.url, "http://"), a), answered(t, address, a)
		if one != two {
			t.Errorf("%v is answered\n%.600s\nand through the server in front\n%.600s", a, one, two)
		}
	}
}

// answered sends a request, and returns the answer without what is only about the connection.
func answered(t *testing.T, address string, a asked) string {
	t.Helper()
	path, query, _ := strings.Cut(a.target, "?")
	r := &http.Request{Method: a.method, URL: &url.URL{Scheme: "http", Host: address, Opaque: path, RawQuery: query}, Host: "example.org", Header: make(http.Header)}
	r.URL.ForceQuery = strings.HasSuffix(a.target, "?")
	if a.body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(a.body)), int64(len(a.body))
	}
	if a.chunked {
		r.ContentLength = -1
	}
	for i := 0; i < len(a.header); i += 2 {
		r.Header.Add(a.header[i], a.header[i+1])
	}
	r.Header.Set("User-Agent", "tests")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		t.Fatalf("%v: %v", a, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%v: after %d bytes: %v", a, len(body), err)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%d\n", response.StatusCode)
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		value := strings.Join(response.Header[name], ", ")
		switch name {
		case "Connection", "Keep-Alive", "Date", "Server":
			continue
		case "Content-Length": // or the chunked coding
			continue
		case "Set-Cookie":
			if name, _, ok := strings.Cut(value, "="); ok && name == "session" {
				value = "session=…"
			}
		}
		fmt.Fprintf(&text, "%s: %s\n", name, value)
	}
	fmt.Fprintf(&text, "\n%s", body)
	return text.String()
}

// who asks the script say.cgi from where and how the visitor came.
func who(t *testing.T, base, host string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/say.cgi?who", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// reserve returns a port that nobody else is given until the test ends, and that a server can still listen on.
func reserve(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	// Two sockets with this option may be bound to the same port, as long as only one listens.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
}

// certificate writes a certificate for 127.0.0.1 and its key to one file, and returns its name.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "certificate.pem")
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
