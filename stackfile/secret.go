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
	// known are the secrets that were read, and texts the same by how they begin.
	known map[string]bool
	texts map[string][]string
}

// shortSecret is too short for its text to be looked for in the rest of the file.
const shortSecret = 4

func secretsOf(r *registry.Registry) *secrets {
	s := &secrets{known: make(map[string]bool), texts: make(map[string][]string)}
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
		if line = strings.TrimSpace(line); len(line) >= shortSecret && !s.known[line] && !strings.Contains(redacted, line) {
			s.known[line] = true
			s.texts[line[:shortSecret]] = append(s.texts[line[:shortSecret]], line)
		}
	}
}

// in returns the secrets in a text that were read, the long ones first, since another one may be a part of them.
func (s *secrets) in(text string) []string {
	var found []string
	for i := range len(text) - shortSecret + 1 {
		for _, secret := range s.texts[text[i:i+shortSecret]] {
			if strings.HasPrefix(text[i:], secret) && !slices.Contains(found, secret) {
				found = append(found, secret)
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	return found
}

// redact takes the secrets out of a text that were read.
func (s *secrets) redact(text string) string {
	if s == nil {
		return text
	}
	for _, secret := range s.in(text) {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// message is redact for what is said of a problem, in which a secret may be quoted that couldn't be read.
func (s *secrets) message(text string) string {
	text = s.redact(text)
	if s == nil || s.written == nil {
		return text
	}
	return s.quoted.ReplaceAllString(text, `${1}`+redacted+`"`)
}

// A quoter quotes lines of files, without secrets.
type quoter struct {
	*secrets // nil for none
	files    map[*content]*quoting
}

// quoting is what a quoter knows of a file.
type quoting struct {
	*content
	// outer has for each line the one above that it is within, from 1; 0 for none. Begins are those of them that were looked at,
	// and whether a secret begins there.
	outer  []int
	begins map[int]bool
	hidden map[int][]span // of lines, from 1
}

// span is a part of a line, in bytes.
type span struct{ begin, end int }

// longestQuote is how much is quoted of a line, in bytes. Nothing is when more than mostSecrets were read.
const (
	longestQuote = 1000
	mostSecrets  = 1000
)

// quote fills in a problem's line, or of a long one what is around the column, and its mark.
func (q *quoter) quote(p *Problem, c *content) {
	line := c.line(p.Line)
	if line == "" || q.secrets != nil && len(q.known) > mostSecrets {
		return
	}
	at, left := 0, p.Column-1
	for ; left > 0 && at < len(line); left-- {
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	from, to := 0, len(line)
	if to > longestQuote {
		from = max(at-longestQuote/2, 0)
		to = min(from+longestQuote, to)
	}
	for from > 0 && !utf8.RuneStart(line[from]) {
		from--
	}
	for to < len(line) && !utf8.RuneStart(line[to]) {
		to++
	}
	hidden := q.hiddenIn(c, p.Line)
	for _, s := range hidden {
		if s.begin < at && at < s.end {
			at = s.begin
		}
	}
	from = min(from, at)
	p.Source = cut(line, hidden, from, to)
	p.mark = utf8.RuneCountInString(cut(line, hidden, from, at)) + left + 1
}

// cut returns a part of a line without what is hidden.
func cut(line string, hidden []span, from, to int) string {
	var b strings.Builder
	for _, s := range hidden {
		if s.end <= from || s.begin >= to {
			continue
		}
		b.WriteString(line[from:max(s.begin, from)] + redacted)
		from = min(s.end, to)
	}
	return b.String() + line[from:to]
}

// hiddenIn returns what must not be quoted of a line, in order.
func (q *quoter) hiddenIn(c *content, number int) []span {
	if q.secrets == nil {
		return nil
	}
	f := q.files[c]
	if f == nil {
		f = &quoting{content: c, begins: make(map[int]bool), hidden: make(map[int][]span)}
		q.files[c] = f
	}
	hidden, ok := f.hidden[number]
	if !ok {
		hidden = q.secretsOn(f, number)
		f.hidden[number] = hidden
	}
	return hidden
}

// secretsOn returns where there are secrets on a line.
func (q *quoter) secretsOn(f *quoting, number int) []span {
	line := f.line(number)
	if q.written != nil && q.below(f, number) {
		return []span{{indentOf(line), len(line)}}
	}
	var all []span
	known := make(map[int]bool) // where one begins that was read
	for _, secret := range q.in(line) {
		for from := 0; ; {
			at := strings.Index(line[from:], secret)
			if at < 0 {
				break
			}
			known[from+at] = true
			all = append(all, span{from + at, from + at + len(secret)})
			from += at + len(secret)
		}
	}
	for from := 0; q.written != nil; {
		match := q.written.FindStringIndex(line[from:])
		if match == nil {
			break
		}
		begin := from + match[1]
		end := begin + valueEnd(line[begin:], strings.ContainsAny(line[:begin], "{["))
		if begin < end && !known[begin] {
			all = append(all, span{begin, end})
		}
		from = end
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	var merged []span
	for _, s := range all {
		if last := len(merged) - 1; last >= 0 && s.begin < merged[last].end {
			merged[last].end = max(merged[last].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// below reports whether a line belongs to a secret that begins on a line above.
func (q *quoter) below(f *quoting, number int) bool {
	if f.outer == nil {
		f.outer = outerLines(f.lines)
	}
	for n := f.outer[number]; n > 0; n = f.outer[n] {
		begins, ok := f.begins[n]
		if !ok {
			line := f.line(n)
			match := q.written.FindStringIndex(line)
			begins = match != nil && !strings.ContainsAny(line[:match[0]], "{[")
			f.begins[n] = begins
		}
		if begins {
			return true
		}
	}
	return false
}

// outerLines returns for each line, from 1, the last one above it that is less far in; 0 for none.
func outerLines(lines []string) []int {
	outer := make([]int, len(lines)+1)
	var open []int // those that a line may be within, each further in than the one before
	for i, line := range lines {
		indent := indentOf(line)
		last := len(open) - 1
		for last >= 0 && indentOf(lines[open[last]-1]) >= indent {
			last--
		}
		if last >= 0 {
			outer[i+1] = open[last]
		}
		if indent < len(line) { // there is something on it
			open = append(open[:last+1], i+1)
		}
	}
	return outer
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

const redacted = "[redacted]"

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
