package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/cmd/supervise"
	"github.com/stackd/stackd/stackfile"
)

// worker is the command of a process that serves together with others. It is no command for people.
func (p *program) worker() *cobra.Command {
	var level slog.Level
	var number int
	var dir string
	c := &cobra.Command{
		Use:    "worker FILE",
		Short:  "One of the processes that stackd run starts",
		Hidden: true,
		Args:   wants(1, 1, "worker wants the stack file"),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			defer runtime.KeepAlive(make([]byte, headroom))
			defer outliveReaders()()
			// Started by way of /proc/self/exe it would be "exe" to ps, pgrep and top.
			_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) // where there is none the name is right
			log := newLogger(p.err.Writer, isTerminal(p.err.Writer), level).With(slog.Int("worker", number))
			l := &loader{program: p, file: args[0], dir: dir, log: log, assigned: true}
			if err := supervise.RunWorker(ctx, supervise.WorkerOptions{Load: l.assignment, Refusal: refusalOf, Logger: log}); err != nil {
				log.Debug("the worker ends", slog.Any("err", err)) // its supervisor knows why
				return &failed{}
			}
			return nil
		},
	}
	c.Flags().TextVar(&level, "log-level", slog.LevelInfo, "least level logged: debug, info, warn or error")
	c.Flags().StringVar(&dir, "dir", "", "the folder that FILE is relative to")
	c.Flags().IntVar(&number, "number", 0, "which one it is")
	return c
}

// assignment is what a supervisor tells its workers to load.
type assignment struct {
	Files      *stackfile.Files `json:"files"`
	RollbackTo uint64           `json:"rollback_to,omitempty"`
}

// assignment makes a generation of what the supervisor says.
func (l *loader) assignment(ctx context.Context, work json.RawMessage) (serve.Generation, error) {
	var a assignment
	if err := json.Unmarshal(work, &a); err != nil {
		return serve.Generation{}, err
	}
	return l.make(ctx, &kept{generation: a.RollbackTo, files: a.Files})
}

// supervised reports whether other processes serve the plan.
func (l *loader) supervised(plan *stackfile.Plan) (bool, error) {
	switch several := plan.Processes().Count() > 1; {
	case l.assigned:
		return false, nil
	case l.workers.Load() != nil:
		return true, nil
	case several && l.serving:
		return false, plan.Single("this stackd was started with one and serves by itself; start it anew for more")
	case several:
		l.workers.Store(supervise.New(supervise.Options{Command: l.workerCommand, Failed: l.runtime.Fail, Logger: l.log}))
		return true, nil
	}
	return false, nil
}

// workerCommand returns the command of a worker: this very program, also if there is another one in its place by now.
func (l *loader) workerCommand(number int) *exec.Cmd {
	program := "/proc/self/exe"
	if _, err := os.Stat(program); err != nil {
		program = os.Args[0]
		if path, err := os.Executable(); err == nil {
			program = path
		}
	}
	return &exec.Cmd{
		Path:   program,
		Args:   []string{os.Args[0], "worker", "--number", strconv.Itoa(number), "--log-level", l.level.String(), "--dir", l.dir, l.file},
		Stdout: os.Stdout, Stderr: l.service.stderr(),
	}
}

// stopWorkers ends the processes that serve, if they are several.
func (l *loader) stopWorkers(ctx context.Context) (outlived int) {
	if s := l.workers.Load(); s != nil {
		return s.Stop(ctx)
	}
	return 0
}

// share makes a generation that other processes serve.
func (l *loader) share(ctx context.Context, plan *stackfile.Plan, files []string, from *kept, check time.Duration) (serve.Generation, error) {
	work := assignment{Files: plan.Files()}
	if from != nil {
		work.RollbackTo = from.generation
	}
	text, err := json.Marshal(work)
	if err != nil {
		return serve.Generation{Watch: files}, err
	}
	g := l.generation(plan, plan.Servers(), from)
	g.Handler, g.Watch, g.Made.Check = http.NotFoundHandler(), files, check
	if err := l.reachable(ctx, &g, plan, from); err != nil {
		return serve.Generation{Watch: files}, err
	}
	deadlines := plan.Deadlines()
	l.workers.Load().Supervise(&g, supervise.Work{
		Processes: plan.Processes().Count(),
		Load:      text,
		// Each of them keeps to its deadlines, and there is one after the other.
		Timeout: 2*(deadlines.Check+deadlines.Build+deadlines.Listen) + 10*time.Second,
	})
	agree := g.Agree
	g.Agree = func(ctx context.Context, g *serve.Generation, sockets map[string]syscall.Conn) error {
		return l.refused(problemsOf(agree(ctx, g, sockets)))
	}
	return g, nil
}

// refusalOf tells why nothing was done.
func refusalOf(err error) *control.Refusal {
	refusal := &control.Refusal{Text: err.Error(), Problems: []control.Problem{}}
	ps, _ := errors.AsType[stackfile.Problems](err)
	for _, p := range ps {
		refusal.Problems = append(refusal.Problems, control.Problem{
			File: p.File, Line: p.Line, Column: p.Column, Severity: string(p.Severity), Rule: p.Rule, Text: p.Text, Excerpt: p.Excerpt(),
		})
	}
	return refusal
}

// problemsOf returns the problems that a worker has found, or the error itself.
func problemsOf(err error) error {
	refusal, ok := errors.AsType[*control.Refusal](err)
	if !ok || len(refusal.Problems) == 0 {
		return err
	}
	var ps stackfile.Problems
	for _, p := range refusal.Problems {
		ps = append(ps, problemOf(p))
	}
	return ps
}

// problemOf is a problem as another process has told it.
func problemOf(p control.Problem) stackfile.Problem {
	return stackfile.Problem{
		File: p.File, Line: p.Line, Column: p.Column, Text: p.Text, Severity: stackfile.Severity(p.Severity), Rule: p.Rule,
	}.Quoting(p.Excerpt)
}
