package serve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// stages are what a reload goes through until the swap: check and build, which are Load's, and listen.
// Each has a time of its own; when it is over, the context ends with a cause that names the stage.
type stages struct {
	context.Context
	end     context.CancelCauseFunc
	log     *slog.Logger
	trigger string

	mu    sync.Mutex
	name  string
	began time.Time
	timer *time.Timer
}

// stagesKey is the key of the stages in a context.
type stagesKey struct{}

// Stage tells that a Load goes on to its next stage, for which it has so long from now on. Ctx is that which Load was
// given, or one made of it. A Load begins in the stage "check".
func Stage(ctx context.Context, name string, limit time.Duration) {
	if s, ok := ctx.Value(stagesKey{}).(*stages); ok {
		s.begin(name, limit)
	}
}

// Trigger returns what people are told of why a Load is called, which was given that context.
func Trigger(ctx context.Context) string {
	if s, ok := ctx.Value(stagesKey{}).(*stages); ok {
		return s.trigger
	}
	return ""
}

// newStages begins a reload. The caller calls close.
func newStages(ctx context.Context, log *slog.Logger, trigger string) *stages {
	s := &stages{log: log, trigger: trigger}
	s.Context, s.end = context.WithCancelCause(ctx)
	return s
}

// Value implements [context.Context].
func (s *stages) Value(key any) any {
	if key == (stagesKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// begin ends the stage before, if there is one, and begins another.
func (s *stages) begin(name string, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish()
	if s.Err() != nil { // a Load that was given up, and goes on
		return
	}
	s.name, s.began = name, time.Now()
	s.timer = time.AfterFunc(limit, func() { s.end(fmt.Errorf("%s took longer than %gs", name, limit.Seconds())) })
}

// ended ends the last stage.
func (s *stages) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish()
}

// finish says in the log how long the stage took. The caller holds mu.
func (s *stages) finish() {
	if s.timer == nil {
		return
	}
	s.timer.Stop()
	s.timer = nil
	s.log.Debug("a stage of the reload has ended",
		slog.String("stage", s.name), slog.String("trigger", s.trigger), slog.Duration("took", time.Since(s.began)))
}

// close frees the context.
func (s *stages) close() {
	s.ended()
	s.end(nil)
}
