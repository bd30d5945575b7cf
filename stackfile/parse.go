package stackfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// What a stack file may cost before its content is looked at. A file of 10,000
// overrides is about 1 MiB.
const (
	MaxFile  = 2 << 20 // bytes
	maxFiles = 4 << 20 // of all files together
	maxNodes = 1 << 19 // of all files together, with every alias written out
	maxDepth = 64
)

// source is a file, whatever it has in it: a load may take over what the load before it read, and its places, and must
// not keep the whole file of then in memory for that.
type source struct {
	// name is what the user called it, or would call it who called the stack file so; dir is
	// its folder, absolute.
	name, dir string
	// main says that it is the stack file that was asked for, and none that it is made of.
	main bool
}

// content is what a file has in it.
type content struct {
	lines []string
	// quoted are the lines on which [allowMark] is part of a text, and no comment.
	quoted map[int]bool
}

// compare orders files: the main one first, then by name.
func (s *source) compare(t *source) int {
	switch {
	case s.main == t.main:
		return strings.Compare(s.name, t.name)
	case s.main:
		return -1
	}
	return 1
}

// all returns the lines; none of a file that couldn't be read.
func (c *content) all() []string {
	if c == nil {
		return nil
	}
	return c.lines
}

func (c *content) line(n int) string {
	if lines := c.all(); n >= 1 && n <= len(lines) {
		return lines[n-1]
	}
	return ""
}

// splitLines splits where YAML sees the end of a line.
func splitLines(text string) []string {
	var lines []string
	for {
		at := strings.IndexAny(text, "\n\r\u0085\u2028\u2029")
		if at < 0 {
			return append(lines, text)
		}
		lines = append(lines, text[:at])
		if strings.HasPrefix(text[at:], "\r\n") {
			at++
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		text = text[at+size:]
	}
}

func (s *source) at(line, column int) pos {
	return pos{source: s, line: int32(line), column: int32(column)}
}

// form is what a node is.
type form uint8

const (
	scalar form = iota
	mapping
	list
	// broken is what couldn't be read, for which there is a problem already. It takes the
	// place of a value, so that none is missed.
	broken
)

func (f form) String() string { return [...]string{"a text", "a map", "a list", "unreadable"}[f] }

// tag is what YAML takes a scalar for; what it takes for a date or something else is a text. A stack file may have many, so it
// is none of YAML's texts.
type tag uint8

const (
	tagNone tag = iota // of what is no scalar
	tagText
	tagInt
	tagFloat
	tagBool
	tagNull
)

var tagNames = [...]string{tagNone: "", tagText: "!!str", tagInt: "!!int", tagFloat: "!!float", tagBool: "!!bool", tagNull: "!!null"}

// String returns YAML's name, such as "!!int".
func (t tag) String() string { return tagNames[t] }

func tagOf(y *yaml.Node) tag {
	if i := slices.Index(tagNames[:], y.ShortTag()); i >= 0 {
		return tag(i)
	}
	return tagText
}

// node is a value of a stack file: YAML's, with aliases and references to the
// environment replaced. Nodes never change once they are parsed, and are shared by
// the merged trees they end up in.
type node struct {
	form form
	// tag is YAML's, of a scalar.
	tag tag
	pos pos
	// where is the override that the node was written in, as its key says; empty in
	// the rest of the file.
	where string
	// text is a scalar's. Raw is what stands in the file when that is something else: a reference such as
	// ${env:NAME}.
	text string
	raw  *string
	// pairs are a mapping's, in the order written; items a list's.
	pairs []pair
	items []*node
}

type pair struct {
	key    string
	keyPos pos
	value  *node
}

// expanded reports whether the text stands elsewhere, in part at least.
func (n *node) expanded() bool { return strings.Contains(n.written(), "${") }

// written returns what stands in the file for the text when that is something else.
func (n *node) written() string {
	if n.raw == nil {
		return ""
	}
	return *n.raw
}

// is says in words what n is.
func (n *node) is() string {
	switch {
	case n.isNull():
		return "empty"
	case n.form == scalar:
		return strconv.Quote(shortened(n.text))
	}
	return n.form.String()
}

// shortened cuts a text that is too long for a message.
func shortened(s string) string {
	const longest = 80
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	return string([]rune(s)[:longest-1]) + "…"
}

// pair returns the pair of a key, or nil.
func (n *node) pair(key string) *pair {
	if n == nil {
		return nil
	}
	for i := range n.pairs {
		if n.pairs[i].key == key {
			return &n.pairs[i]
		}
	}
	return nil
}

// get returns the value of a key, or nil.
func (n *node) get(key string) *node {
	if p := n.pair(key); p != nil {
		return p.value
	}
	return nil
}

// few is how many pairs are looked through faster than they are indexed.
const few = 16

// getter returns get, for somebody who asks it for many keys.
func (n *node) getter() func(key string) *node {
	if len(n.pairs) <= few {
		return n.get
	}
	index := make(map[string]*node, len(n.pairs))
	for _, p := range n.pairs {
		index[p.key] = p.value
	}
	return func(key string) *node { return index[key] }
}

// count returns how many values there are in n, or a number greater than most.
func (n *node) count(most int) int {
	if n == nil {
		return 0
	}
	sum := 1
	for _, p := range n.pairs {
		if sum <= most {
			sum += p.value.count(most - sum)
		}
	}
	for _, item := range n.items {
		if sum <= most {
			sum += item.count(most - sum)
		}
	}
	return sum
}

// isNull reports whether n was written as null, which restores a default.
func (n *node) isNull() bool { return n.form == scalar && n.tag == tagNull }

// pipeTimeout is how long whoever writes to a pipe may take.
const pipeTimeout = 5 * time.Second

// ReadFile returns the content of a stack file, of one that is larger than [MaxFile] a byte more than that. It comes back also
// from a pipe that nobody writes to. The error doesn't name the file.
func ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, plainError(err)
	}
	if info.IsDir() {
		return nil, errors.New("it is a folder; it must be a stack file")
	}
	pipe := info.Mode().Type() == fs.ModeNamedPipe // such as <(…) of a shell
	if pipe {
		_ = f.SetReadDeadline(time.Now().Add(pipeTimeout)) // all pipes have deadlines
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if pipe && (errors.Is(err, os.ErrDeadlineExceeded) || err == nil && len(data) == 0) {
		err = errors.New("it is a pipe that nobody writes to; it must be a stack file")
	}
	return data, plainError(err)
}

