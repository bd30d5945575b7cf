package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for the program to do what it must.
const patience = 30 * time.Second

// binary builds stackd once and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stackd-tests")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stackd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/stackd/stackd/cmd/stackd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// built returns the path of the program.
func built(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// peer returns the path of a program that a test runs against.
func peer(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unable(t, "the peer %s is missing", name)
	}
	return path
}

// unable ends a test that can't run here, and says why: it is skipped, or fails where STACKD_PEERS requires all that a test may need.
func unable(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("STACKD_PEERS") == "required" {
		t.Fatalf("%s, and STACKD_PEERS requires it", why)
	}
	t.Skip(why)
}

// mount mounts something until the end of the test.
func mount(t testing.TB, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	err := unix.Mount(source, target, kind, flags, data)
	switch {
	case errors.Is(err, fs.ErrPermission):
		unable(t, "nothing can be mounted here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// server is stackd in a process of its own.
type server struct {
	t    testing.TB
	file string
	cmd  *exec.Cmd
	// url is of the first listener, without a slash at the end.
	url string

	mu      sync.Mutex
	records []record
	grown   chan struct{} // closed, and replaced, when there are more
	exited  chan error    // has what Wait returned
}

// record is one line of its log.
type record map[string]any

// copyStacks copies the stacks folder to a place where a test may change it, with the
// servers on free ports, and returns it. In a file the first address is 127.0.0.1:0, the second
// 127.0.0.1:00, and so on.
func copyStacks(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../stacks")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		zeros := "" // one more for each address, since each must be another
		replace(t, file, regexp.MustCompile(`"127\.0\.0\.1:\d+"`).ReplaceAllFunc(data, func([]byte) []byte {
			zeros += "0"
			return []byte(`"127.0.0.1:` + zeros + `"`)
		}))
	}
	return dir
}

// edit replaces what a regular expression matches, which must be there, in one write.
func edit(t testing.TB, file, pattern, replacement string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(pattern)
	if !re.Match(data) {
		t.Fatalf("%s has nothing that matches %s", file, pattern)
	}
	replace(t, file, re.ReplaceAll(data, []byte(replacement)))
}

// replace puts new content in the place of a file, as editors do.
func replace(t testing.TB, file string, data []byte) {
	t.Helper()
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode()
	}
	if err := os.WriteFile(file+".new", data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// start runs a stack file and waits until it is served. The test's end stops it, and fails
// when it does not stop cleanly.
func start(t testing.TB, file string) *server {
	t.Helper()
	return startProgram(t, built(t), file)
}

// startProgram is start for a program of one's own.
func startProgram(t testing.TB, program, file string) *server {
	t.Helper()
	return startCommand(t, exec.Command(program, "run", "--log-level", "debug", filepath.Base(file)), file)
}

// startCommand is start for a command line of one's own.
func startCommand(t testing.TB, cmd *exec.Cmd, file string) *server {
	t.Helper()
	s := &server{t: t, file: file, cmd: cmd, grown: make(chan struct{}), exited: make(chan error, 1)}
	s.cmd.Dir = filepath.Dir(file)
	if s.cmd.SysProcAttr == nil {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	s.cmd.SysProcAttr.Setpgid, s.cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(log)
	t.Cleanup(s.stop)
	s.await("generation serves", nil)
	s.url = "http://" + s.bound("")
	return s
}

// read takes the log in until the program ends.
func (s *server) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r := record{}
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			r["msg"] = lines.Text() // a crash, or a problem of the first load
		}
		s.mu.Lock()
		s.records = append(s.records, r)
		close(s.grown)
		s.grown = make(chan struct{})
		s.mu.Unlock()
	}
	s.exited <- s.cmd.Wait()
}

// await waits for a record with that message for which match, if there is one, returns true,
// and returns it.
func (s *server) await(msg string, match func(record) bool) record {
	s.t.Helper()
	return s.awaitAfter(0, msg, match)
}

// seen returns how many records there are, for awaitAfter.
func (s *server) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// awaitAfter is await that looks only at the records from number n on.
func (s *server) awaitAfter(n int, msg string, match func(record) bool) record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		records, grown := s.records, s.grown
		s.mu.Unlock()
		for ; n < len(records); n++ {
			if r := records[n]; r["msg"] == msg && (match == nil || match(r)) {
				return r
			}
		}
		select {
		case <-grown:
		case err := <-s.exited:
			s.exited <- err
			s.t.Fatalf("stackd ended (%v) before it logged %q:\n%s", err, msg, s.log())
		case <-ctx.Done():
			s.t.Fatalf("stackd did not log %q within %s:\n%s", msg, patience, s.log())
		}
	}
}

// log returns all records, for a message.
func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	for _, r := range s.records {
		fmt.Fprintf(&b, "%v\n", map[string]any(r))
	}
	return b.String()
}

// bound returns where the server listens for the address written in the stack file, or for
// the first one.
func (s *server) bound(address string) string {
	s.t.Helper()
	r := s.await("listening", func(r record) bool { return address == "" || r["address"] == address })
	return fmt.Sprint(r["bound"])
}

// reload changes the stack by f and waits until the change is served.
func (s *server) reload(f func()) {
	s.t.Helper()
	n := s.seen()
	f()
	s.awaitAfter(n, "generation serves", nil)
}

// stop ends the program, if it runs, and checks how it ended.
func (s *server) stop() {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("stop: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case err := <-s.exited:
		if err != nil {
			s.t.Errorf("stackd ended with %v:\n%s", err, s.log())
		}
	case <-ctx.Done():
		_ = s.cmd.Process.Kill()
		if err := <-s.exited; err != nil {
			s.t.Logf("it was killed: %v", err)
		}
		s.t.Errorf("stackd did not end within %s of SIGTERM:\n%s", patience, s.log())
	}
	s.exited <- nil
	if log := s.log(); strings.Contains(log, "ended with an error") {
		s.t.Errorf("a server of stackd's did not end well:\n%s", log)
	}
}

// answer is a response whose body was read.
type answer struct {
	status int
	header http.Header
	body   string
	url    *url.URL // where redirects led
}

// get asks for a path.
func (s *server) get(client *http.Client, path string, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(client, r)
}

// do sends a request.
func (s *server) do(client *http.Client, r *http.Request) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	response, err := client.Do(r.WithContext(ctx))
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body), response.Request.URL}
}

// contains checks that a text has all of these in it.
func contains(t testing.TB, what, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%s has no %q:\n%.2000s", what, w, text)
		}
	}
}
