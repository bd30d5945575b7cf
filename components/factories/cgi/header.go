package cgi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// answer is the header that a script writes.
type answer struct {
	status int
	fields http.Header
	length int64 // the Content-Length, -1 without one
}

var (
	errSilent   = errors.New("it ended without writing anything")
	errNoEnd    = errors.New("the output ends within the header; an empty line must end it")
	errNoFields = errors.New("the header has none of Content-Type, Location and Status; it must have at least one")
)

// readAnswer reads a header of at most limit bytes, with the empty line that ends it. What r has
// then is the body.
func readAnswer(r *bufio.Reader, limit int) (answer, error) {
	a := answer{fields: make(http.Header), length: -1}
	left := limit
	for number := 1; ; number++ {
		line, err := readLine(r, left)
		left -= len(line)
		switch {
		case errors.Is(err, io.EOF) && number == 1 && len(line) == 0:
			return a, errSilent
		case errors.Is(err, io.EOF):
			return a, errNoEnd
		case errors.Is(err, bufio.ErrTooLong):
			return a, fmt.Errorf("the header is longer than max_header, %d bytes", limit)
		case err != nil:
			return a, err
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if len(line) == 0 {
			return a, a.finish()
		}
		if err := a.add(string(line)); err != nil {
			return a, fmt.Errorf("line %d of the header is %q; %w", number, shorten(line), err)
		}
	}
}

// readLine returns a line with its end. One that has none within limit bytes is too long.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return line, bufio.ErrTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (a *answer) add(line string) error {
	name, value, found := strings.Cut(line, ":")
	switch {
	case strings.HasPrefix(line, "HTTP/"):
		return errors.New("it must be a field; scripts that write a whole response are not understood")
	case line[0] == ' ' || line[0] == '\t':
		return errors.New("it must not be folded")
	case !found || !httpguts.ValidHeaderFieldName(name):
		return errors.New("it must be a field such as Content-Type: text/html")
	}
	name, value = http.CanonicalHeaderKey(name), strings.Trim(value, " \t")
	if !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("it must have no control characters")
	}
	if strings.HasPrefix(name, "X-Cgi-") {
		return nil
	}
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return nil // the connection is the server's affair
	case "Status":
		if a.status != 0 {
			return errors.New("it must not come twice")
		}
		return a.setStatus(value)
	case "Content-Type", "Location", "Content-Length":
		if a.fields[name] != nil {
			return errors.New("it must not come twice")
		}
		if value == "" {
			return errors.New("it must have a value")
		}
	}
	if name == "Content-Length" {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return errors.New("it must be a number of bytes")
		}
		a.length = int64(n)
	}
	a.fields.Add(name, value)
	return nil
}

func (a *answer) setStatus(value string) error {
	digits, _, _ := strings.Cut(value, " ")
	status, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 3 || status < 200 || status > 599 {
		return errors.New("it must be a number from 200 to 599, perhaps with a reason")
	}
	a.status = int(status)
	return nil
}

// finish checks the header as a whole.
func (a *answer) finish() error {
	location := a.fields["Location"] != nil
	if a.status == 0 && !location && a.fields["Content-Type"] == nil {
		return errNoFields
	}
	if a.status == 0 {
		a.status = http.StatusOK
		if location {
			a.status = http.StatusFound
		}
	}
	if a.status == http.StatusNoContent {
		a.fields.Del("Content-Length") // RFC 9110, 8.6
	}
	return nil
}

// bodyless reports whether a response to the method has no body.
func (a *answer) bodyless(method string) bool {
	return method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified
}

// shorten returns the beginning of a long line.
func shorten(line []byte) []byte {
	const most = 100
	if len(line) > most {
		return append(line[:most:most], "…"...)
	}
	return line
}
