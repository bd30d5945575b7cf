package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/control"
)

// member is a worker as its supervisor sees it.
type member struct {
	number int // of its place, from 1
	cmd    *exec.Cmd
	link   *link
	began  time.Time
	log    *slog.Logger

	serving bool          // the supervisor's mu guards it
	exited  chan struct{} // closed when the process has ended and was waited for
	how     string        // it ended; read it after exited
}

// hire starts a process.
func (s *Supervisor) hire(number int) (*member, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a link for a worker: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "link")
	defer theirs.Close()
	ours, err := open(pair[0])
	if err != nil {
		return nil, fmt.Errorf("a link for a worker: %w", err)
	}
	cmd := s.options.Command(number)
	cmd.ExtraFiles = []*os.File{theirs} // it is linkDescriptor there
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a worker: %w", err), ours.close())
	}
	m := &member{
		number: number, cmd: cmd, link: ours, began: time.Now(), exited: make(chan struct{}),
		log: s.options.Logger.With(slog.Int("worker", number), slog.Int("pid", cmd.Process.Pid)),
	}
	s.all.Go(func() {
		m.link.serve(func(told message) {
			switch told.Kind {
			case kindLeaving:
				s.left(m)
			case kindFailed:
				var f failure
				if err := json.Unmarshal(told.Body, &f); err == nil && s.options.Failed != nil {
					s.options.Failed(f.Generation, f.Reason)
				}
			}
			if told.file != nil {
				_ = told.file.Close()
			}
		})
		_ = m.link.close() // it has ended already
	})
	s.all.Go(func() {
		_ = cmd.Wait() // ProcessState has it
		m.how = ending(cmd.ProcessState)
		patience := time.NewTimer(time.Second)
		select {
		case <-m.link.ended: // all that it has said was read
		case <-patience.C:
		}
		patience.Stop()
		close(m.exited)
		s.gone(m)
	})
	return m, nil
}

// over reports whether the process has ended.
func (m *member) over() bool {
	select {
	case <-m.exited:
		return true
	default:
		return false
	}
}

// ending says how a process ended.
func ending(p *os.ProcessState) string {
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "it was ended by the signal " + status.Signal().String()
	}
	return fmt.Sprintf("it ended with exit status %d", p.ExitCode())
}

// ask asks the worker. That it ended is an error that says how.
func (m *member) ask(ctx context.Context, kind string, body, into any) error {
	err := m.link.ask(ctx, kind, body, into)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, ok := errors.AsType[*control.Refusal](err); ok {
		return err
	}
	return m.ended(ctx, err)
}

// ended returns how it ended, since its link is broken, or the error that says so if it doesn't end.
func (m *member) ended(ctx context.Context, err error) error {
	patience, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-m.exited:
		return errors.New(m.how)
	case <-patience.Done():
		return err
	}
}

// prepare hands the sockets in, and the assignment.
func (m *member) prepare(ctx context.Context, a assignment, sockets map[string]syscall.Conn) (prepared, error) {
	for address, socket := range sockets {
		if err := m.link.tell(kindSocket, address, socket); err != nil {
			return prepared{}, fmt.Errorf("worker %d was not ready: %w", m.number, m.ended(ctx, err))
		}
	}
	var p prepared
	err := m.ask(ctx, kindPrepare, a, &p)
	if _, refused := errors.AsType[*control.Refusal](err); err != nil && !refused {
		err = fmt.Errorf("worker %d was not ready: %w", m.number, err)
	}
	return p, err
}

// commit lets it serve what it has prepared.
func (m *member) commit(ctx context.Context) (control.Reload, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, decisionTimeout, fmt.Errorf("it did not answer in %s", decisionTimeout))
	defer cancel()
	var r control.Reload
	return r, m.ask(ctx, kindCommit, nil, &r)
}

// abort lets it forget what it was to prepare.
func (m *member) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, decisionTimeout, fmt.Errorf("it did not answer in %s", decisionTimeout))
	defer cancel()
	return m.ask(ctx, kindAbort, nil, nil)
}

// status asks what it does.
func (m *member) status(ctx context.Context) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s control.Status
	return s, m.ask(ctx, kindStatus, nil, &s)
}

// kill ends it at once.
func (m *member) kill() {
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.log.Error("killing a worker", slog.Any("err", err))
	}
}

// dismiss stops it, and returns when it has ended, with how many of its requests did not end in time. When ctx ends, it
// is cut; and killed if that is not enough.
func (m *member) dismiss(ctx context.Context) (outlived int) {
	var stopped control.Stopped
	asked := make(chan error, 1)
	go func() { asked <- m.link.ask(context.Background(), kindStop, nil, &stopped) }()
	select {
	case err := <-asked:
		asked <- err
	case <-ctx.Done():
		_ = m.link.tell(kindCut, nil, nil) // it may have ended
	}
	patience := time.NewTimer(cutTimeout)
	defer patience.Stop()
	select {
	case <-m.exited:
	case <-patience.C:
		m.log.Error("a worker does not end, and is killed")
		m.kill()
		<-m.exited
	}
	if err := <-asked; err != nil { // at the latest the end of the process is an answer
		m.log.Debug("a worker ended without a word about its requests", slog.Any("err", err))
	}
	return stopped.Outlived
}
