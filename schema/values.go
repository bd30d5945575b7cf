package schema

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// What the loader reads a text as, beside the numbers that YAML knows itself.
const (
	integerPattern  = `(0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO]?(_?[0-7])+|0|[1-9](_?[0-9])*)`
	floatPattern    = `^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`
	durationPattern = `(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)`
	sizePattern     = `([0-9]+|([0-9]+\.?[0-9]*|\.[0-9]+) *([kKmMgGtT][iI]?)?[bB])`
	percentPattern  = `^0*(100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+)%$`
	portPattern     = `(\+?0*(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|-0+)`
	addressPattern  = `^(unix:.{1,107}|(\[[^\[\]]*\]|[^:\[\]]*):` + portPattern + `)$`
	networkPattern  = `^(unix|[0-9.]+(/[0-9]{1,2})?|[0-9a-fA-F]*:[0-9a-fA-F.:]*:[0-9a-fA-F.:]*(/[0-9]{1,3})?)$`
	urlPattern      = `^[A-Za-z][A-Za-z0-9+.-]*:.`
)

// value is what may be written for a setting of type t. Rows has those of the structs in it, whose names
// begin with path. Null restores the default.
func (b *builder) value(t *registry.Type, rules []registry.Rule, rows []row, path string) object {
	return nullable(b.given(t, rules, rows, path))
}

// nullable accepts null, too.
func nullable(o object) object {
	for i, m := range o {
		switch m.name {
		case "type":
			types, several := m.value.([]any)
			if !several {
				types = []any{m.value}
			}
			if !slices.Contains(types, any("null")) {
				o[i].value = append(types, "null")
			}
			return o
		case "anyOf":
			o[i].value = append(m.value.([]any), null())
			return o
		}
	}
	return anyOf(o, null())
}

// given is the same where there is no default to restore: in a list.
func (b *builder) given(t *registry.Type, rules []registry.Rule, rows []row, path string) object {
	switch t.Form {
	case registry.FormStruct:
		s := b.structure(t, rows, path+".")
		if t.Go == reflect.TypeFor[stackfile.Match]() { // a text stands for what is equal to it
			return anyOf(s, object{{"type", []any{"string", "number", "boolean"}}})
		}
		return s
	case registry.FormList:
		o := object{{"type", "array"}, {"items", b.given(t.Elem, t.ElemRules, rows, path+"[]")}}
		o = limit(o, rules, map[string]string{"min": "minItems", "max": "maxItems", "unique": "uniqueItems"})
		if t.Elem.Form >= registry.FormRef || !admits(rules, 1) {
			return o
		}
		return anyOf(o, b.given(t.Elem, t.ElemRules, rows, path+"[]")) // one plain value stands for the list of it
	case registry.FormMap:
		o := object{{"type", "object"}, {"additionalProperties", b.value(t.Elem, t.ElemRules, rows, path+".*")}}
		return limit(o, rules, map[string]string{"min": "minProperties", "max": "maxProperties"})
	case registry.FormRef:
		if len(b.of(t.Kind)) == 0 {
			return anyOf() // there is nothing that it could name
		}
		return ref("reference." + string(t.Kind))
	case registry.FormStack:
		return anyOf(text([]registry.Rule{{Name: "required"}})[0], ref(defMounted))
	}
	forms := scalar(t, rules)
	if len(forms) == 1 && forms[0][0].name == "type" && len(forms[0]) == 1 {
		// Any text will do: one with an expansion, too.
		return object{{"type", []any{"string", "number", "boolean"}}}
	}
	all := make([]any, 0, len(forms)+1)
	for _, f := range forms {
		all = append(all, f)
	}
	return anyOf(append(all, ref(defExpansion))...)
}

func null() object { return object{{"type", "null"}} }

// limit adds rules that JSON Schema has under other names.
func limit(o object, rules []registry.Rule, keywords map[string]string) object {
	for _, r := range rules {
		switch keyword := keywords[r.Name]; keyword {
		case "":
		case "uniqueItems":
			o = o.set(keyword, true)
		default:
			if n, err := strconv.ParseFloat(r.Arg, 64); err == nil {
				o = o.set(keyword, n)
			}
		}
	}
	return o
}

