package stackfile

import (
	"fmt"
	"runtime"
	"strconv"

	"github.com/stackd/stackd/registry"
)

// maxProcesses is how many processes a stack file may ask for.
const maxProcesses = 1024

// Processes says how many processes run a stack. It is the stack file's processes:. The zero value is one.
type Processes struct {
	// Auto says that there is one for each processor.
	Auto bool
	// N is how many there are otherwise; 0 is one.
	N int
	// at is where it is said; nil for nowhere.
	at *pos
}

// String returns it as a stack file says it.
func (p Processes) String() string {
	if p.Auto {
		return "auto"
	}
	return strconv.Itoa(max(p.N, 1))
}

// Count returns how many processes that are on this machine.
func (p Processes) Count() int {
	if p.Auto {
		return min(runtime.GOMAXPROCS(0), maxProcesses)
	}
	return max(p.N, 1)
}

// several reports whether it may be more than one, on some machine.
func (p Processes) several() bool { return p.Auto || p.N > 1 }

// asked says who wants so many, to somebody who reads about it at a place.
func (p Processes) asked(at pos) string {
	switch {
	case p.at == nil:
		return fmt.Sprintf("%d are asked for", p.N)
	case p.Auto:
		return p.at.seenFrom(at) + " asks for one for each processor"
	}
	return fmt.Sprintf("%s asks for %d", p.at.seenFrom(at), p.N)
}

// Processes returns how many processes are to run the stack.
func (p *Plan) Processes() Processes { return p.processes }

// Single returns the problem that the plan asks for several processes where only one can be had, for a reason.
func (p *Plan) Single(reason string) error {
	ps := &problems{texts: p.layers.problems.texts, secrets: p.layers.problems.secrets}
	at := p.processes.at
	if at == nil || !p.processes.several() {
		return nil
	}
	ps.add(*at, nil, "processes is %s, but %s", p.processes, reason)
	return ps.err()
}

// processes reads the key of that name. What the options ask for comes before it.
func (l *loader) processes(n *node) (p Processes) {
	if n != nil && !n.isNull() && n.form != broken {
		p = l.counted(n)
	}
	if l.options.Processes > 0 {
		return Processes{N: l.options.Processes}
	}
	return p
}

func (l *loader) counted(n *node) Processes {
	const must = "it must be a number from 1 to 1024, or auto for one for each processor"
	if n.form != scalar {
		l.problems.add(n.pos, nil, "processes is %s; %s", n.is(), must)
		return Processes{}
	}
	if n.text == "auto" {
		return Processes{Auto: true, at: &n.pos}
	}
	count, err := strconv.Atoi(n.text)
	if err != nil {
		l.problems.add(n.pos, nil, "processes is %q; %s", n.text, must)
		return Processes{}
	}
	if count < 1 || count > maxProcesses {
		l.problems.add(n.pos, nil, "processes is %d; %s", count, must)
		return Processes{}
	}
	return Processes{N: count, at: &n.pos}
}

// shared checks that nothing keeps its state in one process when several shall run, and no server serves just one.
func (l *loader) shared(plan *Plan) {
	if !plan.processes.several() {
		return
	}
	for _, s := range plan.servers {
		if s.def.Settings.Field(listenSetting) == nil && plan.processes.at != nil {
			l.problems.report(ruleSingleProcess, s.at, nil, "the server %s answers the one request that its process was started for, but %s; take processes: out, or use another server",
				s.def.Name, plan.processes.asked(s.at))
		}
	}
	plan.instances(func(p *planned) {
		if p.def.Traits(p.cfg).Processes != registry.SingleProcess {
			return
		}
		var others []string
		for _, d := range l.registry.All() {
			if d.Kind == p.def.Kind && d.Kind != registry.KindMiddleware && d.Kind != registry.KindApp && d.Traits(d.Default()).Processes == registry.ProcessSafe {
				others = append(others, d.Name)
			}
		}
		hint := "take it out, or do with one process"
		if len(others) > 0 {
			hint = "use " + oneOf(others)
		}
		l.problems.report(ruleSingleProcess, p.at, []string{p.where, p.path}, "%s %q keeps its state in one process, but %s; %s",
			p.def.Kind, p.def.Name, plan.processes.asked(p.at), hint)
	})
}
