package lsp

import (
	"slices"
	"strings"
)

// maxDepth is how deep a tree may be; what is deeper is left out.
const maxDepth = 64

// form is what a node is.
type form uint8

const (
	nothing form = iota // a place where a value could stand
	scalar
	mapping
	list
)

// node is a value of a stack file that somebody is writing: what the lines seem to be meant as, right or wrong.
type node struct {
	form       form
	begin, end int    // where it stands, in bytes; the end only of a scalar, or one in brackets
	text       string // a scalar's
	pairs      []*pair
	items      []*node
	column     int   // of a block's entries
	in         *node // the list or mapping that it is a value of, or nil
	of         *pair // its key there, or nil
}

// pair is an entry of a mapping, or the beginning of one: a word without a colon.
type pair struct {
	key        string
	begin, end int
	value      *node
	in         *node
}

// get returns the value of a key, or nil.
func (n *node) get(key string) *node {
	if n != nil {
		for _, p := range n.pairs {
			if p.key == key {
				return p.value
			}
		}
	}
	return nil
}

// all returns the items of a list; none of nil.
func (n *node) all() []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// way returns the values on the way to n from the top, without that, the outermost first.
func (n *node) way() (way []*node) {
	for ; n != nil && n.in != nil; n = n.in {
		way = append(way, n)
	}
	slices.Reverse(way)
	return way
}

// walk calls f for n and what is in it.
func (n *node) walk(f func(n *node, p *pair)) {
	f(n, nil)
	for _, p := range n.pairs {
		f(nil, p)
		p.value.walk(f)
	}
	for _, item := range n.items {
		item.walk(f)
	}
}

func (n *node) pair(key string, begin, end int) *pair {
	p := &pair{key: key, begin: begin, end: end, in: n}
	p.value = &node{begin: end, end: end, in: n, of: p}
	n.pairs = append(n.pairs, p)
	return p
}

func (n *node) item(begin int) *node {
	v := &node{begin: begin, end: begin, in: n}
	n.items = append(n.items, v)
	return v
}

// last returns the value that was begun last in a list or mapping.
func (n *node) last() *node {
	if n.form == mapping {
		return n.pairs[len(n.pairs)-1].value
	}
	return n.items[len(n.items)-1]
}

// reader makes a tree of any text. It knows the YAML that people write in stack files: blocks, brackets, quotes, block
// scalars and comments. It goes by the columns, and finds no fault with anything: what has no place is left out.
type reader struct {
	text  string
	at    int
	end   int     // of the line
	open  []*node // the blocks that are open, the outermost first
	depth int     // of brackets
}

// read returns the top of a text.
func read(text string) *node {
	top := &node{}
	r := &reader{text: text, open: []*node{{form: list, column: -1, items: []*node{top}}}}
	for r.at = len(text) - len(strings.TrimPrefix(text, byteOrderMark)); r.at < len(text); {
		begin := r.at
		r.spaces()
		if line := r.line(); !r.over() && line[0] != '%' && !strings.HasPrefix(line, "---") {
			r.content(r.at - begin)
		}
		if r.at += len(r.line()); r.at < len(text) {
			r.at++
		}
	}
	return top
}

// line returns the rest of the line.
func (r *reader) line() string {
	if r.at > r.end || r.end == 0 {
		r.end = len(r.text)
		if end := strings.IndexAny(r.text[r.at:], "\r\n"); end >= 0 {
			r.end = r.at + end
		}
	}
	return r.text[r.at:r.end]
}

// back goes back to the end of a line.
func (r *reader) back(end int) { r.at, r.end = end, end }

func (r *reader) spaces() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\t') {
		r.at++
	}
}

// over reports whether nothing but a comment is left of the line.
func (r *reader) over() bool {
	line := r.line()
	return line == "" || line[0] == '#'
}

// content reads what begins at a column.
func (r *reader) content(column int) {
	line := r.line()
	if line[0] == '-' && (len(line) == 1 || line[1] == ' ') {
		if in := r.block(list, column); in != nil {
			in.item(r.at + 1)
			r.at++
			from := r.at
			if r.spaces(); !r.over() {
				r.content(column + 1 + r.at - from)
			}
		}
		return
	}
	begin := r.at
	if key, ok := r.key(" \t", ""); ok {
		if in := r.block(mapping, column); in != nil {
			p := in.pair(key, begin, r.at)
			r.at += strings.IndexByte(r.line(), ':') + 1
			if r.spaces(); !r.over() {
				r.value(p.value, column, "")
			}
		}
		return
	}
	r.at = begin
	r.close(column, mapping)
	switch in := r.open[len(r.open)-1]; {
	case in.column == column && in.form == mapping: // a key in the making
		word := plain(line)
		in.pair(word, begin, begin+len(word))
	case in.column < column:
		r.value(in.last(), in.column, "")
	}
}

// close closes the blocks in which nothing of this form can stand at a column.
func (r *reader) close(column int, f form) {
	for {
		in := r.open[len(r.open)-1]
		if in.column < column || in.column == column && (in.form == f || f == list) {
			return
		}
		r.open = r.open[:len(r.open)-1]
	}
}

// block returns the block whose entries have this form and column; nil where none can be.
func (r *reader) block(f form, column int) *node {
	r.close(column, f)
	in := r.open[len(r.open)-1]
	if in.column == column && in.form == f {
		return in
	}
	n := in.last()
	switch {
	case n.form == scalar && f == mapping && n.begin-strings.LastIndexAny(r.text[:n.begin], "\r\n")-1 == column:
		word := *n // a key in the making
		*n = node{form: f, begin: n.begin, column: column, in: n.in, of: n.of}
		n.pair(word.text, word.begin, word.end)
	case n.form == nothing && len(r.open) < maxDepth:
		n.form, n.begin, n.column = f, r.at, column
	case n.form != f || n.begin < n.end:
		return nil
	}
	r.open = append(r.open, n)
	return n
}

