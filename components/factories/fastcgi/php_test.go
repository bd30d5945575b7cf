//go:build unix

package fastcgi_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stackd/stackd/components/factories/fastcgi"
	"github.com/stackd/stackd/registry/failure"
)

// php starts php-fpm with so many processes, and returns where it listens.
func php(t *testing.T, processes int) net.Addr {
	t.Helper()
	fpm := needs(t, "php-fpm", "php-fpm8.4", "php-fpm8.3", "php-fpm8.2")
	dir, err := os.MkdirTemp("", "php") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	config := fmt.Sprintf(`[global]
error_log = /proc/self/fd/2
daemonize = no
[www]
listen = %s
pm = static
pm.max_children = %d
catch_workers_output = no
php_admin_value[upload_max_filesize] = 64M
php_admin_value[post_max_size] = 64M
php_admin_flag[display_errors] = off
php_admin_flag[log_errors] = on
php_admin_value[error_log] =
`, socket, processes)
	if os.Getuid() == 0 {
		config += "user = root\ngroup = root\n"
	}
	file := filepath.Join(dir, "fpm.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(fpm, "-n", "-R", "-F", "-y", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		var said strings.Builder
		for lines := bufio.NewScanner(log); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if strings.Contains(lines.Text(), "ready to handle connections") {
				ready <- ""
				break
			}
		}
		_, _ = io.Copy(io.Discard, log)
		close(ready)
		if err := cmd.Wait(); err != nil {
			t.Logf("php-fpm: %v\n%s", err, said.String())
		}
	})
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the children with it
		wg.Wait()
	})
	if _, ok := <-ready; !ok {
		t.Fatal("php-fpm doesn't start")
	}
	return &net.UnixAddr{Name: socket, Net: "unix"}
}

func TestPHP(t *testing.T) {
	s := newSite(t, php(t, 2), func(c *fastcgi.Config) { c.MaxConnections = 2 })
	for name, text := range map[string]string{
		"env.php":    `<?php header('Content-Type: text/plain'); foreach (explode(' ', $_GET['names']) as $n) echo $n, '=', $_SERVER[$n] ?? '(absent)', "\n";`,
		"post.php":   `<?php echo json_encode($_POST), strlen(file_get_contents('php://input'));`,
		"upload.php": `<?php echo $_FILES['f']['name'], ' ', filesize($_FILES['f']['tmp_name']), ' ', hash_file('sha256', $_FILES['f']['tmp_name']);`,
		"fatal.php":  `<?php header('X-A: b'); nonesuch();`,
		"late.php":   `<?php echo str_repeat('x', 100000); flush(); nonesuch();`,
		"notice.php": `<?php error_log('look here'); echo 'ok';`,
		"status.php": `<?php http_response_code(404); header('Set-Cookie: a=1'); header('Set-Cookie: b=2', false); echo 'none';`,
		"big.php":    `<?php for ($i = 0; $i < 1000; $i++) echo str_repeat(chr(65 + $i % 26), 10000);`,
		"stream.php": `<?php header('Content-Type: text/event-stream'); while (ob_get_level()) ob_end_flush(); echo "data: 1\n\n"; flush(); fgets(fopen($_GET['wait'], 'r')); echo "data: 2\n\n";`,
	} {
		s.write(name, text)
	}
	t.Run("variables", func(t *testing.T) {
		res := s.Get("/env.php/a/b?names=SCRIPT_FILENAME+DOCUMENT_ROOT+SCRIPT_NAME+PATH_INFO+PHP_SELF+REQUEST_URI+REMOTE_ADDR+HTTPS")
		want := fmt.Sprintf("SCRIPT_FILENAME=%[1]s/env.php\nDOCUMENT_ROOT=%[1]s\nSCRIPT_NAME=/env.php\nPATH_INFO=/a/b\nPHP_SELF=/env.php/a/b\n"+
			"REQUEST_URI=/env.php/a/b?names=SCRIPT_FILENAME+DOCUMENT_ROOT+SCRIPT_NAME+PATH_INFO+PHP_SELF+REQUEST_URI+REMOTE_ADDR+HTTPS\nREMOTE_ADDR=127.0.0.1\nHTTPS=(absent)\n", s.Dir)
		if res.Text != want {
			t.Errorf("it answers\n%s\nit must be\n%s", res.Text, want)
		}
	})
	t.Run("post", func(t *testing.T) {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader("a=1&b=%20x")
			if chunked {
				body = io.MultiReader(body)
			}
			r := s.Request("POST", "/post.php", body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if res := s.Send(r); res.Text != `{"a":"1","b":" x"}10` {
				t.Errorf("it answers %q (chunked: %v)", res.Text, chunked)
			}
		}
	})
	t.Run("upload of 50 MB", func(t *testing.T) {
		file := bytes.Repeat([]byte("0123456789"), 5_000_000)
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("f", "big.bin")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(file)
		_ = form.Close()
		r := s.Request("POST", "/upload.php", &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		if res, want := s.Send(r), fmt.Sprintf("big.bin 50000000 %x", sha256.Sum256(file)); res.Text != want {
			t.Errorf("it answers %q; it must be %q", res.Text, want)
		}
	})
	t.Run("fatal error", func(t *testing.T) {
		res := s.Get("/fatal.php")
		err := s.Failure()
		d, ok := errors.AsType[failure.Detailed](err)
		if res.StatusCode != 500 || !ok || !strings.Contains(d.Details()[0].Text, "Call to undefined function nonesuch()") {
			t.Errorf("the status is %d, and it was reported: %v %v", res.StatusCode, err, d)
		}
	})
	t.Run("fatal error in the middle", func(t *testing.T) {
		res := s.Get("/late.php")
		s.Quiet() // PHP takes it for a good end
		if len(res.Text) != 100000 || !strings.Contains(s.Logged(), "Call to undefined function nonesuch()") {
			t.Errorf("the body has %d bytes, and the log is\n%s", len(res.Text), s.Logged())
		}
	})
	t.Run("notice", func(t *testing.T) {
		if res := s.Get("/notice.php"); res.Text != "ok" || !strings.Contains(s.Logged(), "look here") {
			t.Errorf("it answers %q, and the log is\n%s", res.Text, s.Logged())
		}
	})
	t.Run("status and fields", func(t *testing.T) {
		res := s.Get("/status.php")
		if res.StatusCode != 404 || len(res.Header["Set-Cookie"]) != 2 || res.Text != "none" {
			t.Errorf("it is answered with %d, %v and %q", res.StatusCode, res.Header, res.Text)
		}
	})
	t.Run("large answer", func(t *testing.T) {
		if res := s.Get("/big.php"); len(res.Text) != 10_000_000 || res.Err != nil {
			t.Errorf("%d bytes come (%v)", len(res.Text), res.Err)
		}
	})
	t.Run("streamed answer", func(t *testing.T) {
		wait := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(wait, 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := s.Server.Client().Do(s.Request("GET", "/stream.php?wait="+wait, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		first := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "data: 1\n\n" {
			t.Fatalf("first comes %q (%v)", first, err)
		}
		if err := os.WriteFile(wait, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "data: 2\n\n" {
			t.Errorf("then comes %q (%v)", rest, err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				body := strings.Repeat("x", i*1000)
				if res := s.Send(s.Request("POST", "/post.php", strings.NewReader(body))); res.Text != fmt.Sprintf("[]%d", len(body)) {
					t.Errorf("a body of %d is answered with %d and %q", len(body), res.StatusCode, res.Text)
				}
			})
		}
		wg.Wait()
	})
	s.Quiet()
}
