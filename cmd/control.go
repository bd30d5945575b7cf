package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/control"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

const aboutSocket = `
FILE is the stack file that the running stackd was started with, ./stack.yaml
if none is named; its control: says where the socket is.`

// controlling returns a command that speaks with a running stackd.
func (p *program) controlling(c *cobra.Command, do func(ctx context.Context, c *control.Client) error) *cobra.Command {
	var socket string
	c.Long = strings.TrimSpace(c.Long) + "\n" + aboutSocket
	c.ValidArgsFunction = yamlFiles
	name, _, _ := strings.Cut(c.Use, " ")
	if c.Args == nil {
		c.Args = wants(0, 1, name+" wants one stack file")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		file := defaultFile
		if len(args) > 0 {
			file = args[len(args)-1]
		}
		client, err := p.client(c.Context(), file, socket)
		if err == nil {
			err = do(c.Context(), client)
		}
		if refusal, ok := errors.AsType[*control.Refusal](err); ok {
			p.refusal(refusal)
			return &failed{}
		}
		if err != nil {
			return &failed{err}
		}
		return nil
	}
	c.Flags().StringVar(&socket, "socket", "", "`PATH` of the control socket, instead of the one that FILE names")
	return c
}

// client finds the stackd that runs a stack file.
func (p *program) client(ctx context.Context, file, socket string) (*control.Client, error) {
	if socket != "" {
		return control.New(strings.TrimPrefix(socket, "unix:")), nil
	}
	c, problems := stackfile.ControlOf(ctx, p.registry, file)
	switch {
	case c.Off:
		return nil, fmt.Errorf("%s has control: off, so what runs it can't be reached; send it SIGHUP to reload, SIGUSR2 to upgrade, SIGTERM to stop", file)
	case c.Address != "":
		_, path := c.Address.Network()
		return control.New(path), nil
	}
	places := socketsOf(file)
	there := slices.DeleteFunc(slices.Clone(places), func(place string) bool {
		_, err := os.Stat(place)
		return errors.Is(err, fs.ErrNotExist)
	})
	for i, place := range there {
		if i == len(there)-1 || !abandoned(ctx, place) {
			return control.New(place), nil
		}
	}
	if problems != nil {
		return nil, fmt.Errorf("no stackd that runs %s is found, and the file can't be asked where it is: %w", file, problems)
	}
	return nil, fmt.Errorf("no stackd runs %s: there is no socket %s", file, strings.Join(places, " or "))
}

