package cgi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
	"github.com/stackd/stackd/registry/resource"
)

// factory makes scripts, which share its limit on processes.
type factory struct {
	cfg     Config
	log     *slog.Logger
	program string   // command's, empty for the file itself
	env     []string // what does not depend on the script
	slots   chan struct{}
}

// script answers the requests for one file.
type script struct {
	factory *factory
	file    *resource.File
	path    string   // on disk
	env     []string // what does not depend on the request
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := s.serve(w, r)
	if _, gone := errors.AsType[*gateway.ClientGoneError](err); gone {
		panic(http.ErrAbortHandler) // nobody is left to tell
	}
	failure.Report(r, err)
}

// serve runs the script for r. An error is for the catcher, whether or not the response has begun.
func (s *script) serve(w http.ResponseWriter, r *http.Request) error {
	cfg := &s.factory.cfg
	if m := resource.Key.Get(r); m != nil && strings.ContainsRune(m.PathInfo, 0) {
		return failure.WithStatus(errors.New("the path has a NUL; no environment variable can hold it"), http.StatusBadRequest)
	}
	var stdin *os.File // nil for an empty input
	length := r.ContentLength
	if length < 0 && r.Body != nil {
		var err error
		if stdin, length, err = gateway.Spool(r.Body, int64(cfg.MaxSpool)); err != nil {
			return err
		}
	}
	if err := s.factory.acquire(r.Context()); err != nil {
		if stdin != nil {
			_ = stdin.Close()
		}
		if errors.Is(err, errBusy) {
			w.Header().Set("Retry-After", strconv.Itoa(int(max(1, cfg.QueueTimeout.Round(time.Second).Seconds()))))
		}
		return err
	}
	defer s.factory.release()

	var feed *feeder
	response := http.NewResponseController(w)
	if stdin == nil && length > 0 {
		in, out, err := os.Pipe()
		if err != nil {
			return err
		}
		stdin, feed = in, newFeeder(r.Body, out, response)
		// Otherwise net/http throws away the rest of the body at the first byte of the answer. Who doesn't know
		// the method needs none.
		_ = response.EnableFullDuplex()
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	p, err := start(ctx, cancel, s.command(r, stdin, length), cfg.Timeout, cfg.KillDelay)
	if stdin != nil {
		_ = stdin.Close() // the script has its own
	}
	if err != nil {
		if feed != nil {
			_ = feed.stdin.Close()
		}
		return s.notStarted(err)
	}
	if feed != nil {
		p.feeder = feed
		p.running.Go(func() { feed.run(p) })
	}
	err = s.answer(w, r, p)
	patience := cfg.Timeout
	if err != nil {
		patience = drain // one that ends badly says more by its exit status than by its output
	}
	byItself := !errors.Is(err, errTimeout) && p.await(patience)
	if err == nil && !byItself {
		err = fault(errTimeout)
	}
	if ctx.Err() != nil {
		err, byItself = context.Cause(ctx), false
	}
	p.end(err)
	p.announceClose(w.Header(), r) // for the catcher's response, if there is to be one
	if byItself {
		return s.verdict(r, p, err, p.exit)
	}
	return s.verdict(r, p, err, nil)
}

// command is the script as a process, not started.
func (s *script) command(r *http.Request, stdin *os.File, length int64) *exec.Cmd {
	cmd := &exec.Cmd{Path: s.path, Args: []string{s.path}}
	if s.factory.program != "" {
		cmd.Path, cmd.Args = s.factory.program, s.factory.cfg.Command
	}
	cmd.Dir = filepath.Dir(s.path)
	cmd.Env = s.environment(r, length)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return cmd
}

func (s *script) notStarted(err error) error {
	if _, gone := fs.Stat(s.file.FS, s.file.Name); errors.Is(gone, fs.ErrNotExist) {
		return failure.WithStatus(fmt.Errorf("%s is gone: %w", s.file.Name, err), http.StatusNotFound)
	}
	err = fmt.Errorf("%s: it can't be started: %w", s.file.Name, err)
	if errors.Is(err, syscall.E2BIG) { // hardly anything but the request's header is so long
		return failure.WithStatus(err, http.StatusRequestHeaderFieldsTooLarge)
	}
	return fault(err)
}

// fault gives an error of the script its status.
func fault(err error) error {
	if errors.Is(err, errTimeout) {
		return failure.WithStatus(err, http.StatusGatewayTimeout)
	}
	return failure.WithStatus(err, http.StatusBadGateway)
}

// answer passes on what the script writes.
func (s *script) answer(w http.ResponseWriter, r *http.Request, p *process) error {
	out := bufio.NewReaderSize(&p.stdout, 32<<10)
	a, err := gateway.ReadHeader(out, int(s.factory.cfg.MaxHeader))
	if err != nil {
		return fault(err)
	}
	length := a.Length
	if a.Bodyless(r.Method) {
		length = -1
		_, err = io.Copy(io.Discard, out)
	} else {
		_, err = out.Peek(1)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fault(err)
	}
	b := gateway.NewRelay(w, length)
	if err != nil || a.Bodyless(r.Method) {
		// All is said, and nothing was sent: if the script ends badly the catcher can still answer.
		if !p.await(s.factory.cfg.Timeout) {
			return fault(errTimeout)
		}
		if p.exit != nil || length > 0 {
			return incomplete(b)
		}
	}
	a.Apply(w.Header())
	p.announceClose(w.Header(), r)
	w.WriteHeader(a.Status)
	if a.Bodyless(r.Method) {
		return nil
	}
	if _, err := out.WriteTo(b); err != nil {
		return fault(err)
	}
	return incomplete(b)
}

// incomplete is an error unless all of the body came.
func incomplete(b *gateway.Relay) error {
	if err := b.Complete(); err != nil {
		return fault(err)
	}
	return nil
}

// verdict says how it went, after the script has ended. Exit is how it did, unless it was
// made to.
func (s *script) verdict(r *http.Request, p *process, err, exit error) error {
	if err == nil && exit == nil || r.Context().Err() != nil {
		s.logStderr(r.Context(), &p.stderr)
		return err
	}
	switch {
	case err == nil:
		err = fault(exit)
	case exit != nil:
		err = failure.WithStatus(fmt.Errorf("%w (%w)", err, exit), failure.Status(err))
	}
	return &gateway.ScriptError{Err: err, Name: s.file.Name, Stderr: p.stderr.String()}
}

func (s *script) logStderr(ctx context.Context, stderr *gateway.Tail) {
	for line := range strings.Lines(stderr.String()) {
		line = strings.TrimRight(line, "\r\n")
		s.factory.log.WarnContext(ctx, "script wrote to standard error", "script", s.file.Name, "line", line)
	}
}

// errBusy says that too many scripts are running.
var errBusy = errors.New("max_processes scripts were running for as long as queue_timeout")

// acquire waits until another script may run. Who got in calls release.
func (f *factory) acquire(ctx context.Context) error {
	select {
	case f.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(f.cfg.QueueTimeout)
	defer timer.Stop()
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return failure.WithStatus(errBusy, http.StatusServiceUnavailable)
	}
}

func (f *factory) release() { <-f.slots }