// parser turns YAML's nodes into ours.
type parser struct {
	source   *source
	text     *content
	expander *expander
	problems *problems
	// count has the values of all files so far.
	count *int
	// must says what a file must have that has nothing.
	must  string
	open  map[*yaml.Node]bool // the anchors that are being written out
	alias *yaml.Node          // the outermost alias that is being written out
	full  bool                // more nodes than allowed: said once
	// was is the part of the file when it was read before, if that may be taken over, and part is that of now; both may
	// be nil.
	was, part *part
}

// parse returns the top node of a file, or nil after adding problems.
func (p *parser) parse(data []byte) *node {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	text, ok := p.readable(data)
	if !ok {
		return nil
	}
	now, doc := without(text, len(p.text.lines), p.was)
	taken := doc != nil
	if taken {
		now.value = p.was.value
		if by := now.line - p.was.line; by != 0 {
			now.value = now.value.moved(int32(by))
		}
		*p.count += now.value.size() - 1 // something is in its place
	} else {
		if doc = p.yaml(data); doc == nil {
			return nil
		}
		now = partOf(text, len(p.text.lines), doc)
	}
	p.open = make(map[*yaml.Node]bool)
	top := p.node(doc.Content[0], 0)
	if top.form == broken {
		return nil
	}
	if p.part = now; taken {
		top.pair(partKey).value = now.value
	} else if now != nil {
		now.value = top.get(partKey)
	}
	if top.isNull() {
		p.empty()
		return nil
	}
	if top.form != mapping {
		p.problems.add(top.pos, nil, "the file is %s; it must be a map with %s%s", top.is(), p.must, missingSpace(top))
		return nil
	}
	return top
}

