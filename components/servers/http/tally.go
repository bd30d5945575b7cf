package http

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// tally counts the HTTP/1 connections that have a request, or may be about to bring their first one.
//
// [http.Server.Shutdown] closes a connection whose request it was still reading, so the server isn't
// shut down before there is none. Over HTTP/2 it tells the client which requests it takes,
// and the sooner that happens the better.
type tally struct {
	busy atomic.Int64
	none chan struct{} // gets a value when the last one has ended
}

func newTally() *tally { return &tally{none: make(chan struct{}, 1)} }

// follow is the server's ConnState.
func (t *tally) follow(nc net.Conn, state http.ConnState) {
	c, ok := connOf(nc)
	if !ok {
		return
	}
	t.count(c, (state == http.StateNew || state == http.StateActive) && !c.http2.Load())
	c.alone.Store(state == http.StateActive && !c.http2.Load())
	if state == http.StateHijacked { // it is given to the app without a deadline
		c.hijacked.Store(true)
		_ = c.Conn.SetDeadline(time.Time{}) // fails for a closed connection, as the app will see
	}
}

func (t *tally) count(c *conn, busy bool) {
	switch {
	case c.busy.Swap(busy) == busy:
	case busy:
		t.busy.Add(1)
	case t.busy.Add(-1) == 0:
		select {
		case t.none <- struct{}{}:
		default: // nobody has taken the last one
		}
	}
}

// wait returns when no connection counts.
func (t *tally) wait() {
	for t.busy.Load() > 0 {
		<-t.none
	}
}
