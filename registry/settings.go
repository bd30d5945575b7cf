package registry

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Form is one of the closed set of setting types.
type Form int

// The forms of settings.
const (
	FormBool Form = iota + 1
	FormInt
	FormFloat
	FormString
	FormDuration
	FormSize
	FormPercent
	FormPath
	FormAddress
	FormNetwork
	FormSecret
	FormRef
	FormStack
	FormList
	FormMap
	FormStruct
)

// Type describes the type of a setting, for what works on the settings of every
// component alike: the loader, the schema, the manual. It never changes.
type Type struct {
	Form Form
	// Go is the Go type.
	Go reflect.Type
	// Kind is what a FormRef refers to.
	Kind Kind
	// Elem is the type of a FormList's entries or a FormMap's values; keys are strings.
	Elem *Type
	// ElemRules are the constraints on each entry or value.
	ElemRules []Rule
	// Fields are a FormStruct's, in the order of the Go struct.
	Fields []Field
}

// Field is one setting of a struct.
type Field struct {
	// Name is what a stack file calls it, GoName what Go does.
	Name, GoName string
	// Index is its index in the Go struct.
	Index int
	Type  *Type
	// Rules are the constraints on it.
	Rules []Rule
}

// Rule is one constraint of a `validate` tag, such as {"min", "1"}.
type Rule struct{ Name, Arg string }

// Field returns the field of that name, or nil.
func (t *Type) Field(name string) *Field {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return &t.Fields[i]
		}
	}
	return nil
}

// Noun says in words what a stack file must write for a setting of this type.
func (t *Type) Noun() string {
	switch t.Form {
	case FormBool:
		return "true or false"
	case FormInt:
		return "a whole number"
	case FormFloat:
		return "a number"
	case FormString, FormSecret:
		return "a text"
	case FormDuration:
		return "a duration such as 30s, 5m or 12h"
	case FormSize:
		return "a size such as 4096, 64KiB or 10MB"
	case FormPercent:
		return "a percentage such as 5%"
	case FormPath:
		return "a path"
	case FormAddress:
		return "an address such as 127.0.0.1:8080 or unix:run/stackd.sock"
	case FormNetwork:
		return "an address such as 192.0.2.7, a network such as 10.0.0.0/8, or unix"
	case FormRef:
		return fmt.Sprintf("the name of a %[1]s, or a map with use: and the %[1]s's settings", t.Kind)
	case FormStack:
		return "the path of a stack file, or a map with stack:"
	case FormList:
		return "a list"
	}
	return "a map"
}

