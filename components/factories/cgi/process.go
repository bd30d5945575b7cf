package cgi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/gateway"
)

// process is a script that runs, with what it started.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelCauseFunc
	stdout output
	stderr gateway.Tail // to be read after end
	pipes  []*os.File
	feeder *feeder // nil when there is nothing to feed

	// done is closed when the script has ended; then exit is how.
	done chan struct{}
	exit error

	running sync.WaitGroup
}

// start starts cmd. It is terminated when ctx ends, which cancel does, and killed so much later. Whoever
// started it must call end.
func start(ctx context.Context, cancel context.CancelCauseFunc, cmd *exec.Cmd, timeout, killDelay time.Duration) (*process, error) {
	p := &process{cmd: cmd, cancel: cancel, done: make(chan struct{})}
	lead(cmd)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	var errs error
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		errs = errors.Join(errs, err)
		return r, w
	}
	stdout, w := pipe()
	stderr, w2 := pipe()
	if errs == nil {
		cmd.Stdout, cmd.Stderr = w, w2
		errs = cmd.Start()
	}
	theirs = []*os.File{w, w2}
	p.pipes = []*os.File{stdout, stderr}
	if errs != nil {
		p.closePipes()
		return nil, errs
	}
	p.stdout.file, p.stdout.timeout = stdout, timeout
	p.running.Go(func() {
		p.exit = cmd.Wait()
		kill(cmd) // whatever it left in its group
		p.stdout.end()
		_ = stderr.SetReadDeadline(time.Now().Add(drain))
		close(p.done)
	})
	p.running.Go(func() {
		// It ends at the end of the pipe or at the deadline; both are ends.
		_, _ = io.Copy(&p.stderr, stderr)
	})
	p.running.Go(func() {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
		}
		p.stdout.stop()
		terminate(cmd)
		timer := time.NewTimer(killDelay)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
			kill(cmd)
		}
	})
	return p, nil
}

// await waits until the script has ended, but no longer than that.
func (p *process) await(longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// end ends the script, if it still runs and there is a cause, and returns when nothing of it
// is left.
func (p *process) end(cause error) {
	if cause != nil {
		p.cancel(cause)
	}
	if p.feeder != nil {
		<-p.done
		p.feeder.stop()
	}
	p.running.Wait()
	p.closePipes()
}

// announceClose says in the header that the connection will be closed, as it must be when the rest of the
// request's body may never be read. A client that isn't told sends its next request into it.
func (p *process) announceClose(h http.Header, r *http.Request) {
	if p.feeder != nil && !p.feeder.whole.Load() && r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
}

func (p *process) closePipes() {
	for _, f := range p.pipes {
		_ = f.Close()
	}
}
