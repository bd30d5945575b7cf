package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/serve"
)

// variable tells a successor the descriptor of the socket over which it speaks with its predecessor.
const variable = "STACKD_UPGRADE"

// Greeting is what a predecessor tells its successor.
type Greeting struct {
	// PID is the predecessor's.
	PID int `json:"pid"`
	// Stderr is the descriptor of its standard error.
	Stderr  int      `json:"stderr"`
	Sockets []Handed `json:"sockets"`
}

// Handed is a listening socket in a Greeting.
type Handed struct {
	// FD is its descriptor.
	FD int `json:"fd"`
	// Address is what it is for, or empty for one that nobody has asked for yet.
	Address string `json:"address,omitempty"`
	// Name is what a service manager calls it.
	Name string `json:"name,omitempty"`
	// Ours says that the file of a unix socket is handed over with it.
	Ours bool `json:"ours,omitempty"`
}

// Event is what one of them has done, or the other is to do.
type Event string

// The events, in their order.
const (
	Ready    Event = "ready"     // the successor serves
	TakeOver Event = "take over" // the predecessor leaves everything to it
	Taken    Event = "taken"     // and it has
)

// message is a line that tells of an event.
type message struct {
	Event Event `json:"event"`
}

// tell sends one.
func tell(line *net.UnixConn, e Event) error {
	text, err := json.Marshal(message{e})
	if err != nil {
		return err
	}
	_, err = line.Write(append(text, '\n'))
	return err
}

// hear waits for one.
func hear(r *bufio.Reader, want Event) error {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return fmt.Errorf("it says %.200q, and more, and not %q", line, want)
	}
	if err != nil {
		return err
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil || m.Event != want {
		return fmt.Errorf("it says %.200q, and not %q", line, want)
	}
	return nil
}

// Program is what a Successor runs.
type Program struct {
	// Path is the file, and Args the arguments, the name of the program first.
	Path string
	Args []string
	// Env is what is added to the environment of this process.
	Env []string
	// Stderr is where its standard error goes, until it takes over and has it by itself.
	Stderr *os.File
}

// Successor is a process that is to take the place of this one.
type Successor struct {
	cmd  *exec.Cmd
	line *net.UnixConn

	ended chan struct{} // closed when the process has ended
	why   error         // of the process; read it after ended
	said  *tail
	relay sync.WaitGroup // what copies its standard error
}

// Failure is why a successor didn't take over.
type Failure struct {
	Err error
	// Output is the end of what it wrote to its standard error.
	Output string
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns why.
func (f *Failure) Unwrap() error { return f.Err }

// Start starts a successor, gives it the sockets, and returns when it serves and has taken over, save that it does not speak
// for the service: [Successor.Release] lets it. Others are the sockets that this process was given. The error may be a
// [*Failure]; then the successor has been ended, and everything that it has started.
func Start(ctx context.Context, p Program, sockets []serve.Handed, others *Sockets) (*Successor, error) {
	mine, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, mine.Close())
	}
	defer write.Close()

	s := &Successor{line: mine, ended: make(chan struct{}), said: &tail{}}
	s.cmd = exec.Command(p.Path)
	s.cmd.Args = p.Args
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = os.Stdin, os.Stdout, write
	// A group of its own, so that it can be ended with whatever it has started.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pass := func(f *os.File) (fd int) {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, f)
		return 2 + len(s.cmd.ExtraFiles)
	}
	s.cmd.Env = append(append(os.Environ(), p.Env...), variable+"="+strconv.Itoa(pass(theirs)))
	greeting := Greeting{PID: os.Getpid(), Stderr: pass(p.Stderr)}
	spare, err := others.spare(sockets)
	if err != nil {
		return nil, errors.Join(err, mine.Close(), read.Close())
	}
	for _, one := range sockets {
		name := others.nameOf(one.Address)
		greeting.Sockets = append(greeting.Sockets, Handed{pass(one.File), one.Address, name, one.Ours})
	}
	for _, one := range spare {
		defer one.file.Close()
		greeting.Sockets = append(greeting.Sockets, Handed{pass(one.file), one.address, one.name, false})
	}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(&Failure{Err: fmt.Errorf("the new program can't be started: %w", err)}, mine.Close(), read.Close())
	}
	go func() {
		s.why = s.cmd.Wait()
		close(s.ended)
	}()
	s.relay.Go(func() {
		defer read.Close()
		_, _ = io.Copy(io.MultiWriter(s.said, ignore{p.Stderr}), read) // until nobody has the other end
	})
	if err := errors.Join(write.Close(), theirs.Close()); err != nil {
		return nil, errors.Join(err, s.kill())
	}
	if err := s.ready(ctx, greeting); err != nil {
		closed := s.kill()
		return nil, errors.Join(&Failure{Err: err, Output: s.said.String()}, closed)
	}
	return s, nil
}

