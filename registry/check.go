package registry

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"
)

// SettingError says that one setting is wrong. A Validate method returns it, alone or joined
// with others, when it knows which setting the user should look at.
type SettingError struct {
	// Setting is the path to it, such as "cookie.same_site".
	Setting string
	// Problem is what it is and what it must be, such as "is none; it must be lax
	// or strict unless secure is set".
	Problem string
}

func (e *SettingError) Error() string { return e.Setting + " " + e.Problem }

// CheckMode returns an error when a setting isn't the permission of a file, written in octal. The Validate methods of servers
// have it for the mode of a unix socket.
func CheckMode(setting, mode string) error {
	n, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || n > 0o777 || len(mode) < 3 {
		return &SettingError{Setting: setting, Problem: "is " + strconv.Quote(mode) + `; it must be an octal permission such as "0660"`}
	}
	return nil
}

// Check says which of the settings, a pointer as [Definition.Default] returns it,
// break a constraint or the settings' own Validate. It opens nothing and asks nobody.
func (d *Definition) Check(cfg any) []SettingError {
	return append(d.Constraints(cfg), validate(d.Settings, reflect.ValueOf(cfg).Elem(), "")...)
}

// Constraints is Check without Validate: each finding is about one setting alone, so it
// holds even when others couldn't be read.
func (d *Definition) Constraints(cfg any) []SettingError {
	var found []SettingError
	err := check().Struct(cfg)
	if broken, ok := errors.AsType[validator.ValidationErrors](err); ok {
		for _, b := range broken {
			found = append(found, d.explain(b))
		}
	} else if err != nil {
		found = append(found, SettingError{Problem: err.Error()})
	}
	return found
}

// check returns the validator. It caches what it learns of a struct, so there is one.
var check = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("yaml") })
	v.RegisterCustomTypeFunc(func(f reflect.Value) any { return f.Interface().(Secret).Reveal() }, Secret{})
	return v
})

// explain turns one of the validator's findings into a sentence.
func (d *Definition) explain(b validator.FieldError) SettingError {
	_, path, _ := strings.Cut(b.Namespace(), ".")
	t := d.Settings.at(path)
	value := reflect.ValueOf(b.Value())
	is := "is " + t.Format(value)
	var must string
	switch b.Tag() {
	case "required":
		is, must = "is missing", "be "+t.Noun()
	case "min", "max":
		bound := map[string]string{"min": "at least ", "max": "at most "}[b.Tag()]
		arg := b.Param()
		if duration, err := time.ParseDuration(arg); err == nil && t.Form == FormDuration {
			arg = formatDuration(duration)
		}
		if t.Form == FormSize {
			if size, err := ParseSize(arg); err == nil {
				arg = size.String()
			}
		}
		must = "be " + bound + arg
		if has := length(t.Form, value); has != "" {
			is, must = "has "+has, "have "+bound+arg
		}
	case "oneof":
		must = "be " + alternatives(strings.Fields(b.Param()))
	case "startswith":
		must = "begin with " + quote(b.Param())
	case "url":
		must = "be a URL such as https://example.org/"
	case "unique":
		must = "have no entry twice"
	}
	return SettingError{Setting: path, Problem: is + "; it must " + must}
}

// length says how long a value is, or "" for one that has no length.
func length(form Form, value reflect.Value) string {
	var n int
	var one, many string
	switch form {
	case FormString:
		n, one, many = utf8.RuneCountInString(value.String()), "character", "characters"
	case FormList, FormMap:
		n, one, many = value.Len(), "entry", "entries"
	default:
		return ""
	}
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// alternatives joins words as a sentence does: a, b or c.
func alternatives(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// at returns the type of the setting at a path such as "a.b[0].c" or "a[.key]", or the last
// one on the way that it knows.
func (t *Type) at(path string) *Type {
	for path != "" {
		var next *Type
		if path[0] == '[' {
			_, path, _ = strings.Cut(path, "]")
			next = t.Elem
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path+".", ".[")
			if f := t.Field(path[:end]); f != nil {
				next = f.Type
			}
			path = path[end:]
		}
		if next == nil {
			return t
		}
		t = next
	}
	return t
}

// validate runs the Validate methods of the settings and of the structs in them.
func validate(t *Type, v reflect.Value, path string) []SettingError {
	var found []SettingError
	switch t.Form {
	case FormStruct:
		for _, f := range t.Fields {
			found = append(found, validate(f.Type, v.Field(f.Index), strings.TrimPrefix(path+"."+f.Name, "."))...)
		}
		if own, ok := reflect.TypeAssert[interface{ Validate() error }](v); ok {
			found = append(found, flatten(own.Validate(), path)...)
		}
	case FormList:
		for i := range v.Len() {
			found = append(found, validate(t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case FormMap:
		for _, key := range sortedKeys(v) {
			found = append(found, validate(t.Elem, v.MapIndex(key), path+"["+key.String()+"]")...)
		}
	}
	return found
}

// flatten takes joined errors apart.
func flatten(err error, path string) []SettingError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var found []SettingError
		for _, e := range joined.Unwrap() {
			found = append(found, flatten(e, path)...)
		}
		return found
	}
	if s, ok := errors.AsType[*SettingError](err); ok {
		return []SettingError{{Setting: strings.TrimPrefix(path+"."+s.Setting, "."), Problem: s.Problem}}
	}
	return []SettingError{{Setting: path, Problem: err.Error()}}
}
