package webkit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
)

// header reads what an adapter sends before the body: a number, which is the length of the dictionary behind it.
func header(in *bufio.Reader, most int) ([]gateway.Variable, error) {
	b, err := in.Peek(5)
	switch {
	case len(b) > 0 && b[0] != 'i':
		return nil, gateway.ErrForeign
	case err != nil:
		return nil, err
	}
	length := binary.LittleEndian.Uint32(b[1:])
	if next, err := in.Peek(6); err != nil {
		return nil, err
	} else if next[5] != '{' {
		return nil, gateway.ErrForeign
	}
	if int64(length) > int64(most) {
		return nil, failure.WithStatus(fmt.Errorf("the dictionary is longer than max_header, %d bytes", most), http.StatusRequestHeaderFieldsTooLarge)
	}
	text := make([]byte, 5+length)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	vars, err := variables(text[5:], most)
	if err != nil {
		return nil, failure.WithStatus(fmt.Errorf("the dictionary: %w", err), http.StatusBadRequest)
	}
	return vars, nil
}

// variables returns the variables of a request.
func variables(text []byte, most int) ([]gateway.Variable, error) {
	request, err := unmarshal(text, most)
	if err != nil {
		return nil, err
	}
	var environ dict
	for _, e := range request {
		switch value := e.value.(type) {
		case string:
			if e.key == "format" && value != "CGI" {
				return nil, fmt.Errorf(`format is %.100q; it must be "CGI"`, value)
			}
		case dict:
			if e.key == "environ" {
				environ = value
			}
		}
	}
	if environ == nil {
		return nil, errors.New("environ is missing; it must be a dictionary with the variables of the request")
	}
	vars := make([]gateway.Variable, 0, len(environ))
	for _, e := range environ {
		switch value := e.value.(type) {
		case string:
			vars = append(vars, gateway.Variable{Name: e.key, Value: value})
		case none:
		default:
			return nil, fmt.Errorf("%.100q in environ isn't a text; it must be", e.key)
		}
	}
	return vars, nil
}