// empty says that there is nothing in a file.
func (p *parser) empty() {
	p.problems.add(p.source.at(1, 1), nil, "the file is empty; it must have %s", p.must)
}

// document returns YAML's own node of a file, or nil after adding problems.
func (p *parser) document(data []byte) *yaml.Node {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if _, ok := p.readable(data); !ok {
		return nil
	}
	return p.yaml(data)
}

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\uFEFF"

// readable returns a file as a text, if it is one that YAML may be in, and adds a problem if it isn't.
func (p *parser) readable(data []byte) (text string, ok bool) {
	if len(data) > MaxFile {
		p.text = p.problems.read(p.source, "")
		p.problems.add(p.source.at(1, 1), nil, "the file is larger than %d MiB; a stack file must not be", MaxFile>>20)
		return "", false
	}
	text = string(data)
	p.text = p.problems.read(p.source, text)
	if at, r, ok := p.unreadable(); ok {
		switch {
		case r != utf8.RuneError:
			p.problems.add(at, nil, "the file has the control character U+%04X; it must be text", r)
		case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
			p.problems.add(at, nil, "the file is UTF-16; it must be UTF-8")
		default:
			p.problems.add(at, nil, "the file is not UTF-8 text; it must be YAML in UTF-8")
		}
		return "", false
	}
	if at, ok := p.tab(); ok {
		p.problems.add(at, nil, "a tab stands in the indentation; it must be spaces")
		return "", false
	}
	return text, true
}

