package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/stackfile"
)

func (p *program) check() *cobra.Command {
	var (
		processes   int
		strict      bool
		environment bool
		format      = "text"
	)
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Say every problem of stack files",
		Long: `check says every problem of stack files, one on a line: the place, what is
wrong there, and what must be. It opens no network, runs nothing and writes
nothing. What it finds good, run accepts.

It also warns of what run accepts and hardly anybody wants, each by a rule:
stackd doc rule:ID has the reasons. A comment allows a warning on its line, or
on the next:

  # stackd:allow ID and why it is right here

A FILE may be a folder, whose stack files are checked: those *.yaml and *.yml
in it that have servers:, stack: or extends: as a key of their own. It may be -
for the standard input. One that ends in .test.yaml has the tests of the stack
file beside it.

The exit status is 0 when all files are good, 1 when one has a problem, and 2
when the command line can't be understood.`,
		Example:           "  stackd check stack.yaml\n  stackd check --deny-warnings --format github stacks/",
		ValidArgsFunction: yamlFiles,
		Args:              wants(1, -1, "check wants at least one stack file, such as stackd check stack.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("processes") && processes < 1 {
				return fmt.Errorf("--processes is %d; it must be at least 1", processes)
			}
			if !slices.Contains(formats(), format) {
				return fmt.Errorf("--format is %q; it must be %s", format, strings.Join(formats(), ", "))
			}
			files, err := stackFiles(args)
			if err != nil {
				return err
			}
			r := &report{terminal: isTerminal(p.out.Writer)}
			for _, file := range files {
				options := stackfile.Options{Processes: processes, Allowed: format == "sarif"}
				name := file
				if file == "-" {
					name = "stdin"
					if options.Content, _, err = p.text(file); err != nil {
						return &failed{fmt.Errorf("the standard input can't be read: %w", err)}
					}
				}
				found, err := p.find(c.Context(), name, options, environment)
				if err != nil {
					return &failed{err}
				}
				r.add(name, found)
			}
			if err := r.write(p.out, format, strict); err != nil {
				return &failed{err}
			}
			if r.errors > 0 || strict && r.warnings > 0 {
				return &failed{}
			}
			return nil
		},
	}
	c.Flags().IntVar(&processes, "processes", 0, "how many processes will run the stack, here or behind one balancer, whatever the file says")
	c.Flags().BoolVar(&strict, "deny-warnings", false, "let warnings count as problems")
	c.Flags().BoolVar(&environment, "environment", false, "look at this machine, too: folders, addresses, upstreams, who may read secrets")
	c.Flags().StringVar(&format, "format", format, "how to say it: "+strings.Join(formats(), ", "))
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// find returns what there is to say of a stack file. One with tests is about the slots of the stack file beside it, of which
// no more is said than that it is missing.
func (p *program) find(ctx context.Context, name string, o stackfile.Options, environment bool) (stackfile.Problems, error) {
	stack := stackfile.StackOf(name)
	o.Tests = stack != name
	found, err := stackfile.Check(ctx, p.registry, stack, o, environment)
	if _, missing := os.Stat(stack); o.Tests && missing == nil {
		found = slices.DeleteFunc(found, func(problem stackfile.Problem) bool { return problem.File != name })
	}
	return found, err
}

// stackFiles returns the files that the arguments name, folders taken apart.
func stackFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if arg == "-" || err != nil || !info.IsDir() {
			files = append(files, arg) // what can't be read is a problem of that file
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, &failed{err}
		}
		before := len(files)
		for _, e := range entries {
			path := filepath.Join(arg, e.Name())
			if ext := filepath.Ext(path); !e.IsDir() && (ext == ".yaml" || ext == ".yml") && isStackFile(path) {
				files = append(files, path)
			}
		}
		if len(files) == before {
			return nil, &failed{fmt.Errorf("there is no stack file in %s: no *.yaml or *.yml that has servers:, stack: or extends: as a key", arg)}
		}
	}
	if n := len(files); n > 1 && slices.Index(files, "-") != lastIndex(files, "-") {
		return nil, errors.New("the standard input can be checked once only")
	}
	return files, nil
}

func lastIndex(all []string, s string) int {
	for i, t := range slices.Backward(all) {
		if s == t {
			return i
		}
	}
	return -1
}

var stackKey = regexp.MustCompile(`(?:^(?:\x{FEFF})?|[\r\n])["']?(?:servers|stack|extends)["']?\s*:`)

// isStackFile reports whether a YAML file seems to be meant as a stack file. It goes by the lines, since one with
// faults is one, too.
func isStackFile(path string) bool {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return false
	}
	data, err := stackfile.ReadFile(path)
	return err != nil || stackKey.Match(data) // an error is to be said
}
