package lsp

import (
	"context"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/stackfile"
)

// recheck begins a check of what is open, in the place of the one that is under way. Who calls it holds mu.
func (s *server) recheck() {
	s.supersede()
	if s.over {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.supersede = cancel
	documents, bytes := s.open(), s.bytes
	s.checks.Go(func() {
		s.loading.Lock()
		defer s.loading.Unlock()
		s.checkAll(ctx, documents, bytes)
	})
}

// checked is a stack file that was checked.
type checked struct {
	*document
	top      *node
	problems stackfile.Problems
	// reads are the files that it is made of, and itself.
	reads map[string]bool
}

// checkAll checks all that are open, and publishes what comes of it.
func (s *server) checkAll(ctx context.Context, documents []*document, bytes bool) {
	slices.SortFunc(documents, func(a, b *document) int { return strings.Compare(a.uri, b.uri) })
	var all []*checked
	for _, d := range documents {
		c := &checked{document: d, top: read(d.text[:min(len(d.text), maxText)]), reads: make(map[string]bool)}
		if !c.isStack() {
			continue
		}
		name, o := d.options(documents, func(path string) { c.reads[path] = true })
		var err error
		if c.problems, err = s.Check(ctx, name, o); err != nil {
			return // superseded
		}
		all = append(all, c)
	}
	found := make(map[string][]diagnostic)
	texts := make(map[string]*located)
	for _, c := range all {
		if slices.ContainsFunc(all, c.isPart) {
			continue
		}
		for _, p := range c.problems {
			path := c.beside(p.File)
			uri := c.uri
			if path != c.path {
				uri = uriOf(documents, path)
			}
			in := texts[uri]
			if in == nil {
				text := c.text
				if path != c.path {
					text, _ = textOf(documents, path)
				}
				in = locate(text, bytes)
				texts[uri] = in
			}
			if told := in.diagnostic(p); !slices.Contains(found[uri], told) {
				found[uri] = append(found[uri], told)
			}
		}
	}
	s.publish(ctx, documents, found)
}

// options returns what a document is loaded as, with the texts that the editor has of the files that it is made of. Each is
// told to reads. One that is no file reads nothing.
func (d *document) options(documents []*document, reads func(path string)) (name string, o stackfile.Options) {
	if d.path == "" {
		return "untitled", stackfile.Options{Content: []byte(d.text), Files: new(stackfile.Files)}
	}
	o.Unsaved = func(path string) ([]byte, bool) {
		reads(path)
		for _, d := range documents {
			if d.path == path {
				return []byte(d.text), true
			}
		}
		return nil, false
	}
	if d.isTests() {
		return d.path, o // it is about another file
	}
	o.Dir, name = filepath.Split(d.path)
	return name, o
}

// isStack reports whether it is meant as a stack file, or has the tests of one.
func (c *checked) isStack() bool {
	return !foreign(c.top) && (c.isTests() || c.top.get("servers") != nil || c.top.get("stack") != nil || c.top.get("extends") != nil)
}

// foreign reports whether a file is YAML for something else: most of what it says isn't under keys of a stack file.
func foreign(top *node) bool {
	known, unknown := 0, 0
	for _, p := range top.pairs {
		if slices.Contains(stackfile.Keys(), p.key) {
			known++
		} else if p.value.form != nothing {
			unknown++
		}
	}
	return unknown > known || top.form == list
}

func (d *document) isTests() bool { return stackfile.StackOf(d.path) != d.path }

// isPart reports whether c is nothing but a part of another stack, so that what is said of it alone means nothing.
func (c *checked) isPart(of *checked) bool {
	return c != of && c.path != "" && c.top.get("servers") == nil && !of.isTests() && of.reads[c.path] && !c.reads[of.path]
}

// located is a text in which problems are.
type located struct {
	yaml, editor lines
	mark         int         // how long the mark before it is, which YAML doesn't count
	ends         map[int]int // of the keys and texts, by where they begin
}

func locate(text string, bytes bool) *located {
	l := &located{yamlLines(text), editorLines(text, bytes), 0, make(map[int]int)}
	if strings.HasPrefix(text, byteOrderMark) {
		l.mark = 1
	}
	read(text[:min(len(text), maxText)]).walk(func(n *node, p *pair) {
		if n != nil && l.ends[n.begin] < n.end {
			l.ends[n.begin] = n.end
		}
		if p != nil {
			l.ends[p.begin] = p.end
		}
	})
	return l
}

// diagnostic returns what an editor shows of a problem: at the key or value that it is about, or the rest of the line.
func (l *located) diagnostic(p stackfile.Problem) diagnostic {
	column := p.Column - 1
	if p.Line == 1 {
		column += l.mark
	}
	begin := l.yaml.character(p.Line-1, column)
	line, at := l.editor.line(l.editor.position(begin).Line)
	end := at + len(strings.TrimRight(line, " \t"))
	if known := l.ends[begin]; known > begin {
		end = min(end, known)
	}
	d := diagnostic{l.editor.span(begin, max(begin, end)), severityError, p.Rule, "stackd", p.Text}
	if p.Severity == stackfile.Warning {
		d.Severity = severityWarning
	}
	return d
}

// publish tells the editor what was found, where it doesn't know that yet.
func (s *server) publish(ctx context.Context, documents []*document, found map[string][]diagnostic) {
	next := make(map[string]publishParams)
	for uri, diagnostics := range found {
		next[uri] = publishParams{URI: uri, Diagnostics: diagnostics}
	}
	for uri := range s.published {
		if found[uri] == nil {
			next[uri] = publishParams{URI: uri, Diagnostics: []diagnostic{}}
		}
	}
	for _, d := range documents {
		p := publishParams{URI: d.uri, Version: &d.version, Diagnostics: found[d.uri]}
		if p.Diagnostics == nil {
			p.Diagnostics = []diagnostic{}
		}
		next[d.uri] = p
	}
	for uri, p := range next {
		if ctx.Err() != nil {
			return
		}
		if reflect.DeepEqual(p, s.published[uri]) {
			continue
		}
		if err := s.rpc.Notify(ctx, "textDocument/publishDiagnostics", p); err != nil {
			return // the editor has gone
		}
		if s.published[uri] = p; p.Version == nil && len(p.Diagnostics) == 0 {
			delete(s.published, uri)
		}
	}
}
