package tests

import (
	"fmt"
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
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s says:\n%s", program, text)
		}
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

// behind makes the stack of s ready to be compared, and returns the folder beside it.
func behind(t *testing.T, s *server) (dir string) {
	t.Helper()
	addPages(t, filepath.Dir(s.file))
	s.reload(func() { edit(t, s.file, `\.cgi: cgi`, ".cgi: {use: cgi, authorization: true}") })
	return strings.TrimSuffix(s.file, ".yaml")
}

// askBehindNginx asks for the same pages by HTTP and through nginx and lighttpd, over FastCGI and then over SCGI.
func askBehindNginx(t *testing.T, s *server) {
	s.url = "http://" + s.bound("127.0.0.1:0")
	dir := behind(t, s)
	backend := filepath.Join(dir, "stackd.sock")
	t.Run("FastCGI", func(t *testing.T) {
		t.Run("nginx", func(t *testing.T) { behindNginx(t, s, dir, backend, "fastcgi") })
		t.Run("lighttpd", func(t *testing.T) { behindLighttpd(t, s, dir, backend, "fastcgi") })
		t.Run("cgi-fcgi", func(t *testing.T) { askCGIFCGI(t, backend) })
	})
	s.reload(func() { edit(t, s.file, `use: fastcgi`, `use: scgi`) })
	t.Run("SCGI", func(t *testing.T) {
		t.Run("nginx", func(t *testing.T) { behindNginx(t, s, dir, backend, "scgi") })
		t.Run("lighttpd", func(t *testing.T) { behindLighttpd(t, s, dir, backend, "scgi") })
	})
}

// behindNginx compares through an nginx with the configuration beside the stack.
func behindNginx(t *testing.T, s *server, dir, backend, protocol string) {
	program, address, secure := peer(t, "nginx"), reserve(t), reserve(t)
	text, err := os.ReadFile("../stacks/behind-nginx/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	name := "nginx-" + protocol + ".conf"
	config, pid := filepath.Join(dir, name), filepath.Join(dir, name+".pid")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cert := certificate(t)
	edit(t, config, `listen 127\.0\.0\.1:8088`, fmt.Sprintf("listen %s; listen %s ssl; ssl_certificate %s; ssl_certificate_key %[3]s", address, secure, cert))
	edit(t, config, `pid nginx\.pid`, "pid "+pid)
	edit(t, config, `unix:stackd\.sock`, "unix:"+backend)
	if protocol == "scgi" {
		edit(t, config, `fastcgi_keep_conn on;`, "")
		edit(t, config, `fastcgi_`, "scgi_")
	}
	args := []string{"-p", dir, "-c", name}
	if os.Getuid() == 0 {
		args = append(args, "-g", "user root;")
	}
	daemon(t, pid, program, args...)
	compare(t, s, address, nil)
	stream(t, s, address)
	for base, want := range map[string]string{"http://" + address: "127.0.0.1 \n", "https://" + secure: "127.0.0.1 on\n"} {
		if got := who(t, base, ""); got != want {
			t.Errorf("the visitor of %s is %q; it must be %q", base, got, want)
		}
	}
}

// behindLighttpd compares through a lighttpd.
func behindLighttpd(t *testing.T, s *server, dir, backend, protocol string) {
	program, address := peer(t, "lighttpd"), reserve(t)
	host, port, _ := strings.Cut(address, ":")
	config, pid := filepath.Join(dir, "lighttpd-"+protocol+".conf"), filepath.Join(dir, "lighttpd-"+protocol+".pid")
	text := fmt.Sprintf(`server.modules = ("mod_%[1]s", "mod_setenv")
server.document-root = %[2]q
server.bind = %[3]q
server.port = %[4]s
server.pid-file = %[5]q
server.upload-dirs = (%[2]q)
server.range-requests = "disable"
server.stream-response-body = 1
%[1]s.server = ("/" => (("socket" => %[6]q, "check-local" => "disable", "fix-root-scriptname" => "enable")))
$HTTP["host"] == "secure.example" { setenv.set-environment = ("HTTPS" => "on") }
`, protocol, dir, host, port, pid, backend)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, pid, program, "-f", config)
	compare(t, s, address, func(a asked) bool { return strings.Contains(a.target, "%00") }) // it answers that with 400
	stream(t, s, address)
	for host, want := range map[string]string{"": "127.0.0.1 \n", "secure.example": "127.0.0.1 on\n"} {
		if got := who(t, "http://"+address, host); got != want {
			t.Errorf("the visitor of %q is %q; it must be %q", host, got, want)
		}
	}
}

// askCGIFCGI asks with the client of the FastCGI library.
func askCGIFCGI(t *testing.T, backend string) {
	cmd := exec.Command(peer(t, "cgi-fcgi"), "-bind", "-connect", backend)
	cmd.Env = []string{"REQUEST_METHOD=POST", "REQUEST_URI=/environment.cgi/x?a=b", "CONTENT_LENGTH=4", "SERVER_PROTOCOL=HTTP/1.1", "REMOTE_ADDR=192.0.2.1"}
	cmd.Stdin = strings.NewReader("body")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, "the output", string(out), "Status: 200 OK\r\n", "PATH_INFO=/x\n", "QUERY_STRING=a=b\n", "CONTENT_LENGTH=4\n", "REMOTE_ADDR=192.0.2.1\n")
}

