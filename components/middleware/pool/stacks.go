package pool

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/stackd/stackd/registry/failure"
)

// hungError is why the context of a request was ended.
type hungError struct {
	after  time.Duration
	frames []failure.Frame // where the app stood
	others []string        // where the goroutines that it started did
}

func (e *hungError) Error() string {
	return fmt.Sprintf("the request hung: the app neither read nor wrote anything for %v", e.after)
}

// Frames returns where the app stood.
func (e *hungError) Frames() []failure.Frame { return e.frames }

// Details returns where the goroutines stood that the app had started.
func (e *hungError) Details() []failure.Detail {
	var all []failure.Detail
	for _, text := range e.others {
		all = append(all, failure.Detail{Title: "another goroutine of the request", Text: text})
	}
	return all
}

// panicError brings a panic from the worker's goroutine to the server's, with the stack that it had.
type panicError struct{ f *failure.Failure }

func (e *panicError) Error() string           { return fmt.Sprint(e.f.Err) }
func (e *panicError) Unwrap() error           { return e.f.Err }
func (e *panicError) Frames() []failure.Frame { return e.f.Stack }

// stacksOf returns where the worker with that mark stands, and as text where other goroutines with it do.
func stacksOf(mark string) (worker []failure.Frame, others []string) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return nil, nil // a report without it is better than none
	}
	for group := range strings.SplitSeq(b.String(), "\n\n") {
		if !strings.Contains(group, fmt.Sprintf("%q:%q", label, mark)) {
			continue
		}
		frames := parse(group)
		if strings.Contains(group, "pool.(*job).run+") {
			worker = frames
			continue
		}
		var text strings.Builder
		for _, f := range frames {
			fmt.Fprintf(&text, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		}
		others = append(others, text.String())
	}
	return worker, others
}

// parse reads the lines of a group in the profile: # address function+offset file:line.
func parse(group string) []failure.Frame {
	var frames []failure.Frame
	for line := range strings.SplitSeq(group, "\n") {
		fields := strings.SplitN(line, "\t", 4)
		if len(fields) != 4 || fields[0] != "#" {
			continue
		}
		function, _, _ := strings.Cut(strings.TrimSpace(fields[2]), "+0x")
		place := strings.TrimSpace(fields[3])
		colon := strings.LastIndexByte(place, ':')
		if colon < 0 {
			continue
		}
		number, err := strconv.Atoi(place[colon+1:])
		if err != nil {
			continue
		}
		frames = append(frames, failure.Frame{Function: function, File: place[:colon], Line: number})
	}
	return frames
}
