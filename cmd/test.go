package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/cmd/trial"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) test() *cobra.Command {
	var (
		only    string
		junit   string
		verbose bool
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:   "test FILE...",
		Short: "Ask stacks the questions of their tests",
		Long: `test asks a stack what stands under tests: in its stack file, and in the file
beside it: site.test.yaml for site.yaml. The manual's chapter on the stack file
says how to write them.

It builds the stack without servers, anew for each test, and asks it in memory.
What components do when they are built, such as opening files, they do here,
too, unless the test has a stub in their place.

A FILE may be a folder, whose stack files are tested. The exit status is 0 when
all tests pass, 1 when one fails, there is none or a file has problems, and 2
when the command line can't be understood.`,
		Example:           "  stackd test stack.yaml\n  stackd test --run login --junit report.xml stacks/",
		Args:              wants(1, -1, "test wants at least one stack file, such as stackd test stack.yaml"),
		ValidArgsFunction: yamlFiles,
		RunE: func(c *cobra.Command, args []string) error {
			pattern, err := regexp.Compile(only)
			if err != nil {
				return fmt.Errorf("--run is %q; it must be a regular expression: %w", only, err)
			}
			if timeout <= 0 {
				return fmt.Errorf("--timeout is %s; it must be more than 0", timeout)
			}
			if slices.Contains(args, "-") {
				return errors.New("the standard input can't be tested; name a stack file")
			}
			files, err := stackFiles(args)
			if err != nil {
				return err
			}
			for i, file := range files {
				files[i] = stackfile.StackOf(file)
			}
			var suites []trial.Suite
			bad, all := false, 0
			for _, file := range unique(files) {
				plan, _, err := stackfile.Load(c.Context(), p.registry, file, stackfile.Options{Tests: true, Purpose: schema.Synopsis})
				if err != nil {
					p.problems(p.err, err)
					bad = true
					continue
				}
				suite := trial.Suite{Name: file}
				for _, test := range plan.Tests() {
					if !pattern.MatchString(test.Title()) {
						continue
					}
					r := trial.Run(c.Context(), plan, test, timeout)
					p.result(r, verbose)
					suite.Results = append(suite.Results, r)
				}
				bad = p.suite(suite, len(plan.Tests())) || bad
				all += len(suite.Results)
				suites = append(suites, suite)
			}
			if junit != "" {
				var report bytes.Buffer
				if err := trial.WriteJUnit(&report, suites); err != nil {
					return &failed{err}
				}
				if err := os.WriteFile(junit, report.Bytes(), 0o644); err != nil {
					return &failed{err}
				}
			}
			switch {
			case bad:
				return &failed{}
			case all == 0 && only != "":
				return &failed{fmt.Errorf("no test matches %q", only)}
			case all == 0:
				return &failed{errors.New("there are no tests; write some under tests: in the stack file, or in a .test.yaml beside it")}
			}
			return nil
		},
	}
	c.Flags().StringVar(&only, "run", "", "only the tests whose names match this `regexp`")
	c.Flags().StringVar(&junit, "junit", "", "write a report to this `file`, in the XML of JUnit")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "name the tests that pass, too")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long one request may take")
	return c
}

// result prints what came of a test.
func (p *program) result(r trial.Result, verbose bool) {
	if len(r.Failures) == 0 {
		if verbose {
			p.out.printf("%s:%d: %s: passed (%s)\n", r.File, r.Line, r.Name, r.Took.Round(time.Millisecond))
		}
		return
	}
	p.out.printf("%s\n", p.colour(bold, fmt.Sprintf("%s:%d: %s: failed", r.File, r.Line, r.Name)))
	for _, f := range r.Failures {
		p.out.printf("  %s\n%s", p.colour(red, f.String()), quoted(f.Detail, "    "))
	}
	if r.Log != "" {
		p.out.printf("  the log:\n%s", quoted(r.Log, "    "))
	}
}

// quoted puts an indentation before each line of a text.
func quoted(text, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(indent + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// suite prints what came of the tests of a file, and reports whether one failed.
func (p *program) suite(s trial.Suite, written int) (bad bool) {
	wrong := 0
	for _, r := range s.Results {
		if len(r.Failures) > 0 {
			wrong++
		}
	}
	switch {
	case written == 0:
		p.out.printf("%s: no tests\n", s.Name)
	case wrong > 0:
		p.out.printf("%s: %d of %s failed\n", s.Name, wrong, count(len(s.Results), "test"))
	case len(s.Results) > 0:
		p.out.printf("%s: %s passed\n", s.Name, count(len(s.Results), "test"))
	}
	return wrong > 0
}

// unique returns each text once.
func unique(all []string) []string {
	var found []string
	for _, s := range all {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}
