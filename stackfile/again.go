package stackfile

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Nearly all of a large file stands under urls:, and a reload finds most often that nobody has touched that. So what
// stands there is taken over unread when every byte of it is as it was, if that comes to the same for sure:
//
//   - It was whole lines, from the key at the left margin to the next such key or the end of the file. With something
//     short in its place the file is read as YAML, and must have that key there again, and the next one right behind.
//     Then whoever reads the file with all that is in it comes to the first of those lines in the same state as the last
//     time, and so makes the same of them, and comes out of them as from what stands in their place.
//   - Nothing in it stands for something elsewhere: there are no anchors, aliases and references.
const partKey = "urls"

// part is what stands under a key of a file, in lines of its own.
type part struct {
	value *node
	line  int    // where it begins
	text  string // its lines, that of the key among them
	last  bool   // nothing comes after it
}

// partOf returns the part in what a text was read as; nil if there is none that can be taken over.
func partOf(text string, lines int, doc *yaml.Node) *part {
	root := doc.Content[0]
	i, ok := keyOf(root)
	if !ok || strings.Count(text, "\n") != lines-1 { // a line that ends otherwise
		return nil
	}
	begin := root.Content[i].Line
	if root.Content[i+1].Kind != yaml.MappingNode || !alone(root.Content[i]) || !alone(root.Content[i+1]) {
		return nil
	}
	from := offset(text, begin)
	if i+2 == len(root.Content) {
		return &part{line: begin, text: text[from:], last: true}
	}
	next := root.Content[i+2]
	if next.Column != 1 {
		return nil
	}
	return &part{line: begin, text: text[from:offset(text, next.Line)]}
}

// keyOf returns the index of the part's key in the top of a file, which stands there once, at the left margin.
func keyOf(root *yaml.Node) (index int, ok bool) {
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return 0, false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if key.Value != partKey {
			continue
		}
		if ok || key.Kind != yaml.ScalarNode || key.Style != 0 || key.Column != 1 {
			return 0, false
		}
		index, ok = i, true
	}
	return index, ok
}

// alone reports whether nothing in y stands for something elsewhere, or is more than a text to whoever looks for comments.
func alone(y *yaml.Node) bool {
	if y.Kind == yaml.AliasNode || y.Anchor != "" || y.Style&yaml.TaggedStyle != 0 || strings.Contains(y.Value, "$") || strings.Contains(y.Value, allowMark) {
		return false
	}
	for _, inner := range y.Content {
		if !alone(inner) {
			return false
		}
	}
	return true
}

