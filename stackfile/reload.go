package stackfile

import (
	"time"

	"github.com/stackd/stackd/registry"
)

// Reload says when a stack is loaded anew, and when a new one is given up. It is the stack file's reload:.
type Reload struct {
	// Poll is how often the files are compared with what they were, for file systems that tell nobody of a change, such
	// as network ones and files that are mounted into a container. 0 is never: changes are told of by the system. Where the
	// system can't, files are compared every 2s all the same.
	Poll time.Duration `yaml:"poll" validate:"omitempty,min=100ms"`
	// WatchErrors is how long after a reload the answers of the new stack are counted. 0 is not at all.
	WatchErrors time.Duration `yaml:"watch_errors" validate:"omitempty,min=1s"`
	// Threshold is by how much of all its answers a new stack may have more errors (5xx) than the one before, in percentage
	// points. With more, and 20 answers at least, the files of the one before take over again.
	Threshold registry.Percent `yaml:"threshold"`
}

// DefaultReload is that of a stack file that says nothing of it.
func DefaultReload() Reload { return Reload{Threshold: 5} }

// Reload returns the stack file's reload.
func (p *Plan) Reload() Reload { return p.reload }
