// Package failure is how an app says that it could not answer, and how the
// stack tells people about it.
//
// An app that fails before it wrote anything reports and returns:
//
//	if err := page.Execute(&buf, data); err != nil {
//		failure.Report(r, err)
//		return
//	}
//
// The nearest catcher further out makes the response. A panic comes to the same,
// with a stack. Once the headers are on their way a catcher can only cut the
// connection, so that no client takes half a page for a whole one.
//
// Errors may say more than their text: see [WithStatus], [Traced] and [Detailed].
// All of them are looked for with [errors.As], so wrapping keeps them.
package failure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/environ"
)

// Key is the catcher that the request's failures go to. A stack that is mounted and has none leaves them to
// that around it.
var Key = environ.NewInherited[Sink]("failure")

// Caught is what the catcher nearest to the app made of the request's first failure. A middleware finds
// it when the request that it handed on is done, whichever side of the catcher it stands on. It
// must not be changed.
var Caught = environ.NewKey[*Incident]("incident")

// Made is where the catcher says what it answers with. A middleware further out that has pages of the
// site's own sets it, and looks when the answer begins.
var Made = environ.NewInherited[*Answer]("pages")

// Answer is what a catcher answers with.
type Answer int

const (
	// NoAnswer is what it is as long as the catcher makes none: whatever the client gets is the app's.
	NoAnswer Answer = iota
	// PlainAnswer is one for everybody. It tells the status, and the incident in the field Incident-Id; a page of the
	// site's own may stand for it.
	PlainAnswer
	// DebugAnswer is one for the developer, who must get it.
	DebugAnswer
)

// Sink takes the failures of one request. A catcher sets one for each request, and
// uses it on the request's own goroutine only.
type Sink interface {
	// Fail takes one failure. The first one of a request that isn't Answered decides the response; the
	// others are reported as well.
	Fail(Failure)
}

// Failure is one thing that went wrong.
type Failure struct {
	// Err is what happened. For a panic with another value it is made of that value.
	Err error
	// Panic says that nobody reported it: the handler panicked.
	Panic bool
	// Answered says that the app answers the request by itself; see [Note].
	Answered bool
	// Stack is where it happened, innermost first: the places an error brought along
	// ([Traced]), then those of the Go stack.
	Stack []Frame
}

// Frame is one place in a stack.
type Frame struct {
	// Function is the Go function, or what another language calls the place.
	Function string
	// File and Line are the place; Column counts from 1, 0 means unknown.
	File         string
	Line, Column int
	// Source are the lines around Line, the first one being number First, where the
	// error brought them. A catcher reads Go files itself.
	Source []string
	First  int
}

// Report hands err to the catcher nearest to r. Call it before anything is
// written, then return. It does nothing for a nil err.
//
// Without a catcher it panics with err, so that an error can't be lost; in a
// built stack there always is one.
func Report(r *http.Request, err error) {
	if err == nil {
		return
	}
	sink := Key.Get(r)
	if sink == nil {
		panic(err)
	}
	sink.Fail(New(err, 1))
}

// Note is Report for an app that goes on and makes the response by itself, as one does whose protocol has
// words of its own for an error: reporters are told of err, and nothing else changes. The
// catcher may name the incident in the header of the response.
func Note(r *http.Request, err error) {
	if err == nil {
		return
	}
	sink := Key.Get(r)
	if sink == nil {
		panic(err)
	}
	f := New(err, 1)
	f.Answered = true
	sink.Fail(f)
}

// Recovered makes a Failure of what a function panicked with. The deferred function that has recovered it must call
// this itself: the stack begins where the panic did.
func Recovered(p any) Failure {
	err, ok := p.(error)
	if !ok {
		err = errors.New(fmt.Sprint(p))
	}
	f := New(err, 2)
	f.Panic = true
	brought := 0
	if t, ok := errors.AsType[Traced](err); ok {
		brought = len(t.Frames())
	}
	begin := brought // leave out the runtime's part in panicking
	for begin < len(f.Stack) && strings.HasPrefix(f.Stack[begin].Function, "runtime.") {
		begin++
	}
	f.Stack = append(f.Stack[:brought], f.Stack[begin:]...)
	return f
}

// New makes a Failure of err with the caller's stack, leaving out that many
// further callers.
func New(err error, skip int) Failure {
	f := Failure{Err: err}
	if t, ok := errors.AsType[Traced](err); ok {
		f.Stack = append(f.Stack, t.Frames()...)
	}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip+2, pcs[:])])
	for {
		frame, more := frames.Next()
		if frame.Function != "" {
			f.Stack = append(f.Stack, Frame{Function: frame.Function, File: frame.File, Line: frame.Line})
		}
		if !more {
			return f
		}
	}
}

// Traced is an error that knows places of its own, such as lines of a template or
// a script. Frames returns them innermost first.
type Traced interface {
	error
	Frames() []Frame
}

// Detailed is an error that brings texts worth reading along, such as what a
// script wrote to its standard error. They go into reports and debug pages, never
// into the page that a visitor sees.
type Detailed interface {
	error
	Details() []Detail
}

// Detail is one text with its title.
type Detail struct{ Title, Text string }

// WithStatus gives err the status to answer with when it is 400 or above, such as
// 502 for a script that gave no valid answer. Errors without one answer 500.
func WithStatus(err error, status int) error {
	return &coded{error: err, status: status}
}

// Status returns the status of the outermost [WithStatus] in err, or 500.
func Status(err error) int {
	if c, ok := errors.AsType[*coded](err); ok && c.status >= 400 && c.status <= 599 {
		return c.status
	}
	return http.StatusInternalServerError
}

type coded struct {
	error
	status int
}

func (c *coded) Unwrap() error { return c.error }

// Incident is a failure as a catcher hands it to its reporters. It is a copy: it
// stays valid after the request, and may be kept.
type Incident struct {
	// ID is what the visitor was shown. It is short, and unique for practical purposes.
	ID string
	// Time is when it happened.
	Time time.Time
	// Failure is what happened.
	Failure Failure
	// Status is what was answered; 0 when the connection was cut.
	Status int
	// Method, URL, Host and RemoteAddr are the request's; passwords in the URL and
	// values of its query are redacted.
	Method, URL, Host, RemoteAddr string
	// Header are the request's header fields, those that may hold secrets redacted.
	Header http.Header
	// Route is the way the request took; nil outside a stack.
	Route *environ.Route
}

// Reporter tells somebody about incidents.
//
// Report is called on the request's goroutine after the response was made, from many
// requests at a time. It must not hold the request up: one that waits for a disk or a
// network hands the incident to a goroutine of its own. An error is logged by the
// catcher and has no other effect.
type Reporter interface {
	Report(ctx context.Context, i *Incident) error
}

// Queue is a Reporter that never waits: whoever made it takes the incidents out at leisure, in a goroutine of its own.
type Queue chan *Incident

// Report puts the incident in. It is an error when the queue is full.
func (q Queue) Report(_ context.Context, i *Incident) error {
	select {
	case q <- i:
		return nil
	default:
		return errors.New("the queue is full; this incident is lost")
	}
}
