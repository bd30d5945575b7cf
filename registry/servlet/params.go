package servlet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// shape is what the params of a procedure must be like.
type shape struct {
	kind   reflect.Kind // of the Go type: Struct, Slice or Map
	fields []param      // of a struct, in order
}

// param is a field of a struct.
type param struct {
	name     string
	optional bool
	null     bool // may be null
}

// shapeOf looks at the type P, once.
func shapeOf[P any]() (shape, error) {
	t := reflect.TypeFor[P]()
	s := shape{kind: t.Kind()}
	switch {
	case s.kind == reflect.Slice, s.kind == reflect.Map && t.Key().Kind() == reflect.String:
		return s, nil
	case s.kind != reflect.Struct:
		return s, fmt.Errorf("its params are of the type %s; they must be a struct, a slice, or a map with strings for keys", t)
	}
	for _, f := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			return s, fmt.Errorf("its params embed %s; they must not", f.Name)
		case !f.IsExported() || tag == "-" && options == "":
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		p := param{name: tag}
		for option := range strings.SplitSeq(options, ",") {
			p.optional = p.optional || option == "omitempty" || option == "omitzero"
		}
		switch f.Type.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
			p.null = true
		}
		s.fields = append(s.fields, p)
	}
	return s, nil
}

// decode decodes params into a pointer to a value of the shape. It says what is wrong with them, to who sent them; nil
// params are none.
func (s shape) decode(params json.RawMessage, into any) (problem string) {
	array := len(params) > 0 && params[0] == '['
	switch {
	case s.kind == reflect.Struct:
		named, problem := s.named(params, array)
		if problem != "" {
			return problem
		}
		params, _ = json.Marshal(named) // valid as its parts are
	case params == nil:
		return ""
	case s.kind == reflect.Slice && !array:
		return "they must be an array"
	case s.kind == reflect.Map && array:
		return "they must be an object"
	}
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	return explain(d.Decode(into))
}

// named returns the params by name, and checks which there are.
func (s shape) named(params json.RawMessage, array bool) (given map[string]json.RawMessage, problem string) {
	if array {
		var values []json.RawMessage
		_ = json.Unmarshal(params, &values) // it is a valid array
		if len(values) > len(s.fields) {
			return nil, fmt.Sprintf("there are %d; there must be at most %d", len(values), len(s.fields))
		}
		given = make(map[string]json.RawMessage)
		for i, v := range values {
			given[s.fields[i].name] = v
		}
	} else if params != nil {
		_ = json.Unmarshal(params, &given) // it is a valid object
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(s.fields, func(p param) bool { return p.name == name }) {
			return nil, fmt.Sprintf("%q is unknown", name)
		}
	}
	for _, p := range s.fields {
		switch value, ok := given[p.name]; {
		case !ok && !p.optional:
			return nil, fmt.Sprintf("%q is missing", p.name)
		case ok && !p.null && isNull(value):
			return nil, fmt.Sprintf("%q is null", p.name)
		}
	}
	return given, ""
}

// explain says why params can't be decoded, in words of JSON and not of Go. What a type's own UnmarshalJSON says
// stays inside.
func explain(err error) string {
	if err == nil {
		return ""
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" {
		return fmt.Sprintf("%q can't be a %s", t.Field, t.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return name + " is unknown"
	}
	return "they can't be read as what the procedure takes"
}
