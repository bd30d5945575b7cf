package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/cmd/supervise"
	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) run() *cobra.Command {
	var level slog.Level
	c := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Serve a stack file, ./stack.yaml if none is named",
		Long: `run serves a stack file, ./stack.yaml if none is named.

It follows the file: when it changes, or a file that it depends on, or on
SIGHUP, the new stack is built beside the old one and takes over between two
requests. A file with problems changes nothing; they are logged. SIGINT and
SIGTERM let the requests under way finish and stop; a second one stops at once.
The commands status, reload, rollback and stop reach it while it runs.

With the server cgi it answers the one request that a web server has started it
for.`,
		ValidArgsFunction: yamlFiles,
		Args:              wants(0, 1, "run wants one stack file"),
		RunE: func(c *cobra.Command, args []string) error {
			file := defaultFile
			if len(args) > 0 {
				file = args[0]
			}
			if startedByWebServer() && !c.Flags().Changed("log-level") {
				level = slog.LevelWarn
			}
			return p.serve(c.Context(), file, level)
		},
	}
	c.Flags().TextVar(&level, "log-level", slog.LevelInfo, "least level logged: debug, info, warn or error")
	return c
}

const noStackFile = `there is no %[1]s here. Name one (stackd run site.yaml), or begin with this
%[1]s, which serves the files in this folder:

  servers:
    - {use: http, listen: "127.0.0.1:8080"}
  stack:
    - errors
    - {use: finder, root: .}`

// headroom is memory that is allocated and never touched, so that it is nothing but address
// space. The garbage collector runs when the heap has doubled. That of a busy server is mostly
// garbage: without the headroom it would be collected every 3 MB, which takes a sixth of the
// processor time of serving small files.
const headroom = 16 << 20

// serve runs the file until it is told to stop.
func (p *program) serve(ctx context.Context, file string, level slog.Level) error {
	if ctx == nil {
		ctx = context.Background()
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && file == defaultFile {
		return &failed{fmt.Errorf(noStackFile, file)}
	}
	defer runtime.KeepAlive(make([]byte, headroom))
	defer outliveReaders()() // a predecessor that dies is one, too
	service, err := serviceOf()
	if err != nil {
		return &failed{err}
	}
	logged := p.err.Writer
	if service.predecessor != nil { // to which it goes meanwhile, through a pipe
		logged = service.stderr()
	}
	log := newLogger(p.err.Writer, isTerminal(logged), level)
	service.log = log
	dir, err := os.Getwd()
	if err != nil {
		return &failed{err}
	}
	l := &loader{program: p, file: file, dir: dir, level: level, log: log, service: service}
	l.runtime = serve.New(serve.Options{Load: l.load, Logger: log, Inherit: service.sockets.Inherit, Stop: l.stopWorkers, Reloading: l.reloading})
	err = l.run(ctx)
	defer runtime.KeepAlive(l) // with its stoppers
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(stackfile.Problems)):
		p.problems(p.err, err)
		return &failed{}
	}
	return &failed{err}
}

// loader makes the generations of one stack file.
type loader struct {
	*program
	file     string
	dir      string // which file is relative to, whatever becomes of the folder that the process works in
	level    slog.Level
	log      *slog.Logger
	runtime  *serve.Runtime
	service  *service
	history  history
	hopeless sync.Once // a component has asked for a restart

	// workers has the processes that serve, if they are several; the first load decides that.
	workers atomic.Pointer[supervise.Supervisor]
	// assigned says that this is one of these processes.
	assigned bool

	stopMu   sync.Mutex
	stoppers []net.Conn // to who waits for the end of the process; the system closes them then

	// Only loads use these, one at a time.
	serving bool             // there is a generation
	stack   *stackfile.Stack // the one that serves; nil for a supervisor, too
	socket  string           // the control socket of the generation that serves
}

// path returns where the stack file is.
func (l *loader) path() string {
	if filepath.IsAbs(l.file) {
		return l.file
	}
	return filepath.Join(l.dir, l.file)
}

func (l *loader) load(ctx context.Context) (serve.Generation, error) { return l.make(ctx, nil) }

