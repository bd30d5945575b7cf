package schema

import (
	"embed"
	"fmt"
	"strings"

	"github.com/stackd/stackd/stackfile"
)

// pages are the manual's pages on the rules of a check.
//
//go:embed rules/*.md
var pages embed.FS

// RulePage returns the page on a rule of [stackfile.Rules], in Markdown that reads well as text of 80
// columns, too, or "" when there is none.
func RulePage(id string) string {
	text, err := pages.ReadFile("rules/" + id + ".md")
	if err != nil {
		return ""
	}
	return string(text)
}

// rules writes the chapter on the rules of a check.
func (m *markdown) rules() {
	m.printf("\n%s\n## Rules of a check\n", anchor("rules"))
	m.printf("\n%s\n", strings.TrimSpace(`
What stackd check says comes under one of these rules. A stack file that breaks one of the errors
can't be run. Warnings are about what can be run and is hardly wanted; a comment allows one, on its line or
alone above it:

    # stackd:allow slot-off we switch it on for the sale in winter
`))
	for _, r := range stackfile.Rules() {
		m.printf("\n%s\n### %s\n\n%s: %s\n\n%s", anchor("rule-"+r.ID), r.ID, upperFirst(string(r.Severity)), r.Summary, RulePage(r.ID))
	}
}

// Rule returns what there is to know about a rule, as text for a terminal. It is empty when there is no rule of that
// id.
func Rule(id string) string {
	for _, r := range stackfile.Rules() {
		if r.ID == id {
			return fmt.Sprintf("%s (%s)\n\n%s\n\n%s", r.ID, r.Severity, strings.Join(wrap(r.Summary, width), "\n"), strings.ReplaceAll(RulePage(id), "`", ""))
		}
	}
	return ""
}
