package stackfile

import (
	"fmt"
	"strings"

	"github.com/stackd/stackd/registry"
)

// Checks says what is watched while a stack runs. It is the stack file's check:.
type Checks struct {
	// Lint puts the middleware lint between every two slots, and around the app, also in stacks that are mounted. It tells the
	// log which piece breaks a rule of handlers, and between which two that was seen. It is for development.
	Lint bool `yaml:"lint"`
}

// linterName is the middleware that Checks.Lint puts between slots.
const linterName = "lint"

// checks reads what is under check:, and sees that there is what it wants.
func (l *loader) checks(n *node, plan *Plan) {
	decodeSettings(l, "check", n, &plan.checks, "{lint: true}")
	if !plan.checks.Lint {
		return
	}
	at := n.pair("lint").keyPos
	l.linter = l.registry.Lookup(registry.KindMiddleware, linterName)
	if l.linter == nil {
		l.problems.add(at, []string{"check"}, "lint is on, and no middleware %q is compiled into this program", linterName)
		return
	}
	l.linterAt = at
}

// joint is between two slots that follow one another, named as seen from the outermost stack.
type joint struct{ outer, inner string }

// joints calls f for each place between two slots of a route; the first one is after whatever is around the stack.
func (r *route) joints(around string, f func(i int, j joint)) {
	outer := around
	for i, e := range r.effects {
		if e.instance != nil {
			f(i, joint{outer, e.instance.full()})
			outer = e.instance.full()
		}
	}
}

// watch plans the instances of lint for a stack, if it is to be watched.
func (l *loader) watch(plan *Plan) {
	if l.linter == nil {
		return
	}
	plan.around = strings.TrimSuffix(l.within, "/")
	if plan.around == "" {
		plan.around = "server"
	}
	plan.linters = make(map[joint]*planned)
	for _, r := range append([]*route{plan.none}, plan.routes...) {
		if r == nil {
			continue
		}
		r.joints(plan.around, func(_ int, j joint) {
			if plan.linters[j] == nil {
				one := &planned{path: fmt.Sprintf("%s(%s, %s)", linterName, j.outer, j.inner), def: l.linter, cfg: l.linter.Default(), at: l.linterAt}
				plan.linters[j] = one
				plan.watched = append(plan.watched, one)
			}
		})
	}
}

// watchers returns the instances of lint that stand before the slots of a route, by index; nil for none.
func (b *builder) watchers(plan *Plan, r *route) map[int]registry.Wrap {
	if plan.linters == nil {
		return nil
	}
	found := make(map[int]registry.Wrap)
	r.joints(plan.around, func(i int, j joint) {
		found[i] = b.built[plan.linters[j]].built.Product.(registry.Wrap)
	})
	return found
}
