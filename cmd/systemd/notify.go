package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells the service manager how the process is. It is safe for concurrent use. All its methods may be called
// on a nil Notifier, which has nobody to tell.
type Notifier struct {
	path     string
	watchdog time.Duration

	mu   sync.Mutex
	conn *net.UnixConn // nil when it is closed
}

// Open returns what tells the service manager, or nil if none wants to be told.
func Open() (*Notifier, error) {
	path, period, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	unset("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
	if path == "" {
		return nil, nil
	}
	n := &Notifier{path: path}
	if period != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		micros, err := strconv.ParseInt(period, 10, 64)
		if err != nil || micros <= 0 || micros > int64(time.Duration(1<<63-1)/time.Microsecond) {
			return nil, fmt.Errorf("WATCHDOG_USEC is %q; it must be a number of microseconds", period)
		}
		n.watchdog = time.Duration(micros) * time.Microsecond
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET is %q; it must be the absolute path of a socket, or @ and the name of an abstract one", path)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET is %q, where nobody can be told anything: %w", path, err)
	}
	n.conn = conn
	return n, nil
}

// Environ returns the variables by which another process finds the same manager.
func (n *Notifier) Environ() []string {
	if n == nil {
		return nil
	}
	all := []string{"NOTIFY_SOCKET=" + n.path}
	if n.watchdog > 0 {
		all = append(all, "WATCHDOG_USEC="+strconv.FormatInt(n.watchdog.Microseconds(), 10))
	}
	return all
}

// Watchdog is within what time the manager wants the next [Notifier.Alive], or it restarts the service; 0 if
// it doesn't care.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the process serves: for the first time, or again after Reloading. Status is for people.
func (n *Notifier) Ready(status string) error { return n.tell("READY=1", "STATUS="+status) }

// Reloading says that a reload has begun.
func (n *Notifier) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return n.tell("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

// Stopping says that the process ends.
func (n *Notifier) Stopping(status string) error { return n.tell("STOPPING=1", "STATUS="+status) }

// Alive is what the watchdog waits for.
func (n *Notifier) Alive() error { return n.tell("WATCHDOG=1") }

// HandOver says that another process is the service from now on. After it nothing is told any more: the manager
// would not listen to this one.
func (n *Notifier) HandOver(pid int) error {
	if err := n.tell("MAINPID=" + strconv.Itoa(pid)); err != nil {
		return err
	}
	return n.Close()
}

// Close ends it; nothing is told any more.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == nil {
		return nil
	}
	err := n.conn.Close()
	n.conn = nil
	return err
}

// tell sends one datagram. It waits a second at most: a manager that doesn't read must not stop the process.
func (n *Notifier) tell(lines ...string) error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == nil {
		return nil
	}
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(line, "\n", " ")
	}
	if err := n.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err := n.conn.Write([]byte(strings.Join(lines, "\n")))
	return err
}
