package schema

import (
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// row is one setting as the manual lists it.
type row struct {
	// name is the path to it, such as "cookie.name", "limits[].rate" in the entries of a list, or
	// "limits.*.rate" in the values of a map.
	name string
	// goName is what Go calls the last part; pkg and key are where [Prose] has the comment.
	goName, pkg, key string
	typ              *registry.Type
	rules            []registry.Rule
	// value is the default. It is the zero Value within the entries of a list or map.
	value reflect.Value
}

// componentRows returns the settings of a component, in the order of its Config.
func componentRows(d *registry.Definition) []row {
	return rowsOf(d.Settings, reflect.ValueOf(d.Default()).Elem(), "", d.Package, "")
}

// keyRows returns the settings under a key of the stack file; nil for one that has none.
func keyRows(key string) []row {
	switch key {
	case "deadlines":
		return deadlineRows()
	case "reload":
		return reloadRows()
	case "check":
		return checkRows()
	case "tests":
		return testRows()
	}
	return nil
}

// deadlineRows returns the settings under the stack file's deadlines.
func deadlineRows() []row {
	return rowsOf(registry.Describe[stackfile.Deadlines](), reflect.ValueOf(stackfile.DefaultDeadlines()), "", "", "")
}

// reloadRows returns the settings under the stack file's reload.
func reloadRows() []row {
	return rowsOf(registry.Describe[stackfile.Reload](), reflect.ValueOf(stackfile.DefaultReload()), "", "", "")
}

// checkRows returns the settings under the stack file's check.
func checkRows() []row {
	return rowsOf(registry.Describe[stackfile.Checks](), reflect.ValueOf(stackfile.Checks{}), "", "", "")
}

// testRows returns the settings of the stack file's tests.
func testRows() []row {
	return rowsOf(registry.Describe[stackfile.Test](), reflect.Value{}, "", "", "")
}

// rowsOf returns the settings of a struct and of the structs in it. Pkg and outer are for a struct
// without a name: where it is declared, and the key of the field that has it.
func rowsOf(t *registry.Type, v reflect.Value, path, pkg, outer string) []row {
	if t.Go.Name() != "" {
		pkg, outer = t.Go.PkgPath(), t.Go.Name()
	}
	var rows []row
	for _, f := range t.Fields {
		r := row{name: path + f.Name, goName: f.GoName, pkg: pkg, key: outer + "." + f.GoName, typ: f.Type, rules: f.Rules}
		if v.IsValid() {
			r.value = v.Field(f.Index)
		}
		rows = append(rows, r)
		inner, value, path := r.typ, r.value, r.name
		for inner.Elem != nil {
			path += map[registry.Form]string{registry.FormList: "[]", registry.FormMap: ".*"}[inner.Form]
			inner, value = inner.Elem, reflect.Value{}
		}
		if inner.Form == registry.FormStruct {
			rows = append(rows, rowsOf(inner, value, path+".", pkg, r.key)...)
		}
	}
	return rows
}

// group reports whether the row only stands for those that follow it.
func (r row) group() bool { return r.typ.Form == registry.FormStruct }

// missing reports whether a stack file must write the setting.
func (r row) missing() bool {
	return rule(r.rules, "required") != nil && (!r.value.IsValid() || r.value.IsZero())
}

// standard returns the default as a stack file would write it, or nothing when there is
// none to tell.
func (r row) standard() string {
	switch {
	case r.group() || r.missing() || !r.value.IsValid():
		return ""
	case r.typ.Form == registry.FormRef && r.value.IsZero():
		return "none"
	}
	return r.typ.Format(r.value)
}

// rule returns the rule of that name, or nil.
func rule(rules []registry.Rule, name string) *registry.Rule {
	if i := slices.IndexFunc(rules, func(r registry.Rule) bool { return r.Name == name }); i >= 0 {
		return &rules[i]
	}
	return nil
}

// words says what may be written for the setting: its type and constraints, such as
// "size, at least 1KiB". Code marks what is written as it stands, kind a kind of component.
func (r row) words(code func(string) string, kind func(k registry.Kind, plural bool) string) string {
	w := wording{code, kind}
	parts := []string{w.noun(r.typ, r.rules, false)}
	if r.typ.Elem != nil {
		for _, limit := range w.limits(r.typ.Elem, r.typ.ElemRules) {
			parts = append(parts, "each "+limit)
		}
	}
	rules := r.rules
	if r.missing() || r.typ.Form == registry.FormRef {
		// That it must be there is said in the place of the default.
		rules = slices.DeleteFunc(slices.Clone(rules), func(rule registry.Rule) bool { return rule.Name == "required" })
	}
	return strings.Join(append(parts, w.limits(r.typ, rules)...), ", ")
}

type wording struct {
	code func(string) string
	kind func(k registry.Kind, plural bool) string
}

// noun names a type, and the values of one that has only a few.
func (w wording) noun(t *registry.Type, rules []registry.Rule, plural bool) string {
	if one := rule(rules, "oneof"); one != nil {
		values := strings.Fields(one.Arg)
		for i, v := range values {
			values[i] = w.code(v)
		}
		return enumerate(values)
	}
	var noun string
	switch t.Form {
	case registry.FormBool:
		return w.code("true") + " or " + w.code("false")
	case registry.FormRef:
		return w.kind(t.Kind, plural)
	case registry.FormList:
		noun = "list"
	case registry.FormMap, registry.FormStruct:
		noun = "map"
	case registry.FormInt:
		noun = "whole number"
	case registry.FormFloat:
		noun = "number"
	case registry.FormDuration:
		noun = "duration"
	case registry.FormSize:
		noun = "size"
	case registry.FormPercent:
		noun = "percentage"
	case registry.FormPath:
		noun = "path"
	case registry.FormAddress:
		noun = "address"
	case registry.FormNetwork:
		noun = "network"
	case registry.FormSecret:
		noun = "secret"
	case registry.FormStack:
		noun = "stack"
	default:
		noun = "text"
		if rule(rules, "url") != nil {
			noun = "URL"
		}
	}
	if plural && noun == "address" {
		noun += "e"
	}
	if plural {
		noun += "s"
	}
	if t.Elem != nil {
		noun += " of " + w.noun(t.Elem, t.ElemRules, true)
	}
	return noun
}

// enumerate joins words as a sentence does: a, b or c.
func enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// limits says what the rules ask for, beyond what noun says.
func (w wording) limits(t *registry.Type, rules []registry.Rule) []string {
	var limits []string
	if span := span(t, rules); span != "" {
		limits = append(limits, span)
	}
	for _, r := range rules {
		switch r.Name {
		case "startswith":
			limits = append(limits, "beginning with "+w.code(r.Arg))
		case "unique":
			limits = append(limits, "none twice")
		case "omitempty":
			limits = append(limits, map[bool]string{true: "or 0", false: "or empty"}[t.Form == registry.FormInt || t.Form == registry.FormDuration])
		case "required":
			if t.Form != registry.FormList && t.Form != registry.FormMap {
				limits = append(limits, "not empty")
			}
		}
	}
	return limits
}

// span says how small and how large a value may be.
func span(t *registry.Type, rules []registry.Rule) string {
	arg := func(name string) string {
		r := rule(rules, name)
		if r == nil {
			return ""
		}
		if size, err := registry.ParseSize(r.Arg); err == nil && t.Form == registry.FormSize {
			return size.String()
		}
		return r.Arg
	}
	least, most := arg("min"), arg("max")
	unit := map[registry.Form]string{registry.FormString: " characters", registry.FormList: " entries", registry.FormMap: " entries"}[t.Form]
	number := t.Form == registry.FormInt || t.Form == registry.FormFloat
	switch {
	case least == "0" && most == "" && number:
		return "not negative"
	case (least == "" || least == "0" && !number || least == "0s") && most == "":
		return ""
	case least == "" || least == "0" && !number || least == "0s":
		return "at most " + most + unit
	case most == "":
		return "at least " + least + unit
	}
	return least + " to " + most + unit
}
