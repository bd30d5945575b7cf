package stackfile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stackd/stackd/registry/expect"
)

// EnvironmentTimeout is how long [Check] looks at the machine.
const EnvironmentTimeout = 10 * time.Second

// looksAtOnce is how many things of the machine are looked at at the same time.
const looksAtOnce = 16

// look looks at what the stack relies on, and those that are mounted in it.
func look(ctx context.Context, linters []*linter) {
	var looks []*observed
	add := func(p *planned, all ...expect.Expectation) {
		for _, e := range all {
			looks = append(looks, &observed{planned: p, expectation: e})
		}
	}
	seen := make(map[string]bool)
	each := func(p *planned) {
		if key := p.identity(); !seen[key] {
			seen[key] = true
			add(p, p.def.Expects(p.cfg)...)
		}
	}
	for _, s := range linters[0].plan.servers {
		addresses, _ := s.listen()
		for i, a := range addresses {
			setting := "listen"
			if len(addresses) > 1 {
				setting = fmt.Sprintf("listen[%d]", i)
			}
			if network, address := a.Network(); address != "" {
				add(s, expect.Listens(setting, network, address))
			}
		}
		s.walk(each)
	}
	for _, c := range linters {
		c.eachEffect(func(f *effect) {
			if f.instance != nil {
				f.instance.walk(each)
			}
		})
	}

	ctx, cancel := context.WithTimeout(ctx, EnvironmentTimeout)
	defer cancel()
	var wg sync.WaitGroup
	room := make(chan struct{}, looksAtOnce)
	for _, l := range looks {
		room <- struct{}{}
		wg.Go(func() {
			l.wrong = l.expectation.Look(ctx)
			<-room
		})
	}
	wg.Wait()
	for _, l := range looks {
		if l.wrong == nil {
			continue
		}
		rule := ruleEnvironment
		if l.expectation.Private {
			rule = ruleReadable
		}
		at, where := l.planned.place(l.expectation.Setting)
		linters[0].found.report(rule, at, []string{where, l.planned.full(), l.expectation.Setting}, "%s", l.wrong)
	}
}

// observed is one thing that was looked at.
type observed struct {
	planned     *planned
	expectation expect.Expectation
	wrong       error
}
