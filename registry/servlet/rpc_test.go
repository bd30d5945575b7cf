package servlet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/servlet"
)

// sink keeps the failures of a request.
type sink struct{ failures []failure.Failure }

func (s *sink) Fail(f failure.Failure) { s.failures = append(s.failures, f) }

// ask sends a request to a servlet as a stack does.
func ask(s http.Handler, r *http.Request) (*httptest.ResponseRecorder, []failure.Failure) {
	var caught sink
	r = new(environ.Base).Open(r)
	failure.Key.Set(r, &caught)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w, caught.failures
}

// call sends a body to a servlet's procedures.
func call(t testing.TB, s http.Handler, body string) (*httptest.ResponseRecorder, []failure.Failure) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return ask(s, r)
}

// calculator has the procedures of the specification's examples, and others.
type calculator struct {
	said   []string // by notifications
	limits servlet.RPC
}

type operands struct {
	Minuend    float64 `json:"minuend"`
	Subtrahend float64 `json:"subtrahend"`
}

type booking struct {
	Who    string         `json:"who"`
	Nights int            `json:"nights,omitempty"`
	Wishes []string       `json:"wishes,omitzero"`
	Rooms  map[string]int `json:"rooms"`
	Day    *day           `json:"day,omitempty"`
	hidden int
}

// day is a type with texts of its own for what is wrong.
type day struct{ time.Time }

func (d *day) UnmarshalJSON(data []byte) (err error) {
	d.Time, err = time.Parse(`"2006-01-02"`, string(data))
	return err
}

func (c *calculator) say(_ *http.Request, params []any) (any, error) {
	c.said = append(c.said, fmt.Sprint(params))
	return nil, nil
}

func (c *calculator) RPC() servlet.RPC {
	rpc := c.limits
	rpc.Procedures = map[string]servlet.Procedure{
		"subtract": servlet.Func(func(_ *http.Request, o operands) (float64, error) { return o.Minuend - o.Subtrahend, nil }),
		"sum": servlet.Func(func(_ *http.Request, numbers []float64) (sum float64, _ error) {
			for _, n := range numbers {
				sum += n
			}
			return sum, nil
		}),
		"get_data":     servlet.Func(func(*http.Request, struct{}) ([]any, error) { return []any{"hello", 5}, nil }),
		"update":       servlet.Func(c.say),
		"notify_hello": servlet.Func(c.say),
		"notify_sum":   servlet.Func(c.say),
		"keys":         servlet.Func(func(_ *http.Request, m map[string]int) (int, error) { return len(m), nil }),
		"nothing":      servlet.Func(func(*http.Request, struct{}) (any, error) { return nil, nil }),
		"book": servlet.Func(func(_ *http.Request, b booking) (string, error) {
			return fmt.Sprint(b.Who, b.Nights, b.Wishes, b.Rooms, b.hidden), nil
		}),
		"method": servlet.Func(func(r *http.Request, _ struct{}) (string, error) { return r.Method, nil }),
		"refuse": servlet.Func(func(*http.Request, struct{}) (int, error) {
			return 0, fmt.Errorf("book: %w", &servlet.Error{Code: 7, Message: "Full", Data: []int{1}})
		}),
		"refuse badly": servlet.Func(func(*http.Request, struct{}) (int, error) {
			return 0, &servlet.Error{Code: 7, Message: "Full", Data: func() {}}
		}),
		"fail":          servlet.Func(func(*http.Request, struct{}) (int, error) { return 0, errors.New("the disk is full") }),
		"crash":         servlet.Func(func(*http.Request, struct{}) (int, error) { panic("the disk is full") }),
		"abort":         servlet.Func(func(*http.Request, struct{}) (int, error) { panic(http.ErrAbortHandler) }),
		"inexpressible": servlet.Func(func(*http.Request, struct{}) (func(), error) { return func() {}, nil }),
	}
	return rpc
}

