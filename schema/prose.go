package schema

import (
	_ "embed"
	"encoding/json"
	"go/doc/comment"
	"maps"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// Prose is what the comments in the sources say, by the import path of the package. It
// never changes once it is made.
type Prose map[string]Package

// Package is what the comments of one package say.
type Package struct {
	// Synopsis says in a few words what the package does: the first sentence of its
	// comment without "Package name" and the full stop.
	Synopsis string `json:"synopsis,omitempty"`
	// Doc is the package comment, without "Package name". It and Fields are in the syntax
	// of Go's doc comments, links resolved.
	Doc string `json:"doc,omitempty"`
	// Fields are the comments of settings, by the names that Go has for them, such as
	// "Config.MaxSize". Those of a struct without a name go by the field that it is the
	// type of: "Config.Cookie.Path".
	Fields map[string]string `json:"fields,omitempty"`
}

//go:embed prose.json
var proseJSON []byte

// embedded returns the prose of this module's components.
var embedded = sync.OnceValue(func() Prose {
	var p Prose
	if err := json.Unmarshal(proseJSON, &p); err != nil {
		panic("schema: prose.json: " + err.Error()) // go generate wrote it
	}
	return p
})

// proseOf returns the prose of this module's components, and what these have of their own.
func proseOf(components ...*registry.Definition) Prose {
	p := embedded()
	for _, d := range components {
		var own Package
		if d.Prose == nil || json.Unmarshal(d.Prose, &own) != nil {
			continue
		}
		p = maps.Clone(p)
		p[d.Package] = own
	}
	return p
}

// Synopsis says in a few words what a component does, such as "keeps session data in the
// memory of this process". It is empty for a component without prose.
func Synopsis(d *registry.Definition) string { return proseOf(d)[d.Package].Synopsis }

// Gap is a place where prose is missing.
type Gap struct {
	// Package is the import path of the package whose comment is missing or lacks something.
	Package string
	// Field is the key in [Package.Fields] that has no comment, empty for the package itself.
	Field string
	// Problem says what is, and what must be.
	Problem string
}

// Gaps returns what the components, and the stack file's own settings, lack.
func (p Prose) Gaps(reg *registry.Registry) []Gap {
	var gaps []Gap
	fields := func(rows []row) {
		for _, r := range rows {
			if p[r.pkg].Fields[r.key] == "" {
				gaps = append(gaps, Gap{r.pkg, r.key, "the setting " + r.name + " has no comment; it must have one, since that is its manual"})
			}
		}
	}
	for _, d := range reg.All() {
		text := p[d.Package]
		switch {
		case text.Doc == "":
			gaps = append(gaps, Gap{d.Package, "", "the " + string(d.Kind) + " " + d.Name + " has no package comment; it must have one, since that is its manual"})
		case text.Synopsis == "":
			gaps = append(gaps, Gap{d.Package, "", `the package comment must begin with "Package", the name, and a sentence that says what it is for`})
		case !hasExample(text.Doc, d.Name):
			gaps = append(gaps, Gap{d.Package, "", "the package comment has no example; it must have an indented piece of a stack file with " + d.Name + " in it"})
		}
		fields(componentRows(d))
	}
	for _, key := range stackfile.Keys() {
		fields(keyRows(key))
	}
	return gaps
}

// hasExample reports whether a code block of the comment mentions the component.
func hasExample(doc, name string) bool {
	for _, b := range parse(doc) {
		if code, ok := b.(*comment.Code); ok && strings.Contains(code.Text, name) {
			return true
		}
	}
	return false
}

// parse reads a comment of [Prose].
func parse(text string) []comment.Block {
	var p comment.Parser
	return p.Parse(text).Content
}

// upperFirst makes the first letter a capital.
func upperFirst(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[size:]
}

// about returns what a setting's comment says, and whether it began with the name that Go
// has for the setting. If so the name is left out, and the one that the stack file
// has can stand there.
func (p Prose) about(r row) (text string, named bool) {
	text = p[r.pkg].Fields[r.key]
	rest, found := strings.CutPrefix(text, r.goName)
	if next, _ := utf8.DecodeRuneInString(rest); !found || unicode.IsLetter(next) || unicode.IsDigit(next) || next == '_' {
		return text, false
	}
	return rest, true
}
