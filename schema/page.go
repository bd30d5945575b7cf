package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Page returns what there is to know about a component, or about one of its settings, in Markdown that needs nothing
// else of the manual. A setting goes by the path to it, such as "cookie.name", "limits[].rate" in the entries of a list,
// or "limits.*.rate" in the values of a map. It is empty when there is no such setting.
func Page(d *registry.Definition, setting string) string {
	m := &markdown{prose: proseOf(d), reg: new(registry.Registry)} // without the chapters that links would lead to
	if setting != "" {
		return m.item(componentRows(d), setting)
	}
	m.printf("**%s** (%s)\n", d.Name, d.Kind)
	if doc := m.prose[d.Package].Doc; doc != "" {
		m.printf("\n%s", m.blocks(parse(upperFirst(doc))))
	}
	m.printf("\n#### Settings\n")
	rows := componentRows(d)
	if len(rows) == 0 {
		m.printf("\nIt has none.\n")
	}
	for _, r := range rows {
		m.printf("\n%s\n", m.item(rows, r.name))
	}
	m.printf("\n#### Promises\n\n")
	for _, s := range promises(d) {
		m.printf("- %s\n", m.line(s))
	}
	return m.String()
}

// KeyPage is [Page] for a key of the stack file, or one of the settings under it.
func KeyPage(key, setting string) string {
	m := &markdown{prose: embedded(), reg: new(registry.Registry)}
	if setting != "" {
		return m.item(keyRows(key), setting)
	}
	section := markdownLink.ReplaceAllString(keySection(key), "$1")
	if section == "" {
		return ""
	}
	m.printf("**%s** (key of the stack file)\n\n%s\n", key, section)
	for _, r := range keyRows(key) {
		m.printf("\n%s\n", m.item(keyRows(key), r.name))
	}
	return m.String()
}

// item is what the row of that name says: what may be written, the default, and what it is for.
func (m *markdown) item(rows []row, name string) string {
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return ""
	}
	r := rows[i]
	standard := r.standard()
	switch {
	case r.missing():
		standard = "; **required**"
	case standard == "none" && r.typ.Form == registry.FormRef:
		standard = "; by default none"
	case standard != "":
		standard = "; by default " + code(standard)
	}
	return fmt.Sprintf("**%s**: %s%s\n\n%s", code(r.name), r.words(code, m.kindLink), standard, strings.TrimSpace(m.about(r)))
}
