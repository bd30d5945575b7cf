//go:build unix

package cgi

import (
	"os/exec"
	"syscall"
)

// lead makes the command the leader of a process group of its own.
func lead(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// terminate asks the group to end.
func terminate(cmd *exec.Cmd) { signalGroup(cmd, syscall.SIGTERM) }

// kill ends the group.
func kill(cmd *exec.Cmd) { signalGroup(cmd, syscall.SIGKILL) }

// signalGroup reaches what is left of the group. As long as a process is in it, its number
// belongs to nobody else, even when the leader is gone.
func signalGroup(cmd *exec.Cmd, sig syscall.Signal) {
	// The one error to be expected is that nobody is left.
	_ = syscall.Kill(-cmd.Process.Pid, sig)
}
