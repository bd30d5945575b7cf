package servlet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/gateway"
)

// RPC is what a servlet's method RPC returns: the procedures that clients may call by JSON-RPC 2.0. New asks for it
// once.
//
// A request is a POST of the type application/json, so that no page of another site can have a browser send one unasked
// (it would need leave by CORS). POSTs of other types go to the method Post. The answer has the status 200, also when
// it holds errors, or 204 where there is nothing to tell since there were only notifications. The calls of a batch are
// made one after the other, and answered in their order.
type RPC struct {
	// Procedures are those that may be called, by name. Nothing else of the servlet can be reached. Names that begin
	// with "rpc." are reserved.
	Procedures map[string]Procedure
	// MaxBody is how many bytes a request may have; 0 means 1 MiB. A longer one is answered with 413.
	MaxBody int64
	// MaxBatch is how many calls one request may hold; 0 means 100.
	MaxBatch int
}

// Procedure is a Go function that clients may call. [Func] makes one.
//
// Clients may send anything. What a procedure can't do with the params that it is given is an [*Error] with the code
// [InvalidParams], never a failure or a panic.
type Procedure struct {
	call  func(r *http.Request, params json.RawMessage) (any, error)
	fault error // of the declaration
}

// Func makes a procedure of f.
//
// P is a struct, whose fields are the params: by name, as encoding/json has it, or by position, in the order of the
// fields. All must be there and not be null, unless their tag says omitempty or omitzero; unknown ones are refused. Or P
// is a slice, for params by position only, or a map, for params by name only. For a procedure without params it
// is struct{}.
//
// The result is encoded by encoding/json. An [*Error] that f returns, wrapped or not, is the answer. Any other error, and
// a panic, is reported to the stack's catcher, and the client is told "Internal error" and no more; the Incident-Id in
// the header of the answer is that of the report.
func Func[P, R any](f func(r *http.Request, params P) (R, error)) Procedure {
	shape, err := shapeOf[P]()
	return Procedure{fault: err, call: func(r *http.Request, raw json.RawMessage) (any, error) {
		var params P
		if problem := shape.decode(raw, &params); problem != "" {
			return nil, &Error{Code: InvalidParams, Message: "Invalid params", Data: problem}
		}
		return f(r, params)
	}}
}

// InvalidParams is the code of an [Error] that says that a procedure can't be called so.
const InvalidParams = -32602

// The other codes of JSON-RPC 2.0, section 5.1.
const (
	parseError     = -32700
	invalidRequest = -32600
	methodNotFound = -32601
	internalError  = -32603
)

// Error is an answer to a call that says why there is no result. What is in it goes to the client as it is.
type Error struct {
	// Code says what happened, to programs. JSON-RPC 2.0 reserves -32768 to -32000 for itself, [InvalidParams] among
	// them, and of these -32099 to -32000 for the servers' own errors.
	Code int `json:"code"`
	// Message says it to people, in a short sentence.
	Message string `json:"message"`
	// Data is more about it, if it isn't nil.
	Data any `json:"data,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// response is the answer to one call.
type response struct {
	Version string          `json:"jsonrpc"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *Error          `json:"error,omitempty"`
	ID      json.RawMessage `json:"id"`
}

// caller makes the calls that requests ask for.
type caller struct {
	procedures map[string]Procedure
	maxBody    int64
	maxBatch   int
}

func newCaller(from RPC) (*caller, error) {
	c := &caller{procedures: maps.Clone(from.Procedures), maxBody: from.MaxBody, maxBatch: from.MaxBatch}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.procedures)) {
		switch p := c.procedures[name]; {
		case p.fault != nil:
			errs = append(errs, fmt.Errorf("procedure %q: %w", name, p.fault))
		case p.call == nil:
			errs = append(errs, fmt.Errorf("procedure %q is empty; it must be made by Func", name))
		case strings.HasPrefix(name, "rpc."):
			errs = append(errs, fmt.Errorf(`procedure %q: its name must not begin with "rpc."`, name))
		}
	}
	if len(c.procedures) == 0 {
		errs = append(errs, errors.New("RPC has no procedures; it must have at least one"))
	}
	if c.maxBody < 0 || c.maxBatch < 0 {
		errs = append(errs, errors.New("RPC has a negative limit; it must be 0 or above"))
	}
	if c.maxBody == 0 {
		c.maxBody = 1 << 20
	}
	if c.maxBatch == 0 {
		c.maxBatch = 100
	}
	return c, errors.Join(errs...)
}

