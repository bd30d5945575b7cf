// Package gateway holds what the Common Gateway Interface (RFC 3875) and the protocols that
// came of it have in common: the variables that stand for a request, and the header of a
// response. FastCGI, SCGI and the rest differ only in how they carry these.
//
// For the side that asks a program there are [Variables], which tell it the request,
// [Spool], for bodies whose length it couldn't be told otherwise, [ReadHeader] and
// [Relay], which take its answer, and [ScriptError], which brings along what it
// wrote to its standard error.
//
// For the side that is asked by a front server there are [NewRequest], which makes a request of the
// variables, [Response], which writes the answer, [Run], which has a handler make it, and [Acceptor], which
// accepts and ends connections. [Single] is all of that for protocols with one request on each connection, and
// [Refusal] what a client is told that speaks another one.
package gateway
