package mail

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// ledger counts incidents by group until they are told. It is the reporter.
type ledger struct {
	fresh chan struct{} // has one entry when there is a new group

	mu     sync.Mutex
	groups map[string]*group
	made   int // how many groups there have been
}

// group are the incidents of one fingerprint.
type group struct {
	key         string
	number      int // in the order in which they came up
	told        int // how many incidents of it were told
	total       int
	first, last time.Time
	latest      *failure.Incident
	tried       bool // a mail at once was tried, or is out of the question
}

// untold is how many incidents of the group nobody was told.
func (g *group) untold() int { return g.total - g.told }

// maxGroups is how many groups are kept apart. The last one takes all the others.
const maxGroups = 200

func newLedger() *ledger {
	return &ledger{fresh: make(chan struct{}, 1), groups: make(map[string]*group)}
}

// Report counts an incident. It never waits, and never fails.
func (l *ledger) Report(_ context.Context, i *failure.Incident) error {
	key := fingerprint(i)
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[key]
	if g == nil && len(l.groups) >= maxGroups-1 {
		key = ""
		g = l.groups[key]
	}
	now := time.Now()
	if g == nil {
		g = &group{key: key, number: l.made, first: now}
		l.made++
		l.groups[key] = g
		select {
		case l.fresh <- struct{}{}:
		default: // somebody is awake already
		}
	}
	g.total++
	g.last, g.latest = now, i
	return nil
}

// news returns copies of at most n groups that came up and weren't tried, the oldest first, and
// counts them as tried.
func (l *ledger) news(n int) []group {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []group
	for _, g := range l.ordered() {
		if len(found) < n && !g.tried {
			g.tried = true
			found = append(found, *g)
		}
	}
	return found
}

// pending returns copies of the groups with something untold, and counts them as tried.
func (l *ledger) pending() []group {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []group
	for _, g := range l.ordered() {
		if g.untold() > 0 {
			g.tried = true
			found = append(found, *g)
		}
	}
	return found
}

func (l *ledger) ordered() []*group {
	all := make([]*group, 0, len(l.groups))
	for _, g := range l.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return cmp.Compare(a.number, b.number) })
	return all
}

// tell notes that what is in the copies was told.
func (l *ledger) tell(told []group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range told {
		if g := l.groups[t.key]; g != nil && g.number == t.number {
			g.told = t.total
		}
	}
}

// forget drops groups of which nothing came for quiet, and nothing is untold.
func (l *ledger) forget(now time.Time, quiet time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, g := range l.groups {
		if g.untold() == 0 && now.Sub(g.last) >= quiet {
			delete(l.groups, key)
		}
	}
}

// varying are the parts of an error's text that differ from one incident to the next: numbers, and
// long words of hexadecimal digits.
var varying = regexp.MustCompile(`0x[0-9a-fA-F]+|\b[0-9a-fA-F-]{16,}\b|\d+`)

// fingerprint is equal for incidents that have the same cause, as far as one can tell.
func fingerprint(i *failure.Incident) string {
	text := fmt.Sprintf("%v", i.Failure.Err)
	text = varying.ReplaceAllString(text[:min(len(text), 4<<10)], "#")
	text = text[:min(len(text), 500)]
	place := ""
	for _, f := range i.Failure.Stack {
		// Where a panic begins is the same for all of a sort.
		if !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "panic") {
			place = fmt.Sprintf("%s %s:%d", f.Function, f.File, f.Line)
			break
		}
	}
	return fmt.Sprintf("%T\n%s\n%s", i.Failure.Err, place, text)
}
