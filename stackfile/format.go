package stackfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/stackd/stackd/registry"
)

// Format returns a stack file in its one canonical form, which says the same. Texts, quotes and comments stay as they were
// written, and blank lines between entries. Name is the file's, for messages.
//
//   - Indentation is two spaces, that of a list below its key too.
//   - Keys stand in the order of the reference manual: use, as and off first, then the settings. What is named by the user
//     keeps its order, such as vars and patterns; the slots of an override stand as in stack:.
//   - Within { } and [ ] there is a space after each comma and colon and nowhere else.
//   - Comments at the end of lines that follow each other are aligned.
//   - There is never more than one blank line, and none at the beginning and the end. One stands between top-level keys with
//     more than a line. A line --- at the beginning stays.
//
// What Format returns, it returns unchanged. The file needn't be right, as long as it is YAML: [Problems] say where it isn't.
// A layout that can't be kept without loss is a problem too.
func Format(reg *registry.Registry, name string, data []byte) ([]byte, error) {
	p := &parser{source: &source{name: name, main: true}, problems: &problems{secrets: secretsOf(reg)}, must: oneOf(Keys())}
	doc := p.document(data)
	if doc == nil {
		return nil, p.problems.err()
	}
	if missing(doc.Content[0]) { // it has a line --- and nothing else
		p.empty()
		return nil, p.problems.err()
	}
	f := &formatter{lines: p.text.lines}
	out, err := f.file(doc.Content[0], fileShape(reg, doc.Content[0]))
	if err == nil {
		err = faithful(p.text.lines, doc, out)
	}
	if at, ok := errors.AsType[*unformattable](err); ok {
		p.problems.add(p.source.at(at.line+1, 1), nil, "%s", at.problem)
		return nil, p.problems.err()
	}
	return []byte(out), err
}

// unformattable is a place where a file can't be formatted.
type unformattable struct {
	line    int
	problem string
}

func (u *unformattable) Error() string { return u.problem }

// faithful checks that formatting has lost nothing.
func faithful(lines []string, doc *yaml.Node, out string) error {
	again, err := decodeYAML(strings.NewReader(out))
	if err == nil && equalYAML(doc, again) && strings.Count(strings.Join(lines, "\n"), "#") == strings.Count(out, "#") {
		return nil
	}
	return &unformattable{0, "the file has a layout that can't be formatted without loss; it is left as it is"}
}

// equalYAML reports whether two nodes say the same, whatever the order of keys.
func equalYAML(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.ShortTag() != b.ShortTag() || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.MappingNode:
		return slices.EqualFunc(sortedPairs(a), sortedPairs(b), func(a, b [2]*yaml.Node) bool { return equalYAML(a[0], b[0]) && equalYAML(a[1], b[1]) })
	case yaml.ScalarNode, yaml.AliasNode:
		return a.Value == b.Value || a.ShortTag() == "!!null"
	}
	return slices.EqualFunc(a.Content, b.Content, equalYAML)
}

// sortedPairs returns the pairs of a mapping sorted by their keys.
func sortedPairs(n *yaml.Node) [][2]*yaml.Node {
	var pairs [][2]*yaml.Node
	for pair := range slices.Chunk(n.Content, 2) {
		pairs = append(pairs, [2]*yaml.Node{pair[0], pair[1]})
	}
	slices.SortStableFunc(pairs, func(a, b [2]*yaml.Node) int { return strings.Compare(a[0].Value, b[0].Value) })
	return pairs
}

// A written is one line of the result: text, a comment, both, or neither.
type written struct {
	text, comment string
	// fixed text belongs to a block scalar.
	fixed bool
}

// indented puts something before the first line and as many spaces before the others.
func indented(lines []written, first string) []written {
	prefix := first
	for i := range lines {
		if lines[i] != (written{}) && (lines[i].text != "" || !lines[i].fixed) {
			lines[i].text = prefix + lines[i].text
		}
		prefix = strings.Repeat(" ", len(first))
	}
	return lines
}