// key reads a key, and reports whether it is one: whether a colon follows, and then one of after. A plain one ends at any of
// the characters in ends, too.
func (r *reader) key(after, ends string) (key string, ok bool) {
	line := r.line()
	if line[0] == '"' || line[0] == '\'' {
		key, size := quoted(line)
		r.at += size
		return key, strings.HasPrefix(strings.TrimLeft(line[size:], " "), ":") && size < len(line)
	}
	if strings.ContainsRune("{[|>&*!#", rune(line[0])) {
		return "", false
	}
	for i := range len(line) {
		switch c := line[i]; {
		case c == ':' && (i+1 == len(line) || strings.IndexByte(after, line[i+1]) >= 0):
			r.at += i
			return strings.TrimRight(line[:i], " \t"), true
		case strings.IndexByte(ends, c) >= 0, c == '#' && i > 0 && line[i-1] == ' ':
			r.at += i
			return strings.TrimRight(line[:i], " \t"), false
		}
	}
	r.at += len(line)
	return strings.TrimRight(line, " \t"), false
}

// quoted returns the text in quotes that a line begins with, and how long it is with them. Of escapes it knows the one for
// a quote; a text without an end goes to that of the line.
func quoted(line string) (text string, size int) {
	var b strings.Builder
	for i := 1; i < len(line); i++ {
		switch {
		case line[0] == '"' && line[i] == '\\' && i+1 < len(line), line[0] == '\'' && strings.HasPrefix(line[i:], "''"):
			i++
			b.WriteByte(line[i])
		case line[i] == line[0]:
			return b.String(), i + 1
		default:
			b.WriteByte(line[i])
		}
	}
	return b.String(), len(line)
}

// plain returns the text without quotes that a line begins with.
func plain(line string) string {
	if end := strings.Index(line, " #"); end >= 0 {
		line = line[:end]
	}
	return strings.TrimRight(line, " \t")
}

// value reads a value that stands within a block with this column. Within brackets, ends are the characters that end a plain
// one.
func (r *reader) value(n *node, column int, ends string) {
	r.properties()
	if n.form != nothing || r.over() {
		return // a text goes on
	}
	n.begin = r.at
	switch line := r.line(); {
	case line[0] == '{' || line[0] == '[':
		r.brackets(n, column)
		return
	case line[0] == '"' || line[0] == '\'':
		text, size := quoted(line)
		n.text = text
		r.at += size
	case ends == "" && (line[0] == '|' || line[0] == '>'):
		r.at += len(line)
		for r.below(column) {
			r.at += len(r.line())
		}
	default:
		if end := strings.IndexAny(line, ends); end >= 0 {
			line = line[:end]
		}
		n.text = plain(line)
		r.at += max(1, len(n.text))
	}
	n.form, n.end = scalar, r.at
}

// properties skips an anchor and a tag.
func (r *reader) properties() {
	for !r.over() && strings.IndexByte("&!", r.text[r.at]) >= 0 {
		line := r.line()
		if end := strings.IndexByte(line, ' '); end >= 0 {
			line = line[:end]
		}
		r.at += len(line)
		r.spaces()
	}
}

// below goes to what is on the next line, if that is empty or belongs to something within a block with this column.
func (r *reader) below(column int) bool {
	was := r.at
	if r.at < len(r.text) {
		r.at++
	}
	begin := r.at
	r.spaces()
	if was < len(r.text) && (r.at-begin > column || r.line() == "") {
		return true
	}
	r.back(was)
	return false
}

// flowEnds end a text without quotes within brackets.
const flowEnds = ",[]{}"

// brackets reads a mapping or list in brackets, within a block with this column. One that isn't closed ends with the block's
// entry.
func (r *reader) brackets(n *node, column int) {
	n.form = list
	if r.text[r.at] == '{' {
		n.form = mapping
	}
	r.at++
	r.depth++
	defer func() { r.depth--; n.end = r.at }()
	if r.depth > maxDepth {
		r.at += len(r.line())
		return
	}
	for r.gap(column) {
		switch c := r.text[r.at]; {
		case c == ',':
			r.at++
		case c == '}' || c == ']':
			r.at++
			return
		case n.form == list:
			r.value(n.item(r.at), column, flowEnds)
		default:
			begin := r.at
			key, colon := r.key(flowEnds+" \t", flowEnds)
			if r.at == begin {
				r.at++ // a bracket, where a key should be
				continue
			}
			p := n.pair(key, begin, begin+len(strings.TrimRight(r.text[begin:r.at], " \t")))
			if !colon {
				continue
			}
			r.at += strings.IndexByte(r.line(), ':') + 1
			if r.gap(column) && strings.IndexByte(",]}", r.text[r.at]) < 0 {
				r.value(p.value, column, flowEnds)
			}
		}
	}
}

// gap skips what means nothing within brackets. It reports whether they go on.
func (r *reader) gap(column int) bool {
	for {
		r.spaces()
		switch line := r.line(); {
		case line != "" && line[0] != '#':
			return true
		default:
			r.at += len(line)
		}
		was := r.at
		if !r.below(column) {
			if r.at == len(r.text) {
				return false
			}
			r.at++ // a bracket may stand there that closes them
			if r.spaces(); r.over() || strings.IndexByte("}]", r.text[r.at]) < 0 {
				r.back(was)
				return false
			}
		} else if r.at == len(r.text) {
			return false
		}
	}
}
