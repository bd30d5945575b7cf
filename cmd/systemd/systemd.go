// Package systemd speaks with the service manager that has started this process.
//
// It takes the sockets that the manager has opened for it ([Sockets], as sd_listen_fds(3) says), and tells it
// what the process is doing ([Open] and [Notifier], as sd_notify(3) says): for Type=notify and Type=notify-reload, and
// for WatchdogSec=. Any other manager that keeps to these two pages is as good.
//
// What it takes from the environment it removes there, so that no program that this process starts
// believes that it is the service.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket is a descriptor that the service manager has handed in.
type Socket struct {
	// Name is the FileDescriptorName= of the socket unit, or else the unit's name; "" if the manager tells none.
	Name string
	File *os.File
}

// firstDescriptor is that of the first socket.
const firstDescriptor = 3

// Sockets returns the descriptors that the service manager has handed in, in its order, and none if this
// process was started in another way. Whoever calls it closes them; a second call returns none. They aren't
// passed on to programs that the process starts. Whether they are sockets that listen is not looked at.
func Sockets() ([]Socket, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	unset("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
	if pid != strconv.Itoa(os.Getpid()) { // none, or they are meant for a process that has started this one
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1<<16 {
		return nil, fmt.Errorf("LISTEN_FDS is %q; it must be the number of sockets that are handed in", count)
	}
	var named []string
	if names != "" {
		named = strings.Split(names, ":")
		if len(named) != n {
			return nil, fmt.Errorf("LISTEN_FDNAMES has %d names; it must have one for each of the %d sockets that LISTEN_FDS says", len(named), n)
		}
	}
	for i := range n {
		// What isn't a socket may be a file of this program's own, if the variable is wrong.
		var is unix.Stat_t
		err := unix.Fstat(firstDescriptor+i, &is)
		if err == nil && is.Mode&unix.S_IFMT != unix.S_IFSOCK {
			err = errors.New("it is no socket")
		}
		if err == nil {
			_, err = unix.FcntlInt(uintptr(firstDescriptor+i), unix.F_SETFD, unix.FD_CLOEXEC)
		}
		if err != nil {
			return nil, fmt.Errorf("LISTEN_FDS is %d, but descriptor %d can't be used: %w", n, firstDescriptor+i, err)
		}
	}
	sockets := make([]Socket, n)
	for i := range n {
		if named != nil {
			sockets[i].Name = named[i]
		}
		sockets[i].File = os.NewFile(uintptr(firstDescriptor+i), "LISTEN_FDS "+strconv.Itoa(i))
	}
	return sockets, nil
}

// unset removes variables from the environment.
func unset(names ...string) {
	for _, name := range names {
		_ = os.Unsetenv(name) // it fails for no such name
	}
}
