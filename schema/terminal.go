package schema

import (
	"fmt"
	"go/doc/comment"
	"strings"
	"unicode/utf8"

	"github.com/stackd/stackd/registry"
)

// width is that of the narrowest terminal in use.
const width = 80

// Component returns what there is to know about a component, as text for a terminal of 80
// columns: what it is for, its settings, and what it promises.
func Component(d *registry.Definition) string { return proseOf(d).component(d) }

func (p Prose) component(d *registry.Definition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", d.Name, d.Kind)
	if doc := p[d.Package].Doc; doc != "" {
		text := &comment.Printer{TextPrefix: "  ", TextCodePrefix: "      "}
		for _, block := range parse(upperFirst(doc)) {
			b.WriteByte('\n')
			if h, ok := block.(*comment.Heading); ok {
				for _, line := range wrap(plain([]comment.Block{&comment.Paragraph{Text: h.Text}}), width) {
					b.WriteString(line + "\n")
				}
				continue
			}
			b.Write(text.Text(&comment.Doc{Content: []comment.Block{block}}))
		}
	}
	b.WriteString("\nSettings\n")
	rows := componentRows(d)
	if len(rows) == 0 {
		b.WriteString("\n  It has none.\n")
	}
	for _, r := range rows {
		b.WriteByte('\n')
		p.setting(&b, r)
	}
	b.WriteString("\nPromises\n\n")
	for _, s := range promises(d) {
		hanging(&b, "  - ", "    ", s)
	}
	return b.String()
}

// setting writes one setting: its name and default as a stack file would have them, then
// what may be written, then what it is for.
func (p Prose) setting(b *strings.Builder, r row) {
	first := r.name + ":"
	switch standard := r.standard(); {
	case r.missing():
		first += " (required)"
	case r.typ.Form == registry.FormRef && standard == "none":
		first += " (none)"
	case standard != "":
		first += " " + standard
	}
	lines := wrap(first, width-len("        "))
	b.WriteString("  " + strings.Join(lines, "\n        ") + "\n")
	plainWords := func(s string) string { return s }
	hanging(b, "      ", "      ", "("+r.words(plainWords, kindNoun)+")")
	text, named := p.about(r)
	if named {
		text = r.name + text
	}
	if text != "" {
		t := &comment.Printer{TextPrefix: "      ", TextCodePrefix: "          "}
		b.Write(t.Text(&comment.Doc{Content: parse(text)}))
	}
}

// plain writes blocks as text, each paragraph on one line.
func plain(blocks []comment.Block) string {
	p := &comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(p.Text(&comment.Doc{Content: blocks})))
}

// hanging writes text wrapped, the first line after first and the others after rest.
func hanging(b *strings.Builder, first, rest, text string) {
	for i, line := range wrap(text, width-len(first)) {
		if i == 0 {
			b.WriteString(first + line + "\n")
			continue
		}
		b.WriteString(rest + line + "\n")
	}
}

// wrap breaks text into lines of at most so many characters, where there is space to break at.
func wrap(text string, limit int) []string {
	var lines []string
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > limit:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
