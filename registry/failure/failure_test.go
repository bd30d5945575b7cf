package failure_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// collector keeps the failures of a request.
type collector struct{ failures []failure.Failure }

func (c *collector) Fail(f failure.Failure) { c.failures = append(c.failures, f) }

// request opens a request whose failures go to the collector.
func request(c *collector) *http.Request {
	r := new(environ.Base).Open(httptest.NewRequest(http.MethodGet, "/", nil))
	if c != nil {
		failure.Key.Set(r, c)
	}
	return r
}

// templateError knows its own places.
type templateError struct{ error }

func (templateError) Frames() []failure.Frame {
	return []failure.Frame{
		{Function: `template "main"`, File: "/site/page.html", Line: 3, Column: 5},
		{Function: `template "layout"`, File: "/site/layout.html", Line: 8},
	}
}

func TestReport(t *testing.T) {
	want := errors.New("no such table")
	t.Run("to the catcher", func(t *testing.T) {
		var c collector
		r := request(&c)
		failure.Report(r, want)
		failure.Report(r, fmt.Errorf("again: %w", want))
		if len(c.failures) != 2 {
			t.Fatalf("%d failures, want 2", len(c.failures))
		}
		f := c.failures[0]
		if !errors.Is(f.Err, want) || f.Panic {
			t.Errorf("got %+v, want the error and no panic", f)
		}
		if len(f.Stack) == 0 || !strings.Contains(f.Stack[0].Function, "TestReport.func1") || !strings.HasSuffix(f.Stack[0].File, "failure_test.go") || f.Stack[0].Line == 0 {
			t.Errorf("the stack begins with %+v, want where Report was called", f.Stack[:min(len(f.Stack), 2)])
		}
	})
	t.Run("nil", func(t *testing.T) {
		var c collector
		failure.Report(request(&c), nil)
		failure.Report(request(nil), nil)
		if len(c.failures) > 0 {
			t.Errorf("nil was reported: %+v", c.failures)
		}
	})
	t.Run("without a catcher", func(t *testing.T) {
		defer func() {
			if got := recover(); got != any(want) {
				t.Errorf("Report panics with %v, want the error", got)
			}
		}()
		failure.Report(request(nil), want)
	})
	t.Run("outside of a stack", func(t *testing.T) {
		defer func() {
			if got := recover(); got != any(want) {
				t.Errorf("Report panics with %v, want the error", got)
			}
		}()
		failure.Report(httptest.NewRequest(http.MethodGet, "/", nil), want)
	})
}

func TestNote(t *testing.T) {
	want := errors.New("no such table")
	var c collector
	r := request(&c)
	failure.Note(r, want)
	failure.Note(r, nil)
	failure.Note(request(nil), nil)
	if len(c.failures) != 1 {
		t.Fatalf("%d failures, want 1", len(c.failures))
	}
	if f := c.failures[0]; !f.Answered || f.Panic || !errors.Is(f.Err, want) || !strings.HasSuffix(f.Stack[0].Function, "failure_test.TestNote") {
		t.Errorf("got %+v, want the error, answered, and a stack from where Note was called", f)
	}
	defer func() {
		if got := recover(); got != any(want) {
			t.Errorf("without a catcher Note panics with %v, want the error", got)
		}
	}()
	failure.Note(request(nil), want)
}

// recovered calls f and makes a failure of its panic.
func recovered(f func()) (made failure.Failure) {
	defer func() { made = failure.Recovered(recover()) }()
	f()
	return failure.Failure{}
}

func crash(v any) { panic(v) }

func TestRecovered(t *testing.T) {
	own := templateError{errors.New("no field")}
	index := func() { _ = []int{}[len(t.Name())] }
	for _, test := range []struct {
		name, text string
		crash      func()
		brought    int
		first      string // function behind what the error brought along
	}{
		{"text", "no luck", func() { crash("no luck") }, 0, "failure_test.crash"},
		{"error", "no field", func() { crash(own) }, 2, "failure_test.crash"},
		{"runtime error", "index out of range", index, 0, "failure_test.TestRecovered.func1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := recovered(test.crash)
			if !f.Panic || f.Answered || !strings.Contains(f.Err.Error(), test.text) {
				t.Errorf("got %+v, want a panic of %s", f, test.text)
			}
			if len(f.Stack) <= test.brought || !strings.HasSuffix(f.Stack[test.brought].Function, test.first) {
				t.Errorf("the stack is %+v, want it to go on with %s", f.Stack, test.first)
			}
		})
	}
}