// yaml returns the document that a text is, or nil after adding problems.
func (p *parser) yaml(text []byte) *yaml.Node {
	doc, err := decodeYAML(bytes.NewReader(text))
	switch {
	case errors.Is(err, io.EOF):
		p.empty()
		return nil
	case errors.Is(err, errSecondDocument):
		p.problems.add(p.source.at(doc.Line, doc.Column), nil, "a second document begins here; a stack file must be one")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	return doc
}

var errSecondDocument = errors.New("a second document")

// decodeYAML returns the document, or that after it with errSecondDocument.
func decodeYAML(from io.Reader) (doc *yaml.Node, err error) {
	defer func() {
		// The library turns its own panics into errors; one that gets through is a
		// fault of its, caused by the file.
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(from)
	doc = new(yaml.Node)
	if err := d.Decode(doc); err != nil {
		return nil, err
	}
	second := new(yaml.Node)
	switch err := d.Decode(second); {
	case errors.Is(err, io.EOF):
		return doc, nil
	case err != nil:
		return nil, err
	}
	return second, errSecondDocument
}

// unreadable returns the first thing that YAML can't have: a control character, or
// [utf8.RuneError] for what is no UTF-8.
func (p *parser) unreadable() (pos, rune, bool) {
	for i, line := range p.text.lines {
		column := 0
		for at, r := range line {
			column++
			bad := r == utf8.RuneError && !strings.HasPrefix(line[at:], "\uFFFD")
			if bad || unicode.IsControl(r) && r != '\t' || r == 0xFFFE || r == 0xFFFF {
				return p.source.at(i+1, column), r, true
			}
		}
	}
	return pos{}, 0, false
}

// tab returns where the first tab in an indentation stands. Within a block scalar or a flow
// collection a tab may be legal; a stack file has no use for one there.
func (p *parser) tab() (pos, bool) {
	for i, line := range p.text.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if at := strings.IndexByte(indent, '\t'); at >= 0 && strings.TrimSpace(line) != "" {
			return p.source.at(i+1, at+1), true
		}
	}
	return pos{}, false
}

// A mistake is one of the YAML library's findings, and what it means to the user.
type mistake struct{ says, means string }

// scannerMistakes are those with the right line.
var scannerMistakes = []mistake{
	{"mapping values are not allowed", `a key stands where there can be none: the indentation is wrong, or a text with ": " in it needs quotes`},
	{"block sequence entries are not allowed", "a dash stands where there can be none: a list begins on a line of its own, below its key"},
	{"mapping keys are not allowed", `a "?" stands where there can be none; a text that begins with one needs quotes`},
	{"could not find expected ':'", `a key has no colon after it; it must be "key: value"`},
	{"did not find expected alphabetic or numeric character", `a text that begins with * or & needs quotes, such as "*.example.org/"`},
	{"found character that cannot start any token", "a value begins with a character that needs quotes, such as @, ` or %"},
	{"did not find expected comment or line break", "after | or > the text must begin on the next line; a value that begins so needs quotes"},
	{"found unexpected end of stream", "the file ends inside a quoted text"},
	{"found unexpected document indicator", "a quoted text is not closed before this line"},
	{"found unknown escape character", `a backslash in double quotes must begin an escape such as \n; write \\, or take single quotes`},
	{"did not find expected hexdecimal number", `\x, \u and \U must be followed by 2, 4 or 8 hexadecimal digits`},
	{"found invalid Unicode character escape code", "the escape is no character"},
	{"found a tab character", "a tab stands in the indentation; it must be spaces"},
	{"indentation indicator equal to 0", "the indentation after | or > must be 1 to 9"},
	{"exceeded max depth", "it is nested too deeply"},
	{"directive", "a line that begins with % is a YAML directive, which a stack file must not have"},
	{"found extremely long version number", "a line that begins with % is a YAML directive, which a stack file must not have"},
	{"did not find expected digit or '.' character", "a line that begins with % is a YAML directive, which a stack file must not have"},
	{"did not find expected whitespace", "a text that begins with ! needs quotes"},
	{"did not find expected '!'", "a text that begins with ! needs quotes"},
}

// blockMistakes are about lines that don't fit together, flowMistakes about brackets. The
// library names a line before.
var (
	blockMistakes = []mistake{
		{"did not find expected key", "the line does not fit those above: its indentation is that of none of them, or a value before it is not closed"},
		{"did not find expected '-' indicator", "the line does not fit the list above: it must begin with a dash, or be indented differently"},
		{"did not find expected <document start>", "the line does not fit those above: its indentation is wrong, or a value before it is not closed"},
	}
	flowMistakes = []mistake{
		{"did not find expected ',' or ']'", "a list that begins with [ must have commas between its entries and be closed with ]"},
		{"did not find expected ',' or '}'", "a map that begins with { must have commas between its entries and be closed with }"},
		{"did not find expected node content", "within [ or { a value is missing, or begins with a character that needs quotes"},
		{"found incompatible YAML document", "a line that begins with % is a YAML directive, which a stack file must not have"},
		{"found duplicate %", "a line that begins with % is a YAML directive, which a stack file must not have"},
		{"found undefined tag handle", "a text that begins with ! needs quotes"},
	}
)

func meaning(known []mistake, text string) (string, bool) {
	i := slices.IndexFunc(known, func(m mistake) bool { return strings.Contains(text, m.says) })
	if i < 0 {
		return "", false
	}
	return known[i].means, true
}

var (
	yamlLine      = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)' referenced`)
	// brokenQuote is a quoted text with something behind it.
	brokenQuote = regexp.MustCompile(`(?:^|[:,\[{-] *)(?:'(?:[^']|\'\')*'|"(?:[^"\\]|\\.)*")[^\s,\]}:#]`)
	// bracketText is a text that begins with a bracket, where a list or map would.
	bracketText = regexp.MustCompile(`(?:^|: +|- +)(?:\{[^{}]*\}|\[[^\[\]]*\])[^\s,\]}:#]`)
	// nakedReference is a ${…} without quotes within brackets, which take its braces for theirs.
	nakedReference = regexp.MustCompile(`[\[{].*[\s:,]\$\{`)
)