// formatter formats one file.
type formatter struct {
	lines []string
	// last is where the last node began that was looked for, and before it how many characters of its line stand.
	last   spot
	before int
}

// spot is a place in the file, from 0; the column is in bytes.
type spot struct{ line, column int }

// start returns where a node begins. YAML counts columns in characters.
func (f *formatter) start(n *yaml.Node) spot {
	line := f.lines[n.Line-1]
	if f.last.line != n.Line-1 || f.before > n.Column-1 {
		f.last, f.before = spot{n.Line - 1, 0}, 0
	}
	for ; f.before < n.Column-1; f.before++ {
		_, size := utf8.DecodeRuneInString(line[f.last.column:])
		f.last.column += size
	}
	return f.last
}

// rest returns what the line has from a place on.
func (f *formatter) rest(at spot) string { return f.lines[at.line][at.column:] }

// indent returns the indentation of a line, or -1 when there is nothing on it.
func (f *formatter) indent(line int) int {
	text := strings.TrimLeft(f.lines[line], " ")
	if strings.TrimSpace(text) == "" {
		return -1
	}
	return len(f.lines[line]) - len(text)
}

// isComment reports whether a line has nothing but a comment.
func (f *formatter) isComment(line int) bool {
	return strings.HasPrefix(strings.TrimSpace(f.lines[line]), "#")
}

// comment returns the comment at a place where nothing else may follow.
func (f *formatter) comment(at spot) (string, error) {
	text := strings.TrimSpace(f.rest(at))
	if text != "" && text[0] != '#' {
		return "", &unformattable{at.line, "the line has something behind a value that can't be formatted"}
	}
	return text, nil
}

// between returns the comments and blank lines from one line to before another.
func (f *formatter) between(from, to int) ([]written, error) {
	var found []written
	for line := from; line < to; line++ {
		switch text := strings.TrimSpace(f.lines[line]); {
		case text == "" && (len(found) == 0 || found[len(found)-1] != written{}):
			found = append(found, written{})
		case text == "":
		case text[0] == '#':
			found = append(found, written{comment: text})
		default:
			return nil, &unformattable{line, "the line stands where only a comment can be formatted"}
		}
	}
	return found, nil
}

func (f *formatter) file(top *yaml.Node, s shape) (string, error) {
	lines, from, err := f.begin(top.Line - 1)
	if err != nil {
		return "", err
	}
	var body []written
	next := 0
	if block(top) {
		body, next, err = f.collection(top, from, len(f.lines), s, true)
	} else {
		if body, err = f.between(from, top.Line-1); err != nil {
			return "", err
		}
		var first written
		var below []written
		first, below, next, err = f.value(top, f.start(top), len(f.lines), s)
		body = append(append(body, first), below...)
	}
	if err != nil {
		return "", err
	}
	end, err := f.between(next, len(f.lines))
	if err != nil {
		return "", err
	}
	return render(append(append(lines, body...), end...)), nil
}

// begin returns what stands up to the line --- that a document may begin with, and the line after it. Without one before
// limit it is nothing.
func (f *formatter) begin(limit int) (lines []written, from int, err error) {
	for line := range limit {
		behind, ok := strings.CutPrefix(f.lines[line], "---")
		if behind = strings.TrimSpace(behind); !ok || behind != "" && behind[0] != '#' {
			continue
		}
		lines, err = f.between(0, line)
		return append(lines, written{text: "---", comment: behind}), line + 1, err
	}
	return nil, 0, nil
}

