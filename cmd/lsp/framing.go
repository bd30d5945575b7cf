package lsp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxMessage is how long a message may be, in bytes. A stack file has 2 MiB at most, and no more than six times that in JSON.
const maxMessage = 16 << 20

// framing has the messages of the protocol, each after a header that says how long it is. Unlike the framing of jrpc2 it
// reads none that is too long.
type framing struct {
	in  *bufio.Reader
	out io.Writer
}

// Recv implements jrpc2's Channel. What it returns is good until the next call.
func (c *framing) Recv() ([]byte, error) {
	size := -1
	for {
		line, err := c.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, errors.New("a line of a message's header is too long")
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, fmt.Errorf("a message's header has the line %q; it must be like Content-Length: 10", text)
		}
		if strings.EqualFold(name, "Content-Length") {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || size < 0 || size > maxMessage {
				return nil, fmt.Errorf("a message's length is %q; it must be a number of bytes, %d at most", value, maxMessage)
			}
		}
	}
	if size < 0 {
		return nil, errors.New("a message's header has no Content-Length")
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(c.in, message); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return message, nil
}

// Send implements jrpc2's Channel.
func (c *framing) Send(message []byte) error {
	_, err := c.out.Write(append(fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", len(message)), message...))
	return err
}

// Close implements jrpc2's Channel. The streams are closed by whoever opened them.
func (c *framing) Close() error { return nil }