// askBehindApache asks for the same pages by HTTP, through Apache over FastCGI and SCGI, and as an adapter of WebKit does.
func askBehindApache(t *testing.T, s *server) {
	s.url = "http://" + s.bound("127.0.0.1:0000")
	dir := behind(t, s)
	t.Run("FastCGI", func(t *testing.T) { behindApache(t, s, dir, "fcgi", s.bound("127.0.0.1:0"), nil) })
	t.Run("SCGI", func(t *testing.T) {
		behindApache(t, s, dir, "scgi", s.bound("127.0.0.1:00"), func(a asked) bool {
			return a.chunked // it answers them with 411
		})
	})
	t.Run("adapter", func(t *testing.T) { askAdapter(t, s, s.bound("127.0.0.1:000")) })
}

// behindApache compares through an Apache with the configuration beside the stack.
func behindApache(t *testing.T, s *server, dir, protocol, backend string, except func(asked) bool) {
	program, address, secure := peer(t, "apache2"), reserve(t), reserve(t)
	text, err := os.ReadFile("../stacks/behind-apache/apache.conf")
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t)
	tls := fmt.Sprintf(`
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
Listen %s
<VirtualHost %[1]s>
	SSLEngine on
	SSLCertificateFile %s
	ProxyPass "/" "%s://%s/"
</VirtualHost>
`, secure, cert, protocol, backend)
	name := protocol + ".conf"
	config, pid := filepath.Join(dir, name), filepath.Join(dir, name+".pid")
	if err := os.WriteFile(config, append(text, tls...), 0o600); err != nil {
		t.Fatal(err)
	}
	edit(t, config, `Listen 127\.0\.0\.1:8088`, "Listen "+address)
	edit(t, config, `PidFile apache\.pid`, "PidFile "+pid)
	edit(t, config, `fcgi://127\.0\.0\.1:9088/" enablereuse=on`, fmt.Sprintf(`%s://%s/"`, protocol, backend))
	daemon(t, pid, program, "-d", dir, "-f", name)
	compare(t, s, address, except)
	stream(t, s, address)
	for base, want := range map[string]string{"http://" + address: "127.0.0.1 \n", "https://" + secure: "127.0.0.1 on\n"} {
		if got := who(t, base, ""); got != want {
			t.Errorf("the visitor of %s is %q; it must be %q", base, got, want)
		}
	}
}

// adapter is one in Python, as Webware's own were: it sends its environment and its standard input, and
// prints what comes back.
const adapter = `
import marshal, os, socket, sys, time
host, port, version = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
environ = {name: value for name, value in os.environ.items() if name != 'LC_CTYPE'}
request = marshal.dumps({'format': 'CGI', 'time': time.time(), 'environ': environ, 'input': None}, version)
s = socket.create_connection((host, port))
s.sendall(marshal.dumps(len(request), version) + request + sys.stdin.buffer.read())
s.shutdown(socket.SHUT_WR)
while True:
    data = s.recv(8192)
    if not data: break
    sys.stdout.buffer.write(data)
`

// askAdapter asks for pages by HTTP and through the adapter.
func askAdapter(t *testing.T, s *server, backend string) {
	program := peer(t, "python3")
	host, port, _ := strings.Cut(backend, ":")
	for _, version := range []string{"0", "1", "2"} {
		for _, a := range []asked{
			{method: "GET", target: "/style.css"},
			{method: "GET", target: "/nothing"},
			{method: "GET", target: "/large.bin"},
			{method: "GET", target: "/say.cgi/a%20b/%C3%A9/?a=%20&b"},
			{method: "POST", target: "/say.cgi", body: "body"},
			{method: "POST", target: "/say.cgi", body: string(large)},
		} {
			t.Run("marshal "+version+" "+a.String(), func(t *testing.T) {
				cmd := exec.Command(program, "-c", adapter, host, port, version)
				cmd.Env = []string{"REQUEST_METHOD=" + a.method, "REQUEST_URI=" + a.target, "SERVER_PROTOCOL=HTTP/1.1", "REMOTE_ADDR=192.0.2.1", "HTTP_HOST=example.org"}
				if a.body != "" {
					cmd.Env = append(cmd.Env, "CONTENT_LENGTH="+strconv.Itoa(len(a.body)))
				}
				cmd.Stdin = strings.NewReader(a.body)
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				head, body, _ := strings.Cut(string(out), "\r\n\r\n")
				one := answered(t, strings.TrimPrefix(s.url, "http://"), a)
				status, _, _ := strings.Cut(one, "\n")
				_, direct, _ := strings.Cut(one, "\n\n")
				if !strings.HasPrefix(head, "Status: "+status+" ") || body != direct {
					t.Errorf("it is answered with\n%.600s\nand by HTTP with\n%.600s", out, one)
				}
			})
		}
	}
}
