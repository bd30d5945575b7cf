package cmd

import (
	"context"

	"github.com/stackd/stackd/cmd/serve"
	"github.com/stackd/stackd/stackfile"
)

// probation says how the generation of a plan proves itself.
func (l *loader) probation(plan *stackfile.Plan) *serve.Probation {
	settings, former := plan.Reload(), l.history.current()
	if settings.WatchErrors == 0 {
		return nil
	}
	return &serve.Probation{
		Period: settings.WatchErrors, Threshold: float64(settings.Threshold),
		Failed: func(reason string) *serve.Order {
			now := l.history.current() // another plan's, if that came before this one had proved itself
			if former == nil || former.files.Hash() == now.files.Hash() {
				l.log.Error("nothing is rolled back, since the stack files are what they were before", "reason", reason)
				return nil
			}
			return &serve.Order{Trigger: reason, Load: func(ctx context.Context) (serve.Generation, error) { return l.make(ctx, former) }}
		},
	}
}