// flow reports whether a node is written with brackets.
func flow(n *yaml.Node) bool {
	return (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && n.Style&yaml.FlowStyle != 0
}

// missing reports whether nothing was written where a value could be.
func missing(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// block reports whether a node's entries stand on lines of their own.
func block(n *yaml.Node) bool {
	return (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && n.Style&yaml.FlowStyle == 0
}

// entryOf is an entry of a block collection with the comments and blank lines before it.
type entryOf struct {
	lead, body []written
	rank       int
}

// collection formats a block collection. Its lines, and the comments before its first entry, begin at line from; what comes
// after it begins at limit at the latest. Next is the first line that isn't its own.
func (f *formatter) collection(n *yaml.Node, from, limit int, s shape, top bool) (lines []written, next int, err error) {
	var entries []entryOf
	keys := s.of(n)
	column := 0
	next = from
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := 0; i < len(n.Content); i += step {
		var at spot
		var e entryOf
		var value *yaml.Node
		inner, head := s, "- "
		if n.Kind == yaml.MappingNode {
			at, value = f.start(n.Content[i]), n.Content[i+1]
			e.rank, inner = keys(n.Content[i].Value)
		} else if at, err = f.dash(n, i, next); err != nil {
			return nil, 0, err
		} else {
			value = n.Content[i]
		}
		if i == 0 {
			column = at.column
		}
		if e.lead, err = f.between(next, at.line); err != nil {
			return nil, 0, err
		}
		end := limit
		if i+step < len(n.Content) {
			end = n.Content[i+step].Line - 1
		}
		after := spot{at.line, at.column + 1}
		if n.Kind == yaml.MappingNode {
			if head, after, err = f.key(n.Content[i]); err != nil {
				return nil, 0, err
			}
		}
		var first written
		var rest []written
		if first, rest, next, err = f.value(value, after, end, inner); err != nil {
			return nil, 0, err
		}
		if n.Kind == yaml.MappingNode {
			first.text = strings.TrimRight(head+" "+first.text, " ")
			e.body = append([]written{first}, indented(rest, "  ")...)
		} else {
			e.body = f.item(&e, first, rest)
		}
		entries = append(entries, e)
	}
	// Comments behind the last entry, not further out, are its own.
	claimed := next
	for line := next; line < limit && (f.indent(line) < 0 || f.isComment(line) && f.indent(line) >= max(column, 1)); line++ {
		if f.indent(line) >= 0 {
			claimed = line + 1
		}
	}
	foot, err := f.between(next, claimed)
	if err != nil {
		return nil, 0, err
	}
	return append(ordered(entries, top), foot...), claimed, nil
}

// ordered returns the lines of the entries in their order. What is apart from the first entry by a blank line stays above
// all, such as a comment about the whole file. Apart are entries of more than one line at the top of the file.
func ordered(entries []entryOf, apart bool) []written {
	var lines []written
	first := &entries[0]
	for len(first.lead) > 0 && first.lead[0] == (written{}) {
		first.lead = first.lead[1:]
	}
	if i := slices.Index(first.lead, written{}); i > 0 {
		lines, first.lead = append(lines, first.lead[:i+1]...), first.lead[i+1:]
	}
	slices.SortStableFunc(entries, func(a, b entryOf) int { return a.rank - b.rank })
	for i, e := range entries {
		switch {
		case i == 0:
			for len(e.lead) > 0 && e.lead[0] == (written{}) {
				e.lead = e.lead[1:]
			}
		case apart && (len(e.body) > 1 || len(entries[i-1].body) > 1):
			lines = append(lines, written{})
		}
		lines = append(append(lines, e.lead...), e.body...)
	}
	return lines
}

// dash returns where item i of a block sequence begins.
func (f *formatter) dash(n *yaml.Node, i, from int) (spot, error) {
	if i == 0 && n.Anchor == "" {
		return f.start(n), nil
	}
	for line := from; line < len(f.lines); line++ {
		if at := f.indent(line); at >= 0 && !f.isComment(line) {
			if f.lines[line][at] == '-' {
				return spot{line, at}, nil
			}
			break
		}
	}
	return spot{}, &unformattable{from, "the list below this line can't be formatted"}
}

// item returns the lines of a sequence's item. Comments between the dash and the item go before the dash.
func (f *formatter) item(e *entryOf, first written, rest []written) []written {
	if first.text != "" || len(rest) == 0 {
		first.text = strings.TrimRight("- "+first.text, " ")
		return append([]written{first}, indented(rest, "  ")...)
	}
	if first.comment != "" {
		e.lead = append(e.lead, written{comment: first.comment})
	}
	for len(rest) > 1 && rest[0].text == "" {
		e.lead, rest = append(e.lead, rest[0]), rest[1:]
	}
	return indented(rest, "- ")
}

// key returns a key with its colon, and where it ends.
func (f *formatter) key(n *yaml.Node) (string, spot, error) {
	if n.Kind != yaml.ScalarNode || n.Anchor != "" {
		return "", spot{}, &unformattable{n.Line - 1, "the key can't be formatted; it must be a plain word or a quoted text"}
	}
	raw, _, end, err := f.scalar(n)
	if err != nil {
		return "", spot{}, err
	}
	text := f.rest(end)
	colon := strings.TrimLeft(text, " ")
	if !strings.HasPrefix(colon, ":") {
		return "", spot{}, &unformattable{end.line, "the key can't be formatted; it must be a plain word or a quoted text, with a colon"}
	}
	return raw + ":", spot{end.line, end.column + len(text) - len(colon) + 1}, nil
}

// value formats what stands behind a key or dash. First is what goes on the same line; the lines below are to be indented.
func (f *formatter) value(n *yaml.Node, after spot, limit int, s shape) (first written, below []written, next int, err error) {
	if block(n) {
		next = after.line
		if n.Anchor != "" {
			at := f.start(n)
			if at.line != after.line {
				return first, nil, 0, &unformattable{at.line, "the anchor can't be formatted; it must stand on the line of its key"}
			}
			first.text = "&" + n.Anchor
			after.column = at.column + len(first.text)
		}
		if n.Content[0].Line-1 > after.line && (n.Anchor != "" || n.Line-1 > after.line) {
			if first.comment, err = f.comment(after); err != nil {
				return first, nil, 0, err
			}
			next++
		}
		below, next, err = f.collection(n, next, limit, s, false)
		return first, below, next, err
	}
	end := after
	if !missing(n) {
		at := f.start(n)
		if at.line > after.line {
			if between, err := f.between(after.line+1, at.line); err != nil || len(between) > 0 || strings.TrimSpace(f.rest(after)) != "" {
				return first, nil, 0, &unformattable{after.line, "the comment between the key and its value can't be formatted; it must stand above the key"}
			}
		}
		if flow(n) {
			first.text, below, end, err = f.flow(n, s)
		} else {
			first.text, below, end, err = f.scalar(n)
		}
		if err != nil {
			return first, nil, 0, err
		}
	}
	comment, err := f.comment(end)
	if len(below) > 0 && !below[0].fixed {
		below[len(below)-1].comment = comment
	} else if comment != "" {
		first.comment = comment
	}
	if i := strings.IndexByte(first.text, '#'); len(below) > 0 && below[0].fixed && i > 0 { // behind | or >
		first.text, first.comment = strings.TrimSpace(first.text[:i]), first.text[i:]
	}
	return first, below, end.line + 1, err
}

// scalar returns a text as it was written, with the lines below the first, and where it ends.
func (f *formatter) scalar(n *yaml.Node) (first string, below []written, end spot, err error) {
	at := f.start(n)
	head := ""
	if n.Anchor != "" {
		head = "&" + n.Anchor
		at.column += len(head)
		rest := f.rest(at)
		at.column += len(rest) - len(strings.TrimLeft(rest, " "))
		if n.Value != "" || n.Style != 0 {
			head += " "
		}
	}
	var texts []string
	switch {
	case n.Kind == yaml.AliasNode:
		return "*" + n.Value, nil, spot{at.line, at.column + 1 + len(n.Value)}, nil
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		below, end = f.blockScalar(at)
		return head + strings.TrimSpace(f.rest(at)), below, end, nil
	case n.Style&yaml.DoubleQuotedStyle != 0:
		texts, end = f.quoted(at, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		texts, end = f.quoted(at, '\'')
	default:
		texts, end = f.plain(at, n.Value)
	}
	if texts == nil {
		return "", nil, end, &unformattable{at.line, "the text can't be formatted"}
	}
	for _, text := range texts[1:] {
		below = append(below, written{text: text})
	}
	return head + texts[0], below, end, nil
}

// quoted returns the lines of a quoted text.
func (f *formatter) quoted(at spot, quote byte) ([]string, spot) {
	var texts []string
	begin := at.column
	for i := at.column + 1; ; i++ {
		line := f.lines[at.line]
		switch {
		case i >= len(line):
			texts = append(texts, strings.TrimSpace(line[begin:]))
			at.line++
			if at.line == len(f.lines) {
				return nil, at
			}
			begin, i = 0, -1
		case line[i] == '\\' && quote == '"':
			i++
		case line[i] == quote && quote == '\'' && strings.HasPrefix(line[i+1:], "'"):
			i++
		case line[i] == quote:
			return append(texts, strings.TrimSpace(line[begin:i+1])), spot{at.line, i + 1}
		}
	}
}

// plain returns the lines of a text without quotes.
func (f *formatter) plain(at spot, value string) ([]string, spot) {
	if strings.HasPrefix(f.rest(at), value) {
		return []string{value}, spot{at.line, at.column + len(value)}
	}
	var texts []string
	for left := value; at.line < len(f.lines); at = (spot{at.line + 1, 0}) {
		rest := f.rest(at)
		at.column += len(rest) - len(strings.TrimLeft(rest, " "))
		rest = strings.TrimLeft(rest, " ")
		if strings.HasPrefix(rest, left) {
			return append(texts, left), spot{at.line, at.column + len(left)}
		}
		text, ok := strings.TrimRight(rest, " "), false
		if left, ok = strings.CutPrefix(left, text); !ok {
			break
		}
		texts, left = append(texts, text), strings.TrimLeft(left, " \n")
	}
	return nil, at
}

// blockScalar returns the lines below a | or >, as far indented as the first of them is.
func (f *formatter) blockScalar(at spot) ([]written, spot) {
	indent, last := -1, at.line
	for line := at.line + 1; line < len(f.lines); line++ {
		is := f.indent(line)
		if is < 0 {
			continue
		}
		if indent < 0 {
			indent = is
		}
		if is < indent || is == 0 {
			break
		}
		last = line
	}
	var found []written
	for line := at.line + 1; line <= last; line++ {
		text := f.lines[line]
		found = append(found, written{text: text[min(indent, len(text)):], fixed: true})
	}
	return found, spot{last, len(f.lines[last])}
}

// longest is how long a line with brackets may get when it is put together of several.
const longest = 100

// flow formats a collection in brackets: on one line if it was, or if it fits there.
func (f *formatter) flow(n *yaml.Node, s shape) (first string, below []written, end spot, err error) {
	at := f.start(n)
	line, end, err := f.oneLine(n, s)
	if err != nil {
		return "", nil, end, err
	}
	commented := false
	for i := at.line; i <= end.line; i++ {
		commented = commented || strings.Contains(f.lines[i], " #") || f.isComment(i)
	}
	if at.line == end.line || !commented && len(line) <= longest {
		return line, nil, end, nil
	}
	// The lines stay as they were written, the last one as far in as the first.
	for i := at.line; i <= end.line; i++ {
		text := f.lines[i]
		if i == end.line {
			text = text[:end.column]
		}
		if i == at.line {
			first = strings.TrimSpace(text[at.column:])
			continue
		}
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		below = append(below, written{text: text})
	}
	return first, below, end, nil
}

// oneLine writes a collection in brackets on one line, and returns where it ends.
func (f *formatter) oneLine(n *yaml.Node, s shape) (string, spot, error) {
	at := f.start(n)
	head := ""
	if n.Anchor != "" {
		head = "&" + n.Anchor + " "
		at.column += len(n.Anchor) + 1
		rest := f.rest(at)
		at.column += len(rest) - len(strings.TrimLeft(rest, " "))
	}
	brackets := "{}"
	if n.Kind == yaml.SequenceNode {
		brackets = "[]"
	}
	if !strings.HasPrefix(f.rest(at), brackets[:1]) {
		return "", at, &unformattable{at.line, "a pair within [ ] can't be formatted; it must have { } around it"}
	}
	type part struct {
		text string
		rank int
	}
	var parts []part
	end := spot{at.line, at.column + 1}
	keys := s.of(n)
	inner, rank := s, 0
	key := ""
	for i, c := range n.Content {
		text, err := "", error(nil)
		isKey := n.Kind == yaml.MappingNode && i%2 == 0
		switch {
		case isKey && (c.Kind != yaml.ScalarNode || missing(c)):
			return "", at, &unformattable{at.line, "the key can't be formatted; it must be a plain word or a quoted text"}
		case missing(c):
		case flow(c):
			text, end, err = f.oneLine(c, inner)
		default:
			var below []written
			text, below, end, err = f.scalar(c)
			for _, b := range below {
				text += " " + b.text
			}
		}
		if err != nil {
			return "", end, err
		}
		if isKey {
			key = text
			rank, inner = keys(c.Value)
			continue
		}
		if n.Kind == yaml.MappingNode {
			text = strings.TrimSuffix(key+": "+text, ": ")
		}
		parts = append(parts, part{text, rank})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return a.rank - b.rank })
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.text
	}
	end, err := f.closing(end, brackets[1])
	return head + brackets[:1] + strings.Join(texts, ", ") + brackets[1:], end, err
}

// closing returns where a bracket ends that closes after at.
func (f *formatter) closing(at spot, bracket byte) (spot, error) {
	for ; at.line < len(f.lines); at = (spot{at.line + 1, 0}) {
		for i := at.column; i < len(f.lines[at.line]); i++ {
			switch f.lines[at.line][i] {
			case bracket:
				return spot{at.line, i + 1}, nil
			case ' ', ',', ':':
				continue
			case '#':
			default:
				return at, &unformattable{at.line, "what is in the brackets can't be formatted"}
			}
			break
		}
	}
	return at, &unformattable{len(f.lines) - 1, "what is in the brackets can't be formatted"}
}

// widest is how long a line may be for the comments of its neighbours to be aligned with its own.
const widest = 60

// render writes the lines, with the comments of lines that follow each other aligned.
func render(lines []written) string {
	var b strings.Builder
	blank := true // nothing but a blank line is just before
	for i := 0; i < len(lines); {
		n := i
		column := 0
		for ; n < len(lines) && lines[n].comment != "" && strings.TrimSpace(lines[n].text) != ""; n++ {
			if width := utf8.RuneCountInString(lines[n].text); width <= widest {
				column = max(column, width)
			}
		}
		for ; i < n; i++ {
			l := lines[i]
			blank = false
			fmt.Fprintf(&b, "%s%s  %s\n", l.text, strings.Repeat(" ", max(column-utf8.RuneCountInString(l.text), 0)), l.comment)
		}
		if i == len(lines) {
			break
		}
		l := lines[i]
		i++
		if !l.fixed {
			l.text = strings.TrimRight(l.text+l.comment, " ")
		}
		empty := l.text == "" && !l.fixed
		if !empty || !blank {
			b.WriteString(l.text + "\n")
		}
		blank = empty
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