// scalar returns the ways to write a value of a type that is neither a list nor a map.
func scalar(t *registry.Type, rules []registry.Rule) []object {
	var forms []object
	if rule(rules, "omitempty") != nil {
		forms = []object{{{"enum", []any{""}}}}
		switch t.Form {
		case registry.FormInt:
			forms = []object{{{"enum", []any{0, "0"}}}}
		case registry.FormDuration:
			forms = []object{{{"enum", []any{0, "0", "0s"}}}}
		}
	}
	if one := rule(rules, "oneof"); one != nil {
		return append(forms, oneOf(t, strings.Fields(one.Arg)))
	}
	numeric := map[string]string{"min": "minimum", "max": "maximum"}
	switch t.Form {
	case registry.FormBool:
		return []object{ref(defSwitch)}
	case registry.FormInt:
		number := object{{"type", "integer"}}
		if bits := t.Go.Bits(); t.Go.Kind() == reflect.Uint16 || t.Go.Kind() == reflect.Uint32 {
			if rule(rules, "min") == nil {
				number = number.set("minimum", 0)
			}
			if rule(rules, "max") == nil {
				number = number.set("maximum", math.Exp2(float64(bits))-1)
			}
		}
		return append(forms, limit(number, rules, numeric), matching(t, signed(t, rules, integerPattern)))
	case registry.FormFloat:
		return append(forms, limit(object{{"type", "number"}}, rules, numeric), matching(t, floatPattern))
	case registry.FormSize:
		return append(forms, limit(object{{"type", "integer"}}, rules, numeric), matching(t, signed(t, rules, sizePattern)))
	case registry.FormDuration:
		forms = append(forms, matching(t, signed(t, rules, durationPattern)))
		if admits(rules, 0) {
			forms = append(forms, object{{"enum", []any{0}}})
		}
		return forms
	case registry.FormPercent:
		return append(forms, matching(t, percentPattern))
	case registry.FormAddress:
		return append(forms, matching(t, addressPattern))
	case registry.FormNetwork:
		return append(forms, matching(t, networkPattern))
	}
	return append(forms, text(rules)...)
}

// text returns the ways to write a text. One that looks like a number needs no quotes.
func text(rules []registry.Rule) []object {
	o := object{{"type", "string"}}
	if rule(rules, "required") != nil && rule(rules, "min") == nil {
		o = o.set("minLength", 1)
	}
	o = limit(o, rules, map[string]string{"min": "minLength", "max": "maxLength"})
	if r := rule(rules, "startswith"); r != nil {
		o = o.set("pattern", "^"+regexp.QuoteMeta(r.Arg)).set("patternErrorMessage", "It must begin with "+r.Arg+".")
	}
	if rule(rules, "url") != nil {
		o = o.set("pattern", urlPattern).set("patternErrorMessage", "It must be a URL such as https://example.org/.")
	}
	if len(o) == 1 {
		return []object{o}
	}
	return []object{o, {{"type", []any{"number", "boolean"}}}}
}

func oneOf(t *registry.Type, values []string) object {
	var all []any
	for _, v := range values {
		if n, err := strconv.Atoi(v); err == nil && t.Form == registry.FormInt {
			all = append(all, n)
		}
		all = append(all, v)
	}
	return object{{"enum", all}}
}

// matching is a text for a value of type t. Editors show the message, and not the pattern, where it doesn't
// match.
func matching(t *registry.Type, pattern string) object {
	return object{{"type", "string"}, {"pattern", pattern}, {"patternErrorMessage", "It must be " + t.Noun() + "."}}
}

// signed is the pattern of a number after its sign, with that sign. When the rules refuse what is negative a
// minus may stand before nothing but zeros.
func signed(t *registry.Type, rules []registry.Rule, number string) string {
	switch {
	case t.Go.Kind() == reflect.Uint16 || t.Go.Kind() == reflect.Uint32:
		return "^" + number + "$"
	case admits(rules, -1):
		return "^[-+]?" + number + "$"
	}
	return `^(\+?` + number + `|-[.0][.0_a-zA-Zµμ\s]*)$`
}

// admits reports whether the rule min lets n pass; of durations it is in nanoseconds.
func admits(rules []registry.Rule, n float64) bool {
	r := rule(rules, "min")
	if r == nil {
		return true
	}
	least, err := strconv.ParseFloat(r.Arg, 64)
	if err != nil {
		duration, _ := time.ParseDuration(r.Arg)
		least = float64(duration)
	}
	return least <= n
}

// inAnyCase is one of these words in upper, lower or mixed case. The dialect's regular expressions have no
// flag for that.
func inAnyCase(words ...string) object {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, c := range word {
			b.WriteString("[" + strings.ToUpper(string(c)) + string(c) + "]")
		}
	}
	return object{{"type", "string"}, {"pattern", "^(" + b.String() + ")$"}}
}

// written returns a value as JSON has what a stack file would write for it. Secrets are not
// told.
func written(t *registry.Type, v reflect.Value) (any, bool) {
	switch t.Form {
	case registry.FormSecret:
		return nil, false
	case registry.FormBool, registry.FormInt, registry.FormFloat:
		return v.Interface(), true
	case registry.FormSize:
		if text := t.Format(v); strings.TrimLeft(text, "-0123456789") != "" {
			return text, true
		}
		return v.Int(), true
	case registry.FormDuration, registry.FormPercent:
		return t.Format(v), true
	case registry.FormRef:
		name := t.Format(v)
		return name, name != ""
	case registry.FormList:
		list := []any{}
		for i := range v.Len() {
			if item, ok := written(t.Elem, v.Index(i)); ok {
				list = append(list, item)
			}
		}
		return list, true
	case registry.FormMap:
		entries := object{}
		for _, key := range sortedKeys(v) {
			if value, ok := written(t.Elem, v.MapIndex(key)); ok {
				entries = entries.set(key.String(), value)
			}
		}
		return entries, true
	case registry.FormStruct:
		fields := object{}
		for _, f := range t.Fields {
			if value, ok := written(f.Type, v.Field(f.Index)); ok {
				fields = fields.set(f.Name, value)
			}
		}
		return fields, true
	}
	return v.String(), true
}

func sortedKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
}
