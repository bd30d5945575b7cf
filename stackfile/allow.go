package stackfile

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// allowMark begins a comment that allows a warning: "# stackd:allow ID reason".
const allowMark = "stackd:allow"

// allowance is such a comment.
type allowance struct {
	at pos
	// line is the one whose warnings it allows: its own, or the next if it stands alone on its own.
	line int
	rule string
	// reason is why.
	reason string
	used   bool
}

// quotes notes where a text has the mark of an allowance in it.
func (c *content) quotes(y *yaml.Node) {
	left := strings.Count(y.Value, allowMark)
	for line := y.Line; left > 0 && line <= len(c.lines); line++ {
		if n := strings.Count(c.lines[line-1], allowMark); n > 0 {
			if c.quoted == nil {
				c.quoted = make(map[int]bool)
			}
			c.quoted[line] = true
			left -= n
		}
	}
}

// allowances returns those of a file. One without a reason is a problem.
func (c *content) allowances(s *source, ps *problems) []*allowance {
	var found []*allowance
	next := 0 // the line after the comments that were looked through last
	for i, line := range c.lines {
		before, after, ok := strings.Cut(line, allowMark)
		head := strings.TrimRight(before, " \t")
		code, isComment := strings.CutSuffix(head, "#")
		if !ok || !isComment || c.quoted[i+1] || code != "" && !strings.HasSuffix(code, " ") && !strings.HasSuffix(code, "\t") {
			continue
		}
		a := &allowance{at: s.at(i+1, len([]rune(code))+1), line: i + 1}
		id, reason, _ := strings.Cut(strings.TrimSpace(after), " ")
		a.rule, a.reason = id, strings.TrimSpace(reason)
		switch {
		case id == "":
			ps.report(ruleAllowReason, a.at, nil, "the comment allows nothing; it must be like # stackd:allow %s and the reason", ruleOrder)
			continue
		case a.reason == "":
			ps.report(ruleAllowReason, a.at, nil, "the comment says no reason; it must be like # stackd:allow %s and the reason", id)
			continue
		}
		if strings.TrimSpace(code) == "" {
			if next <= i+1 {
				next = c.nextCode(i + 1)
			}
			a.line = next
		}
		found = append(found, a)
	}
	return found
}

// nextCode returns the number of the line after the comments that begin below line n.
func (c *content) nextCode(n int) int {
	n++
	for strings.HasPrefix(strings.TrimLeft(c.line(n), " \t"), "#") {
		n++
	}
	return n
}

// allow marks the warnings that comments allow, and takes them out of the problems unless they are to be kept. It warns of
// comments which allow nothing, unless not all rules were asked.
func (ps *problems) allow(comments []*allowance, keep bool, asked func(rule string) bool) {
	for i := range ps.list {
		p := &ps.list[i]
		for _, a := range comments {
			if p.Severity == Warning && a.rule == p.Rule && a.at.source == p.from && a.line == p.Line {
				a.used, p.Allowed = true, a.reason
			}
		}
	}
	if !keep {
		ps.list = slices.DeleteFunc(ps.list, func(p Problem) bool { return p.Allowed != "" })
	}
	for _, a := range comments {
		all := Rules()
		i := slices.IndexFunc(all, func(r Rule) bool { return r.ID == a.rule })
		switch {
		case i < 0:
			var ids []string
			for _, r := range all {
				if r.Severity == Warning {
					ids = append(ids, r.ID)
				}
			}
			ps.report(ruleAllowUnused, a.at, nil, "there is no rule %q%s", a.rule, DidYouMean(a.rule, ids))
		case all[i].Severity == Error:
			ps.report(ruleAllowUnused, a.at, nil, "a comment can't allow %s, which is an error", a.rule)
		case !a.used && asked(a.rule):
			ps.report(ruleAllowUnused, a.at, nil, "the comment allows %s, which nothing on line %d calls for; take it out", a.rule, a.line)
		}
	}
}
