package servlet

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
)

// What the methods of a value must be like.
type (
	getter interface {
		Get(w http.ResponseWriter, r *http.Request) error
	}
	header interface {
		Head(w http.ResponseWriter, r *http.Request) error
	}
	poster interface {
		Post(w http.ResponseWriter, r *http.Request) error
	}
	putter interface {
		Put(w http.ResponseWriter, r *http.Request) error
	}
	patcher interface {
		Patch(w http.ResponseWriter, r *http.Request) error
	}
	deleter interface {
		Delete(w http.ResponseWriter, r *http.Request) error
	}
	optioner interface {
		Options(w http.ResponseWriter, r *http.Request) error
	}
	responder interface {
		Respond(w http.ResponseWriter, r *http.Request) error
	}
	awaker interface {
		Awake(w http.ResponseWriter, r *http.Request) error
	}
	sleeper       interface{ Sleep(r *http.Request) }
	rpcer         interface{ RPC() RPC }
	pathInfoTaker interface{ TakesPathInfo() bool }
)

// known are all of them.
var known = []reflect.Type{
	reflect.TypeFor[getter](), reflect.TypeFor[header](), reflect.TypeFor[poster](), reflect.TypeFor[putter](),
	reflect.TypeFor[patcher](), reflect.TypeFor[deleter](), reflect.TypeFor[optioner](), reflect.TypeFor[responder](),
	reflect.TypeFor[awaker](), reflect.TypeFor[sleeper](), reflect.TypeFor[rpcer](), reflect.TypeFor[pathInfoTaker](),
}

// verbs are the HTTP methods that a value may have a method for, in the order of Allow.
var verbs = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// answersOf returns the methods of v for the verbs.
func answersOf(v any) map[string]answer {
	answers := make(map[string]answer)
	if m, ok := v.(getter); ok {
		answers[http.MethodGet] = m.Get
	}
	if m, ok := v.(header); ok {
		answers[http.MethodHead] = m.Head
	}
	if m, ok := v.(poster); ok {
		answers[http.MethodPost] = m.Post
	}
	if m, ok := v.(putter); ok {
		answers[http.MethodPut] = m.Put
	}
	if m, ok := v.(patcher); ok {
		answers[http.MethodPatch] = m.Patch
	}
	if m, ok := v.(deleter); ok {
		answers[http.MethodDelete] = m.Delete
	}
	if m, ok := v.(optioner); ok {
		answers[http.MethodOptions] = m.Options
	}
	return answers
}

// misfits says which methods of v have the name of one that counts and another signature.
func misfits(v any) error {
	if v == nil {
		return errors.New("it is nil; it must be a value with methods")
	}
	var errs []error
	is := reflect.ValueOf(v)
	for _, t := range known {
		must := t.Method(0)
		has := is.MethodByName(must.Name)
		if !has.IsValid() && is.Kind() != reflect.Pointer {
			if _, ofPointer := reflect.PointerTo(is.Type()).MethodByName(must.Name); ofPointer {
				errs = append(errs, fmt.Errorf("its method %s is that of a pointer; New must be given the pointer", must.Name))
			}
		}
		if has.IsValid() && has.Type() != must.Type {
			errs = append(errs, fmt.Errorf("its method %s is a %s; it must be a %s", must.Name, has.Type(), must.Type))
		}
	}
	return errors.Join(errs...)
}
