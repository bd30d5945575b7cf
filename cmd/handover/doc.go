// Package handover passes listening sockets from one process to the next, so that there is no moment at which nobody listens.
//
// [Sockets] are those that this process was given, and finds the one that a server is to have: by the address for which
// the process before had it, or, for those of a service manager, by where it is bound and by its name.
package handover