// outer and inner are places in a stack.
func outer(skip int) failure.Failure { return inner(skip) }

func inner(skip int) failure.Failure { return failure.New(errors.New("broken"), skip) }

func TestNew(t *testing.T) {
	for _, test := range []struct {
		skip  int
		first string
	}{
		{0, "failure_test.inner"},
		{1, "failure_test.outer"},
		{2, "failure_test.TestNew.func1"},
		{1000, ""},
	} {
		t.Run(fmt.Sprint(test.skip), func(t *testing.T) {
			stack := outer(test.skip).Stack
			switch {
			case test.first == "" && len(stack) > 0:
				t.Errorf("the stack is %+v, want none", stack)
			case test.first != "" && (len(stack) == 0 || !strings.HasSuffix(stack[0].Function, test.first)):
				t.Errorf("the stack is %+v, want it to begin with %s", stack, test.first)
			}
		})
	}
}

func TestTraced(t *testing.T) {
	err := failure.WithStatus(fmt.Errorf("the page: %w", templateError{errors.New("no field")}), http.StatusBadGateway)
	stack := failure.New(err, 0).Stack
	if len(stack) < 3 {
		t.Fatalf("the stack is %+v", stack)
	}
	if diff := cmp.Diff(templateError{}.Frames(), stack[:2]); diff != "" {
		t.Errorf("the first places (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(stack[2].Function, "failure_test.TestTraced") {
		t.Errorf("the third place is %s, want the first of the Go stack", stack[2].Function)
	}
}

func TestStatus(t *testing.T) {
	base := errors.New("no answer")
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"none", base, 500},
		{"nil", nil, 500},
		{"given", failure.WithStatus(base, 502), 502},
		{"wrapped", fmt.Errorf("the script: %w", failure.WithStatus(base, 504)), 504},
		{"joined", errors.Join(base, failure.WithStatus(base, 413)), 413},
		{"outermost", failure.WithStatus(failure.WithStatus(base, 502), 404), 404},
		{"lowest", failure.WithStatus(base, 400), 400},
		{"highest", failure.WithStatus(base, 599), 599},
		{"no error status", failure.WithStatus(base, 200), 500},
		{"no status", failure.WithStatus(base, 600), 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := failure.Status(test.err); got != test.want {
				t.Errorf("Status: got %d, want %d", got, test.want)
			}
			if test.err != nil && (!errors.Is(test.err, base) || !strings.Contains(test.err.Error(), "no answer")) {
				t.Errorf("the error %q doesn't wrap the one that it was made of", test.err)
			}
		})
	}
}

func ExampleReport() {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		balance, err := 0, errors.New("the ledger is locked")
		if err != nil {
			failure.Report(r, failure.WithStatus(err, http.StatusServiceUnavailable))
			return
		}
		_, _ = fmt.Fprintln(w, balance)
	})

	// In a stack the middleware errors makes the response. Here it is only noted.
	var c collector
	page.ServeHTTP(httptest.NewRecorder(), request(&c))
	f := c.failures[0]
	fmt.Println(failure.Status(f.Err), f.Err)
	// Output: 503 the ledger is locked
}

func TestQueue(t *testing.T) {
	q := make(failure.Queue, 1)
	first, second := &failure.Incident{ID: "first"}, &failure.Incident{ID: "second"}
	if err := q.Report(t.Context(), first); err != nil {
		t.Error(err)
	}
	if err := q.Report(t.Context(), second); err == nil || err.Error() != "the queue is full; this incident is lost" {
		t.Errorf("Report to a full queue: %v", err)
	}
	if got := <-q; got != first {
		t.Errorf("out comes %v, want what went in", got)
	}
	if err := q.Report(t.Context(), second); err != nil {
		t.Errorf("Report when there is room again: %v", err)
	}
}
