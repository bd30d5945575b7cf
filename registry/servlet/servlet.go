// Package servlet makes apps of ordinary Go values, by the methods that they have.
//
// A servlet is a component of its own kind. Its Build returns what [New] makes of a value:
//
//	// Component is the greeting servlet.
//	var Component = registry.Servlet[Config]{Name: "greeting", …, Build: build}
//
//	func build(_ *registry.Env, cfg Config) (*servlet.Servlet, error) {
//		return servlet.New(&greeting{cfg.Text})
//	}
//
//	type greeting struct{ text string }
//
//	func (g *greeting) Get(w http.ResponseWriter, r *http.Request) error {
//		_, err := fmt.Fprintln(w, g.text)
//		return err
//	}
//
// A stack file puts it at a URL by the factory servlet, which maps files of a site to servlets, or
// by the app servlet.
//
// # Methods
//
// All of these are optional, but there must be one that answers:
//
//	Get(w http.ResponseWriter, r *http.Request) error      and so Head, Post, Put, Patch, Delete, Options
//	Respond(w http.ResponseWriter, r *http.Request) error  every method; stands alone
//	RPC() servlet.RPC                                      procedures for JSON-RPC 2.0
//	Awake(w http.ResponseWriter, r *http.Request) error    before each of these
//	Sleep(r *http.Request)                                 after them
//	TakesPathInfo() bool                                   its URL may go on behind it
//
// Which there are is found out once, by New. A HEAD without Head is answered by Get, whose body the server
// leaves out. OPTIONS without Options is answered with 204, and a method that the servlet doesn't
// have with 405; both list in Allow what it has.
//
// Awake is for what is the same whatever the method, such as a look at who asks. When it fails, nothing
// else of the servlet is called. Otherwise Sleep is, however the method ends, also by a panic.
//
// A method that can't answer returns an error before it has written anything, and the stack makes the
// response, as [failure.Report] says; [failure.WithStatus] chooses its status. One that has
// answered returns nil, and Awake in place of the methods [ErrDone]:
//
//	func (a *account) Awake(w http.ResponseWriter, r *http.Request) error {
//		if environ.User.Get(r) == "" {
//			http.Redirect(w, r, "/login", http.StatusSeeOther)
//			return servlet.ErrDone
//		}
//		return nil
//	}
//
// A client may leave the body out of any request. That is a matter of a status such as 400, and no failure.
//
// One value answers all requests, many at a time. What belongs to one request stays in local variables or
// in its environ.
package servlet

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
)

// ErrDone says that the response is complete. A method returns it in place of nil where that
// keeps others from being called.
var ErrDone = errors.New("the response is complete")

// Servlet answers requests by the methods of the value that it was made of. It is safe for concurrent
// use as far as the value is.
type Servlet struct {
	answers  map[string]answer // by HTTP method
	whole    answer            // of every method, in place of answers
	awake    answer
	sleep    func(r *http.Request)
	rpc      *caller
	allow    string
	pathInfo bool
}

// answer is a method of a value that takes a request.
type answer = func(w http.ResponseWriter, r *http.Request) error

// New makes a servlet of v. It fails when v has no method that answers, or one with the name of those
// that count and another signature, which would never be called.
func New(v any) (*Servlet, error) {
	s := &Servlet{answers: answersOf(v)}
	errs := []error{misfits(v)}
	if m, ok := v.(responder); ok {
		s.whole = m.Respond
	}
	if m, ok := v.(awaker); ok {
		s.awake = m.Awake
	}
	if m, ok := v.(sleeper); ok {
		s.sleep = m.Sleep
	}
	if m, ok := v.(pathInfoTaker); ok {
		s.pathInfo = m.TakesPathInfo()
	}
	if m, ok := v.(rpcer); ok {
		var err error
		s.rpc, err = newCaller(m.RPC())
		errs = append(errs, err)
	}
	others := len(s.answers) > 0 || s.rpc != nil
	switch {
	case s.whole != nil && others:
		errs = append(errs, errors.New("it has Respond, which takes every request, and others that answer; it must have one or the others"))
	case s.whole == nil && !others && errs[0] == nil:
		errs = append(errs, errors.New("it has no method that answers; it must have Get, Post or another one"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("servlet %T: %w", v, err)
	}
	s.allow = s.methods()
	return s, nil
}

// methods adds what comes with the methods of the value, and lists all as Allow does.
func (s *Servlet) methods() string {
	if get, ok := s.answers[http.MethodGet]; ok && s.answers[http.MethodHead] == nil {
		s.answers[http.MethodHead] = get
	}
	if s.rpc != nil {
		s.answers[http.MethodPost] = s.rpc.before(s.answers[http.MethodPost])
	}
	var list []string
	for _, m := range verbs {
		if s.answers[m] != nil || m == http.MethodOptions {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

// TakesPathInfo reports whether the URL of the servlet may go on behind it. [PathInfo] is what follows.
func (s *Servlet) TakesPathInfo() bool { return s.pathInfo }

// Procedures returns the names of the procedures for JSON-RPC, sorted.
func (s *Servlet) Procedures() []string {
	if s.rpc == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.rpc.procedures))
}

// ServeHTTP answers a request.
func (s *Servlet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := s.whole
	if answer == nil {
		answer = s.answers[r.Method]
		if answer == nil || r.Method == http.MethodOptions {
			w.Header().Set("Allow", s.allow)
		}
	}
	switch {
	case answer != nil:
		if err := s.run(answer, w, r); !errors.Is(err, ErrDone) {
			failure.Report(r, err)
		}
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
	}
}

func (s *Servlet) run(answer answer, w http.ResponseWriter, r *http.Request) error {
	if s.awake != nil {
		if err := s.awake(w, r); err != nil {
			return err
		}
	}
	if s.sleep != nil {
		defer s.sleep(r)
	}
	return answer(w, r)
}

// PathInfo returns what follows the servlet in the path of the URL, empty or beginning with a slash, for one
// that [Servlet.TakesPathInfo]. Where it stands for an app, with no file in the site, it is the whole path.
func PathInfo(r *http.Request) string {
	if m := resource.Key.Get(r); m != nil {
		return m.PathInfo
	}
	return r.URL.Path
}
