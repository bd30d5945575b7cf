package tests

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// phpFPM starts php-fpm and returns its socket.
func phpFPM(t *testing.T) string {
	t.Helper()
	name := "php-fpm"
	for _, versioned := range []string{"php-fpm8.4", "php-fpm8.3", "php-fpm8.2"} { // as Debian calls it
		if _, err := exec.LookPath(versioned); err == nil {
			name = versioned
		}
	}
	program := peer(t, name)
	dir, err := os.MkdirTemp("", "php")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, file := filepath.Join(dir, "s"), filepath.Join(dir, "fpm.conf")
	config := "[global]\nerror_log = /proc/self/fd/2\ndaemonize = no\n[www]\nlisten = " + socket + "\npm = static\npm.max_children = 5\n" +
		"php_admin_value[upload_max_filesize] = 64M\nphp_admin_value[post_max_size] = 64M\n" +
		"php_admin_flag[display_errors] = off\nphp_admin_flag[log_errors] = on\nphp_admin_value[error_log] =\n"
	if os.Getuid() == 0 {
		config += "user = root\ngroup = root\n"
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-n", "-R", "-F", "-y", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() && !strings.Contains(lines.Text(), "ready to handle connections") {
			t.Log(lines.Text())
		}
		said <- lines.Text()
		_, _ = io.Copy(io.Discard, log)
		_ = cmd.Wait() // it is killed in the end
	})
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its processes with it
		wg.Wait()
	})
	if line := <-said; line == "" {
		t.Fatal("php-fpm doesn't start")
	}
	return socket
}

// askPHP asks for pages by PHP, which is found when its address is put right.
func askPHP(t *testing.T, s *server) {
	s.reload(func() {
		edit(t, s.file, `\$\{env:PHP_FPM:-[^}]*\}`, "unix:"+phpFPM(t))
	})
	page := s.get(http.DefaultClient, "/index.php/some/path")
	contains(t, "the page", page.body, "<h1>PHP ", "You asked /index.php for\n/some/path.")
	if kind := page.header.Get("Content-Type"); kind != "text/html; charset=UTF-8" {
		t.Errorf("the page's type is %q", kind)
	}
	contains(t, "the start page", s.get(http.DefaultClient, "/").body, "<h1>PHP ", "nothing in particular")
	contains(t, "the report", s.get(http.DefaultClient, "/report").body, "Done.")

	file := bytes.Repeat([]byte("0123456789"), 5_000_000)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "big.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(file)
	_ = form.Close()
	upload, err := http.NewRequest(http.MethodPost, s.url+"/upload", &body)
	if err != nil {
		t.Fatal(err)
	}
	upload.Header.Set("Content-Type", form.FormDataContentType())
	sent := s.do(http.DefaultClient, upload)
	if want := fmt.Sprintf("big.bin 50000000 %x\n", sha256.Sum256(file)); sent.body != want {
		t.Errorf("the upload is answered with %q; it must be %q", sent.body, want)
	}

	fail := s.get(http.DefaultClient, "/fail", "Accept", "text/html")
	if fail.status != http.StatusInternalServerError {
		t.Errorf("the page that fails answered %d", fail.status)
	}
	contains(t, "the debug page", fail.body, "Call to undefined function there_is_no_such_function()")
	s.await("request failed", func(r record) bool { return strings.Contains(fmt.Sprint(r), "there_is_no_such_function()") })
}
