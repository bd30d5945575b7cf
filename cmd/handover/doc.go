// Package handover passes listening sockets from one process to the next, so that there is no moment at which nobody
// listens.
//
// [Sockets] are those that this process was given, and finds the one that a server is to have: by the address for which
// the process before had it, or, for those of a service manager, by where it is bound and by its name.
//
// # Upgrade
//
// A process that is to be replaced starts its [Successor] and hands it the sockets. The successor, which has a
// [Predecessor], opens what it needs besides, serves, and says so; until then whatever goes wrong with it, its crash, its
// silence, ends it with all that it has started, and the predecessor goes on. When it is ready the predecessor has it take
// over: from then on it owns the files of unix sockets.
//
// Until then the successor has its standard error from the predecessor, which passes it on and remembers its end, so that
// it can tell why the successor failed. Then it gets the predecessor's own.
//
// If the predecessor dies before the successor has taken over, the successor does so at once.
//
// Both speak over a socket, which the successor finds by the environment variable STACKD_UPGRADE, in lines of JSON: the
// predecessor's [Greeting] is followed by an [Event] of the successor, that it is ready; one of the predecessor, that it shall take over;
// one of the successor, that it has. Then the predecessor closes the socket. Later versions may add members, so that
// an old and a new program understand each other.
package handover
