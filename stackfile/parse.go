package stackfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// What a stack file may cost before its content is looked at. A file of 10,000
// overrides is about 1 MiB.
const (
	maxFile  = 4 << 20
	maxNodes = 1 << 20 // with every alias written out
	maxDepth = 64
)

// source is a file that was read.
type source struct {
	// name is what the user called it; dir is its folder, absolute.
	name, dir string
	lines     []string
}

func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.TrimSuffix(s.lines[n-1], "\r")
}

func (s *source) at(line, column int) pos { return pos{source: s, line: line, column: column} }

// form is what a node is.
type form int

const (
	scalar form = iota
	mapping
	list
)

func (f form) String() string { return [...]string{"a text", "a map", "a list"}[f] }

// node is a value of a stack file: YAML's, with aliases and references to the
// environment replaced. Nodes never change once they are parsed, and are shared by
// the merged trees they end up in.
type node struct {
	form form
	pos  pos
	// where is the override that the node was written in, as its key says; empty in
	// the rest of the file.
	where string
	// text and tag are a scalar's; the tag is YAML's, such as "!!int".
	text, tag string
	// pairs are a mapping's, in the order written; items a list's.
	pairs []pair
	items []*node
}

type pair struct {
	key    string
	keyPos pos
	value  *node
}

// is says in words what n is.
func (n *node) is() string {
	switch {
	case n.isNull():
		return "empty"
	case n.form == scalar:
		return strconv.Quote(n.text)
	}
	return n.form.String()
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

// isNull reports whether n was written as null, which restores a default.
func (n *node) isNull() bool { return n.form == scalar && n.tag == "!!null" }

// read returns the content of a stack file. An oversized one is an error.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("it is a folder; it must be a stack file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB; a stack file must not be", maxFile>>20)
	}
	return data, err
}

// parser turns YAML's nodes into ours.
type parser struct {
	source   *source
	expander *expander
	problems *problems
	count    int
	open     map[*yaml.Node]bool // the anchors that are being written out
	full     bool                // more nodes than allowed: said once
}

