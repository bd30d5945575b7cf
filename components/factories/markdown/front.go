package markdown

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
)

// entry is one setting of a front matter.
type entry struct {
	name, value string
	line        int
}

// fence is the line before and after a front matter.
const fence = "---"

// split takes the front matter off a text. Body is what follows it.
func split(file *resource.File, text string) (front []entry, body string, err error) {
	text = strings.TrimPrefix(text, "\ufeff")
	first, rest, more := strings.Cut(text, "\n")
	if strings.TrimRight(first, " \t\r") != fence || !more {
		return nil, text, nil
	}
	wrong := func(line int, format string, args ...any) error {
		return newFault(file, text, line, fmt.Sprintf(format, args...))
	}
	for n := 2; ; n++ {
		if rest == "" {
			return nil, "", wrong(1, "the front matter has no end; it must end with a line of three hyphens")
		}
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimRight(line, " \t\r")
		trimmed := strings.TrimSpace(line)
		item, isItem := strings.CutPrefix(trimmed+" ", "- ")
		switch {
		case line == fence:
			return front, rest, nil
		case trimmed == "" || trimmed[0] == '#':
		case isItem:
			if len(front) == 0 {
				return nil, "", wrong(n, "a list stands here; it must follow its name")
			}
			last := &front[len(front)-1]
			if item, err = unquote(strings.TrimSpace(item)); err != nil {
				return nil, "", wrong(n, "%s: %v", last.name, err)
			}
			if last.value != "" {
				last.value += ", "
			}
			last.value += item
		default:
			name, value, found := strings.Cut(line, ":")
			if !found || !validName(name) || value != "" && value[0] != ' ' && value[0] != '\t' {
				return nil, "", wrong(n, "the line is %q; it must be like title: A text", line)
			}
			for _, e := range front {
				if e.name == name {
					return nil, "", wrong(n, "%s was set in line %d already", name, e.line)
				}
			}
			if value, err = valueOf(strings.TrimSpace(value)); err != nil {
				return nil, "", wrong(n, "%s: %v", name, err)
			}
			front = append(front, entry{name, value, n})
		}
	}
}

func validName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// valueOf reads a text or a list in brackets.
func valueOf(s string) (string, error) {
	if !strings.HasPrefix(s, "[") {
		return unquote(s)
	}
	list, closed := strings.CutSuffix(s[1:], "]")
	if !closed {
		return "", fmt.Errorf("the list %q has no end; it must end with a bracket", s)
	}
	var items []string
	for item := range strings.SplitSeq(list, ",") {
		item, err := unquote(strings.TrimSpace(item))
		if err != nil {
			return "", err
		}
		if item != "" {
			items = append(items, item)
		}
	}
	return strings.Join(items, ", "), nil
}

// unquote reads a text, which may stand in quotes of either kind.
func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		if i := strings.Index(s, " #"); i >= 0 {
			s = strings.TrimSpace(s[:i])
		}
		if s != "" && strings.ContainsRune("{|>&*!%@`", rune(s[0])) {
			return "", fmt.Errorf("%q is no plain text; it must stand in quotes", s)
		}
		return s, nil
	}
	if s[0] == '"' {
		text, err := strconv.Unquote(s)
		if err != nil {
			return "", fmt.Errorf("%s isn't a text in quotes; it must end with a quote, and have a backslash before those in it", s)
		}
		return text, nil
	}
	if len(s) < 2 || s[len(s)-1] != '\'' || strings.Contains(strings.ReplaceAll(s[1:len(s)-1], "''", ""), "'") {
		return "", fmt.Errorf("%s isn't a text in quotes; it must end with a quote, and have those in it twice", s)
	}
	return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), nil
}

// fault is an error in a text, with its place.
type fault struct {
	text  string
	frame failure.Frame
}

func newFault(file *resource.File, text string, line int, problem string) error {
	const around = 5
	name := file.Name
	if file.Root != "" {
		name = filepath.Join(file.Root, filepath.FromSlash(name))
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	first := max(1, line-around)
	return &fault{
		text: fmt.Sprintf("%s:%d: %s", file.Name, line, problem),
		frame: failure.Frame{
			Function: "front matter", File: name, Line: line,
			Source: lines[first-1 : min(len(lines), line+around)], First: first,
		},
	}
}

func (f *fault) Error() string { return f.text }

// Frames returns the line of the front matter.
func (f *fault) Frames() []failure.Frame { return []failure.Frame{f.frame} }