// Format writes a value of this type as a stack file would, secrets redacted.
func (t *Type) Format(v reflect.Value) string {
	switch t.Form {
	case FormDuration:
		return formatDuration(time.Duration(v.Int()))
	case FormSize, FormPercent:
		return fmt.Sprint(v.Interface())
	case FormSecret:
		if v.IsZero() {
			return `""`
		}
		return redacted
	case FormRef:
		return refName(v)
	case FormStack:
		return quote(v.Interface().(Stack).name)
	case FormString, FormPath, FormAddress, FormNetwork:
		return quote(v.String())
	case FormFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case FormList:
		var b strings.Builder
		for i := range v.Len() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(t.Elem.Format(v.Index(i)))
		}
		return "[" + b.String() + "]"
	case FormMap:
		var entries []string
		for _, key := range sortedKeys(v) {
			entries = append(entries, quote(key.String())+": "+t.Elem.Format(v.MapIndex(key)))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	case FormStruct:
		var entries []string
		for _, f := range t.Fields {
			entries = append(entries, f.Name+": "+f.Type.Format(v.Field(f.Index)))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

func sortedKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
}

func refName(v reflect.Value) string {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.Interface().(Reference).Name()
}

// quote writes s as YAML does: plain where that reads back as the same text.
func quote(s string) string {
	plain := s != "" && !strings.ContainsAny(s, "\"'\\{}[],#&*!|>%@`\n\t\r") && !strings.Contains(s, ": ") &&
		!strings.HasSuffix(s, ":") && !strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "?") && strings.TrimSpace(s) == s
	if plain {
		_, notNumber := strconv.ParseFloat(s, 64)
		switch {
		case notNumber == nil:
			plain = false
		case slices.Contains([]string{"true", "false", "null", "on", "off", "yes", "no", "~"}, strings.ToLower(s)):
			plain = false
		}
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// reserved are the keys of an entry that belong to the stack file.
var reserved = []string{"use", "as", "off"}

// typer describes settings types and collects what is wrong with them.
type typer struct {
	faults  []string
	pending []reflect.Type // the structs being described, to find one that holds itself
}

func (ty *typer) faultf(path, format string, args ...any) {
	ty.faults = append(ty.faults, fmt.Sprintf("setting %s: ", path)+fmt.Sprintf(format, args...))
}

func (ty *typer) typeOf(t reflect.Type, path string, top bool) *Type {
	d := &Type{Go: t}
	switch t {
	case reflect.TypeFor[bool]():
		d.Form = FormBool
	case reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32]():
		d.Form = FormInt
	case reflect.TypeFor[float64]():
		d.Form = FormFloat
	case reflect.TypeFor[string]():
		d.Form = FormString
	case reflect.TypeFor[time.Duration]():
		d.Form = FormDuration
	case reflect.TypeFor[Size]():
		d.Form = FormSize
	case reflect.TypeFor[Percent]():
		d.Form = FormPercent
	case reflect.TypeFor[Path]():
		d.Form = FormPath
	case reflect.TypeFor[Address]():
		d.Form = FormAddress
	case reflect.TypeFor[Network]():
		d.Form = FormNetwork
	case reflect.TypeFor[Secret]():
		d.Form = FormSecret
	case reflect.TypeFor[Stack]():
		d.Form = FormStack
	default:
		return ty.compound(d, path, top)
	}
	return d
}

func (ty *typer) compound(d *Type, path string, top bool) *Type {
	t := d.Go
	if ref, ok := reflect.TypeAssert[Reference](reflect.New(t)); ok {
		d.Form, d.Kind = FormRef, ref.Kind()
		if d.Kind == "" {
			ty.faultf(path, "a Ref to %s; it must be to what a kind of component is built into", t)
		}
		return d
	}
	switch {
	case t.Kind() == reflect.Slice && t.Name() == "":
		d.Form, d.Elem = FormList, ty.typeOf(t.Elem(), path+"[]", false)
	case t.Kind() == reflect.Map && t.Name() == "" && t.Key() == reflect.TypeFor[string]():
		d.Form, d.Elem = FormMap, ty.typeOf(t.Elem(), path+".*", false)
	case t.Kind() == reflect.Struct && (t.Name() == "" || t.PkgPath() != "time"):
		d.Form = FormStruct
		if slices.Contains(ty.pending, t) {
			ty.faultf(path, "%s holds itself; settings must have an end", t)
			return d
		}
		ty.pending = append(ty.pending, t)
		for i := range t.NumField() {
			ty.field(d, t.Field(i), i, path, top)
		}
		ty.pending = ty.pending[:len(ty.pending)-1]
	default:
		ty.faultf(path, "its type is %s; it must be of the closed set in the comment of package registry", t)
	}
	return d
}

func (ty *typer) field(d *Type, f reflect.StructField, index int, path string, top bool) {
	name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	at := strings.TrimPrefix(path+"."+name, ".")
	switch {
	case f.Anonymous:
		ty.faultf(strings.TrimPrefix(path+"."+f.Name, "."), "it is embedded; write a field with a name")
		return
	case !f.IsExported():
		ty.faultf(strings.TrimPrefix(path+"."+f.Name, "."), "it is not exported; settings must be")
		return
	case !validName(name):
		ty.faultf(strings.TrimPrefix(path+"."+f.Name, "."), "its yaml tag is %q; it must be a name of lower case letters, digits and underscores", name)
		return
	case options != "":
		ty.faultf(at, "its yaml tag has the options %q; it must have none", options)
	case top && slices.Contains(reserved, name):
		ty.faultf(at, "the name belongs to the stack file")
	case d.Field(name) != nil:
		ty.faultf(at, "the name is used twice")
	}
	field := Field{Name: name, GoName: f.Name, Index: index, Type: ty.typeOf(f.Type, at, false)}
	field.Rules = ty.rules(f.Tag.Get("validate"), field.Type, at)
	d.Fields = append(d.Fields, field)
}

// rules reads a validate tag; what follows dive goes to the element type.
func (ty *typer) rules(tag string, t *Type, path string) []Rule {
	head, tail, dive := tag, "", false
	if i := slices.Index(strings.Split(tag, ","), "dive"); i >= 0 {
		parts := strings.Split(tag, ",")
		head, tail, dive = strings.Join(parts[:i], ","), strings.Join(parts[i+1:], ","), true
	}
	if dive {
		if t.Elem == nil {
			ty.faultf(path, "dive stands on %s; it must be on a list or a map", t.Noun())
		} else {
			t.ElemRules = ty.rules(tail, t.Elem, path+"[]")
		}
	}
	if t.Elem != nil && t.Elem.Form == FormStruct && !dive && slices.ContainsFunc(t.Elem.Fields, func(f Field) bool { return len(f.Rules) > 0 }) {
		ty.faultf(path, "its entries have constraints that nothing would check; its validate tag must have dive")
	}
	var rules []Rule
	for part := range strings.SplitSeq(head, ",") {
		if part == "" {
			continue
		}
		r := Rule{}
		r.Name, r.Arg, _ = strings.Cut(part, "=")
		if fault := r.check(t); fault != "" {
			ty.faultf(path, "the constraint %q %s", part, fault)
			continue
		}
		rules = append(rules, r)
	}
	return rules
}

// check says what is wrong with the rule on a setting of type t.
func (r Rule) check(t *Type) string {
	forms := map[string][]Form{
		"required":   {FormString, FormPath, FormAddress, FormNetwork, FormSecret, FormRef, FormStack, FormList, FormMap},
		"omitempty":  {FormString, FormPath, FormAddress, FormSecret, FormDuration, FormInt},
		"min":        {FormInt, FormFloat, FormString, FormDuration, FormSize, FormList, FormMap},
		"max":        {FormInt, FormFloat, FormString, FormDuration, FormSize, FormList, FormMap},
		"oneof":      {FormString, FormInt},
		"startswith": {FormString},
		"url":        {FormString},
		"unique":     {FormList},
	}[r.Name]
	switch {
	case forms == nil:
		return "is not of the closed set: required, omitempty, min, max, oneof, startswith, url, unique, dive"
	case !slices.Contains(forms, t.Form):
		return "can't stand on " + t.Noun()
	case (r.Name == "min" || r.Name == "max") && !r.numeric(t):
		return "must be given " + map[bool]string{true: "a duration", false: "a number"}[t.Form == FormDuration]
	case (r.Name == "oneof" || r.Name == "startswith") && r.Arg == "":
		return "must be given a value"
	}
	return ""
}

func (r Rule) numeric(t *Type) bool {
	if t.Form == FormDuration {
		_, err := time.ParseDuration(r.Arg)
		return err == nil
	}
	_, err := strconv.ParseFloat(r.Arg, 64)
	return err == nil
}

// validName reports whether s is a name of lower case letters, digits and underscores
// that begins with a letter.
func validName(s string) bool {
	for i, c := range s {
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// clone copies v deeply, so that no two instances share a slice or map of their
// component's defaults.
func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return c
		}
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(clone(v.Index(i)))
		}
	case reflect.Map:
		if v.IsNil() {
			return c
		}
		c.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for iter := v.MapRange(); iter.Next(); {
			c.SetMapIndex(iter.Key(), clone(iter.Value()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if c.Field(i).CanSet() {
				c.Field(i).Set(clone(v.Field(i)))
			}
		}
	}
	return c
}
