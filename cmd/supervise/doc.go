// Package supervise lets several processes serve one stack.
//
// The process that people start is the supervisor: a [serve.Runtime] that opens and holds the sockets, watches the files,
// takes the signals and has the control socket, and serves nothing. Its workers are processes of the same program, each a
// [serve.Runtime] too, which has its sockets from the supervisor and no will of its own. What a worker is to load is nothing
// to this package but bytes.
//
// # Sockets
//
// There is one socket for each address, and all workers accept from it: whoever is idle takes the next connection.
// Connections that nobody has accepted yet are in that socket, so they outlive a worker. For port 0 there is one port. No
// sockets of their own under one port (SO_REUSEPORT) for the workers: what had been queued for one that dies would be lost.
//
// # Reload
//
// A reload is one of all workers or of none. The supervisor checks the files, and opens the listeners that are new. It then
// hands every worker the files as it has read them, and the sockets; each builds its stack beside the one that serves, starts
// its servers, and says that it is ready. When all have said so, all swap; if one can't, dies or takes too long, all
// close what was new, and the old generation serves on everywhere. The first worker builds before the others do, so that
// what is wrong is said once. Between the first and the last swap are some milliseconds, in which a request may be
// answered by either generation.
//
// A worker that says nothing for 10 s when a reload begins is killed, and the reload has another in its place:
// one that a debugger has stopped, or that hangs.
//
// A changed number of processes takes effect by such a reload, too. New workers are ready before anybody swaps; those that aren't needed
// any more accept nothing after it, and end when their requests have.
//
// # Death
//
// A worker that dies takes with it the requests that it had, and nothing else. Another one takes its place, and serves what
// the others serve, whatever is on disk by then: 100 ms later, and after twice as long each time that it dies young,
// up to 10 s. One that has lived for 10 s isn't young. A reload that comes meanwhile fills the place at once.
//
// A worker that gets SIGTERM accepts nothing more and ends when its requests have. If it isn't young, another takes
// its place at once, and doesn't wait for that; a reload that is under way goes on with another. Of SIGHUP and SIGINT a worker takes no notice: they come from a terminal, to
// the supervisor as well.
//
// When the supervisor dies, however that comes, each worker finds its link to it closed. It accepts nothing
// more then, and ends when its requests have or the stop deadline has passed. No process stays.
//
// In its first start, the supervisor doesn't wait and try again: if one worker isn't ready, that is the error of its Run, and no
// process is left.
//
// # Stop
//
// A stop is one of all workers, which have the stop deadline for their requests. A second signal cuts what is
// left in all of them. One that is still there 15 s after that is killed. Run of the supervisor returns when no worker is left.
//
// # Link
//
// The two speak over a pair of unix sockets, in messages of JSON: what to make ready, whether it is to serve or to be
// forgotten, the status, the stop; and sockets come along with them. They are of the same program, since the supervisor starts
// the very file that it is running itself, also after an update has put another in its place.
package supervise
