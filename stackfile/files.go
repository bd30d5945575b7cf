package stackfile

import (
	"fmt"
	"path/filepath"
)

// library reads the files of one load, each once.
type library struct {
	env      func(name string) (string, bool)
	problems *problems
	// names are those that were read, or tried, and the folders that were looked through, absolute:
	// what the outcome depends on.
	names []string
	noted map[string]bool // the same
	known map[string]*document
	disk  disk
	bytes int // of all files together
	// values counts those of all files together, aliases written out.
	values int
	// expanded counts the bytes that references stood for, in all files together.
	expanded int
	// mounted are the stacks within others, by the setting that holds them and what it says.
	mounted map[string]*Plan
	// meets counts the overlaps of patterns in all of those.
	meets int
	// given is the content of the first file, if it isn't to be read.
	given []byte
	// comments are those that allow warnings.
	comments []*allowance
	// before are the files of the load before, while what was read of them may be taken over; nil for none. Shared says
	// that something was, as it stands: nodes that aren't this load's alone.
	before map[string]*document
	shared bool
}

// document is a file that was read.
type document struct {
	source *source
	// top is nil after a problem with the whole of it.
	top *node
	// part is what the next load may take over; nil for nothing.
	part *part
}

// note says that the outcome depends on a file or folder.
func (l *library) note(path string) {
	if !l.noted[path] {
		l.noted[path] = true
		l.names = append(l.names, path)
	}
}

// open reads a file. Name is what the user calls it, and path where it is. Must says what one must have that
// has nothing.
func (l *library) open(name, path, must string) (*document, error) {
	if known := l.known[path]; known != nil {
		return known, nil
	}
	l.note(path)
	data := l.given
	if data == nil || len(l.known) > 0 {
		var err error
		if data, err = l.disk.read(path, ReadFile); err != nil {
			return nil, err
		}
	}
	l.disk.now.stacks = append(l.disk.now.stacks, path)
	if l.bytes += len(data); l.bytes > maxFiles {
		return nil, fmt.Errorf("with it the stack's files have more than %d MiB; they must have less", maxFiles>>20)
	}
	d := &document{source: &source{name: name, dir: filepath.Dir(path), main: len(l.known) == 0}}
	was := l.before[path]
	if was != nil && *was.source == *d.source {
		d.source = was.source
	} else {
		was = new(document)
	}
	l.known[path] = d
	p := &parser{source: d.source, expander: &expander{dir: d.source.dir, env: l.env, note: l.note, disk: &l.disk, size: &l.expanded}, problems: l.problems, count: &l.values, must: must, was: was.part}
	d.top = p.parse(data)
	if d.part = p.part; d.part != nil && was.part != nil && d.part.value == was.part.value {
		l.shared = true
	}
	l.comments = append(l.comments, p.text.allowances(d.source, l.problems)...)
	return d, nil
}

// named returns a path that a file has written: what the user would call it, and where it is.
func (s *source) named(written string) (name, path string) {
	if filepath.IsAbs(written) {
		return written, filepath.Clean(written)
	}
	return filepath.Join(filepath.Dir(s.name), written), filepath.Join(s.dir, written)
}
