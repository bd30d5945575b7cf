package template

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/failure"
)

// traced is an error in a page, with its place in the page or a layout.
type traced struct {
	error
	frames []failure.Frame
}

func (t *traced) Unwrap() error { return t.error }

// Frames returns the place first, then how the page came there.
func (t *traced) Frames() []failure.Frame { return t.frames }

// call is a place where one template calls another.
type call struct {
	caller       string // the name of the template that it stands in
	name         string // the source
	line, column int
}

// trace finds the place that an error of text/template or html/template speaks of. Calls are
// those of each template, by its name. An error that names no place is returned as it is.
func trace(err error, sources map[string]source, calls map[string][]call) error {
	at, rest, ok := locate(err.Error(), sources)
	if !ok {
		return err
	}
	at.caller = at.name
	if m := executing.FindStringSubmatch(rest); m != nil {
		if name, err := strconv.Unquote(m[1]); err == nil {
			at.caller = underived(name)
		}
	}
	t := &traced{error: err}
	seen := make(map[string]bool)
	for {
		t.frames = append(t.frames, at.frame(sources))
		seen[at.caller] = true
		// Only a template that is called from a single place came from there for sure.
		callers := calls[at.caller]
		if len(callers) != 1 || seen[callers[0].caller] {
			return t
		}
		at = callers[0]
	}
}

func (c call) frame(sources map[string]source) failure.Frame {
	s := sources[c.name]
	lines, first := s.around(c.line)
	return failure.Frame{
		Function: fmt.Sprintf("template %q", c.caller),
		File:     s.file,
		Line:     c.line,
		Column:   c.column,
		Source:   lines,
		First:    first,
	}
}

var (
	// position follows the source's name: line, perhaps column, and what is wrong.
	position = regexp.MustCompile(`(?s)^:(\d+)(?::(\d+))?: ?(.*)`)
	// executing tells which template ran.
	executing = regexp.MustCompile(`^executing ("(?:[^"\\]|\\.)*") at `)
)

// locate reads the place that the message begins with, such as "template: a.html:3:9: ". The
// column counts bytes from 0 there.
func locate(message string, sources map[string]source) (at call, rest string, ok bool) {
	place, found := strings.CutPrefix(message, "template: ")
	if !found {
		if place, found = strings.CutPrefix(message, "html/template:"); !found {
			return call{}, "", false
		}
	}
	for name := range sources {
		tail, found := strings.CutPrefix(place, name)
		if !found || len(name) < len(at.name) {
			continue
		}
		if m := position.FindStringSubmatch(tail); m != nil {
			at = call{name: name}
			at.line, _ = strconv.Atoi(m[1])
			if m[2] != "" {
				at.column, _ = strconv.Atoi(m[2])
				at.column++
			}
			rest, ok = m[3], true
		}
	}
	return at, rest, ok
}

// underived returns the name that a template was given, without what html/template appends
// when it stands in another context than the first time.
func underived(name string) string {
	name, _, _ = strings.Cut(name, "$htmltemplate_")
	return name
}