// syntax adds what the YAML library found, in words that help.
func (p *parser) syntax(err error) {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	match := yamlLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(match[1])
	found := match[2]
	if means, ok := meaning(scannerMistakes, found); ok {
		text = means
	} else if means, ok := meaning(blockMistakes, found); ok {
		text, line = means, p.firstBad(err)
	} else if means, ok := meaning(flowMistakes, found); ok {
		if text = means; !p.bad(1, err) {
			line++ // the library counts from 0 here, and names line 1 by none
		}
	} else {
		text = found
	}
	line = min(max(line, 1), len(p.text.lines))
	if m := unknownAnchor.FindStringSubmatch(found); m != nil {
		text = fmt.Sprintf("the alias *%[1]s stands for nothing; an anchor &%[1]s must stand before it", m[1])
		line = 1 + max(slices.IndexFunc(p.text.lines, func(l string) bool { return strings.Contains(l, "*"+m[1]) }), 0)
	}
	content := strings.TrimLeft(p.text.line(line), " -")
	glued := gluedPair.FindStringSubmatch(content)
	_, block := meaning(blockMistakes, found)
	_, flow := meaning(flowMistakes, found)
	switch {
	case glued != nil:
		if p.problems.secrets.named(glued[1]) {
			glued[2] = redacted
		}
		text = fmt.Sprintf("a space is missing after the colon; it must be %q", glued[1]+": "+glued[2])
	case gluedDash.MatchString(p.text.line(line)) && (block || strings.Contains(found, "could not find expected ':'")):
		text = `a space is missing after the dash; it must be like "- errors"`
	case strings.Contains(found, "cannot start any token") && strings.ContainsRune(content, '\t'):
		text = "a tab stands before the value; it must be a space"
	case (block || flow) && nakedReference.MatchString(content):
		text = "within [ or { a text with ${ in it needs quotes"
	case block && brokenQuote.MatchString(content):
		text = "a quoted text ends before its line does; write '' for a quote within single quotes"
	case block && bracketText.MatchString(content):
		text = "a text that begins with { or [ needs quotes"
	}
	column := len(p.text.line(line)) - len(strings.TrimLeft(p.text.line(line), " ")) + 1
	p.problems.add(p.source.at(line, column), nil, "%s", text)
}

// bad reports whether the first n lines have the fault already.
func (p *parser) bad(n int, fault error) bool {
	_, err := decodeYAML(strings.NewReader(strings.Join(p.text.lines[:n], "\n") + "\n"))
	return err != nil && err.Error() == fault.Error()
}

// firstBad returns the line with which a fault of the block structure appears. It is one of the last that the library asks for.
func (p *parser) firstBad(fault error) int {
	r := &lineReader{lines: p.text.lines}
	_, _ = decodeYAML(r)
	last, before := r.read, 1
	for before < last && p.bad(last-before, fault) {
		before *= 2
	}
	first := max(last-before, 0) + 1
	return first + sort.Search(last-first, func(n int) bool { return p.bad(first+n, fault) })
}

// lineReader returns one line at a time, and counts those that were asked for.
type lineReader struct {
	lines []string
	read  int
	rest  string // of the line
}

