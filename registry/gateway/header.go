package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Header is the header that a script answers with.
type Header struct {
	Status int
	// Fields are those to pass on: neither Status nor such as are about the connection are among them.
	Fields http.Header
	// Length is the Content-Length, -1 without one.
	Length int64
}

var (
	errSilent   = errors.New("it ended without writing anything")
	errNoEnd    = errors.New("the output ends within the header; an empty line must end it")
	errNoFields = errors.New("the header has none of Content-Type, Location and Status; it must have at least one")
)

// ReadHeader reads a header of at most limit bytes, with the empty line that ends it (RFC 3875, 6.2). What r
// has then is the body. The limit is a setting named max_header, for the error's sake.
//
// Lines end with LF or CRLF. Without a Status it is 200, and 302 with a Location. X-CGI- extensions are left out. An
// error in the header says in which line; one of r is returned as it is, except that its end is an error
// that says so.
func ReadHeader(r *bufio.Reader, limit int) (Header, error) {
	h := Header{Fields: make(http.Header), Length: -1}
	left := limit
	for number := 1; ; number++ {
		line, err := readLine(r, left)
		left -= len(line)
		switch {
		case errors.Is(err, io.EOF) && number == 1 && len(line) == 0:
			return h, errSilent
		case errors.Is(err, io.EOF):
			return h, errNoEnd
		case errors.Is(err, bufio.ErrTooLong):
			return h, fmt.Errorf("the header is longer than max_header, %d bytes", limit)
		case err != nil:
			return h, err
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		if len(line) == 0 {
			return h, h.finish()
		}
		if err := h.add(string(line)); err != nil {
			return h, fmt.Errorf("line %d of the header is %q; %w", number, shorten(line), err)
		}
	}
}

// readLine returns a line with its end, until r is read again. One that has none within limit bytes is too long.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line = slices.Clone(line)
	}
	for errors.Is(err, bufio.ErrBufferFull) && len(line) <= limit {
		var part []byte
		part, err = r.ReadSlice('\n')
		line = append(line, part...)
	}
	if len(line) > limit {
		return line, bufio.ErrTooLong
	}
	return line, err
}

func (h *Header) add(line string) error {
	name, value, found := strings.Cut(line, ":")
	switch {
	case strings.HasPrefix(line, "HTTP/"):
		return errors.New("it must be a field; scripts that write a whole response are not understood")
	case line[0] == ' ' || line[0] == '\t':
		return errors.New("it must not be folded")
	case !found || !validName(name):
		return errors.New("it must be a field such as Content-Type: text/html")
	}
	name, value = http.CanonicalHeaderKey(name), strings.Trim(value, " \t")
	if !validValue(value) {
		return errors.New("it must have no control characters")
	}
	if strings.HasPrefix(name, "X-Cgi-") {
		return nil
	}
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return nil // the connection is the server's affair
	case "Status":
		if h.Status != 0 {
			return errors.New("it must not come twice")
		}
		return h.setStatus(value)
	case "Content-Type", "Location", "Content-Length":
		if h.Fields[name] != nil {
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
		h.Length = int64(n)
	}
	h.Fields.Add(name, value)
	return nil
}

func (h *Header) setStatus(value string) error {
	digits, _, _ := strings.Cut(value, " ")
	status, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 3 || status < 200 || status > 599 {
		return errors.New("it must be a number from 200 to 599, perhaps with a reason")
	}
	h.Status = int(status)
	return nil
}

// finish checks the header as a whole.
func (h *Header) finish() error {
	location := h.Fields["Location"] != nil
	if h.Status == 0 && !location && h.Fields["Content-Type"] == nil {
		return errNoFields
	}
	if h.Status == 0 {
		h.Status = http.StatusOK
		if location {
			h.Status = http.StatusFound
		}
	}
	if h.Status == http.StatusNoContent {
		h.Fields.Del("Content-Length") // RFC 9110, 8.6
	}
	return nil
}

// Bodyless reports whether a response to the method has no body.
func (h *Header) Bodyless(method string) bool {
	return method == http.MethodHead || h.Status == http.StatusNoContent || h.Status == http.StatusNotModified
}

// shorten returns the beginning of a long line.
func shorten(line []byte) []byte {
	const most = 100
	if len(line) > most {
		return append(line[:most:most], "…"...)
	}
	return line
}

// Apply puts the fields into the header of a response: a field that is there already is replaced, except where both
// can stand.
func (h *Header) Apply(to http.Header) {
	for name, values := range h.Fields {
		if name == "Set-Cookie" || name == "Vary" {
			to[name] = append(to[name], values...)
		} else {
			to[name] = values
		}
	}
	if h.Fields["Content-Type"] == nil {
		to["Content-Type"] = nil // it isn't guessed
	}
}

// validName reports whether name is a token (RFC 9110, 5.6.2).
func validName(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// validValue reports whether value has no control characters but tabs (RFC 9110, 5.5).
func validValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
