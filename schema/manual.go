package schema

import (
	_ "embed"
	"fmt"
	"go/doc/comment"
	"regexp"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// chapter is the manual's chapter on the stack file itself, with a section for each of its keys.
//
//go:embed stackfile.md
var chapter string

// Manual returns the reference manual, in Markdown: the stack file's own keys, and a
// section for each component of reg.
func Manual(reg *registry.Registry) string { return proseOf(reg.All()...).Manual(reg) }

// Manual is the function of that name, with this prose.
func (p Prose) Manual(reg *registry.Registry) string {
	m := &markdown{prose: p, reg: reg}
	m.printf("# Reference\n\n<!-- Written by go generate from the comments in the sources. -->\n\n")
	m.contents()
	m.printf("\n%s\n## The stack file\n\n", anchor("stack-file"))
	m.chapter()
	m.rules()
	var last registry.Kind
	for _, d := range reg.All() {
		if d.Kind != last {
			m.printf("\n%s\n## %s\n", anchor(string(d.Kind)), kindTitle(d.Kind))
		}
		last = d.Kind
		m.component(d)
	}
	return m.String()
}

// kindTitle is the heading of a kind.
func kindTitle(k registry.Kind) string { return upperFirst(kindNoun(k, true)) }

func kindNoun(k registry.Kind, plural bool) string {
	switch {
	case !plural || k == registry.KindMiddleware:
		return string(k)
	case k == registry.KindFactory:
		return "factories"
	}
	return string(k) + "s"
}

// anchor is what links in the manual lead to. Headings alone would not do: several
// components have the same name, or a section of the same name.
func anchor(name string) string { return `<a id="` + name + `"></a>` + "\n" }

// sections returns the sections of the chapter, the first one being what stands before them.
func sections() []string {
	all := strings.Split(chapter, "\n### ")
	for i, s := range all[1:] {
		all[i+1] = "### " + s
	}
	return all
}

// keySection returns what the chapter says of a key of the stack file, without the heading.
func keySection(key string) string {
	for _, s := range sections()[1:] {
		if body, ok := strings.CutPrefix(s, "### "+key+"\n"); ok {
			return strings.TrimSpace(body)
		}
	}
	return ""
}

// markdown writes the manual.
type markdown struct {
	strings.Builder
	prose Prose
	reg   *registry.Registry
}

func (m *markdown) printf(format string, args ...any) { _, _ = fmt.Fprintf(m, format, args...) }

func (m *markdown) contents() {
	keys := stackfile.Keys()
	for i, k := range keys {
		keys[i] = fmt.Sprintf("[%s](#key-%[1]s)", k)
	}
	m.printf("- [The stack file](#stack-file): %s\n", strings.Join(keys, ", "))
	m.printf("- [Rules of a check](#rules)\n")
	var last registry.Kind
	for _, d := range m.reg.All() {
		if d.Kind != last {
			m.printf("- [%s](#%s)\n", kindTitle(d.Kind), d.Kind)
		}
		last = d.Kind
		m.printf("  - [%s](#%s-%s)", d.Name, d.Kind, d.Name)
		if s := m.prose[d.Package].Synopsis; s != "" {
			m.printf(" %s", m.line(s))
		}
		m.printf("\n")
	}
}

// chapter writes the chapter on the stack file, and under its key the table of the deadlines.
func (m *markdown) chapter() {
	for i, s := range sections() {
		key, _, _ := strings.Cut(strings.TrimPrefix(s, "### "), "\n")
		if i > 0 {
			m.printf("\n")
		}
		if slices.Contains(stackfile.Keys(), key) {
			m.printf("%s\n", anchor("key-"+key))
		}
		m.printf("%s\n", strings.TrimSpace(s))
		if rows := keyRows(key); rows != nil {
			m.settings(rows)
		}
	}
}

func (m *markdown) component(d *registry.Definition) {
	m.printf("\n%s\n### %s\n", anchor(string(d.Kind)+"-"+d.Name), d.Name)
	text := m.prose[d.Package]
	if text.Doc != "" {
		m.printf("\n%s", m.blocks(parse(upperFirst(text.Doc))))
	}
	m.printf("\n#### Settings of %s\n", d.Name)
	if rows := componentRows(d); len(rows) > 0 {
		m.settings(rows)
	} else {
		m.printf("\nIt has none.\n")
	}
	m.printf("\n#### Promises of %s\n\n", d.Name)
	for _, s := range promises(d) {
		m.printf("- %s\n", m.line(s))
	}
}

func (m *markdown) settings(rows []row) {
	m.printf("\n| Setting | Value | Default | Description |\n|---|---|---|---|\n")
	for _, r := range rows {
		standard := r.standard()
		switch {
		case r.missing():
			standard = "**required**"
		case r.typ.Form == registry.FormRef && standard != "none", standard != "" && r.typ.Form != registry.FormRef:
			standard = code(standard)
		}
		m.printf("| %s | %s | %s | %s |\n", code(r.name), cell(r.words(code, m.kindLink)), cell(standard), cell(m.about(r)))
	}
}

// kindLink names a kind, with a link to its chapter if it has one.
func (m *markdown) kindLink(k registry.Kind, plural bool) string {
	if !slices.ContainsFunc(m.reg.All(), func(d *registry.Definition) bool { return d.Kind == k }) {
		return kindNoun(k, plural)
	}
	return fmt.Sprintf("[%s](#%s)", kindNoun(k, plural), k)
}

// code marks text as code.
func code(s string) string {
	if strings.Contains(s, "`") {
		return "`` " + s + " ``"
	}
	return "`" + s + "`"
}

// cell fits text into a cell of a table.
func cell(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "|", `\|`)
	s = strings.ReplaceAll(s, "\n\n", "<br><br>")
	return strings.ReplaceAll(s, "\n", "<br>")
}