func (r *lineReader) Read(b []byte) (int, error) {
	if r.rest == "" {
		if r.read == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.read] + "\n"
		r.read++
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// node converts y and what is in it. It returns a broken node after adding a problem that
// makes the value unusable.
func (p *parser) node(y *yaml.Node, depth int) *node {
	n := &node{pos: p.source.at(y.Line, y.Column)}
	*p.count++
	switch {
	case *p.count > maxNodes:
		if !p.full {
			at := n.pos
			if p.alias != nil {
				at = p.source.at(p.alias.Line, p.alias.Column)
			}
			p.problems.add(at, nil, "the file has more than %d values, aliases written out; it must have fewer", maxNodes)
		}
		p.full = true
		return n.broken()
	case depth > maxDepth:
		p.problems.add(n.pos, nil, "it is nested more than %d deep; it must not be", maxDepth)
		return n.broken()
	case y.Kind == yaml.AliasNode:
		if p.open[y.Alias] {
			p.problems.add(n.pos, nil, "the alias *%s stands within what it stands for", y.Value)
			return n.broken()
		}
		if p.alias == nil {
			p.alias = y
			defer func() { p.alias = nil }()
		}
		return p.node(y.Alias, depth+1)
	case y.Style&yaml.TaggedStyle != 0:
		p.problems.add(n.pos, nil, "the tag %s has no meaning in a stack file; leave it out", y.Tag)
		return n.broken()
	}
	if y.Anchor != "" {
		p.open[y] = true
		defer delete(p.open, y)
	}
	switch y.Kind {
	case yaml.ScalarNode:
		return p.scalar(n, y)
	case yaml.SequenceNode:
		n.form = list
		for i, item := range y.Content {
			if p.full {
				break
			}
			n.items = append(n.items, p.node(item, depth+1))
			p.release(y, i)
		}
	case yaml.MappingNode:
		n.form = mapping
		p.pairs(n, y, depth)
	}
	return n
}

// release forgets what is in y, now that it is converted, so that a large file doesn't stand in memory
// twice. What an anchor holds is wanted again, by its aliases.
func (p *parser) release(y *yaml.Node, content ...int) {
	if len(p.open) > 0 {
		return
	}
	for _, i := range content {
		y.Content[i] = nil
	}
}

// broken makes n one that couldn't be read.
func (n *node) broken() *node {
	n.form = broken
	return n
}

func (p *parser) pairs(n *node, y *yaml.Node, depth int) {
	first := make(map[string]int, len(y.Content)/2)
	bad := false
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		at := p.source.at(key.Line, key.Column)
		switch {
		case p.full:
			return
		case key.Kind != yaml.ScalarNode:
			p.problems.add(at, nil, "a key is not a text; it must be, and a text that begins with { or [ needs quotes")
			bad = true
			continue
		case key.ShortTag() == "!!merge":
			p.problems.add(at, nil, "merge keys (<<) are not part of a stack file; write the settings out, or use an alias for a whole value")
			continue
		}
		if line, twice := first[key.Value]; twice {
			hint := ""
			if key.Value == "use" {
				hint = "; the next entry of a list begins with a dash"
			}
			p.problems.add(at, nil, "%q stands twice; the first is on line %d%s", key.Value, line, hint)
			continue
		}
		first[key.Value] = key.Line
		n.pairs = append(n.pairs, pair{key: key.Value, keyPos: at, value: p.node(value, depth+1)})
		p.release(y, i, i+1)
	}
	if bad && len(n.pairs) == 0 {
		n.broken() // such as {{.Vars}}, meant to be a text
	}
}

// scalar fills n from a scalar, expanded.
func (p *parser) scalar(n *node, y *yaml.Node) *node {
	n.text, n.tag = y.Value, tagOf(y)
	p.text.quotes(y)
	if !strings.Contains(y.Value, "$") {
		return n
	}
	text, err := p.expander.expand(y.Value)
	if err != nil {
		p.problems.add(n.pos, nil, "%s", err)
		return n.broken()
	}
	raw := y.Value // not the whole of y
	n.text, n.raw = text, &raw
	if y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		// What was written plain means what its text means: a number, true, a text. But an
		// empty value is an empty text, and not the null that restores a default.
		if n.tag = tagOf(&yaml.Node{Kind: yaml.ScalarNode, Value: text}); n.tag == tagNull {
			n.tag = tagText
		}
	}
	return n
}

// mark says of n and all within that they were written in an override.
func mark(n *node, where string) {
	if n.where != where { // else it may be a node that was taken over, which others read
		n.where = where
	}
	for _, p := range n.pairs {
		mark(p.value, where)
	}
	for _, item := range n.items {
		mark(item, where)
	}
}

var gluedPair = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*):(\S.*)$`)

// gluedDash is an entry of a list without a space after its dash.
var gluedDash = regexp.MustCompile(`^ *-[A-Za-z{]`)

// missingSpace returns a hint when n is a text such as "use:http".
func missingSpace(n *node) string {
	if n.form == scalar {
		if m := gluedPair.FindStringSubmatch(n.text); m != nil {
			return fmt.Sprintf("; a space is missing after the colon: %q", m[1]+": "+shortened(m[2]))
		}
		if len(n.text) > 1 && n.text[0] == '-' {
			return fmt.Sprintf("; a space is missing after the dash: %q", "- "+shortened(n.text[1:]))
		}
	}
	return ""
}
