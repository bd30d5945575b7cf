package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// message is what is posted.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	ID         string   `json:"id"`
	Status     int      `json:"status"`
	Error      string   `json:"error"`
	ErrorType  string   `json:"error_type"`
	Panic      bool     `json:"panic"`
	Method     string   `json:"method"`
	Host       string   `json:"host"`
	URL        string   `json:"url"`
	RemoteAddr string   `json:"remote_addr"`
	Route      string   `json:"route"`
	Stack      []place  `json:"stack"`
	Details    []detail `json:"details"`
}

type place struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column,omitempty"`
}

type detail struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// longest is how many bytes of a detail are sent.
const longest = 4 << 10

// encode writes an incident as JSON. A panic of the error's methods is an error.
func encode(i *failure.Incident, stack int) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	m := message{Type: "incident", Timestamp: i.Time.UTC(), Data: data{
		ID:         i.ID,
		Status:     i.Status,
		Error:      fmt.Sprintf("%v", i.Failure.Err),
		ErrorType:  fmt.Sprintf("%T", i.Failure.Err),
		Panic:      i.Failure.Panic,
		Method:     i.Method,
		Host:       i.Host,
		URL:        i.URL,
		RemoteAddr: i.RemoteAddr,
		Stack:      []place{},
		Details:    []detail{},
	}}
	if r := i.Route; r != nil && len(r.Patterns) > 0 {
		m.Data.Route = r.Patterns[len(r.Patterns)-1]
	}
	for _, f := range i.Failure.Stack[:min(stack, len(i.Failure.Stack))] {
		m.Data.Stack = append(m.Data.Stack, place{f.Function, f.File, f.Line, f.Column})
	}
	if d, ok := errors.AsType[failure.Detailed](i.Failure.Err); ok {
		for _, d := range d.Details() {
			if len(d.Text) > longest {
				d.Text = "… " + strings.ToValidUTF8(d.Text[len(d.Text)-longest:], "")
			}
			m.Data.Details = append(m.Data.Details, detail{d.Title, d.Text})
		}
	}
	return json.Marshal(m)
}
