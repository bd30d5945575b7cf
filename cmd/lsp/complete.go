package lsp

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// allowComment is a comment that allows a warning, up to the end of the rule's id.
var allowComment = regexp.MustCompile(`(?:^|\s)#\s*stackd:allow\s+([\w-]*)`)

// completion returns what may be written at a place. It goes by what the document would be with a word there.
func (s *server) completion(_ context.Context, p documentParams) ([]completionItem, error) {
	items := []completionItem{}
	v, l := s.look(p)
	if v == nil {
		return items, nil
	}
	text, offset := v.document.text, l.offset(p.Position)
	if begin, id, end := v.allowed(l, p.Position.Line, offset); begin > 0 {
		if offset <= end {
			at := l.span(begin, begin+len(id))
			for _, r := range stackfile.Rules() {
				if r.Severity == stackfile.Warning {
					items = append(items, item(r.ID, kindValue, string(r.Severity), schema.RulePage(r.ID), textEdit{at, r.ID}))
				}
			}
		}
		return items, nil
	}
	const ends = " \t\r\n,[]{}:\"'"
	begin := strings.LastIndexAny(text[:offset], ends) + 1
	end := len(text)
	if n := strings.IndexAny(text[offset:], ends); n >= 0 {
		end = offset + n
	}
	at := l.span(begin, end)
	word := text[begin:end]
	if word == "" {
		word = "x"
	}
	v.top = read(text[:begin] + word + text[end:])
	n, key := v.begun(begin)
	switch {
	case key != nil:
		items = v.completeKeys(items, v.at(key.in), key.in, key, at, strings.HasPrefix(text[end:], ":"))
	case n != nil:
		outer := v.at(n)
		for _, word := range outer.words {
			items = append(items, item(word, kindValue, "", v.aboutValue(n), textEdit{at, word}))
		}
		if outer.named {
			for _, d := range v.registry.All() {
				if slices.Contains(outer.kinds, d.Kind) {
					items = append(items, item(d.Name, kindModule, string(d.Kind), sentence(schema.Synopsis(d)), textEdit{at, d.Name}))
				}
			}
		}
		line, from := l.line(p.Position.Line)
		if strings.Trim(line[:begin-from], " -") == "" { // a map may begin here
			items = v.completeKeys(items, outer, nil, nil, at, false)
		}
	}
	for i := range items {
		items[i].SortText = fmt.Sprintf("%03d", i)
	}
	return items, nil
}

// begun returns the key or text that begins at a place, or the text with a quote before that.
func (v *view) begun(begin int) (n *node, p *pair) {
	v.top.walk(func(node *node, pair *pair) {
		switch {
		case pair != nil && pair.begin == begin:
			n, p = nil, pair
		case node != nil && node.form == scalar && (node.begin == begin || node.begin == begin-1 && node.text != ""):
			n, p = node, nil
		}
	})
	return n, p
}

// completeKeys adds the keys that a mapping may have and hasn't yet, but for the one that is being written.
func (v *view) completeKeys(items []completionItem, outer place, in *node, writing *pair, at span, colon bool) []completionItem {
	for _, key := range v.keys(outer, in) {
		if in != nil && slices.ContainsFunc(in.pairs, func(p *pair) bool { return p.key == key && p != writing }) {
			continue
		}
		text := key
		if !colon {
			text += ": "
		}
		items = append(items, item(key, kindProperty, "", v.about(outer, in, key), textEdit{at, text}))
	}
	return items
}

func item(label string, kind int, detail, about string, edit textEdit) completionItem {
	return completionItem{Label: label, Kind: kind, Detail: detail, Documentation: markdown(about), TextEdit: edit}
}

// sentence makes one of a synopsis.
func sentence(synopsis string) string {
	if synopsis == "" {
		return ""
	}
	return strings.ToUpper(synopsis[:1]) + synopsis[1:] + "."
}
