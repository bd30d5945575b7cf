package lint

import (
	"net/http"
	"sync"

	"github.com/stackd/stackd/registry/environ"
)

// seenKey is what the instances further out have in common with those further in, also in mounted stacks: what the
// piece between two does wrong comes to all that stand around, and is told by the nearest.
var seenKey = environ.NewInherited[*rules]("rules that lint has seen broken")

// rules are those that a request has been seen to break. Handlers may run in several goroutines.
type rules struct {
	mu   sync.Mutex
	seen map[string]bool
	// caller is the innermost whose ResponseWriter is being called: those further out see that before it is done with it,
	// and what they find is put off until then.
	caller *exchange
	later  []finding
}

// rulesOf returns those of a request, which it has at the latest from now on.
func rulesOf(r *http.Request) *rules {
	seen := seenKey.Get(r)
	if seen == nil {
		seen = &rules{seen: make(map[string]bool)}
		if environ.PlaceOf(r) != nil { // a request without an environ is a finding of its own
			seenKey.Set(r, seen)
		}
	}
	return seen
}

// finding is a rule that somebody has seen broken.
type finding struct {
	x                 *exchange
	rule, place, text string
}

func (s *rules) begin(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caller == nil {
		s.caller = x
	}
}

func (s *rules) end(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caller != x {
		return
	}
	s.caller = nil
	for _, f := range s.later {
		s.tell(f)
	}
	s.later = nil
}

// find tells of a finding, if this is the first of its rule.
func (s *rules) find(f finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caller != nil && s.caller != f.x {
		s.later = append(s.later, f)
		return
	}
	s.tell(f)
}

// tell is find with the lock held. Each field of a header counts by itself: the text names it.
func (s *rules) tell(f finding) {
	what := f.rule
	if what == "late-header" || what == "bad-field" {
		what = f.text
	}
	if s.seen[what] {
		return
	}
	s.seen[what] = true
	if err := f.x.tell(f.x.r, f.rule, f.place, f.text); err != nil {
		f.x.findings = append(f.x.findings, err)
	}
}
