package cgi

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// drain is how long the pipes of a script that has ended are read when somebody else holds
// them open: a process that left its group.
const drain = time.Second

// errTimeout says that a script did nothing for too long.
var errTimeout = errors.New("it did nothing for longer than timeout")

// output is the standard output of a script. A read from it waits for as long as the
// script may do nothing.
type output struct {
	file    *os.File
	timeout time.Duration

	mu    sync.Mutex
	busy  bool // it is the client's turn to send
	ended bool // the script has ended
	cut   bool // nobody wants to read any more
}

// Read returns errTimeout when the script is too slow, and [os.ErrDeadlineExceeded] after
// stop.
func (o *output) Read(p []byte) (int, error) {
	o.change(func() {})
	n, err := o.file.Read(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.cut:
		return n, err
	case o.ended:
		return n, io.EOF
	}
	return n, errTimeout
}

// change changes the state and gives the script its time anew.
func (o *output) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	var deadline time.Time
	switch {
	case o.cut:
		deadline = time.Unix(1, 0)
	case o.ended:
		deadline = time.Now().Add(drain)
	case !o.busy:
		deadline = time.Now().Add(o.timeout)
	}
	// A pipe has deadlines; a closed one needs none.
	_ = o.file.SetReadDeadline(deadline)
}

// waitForClient says that the script has nothing to do before the client has sent more.
func (o *output) waitForClient(wait bool) { o.change(func() { o.busy = wait }) }

// end says that the script has ended: what is in the pipe is still read.
func (o *output) end() { o.change(func() { o.ended = true }) }

// stop lets reads return at once.
func (o *output) stop() { o.change(func() { o.cut = true }) }