// abandoned reports whether nobody listens on a socket: a stackd that was killed has left it.
func abandoned(ctx context.Context, path string) bool {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close() // it was only to see
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// refusal prints why nothing was done; problems as check does.
func (p *program) refusal(r *control.Refusal) {
	for _, problem := range r.Problems {
		p.err.printf("%s\n", problemOf(problem))
		if isTerminal(p.err.Writer) {
			p.err.printf("%s", problem.Excerpt)
		}
	}
	if r.Output != "" {
		p.err.printf("%s\n", r.Output)
	}
	if r.Generation == 0 {
		p.err.printf("stackd: %s\n", r.Text)
		return
	}
	p.err.printf("stackd: %s; generation %d serves on\n", r.Text, r.Generation)
}

func (p *program) reload() *cobra.Command {
	var asJSON bool
	c := p.controlling(&cobra.Command{
		Use:   "reload [FILE]",
		Short: "Make a running stackd take its stack file anew",
		Long: `reload makes a running stackd take its stack file anew, as it does by itself
when the file changes, and tells what came of it: what was built, what was
carried over with its state, and how long each stage took. If the file has
problems, they are printed as check does, the exit status is 1, and the old
stack serves on.`,
	}, func(ctx context.Context, c *control.Client) error {
		r, err := c.Reload(ctx)
		if err != nil {
			return err
		}
		return p.reloaded(r, asJSON)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func (p *program) rollback() *cobra.Command {
	var asJSON bool
	var to uint64
	c := &cobra.Command{
		Use:   "rollback [GENERATION] [FILE]",
		Short: "Make a running stackd serve an earlier stack file again",
		Long: `rollback makes a running stackd serve a stack file again that has served
before, with all that it extends and includes as it was: that of a GENERATION,
which status names, or that before the current one. stackd keeps the last ten
in its memory. The files on disk stay as they are; when they change next, or by
stackd reload, they take over again. Files that components read, such as
certificates, are as they are now.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				if n, err := strconv.ParseUint(args[0], 10, 64); err == nil {
					to, args = n, args[1:]
				}
			}
			return wants(0, 1, "rollback wants the number of a generation and a stack file")(nil, args)
		},
	}
	c = p.controlling(c, func(ctx context.Context, c *control.Client) error {
		r, err := c.Rollback(ctx, to)
		if err != nil {
			return err
		}
		return p.reloaded(r, asJSON)
	})
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if to > 0 {
			args = args[1:]
		}
		return run(c, args)
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func (p *program) stop() *cobra.Command {
	return p.controlling(&cobra.Command{
		Use:   "stop [FILE]",
		Short: "Stop a running stackd",
		Long: `stop stops a running stackd, and returns when the requests that were under way
have ended, or were cut at the deadline, and the process is gone.`,
	}, func(ctx context.Context, c *control.Client) error {
		s, err := c.Stop(ctx)
		if err != nil {
			return err
		}
		p.out.printf("stopped")
		if s.Outlived > 0 {
			p.out.printf("; %s cut, since time was up", count(s.Outlived, "request"))
		}
		p.out.printf("\n")
		return nil
	})
}

// reloaded tells what a reload did.
func (p *program) reloaded(r control.Reload, asJSON bool) error {
	if asJSON {
		return p.json(r)
	}
	line := func(what string, format string, args ...any) {
		p.out.printf("%s\n", wrap(fmt.Sprintf("  %-15s", what)+inspect.Printable(fmt.Sprintf(format, args...)), 17))
	}
	list := func(all []string) string {
		if len(all) == 0 {
			return "nothing"
		}
		return some(timesOf(all))
	}
	p.out.printf("generation %d serves\n", r.Generation)
	if r.RollbackTo > 0 {
		line("rolled back to", "generation %d; the file on disk is not what is served", r.RollbackTo)
	}
	line("built", "%s", list(r.Built))
	line("carried over", "%s", list(r.Carried))
	line("retired", "%s", list(r.Retired))
	if len(r.Started)+len(r.Ended) > 0 {
		line("listening", "%s", list(append(r.Kept, r.Started...)))
		line("servers ended", "%s", list(r.Ended))
	}
	if r.RequestsMoved > 0 {
		line("go on", "%s of generation %d, for which nothing changed", count(r.RequestsMoved, "request"), r.Replaced)
	}
	if r.RequestsKept > 0 {
		line("kept", "%s as generation %d began them, as on_reload says", count(r.RequestsKept, "request"), r.Replaced)
	}
	if r.RequestsClosed > 0 {
		line("closed", "%s of generation %d, as on_reload says", count(r.RequestsClosed, "request"), r.Replaced)
	}
	if r.Draining > 0 {
		line("draining", "%s of generation %d", count(r.Draining, "request"), r.Replaced)
	}
	line("took", "check %s, build %s, listen %s, swap %s", short(r.Check), short(r.Build), short(r.Listen), short(r.Swap))
	return nil
}

// short rounds a duration to what people read.
func short(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Hour, time.Minute, time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(max(unit/100, time.Nanosecond)).Round(map[bool]time.Duration{true: time.Second, false: 1}[unit >= time.Minute])
		}
	}
	return d
}

func (p *program) status() *cobra.Command {
	var asJSON, watch bool
	c := p.controlling(&cobra.Command{
		Use:   "status [FILE]",
		Short: "Tell what a running stackd is doing",
		Long: `status tells what a running stackd is doing: its generations, the current one
and those that still drain; why the last reload was refused, if it was; where
it listens, with how many connections; and the requests under way, the oldest
first: their age, the generation, the slot that they are in, and the URL. One
that waits there for its turn, as in the queue of a pool, is said to wait. A
zombie is a request that was answered since its handlers hang: they go on
running where it says. One marked with + was kept by on_reload: its generation
is closed, and it goes on until it ends by itself. If several processes serve,
it names each of them, and the one that has a request, such as w2, before the
generation.`,
	}, func(ctx context.Context, c *control.Client) error {
		tell := func(s control.Status) error {
			if asJSON {
				return p.json(s)
			}
			p.out.printf("%s", statusText(s, time.Now()))
			return nil
		}
		switch {
		case watch && !asJSON && isTerminal(p.out.Writer):
			return p.watch(ctx, c, nil)
		case watch:
			return p.watch(ctx, c, tell)
		}
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		return tell(s)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	c.Flags().BoolVar(&watch, "watch", false, "tell it anew every second, until ^C; a terminal shows one in the place of the other")
	return c
}

// statusText tells a status in lines of at most 80 columns.
func statusText(s control.Status, now time.Time) string {
	var b strings.Builder
	state := "serves"
	if s.Stopping {
		state = "is stopping"
	}
	line := func(format string, args ...any) {
		b.WriteString(fit(inspect.Printable(fmt.Sprintf(format, args...)), wide) + "\n")
	}
	line("process %d %s, up %s", s.PID, state, short(now.Sub(s.Started)))
	for _, g := range s.Generations {
		state := "serves"
		switch {
		case g.Closing != "":
			state = "closes"
		case g.Draining:
			state = "drains"
		}
		what := fmt.Sprintf("generation %d %s %s, began %s ago", g.Number, state, count(g.Requests, "request"), short(now.Sub(g.Since)))
		if trigger := inspect.Printable(g.Trigger); utf8.RuneCountInString(what+trigger)+3 <= wide {
			line("%s (%s)", what, trigger)
		} else {
			line("%s", what)
			for part := range strings.SplitSeq(wrap("  ("+trigger+")", 3), "\n") {
				line("%s", part)
			}
		}
		if p := g.Probation; p != nil {
			line("  on probation for %s: %d of %s errors, %d of %d before", short(p.Until.Sub(now)),
				p.Errors, count(p.Answers, "answer"), p.ErrorsBefore, p.AnswersBefore)
		}
		if g.Closing != "" {
			line("  it waits for %s", g.Closing)
		}
		if g.RollbackTo > 0 {
			line("  rolled back to generation %d; the file on disk is not what is served", g.RollbackTo)
		}
		if g.Hash != "" {
			line("  %s %.16s", g.File, g.Hash)
		}
	}
	if refused := s.Refused; refused != nil {
		why := fmt.Sprintf("the last reload, %s ago (%s), was refused: %s", short(now.Sub(refused.At)), refused.Trigger, strings.ReplaceAll(refused.Text, "\n", "; "))
		for part := range strings.SplitSeq(wrap(inspect.Printable(why), 2), "\n") {
			line("%s", part)
		}
	}
	for _, w := range s.Workers {
		if w.PID == 0 {
			line("worker %-3d %s: it ended, and another is to take its place", w.Number, w.State)
			continue
		}
		line("worker %-3d %s %s, %s, process %d, up %s%s", w.Number, w.State, count(w.Requests, "request"), count(w.Connections, "connection"),
			w.PID, short(now.Sub(w.Started)), again(w.Restarts))
	}
	if len(s.Kept) > 1 {
		line("can roll back to %s", strings.Trim(fmt.Sprint(s.Kept), "[]"))
	}
	for _, l := range s.Listeners {
		line("%-10s %s, %s", l.Server, fit(l.Bound, 45), count(l.Connections, "connection"))
	}
	if s.KeptRequests > 0 {
		line("%s kept from generations that are closed, as on_reload says (+)", count(s.KeptRequests, "request"))
	}
	if s.Zombies > 0 {
		line("%s: answered without the handlers, which go on running", count(s.Zombies, "zombie"))
	}
	const most = 20
	named := s.Requests[:min(len(s.Requests), most)]
	column := 0
	for _, r := range named {
		column = max(column, utf8.RuneCountInString(place(r)))
	}
	for _, r := range named {
		mark, worker := map[bool]string{true: "+"}[r.Kept], ""
		if r.Worker > 0 {
			worker = fmt.Sprintf("  w%-3d", r.Worker)
		}
		line("%8s%s  %3d%-1s %-7s %-*s %s", short(r.Age), worker, r.Generation, mark, r.Method, column, place(r), r.Host+r.Path)
	}
	if n := len(s.Requests) - most; n > 0 {
		line("and %s", count(n, "other request"))
	}
	return b.String()
}

// again tells how often a worker took the place of another.
func again(times int) string {
	if times == 0 {
		return ""
	}
	return ", " + count(times, "restart")
}

// place tells in which slot a request is, and what is special about that.
func place(r control.Request) string {
	const most = 24
	switch {
	case r.State == "":
		return fit(r.Slot, most)
	case r.Slot == "":
		return string(r.State)
	}
	return fit(r.Slot, most) + " " + string(r.State)
}

// fit cuts a text to so many columns.
func fit(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return strings.TrimRight(s, " ")
	}
	return string([]rune(s)[:columns-1]) + "…"
}
