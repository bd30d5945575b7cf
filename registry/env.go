package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
)

// Env is what stackd gives to a component that is being built. Its methods are safe
// for concurrent use.
type Env struct {
	ctx     context.Context
	cancel  context.CancelFunc
	log     *slog.Logger
	restart func(reason string)

	mu      sync.Mutex
	closers []func() error
	deps    []dependency
	closed  bool
}

// dependency is a file or folder with the digest of what was in it.
type dependency struct{ path, content string }

// Context ends when the instance retires, before the first OnClose function is called.
// Goroutines of the instance stop then. It does not end with a request.
func (e *Env) Context() context.Context { return e.ctx }

// Logger returns a logger that names the component and its place in the stack.
func (e *Env) Logger() *slog.Logger { return e.log }

// OnClose registers what frees something that Build opened. The functions run once, in
// reverse order, when no request uses the instance any more, or at once when Build
// fails. Each waits for the goroutines that it owns. Their errors are logged.
func (e *Env) OnClose(free func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		panic("registry: OnClose after the instance was closed")
	}
	e.closers = append(e.closers, free)
}

// Go runs f in a goroutine of the instance's own. The context that f is given is [Env.Context]; f returns soon after
// its end. Until then, nothing is freed that was registered with OnClose before.
func (e *Env) Go(f func(ctx context.Context)) {
	ended := make(chan struct{})
	e.OnClose(func() error {
		<-ended
		return nil
	})
	go func() {
		defer close(ended)
		f(e.ctx)
	}()
}

// Restart asks for the process to be replaced by another one, since nothing else helps: what a component has begun can't
// be ended. Where a supervisor runs several processes, this one drains and is replaced; elsewhere the
// log says, once, that somebody must restart it. Restart returns at once.
func (e *Env) Restart(reason string) { e.restart(reason) }

// DependsOn says that the instance is to be built anew when the content of a file, or
// the list of files in a folder, changes. Call it while building, and before what is
// there is read: what changes after the call is noticed. Path must be absolute, as a
// [Path] setting is.
func (e *Env) DependsOn(path string) {
	content := contentOf(path)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.ContainsFunc(e.deps, func(d dependency) bool { return d.path == path }) {
		e.deps = append(e.deps, dependency{path, content})
	}
}

func (e *Env) close() error {
	e.cancel()
	e.mu.Lock()
	closers := e.closers
	e.closers, e.closed = nil, true
	e.mu.Unlock()
	var errs []error
	for _, free := range slices.Backward(closers) {
		errs = append(errs, protect(free))
	}
	return errors.Join(errs...)
}

// protect turns a panic into an error, so that the other things are closed.
func protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// Instance is a built component.
type Instance struct {
	// Product is what Build returned: a ServeFunc, a Wrap, a http.Handler and so on,
	// by the kind.
	Product any
	env     *Env
}

// Depends returns the files and folders that the instance was built from.
func (i *Instance) Depends() []string {
	var paths []string
	for _, d := range i.dependencies() {
		paths = append(paths, d.path)
	}
	return paths
}

// Changed reports whether something that the instance depends on has another content now
// than when Build named it.
func (i *Instance) Changed() bool {
	return slices.ContainsFunc(i.dependencies(), func(d dependency) bool { return contentOf(d.path) != d.content })
}

func (i *Instance) dependencies() []dependency {
	i.env.mu.Lock()
	defer i.env.mu.Unlock()
	return slices.Clone(i.env.deps)
}

// Close frees all that Build opened, in reverse order. It is called when no request uses
// the instance any more. A second call does nothing.
func (i *Instance) Close() error { return i.env.close() }
