package mail

import (
	"context"
	"log/slog"
	"time"
)

// dispatcher decides when a mail is sent.
type dispatcher struct {
	ledger *ledger
	send   func(ctx context.Context, subject, body string) error
	cfg    Config
	log    *slog.Logger
}

const (
	// again is how long it waits after a mail that couldn't be sent.
	again = time.Minute
	// farewell is how long the last mail may take.
	farewell = 5 * time.Second
)

// run sends until ctx ends, and then what wasn't told.
func (d *dispatcher) run(ctx context.Context) {
	digest := time.NewTicker(d.cfg.Digest)
	defer digest.Stop()
	retry := time.NewTimer(again)
	retry.Stop()
	defer retry.Stop()
	down := false // the last mail couldn't be sent
	left := d.cfg.AtOnce
	sent := func(err error, groups []group) {
		if down = err != nil; !down {
			return
		}
		if ctx.Err() == nil { // otherwise it is tried once more
			d.log.LogAttrs(ctx, slog.LevelError, "mail not sent", slog.Int("incidents", count(groups)), slog.Duration("again", again), slog.String("error", err.Error()))
		}
		retry.Reset(again)
	}
	for {
		select {
		case <-d.ledger.fresh:
			if down {
				continue // they go with those that wait
			}
			for _, g := range d.ledger.news(left) {
				left--
				if !down {
					sent(d.tell(ctx, []group{g}), []group{g})
				}
			}
		case <-digest.C:
			left = d.cfg.AtOnce
			if groups := d.ledger.pending(); len(groups) > 0 && !down {
				sent(d.tell(ctx, groups), groups)
			}
			d.ledger.forget(time.Now(), d.cfg.Quiet)
		case <-retry.C:
			down = false
			if groups := d.ledger.pending(); len(groups) > 0 {
				sent(d.tell(ctx, groups), groups)
			}
		case <-ctx.Done():
			d.leave(context.WithoutCancel(ctx))
			return
		}
	}
}

// leave makes a last try.
func (d *dispatcher) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	groups := d.ledger.pending()
	if len(groups) == 0 {
		return
	}
	if err := d.tell(ctx, groups); err != nil {
		d.log.LogAttrs(ctx, slog.LevelError, "incidents not mailed", slog.Int("incidents", count(groups)), slog.String("error", err.Error()))
	}
}

// tell sends one mail about the groups.
func (d *dispatcher) tell(ctx context.Context, groups []group) error {
	err := d.send(ctx, subject(groups), body(groups))
	if err == nil {
		d.ledger.tell(groups)
	}
	return err
}

// count is how many incidents of the groups are untold.
func count(groups []group) int {
	n := 0
	for _, g := range groups {
		n += g.untold()
	}
	return n
}