// make makes a generation of the files that were kept, or if these are nil, of those on disk.
func (l *loader) make(ctx context.Context, from *kept) (serve.Generation, error) {
	begin := time.Now()
	options := stackfile.Options{Purpose: schema.Synopsis, Dir: l.dir, Before: l.stack}
	if from != nil {
		options.Files = from.files
	}
	end := limited()
	plan, files, err := stackfile.Load(ctx, l.registry, l.file, options)
	end()
	if err != nil {
		return serve.Generation{Watch: files}, l.refused(err)
	}
	if supervised, err := l.supervised(plan); err != nil {
		return serve.Generation{Watch: files}, l.refused(err)
	} else if supervised {
		return l.share(ctx, plan, files, from, time.Since(begin))
	}
	checked, deadlines := time.Now(), plan.Deadlines()
	serve.Stage(ctx, "build", deadlines.Build)
	stack, err := plan.Build(registry.WithRestart(ctx, l.restart), l.log, l.stack)
	if err != nil {
		return serve.Generation{Watch: files}, l.refused(err)
	}
	g := l.generation(plan, stack.Servers, from)
	changes := stack.Changes()
	g.Handler, g.Slot = stack, stack.Slot
	g.Watch = append(files, stack.Depends()...)
	g.Close, g.Closing = func() error {
		stack.Close()
		giveBack()
		return nil
	}, stack.Closing
	g.Made.Built, g.Made.Carried, g.Made.Retired = names(changes.Built), names(changes.Carried), names(changes.Retired)
	g.Made.Check, g.Made.Build = checked.Sub(begin), time.Since(checked)
	if l.stack != nil {
		succession := stack.Succeed(l.stack)
		g.Fate = func(r serve.Request) serve.Fate { return fateOf(succession.Fate(r.Method, r.Host, r.Path)) }
	}
	serves := func() {
		if l.stack == nil { // later ones wait until the one before is closed, too
			giveBack()
		}
		l.stack = stack
	}
	if l.assigned {
		g.Current = func(uint64) { l.serving = true; serves() }
		return g, nil
	}
	if err := l.reachable(ctx, &g, plan, from); err != nil {
		stack.Close()
		return serve.Generation{Watch: files}, err
	}
	current := g.Current
	g.Current = func(number uint64) { current(number); serves() }
	return g, nil
}

// giveBack gives the system back what loading a stack has used. It leaves garbage behind, many times what serving does, and has
// touched much of the program.
func giveBack() {
	debug.FreeOSMemory()
	trim()
}

// generation returns what the plan says of one.
func (l *loader) generation(plan *stackfile.Plan, servers []stackfile.Server, from *kept) serve.Generation {
	deadlines := plan.Deadlines()
	g := serve.Generation{
		CheckTimeout:  deadlines.Check,
		ListenTimeout: deadlines.Listen,
		DrainTimeout:  atOnce(deadlines.Drain),
		CloseTimeout:  atOnce(deadlines.Close),
		StopTimeout:   atOnce(deadlines.Stop),
		Made:          control.Made{File: l.file, Hash: plan.Files().Hash()},
	}
	if from != nil {
		g.Made.RollbackTo = from.generation
	}
	g.Poll, g.Probation = plan.Reload().Poll, l.probation(plan)
	for _, s := range servers {
		address := string(s.Address)
		if address == "" { // it has no setting for that
			address = serve.Stdio
		}
		g.Servers = append(g.Servers, serve.Server{Name: s.Name, Slot: s.Slot, Address: address, Mode: s.Mode, ID: s.ID, Serve: s.Serve, Hold: s.Hold})
	}
	return g
}

// reachable gives a generation its control, and remembers it when it serves. One that is there for one request has
// none.
func (l *loader) reachable(ctx context.Context, g *serve.Generation, plan *stackfile.Plan, from *kept) (err error) {
	tell := func() {}
	if !slices.ContainsFunc(g.Servers, func(s serve.Server) bool { return s.Address == serve.Stdio }) {
		if g.Control, err = l.controlled(ctx, plan.Control()); err != nil {
			return err
		}
		tell = l.service.announce(g, plan, !l.serving)
	}
	controlled := g.Control
	g.Current = func(number uint64) {
		tell()
		l.serving, l.socket = true, ""
		if controlled != nil {
			l.socket = strings.TrimPrefix(controlled.Address, "unix:")
		}
		l.history.served(number, plan.Files(), from)
	}
	return nil
}

// atOnce makes no time at all the shortest that there is; for the runtime none stands for its default.
func atOnce(d time.Duration) time.Duration { return max(d, 1) }

// fateOf tells the runtime what becomes of a request.
func fateOf(f stackfile.Fate) serve.Fate {
	way := serve.Drain
	switch {
	case f.Stays:
		way = serve.Move
	case f.OnReload == stackfile.OnReloadKeep:
		way = serve.Keep
	case f.OnReload == stackfile.OnReloadClose:
		way = serve.Close
	}
	return serve.Fate{Way: way, Release: f.Release}
}

// names returns a list that isn't nil.
func names(all []string) []string { return append([]string{}, all...) }

// refused logs the problems of a reload, each by itself, and returns an error that counts
// them. Those of the first load are left to be printed.
func (l *loader) refused(err error) error {
	ps, ok := errors.AsType[stackfile.Problems](err)
	if !ok || !l.serving || l.assigned {
		return err
	}
	for _, problem := range ps {
		l.log.Error("problem", "at", fmt.Sprintf("%s:%d:%d", problem.File, problem.Line, problem.Column), "problem", problem.Text)
	}
	if len(ps) == 1 {
		return &refused{l.file + " has a problem", ps}
	}
	return &refused{fmt.Sprintf("%s has %d problems", l.file, len(ps)), ps}
}

// refused is the error of a reload whose problems have been logged.
type refused struct {
	text     string
	problems stackfile.Problems
}

func (r *refused) Error() string { return r.text }
func (r *refused) Unwrap() error { return r.problems }
