package scgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
)

// header reads the header of a request: a netstring of names and values, each ended by a NUL.
func header(in *bufio.Reader, most int) ([]gateway.Variable, error) {
	length, err := announced(in, most)
	if err != nil {
		return nil, err
	}
	text := make([]byte, length+1)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	if text[length] != ',' {
		return nil, bad("the header is followed by %q; it must be a comma", text[length])
	}
	return variables(string(text[:length]))
}

// announced reads the length of the header, and the colon behind it.
func announced(in *bufio.Reader, most int) (int, error) {
	length, digits := 0, 0
	for {
		c, err := in.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case '0' <= c && c <= '9':
			if digits++; digits > 1 && length == 0 {
				return 0, bad("the length of the header begins with 0%c; it must be a number such as 70", c)
			}
			if length = length*10 + int(c-'0'); length > most {
				return 0, failure.WithStatus(fmt.Errorf("the header is longer than max_header, %d bytes", most), http.StatusRequestHeaderFieldsTooLarge)
			}
			continue
		case c != ':' || digits == 0:
			return 0, errors.Join(gateway.ErrForeign, in.UnreadByte())
		}
		return length, nil
	}
}

// variables reads the names and values.
func variables(text string) ([]gateway.Variable, error) {
	vars := make([]gateway.Variable, 0, strings.Count(text, "\x00")/2)
	version := ""
	for text != "" {
		name, rest, _ := strings.Cut(text, "\x00")
		value, rest, ended := strings.Cut(rest, "\x00")
		switch {
		case !ended:
			return nil, bad("the header ends within %.100q; a NUL must end every name and every value", name)
		case name == "":
			return nil, bad("the value %.100q has no name", value)
		case len(vars) == 0 && name != "CONTENT_LENGTH":
			return nil, bad("the header begins with %.100q; it must begin with CONTENT_LENGTH", name)
		case len(vars) == 0 && value == "":
			return nil, bad("CONTENT_LENGTH is empty; it must be a number of bytes")
		case name == "SCGI":
			version = value
		}
		vars, text = append(vars, gateway.Variable{Name: name, Value: value}), rest
	}
	switch {
	case len(vars) == 0:
		return nil, bad("the header is empty; it must begin with CONTENT_LENGTH")
	case version != "1":
		return nil, bad(`SCGI is %.100q; it must be "1" (in nginx: scgi_param SCGI 1)`, version)
	}
	return vars, nil
}

// bad is an error in what the front server sent.
func bad(format string, args ...any) error {
	return failure.WithStatus(fmt.Errorf(format, args...), http.StatusBadRequest)
}
