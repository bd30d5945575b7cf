package stackfile

import (
	"context"
	"fmt"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Control says where a running stack is controlled. It is the stack file's control:. The zero value is where
// whoever runs the stack looks for it by itself.
type Control struct {
	// Off says that it isn't controlled.
	Off bool
	// Address is a unix socket, with an absolute path; empty for the usual place.
	Address registry.Address
}

// String returns it as a stack file says it.
func (c Control) String() string {
	switch {
	case c.Off:
		return "off"
	case c.Address == "":
		return "on"
	}
	return string(c.Address)
}

// Control returns where the stack is controlled.
func (p *Plan) Control() Control { return p.control }

// ControlOf returns what the stack file at path says of its control, also if it has problems elsewhere. The
// error is its [Problems] if they are such that nobody can tell.
func ControlOf(ctx context.Context, reg *registry.Registry, path string) (Control, error) {
	plan, _, ps := load(ctx, reg, path, Options{})
	if plan == nil {
		return Control{}, ps.err()
	}
	return plan.control, nil
}

// control reads the key of that name.
func (l *loader) control(n *node) Control {
	if n == nil || n.isNull() || n.form == broken {
		return Control{}
	}
	if on, ok := switchOf(n); ok {
		return Control{Off: !on}
	}
	const must = "it must be off, or a unix socket such as unix:run/control.sock"
	is := n.is()
	if n.form == scalar {
		is = fmt.Sprintf("%q", n.text)
	}
	if n.form != scalar || !strings.HasPrefix(n.text, "unix:") || strings.ContainsRune(n.text, 0) {
		l.problems.add(n.pos, nil, "control is %s; %s", is, must)
		return Control{}
	}
	address := registry.Address(n.text).Within(n.pos.source.dir)
	if err := address.Check(); err != nil {
		l.problems.add(n.pos, nil, "control is %s: %s", is, err)
		return Control{}
	}
	return Control{Address: address}
}
