package supervise

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/control"
)

// pair returns both ends of a link, closed when the test ends.
func pair(t *testing.T) (one, other *link) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, into := range []**link{&one, &other} {
		l, err := open(fds[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.close() })
		*into = l
	}
	return one, other
}

// serving lets a link serve until the test ends.
func serving(t *testing.T, l *link, handle func(message)) {
	t.Helper()
	go l.serve(handle)
	t.Cleanup(func() {
		_ = l.close()
		<-l.ended
	})
}

// Many questions at a time get their own answers, however long these are, and a refusal is an error.
func TestLinkAnswers(t *testing.T) {
	one, other := pair(t)
	serving(t, one, func(message) {})
	serving(t, other, func(m message) {
		if m.Kind == kindStop {
			if err := other.answer(m.ID, nil, &control.Refusal{Text: "no"}); err != nil {
				t.Error(err)
			}
			return
		}
		if err := other.answer(m.ID, m.Body, nil); err != nil && !errors.Is(err, net.ErrClosed) { // the last one isn't waited for
			t.Error(err)
		}
	})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			text, got := strings.Repeat(string(rune('a'+i)), 1+i*10_000), ""
			if err := one.ask(t.Context(), kindStatus, text, &got); err != nil || got != text {
				t.Errorf("question %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	if _, ok := errors.AsType[*control.Refusal](one.ask(t.Context(), kindStop, nil, nil)); !ok {
		t.Error("a refusal was none")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errAborted)
	if err := one.ask(ctx, kindStatus, "", nil); err != nil && !errors.Is(err, errAborted) {
		t.Errorf("the error is %v", err)
	}
}

// A socket arrives as one that the same connections come to.
func TestLinkSocket(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, other := pair(t)
	files := make(chan *os.File, 1)
	serving(t, one, func(message) {})
	serving(t, other, func(m message) { files <- m.file })
	if err := one.tell(kindSocket, "here", l); err != nil {
		t.Fatal(err)
	}
	f := <-files
	if f == nil {
		t.Fatal("no descriptor came")
	}
	defer f.Close()
	same, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if same.Addr().String() != l.Addr().String() {
		t.Errorf("it listens on %s; want %s", same.Addr(), l.Addr())
	}
}

// What is no message ends the link, and with it whoever waits for an answer.
func TestLinkGarbage(t *testing.T) {
	for name, garbage := range map[string]string{
		"too long": "\xff\xff\xff\xff{}",
		"no JSON":  "\x00\x00\x00\x03abc",
		"cut off":  "\x00\x00\x00\x09{",
		"half":     "\x00\x00",
		"nothing":  "",
	} {
		t.Run(name, func(t *testing.T) {
			one, other := pair(t)
			serving(t, one, func(message) {})
			answers := make(chan error, 1)
			go func() { answers <- one.ask(context.Background(), kindStatus, nil, nil) }()
			if _, err := other.conn.Write([]byte(garbage)); err != nil {
				t.Fatal(err)
			}
			if err := other.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := <-answers; err == nil {
				t.Error("there was an answer")
			}
			<-one.ended
		})
	}
}
