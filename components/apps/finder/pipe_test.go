//go:build unix

package finder

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipe proves that what isn't a file isn't opened, which for a pipe would wait for a writer.
func TestPipe(t *testing.T) {
	root := siteFolder(t)
	if err := syscall.Mkfifo(filepath.Join(root, "pipe.html"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := serve(t, settings(t, root))
	for _, target := range []string{"/pipe.html", "/pipe", "/pipe.html/x"} {
		if w := get(t, h, target); w.Code != 404 {
			t.Errorf("%s is answered with %d; want 404", target, w.Code)
		}
	}
}
