package lsp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/creachadair/jrpc2"

	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// found returns the key or the text at a place in a document; nil for none.
func (v *view) found(offset int) (n *node, p *pair) {
	v.top.walk(func(node *node, pair *pair) {
		switch {
		case pair != nil && pair.begin <= offset && offset <= pair.end:
			n, p = nil, pair
		case node != nil && node.form == scalar && node.begin <= offset && offset <= node.end:
			n, p = node, nil
		}
	})
	return n, p
}

func (s *server) hover(ctx context.Context, p documentParams) (*hover, error) {
	v, l := s.look(p)
	if v == nil {
		return nil, nil
	}
	offset := l.offset(p.Position)
	if before, id, after := v.allowed(l, p.Position.Line, offset); id != "" && before <= offset && offset <= after {
		if page := schema.RulePage(id); page != "" {
			return &hover{markdown("**" + id + "**\n\n" + page), l.span(before, after)}, nil
		}
		return nil, nil
	}
	n, key := v.found(offset)
	var parts []string
	var at span
	switch {
	case key != nil:
		at = l.span(key.begin, key.end)
		parts = append(parts, s.provenance(ctx, v, key.value), v.about(v.at(key.in), key.in, key.key))
	case n != nil:
		at = l.span(n.begin, n.end)
		parts = append(parts, s.provenance(ctx, v, n), v.aboutValue(n))
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return nil, nil
	}
	return &hover{markdown(strings.Join(parts, "\n\n---\n\n")), at}, nil
}

// aboutValue returns the manual on a text: of the component that it names, or on the key that it stands under.
func (v *view) aboutValue(n *node) string {
	if p := v.at(n); p.named {
		if def := v.lookup(n.text, p.kinds...); def != nil {
			return schema.Page(def, "")
		}
	}
	for ; n != nil; n = n.in {
		if n.of != nil {
			return v.about(v.at(n.of.in), n.of.in, n.of.key)
		}
	}
	return ""
}

// allowed returns the id of the rule in a comment that allows a warning, on a line up to which a place in it is asked for,
// and where it stands; the id is empty where none is.
func (v *view) allowed(l lines, line, offset int) (begin int, id string, end int) {
	text, at := l.line(line)
	match := allowComment.FindStringSubmatchIndex(text)
	if match == nil || offset < at+match[2] {
		return 0, "", 0
	}
	return at + match[2], text[match[2]:match[3]], at + match[3]
}