// before returns a method for POST: calls are made, and all else is left to other, if that isn't nil.
func (c *caller) before(other answer) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
		case mediaType == "application/json":
			return c.serve(w, r)
		case other != nil:
			return other(w, r)
		}
		w.Header().Set("Accept", "application/json")
		http.Error(w, "415 unsupported media type: it must be application/json", http.StatusUnsupportedMediaType)
		return nil
	}
}

func (c *caller) serve(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(gateway.Body(http.MaxBytesReader(w, r.Body, c.maxBody)))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return send(w, http.StatusRequestEntityTooLarge, refuse(invalidRequest, "the request is too long"))
	}
	if err != nil {
		return err
	}
	reply, err := c.reply(r, body)
	if err != nil {
		return err
	}
	if reply == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return send(w, http.StatusOK, reply)
}

func send(w http.ResponseWriter, status int, reply []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err := w.Write(reply)
	return err
}

// reply makes the calls in body, and returns the answer, nil when there must be none. The error is that of the
// request's context.
func (c *caller) reply(r *http.Request, body []byte) ([]byte, error) {
	if !json.Valid(body) {
		return refuse(parseError, nil), nil
	}
	var batch []json.RawMessage
	if json.Unmarshal(body, &batch) != nil || batch == nil { // null is no batch
		return c.one(r, body), r.Context().Err()
	}
	switch {
	case len(batch) == 0:
		return refuse(invalidRequest, nil), nil
	case len(batch) > c.maxBatch:
		return refuse(invalidRequest, fmt.Sprintf("the batch has %d calls; it must have at most %d", len(batch), c.maxBatch)), nil
	}
	var replies [][]byte
	for _, call := range batch {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		if reply := c.one(r, call); reply != nil {
			replies = append(replies, reply)
		}
	}
	if replies == nil {
		return nil, nil
	}
	return slices.Concat([]byte{'['}, bytes.Join(replies, []byte{','}), []byte{']'}), nil
}

// one makes one call.
func (c *caller) one(r *http.Request, raw json.RawMessage) []byte {
	// A map, since a struct takes names in other letters for its own, and doesn't tell null from nothing.
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return refuse(invalidRequest, nil)
	}
	var version, name string
	id, wantsReply := members["id"]
	params, hasParams := members["params"]
	if json.Unmarshal(members["jsonrpc"], &version) != nil || version != "2.0" ||
		json.Unmarshal(members["method"], &name) != nil || isNull(members["method"]) ||
		hasParams && params[0] != '[' && params[0] != '{' ||
		wantsReply && !isID(id) {
		return refuse(invalidRequest, nil)
	}
	answer := response{Version: "2.0", ID: id}
	if p, ok := c.procedures[name]; ok {
		answer.Result, answer.Error = p.run(r, name, params)
	} else {
		answer.Error = &Error{Code: methodNotFound, Message: "Method not found"}
	}
	if !wantsReply {
		return nil
	}
	return answer.encode(r)
}

// isID reports whether it is a string, a number or null.
func isID(raw json.RawMessage) bool { return strings.IndexByte(`"-0123456789n`, raw[0]) >= 0 }

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// run calls the procedure, and reports its failure.
func (p Procedure) run(r *http.Request, name string, params json.RawMessage) (result json.RawMessage, refusal *Error) {
	defer func() {
		if v := recover(); v != nil {
			if v == any(http.ErrAbortHandler) || failure.Key.Get(r) == nil {
				panic(v)
			}
			f := failure.Recovered(v)
			f.Answered = true
			failure.Key.Get(r).Fail(f)
			result, refusal = nil, &Error{Code: internalError, Message: "Internal error"}
		}
	}()
	value, err := p.call(r, params)
	if err == nil {
		result, err = json.Marshal(value)
	}
	if err == nil {
		return result, nil
	}
	if own, ok := errors.AsType[*Error](err); ok {
		return nil, own
	}
	failure.Note(r, fmt.Errorf("procedure %s: %w", name, err))
	return nil, &Error{Code: internalError, Message: "Internal error"}
}

// encode returns the answer as JSON.
func (a response) encode(r *http.Request) []byte {
	reply, err := json.Marshal(a)
	if err != nil { // only the data of an Error can be something that JSON doesn't have
		failure.Note(r, fmt.Errorf("the data of an error: %w", err))
		a.Error = &Error{Code: internalError, Message: "Internal error"}
		reply, _ = json.Marshal(a)
	}
	return reply
}

// refuse returns an answer to what isn't a call. Data may be nil.
func refuse(code int, data any) []byte {
	message := "Invalid Request"
	if code == parseError {
		message = "Parse error"
	}
	reply, _ := json.Marshal(response{Version: "2.0", Error: &Error{Code: code, Message: message, Data: data}, ID: json.RawMessage("null")})
	return reply
}
