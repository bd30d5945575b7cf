package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// runCGIBin runs the stack as a CGI program, as web servers do and as a shell does.
func runCGIBin(t *testing.T, file string) {
	dir := filepath.Dir(file)
	addPages(t, dir)
	edit(t, file, "^#!/usr/bin/stackd run\n", "#!"+built(t)+" run\n")
	// The web servers may run it as somebody who has no access to the folders of this test.
	for _, path := range []string{filepath.Dir(built(t)), filepath.Dir(dir), dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("Apache", func(t *testing.T) { apacheCGI(t, dir) })
	t.Run("lighttpd", func(t *testing.T) { lighttpdCGI(t, dir) })
	t.Run("shell", func(t *testing.T) { shellCGI(t, file) })
}

func apacheCGI(t *testing.T, dir string) {
	program, address := peer(t, "apache2"), reserve(t)
	config, pid := filepath.Join(dir, "apache.conf"), filepath.Join(dir, "apache.pid")
	text := fmt.Sprintf(`ServerName localhost
Listen %s
PidFile %s
DefaultRuntimeDir %s
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
User www-data
Group www-data
ScriptSock cgid.sock
ScriptAlias "/cgi-bin/" "%[3]s/"
AllowEncodedSlashes NoDecode
<Directory "%[3]s">
	CGIPassAuth On
</Directory>
`, address, pid, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, pid, program, "-d", dir, "-f", config)
	askCGIBin(t, address)
}

func lighttpdCGI(t *testing.T, dir string) {
	program, address := peer(t, "lighttpd"), reserve(t)
	host, port, _ := strings.Cut(address, ":")
	config, pid := filepath.Join(dir, "lighttpd.conf"), filepath.Join(dir, "lighttpd.pid")
	text := fmt.Sprintf(`server.modules = ("mod_cgi", "mod_alias")
server.document-root = %[1]q
server.bind = %[2]q
server.port = %[3]s
server.pid-file = %[4]q
server.upload-dirs = (%[1]q)
server.range-requests = "disable"
alias.url = ("/cgi-bin/" => "%[1]s/")
cgi.assign = (".yaml" => "")
`, dir, host, port, pid)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, pid, program, "-f", config)
	askCGIBin(t, address)
}

// askCGIBin asks for pages of the stack at /cgi-bin/cgi-bin.yaml.
func askCGIBin(t *testing.T, address string) {
	t.Helper()
	const program = "/cgi-bin/cgi-bin.yaml"
	for _, tt := range []struct {
		asked
		want []string
	}{
		{asked{method: "GET", target: "/"}, []string{"200\n", "A web server you assemble", "Content-Type: text/html; charset=utf-8\n"}},
		{asked{method: "GET", target: ""}, []string{"200\n", "A web server you assemble"}},
		{asked{method: "GET", target: "/style.css", header: []string{"Range", "bytes=0-3"}}, []string{"206\n", "Content-Range: bytes 0-3/", "\n\n:roo"}},
		{asked{method: "GET", target: "/a%20b%20%c3%a9.txt"}, []string{"200\n", "A name with a blank"}},
		{asked{method: "GET", target: "/nothing"}, []string{"404\n"}},
		{asked{method: "GET", target: "/.env"}, []string{"404\n"}},
		{asked{method: "GET", target: "/admin"}, []string{"308\n", "Location: ./admin/\n"}},
		{asked{method: "GET", target: "/large.bin"}, []string{"200\n", string(large)}},
		{asked{method: "POST", target: "/say.cgi/p?a=b", body: "body", header: []string{"X-A", "1", "Authorization", "Basic YTpi"}}, []string{
			"200\n", "REQUEST_METHOD=POST\n", "PATH_INFO=/p\n", "QUERY_STRING=a=b\n", "CONTENT_LENGTH=4\n", "HTTP_X_A=1\n", "HTTP_AUTHORIZATION=Basic YTpi\n", "SERVER_PROTOCOL=HTTP/1.1\nbody",
		}},
		{asked{method: "GET", target: "/environment.cgi/a"}, []string{"200\n", "SCRIPT_NAME=/cgi-bin/cgi-bin.yaml/environment.cgi\n", "PATH_INFO=/a\n"}},
		{asked{method: "POST", target: "/say.cgi?up", body: string(large)}, []string{"200\n", " 5242880\n"}},
		{asked{method: "GET", target: "/say.cgi?who"}, []string{"200\n", "127.0.0.1 \n"}},
		{asked{method: "GET", target: "/say.cgi?cookies"}, []string{"Set-Cookie: a=1; Path=/, b=2; Path=/\n"}},
		// Words of a query become arguments.
		{asked{method: "GET", target: "/?--log-level+debug"}, []string{"200\n", "A web server you assemble"}},
		{asked{method: "GET", target: "/?-h"}, []string{"200\n", "A web server you assemble"}},
		{asked{method: "GET", target: "/?other.yaml"}, []string{"200\n", "A web server you assemble"}},
	} {
		tt.target = program + tt.target
		contains(t, tt.String(), answered(t, address, tt.asked), tt.want...)
	}
}

func shellCGI(t *testing.T, file string) {
	t.Run("request", func(t *testing.T) {
		cmd := exec.Command(file, "-h", "other.yaml") // as a web server makes of a query
		cmd.Env = []string{"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=POST", "PATH_INFO=/say.cgi", "CONTENT_LENGTH=4"}
		cmd.Stdin = strings.NewReader("body and more")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || stderr.Len() > 0 {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		head, body, _ := strings.Cut(string(out), "\r\n\r\n")
		contains(t, "the header", head, "Status: 200 OK\r\n", "Content-Type: application/octet-stream")
		if !strings.HasSuffix(body, "\nbody") {
			t.Errorf("the body is %q", body)
		}
	})
	t.Run("nobody reads", func(t *testing.T) {
		cmd := exec.Command(file)
		cmd.Env = []string{"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET", "PATH_INFO=/large.bin"}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		if err := errors.Join(r.Close(), cmd.Start(), w.Close()); err != nil {
			t.Fatal(err)
		}
		if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok || exit.ExitCode() != 1 {
			t.Errorf("it ends with %v", exit)
		}
		contains(t, "its error", stderr.String(), "the answer broke off: ", "broken pipe")
	})
	t.Run("no request", func(t *testing.T) {
		out, err := exec.Command(file).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			t.Errorf("it ends with %v", err)
		}
		contains(t, "the output", string(out), `stackd: server "cgi" on "stdio:": this is a CGI program: a web server must start it`)
	})
}
