//go:build !unix

package cgi

import "os/exec"

// There are no process groups: only the script itself is ended.

func lead(*exec.Cmd) {}

func terminate(cmd *exec.Cmd) { kill(cmd) }

func kill(cmd *exec.Cmd) {
	// The one error to be expected is that it has ended.
	_ = cmd.Process.Kill()
}
