package registrytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"
)

var (
	goroutinesGone = rule{
		name:  "goroutines",
		text:  "goroutines start in Build and are gone when the OnClose functions returned",
		where: mustKeepTo,
	}
	filesClosed = rule{
		name:  "files",
		text:  "what Build opens is closed by the OnClose functions, and what a request opens by its end",
		where: life,
	}
)

// label is the profiler label that the goroutines of a check carry: a goroutine inherits it from
// the one that starts it, so others of the process aren't mistaken for the component's.
const label = "registrytest"

// marked runs f with all goroutines that it starts marked.
func marked(f func(mark string)) {
	mark := rand.Text()
	// A goroutine of its own, since the one that calls has a mark already when a check runs in a
	// check, as in the kit's own tests.
	done := make(chan struct{})
	go func() {
		defer close(done)
		pprof.Do(context.Background(), pprof.Labels(label, mark), func(context.Context) { f(mark) })
	}()
	<-done
}

// noGoroutines returns an error when a goroutine with that mark other than the caller's
// doesn't end. One may still be on its way out when what waited for it returned.
func noGoroutines(mark string, patience time.Duration) error {
	return eventually(patience, func() error {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			return err
		}
		var left []string
		for group := range strings.SplitSeq(b.String(), "\n\n") {
			if !strings.Contains(group, fmt.Sprintf("%q:%q", label, mark)) {
				continue
			}
			switch {
			case strings.Contains(group, "registrytest.noGoroutines+"): // this one
			case strings.Contains(group, "os/signal.loop+"): // the runtime keeps it for good
			default:
				left = append(left, calls(group))
			}
		}
		if len(left) == 0 {
			return nil
		}
		return fmt.Errorf("a goroutine is left:\n\t%s", strings.Join(left, "\n\n\t"))
	})
}

// calls makes a group of the goroutine profile readable.
func calls(group string) string {
	var lines []string
	for line := range strings.SplitSeq(group, "\n") {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[0] == "#" {
			function, _, _ := strings.Cut(fields[2], "+0x")
			lines = append(lines, function+" "+fields[3])
		}
	}
	return strings.Join(lines, "\n\t")
}

// openFiles returns what the file descriptors of the process stand for, or nothing where the
// system doesn't tell.
func openFiles() (map[string]string, error) {
	// The runtime opens some for itself with the first connection.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil
	}
	open := make(map[string]string, len(entries))
	for _, e := range entries {
		// The descriptor that listed the folder is gone by now.
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[e.Name()] = target
		}
	}
	return open, nil
}

// noFiles returns an error when more files stay open than before.
func noFiles(before map[string]string, patience time.Duration) error {
	return eventually(patience, func() error {
		after, err := openFiles()
		if err != nil {
			return err
		}
		var left []string
		for fd, target := range after {
			if before[fd] != target {
				left = append(left, target)
			}
		}
		if len(left) == 0 {
			return nil
		}
		return fmt.Errorf("still open: %s", strings.Join(left, ", "))
	})
}

// eventually calls f until it returns nil, or gives its last error back when patience ends.
func eventually(patience time.Duration, f func() error) error {
	timer, tick := time.NewTimer(patience), time.NewTicker(time.Millisecond)
	defer timer.Stop()
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-timer.C:
			return err
		}
	}
}