func newCalculator(t testing.TB, limits servlet.RPC) (*calculator, *servlet.Servlet) {
	t.Helper()
	c := &calculator{limits: limits}
	s, err := servlet.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// same compares JSON by its meaning. An empty text is no answer.
func same(t *testing.T, got, want string) {
	t.Helper()
	var is, must any
	if want != "" {
		if err := json.Unmarshal([]byte(want), &must); err != nil {
			t.Fatal(err)
		}
	}
	if got != "" {
		if err := json.Unmarshal([]byte(got), &is); err != nil {
			t.Fatalf("%v in %q", err, got)
		}
	}
	if diff := cmp.Diff(must, is); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
}

// TestSpecification sends the examples of JSON-RPC 2.0, section 7.
func TestSpecification(t *testing.T) {
	for _, test := range []struct{ name, request, answer, said string }{
		{"positional", `{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`, `{"jsonrpc": "2.0", "result": 19, "id": 1}`, ""},
		{"positional, the other way round", `{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}`, `{"jsonrpc": "2.0", "result": -19, "id": 2}`, ""},
		{"named", `{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}`, `{"jsonrpc": "2.0", "result": 19, "id": 3}`, ""},
		{"named, the other way round", `{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}`, `{"jsonrpc": "2.0", "result": 19, "id": 4}`, ""},
		{"notification", `{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}`, "", "[1 2 3 4 5]"},
		{"notification of nothing there", `{"jsonrpc": "2.0", "method": "foobar"}`, "", ""},
		{"method that isn't there", `{"jsonrpc": "2.0", "method": "foobar", "id": "1"}`, `{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}`, ""},
		{"invalid JSON", `{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, `{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}`, ""},
		{"invalid request", `{"jsonrpc": "2.0", "method": 1, "params": "bar"}`, `{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}`, ""},
		{"batch, invalid JSON", `[
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method"
]`, `{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}`, ""},
		{"empty array", `[]`, `{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}`, ""},
		{"invalid batch", `[1]`, `[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]`, ""},
		{"invalid batch of three", `[1,2,3]`, `[
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}
]`, ""},
		{"batch", `[
  {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
  {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
  {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
  {"foo": "boo"},
  {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
  {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
]`, `[
  {"jsonrpc": "2.0", "result": 7, "id": "1"},
  {"jsonrpc": "2.0", "result": 19, "id": "2"},
  {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
  {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
  {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
]`, "[7]"},
		{"batch of notifications", `[
  {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
  {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
]`, "", "[1 2 4][7]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, s := newCalculator(t, servlet.RPC{})
			w, failures := call(t, s, test.request)
			same(t, w.Body.String(), test.answer)
			status, kind := http.StatusOK, "application/json"
			if test.answer == "" {
				status, kind = http.StatusNoContent, ""
			}
			if w.Code != status || w.Header().Get("Content-Type") != kind {
				t.Errorf("answered with %d and the type %q, want %d and %q", w.Code, w.Header().Get("Content-Type"), status, kind)
			}
			if got := strings.Join(c.said, ""); got != test.said {
				t.Errorf("the notifications said %s, want %s", got, test.said)
			}
			if len(failures) > 0 {
				t.Errorf("reported %v", failures)
			}
		})
	}
}

// TestCall sends one call, and looks at the result or the error in the answer.
func TestCall(t *testing.T) {
	const invalid = `"error": {"code": -32600, "message": "Invalid Request"}, "id": null`
	params := func(data string) string {
		return fmt.Sprintf(`"error": {"code": -32602, "message": "Invalid params", "data": %q}, "id": 1`, data)
	}
	for _, test := range []struct{ name, members, answer string }{
		{"result null", `"method": "nothing", "id": 1`, `"result": null, "id": 1`},
		{"id null", `"method": "nothing", "id": null`, `"result": null, "id": null`},
		{"id with a fraction, as it was", `"method": "nothing", "id": 1.50`, `"result": null, "id": 1.5`},
		{"id that is large", `"method": "nothing", "id": 12345678901234567890`, `"result": null, "id": 12345678901234567890`},
		{"id that is empty", `"method": "nothing", "id": ""`, `"result": null, "id": ""`},
		{"the request is at hand", `"method": "method", "id": 1`, `"result": "POST", "id": 1`},
		{"no params in an array", `"method": "nothing", "params": [], "id": 1`, `"result": null, "id": 1`},
		{"no params in an object", `"method": "nothing", "params": {}, "id": 1`, `"result": null, "id": 1`},
		{"further members", `"method": "nothing", "id": 1, "trace": true`, `"result": null, "id": 1`},
		{"map", `"method": "keys", "params": {"a": 1, "b": 2}, "id": 1`, `"result": 2, "id": 1`},
		{"map left out", `"method": "keys", "id": 1`, `"result": 0, "id": 1`},
		{"slice left out", `"method": "sum", "id": 1`, `"result": 0, "id": 1`},
		{"optional params left out", `"method": "book", "params": {"who": "Ada", "rooms": {"a": 1}}, "id": 1`, `"result": "Ada0 [] map[a:1] 0", "id": 1`},
		{"null where Go has nil", `"method": "book", "params": {"who": "Ada", "rooms": null, "wishes": null}, "id": 1`, `"result": "Ada0 [] map[] 0", "id": 1`},
		{"by position", `"method": "book", "params": ["Ada", 3, ["quiet"], {}], "id": 1`, `"result": "Ada3 [quiet] map[] 0", "id": 1`},

		{"own error, wrapped", `"method": "refuse", "id": 1`, `"error": {"code": 7, "message": "Full", "data": [1]}, "id": 1`},

		{"id true", `"method": "nothing", "id": true`, invalid},
		{"id false", `"method": "nothing", "id": false`, invalid},
		{"id object", `"method": "nothing", "id": {}`, invalid},
		{"id array", `"method": "nothing", "id": [1]`, invalid},
		{"params null", `"method": "nothing", "params": null, "id": 1`, invalid},
		{"params text", `"method": "nothing", "params": "x", "id": 1`, invalid},
		{"method null", `"method": null, "id": 1`, invalid},
		{"no method", `"id": 1`, invalid},
		{"method in other letters", `"Method": "nothing", "id": 1`, invalid},
		{"other version", `"jsonrpc": "1.0", "method": "nothing", "id": 1`, invalid},
		{"version number", `"jsonrpc": 2.0, "method": "nothing", "id": 1`, invalid},
		{"version null", `"jsonrpc": null, "method": "nothing", "id": 1`, invalid},

		{"no such method", `"method": "Subtract", "id": 1`, `"error": {"code": -32601, "message": "Method not found"}, "id": 1`},
		{"reserved", `"method": "rpc.discover", "id": 1`, `"error": {"code": -32601, "message": "Method not found"}, "id": 1`},
		{"Go method", `"method": "RPC", "id": 1`, `"error": {"code": -32601, "message": "Method not found"}, "id": 1`},

		{"missing", `"method": "subtract", "params": {"minuend": 1}, "id": 1`, params(`"subtrahend" is missing`)},
		{"all missing", `"method": "subtract", "id": 1`, params(`"minuend" is missing`)},
		{"too few", `"method": "subtract", "params": [1], "id": 1`, params(`"subtrahend" is missing`)},
		{"too many", `"method": "subtract", "params": [1, 2, 3], "id": 1`, params("there are 3; there must be at most 2")},
		{"unknown", `"method": "subtract", "params": {"minuend": 1, "subtrahend": 2, "zero": 0, "more": 0}, "id": 1`, params(`"more" is unknown`)},
		{"in other letters", `"method": "subtract", "params": {"Minuend": 1, "subtrahend": 2}, "id": 1`, params(`"Minuend" is unknown`)},
		{"null", `"method": "subtract", "params": {"minuend": null, "subtrahend": 2}, "id": 1`, params(`"minuend" is null`)},
		{"another type", `"method": "subtract", "params": {"minuend": "1", "subtrahend": 2}, "id": 1`, params(`"minuend" can't be a string`)},
		{"not a whole number", `"method": "book", "params": {"who": "", "rooms": {}, "nights": 1.5}, "id": 1`, params(`"nights" can't be a number 1.5`)},
		{"within a list", `"method": "book", "params": {"who": "", "rooms": {}, "wishes": [true]}, "id": 1`, params(`"wishes" can't be a bool`)},
		{"what Go says stays inside", `"method": "book", "params": {"who": "", "rooms": {}, "day": "yesterday"}, "id": 1`, params("they can't be read as what the procedure takes")},
		{"unexported", `"method": "book", "params": {"who": "", "rooms": {}, "hidden": 1}, "id": 1`, params(`"hidden" is unknown`)},
		{"none taken", `"method": "nothing", "params": [1], "id": 1`, params("there are 1; there must be at most 0")},
		{"object for a slice", `"method": "sum", "params": {"a": 1}, "id": 1`, params("they must be an array")},
		{"array for a map", `"method": "keys", "params": [1], "id": 1`, params("they must be an object")},
		{"another type in a slice", `"method": "sum", "params": ["a"], "id": 1`, params("they can't be read as what the procedure takes")},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, s := newCalculator(t, servlet.RPC{})
			request := "{" + test.members + "}"
			if !strings.Contains(test.members, `"jsonrpc"`) {
				request = `{"jsonrpc": "2.0", ` + test.members + "}"
			}
			w, failures := call(t, s, " \n"+request+"\t")
			same(t, w.Body.String(), `{"jsonrpc": "2.0", `+test.answer+`}`)
			if len(failures) > 0 {
				t.Errorf("reported %v", failures)
			}
			batch, _ := call(t, s, "["+request+"]")
			same(t, batch.Body.String(), `[{"jsonrpc": "2.0", `+test.answer+`}]`)
		})
	}
}

// TestInternalError proves that an error is reported in full, and that the client is told nothing of it.
func TestInternalError(t *testing.T) {
	for _, test := range []struct {
		method, reported string
		panics           bool
	}{
		{"fail", "procedure fail: the disk is full", false},
		{"crash", "the disk is full", true},
		{"inexpressible", "procedure inexpressible: json: unsupported type: func()", false},
		{"refuse badly", "the data of an error: json: unsupported type: func()", false},
	} {
		t.Run(test.method, func(t *testing.T) {
			_, s := newCalculator(t, servlet.RPC{})
			w, failures := call(t, s, `[{"jsonrpc": "2.0", "method": "`+test.method+`", "id": 1}, {"jsonrpc": "2.0", "method": "nothing", "id": 2}]`)
			same(t, w.Body.String(), `[
				{"jsonrpc": "2.0", "error": {"code": -32603, "message": "Internal error"}, "id": 1},
				{"jsonrpc": "2.0", "result": null, "id": 2}
			]`)
			if len(failures) != 1 {
				t.Fatalf("%d failures, want 1", len(failures))
			}
			if f := failures[0]; !strings.Contains(f.Err.Error(), test.reported) || f.Panic != test.panics || !f.Answered || len(f.Stack) == 0 {
				t.Errorf("reported %+v, want %s, a panic: %v", f, test.reported, test.panics)
			}
			if f := failures[0]; test.panics && !strings.Contains(f.Stack[0].Function, "calculator") {
				t.Errorf("the stack begins with %s, want where it panicked", f.Stack[0].Function)
			}
			if test.method != "refuse badly" { // where the answer alone is at fault
				notified, failures := call(t, s, `{"jsonrpc": "2.0", "method": "`+test.method+`"}`)
				if notified.Body.Len() > 0 || len(failures) != 1 {
					t.Errorf("a notification is answered with %q, and %d failures; want nothing and 1", notified.Body, len(failures))
				}
			}
		})
	}
	t.Run("abort", func(t *testing.T) {
		defer func() {
			if p := recover(); p != any(http.ErrAbortHandler) {
				t.Errorf("it panicked with %v, want the abort", p)
			}
		}()
		_, s := newCalculator(t, servlet.RPC{})
		call(t, s, `{"jsonrpc": "2.0", "method": "abort", "id": 1}`)
	})
}

func TestLimits(t *testing.T) {
	const one = `{"jsonrpc":"2.0","method":"nothing","id":1}`
	batch := func(n int) string { return "[" + strings.Repeat(one+",", n-1) + one + "]" }
	for _, test := range []struct {
		name   string
		limits servlet.RPC
		body   string
		status int
		data   string // of the error, if it is one
	}{
		{"body at the limit", servlet.RPC{MaxBody: int64(len(one))}, one, 200, ""},
		{"body over it", servlet.RPC{MaxBody: int64(len(one)) - 1}, one, 413, "the request is too long"},
		{"body at the default", servlet.RPC{}, one + strings.Repeat(" ", 1<<20-len(one)), 200, ""},
		{"body over it", servlet.RPC{}, one + strings.Repeat(" ", 1<<20-len(one)+1), 413, "the request is too long"},
		{"batch at the limit", servlet.RPC{MaxBatch: 3}, batch(3), 200, ""},
		{"batch over it", servlet.RPC{MaxBatch: 3}, batch(4), 200, "the batch has 4 calls; it must have at most 3"},
		{"batch at the default", servlet.RPC{}, batch(100), 200, ""},
		{"batch over it", servlet.RPC{}, batch(101), 200, "the batch has 101 calls; it must have at most 100"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, s := newCalculator(t, test.limits)
			w, _ := call(t, s, test.body)
			if w.Code != test.status {
				t.Errorf("answered with %d, want %d", w.Code, test.status)
			}
			if test.data != "" {
				same(t, w.Body.String(), fmt.Sprintf(`{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request", "data": %q}, "id": null}`, test.data))
			} else if strings.Contains(w.Body.String(), "error") {
				t.Errorf("answered with %s", w.Body)
			}
		})
	}
}

// TestMediaType proves that a page of another site can't make a call: a browser sends no JSON unasked.
func TestMediaType(t *testing.T) {
	for kind, want := range map[string]int{
		"application/json":                  200,
		"Application/JSON; charset=utf-8":   200,
		"":                                  415,
		"text/plain":                        415,
		"application/x-www-form-urlencoded": 415,
		"application/jsonp":                 415,
	} {
		_, s := newCalculator(t, servlet.RPC{})
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"jsonrpc": "2.0", "method": "nothing", "id": 1}`))
		r.Header.Set("Content-Type", kind)
		if w, _ := ask(s, r); w.Code != want || want == 415 && w.Header().Get("Accept") != "application/json" {
			t.Errorf("the type %q is answered with %d and %v, want %d", kind, w.Code, w.Header(), want)
		}
	}
}

// TestClientLeaves proves that the calls of a batch end with the request.
func TestClientLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	calls := 0
	s, err := servlet.New(procedures{"leave": servlet.Func(func(*http.Request, struct{}) (any, error) {
		calls++
		leave()
		return nil, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	const one = `{"jsonrpc": "2.0", "method": "leave", "id": 1}`
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("["+one+","+one+"]"))
	r.Header.Set("Content-Type", "application/json")
	w, failures := ask(s, r)
	if calls != 1 || w.Body.Len() > 0 || len(failures) != 1 || !errors.Is(failures[0].Err, context.Canceled) {
		t.Errorf("%d calls, answered with %q, failures %v; want 1, nothing, and the context's end", calls, w.Body, failures)
	}
}

// TestBrokenBody proves that a body which breaks off is the client's error, as it is for who reads a form.
func TestBrokenBody(t *testing.T) {
	_, s := newCalculator(t, servlet.RPC{})
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("invalid byte in chunk length")))
	r.Header.Set("Content-Type", "application/json")
	_, failures := ask(s, r)
	if len(failures) != 1 || failure.Status(failures[0].Err) != http.StatusBadRequest {
		t.Errorf("failures are %v; want one with the status 400", failures)
	}
}

// procedures is a servlet of nothing else.
type procedures map[string]servlet.Procedure

func (p procedures) RPC() servlet.RPC { return servlet.RPC{Procedures: p} }

// FuzzRPC sends anything, and wants answers that are just as many and of the form that the specification says.
func FuzzRPC(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`,
		`{"jsonrpc": "2.0", "method": "book", "params": {"who": "Ada", "rooms": {}}, "id": "x"}`,
		`[{"jsonrpc": "2.0", "method": "sum", "params": [1]}, {"jsonrpc": "2.0", "method": "fail", "id": null}, 1]`,
		`[[]]`, `null`, `{"id":[]}`, `"`, "\xff", `{"jsonrpc":"2.0","method":"keys","params":{"a":1e999},"id":1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		_, s := newCalculator(t, servlet.RPC{})
		if strings.Contains(body, "abort") {
			t.Skip() // that procedure aborts the connection, and there is no answer to look at
		}
		w, _ := call(t, s, body)
		if w.Code == http.StatusNoContent {
			if w.Body.Len() > 0 {
				t.Errorf("a 204 with %q", w.Body)
			}
			return
		}
		replies := []json.RawMessage{w.Body.Bytes()}
		if w.Body.Bytes()[0] == '[' {
			if err := json.Unmarshal(w.Body.Bytes(), &replies); err != nil || len(replies) == 0 {
				t.Fatalf("answered with %q: %v", w.Body, err)
			}
		}
		var sent []json.RawMessage
		if json.Unmarshal([]byte(body), &sent) == nil && len(replies) > max(len(sent), 1) {
			t.Errorf("%d calls have %d answers", len(sent), len(replies))
		}
		for _, reply := range replies {
			var members map[string]json.RawMessage
			if err := json.Unmarshal(reply, &members); err != nil {
				t.Fatalf("answered with %q: %v", reply, err)
			}
			_, result := members["result"]
			var problem struct {
				Code    *int    `json:"code"`
				Message *string `json:"message"`
			}
			refused := json.Unmarshal(members["error"], &problem) == nil && problem.Code != nil && problem.Message != nil
			if string(members["jsonrpc"]) != `"2.0"` || members["id"] == nil || result == refused || len(members) != 3 {
				t.Errorf("answered with %s", reply)
			}
		}
	})
}