// provenance tells what a setting, a slot or a var under stack: or urls: comes to, which lines said so, and what these
// overrode. It is empty where that isn't known, such as in a file with problems.
func (s *server) provenance(ctx context.Context, v *view, n *node) string {
	pattern, slot, name := v.spoken(n)
	if slot == "" || v.document.path == "" {
		return ""
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if ctx.Err() != nil {
		return ""
	}
	file, o := v.document.options(v.documents, func(string) {})
	plan, _, err := stackfile.Load(ctx, s.Registry, file, o)
	if err != nil {
		return ""
	}
	if pattern == "" {
		return differs(plan.Outline(), slot, name)
	}
	method, url := sample(pattern)
	e, err := plan.ExplainURL(method, url)
	if err != nil || len(e.Patterns) == 0 || e.Patterns[len(e.Patterns)-1].Pattern != pattern {
		return "" // others have the last word on this URL
	}
	other := func(s inspect.Setting) bool { return s.Name != name && (name != "" || s.Origin == "") }
	e.Found, e.Mounted, e.OnReload = nil, nil, inspect.Setting{}
	e.Slots = slices.DeleteFunc(e.Slots, func(s inspect.Slot) bool { return s.Name != slot })
	if e.Vars = slices.DeleteFunc(e.Vars, other); slot != "vars" {
		e.Vars = nil
	}
	for i := range e.Slots {
		e.Slots[i].Settings = slices.DeleteFunc(slices.Clone(e.Slots[i].Settings), other)
	}
	text, _ := strings.CutSuffix(e.String(), "\nstack, outermost first:\n")
	return "```text\n" + text + "```"
}

// differs tells for which patterns a slot, or a setting of it, is something else.
func differs(o inspect.Outline, slot, name string) string {
	var b strings.Builder
	for _, over := range o.Overrides {
		for _, c := range over.Slots {
			if is := c.Use + c.Switch; c.Slot == slot && is != "" && name == "" {
				fmt.Fprintf(&b, "%s: %s is %s (%s)\n", over.Pattern.Pattern, slot, is, c.Origin)
			}
			for _, set := range c.Settings {
				if c.Slot == slot && (set.Name == name || name == "") {
					fmt.Fprintf(&b, "%s: %s is %s (%s)\n", over.Pattern.Pattern, set.Name, set.Value, set.Origin)
				}
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "Overridden:\n\n```text\n" + b.String() + "```"
}

// spoken returns of what a value speaks, if it stands under stack or urls: the pattern, the slot, and the name of the setting
// in it; vars are as good as a slot.
func (v *view) spoken(n *node) (pattern, slot, name string) {
	way := n.way()
	switch {
	case len(way) > 1 && v.top.get("stack") == way[0]:
		slot, _ = v.slotOf(way[1])
		way = way[2:]
	case len(way) > 2 && v.top.get("urls") == way[0] && way[1].of != nil && way[2].of != nil:
		pattern, slot = way[1].of.key, way[2].of.key
		way = way[3:]
	default:
		return "", "", ""
	}
	for i, n := range way {
		switch {
		case n.of == nil && i == len(way)-1: // it is told with the list
		case n.of == nil:
			name += fmt.Sprintf("[%d]", slices.Index(n.in.items, n))
		case slot != "vars" && slices.Contains([]string{"use", "as", "off"}, n.of.key):
		case slot != "vars" && v.at(n.in).each != nil:
			name += "[" + n.of.key + "]"
		default:
			name += "." + n.of.key
		}
	}
	return pattern, slot, strings.TrimPrefix(name, ".")
}

// sample returns a request that a pattern matches.
func sample(pattern string) (method, url string) {
	method, url, ok := strings.Cut(pattern, " ")
	if !ok {
		method, url = "GET", pattern
	}
	url = strings.TrimSpace(url)
	if rest, ok := strings.CutPrefix(url, "*."); ok {
		url = "x." + rest
	}
	for {
		before, after, open := strings.Cut(url, "{")
		inside, after, closed := strings.Cut(after, "}")
		switch {
		case !open || !closed:
			return method, url
		case inside == "$":
			inside = ""
		}
		url = before + strings.TrimSuffix(inside, "...") + after
	}
}

// definition leads from a slot under urls to its entry under stack, and from a path to the files that it stands for.
func (s *server) definition(_ context.Context, p documentParams) ([]location, error) {
	v, l := s.look(p)
	if v == nil {
		return nil, nil
	}
	n, key := v.found(l.offset(p.Position))
	var found []location
	switch {
	case key != nil:
		outer := v.at(key.in)
		if !outer.override {
			break
		}
		for _, entry := range outer.top.get("stack").all() {
			if name, _ := v.slotOf(entry); name == key.key {
				found = append(found, location{v.document.uri, l.span(entry.begin, entry.begin)})
			}
		}
	case n != nil && v.at(n).reads && v.document.path != "" && n.text != "":
		path := v.document.beside(n.text)
		files := []string{path}
		if _, err := os.Stat(path); err != nil {
			files, _ = filepath.Glob(path)
		}
		for _, file := range files {
			found = append(found, location{uriOf(v.documents, file), span{}})
		}
	}
	return found, nil
}

// formatting returns the edit that brings a document into its canonical form.
func (s *server) formatting(_ context.Context, p documentParams) ([]textEdit, error) {
	v, l := s.look(p)
	if v == nil {
		return nil, nil
	}
	text := v.document.text
	out, err := stackfile.Format(s.Registry, filepath.Base(v.document.path), []byte(text))
	if err != nil {
		return nil, jrpc2.Errorf(requestFailed, "%s", err)
	}
	if string(out) == text {
		return []textEdit{}, nil
	}
	return []textEdit{{l.span(0, len(text)), string(out)}}, nil
}
