// Package cmd holds the commands of stackd.
//
// They work on the components compiled into the program, so a program with others is a
// main function that imports these and calls [Main].
//
// The exit status is 0 for success, 1 for a problem with what the command was asked
// about, such as a stack file with faults, and 2 for a command line that can't be
// understood.
package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// defaultFile is the stack file that stackd runs when none is named.
const defaultFile = "stack.yaml"

// Exit statuses.
const (
	exitGood    = 0
	exitProblem = 1
	exitUsage   = 2
)

// usualProfileRate is what package runtime begins with.
const usualProfileRate = 512 << 10

// Main runs the command that the arguments ask for, and returns the exit status. It uses the
// components that registered themselves, the standard streams, and signals. Allocations aren't profiled, which would take
// one and a half megabytes, unless the program or GODEBUG=memprofilerate asks for a rate of its own.
func Main(args []string) int {
	if runtime.MemProfileRate == usualProfileRate {
		runtime.MemProfileRate = 0
	}
	p := &program{registry: registry.Compiled(), in: os.Stdin, out: &output{Writer: os.Stdout}, err: &output{Writer: os.Stderr}}
	root := p.root()
	root.SetArgs(withoutQuery(args))
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.Execute()
	if err == nil && p.out.failed != nil { // such as a full disk: what was asked for isn't there
		err = &failed{p.out.failed}
	}
	if err == nil {
		return exitGood
	}
	if done, ok := errors.AsType[*failed](err); ok {
		if done.error != nil {
			p.err.printf("stackd: %s\n", done)
		}
		return exitProblem
	}
	p.err.printf("stackd: %s\nrun stackd --help for the commands\n", err)
	return exitUsage
}

// program is what the commands share.
type program struct {
	registry *registry.Registry
	in       io.Reader
	out, err *output
}

// output is a stream that remembers its first error, so that not every line that is
// printed must look for one.
type output struct {
	io.Writer
	failed error
}

func (o *output) Write(p []byte) (int, error) {
	if o.failed != nil {
		return 0, o.failed
	}
	n, err := o.Writer.Write(p)
	o.failed = err
	return n, err
}

func (o *output) printf(format string, args ...any) { _, _ = fmt.Fprintf(o, format, args...) }

// failed is the error of a command that was understood. A nil error in it means that
// everything was said.
type failed struct{ error }

func (p *program) root() *cobra.Command {
	run := p.run()
	root := &cobra.Command{
		Use:   "stackd",
		Short: "A web server that you assemble from a stack file",
		Long: `stackd serves what a stack file describes: servers, middleware and an app, each
a component with a name, in the order in which a request meets them.

Without a command it runs ./stack.yaml.`,
		RunE:          run.RunE,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Flags().AddFlagSet(run.Flags())
	for _, c := range []*cobra.Command{p.check(), p.explain(), p.diff(), p.print(), p.graph(), p.format(), p.test(), p.lsp()} {
		c.PreRun = func(*cobra.Command, []string) { limited() } // to its end: what is loaded is all that it is about
		root.AddCommand(c)
	}
	root.AddCommand(run, p.worker(), p.reload(), p.status(), p.rollback(), p.upgrade(), p.stop(), p.new(), p.list(), p.doc(), p.schema(), p.version())
	root.Args = func(_ *cobra.Command, args []string) error { return unknown(root, args) }
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() } // without it a wrong shell is no error
	}
	return root
}

// unknown is the error of arguments that no command took.
func unknown(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if ext := filepath.Ext(args[0]); ext == ".yaml" || ext == ".yml" {
		return fmt.Errorf("unknown command %q; to serve a stack file, write stackd run %s", args[0], args[0])
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("unknown command %q%s", args[0], stackfile.DidYouMean(args[0], names))
}

// wants says in words how many arguments a command takes; most is -1 for any number.
func wants(least, most int, text string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			s := "s"
			if len(args) == 1 {
				s = ""
			}
			return fmt.Errorf("%s; it got %d argument%s", text, len(args), s)
		}
		return nil
	}
}

// json prints v as JSON for programs and for people.
func (p *program) json(v any) error {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// problems prints the problems of a stack file, with the lines if people are looking.
func (p *program) problems(w *output, err error) {
	ps, ok := errors.AsType[stackfile.Problems](err)
	if !ok {
		w.printf("%s\n", err)
		return
	}
	for _, problem := range ps {
		w.printf("%s\n", problem)
		if isTerminal(w.Writer) {
			w.printf("%s", problem.Excerpt())
		}
	}
}