// offset returns where a line begins.
func offset(text string, line int) (at int) {
	for range line - 1 {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	return at
}

// without reads a text without the part in it that is as it was. It returns nil if there is no such part; else the
// part as it stands now, without its value, and the document with something else in its place.
func without(text string, lines int, was *part) (*part, *yaml.Node) {
	if was == nil || strings.Count(text, "\n") != lines-1 {
		return nil, nil
	}
	from := 0
	if !strings.HasPrefix(text, partKey+":") {
		if from = strings.Index(text, "\n"+partKey+":") + 1; from == 0 {
			return nil, nil
		}
	}
	rest, ok := strings.CutPrefix(text[from:], was.text)
	if !ok || (rest == "") != was.last {
		return nil, nil
	}
	now := &part{line: 1 + strings.Count(text[:from], "\n"), text: text[from : from+len(was.text)], last: was.last}
	height := strings.Count(was.text, "\n")
	doc, err := decodeYAML(strings.NewReader(text[:from] + partKey + ": 0" + strings.Repeat("\n", height) + rest))
	if err != nil {
		return nil, nil // it is read as a whole, and what is told of it is about the whole
	}
	root := doc.Content[0]
	i, ok := keyOf(root)
	if !ok || root.Content[i].Line != now.line || !alone(root.Content[i]) || (i+2 == len(root.Content)) != now.last {
		return nil, nil
	}
	if value := root.Content[i+1]; value.Line != now.line || value.Kind != yaml.ScalarNode || value.Value != "0" {
		return nil, nil
	}
	if !now.last && (root.Content[i+2].Line != now.line+height || root.Content[i+2].Column != 1) {
		return nil, nil
	}
	for k := 0; k < len(root.Content); k += 2 {
		if root.Content[k].Value == "extends" {
			return nil, nil // it is laid over another file's, and what became of it is not known by what it was
		}
	}
	return now, doc
}

// moved returns n as it stands some lines below, and unmarked.
func (n *node) moved(lines int32) *node {
	m := *n
	m.pos.line += lines
	m.where = ""
	m.pairs = eachOf(n.pairs, func(p pair) pair {
		p.keyPos.line += lines
		p.value = p.value.moved(lines)
		return p
	})
	m.items = eachOf(n.items, func(item *node) *node { return item.moved(lines) })
	return &m
}

// eachOf returns what f makes of each of s; nil of nil.
func eachOf[E any](s []E, f func(E) E) []E {
	if s == nil {
		return nil
	}
	all := make([]E, len(s))
	for i, e := range s {
		all[i] = f(e)
	}
	return all
}

// same reports whether the same is written at the same place.
func (n *node) same(m *node) bool {
	if n == m {
		return true
	}
	if n == nil || m == nil || n.form != m.form || n.tag != m.tag || n.pos != m.pos || n.where != m.where || n.text != m.text ||
		n.written() != m.written() || (n.raw == nil) != (m.raw == nil) || len(n.pairs) != len(m.pairs) || len(n.items) != len(m.items) {
		return false
	}
	for i, p := range n.pairs {
		if q := m.pairs[i]; p.key != q.key || p.keyPos != q.keyPos || !p.value.same(q.value) {
			return false
		}
	}
	for i := range n.items {
		if !n.items[i].same(m.items[i]) {
			return false
		}
	}
	return true
}

// urlsBefore returns what stood under urls: before; nil for nothing that may be taken over.
func (l *loader) urlsBefore() *node {
	if l.before == nil || !l.files.shared {
		return nil
	}
	return l.before.layers.urlsNode
}

// consists reports whether n, which is under urls:, is made of the same nodes as what stands there and in those files.
func (n *node) consists(urls *node, files []*document) bool {
	left := n.pairs
	begins := func(pairs []pair) bool {
		if len(pairs) > len(left) {
			return false
		}
		for i, p := range pairs {
			if left[i] != p {
				return false
			}
		}
		left = left[len(pairs):]
		return true
	}
	if n.pos != urls.pos || !begins(urls.pairs) {
		return false
	}
	for _, d := range files {
		if !begins(d.top.get("urls").pairs) {
			return false
		}
	}
	return len(left) == 0
}

// takes takes the overrides over from the plan before, if what stands under urls: is what stood there, and the slots are
// those of then but for their settings. It reports whether it did.
func (l *loader) takes(n *node) bool {
	if l.within != "" || n != l.urlsBefore() || l.before.dir() != l.source.dir || l.partial {
		return false
	}
	before := l.before.layers
	if !slices.EqualFunc(l.slots, before.slots, func(s, was *slot) bool { return s.name == was.name && s.def == was.def }) {
		return false
	}
	l.kept = make([]bool, len(l.slots))
	now := make(map[*slot]*slot) // of those that changed
	for i, was := range before.slots {
		if s := l.slots[i]; s.off == was.off && s.at == was.at && s.node.same(was.node) {
			l.slots[i], l.kept[i] = was, true
		} else {
			now[was] = s
		}
	}
	l.overrides = slices.Clone(before.overrides)
	for i, o := range l.overrides {
		if !slices.ContainsFunc(o.slots, func(so *slotOverride) bool { return now[so.slot] != nil }) {
			continue
		}
		again := *o
		again.slots = slices.Clone(o.slots)
		for n, so := range again.slots {
			if s := now[so.slot]; s != nil {
				speaking := *so
				speaking.slot = s
				again.slots[n] = &speaking
			}
		}
		l.overrides[i] = &again
	}
	return true
}

// laidOut takes over from the plan before where overrides apply, if their patterns are the same: nothing else decides
// about that. It reports whether it did.
func (e *effects) laidOut(plan *Plan) bool {
	before := e.before
	if e.within != "" || before == nil || !slices.EqualFunc(e.overrides, before.keys, func(o *override, key string) bool { return o.key == key }) {
		return false
	}
	plan.patterns, plan.areas, plan.keys, plan.ways = before.patterns, before.areas, before.keys, before.ways
	e.covering = before.layers.covering
	e.speak()
	return true
}

// keep takes over from the plan before what doesn't depend on the settings of slots, and the effects on those slots that
// are as they were. Nothing is in conflict: it depends on what the overrides say and on the components in the slots,
// and there was nothing before.
func (e *effects) keep(before, plan *Plan) {
	plan.patterns, plan.areas, plan.keys, plan.ways = before.patterns, before.areas, before.keys, before.ways
	e.covering, e.speaks = before.layers.covering, before.layers.speaks
	for i, s := range e.slots {
		if !e.kept[i] {
			continue
		}
		made := before.made[s.name]
		for _, f := range made {
			f.checked.walk(func(p *planned) {
				if len(p.mounts) > 0 {
					e.kept[i] = false // the other stack may have changed
				}
			})
		}
		if !e.kept[i] {
			continue
		}
		e.made[s.name] = made
		for _, f := range made {
			e.laid += varsSetting * f.settings.count(maxLaid)
			f.checked.walk(func(p *planned) {
				for _, n := range p.secrets {
					e.problems.secret(n)
				}
			})
		}
	}
}