// parse returns the top node of a stack file, or nil after adding problems.
func (p *parser) parse(data []byte) *node {
	p.source.lines = strings.Split(string(data), "\n")
	if !utf8.Valid(data) {
		line, column := place(data)
		p.problems.add(p.source.at(line, column), nil, "the file is not UTF-8 text; it must be YAML")
		return nil
	}
	if at, ok := p.tab(); ok {
		p.problems.add(at, nil, "a tab stands in the indentation; it must be spaces")
		return nil
	}
	doc, err := decodeYAML(data)
	switch {
	case errors.Is(err, io.EOF):
		p.problems.add(p.source.at(1, 1), nil, "the file is empty; it must have servers: and stack:")
		return nil
	case errors.Is(err, errSecondDocument):
		p.problems.add(p.source.at(doc.Line, doc.Column), nil, "a second document begins here; a stack file must be one")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	p.open = make(map[*yaml.Node]bool)
	top := p.node(doc.Content[0], 0)
	if top == nil {
		return nil
	}
	if top.isNull() {
		p.problems.add(p.source.at(1, 1), nil, "the file is empty; it must have servers: and stack:")
		return nil
	}
	if top.form != mapping {
		p.problems.add(top.pos, nil, "the file is %s; it must be a map with servers: and stack:%s", top.is(), missingSpace(top))
		return nil
	}
	return top
}

var errSecondDocument = errors.New("a second document")

// decodeYAML returns the document, or that after it with errSecondDocument.
func decodeYAML(data []byte) (doc *yaml.Node, err error) {
	defer func() {
		// The library turns its own panics into errors; one that gets through is a
		// fault of its, caused by the file.
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(data))
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

// place returns where the first byte that is no UTF-8 stands.
func place(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return line, column
}

// tab returns where the first tab in an indentation stands. Within a block scalar or a flow
// collection a tab may be legal; a stack file has no use for one there.
func (p *parser) tab() (pos, bool) {
	for i, line := range p.source.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if at := strings.IndexByte(indent, '\t'); at >= 0 && strings.TrimSpace(line) != "" {
			return p.source.at(i+1, at+1), true
		}
	}
	return pos{}, false
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// syntax adds what the YAML library found, in words that help.
func (p *parser) syntax(err error) {
	match := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	line, _ := strconv.Atoi(match[1])
	line = min(max(line, 1), len(p.source.lines))
	text := match[2]
	for _, known := range []struct{ says, means string }{
		{"mapping values are not allowed", `a key stands where there can be none: the indentation is wrong, or a text with ": " in it needs quotes`},
		{"did not find expected key", misfit},
		{"did not find expected '-' indicator", misfit},
		{"could not find expected ':'", `a key has no colon after it; it must be "key: value"`},
		{"did not find expected ',' or ']'", "a list that begins with [ must be closed with ]"},
		{"did not find expected ',' or '}'", "a map that begins with { must be closed with }"},
		{"found character that cannot start any token", "a value begins with a character that needs quotes, such as @, ` or %"},
		{"found unexpected end of stream", "the file ends inside a quoted text"},
		{"control characters are not allowed", "the file has control characters; it must be YAML"},
		{"exceeded max depth", "it is nested too deeply"},
	} {
		if strings.Contains(text, known.says) {
			text = known.means
			break
		}
	}
	if text == misfit {
		line = p.misfit(line)
	}
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("the alias *%[1]s stands for nothing; an anchor &%[1]s must stand before it", m[1])
		line = 1 + max(slices.IndexFunc(p.source.lines, func(l string) bool { return strings.Contains(l, "*"+m[1]) }), 0)
	}
	if m := gluedPair.FindStringSubmatch(strings.TrimLeft(p.source.line(line), " -")); m != nil {
		text = fmt.Sprintf("a space is missing after the colon; it must be %q", m[1]+": "+m[2])
	}
	column := len(p.source.line(line)) - len(strings.TrimLeft(p.source.line(line), " ")) + 1
	p.problems.add(p.source.at(line, column), nil, "%s", text)
}

const misfit = "the indentation does not fit the lines above"

var unknownAnchor = regexp.MustCompile(`unknown anchor '([^']+)' referenced`)

// misfit returns the first line from the given one on whose indentation is none of those
// that are open. The library names the line where the surrounding block began.
func (p *parser) misfit(from int) int {
	var open []int
	for number := from; number <= len(p.source.lines); number++ {
		text := strings.TrimLeft(p.source.line(number), " ")
		if text == "" || text[0] == '#' {
			continue
		}
		indent := len(p.source.line(number)) - len(text)
		closed := false
		for len(open) > 0 && open[len(open)-1] > indent {
			open, closed = open[:len(open)-1], true
		}
		if closed && (len(open) == 0 || open[len(open)-1] != indent) {
			return number
		}
		for {
			if len(open) == 0 || open[len(open)-1] < indent {
				open = append(open, indent)
			}
			rest, entry := strings.CutPrefix(text, "- ")
			if !entry {
				break
			}
			// What stands behind a dash is a block of its own.
			text = strings.TrimLeft(rest, " ")
			indent = len(p.source.line(number)) - len(text)
		}
	}
	return from
}

// node converts y and what is in it. It returns nil after adding a problem that makes the
// value unusable.
func (p *parser) node(y *yaml.Node, depth int) *node {
	n := &node{pos: p.source.at(y.Line, y.Column)}
	p.count++
	switch {
	case p.count > maxNodes:
		if !p.full {
			p.problems.add(n.pos, nil, "the file has more than %d values, aliases written out; it must have fewer", maxNodes)
		}
		p.full = true
		return nil
	case depth > maxDepth:
		p.problems.add(n.pos, nil, "it is nested more than %d deep; it must not be", maxDepth)
		return nil
	case y.Kind == yaml.AliasNode:
		if p.open[y.Alias] {
			p.problems.add(n.pos, nil, "the alias *%s stands within what it stands for", y.Value)
			return nil
		}
		return p.node(y.Alias, depth+1)
	case y.Style&yaml.TaggedStyle != 0:
		p.problems.add(n.pos, nil, "the tag %s has no meaning in a stack file; leave it out", y.Tag)
		return nil
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
		for _, item := range y.Content {
			if v := p.node(item, depth+1); v != nil {
				n.items = append(n.items, v)
			}
		}
	case yaml.MappingNode:
		n.form = mapping
		p.pairs(n, y, depth)
	}
	return n
}

func (p *parser) pairs(n *node, y *yaml.Node, depth int) {
	first := make(map[string]int, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		at := p.source.at(key.Line, key.Column)
		switch {
		case key.Kind != yaml.ScalarNode:
			p.problems.add(at, nil, "a key is not a text; it must be")
			continue
		case key.ShortTag() == "!!merge":
			p.problems.add(at, nil, "merge keys (<<) are not part of a stack file; write the settings out, or use an alias for a whole value")
			continue
		}
		if line, twice := first[key.Value]; twice {
			p.problems.add(at, nil, "%q stands twice; the first is on line %d", key.Value, line)
			continue
		}
		first[key.Value] = key.Line
		if v := p.node(value, depth+1); v != nil {
			n.pairs = append(n.pairs, pair{key: key.Value, keyPos: at, value: v})
		}
	}
}

// scalar fills n from a scalar, expanded.
func (p *parser) scalar(n *node, y *yaml.Node) *node {
	n.text, n.tag = y.Value, y.ShortTag()
	if !strings.Contains(y.Value, "$") {
		return n
	}
	text, err := p.expander.expand(y.Value)
	if err != nil {
		p.problems.add(n.pos, nil, "%s", err)
		return nil
	}
	n.text = text
	if y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		// What was written plain means what its text means: a number, true, a text. But an
		// empty value is an empty text, and not the null that restores a default.
		if n.tag = (&yaml.Node{Kind: yaml.ScalarNode, Value: text}).ShortTag(); n.tag == "!!null" {
			n.tag = "!!str"
		}
	}
	return n
}

// mark says of n and all within that they were written in an override.
func mark(n *node, where string) {
	n.where = where
	for _, p := range n.pairs {
		mark(p.value, where)
	}
	for _, item := range n.items {
		mark(item, where)
	}
}

var gluedPair = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*):(\S.*)$`)

// missingSpace returns a hint when n is a text such as "use:http".
func missingSpace(n *node) string {
	if n.form == scalar {
		if m := gluedPair.FindStringSubmatch(n.text); m != nil {
			return fmt.Sprintf("; a space is missing after the colon: \"%s: %s\"", m[1], m[2])
		}
	}
	return ""
}