// PID is the number of the process.
func (s *Successor) PID() int { return s.cmd.Process.Pid }

// ready greets the successor and waits until it is ready.
func (s *Successor) ready(ctx context.Context, greeting Greeting) error {
	answers := make(chan error, 1)
	go func() { answers <- s.converse(greeting) }()
	select {
	case err := <-answers:
		if err == nil {
			return nil
		}
		if died(err) {
			select {
			case <-s.ended:
				return s.end()
			case <-time.After(10 * time.Second): // it only says nothing any more
			}
		}
		return fmt.Errorf("the new process gives up: %w", err)
	case <-s.ended:
		_ = s.interrupt(answers) // even if it has taken over just before
		return s.end()
	case <-ctx.Done():
		if err := s.interrupt(answers); err == nil {
			return nil
		}
		return fmt.Errorf("the new process is not ready: %w", context.Cause(ctx))
	}
}

// interrupt ends the talk with the successor, and returns what came of it.
func (s *Successor) interrupt(answers <-chan error) error {
	_ = s.line.SetDeadline(time.Unix(1, 0)) // it fails for what is closed
	return <-answers
}

// end says how the process has ended.
func (s *Successor) end() error {
	if s.why == nil {
		return errors.New("the new process ended before it was ready, without an error; is it stackd?")
	}
	return fmt.Errorf("the new process ended before it was ready: %w", s.why)
}

// converse says what is handed over, and returns when the successor has taken over.
func (s *Successor) converse(greeting Greeting) error {
	text, err := json.Marshal(greeting)
	if err != nil {
		return err
	}
	if _, err := s.line.Write(append(text, '\n')); err != nil {
		return err
	}
	lines := bufio.NewReader(s.line)
	if err := hear(lines, Ready); err != nil {
		return err
	}
	if err := tell(s.line, TakeOver); err != nil {
		return err
	}
	return hear(lines, Taken)
}

// maxLine bounds what is read of the other process.
const maxLine = 16 << 20

// Release lets the successor speak for the service. What it writes to its standard error from now on is not seen here.
func (s *Successor) Release() error {
	s.relayed() // it has another one
	return s.line.Close()
}

// relayed waits until nobody has the standard error that this process passes on; but not for long, since a program
// that the successor has started may have it.
func (s *Successor) relayed() {
	done := make(chan struct{})
	go func() {
		s.relay.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// kill ends the successor, and returns when it has ended.
func (s *Successor) kill() error {
	if err := syscall.Kill(-s.PID(), syscall.SIGKILL); err != nil { // such as one that has left its group
		_ = s.cmd.Process.Kill()
	}
	<-s.ended
	s.relayed()
	return s.line.Close()
}

// pair returns the two ends of a socket: one for this process, and one to hand on.
func pair() (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("a pair of sockets: %w", err)
	}
	mine := os.NewFile(uintptr(fds[0]), "upgrade")
	defer mine.Close()
	theirs := os.NewFile(uintptr(fds[1]), "upgrade")
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c.(*net.UnixConn), theirs, nil
}

// tail remembers the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
	cut  bool
}

// maxTail is how much that is.
const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-maxTail):]...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text, t.cut = append(t.text[:0], t.text[over:]...), true
	}
	return len(p), nil
}

// String returns it, in whole lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.text)
	if _, rest, ok := strings.Cut(text, "\n"); t.cut && ok {
		text = rest
	}
	return strings.TrimSpace(text)
}

// ignore writes, and has no errors: a standard error that nobody reads must not stop the copying.
type ignore struct{ w io.Writer }

func (i ignore) Write(p []byte) (int, error) {
	_, _ = i.w.Write(p)
	return len(p), nil
}
