package inspect

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// String returns the explanation as text, a line for each thing, with the place that said so.
func (e Explanation) String() string {
	var t table
	t.add("", "%s %s%s", e.Method, e.Host, e.Path)
	t.add("", "")
	if len(e.Patterns) == 0 {
		t.add("", "no override under urls: matches")
	} else {
		t.add("", "overrides, general to specific:")
		for _, p := range e.Patterns {
			t.add(p.Origin, "  %s", p.Pattern)
		}
	}
	if len(e.Vars) > 0 {
		t.add("", "")
		t.add("", "vars:")
		for _, v := range e.Vars {
			t.setting(v, "  ")
		}
	}
	if e.OnReload.Origin != "" {
		t.add("", "")
		t.setting(e.OnReload, "")
	}
	t.add("", "")
	t.add("", "stack, outermost first:")
	for _, s := range e.Slots {
		title := s.Title()
		switch {
		case !s.On:
			t.add(s.Switched, "  %s: off", title)
		case s.Switched != "":
			t.add(s.Switched, "  %s: on", title)
		default:
			t.add(s.Origin, "  %s", title)
		}
		for _, f := range s.Overrode {
			t.former(f, "    ")
		}
		if !s.On {
			continue
		}
		for _, set := range s.Settings {
			t.setting(set, "    ")
		}
	}
	if e.Found != nil {
		t.add("", "")
		t.add("", "what it finds:")
		for _, row := range [][2]string{{"file", e.Found.File}, {"factory", e.Found.Factory}, {"path info", e.Found.PathInfo}} {
			if row[1] != "" {
				t.add("", "  %s: %s", row[0], row[1])
			}
		}
		if e.Found.Note != "" {
			t.add("", "  %s", e.Found.Note)
		}
	}
	if e.Mounted != nil {
		return t.String() + "\nin the stack that is mounted there:\n\n" + e.Mounted.String()
	}
	return t.String()
}

// Title is the slot's name, and the component's where that is another.
func (s Slot) Title() string {
	if s.Component == s.Name {
		return s.Name
	}
	return s.Name + " (" + s.Component + ")"
}

// table is lines, each with the place that said so.
type table struct{ rows [][2]string }

func (t *table) add(origin, format string, args ...any) {
	t.rows = append(t.rows, [2]string{Printable(fmt.Sprintf(format, args...)), origin})
}

func (t *table) setting(s Setting, indent string) {
	t.add(placed(s.Origin), "%s%s: %s", indent, s.Name, s.Value)
	for _, f := range s.Overrode {
		t.former(f, indent+"  ")
	}
}

func (t *table) former(f Former, indent string) {
	t.add(placed(f.Origin), "%soverrode %s", indent, f.Value)
}

// placed is where a value was set, in words.
func placed(origin string) string {
	if origin == "" {
		return "default"
	}
	return origin
}

// Printable returns the text on one line, without what would speak to a terminal.
func Printable(text string) string { return strings.Map(printable, text) }

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case !unicode.IsPrint(r):
		return '\uFFFD'
	}
	return r
}

func (t *table) String() string {
	const widest = 56 // so that an ordinary origin fits into 80 columns
	width := 0
	for _, row := range t.rows {
		if row[1] != "" {
			width = max(width, utf8.RuneCountInString(row[0]))
		}
	}
	width = min(width, widest)
	var b strings.Builder
	for _, row := range t.rows {
		b.WriteString(row[0])
		if row[1] != "" {
			fmt.Fprintf(&b, "%s  %s", strings.Repeat(" ", max(width-utf8.RuneCountInString(row[0]), 0)), row[1])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
