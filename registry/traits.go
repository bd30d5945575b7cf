package registry

import "github.com/stackd/stackd/registry/environ"

// Traits are what a component promises. They are checked when a stack is loaded, with
// the position in the file.
//
// A trait that depends on the settings is stated for the defaults in the declaration,
// and told by a method on the settings:
//
//	func (c Config) Traits(t registry.Traits) registry.Traits
//
// It is given the declared traits and returns those of the settings c. It must be pure.
type Traits struct {
	// Processes says whether several processes may run it on the same settings.
	Processes Processes
	// Calls says whether it may wait. For a server it says which chains it can run: a
	// NonBlocking server runs them on its event loop, so nothing in them may wait that doesn't stand
	// within a middleware with Workers.
	Calls Calls
	// Workers says of a middleware that it has goroutines of its own for what stands further in, which may wait there
	// whatever the server: a NonBlocking one leaves a request to it before it is asked.
	Workers bool
	// Provides are the environ keys that it sets for what stands further in.
	Provides []environ.Name
	// Needs are the environ keys that something further out must provide. The stack itself provides
	// [environ.Reached], and does so only when asked.
	Needs []environ.Name
	// Uses are environ keys that it can do without and makes use of when something in the stack provides
	// them. It must stand further in than what does so: a check warns of it when it doesn't.
	Uses []environ.Name
	// Guards says that it lets only some clients in. A check warns of what it seems to cover and
	// doesn't, such as /admin beside /admin/.
	Guards bool
	// Rewrites says that it may hand a request on with another URL than it came with, so that nobody outside can
	// tell what the request meets in a [Stack] that is mounted further in.
	Rewrites bool
	// TLS says of a server that it speaks with its clients over TLS only, and of a middleware that it lets nobody in
	// who came without.
	TLS bool
}

// Processes says whether several processes may run a component on the same settings.
type Processes int

const (
	// ProcessSafe components keep nothing in the process that another one would miss.
	ProcessSafe Processes = iota + 1
	// SingleProcess components keep state in the process, such as sessions in memory.
	SingleProcess
)

func (p Processes) String() string {
	switch p {
	case ProcessSafe:
		return "process-safe"
	case SingleProcess:
		return "single-process"
	}
	return "unstated"
}

// Calls says whether a component may wait.
type Calls int

const (
	// NonBlocking components never wait for a disk, a network, a lock held for long or
	// another process.
	NonBlocking Calls = iota + 1
	// Blocking components may wait; they stop when the request's context ends.
	Blocking
)

func (c Calls) String() string {
	switch c {
	case NonBlocking:
		return "non-blocking"
	case Blocking:
		return "blocking"
	}
	return "unstated"
}
