package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tunnel switches to the protocol that the upstream has agreed to, and hands on what comes from either side until one
// breaks off or both have ended, the request's context ends, or the instance retires.
func (p *proxy) tunnel(w http.ResponseWriter, x *exchange) error {
	defer x.finish(false)
	got := x.answer.Header.Get("Upgrade")
	if !slices.ContainsFunc(x.upgrades, func(protocol string) bool { return strings.EqualFold(protocol, got) }) {
		return fmt.Errorf("upstream %s: it switches to the protocol %q; it was asked for %q", x.name, got, x.upgrades)
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("the client's connection can't switch to the protocol %q: %w", got, err)
	}
	defer conn.Close() // nobody needs it any more
	x.observe()
	retires := context.AfterFunc(p.ctx, x.cut)
	defer retires()
	x.phase = inStream
	_ = x.SetDeadline(time.Time{}) // fails for a closed connection, as what follows will

	h := w.Header()
	add(h, x.answer.Header)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", got)
	x.answer.Header, x.answer.Body = h, nil // what Write writes is the header
	if errors.Join(x.answer.Write(rw), rw.Flush()) != nil {
		return nil // nobody is left to tell
	}
	var running sync.WaitGroup
	ended := make(chan bool, 2)
	running.Go(func() {
		// What the client said before the switch was read with its request. The rest isn't taken from there, as
		// net/http ends the request's context with the client's side.
		early, _ := rw.Peek(rw.Reader.Buffered()) // it is there
		_, err := x.Conn.Write(early)             // without the deadlines of a body
		if err == nil {
			_, err = io.Copy(x.Conn, conn)
		}
		ended <- err == nil && x.CloseWrite() == nil
	})
	running.Go(func() {
		_, err := io.Copy(conn, x.br)
		half, ok := conn.(interface{ CloseWrite() error })
		ended <- err == nil && ok && half.CloseWrite() == nil
	})
	if <-ended {
		<-ended
	}
	x.finish(false)
	_ = conn.Close() // as above
	running.Wait()
	return nil
}
