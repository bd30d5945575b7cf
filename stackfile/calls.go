package stackfile

import (
	"fmt"

	"github.com/stackd/stackd/registry"
)

// calls checks that nothing in the stack waits when a server can't bear it, save within a middleware that has workers.
func (l *loader) calls(plan *Plan) {
	for _, server := range plan.servers {
		if server.def.Traits(server.cfg).Calls != registry.NonBlocking {
			continue
		}
		outside, put := "", ""
		if workers := l.workers(); len(workers) > 0 {
			outside, put = " outside of "+oneOf(workers), "put "+oneOf(workers)+" before it, "
		}
		waiting(plan, func(p *planned, off *effect) {
			instead := put
			if off != nil {
				instead = fmt.Sprintf("leave %s on, which is off by %s, ", off.slot.name, off.switched.seenFrom(p.at))
			}
			l.problems.report(ruleBlocking, p.at, []string{p.where}, "%s may wait, and the server %s (%s) runs nothing that does%s; %suse another server, or another component here",
				p.path, server.def.Name, server.at.seenFrom(p.at), outside, instead)
		})
	}
}

// waiting calls f for what may wait in a stack, and doesn't stand within a middleware that has workers; with that which
// it would stand within, if that is off. That is a question for each route.
func waiting(plan *Plan, f func(p *planned, off *effect)) {
	seen := make(map[*planned]bool)
	for _, r := range append([]*route{plan.none}, plan.routes...) {
		if r == nil {
			continue
		}
		var off *effect
		for _, e := range r.effects {
			if e.checked != nil && e.def.Traits(e.checked.cfg).Workers {
				if e.instance != nil {
					break
				}
				off = e
			}
			if e.instance == nil || seen[e.instance] {
				continue
			}
			seen[e.instance] = true
			e.instance.walk(func(p *planned) {
				for _, m := range p.mounts {
					waiting(m.plan, f)
				}
				if p.def.Traits(p.cfg).Calls == registry.Blocking {
					f(p, off)
				}
			})
		}
	}
}

// workers names the middlewares that have workers.
func (l *loader) workers() (names []string) {
	for _, d := range l.registry.All() {
		if d.Kind == registry.KindMiddleware && d.Traits(d.Default()).Workers {
			names = append(names, d.Name)
		}
	}
	return names
}
