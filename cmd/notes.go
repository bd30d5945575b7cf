package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/stackfile"
)

// notes are the files that tell scripts of a running stackd: which process it is, and where it listens. The zero
// value has none. Only one goroutine at a time may use them.
type notes struct{ pid, addresses note }

// texts are what notes say, by path; an empty path is for no file.
type texts struct{ pidFile, addressFile, addresses string }

// textsOf returns what the notes of a stack are to say whose servers are bound there.
func textsOf(plan *stackfile.Plan, servers []serve.Server, bound map[string]net.Addr) texts {
	var lines strings.Builder
	for _, s := range servers {
		if at := bound[s.Address]; at != nil {
			text := at.String()
			if at.Network() == "unix" {
				text = "unix:" + text
			}
			lines.WriteString(s.Address + " " + text + "\n")
		}
	}
	return texts{plan.PIDFile().Path, plan.AddressFile().Path, lines.String()}
}

// begin writes the notes for the first time. It is an error if another stackd that lives has the PID file.
func (n *notes) begin(t texts) error {
	if err := vacant(t.pidFile); err != nil {
		return err
	}
	publish, err := n.stage(t)
	if err != nil {
		return err
	}
	if err := publish(); err != nil {
		return errors.Join(err, n.end())
	}
	return nil
}

// stage writes what is new beside the notes; publish puts it in their place. What is never published is left to end.
func (n *notes) stage(t texts) (publish func() error, err error) {
	first, err := n.pid.stage("pid_file", t.pidFile, strconv.Itoa(os.Getpid())+"\n")
	if err != nil {
		return nil, err
	}
	second, err := n.addresses.stage("address_file", t.addressFile, t.addresses)
	if err != nil {
		return nil, errors.Join(err, n.pid.discard())
	}
	return func() error { return errors.Join(first(), second()) }, nil
}

// change brings the notes up to date; what can't be is left as it is, and logged. So is a PID file that another stackd has.
func (n *notes) change(t texts, log *slog.Logger) {
	for _, one := range []struct {
		note            *note
		key, path, text string
	}{
		{&n.pid, "pid_file", t.pidFile, strconv.Itoa(os.Getpid()) + "\n"},
		{&n.addresses, "address_file", t.addressFile, t.addresses},
	} {
		var publish func() error
		var err error
		if one.note == &n.pid && one.path != n.pid.path {
			err = vacant(one.path)
		}
		if err == nil {
			publish, err = one.note.stage(one.key, one.path, one.text)
		}
		if err == nil {
			err = publish()
		}
		if err != nil {
			log.Warn("a file for scripts is not up to date", slog.Any("err", err))
		}
	}
}

// end removes the notes that are still of this process.
func (n *notes) end() error {
	return errors.Join(n.pid.discard(), n.pid.remove(), n.addresses.discard(), n.addresses.remove())
}

// note is one file. It is held open and locked, which tells another stackd that this one lives.
type note struct {
	path, text string
	file       *os.File // nil for none

	next *os.File // beside it, until it is published
}

// stage writes a text that is to stand at path; an empty path is for no file.
func (n *note) stage(key, path, text string) (publish func() error, err error) {
	if path == n.path && (n.file == nil || text == n.text && n.stands()) {
		return func() error { return nil }, nil
	}
	if path == "" {
		return n.remove, nil
	}
	n.next, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err == nil {
		err = n.write(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s can't be written: %w", key, path, errors.Join(cause(err), n.discard()))
	}
	return func() error {
		if err := os.Rename(n.next.Name(), path); err != nil {
			return fmt.Errorf("%s %s can't be written: %w", key, path, errors.Join(cause(err), n.discard()))
		}
		file := n.next
		n.next = nil
		var removed error
		if n.path == path {
			removed = n.file.Close()
		} else {
			removed = n.remove()
		}
		n.path, n.text, n.file = path, text, file
		return removed
	}, nil
}

// write fills the file beside.
func (n *note) write(text string) error {
	if err := unix.Flock(int(n.next.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) {
		return err
	}
	if err := n.next.Chmod(0o644); err != nil {
		return err
	}
	_, err := n.next.WriteString(text)
	return err
}

// discard removes what was never published.
func (n *note) discard() error {
	if n.next == nil {
		return nil
	}
	err := errors.Join(os.Remove(n.next.Name()), n.next.Close())
	n.next = nil
	return err
}

// stands reports whether the file is what this process has written.
func (n *note) stands() bool {
	there, err := os.Lstat(n.path)
	if err != nil {
		return false
	}
	mine, err := n.file.Stat()
	return err == nil && os.SameFile(there, mine)
}

// remove removes the file if it is still that of this process.
func (n *note) remove() error {
	if n.file == nil {
		return nil
	}
	var err error
	if n.stands() {
		err = os.Remove(n.path)
	}
	err = errors.Join(err, n.file.Close())
	*n = note{next: n.next}
	return err
}

// vacant returns an error if a stackd that lives has the PID file. That of one which has died is not locked any more,
// whatever process has its number now.
func vacant(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hang
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pid_file %s is there, and can't be read: %w", path, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("pid_file %s: something else is there (%s); remove it or choose another path", path, info.Mode())
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		number, _ := io.ReadAll(io.LimitReader(f, 20)) // what is there of it
		return fmt.Errorf("process %s runs with pid_file %s already; stop that one first", strings.TrimSpace(string(number)), path)
	}
	return nil
}

// cause is what went wrong with a file, without its name.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
