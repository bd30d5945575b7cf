package supervise

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/stackd/stackd/cmd/control"
)

// Sum adds to a status what the workers do. One that doesn't say it in time is named all the same.
func (s *Supervisor) Sum(ctx context.Context, into *control.Status) {
	s.mu.Lock()
	var all []control.Worker
	var members []*member
	for _, p := range s.places {
		w := control.Worker{Number: p.number, State: control.WorkerStarts, Restarts: p.restarts}
		if p.member != nil {
			w = told(p.member, control.WorkerServes)
			w.Restarts = p.restarts
		}
		all, members = append(all, w), append(members, p.member)
	}
	for _, m := range s.leaving {
		all, members = append(all, told(m, control.WorkerDrains)), append(members, m)
	}
	s.mu.Unlock()

	statuses := make([]control.Status, len(all))
	var asking sync.WaitGroup
	for i, m := range members {
		if m == nil {
			continue
		}
		asking.Go(func() {
			said, err := m.status(ctx)
			if err == nil {
				statuses[i] = said
				return
			}
			if all[i].State == control.WorkerServes {
				all[i].State = control.WorkerSilent
			}
		})
	}
	asking.Wait()
	for i, said := range statuses {
		add(into, &all[i], said)
	}
	slices.SortStableFunc(into.Requests, func(a, b control.Request) int { return cmp.Compare(b.Age, a.Age) })
	into.Requests = into.Requests[:min(len(into.Requests), control.MaxRequests)]
	into.Workers = all
}

// told is what the supervisor itself knows of a worker.
func told(m *member, state string) control.Worker {
	return control.Worker{Number: m.number, PID: m.cmd.Process.Pid, Started: m.began, State: state}
}

// add adds what one worker said.
func add(into *control.Status, w *control.Worker, said control.Status) {
	for _, g := range said.Generations {
		w.Requests += g.Requests
		i := slices.IndexFunc(into.Generations, func(known control.Generation) bool { return known.Number == g.Number })
		if i < 0 {
			g.Draining = true // the one that serves is known
			into.Generations = append(into.Generations, g)
			continue
		}
		into.Generations[i].Requests += g.Requests
		into.Generations[i].Probation = both(into.Generations[i].Probation, g.Probation)
	}
	for _, l := range said.Listeners {
		w.Connections += l.Connections
		for i := range into.Listeners {
			if into.Listeners[i].Address == l.Address {
				into.Listeners[i].Connections += l.Connections
			}
		}
	}
	w.Requests += said.KeptRequests
	into.KeptRequests += said.KeptRequests
	into.Zombies += said.Zombies
	for _, r := range said.Requests {
		r.Worker = w.Number
		into.Requests = append(into.Requests, r)
	}
}

// both sums what two processes say of a probation. Nil is that of one which has none.
func both(sum, other *control.Probation) *control.Probation {
	if sum == nil || other == nil {
		return cmp.Or(sum, other)
	}
	all := *sum
	all.Answers += other.Answers
	all.Errors += other.Errors
	all.AnswersBefore += other.AnswersBefore
	all.ErrorsBefore += other.ErrorsBefore
	return &all
}
