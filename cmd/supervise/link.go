package supervise

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stackd/stackd/cmd/control"
)

// The kinds of messages.
const (
	kindSocket  = "socket"  // with a descriptor: what to accept from at an address
	kindPrepare = "prepare" // make a generation ready; the answer comes when it is
	kindCommit  = "commit"  // let it serve; the answer comes when it does
	kindAbort   = "abort"   // give it up; the answer comes when it is closed
	kindStatus  = "status"
	kindStop    = "stop" // the answer comes when nothing is left
	kindCut     = "cut"  // no answer: a stop takes no more time
	kindLeaving = "leaving"
	kindFailed  = "failed" // no answer: a generation has failed its probation
	kindAnswer  = "answer"
)

// message is what goes over a link: a question, its answer, or something to be told.
type message struct {
	Kind string `json:"kind"`
	// ID is that of a question, and of its answer.
	ID      uint64           `json:"id,omitempty"`
	Body    json.RawMessage  `json:"body,omitempty"`
	Refusal *control.Refusal `json:"refusal,omitempty"`

	file *os.File
}

// maxMessage bounds a message: the files of a stack are at most some of 2 MiB each.
const maxMessage = 256 << 20

// writeTimeout is how long the other end may take to read a message.
const writeTimeout = 10 * time.Second

// link is a connection of the supervisor and a worker: messages, each behind four bytes with its length, with which a
// descriptor may come.
type link struct {
	conn *net.UnixConn

	writing sync.Mutex

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- message
	ended   chan struct{} // closed when nothing more comes
	why     error         // read it after ended
}

func newLink(conn *net.UnixConn) *link {
	return &link{conn: conn, waiting: make(map[uint64]chan<- message), ended: make(chan struct{})}
}

// open makes a link of one end of a socket pair.
func open(fd int) (*link, error) {
	f := os.NewFile(uintptr(fd), "link")
	if f == nil {
		return nil, unix.EBADF
	}
	defer f.Close() // net.FileConn duplicates it
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("it is no unix socket"), c.Close())
	}
	return newLink(conn), nil
}

// serve hands all that comes but answers to the function, until the link ends.
func (l *link) serve(handle func(message)) {
	for {
		m, err := l.read()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the other end is closed")
			}
			l.why = err
			close(l.ended)
			return
		}
		if m.Kind != kindAnswer {
			handle(m)
			continue
		}
		l.mu.Lock()
		answer := l.waiting[m.ID]
		delete(l.waiting, m.ID)
		l.mu.Unlock()
		if answer != nil {
			answer <- m // it has room for the one that comes
		}
	}
}

func (l *link) read() (message, error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := l.conn.ReadMsgUnix(head[:], oob)
	if err != nil {
		return message{}, err
	}
	if n == 0 {
		return message{}, io.EOF
	}
	file, err := descriptorIn(oob[:oobn])
	if err == nil {
		_, err = io.ReadFull(l.conn, head[n:])
	}
	size := binary.BigEndian.Uint32(head[:])
	if err == nil && size > maxMessage {
		err = fmt.Errorf("a message of %d bytes is too long", size)
	}
	m := message{}
	if err == nil {
		body := make([]byte, size)
		if _, err = io.ReadFull(l.conn, body); err == nil {
			err = json.Unmarshal(body, &m)
		}
	}
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return message{}, err
	}
	m.file = file
	return m, nil
}

// descriptorIn returns the file that came with a message, or nil.
func descriptorIn(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, c := range controls {
		fds, err := unix.ParseUnixRights(&c)
		if err != nil || len(fds) == 0 {
			continue // something else that the system tells
		}
		for _, other := range fds[1:] {
			_ = unix.Close(other) // there is room for one only
		}
		unix.CloseOnExec(fds[0])
		return os.NewFile(uintptr(fds[0]), "socket"), nil
	}
	return nil, nil
}

// write sends a message, with the descriptor of a socket if one is given.
func (l *link) write(m message, with syscall.Conn) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if with == nil {
		_, err := l.conn.Write(append(head, body...))
		return err
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { _, _, failed = l.conn.WriteMsgUnix(head, unix.UnixRights(int(fd)), nil) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	_, err = l.conn.Write(body)
	return err
}

// tell sends what needs no answer.
func (l *link) tell(kind string, body any, with syscall.Conn) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return l.write(message{Kind: kind, Body: text}, with)
}

// ask sends a question and takes the answer. A [*control.Refusal] is an answer, too.
func (l *link) ask(ctx context.Context, kind string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	answers := make(chan message, 1)
	l.mu.Lock()
	l.last++
	id := l.last
	l.waiting[id] = answers
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, id)
	}()
	if err := l.write(message{Kind: kind, ID: id, Body: text}, nil); err != nil {
		return err
	}
	select {
	case m := <-answers:
		return m.in(into)
	case <-l.ended:
		select {
		case m := <-answers: // it was the last word
			return m.in(into)
		default:
			return l.why
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// in gives what an answer has in it.
func (m message) in(into any) error {
	switch {
	case m.Refusal != nil:
		return m.Refusal
	case into == nil:
		return nil
	}
	return json.Unmarshal(m.Body, into)
}

// answer answers a question.
func (l *link) answer(id uint64, body any, refusal *control.Refusal) error {
	m := message{Kind: kindAnswer, ID: id, Refusal: refusal}
	if refusal == nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		m.Body = text
	}
	return l.write(m, nil)
}

func (l *link) close() error { return l.conn.Close() }
