package registry

import (
	"context"
	"log/slog"
)

type restartKey struct{}

// WithRestart returns a context for [Definition.Open] by which the instance can ask for the process to be restarted:
// [Env.Restart] then calls ask, from any goroutine and as often as it is called.
func WithRestart(ctx context.Context, ask func(reason string)) context.Context {
	return context.WithValue(ctx, restartKey{}, ask)
}

// restartOf returns what Env.Restart does: whoever has nobody to ask tells the log.
func restartOf(ctx context.Context, log *slog.Logger) func(reason string) {
	if ask, ok := ctx.Value(restartKey{}).(func(reason string)); ok {
		return ask
	}
	return func(reason string) { log.Error("the process must be restarted", "reason", reason) }
}
