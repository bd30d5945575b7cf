package stackfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Note is a file in which a running stack writes something for scripts. It is the stack file's pid_file: or address_file:. The
// zero value is none.
type Note struct {
	// Path is absolute; empty for none.
	Path string
	// at is where it is said; nil for nowhere.
	at *pos
}

// PIDFile returns the file that has the number of the process.
func (p *Plan) PIDFile() Note { return p.pidFile }

// AddressFile returns the file that has where the servers listen.
func (p *Plan) AddressFile() Note { return p.addressFile }

// written returns it as a stack file in that folder says it.
func (n Note) written(dir string) string {
	if n.Path == "" {
		return "off"
	}
	return near(n.Path, dir)
}

// notes reads the keys of that kind.
func (l *loader) notes(top *node, plan *Plan) {
	plan.pidFile = l.note("pid_file", "run/stackd.pid", top.get("pid_file"))
	plan.addressFile = l.note("address_file", "run/addresses", top.get("address_file"))
	if at := plan.addressFile.at; at != nil && plan.pidFile.Path != "" && plan.pidFile.Path == plan.addressFile.Path {
		l.problems.add(*at, nil, "address_file is the same as pid_file on %s; it must be a file of its own", plan.pidFile.at.seenFrom(*at))
	}
}

// note reads one; such is what a user might have meant.
func (l *loader) note(key, such string, n *node) Note {
	if n == nil || n.isNull() || n.form == broken {
		return Note{}
	}
	on, isSwitch := switchOf(n)
	if isSwitch && !on {
		return Note{at: &n.pos}
	}
	is := n.is()
	if n.form == scalar {
		is = fmt.Sprintf("%q", n.text)
	}
	if n.form != scalar || isSwitch || n.text == "" || strings.HasSuffix(n.text, "/") || strings.ContainsRune(n.text, 0) {
		l.problems.add(n.pos, nil, "%s is %s; it must be off, or the path of a file such as %s", key, is, such)
		return Note{}
	}
	_, path := n.pos.source.named(n.text)
	if slices.Contains(l.files.names, path) || filepath.Clean(path) == filepath.Clean(l.source.dir) {
		l.problems.add(n.pos, nil, "%s is %s, which stackd reads; it must be a file that may be overwritten, such as %s", key, is, such)
		return Note{}
	}
	return Note{Path: path, at: &n.pos}
}
