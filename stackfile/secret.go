package stackfile

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stackd/stackd/registry"
)

// secrets know what a file must not be quoted with. A problem shows its line, which goes to
// terminals, logs and the records of other machines; a password on that line must not.
//
// They go by the names of secret settings, wherever these stand, since a file with faults may
// be in no other way understood.
type secrets struct {
	names   []string
	written *regexp.Regexp // such a name, its colon, and what is before
	quoted  *regexp.Regexp // the same and what follows, in what a message quotes
	// texts are the secrets that were read.
	texts []string
}

// shortSecret is too short for its text to be looked for in the rest of the file.
const shortSecret = 4

func secretsOf(r *registry.Registry) *secrets {
	s := &secrets{}
	var within func(t *registry.Type) bool
	within = func(t *registry.Type) bool {
		found := t.Form == registry.FormSecret || t.Elem != nil && within(t.Elem)
		for _, f := range t.Fields {
			if within(f.Type) && f.Type.Form != registry.FormStruct {
				s.names = append(s.names, f.Name)
			}
		}
		return found
	}
	for _, d := range r.All() {
		within(d.Settings)
	}
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	if len(s.names) > 0 {
		names := `(?:` + strings.Join(s.names, "|") + `)`
		s.written = regexp.MustCompile(`(?:^|[\s{,'"-])` + names + `['"]?\s*:\s*`)
		s.quoted = regexp.MustCompile(`("(?:[^"\\]|\\.)*?\b` + names + `['\\"]*\s*:\s*)(?:[^"\\]|\\.)+"`)
	}
	return s
}

// named reports whether a setting of that name may be a secret.
func (s *secrets) named(name string) bool { return slices.Contains(s.names, name) }

// secret notes a secret.
func (ps *problems) secret(n *node) {
	if ps.secrets != nil {
		ps.secrets.read(n)
	}
}

// read notes a secret, for places where it stands under another name.
func (s *secrets) read(n *node) {
	for _, p := range n.pairs {
		s.read(p.value)
	}
	for _, item := range n.items {
		s.read(item)
	}
	for line := range strings.Lines(n.text) {
		if line = strings.TrimSpace(line); len(line) >= shortSecret && !slices.Contains(s.texts, line) {
			s.texts = append(s.texts, line)
		}
	}
}

// hidden replaces the secrets of a problem's line, which is one of lines, and moves its mark
// with the rest.
func (s *secrets) hidden(p Problem, lines []string) Problem {
	for _, text := range s.texts {
		p.Text = strings.ReplaceAll(p.Text, text, redacted)
		for {
			at := strings.Index(p.Source, text)
			if at < 0 {
				break
			}
			p.hide(at, at+len(text))
		}
	}
	if s.written == nil {
		return p
	}
	p.Text = s.quoted.ReplaceAllString(p.Text, `${1}`+redacted+`"`)
	if s.below(lines, p.Line) {
		p.hide(indentOf(p.Source), len(p.Source))
		return p
	}
	for from := 0; ; {
		match := s.written.FindStringIndex(p.Source[from:])
		if match == nil {
			return p
		}
		begin := from + match[1]
		end := begin + valueEnd(p.Source[begin:], strings.ContainsAny(p.Source[:begin], "{["))
		if begin < end && !strings.HasPrefix(p.Source[begin:end], redacted) {
			end += p.hide(begin, end)
		}
		from = end
	}
}

// below reports whether a line belongs to a secret that begins on a line above.
func (s *secrets) below(lines []string, number int) bool {
	if number > len(lines) {
		return false
	}
	indent := indentOf(lines[number-1])
	for _, line := range slices.Backward(lines[:number-1]) {
		if at := indentOf(line); at < indent && at < len(line) {
			if match := s.written.FindStringIndex(line); match != nil && !strings.ContainsAny(line[:match[0]], "{[") {
				return true
			}
			indent = at
		}
	}
	return false
}

// sort puts the long ones first, since another one may be a part of them.
func (s *secrets) sort() {
	slices.SortFunc(s.texts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

const redacted = "[redacted]"

// hide replaces a part of the line. It returns by how much the line grew.
func (p *Problem) hide(begin, end int) int {
	grown := len(redacted) - utf8.RuneCountInString(p.Source[begin:end])
	switch first := utf8.RuneCountInString(p.Source[:begin]); {
	case p.mark-1 >= first+utf8.RuneCountInString(p.Source[begin:end]):
		p.mark += grown
	case p.mark-1 > first:
		p.mark = first + 1
	}
	was := len(p.Source)
	p.Source = p.Source[:begin] + redacted + p.Source[end:]
	return len(p.Source) - was
}

// valueEnd returns where the value at the begin of s ends, or len(s) if that is unclear.
func valueEnd(s string, flow bool) int {
	end := len(s)
	switch {
	case s == "":
	case s[0] == '"' || s[0] == '\'':
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] == '\\' && s[0] == '"':
				i++
			case s[i] == s[0] && s[0] == '\'' && strings.HasPrefix(s[i+1:], "'"):
				i++
			case s[i] == s[0]:
				rest := strings.TrimLeft(s[i+1:], " ")
				if rest == "" || strings.ContainsAny(rest[:1], ",]}#") {
					return i + 1
				}
				return len(s) // the quotes are not right
			}
		}
	case s[0] == '{' || s[0] == '[' || s[0] == '|' || s[0] == '>':
	case flow:
		// A reference without quotes has braces of its own, and is a fault here.
		if i := strings.IndexAny(s, ",]}"); i >= 0 && !strings.Contains(s[:i], "${") {
			end = i
		}
	}
	return len(strings.TrimRight(s[:end], " "))
}
