package files

import (
	_ "embed" // for the page
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

//go:embed page.html
var source string

var page = template.Must(template.New("").Parse(source))

// incident is what the page shows of one.
type incident struct {
	*failure.Incident
	Error, Type string
	Answer      string
	When        string
	Stack       []frame
	Details     []failure.Detail
	Fields      []field
	Route       *environ.Route
}

type frame struct {
	failure.Frame
	Lines []line
}

type line struct {
	Number int
	Text   string
	Here   bool
}

type field struct{ Name, Value string }

// write makes the page. What an error's methods do is the error's: a panic of theirs is an error.
func write(w io.Writer, i *failure.Incident) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	v := incident{
		Incident: i,
		Error:    fmt.Sprintf("%v", i.Failure.Err),
		Type:     fmt.Sprintf("%T", i.Failure.Err),
		Answer:   fmt.Sprintf("answered with %d", i.Status),
		When:     i.Time.UTC().Format(time.RFC1123),
		Route:    i.Route,
	}
	if i.Status == 0 {
		v.Answer = "the connection was cut"
	}
	for _, f := range i.Failure.Stack {
		shown := frame{Frame: f}
		for n, text := range f.Source {
			shown.Lines = append(shown.Lines, line{f.First + n, text, f.First+n == f.Line})
		}
		v.Stack = append(v.Stack, shown)
	}
	if d, ok := errors.AsType[failure.Detailed](i.Failure.Err); ok {
		v.Details = d.Details()
	}
	for _, name := range slices.Sorted(maps.Keys(i.Header)) {
		v.Fields = append(v.Fields, field{name, strings.Join(i.Header[name], ", ")})
	}
	return page.Execute(w, v)
}
