//go:build !linux || race || 386

package direct

import (
	"errors"
	"net"
	"syscall"
)

// calls leaves reading and writing to package net.
type calls struct{}

func (calls) init(syscall.Conn) {}

func (calls) read(of net.Conn, p []byte) (int, error) { return of.Read(p) }

func (calls) write(of net.Conn, p []byte) (int, error) { return of.Write(p) }

func (calls) quiet(of syscall.Conn) bool {
	raw, err := of.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && nothing
}
