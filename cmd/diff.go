package cmd

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

func (p *program) diff() *cobra.Command {
	var exitCode, asJSON bool
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell what changes when one stack file takes the place of another",
		Long: `diff tells what changes when the stack file NEW takes the place of OLD:
servers, processes, deadlines, control and such, and then, for the URLs for
which they change, slots, settings and vars, each with the lines that said so.
The last part is what a reload makes anew, what it carries over with its state,
and what it closes; files that a component reads may have changed besides.

Lines that mean the same are no difference, wherever they stand. The two files
are compared as if they were in the same folder.`,
		Example:           "  git show HEAD:stack.yaml > old.yaml && stackd diff old.yaml stack.yaml",
		ValidArgsFunction: yamlFiles,
		Args:              wants(2, 2, "diff wants two stack files, such as stackd diff old.yaml stack.yaml"),
		RunE: func(c *cobra.Command, args []string) error {
			var plans [2]*stackfile.Plan
			bad := false
			for i, file := range args {
				var err error
				if plans[i], _, err = stackfile.Load(c.Context(), p.registry, file, stackfile.Options{}); err != nil {
					p.problems(p.err, err)
					bad = true
				}
			}
			if bad {
				return &failed{}
			}
			d, err := stackfile.Diff(plans[0], plans[1])
			if err != nil {
				return &failed{err}
			}
			if asJSON {
				err = p.json(d)
			} else {
				p.difference(d)
			}
			if err == nil && exitCode && !d.Empty() {
				err = &failed{}
			}
			return err
		},
	}
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 1 when something changes")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func (p *program) difference(d stackfile.Difference) {
	if d.Empty() {
		p.out.printf("nothing changes\n")
		return
	}
	if len(d.Settings) > 0 {
		p.title("whatever the URL")
		p.deltas(d.Settings)
	}
	for _, s := range d.Sections {
		p.title(wrap(titleOf(s), 4))
		p.deltas(s.Deltas)
	}
	p.title("a reload")
	for _, part := range []struct {
		does string
		what []string
	}{{"makes anew", d.Built}, {"carries over", d.Carried}, {"closes", d.Closed}} {
		what := strings.Join(timesOf(part.what), ", ")
		if what == "" {
			what = "nothing"
		}
		p.out.printf("%s\n", wrap(fmt.Sprintf("  %-13s%s", part.does, what), 15))
	}
}

// titleOf says for which URLs something changes.
func titleOf(s stackfile.Section) string {
	var names []string
	for _, pattern := range s.Patterns {
		if pattern == "" {
			pattern = "every URL"
			if len(s.Patterns) > 1 {
				pattern = "every other URL"
			}
		}
		names = append(names, pattern)
	}
	title := some(names)
	if len(s.Except) > 0 {
		title += ", except " + some(s.Except)
	}
	return title
}

// some names a few of many.
func some(names []string) string {
	const few = 8
	if len(names) > few {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:few-1], ", "), len(names)-few+1)
	}
	return strings.Join(names, ", ")
}

// timesOf names what stands there several times once.
func timesOf(names []string) []string {
	var found []string
	times := make(map[string]int)
	for _, name := range names {
		if times[name]++; times[name] == 1 {
			found = append(found, name)
		}
	}
	for i, name := range found {
		if n := times[name]; n > 1 {
			found[i] = fmt.Sprintf("%s (%d)", name, n)
		}
	}
	return found
}

// wide is how many columns a line may have.
const wide = 80

// wrap breaks a line between words. Those that follow begin in that column.
func wrap(line string, indent int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(line, " ") {
		width := utf8.RuneCountInString(word)
		switch {
		case i > 0 && column+1+width > wide:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		case i > 0:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String()
}

// title begins a part.
func (p *program) title(text string) {
	p.out.printf("%s\n", p.colour(bold, strings.ReplaceAll(text, "\n", "\n    ")))
}

// deltas prints what is different, as a diff does.
func (p *program) deltas(deltas []stackfile.Delta) {
	for _, d := range deltas {
		p.out.printf("  %s\n", inspect.Printable(d.Name))
		p.side(red, "-", d.Old)
		is := d.New
		if d.Old != nil && is != nil && d.Old.Value == is.Value { // it is secret
			is = &stackfile.Side{Value: is.Value + ", another", Origin: is.Origin}
		}
		p.side(green, "+", is)
	}
}

func (p *program) side(colour, sign string, s *stackfile.Side) {
	if s == nil {
		return
	}
	origin := s.Origin
	if s.Default {
		origin = "default"
	}
	line := fmt.Sprintf("    %s %s", sign, inspect.Printable(s.Value))
	// The place stands at the end of the line, or below what fills the line.
	gap := ""
	if room := wide - utf8.RuneCountInString(line) - utf8.RuneCountInString(origin); origin != "" {
		gap = strings.Repeat(" ", max(room, 2))
		if room < 2 {
			gap = "\n" + strings.Repeat(" ", max(wide-utf8.RuneCountInString(origin), 6))
		}
		origin = p.colour(faint, origin)
	}
	p.out.printf("%s%s%s\n", p.colour(colour, line), gap, origin)
}

// Colours of a terminal (ECMA-48, 8.3.117).
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

// colour colours a text, if people read it on a terminal and like that.
func (p *program) colour(colour, text string) string {
	if !isTerminal(p.out.Writer) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
