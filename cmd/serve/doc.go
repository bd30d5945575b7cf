// Package serve runs a stack: it holds the listeners, serves the current generation of the
// stack on them, and puts the next one in its place while requests run.
//
// It knows a handler, the servers that carry requests to it, and a function that closes
// what is behind it; where they come from is the affair of [Options.Load]. It runs where
// there are unix sockets and signals, that is on every Unix.
//
// # Listeners
//
// A listener belongs to the process, and is known by its address. An address that the next
// generation names too keeps its socket: it is never closed between, and no connection is
// refused. Each server is given a listener of its own on the shared socket, by a duplicate
// of the socket's descriptor: the kernel then shares one queue of connections among an old
// server and its successor, and what the one no longer accepts the other does. Closing a
// server's listener never closes the socket. When a reload or an upgrade is reported done, a server that
// was replaced accepts nothing more: whoever connects then comes to its successor.
//
// A unix socket is created closed to everybody and opened to its mode. A reload makes one anew whose file somebody has
// removed, unless the file was another process's or others accept from it. A socket file that
// nobody answers is replaced; one that answers is an error; what is no socket is left alone.
//
// A socket may be handed in by another process ([Options.Inherit]): by a supervisor, or by the stackd that this one
// takes the place of. Then none is opened. The file of such a unix socket is removed only if it was handed over with
// the socket.
//
// Connections are tracked, so that a stop can cut those that are left at its deadline. They
// keep the methods of the concrete type, and with these sendfile.
//
// On [Stdio] there is one connection, the process's standard input and output. When its server has served it and
// returned, the process stops.
//
// # Servers
//
// A server goes on untouched while the next generation names one of the same ID at the same
// address. Any other is started before the swap, accepts from the swap on, and is told to
// end when it is not named any more. A server that ends by itself ends the process: its
// error is returned by Run.
//
// # Generations
//
// A reload loads the next generation beside the current one, opens the listeners that are
// new, starts the servers that are new, swaps, tells the servers that are no longer named to
// end, and drains the old generation in the background. Any error before the swap closes
// only what was new; the old generation serves on, and the log says why.
//
// Each of these stages has a deadline: check and build, which are Load's (see [Stage]), listen, drain and close.
// One that is missed before the swap is such an error, and names the stage. A generation that
// doesn't close in time is named in the log with what it waits for, and stays in the status until it
// has ended; everything else goes on meanwhile.
//
// Each request is served by the generation that was current when it came, from its
// beginning to its end. When the next one takes its place, that one's Fate decides for each
// request under way, a WebSocket or any other, how it goes on:
//
//   - Drain: it has until the drain deadline of its generation, which waits for it.
//   - Move: the next generation would serve it in just the same way, so it becomes a request of that. It isn't
//     drained and nothing waits for it before the next reload, which decides again.
//   - Keep: no generation waits for it any more, and no deadline but that of a stop ends it.
//   - Close: it has no time.
//
// What a request that moves or is kept goes on using is held for it, and given back when it has
// ended. [environ.Generation] tells it what it always did: the generation in which it began.
//
// When its time is over, the context of a request is cancelled with the cause [ErrRetired]; one that doesn't
// end then finds that its connection can't be read or written any more. A generation is closed exactly once, after
// the last request that it has and the last server that it was the last to name. Only when the
// process stops is it closed under a request that ignored all of that, and then Run says so.
// At most eight generations drain at a time: when one more retires, the oldest is cut.
//
// A server that is told to end has until the drain deadline, too. One that has requests of a later generation, or such as are
// kept, goes on until the last of these has ended; what it uses is held for it.
//
// A request that is answered without its handlers, since they hang, has left its generation: nobody waits for what goes on
// running. [Runtime.Status] names it until it ends.
//
// # Several processes
//
// A process may serve together with others: one holds the sockets and accepts nothing ([Server].Held), the others have them
// handed in. [Generation].Agree is where they agree: it is called before the swap, and swaps nothing if it fails. So a reload
// can be one of all or of none.
//
// # Probation
//
// A generation with a [Probation] has its answers counted; one without costs nothing more for it. When it follows
// another one that was counted, it is on probation: as soon as the share of errors among its answers, of
// twenty at least, is greater by more than the threshold than that of the one before in its last Period, the log says so and
// its Failed is asked what to do. That happens once. When another reload comes meanwhile, the next generation is held against
// the same one, and what is gone back to is that. A request counts for the generation that began it. An answer is an error if its status is 500 or above, or if the
// handler panicked; but not if its connection was taken over, or if its client has gone.
//
// # Upgrade
//
// [Runtime.Upgrade] hands the listening sockets to another process, which then accepts from the same queues. When that one
// serves, this one stops, and leaves the files of unix sockets; when it doesn't, this one has never stopped serving. The control
// is handed over, too.
//
// # Control
//
// A generation's Control is a server of another kind, by which people reach the process and not the stack. It goes on
// while the process stops, with the answer to whoever asked for that as its last; its connections
// are none that a stop waits for. Like any server it goes on or moves with a reload.
//
// # Triggers
//
// SIGHUP, a change of a watched file and [Runtime.Reload] reload; one reload runs at a time.
// A change is one of content, of whether the file exists, or of where the symbolic
// links on its path lead to other content; a reload waits until nothing more happened for a
// tenth of a second, but no longer than a second. A file that is gone, or empty for a
// moment, fails the load at worst, and its return is a change again.
//
// Where the system tells nobody of changes, the files are compared every two seconds, or as often as [Generation.Poll]
// says.
//
// What has changed before a call of Reload is what the call is about, and no reason for a reload after it: the next
// change of a file is.
//
// SIGINT, SIGTERM, [Runtime.Stop] and the end of Run's context stop: no connection is accepted any more,
// requests under way have until the stop deadline, and everything is closed in reverse order. One
// more signal while this happens cuts at once. When Run has returned, no goroutine and no
// file of it is left.
package serve
