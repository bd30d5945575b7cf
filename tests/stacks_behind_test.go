package tests

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// daemon runs a server that goes to the background when it listens, and ends it with the test.
func daemon(t *testing.T, pidFile, program string, args ...string) {
	t.Helper()
	// A pipe for its output would be open for as long as the daemon runs.
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("%s: %v\n%s", program, err, text)
	}
	t.Cleanup(func() {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			t.Error(err)
			return
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Error(err)
			return
		}
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	})
}

// through returns a client that connects to a unix socket whatever the URL.
func through(t *testing.T, socket string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar}
}

// askBehindNginx asks for the same pages by HTTP and through the servers in front.
func askBehindNginx(t *testing.T, s *server) {
	s.url = "http://" + s.bound("127.0.0.1:0")
	dir := filepath.Join(filepath.Dir(s.file), "behind-nginx")
	backend := filepath.Join(dir, "stackd.sock")
	t.Run("nginx", func(t *testing.T) {
		program, socket := peer(t, "nginx"), filepath.Join(dir, "nginx.sock")
		config := filepath.Join(dir, "nginx.conf")
		edit(t, config, `127\.0\.0\.1:8088`, "unix:"+socket)
		edit(t, config, `unix:stackd\.sock`, "unix:"+backend)
		args := []string{"-p", dir, "-c", "nginx.conf"}
		if os.Getuid() == 0 {
			args = append(args, "-g", "user root;")
		}
		daemon(t, filepath.Join(dir, "nginx.pid"), program, args...)
		compare(t, s, through(t, socket))
	})
	t.Run("lighttpd", func(t *testing.T) {
		program, socket := peer(t, "lighttpd"), filepath.Join(dir, "lighttpd.sock")
		config, pid := filepath.Join(dir, "lighttpd.conf"), filepath.Join(dir, "lighttpd.pid")
		text := fmt.Sprintf(`server.modules = ("mod_fastcgi")
server.document-root = %q
server.bind = %q
server.pid-file = %q
server.stream-request-body = 1
server.stream-response-body = 1
fastcgi.server = ("/" => (("socket" => %q, "check-local" => "disable", "fix-root-scriptname" => "enable")))
`, dir, socket, pid, backend)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		daemon(t, pid, program, "-f", config)
		compare(t, s, through(t, socket))
	})
	t.Run("cgi-fcgi", func(t *testing.T) {
		cmd := exec.Command(peer(t, "cgi-fcgi"), "-bind", "-connect", backend)
		cmd.Env = []string{"REQUEST_METHOD=POST", "REQUEST_URI=/environment.cgi/x?a=b", "CONTENT_LENGTH=4", "SERVER_PROTOCOL=HTTP/1.1", "REMOTE_ADDR=192.0.2.1"}
		cmd.Stdin = strings.NewReader("body")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		contains(t, "the output", string(out), "Status: 200 OK\r\n", "PATH_INFO=/x\n", "QUERY_STRING=a=b\n", "CONTENT_LENGTH=4\n", "REMOTE_ADDR=192.0.2.1\n")
	})
}

// compare asks for pages directly and through a server in front.
func compare(t *testing.T, s *server, front *http.Client) {
	t.Helper()
	direct, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *http.Client, base, method, path, body string, header ...string) answer {
		t.Helper()
		r, err := http.NewRequest(method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return s.do(c, r)
	}
	client := &http.Client{Jar: direct}
	for _, tt := range []struct {
		method, path, body string
		header             []string
	}{
		{"GET", "/", "", nil},
		{"GET", "/style.css", "", nil},
		{"HEAD", "/style.css", "", nil},
		{"GET", "/style.css", "", []string{"Range", "bytes=3-20"}},
		{"GET", "/style%2ecss?x=%20", "", nil},
		{"GET", "/admin", "", nil},
		{"GET", "/nothing", "", nil},
		{"GET", "/.env", "", nil},
		{"GET", "/counter", "", nil},
		{"POST", "/counter", "a=b", nil},
		{"GET", "/counter", "", nil},
		{"DELETE", "/style.css", "", nil},
	} {
		one, two := ask(client, s.url, tt.method, tt.path, tt.body, tt.header...), ask(front, s.url, tt.method, tt.path, tt.body, tt.header...)
		if one.status != two.status || one.body != two.body {
			t.Errorf("%s %s is answered with %d and %d bytes, and through the server in front with %d and %d:\n%.500s", tt.method, tt.path, one.status, len(one.body), two.status, len(two.body), two.body)
		}
		for _, name := range []string{"Content-Type", "ETag", "Last-Modified", "Content-Range", "Allow", "Vary", "Location", "Cache-Control"} {
			if a, b := one.header.Get(name), two.header.Get(name); a != b {
				t.Errorf("%s of %s %s is %q, and through the server in front %q", name, tt.method, tt.path, a, b)
			}
		}
	}
	if u, _ := url.Parse(s.url); len(direct.Cookies(u)) != 1 || len(front.Jar.Cookies(u)) != 1 {
		t.Errorf("the cookies are %v, and through the server in front %v", direct.Cookies(u), front.Jar.Cookies(u))
	}
	env := ask(front, s.url, "POST", "/environment.cgi/a%20b/c?d=e", string(bytes.Repeat([]byte("x"), 1<<20)))
	contains(t, "the script's environment", env.body, "SCRIPT_NAME=/environment.cgi\n", "PATH_INFO=/a b/c\n", "QUERY_STRING=d=e\n",
		"CONTENT_LENGTH=1048576\n", "REQUEST_METHOD=POST\n", "SERVER_PROTOCOL=HTTP/1.1\n")
}
