package tests

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSlow has slowhttptest hold as many connections as it can of a server whose limits are short. They
// are all closed, although it never gives up, and in the meantime another client is served as ever.
func TestSlow(t *testing.T) {
	t.Parallel()
	program := peer(t, "slowhttptest")
	dir := copyStacks(t)
	file := filepath.Join(dir, "webware.yaml")
	edit(t, file, `listen: "127.0.0.1:0"`, `listen: "127.0.0.1:0", read_header_timeout: 2s, body_idle_timeout: 2s, write_idle_timeout: 2s`)
	const size = 32 << 20
	large := filepath.Join(dir, "webware", "site", "large.bin")
	replace(t, large, nil)
	if err := os.Truncate(large, size); err != nil { // more than the system takes on by itself
		t.Fatal(err)
	}
	s := start(t, file)
	s.get(http.DefaultClient, "/") // whose connection stays, or is replaced by another
	idle := sockets(s.cmd.Process.Pid)
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"headers", []string{"-H", "-i", "1", "-u", s.url + "/"}},
		{"bodies", []string{"-B", "-i", "5", "-u", s.url + "/counter"}},
		{"readers", []string{"-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-u", s.url + "/large.bin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const slow = 300
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			count, never := strconv.Itoa(slow), strconv.Itoa(int(2*patience.Seconds()))
			cmd := exec.CommandContext(ctx, program, append(tt.args, "-c", count, "-r", count, "-l", never, "-v", "1")...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = cmd.Wait() // it was killed, unless it saw that all its connections are closed
			}()
			var slowest time.Duration
			most, n := 0, 0
			for made, open := false, 0; ctx.Err() == nil && (!made || most == 0 || open > 0); n++ {
				began := time.Now()
				if page := s.get(http.DefaultClient, "/"); page.status != http.StatusOK {
					t.Fatalf("another client got %d", page.status)
				}
				slowest = max(slowest, time.Since(began))
				// On a busy machine the first ones are closed when the last ones are made.
				select {
				case <-ended:
					made = true
				default:
					made = made || sockets(cmd.Process.Pid) >= slow
				}
				open = sockets(s.cmd.Process.Pid) - idle
				most = max(most, open)
			}
			if ctx.Err() != nil {
				t.Errorf("of %d connections that were open at once, %d are still", most, sockets(s.cmd.Process.Pid)-idle)
			}
			cancel()
			<-ended
			t.Logf("another client asked %d times, and waited for %v at most; %d connections were open at once", n, slowest, most)
		})
	}
	if response := s.get(http.DefaultClient, "/large.bin"); len(response.body) != size {
		t.Errorf("afterwards a client gets %d of %d bytes", len(response.body), size)
	}
}

// sockets returns how many sockets a process has; 0 if it has ended.
func sockets(pid int) (n int) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0
	}
	for _, file := range files {
		// It may be closed by now.
		if to, err := os.Readlink(file); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
