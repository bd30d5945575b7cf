package cmd

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestHeadroom proves that the headroom is there while a stack is served: garbage is collected once in as many bytes,
// and not as soon as the small heap of a server has doubled.
func TestHeadroom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stack.yaml")
	text := "servers: [{use: http, listen: \"127.0.0.1:0\"}]\nstack: [{use: respond, body: hello}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, file)
	r.await("generation serves")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const garbage = 128 << 20
	var last []byte
	for range garbage >> 16 {
		last = make([]byte, 1<<16)
	}
	runtime.KeepAlive(last)
	runtime.ReadMemStats(&after)
	if n := after.NumGC - before.NumGC; n == 0 || n > garbage/headroom {
		t.Errorf("%d bytes of garbage were collected in %d turns; want 1 to %d", garbage, n, garbage/headroom)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// TestProfileRate proves that allocations are profiled only if somebody asks for that.
func TestProfileRate(t *testing.T) {
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	for rate, want := range map[int]int{usualProfileRate: 0, 4096: 4096, 0: 0} {
		runtime.MemProfileRate = rate
		if status := Main([]string{"version"}); status != exitGood || runtime.MemProfileRate != want {
			t.Errorf("with a rate of %d: status %d, and then a rate of %d; it must be %d", rate, status, runtime.MemProfileRate, want)
		}
	}
}
