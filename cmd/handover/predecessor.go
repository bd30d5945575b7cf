package handover

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Predecessor is the process whose place this one is to take.
type Predecessor struct {
	// PID is its number.
	PID int

	line   *net.UnixConn
	lines  *bufio.Reader
	stderr *os.File    // the predecessor's
	own    atomic.Bool // this process has taken over
}

// Open returns the process whose place this one is to take, and adds the sockets that it hands over. If there is none,
// both results are nil. Until TakeOver, standard error is a pipe to it, which breaks when it dies: SIGPIPE must not end this
// process.
func Open(sockets *Sockets) (*Predecessor, error) {
	value := os.Getenv(variable)
	if value == "" {
		return nil, nil
	}
	_ = os.Unsetenv(variable) // for the programs that this one starts; it fails for no such name
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q; it is set by a stackd that starts another one, and must not be set otherwise", variable, value)
	}
	p := &Predecessor{}
	if err := p.meet(fd, sockets); err != nil {
		return nil, fmt.Errorf("%s is %q, but nobody is there who hands over: %w", variable, value, err)
	}
	return p, nil
}

// meet takes what the predecessor hands over.
func (p *Predecessor) meet(fd int, sockets *Sockets) error {
	f, err := passed(fd, "predecessor")
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	line, ok := c.(*net.UnixConn)
	if !ok {
		return errors.Join(fmt.Errorf("descriptor %d is no unix socket", fd), c.Close())
	}
	p.line = line
	if err := line.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	p.lines = bufio.NewReader(io.LimitReader(line, maxLine))
	text, err := p.lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var greeting Greeting
	if err := json.Unmarshal(text, &greeting); err != nil {
		return err
	}
	p.PID = greeting.PID
	if p.stderr, err = passed(greeting.Stderr, "standard error"); err != nil {
		return err
	}
	for _, s := range greeting.Sockets {
		file, err := passed(s.FD, s.Address)
		if err != nil {
			return fmt.Errorf("the socket of %q: %w", s.Address, err)
		}
		one := &socket{name: s.Name, address: s.Address, file: file, bound: boundTo(file)}
		if s.Ours {
			one.ours = p.own.Load
		}
		sockets.add(one)
	}
	return line.SetReadDeadline(time.Time{})
}

// passed returns a descriptor that was handed in, which is not for the programs that this one starts.
func passed(fd int, name string) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Stderr is the standard error that this process will have when it has taken over. Programs that it starts to serve with
// it are to have that from the beginning.
func (p *Predecessor) Stderr() *os.File { return p.stderr }

// TakeOver tells the predecessor that this process serves, and returns when everything is left to it and it speaks for the
// service. That is so, too, when the predecessor has died. With an error, as when ctx has ended, the predecessor goes on.
func (p *Predecessor) TakeOver(ctx context.Context) error {
	defer p.line.Close()
	defer context.AfterFunc(ctx, func() { _ = p.line.SetReadDeadline(time.Unix(1, 0)) })()
	_ = tell(p.line, Ready) // that it has died is seen when reading
	if err := hear(p.lines, TakeOver); err != nil && !died(err) {
		return cmp.Or(context.Cause(ctx), err)
	}
	if err := replaceStderr(p.stderr); err != nil {
		return err
	}
	p.own.Store(true)
	_ = tell(p.line, Taken)
	// There is no way back: if this can't be read, nothing is left to be waited for.
	_, _ = io.Copy(io.Discard, p.line)
	return nil
}

// died reports whether an error means that the other process is gone.
func died(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
