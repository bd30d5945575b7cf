package stackfile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipe proves that a load comes back from a pipe, with what is written to it, as by <(…) of a shell.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stack.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Load(t.Context(), testRegistry(t), path, Options{})
	if err == nil || !strings.Contains(err.Error(), "the stack file can't be read: it is a pipe that nobody writes to; it must be a stack file") {
		t.Errorf("without a writer the error is %v", err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0) // doesn't wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.WriteString(w, "servers: [http]\nstack: [say]\n"); err != nil {
		t.Fatal(err)
	}
	_, _, err = Load(t.Context(), testRegistry(t), path, Options{})
	if err == nil || !strings.Contains(err.Error(), "it is a pipe that nobody writes to") {
		t.Errorf("with a writer that doesn't end the error is %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.WriteString(w, "servers: [http]\nstack: [say]\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, _, err := Load(t.Context(), testRegistry(t), fmt.Sprintf("/proc/self/fd/%d", r.Fd()), Options{}); err != nil {
		t.Errorf("with all written the error is %v", err)
	}
}
