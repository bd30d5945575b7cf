package template

import (
	"strings"
	text "text/template"
	"text/template/parse"
)

// source is the text of a page or of a shared file.
type source struct {
	name string // what errors of text/template call it
	file string // where people find it
	text string
}

// parse returns what stands outside of the definitions, and these by name.
func (s source) parse() (body *parse.Tree, definitions map[string]*parse.Tree, err error) {
	t, err := text.New(s.name).Funcs(text.FuncMap(functions())).Parse(s.text)
	if err != nil {
		return nil, nil, err
	}
	definitions = make(map[string]*parse.Tree)
	for _, d := range t.Templates() {
		if d.Name() != s.name {
			definitions[d.Name()] = d.Tree
		}
	}
	return t.Tree, definitions, nil
}

// around returns the lines around one, which counts from 1, and the number of the first
// of them.
func (s source) around(line int) (lines []string, first int) {
	const context = 5
	all := strings.Split(strings.TrimSuffix(s.text, "\n"), "\n")
	first = max(1, line-context)
	last := min(len(all), line+context)
	if first > last {
		return nil, 0
	}
	for _, l := range all[first-1 : last] {
		lines = append(lines, strings.TrimSuffix(l, "\r"))
	}
	return lines, first
}

// walk calls f for n and the statements in it, outermost first.
func walk(n parse.Node, f func(parse.Node)) {
	branch := func(b *parse.BranchNode) {
		walk(b.List, f)
		if b.ElseList != nil {
			walk(b.ElseList, f)
		}
	}
	f(n)
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			walk(child, f)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	}
}
