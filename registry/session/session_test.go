package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stackd/stackd/registry/session"
)

var errDown = errors.New("the store is down")

// values is a session that can only be read; it fails for the key "down".
type values struct {
	session.Session
	data map[string]any
}

func (v values) Get(key string) (any, error) {
	if key == "down" {
		return 1, errDown
	}
	return v.data[key], nil
}

func TestValue(t *testing.T) {
	s := values{data: map[string]any{"count": 3, "name": "ada", "none": nil}}
	for _, test := range []struct {
		key  string
		want int
		err  string
	}{
		{"count", 3, ""},
		{"missing", 0, ""},
		{"none", 0, ""},
		{"name", 0, `session value "name" is a string; it must be a int`},
		{"down", 0, "the store is down"},
	} {
		t.Run(test.key, func(t *testing.T) {
			got, err := session.Value[int](s, test.key)
			if got != test.want || (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Value: got %d, %v; want %d, %q", got, err, test.want, test.err)
			}
		})
	}
	if _, err := session.Value[int](s, "down"); !errors.Is(err, errDown) {
		t.Errorf("Value: got the error %v, want one that wraps the store's", err)
	}
	if got, err := session.Value[fmt.Stringer](s, "missing"); got != nil || err != nil {
		t.Errorf("Value of an interface: got %v, %v", got, err)
	}
}
