package stackfile

import (
	"slices"

	"github.com/stackd/stackd/registry"
)

// A Rule is what a [Problem] breaks.
type Rule struct {
	// ID names it: in a comment "# stackd:allow ID reason", and in the manual.
	ID string
	// Severity says what breaking it means.
	Severity Severity
	// Summary says in a sentence what is found.
	Summary string
}

// Severity says what it means to break a rule.
type Severity string

const (
	// Error is what a stack can't be run with.
	Error Severity = "error"
	// Warning is what it can be run with, and what is hardly wanted. A comment can allow it.
	Warning Severity = "warning"
)

// The ids of the rules.
const (
	ruleInvalid       = "invalid"
	ruleConflict      = "conflict"
	ruleNeeds         = "needs"
	ruleBlocking      = "blocking"
	ruleSingleProcess = "single-process"
	ruleAllowReason   = "allow-reason"

	ruleAllowUnused = "allow-unused"
	ruleUnreachable = "override-unreachable"
	ruleSame        = "override-same"
	ruleGuardGap    = "guard-gap"
	ruleSlotOff     = "slot-off"
	ruleBareHost    = "bare-host"
	ruleOrder       = "order"
	ruleSecretClear = "secret-clear"
	ruleEnvironment = "environment"
	ruleReadable    = "secret-readable"
	ruleDevelopment = string(registry.Development)
)

// Rules returns all rules: the errors first, then the warnings. Those that warn of single settings are the concerns of
// components, [registry.Concerns].
func Rules() []Rule {
	return []Rule{
		{ruleInvalid, Error, "What is written can't be understood, or breaks a constraint."},
		{ruleConflict, Error, "Two overrides say different things about the same URLs, and neither is more specific."},
		{ruleNeeds, Error, "A component needs what nothing before it provides."},
		{ruleBlocking, Error, "A component may wait, and a server runs nothing that does outside of a pool."},
		{ruleSingleProcess, Error, "A component keeps its state in one process, and several are to run the stack."},
		{ruleAllowReason, Error, "A comment allows a warning and says no reason."},

		{ruleUnreachable, Warning, "An override comes to nothing: wherever it matches, more specific ones have the last word."},
		{ruleSame, Warning, "An override says what would hold without it."},
		{ruleGuardGap, Warning, "A guard stands before a folder, and not before the same path without the slash, or before some methods only."},
		{ruleSlotOff, Warning, "A slot is off for every URL."},
		{ruleBareHost, Warning, "A pattern without a slash at its beginning is for a host, and the host has no dot."},
		{ruleOrder, Warning, "A component stands outside of another one that it makes use of."},
		{ruleSecretClear, Warning, "A secret is written into the stack file."},
		{"unsafe-setting", Warning, "A setting takes a protection away."},
		{"exposed", Warning, "Others can reach what is meant for those who run the server."},
		{"clear-text", Warning, "What lets somebody in goes over a network unencrypted."},
		{ruleDevelopment, Warning, "What is for development stands in a stack that others can reach."},
		{ruleEnvironment, Warning, "Something that the stack relies on isn't there, or doesn't answer."},
		{ruleReadable, Warning, "Every user of the machine may read a file with secrets."},
		{ruleAllowUnused, Warning, "A comment allows a warning that isn't given there."},
	}
}

// severityOf returns the severity of the rule of that id.
func severityOf(id string) Severity {
	all := Rules()
	return all[slices.IndexFunc(all, func(r Rule) bool { return r.ID == id })].Severity
}
