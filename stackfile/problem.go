package stackfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one fault of a stack file.
type Problem struct {
	// File is the file as the user named it; Line and Column count from 1, columns in
	// characters.
	File         string
	Line, Column int
	// Rule is the id of the [Rule] that is broken, and Severity says what that means.
	Rule     string
	Severity Severity
	// Text says where in the stack it is, what is and what must be.
	Text string
	// Allowed is the reason why a comment allows it, if one does.
	Allowed string
	// Source is the line, or of a long one what is around the column, to be shown with a mark under that. Secrets are
	// redacted.
	Source string
	// mark is the column in Source, which differs from that in the file where a secret was
	// taken out before it.
	mark int
	from *source
}

// String returns the problem on one line: "stack.yaml:14:7: /api/: …". A warning says that it is
// one, and by which rule.
func (p Problem) String() string {
	if p.Severity == Warning {
		return fmt.Sprintf("%s:%d:%d: warning: %s [%s]", p.File, p.Line, p.Column, p.Text, p.Rule)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Excerpt returns the source line with a caret under the column, in two lines,
// or nothing when there is no such line. A long line is cut around the column.
func (p Problem) Excerpt() string {
	const before, width = 50, 76
	line := []rune(strings.Map(printable, p.Source))
	at := p.mark - 1
	if strings.TrimSpace(p.Source) == "" || at < 0 || at > len(line) {
		return ""
	}
	if cut := at - before; cut > 0 && len(line) > width {
		line = append([]rune("…"), line[cut+1:]...)
		at -= cut
	}
	if len(line) > width {
		line = append(line[:width-1:width-1], '…')
	}
	return fmt.Sprintf("    %s\n    %s^\n", string(line), strings.Repeat(" ", at))
}

// Quoting returns the problem with an excerpt that Excerpt returned, in another process.
func (p Problem) Quoting(excerpt string) Problem {
	line, caret, ok := strings.Cut(excerpt, "\n")
	if !ok || len(line) < 4 {
		return p
	}
	p.Source, p.mark = line[4:], strings.IndexByte(caret, '^')-4+1
	return p
}

// printable takes out what would move the caret, or speak to a terminal.
func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case !unicode.IsPrint(r):
		return '\uFFFD'
	}
	return r
}

// harmless takes out what would speak to a terminal, and leaves lines.
func harmless(r rune) rune {
	if r == '\n' {
		return r
	}
	return printable(r)
}

// Problems are all faults of a stack file and of the files that it is made of, sorted by
// position, those of the stack file itself first. It is the error that
// [Load] and [Plan.Build] return.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// pos is a place in a stack file, or in one that it is made of.
type pos struct {
	source       *source
	line, column int32 // a file has 2 MiB at most
}

// compare orders places as problems are: by file, the stack file itself first, then by line.
func (p pos) compare(q pos) int {
	return cmp.Or(p.source.compare(q.source), cmp.Compare(p.line, q.line), cmp.Compare(p.column, q.column))
}

// seenFrom says where p is to somebody who reads about it at another place: "line 8", or
// "line 8 of base.yaml" in another file.
func (p pos) seenFrom(at pos) string {
	if p.source == at.source {
		return fmt.Sprintf("line %d", p.line)
	}
	return fmt.Sprintf("line %d of %s", p.line, p.source.name)
}

// String returns "file:line", or nothing for no place.
func (p pos) String() string {
	if p.source == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.source.name, p.line)
}

// problems collects the faults of one load.
type problems struct {
	list []Problem
	seen map[Problem]bool
	// more counts those beyond maxProblems.
	more int
	// texts are what the files have in them, whose lines are shown.
	texts map[*source]*content
	// secrets are taken out of what is shown of the files' lines; nil for none.
	secrets *secrets
}

// read takes in what a file has in it.
func (ps *problems) read(s *source, text string) *content {
	if ps.texts == nil {
		ps.texts = make(map[*source]*content)
	}
	c := &content{lines: splitLines(text)}
	ps.texts[s] = c
	return c
}

// maxProblems is how many faults are told one by one.
const maxProblems = 1000

// longestArg is longer than anything in a problem but what the user wrote.
const longestArg = 1000

// add notes something that is written wrong.
func (ps *problems) add(at pos, where []string, format string, args ...any) {
	ps.report(ruleInvalid, at, where, format, args...)
}

// report notes at a place, once, that a rule is broken. Where is where in the stack it is, outermost
// first; empty parts are left out.
func (ps *problems) report(rule string, at pos, where []string, format string, args ...any) {
	var b strings.Builder
	for _, part := range where {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	for i, arg := range args {
		if text, ok := arg.(string); ok && len(text) > longestArg {
			args[i] = shortened(text)
		}
	}
	fmt.Fprintf(&b, format, args...)
	p := Problem{File: at.source.name, Line: int(at.line), Column: int(at.column), Rule: rule, Severity: severityOf(rule), Text: strings.Map(harmless, b.String()), from: at.source}
	if ps.seen[p] {
		return
	}
	if len(ps.list) == maxProblems {
		ps.more++
		return
	}
	if ps.seen == nil {
		ps.seen = make(map[Problem]bool)
	}
	ps.seen[p] = true
	ps.list = append(ps.list, p)
}

// err returns the faults in the order of their positions, or nil when there is none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(a.from.compare(b.from), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	q := quoter{secrets: ps.secrets, files: make(map[*content]*quoting)}
	for i := range ps.list {
		p := &ps.list[i]
		p.Text = ps.secrets.message(p.Text)
		q.quote(p, ps.texts[p.from])
	}
	if ps.more > 0 {
		last := ps.list[len(ps.list)-1]
		last.Text = fmt.Sprintf("there are %d problems more, here and elsewhere", ps.more)
		ps.list = append(ps.list, last)
	}
	return Problems(ps.list)
}