// about returns a setting's comment, which begins with its name.
func (m *markdown) about(r row) string {
	text, named := m.prose.about(r)
	if !named {
		return m.blocks(parse(text))
	}
	rest := m.blocks(parse(strings.TrimSpace(text)))
	return code(r.name) + text[:len(text)-len(strings.TrimLeft(text, " \n"))] + rest
}

// blocks writes a comment. Its headings are below that of the component.
func (m *markdown) blocks(blocks []comment.Block) string {
	p := &comment.Printer{HeadingLevel: 4, HeadingID: func(*comment.Heading) string { return "" }}
	var parts []string
	for _, b := range blocks {
		if c, ok := b.(*comment.Code); ok {
			parts = append(parts, "```"+language(c.Text)+"\n"+c.Text+"```\n")
			continue
		}
		parts = append(parts, spelled(string(p.Markdown(&comment.Doc{Content: []comment.Block{b}}))))
	}
	return strings.Join(parts, "\n")
}

// line writes one line of text.
func (m *markdown) line(s string) string { return strings.TrimSpace(m.blocks(parse(s))) }

var (
	snake = regexp.MustCompile(`\b[A-Za-z][A-Za-z0-9]*(\\_[A-Za-z0-9]+)+\b`)
	yaml  = regexp.MustCompile(`^(- |["']?[\w.#*/$ -]+["']?:( |\n))`)
)

// spelled marks as code the words that only a machine spells so, such as max_size. In a
// comment nothing marks them.
func spelled(markdown string) string {
	return snake.ReplaceAllStringFunc(markdown, func(s string) string { return code(strings.ReplaceAll(s, `\_`, "_")) })
}

// language names the language of a piece of code, if it is one that is known here.
func language(text string) string {
	switch {
	case yaml.MatchString(text):
		return "yaml"
	case strings.HasPrefix(text, "<"):
		return "html"
	case strings.HasPrefix(text, "#!/bin/sh"):
		return "sh"
	}
	return ""
}
