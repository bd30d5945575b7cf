package registrytest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stackd/stackd/registry"
)

// kit is what one check of one rule works with.
type kit struct {
	*subject
	t        *testing.T
	patience time.Duration
	cfg      any // the settings of this check
	log      *slog.Logger
	built    []*registry.Instance
	over     chan struct{}  // closed when the check is over
	firsts   []func()       // for before the instances are closed
	lasts    []func() error // for when they are

	hangs  atomic.Bool // something didn't return in time
	mu     sync.Mutex
	faults []fault
}

// try checks one rule, and then that nothing of the component is left.
func (s *subject) try(t *testing.T, r *rule, patience time.Duration) []fault {
	t.Helper()
	k := &kit{
		subject: s, t: t, patience: patience, cfg: s.settings(t), over: make(chan struct{}),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	before := k.format()
	files, err := openFiles()
	if err != nil {
		t.Fatal(err)
	}
	marked(func(mark string) {
		k.fault(r, protect(func() error { return r.check(k) }))
		close(k.over)
		for _, f := range slices.Backward(k.firsts) {
			f()
		}
		for _, i := range slices.Backward(k.built) {
			k.close(i)
		}
		for _, f := range k.lasts {
			k.fault(r, f())
		}
		if !k.hangs.Load() { // what hangs keeps its goroutine, which was said already
			k.fault(&goroutinesGone, noGoroutines(mark, k.patience))
		}
	})
	if !k.hangs.Load() {
		k.fault(&filesClosed, noFiles(files, k.patience))
	}
	if after := k.format(); after != before {
		k.fault(&settingsKept, fmt.Errorf("settings that were %s\n\tare now %s", before, after))
	}
	return k.faults
}

func (k *kit) fault(r *rule, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.faults = append(k.faults, fault{r, err})
	}
}

// first has f called before the instances are closed.
func (k *kit) first(f func()) { k.firsts = append(k.firsts, f) }

// last has f called when the instances are closed.
func (k *kit) last(f func() error) { k.lasts = append(k.lasts, f) }

// close closes an instance; how long that takes is bounded.
func (k *kit) close(i *registry.Instance) {
	err := k.within("the OnClose functions", func(context.Context) error { return i.Close() })
	k.fault(&closes, err)
}

// format writes the settings as text, to compare them.
func (k *kit) format() string {
	return k.Settings.Format(reflect.ValueOf(k.cfg).Elem())
}

// instance builds the component; it is closed when the check is over.
func (k *kit) instance() (*registry.Instance, error) {
	var i *registry.Instance
	err := k.within("Build", func(context.Context) (err error) {
		i, err = k.Open(context.Background(), k.cfg, k.log)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("in Build: %w", err)
	}
	k.built = append(k.built, i)
	return i, nil
}

// product builds the component and returns what Build returned.
func product[T any](k *kit) (T, error) {
	var zero T
	i, err := k.instance()
	if err != nil {
		return zero, err
	}
	return i.Product.(T), nil
}

// within runs f, which must return when the context that it is given ends, with the kit's
// patience.
func (k *kit) within(what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), k.patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- protect(func() error { return f(ctx) }) }()
	timer := time.NewTimer(k.patience + grace)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		k.hangs.Store(true)
		return &lateError{what, k.patience}
	}
}

// grace is how much longer something may take that ends with its context.
const grace = time.Second

// lateError says that something takes longer than the kit waits.
type lateError struct {
	what     string
	patience time.Duration
}

func (e *lateError) Error() string {
	return fmt.Sprintf("%s didn't return within %v", e.what, e.patience)
}

// together runs f many times at once, and returns the first few errors.
func (k *kit) together(what string, f func(ctx context.Context, i int) error) error {
	return k.within(what, func(ctx context.Context) error {
		errs := make(chan error)
		for i := range concurrency {
			go func() { errs <- protect(func() error { return f(ctx, i) }) }()
		}
		var found []error
		for range concurrency {
			if err := <-errs; err != nil && len(found) < 3 {
				found = append(found, err)
			}
		}
		return errors.Join(found...)
	})
}

// protect turns a panic into an error, so that one broken rule doesn't hide the others.
func protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return f()
}

// panicError is a panic of a component, or in the kit.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// concurrency is how many requests are made at once.
const concurrency = 100
