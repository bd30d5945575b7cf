//go:build !linux

package handover

import (
	"os"

	"golang.org/x/sys/unix"
)

// replaceStderr makes f the standard error.
func replaceStderr(f *os.File) error { return unix.Dup2(int(f.Fd()), 2) }
