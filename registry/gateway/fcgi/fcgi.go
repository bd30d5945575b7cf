// Package fcgi is the wire format of FastCGI 1.0: records, and the name-value pairs
// that stand in some of them. Both sides of the protocol use it.
package fcgi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type is what a record is for.
type Type uint8

// The types of records.
const (
	BeginRequest Type = iota + 1
	AbortRequest
	EndRequest
	Params
	Stdin
	Stdout
	Stderr
	Data
	GetValues
	GetValuesResult
	UnknownType
)

func (t Type) String() string {
	names := [...]string{
		"", "BEGIN_REQUEST", "ABORT_REQUEST", "END_REQUEST", "PARAMS", "STDIN", "STDOUT", "STDERR", "DATA",
		"GET_VALUES", "GET_VALUES_RESULT", "UNKNOWN_TYPE",
	}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return names[t]
}

// Values in the content of records.
const (
	// Responder is the role of an application that answers requests (6.2).
	Responder = 1
	// KeepConn is the flag in BEGIN_REQUEST that leaves the connection open after the request.
	KeepConn = 1

	// RequestComplete and the others are the protocol status in END_REQUEST.
	RequestComplete = 0
	CantMultiplex   = 1
	Overloaded      = 2
	UnknownRole     = 3
)

// MaxContent is the longest content of a record that this package's users write. It makes a record, with its header,
// a multiple of eight bytes long.
const MaxContent = 65528

// version is the only one there is.
const version = 1

// HeaderSize is how long a record's header is.
const HeaderSize = 8

// Header begins a record: Length bytes of content follow it, and then Padding bytes that mean nothing.
type Header struct {
	Type    Type
	ID      uint16
	Length  int
	Padding int
}

// ErrVersion says that what came isn't a record.
var ErrVersion = errors.New("it isn't FastCGI 1")

// ReadHeader reads a record's header. The error is [io.EOF] only when there was nothing to read.
func ReadHeader(r *bufio.Reader) (Header, error) {
	b, err := r.Peek(HeaderSize)
	switch {
	case len(b) > 0 && b[0] != version:
		return Header{}, fmt.Errorf("%w: it begins with %q", ErrVersion, b)
	case errors.Is(err, io.EOF) && len(b) > 0:
		return Header{}, io.ErrUnexpectedEOF
	case err != nil:
		return Header{}, err
	}
	h := Header{
		Type:    Type(b[1]),
		ID:      binary.BigEndian.Uint16(b[2:]),
		Length:  int(binary.BigEndian.Uint16(b[4:])),
		Padding: int(b[6]),
	}
	_, err = r.Discard(HeaderSize)
	return h, err
}

// AppendHeader appends the header of a record with so much content and no padding.
func AppendHeader(b []byte, t Type, id uint16, length int) []byte {
	b = append(b, version, byte(t))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	return append(b, 0, 0)
}

// AppendRecord appends a record with that content, which has at most 65535 bytes.
func AppendRecord(b []byte, t Type, id uint16, content ...byte) []byte {
	return append(AppendHeader(b, t, id, len(content)), content...)
}

// AppendBegin appends the record that begins a request of the responder role.
func AppendBegin(b []byte, id uint16, flags byte) []byte {
	return AppendRecord(b, BeginRequest, id, 0, Responder, flags, 0, 0, 0, 0, 0)
}

// AppendEnd appends the record that ends a request.
func AppendEnd(b []byte, id uint16, status uint32, protocolStatus byte) []byte {
	b = AppendHeader(b, EndRequest, id, 8)
	b = binary.BigEndian.AppendUint32(b, status)
	return append(b, protocolStatus, 0, 0, 0)
}

// AppendStream appends data as records of a stream.
func AppendStream(b []byte, t Type, id uint16, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), MaxContent)
		b = append(AppendHeader(b, t, id, n), data[:n]...)
		data = data[n:]
	}
	return b
}

// AppendPair appends a name-value pair (3.4).
func AppendPair(b []byte, name, value string) []byte {
	b = appendLength(appendLength(b, len(name)), len(value))
	return append(append(b, name...), value...)
}

func appendLength(b []byte, n int) []byte {
	if n < 128 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}

// errPair says that pairs can't be told apart.
var errPair = errors.New("a name-value pair goes on behind the end")

// CutPair returns the first pair in b, and the rest of b.
func CutPair(b []byte) (name, value string, rest []byte, err error) {
	nameLength, b, err := cutLength(b)
	if err != nil {
		return "", "", nil, err
	}
	valueLength, b, err := cutLength(b)
	if err != nil || nameLength > len(b) || valueLength > len(b)-nameLength {
		return "", "", nil, errPair
	}
	end := nameLength + valueLength
	return string(b[:nameLength]), string(b[nameLength:end]), b[end:], nil
}

func cutLength(b []byte) (n int, rest []byte, err error) {
	switch {
	case len(b) > 0 && b[0] < 128:
		return int(b[0]), b[1:], nil
	case len(b) >= 4:
		return int(binary.BigEndian.Uint32(b) &^ (1 << 31)), b[4:], nil
	}
	return 0, nil, errPair
}
