package schema

import (
	"reflect"

	"github.com/stackd/stackd/registry"
)

// completion is what is asked of a component's settings in addition where nothing is merged under them: in
// servers and stack, and in what these refer to.
type completion struct {
	// schema is nil when nothing is.
	schema object
	// incomplete says that the defaults alone aren't enough.
	incomplete bool
	// used says that something refers to the schema, though it may turn out to be empty: a component
	// can refer to others of its own kind.
	used, done bool
}

func (b *builder) completion(d *registry.Definition) *completion {
	c := b.complete[d]
	if c == nil {
		c = new(completion)
		b.complete[d] = c
		c.schema, c.incomplete = b.completeStruct(d.Settings, reflect.ValueOf(d.Default()).Elem())
		c.done = true
	}
	return c
}

// nonNil returns a schema that asks nothing for none.
func nonNil(o object) object {
	if o == nil {
		return object{}
	}
	return o
}

func (b *builder) completeStruct(t *registry.Type, v reflect.Value) (schema object, incomplete bool) {
	var properties object
	var required []any
	for _, f := range t.Fields {
		var value reflect.Value
		if v.IsValid() {
			value = v.Field(f.Index)
		}
		inner, lacking := b.completeValue(f.Type, value)
		if rule(f.Rules, "required") != nil && (!value.IsValid() || value.IsZero()) {
			lacking = true
			inner = append(nonNil(inner), member{"not", null()})
		}
		if lacking {
			required = append(required, f.Name)
		}
		if inner != nil {
			properties = properties.set(f.Name, inner)
		}
	}
	if properties != nil {
		schema = schema.set("properties", properties)
	}
	if required != nil {
		schema = schema.set("required", required)
	}
	return schema, required != nil
}

// completeValue is the same for one setting; v is its default, or the zero Value where there is none.
func (b *builder) completeValue(t *registry.Type, v reflect.Value) (schema object, incomplete bool) {
	switch t.Form {
	case registry.FormStruct:
		return b.completeStruct(t, v)
	case registry.FormRef:
		return b.completeRef(t, v)
	case registry.FormList:
		if inner, _ := b.completeValue(t.Elem, reflect.Value{}); inner != nil {
			schema = object{{"items", inner}}
		}
	case registry.FormMap:
		var properties object
		asked := false
		if v.IsValid() {
			for _, key := range sortedKeys(v) {
				inner, _ := b.completeValue(t.Elem, v.MapIndex(key))
				asked = asked || inner != nil
				properties = properties.set(key.String(), nonNil(inner))
			}
		}
		if inner, _ := b.completeValue(t.Elem, reflect.Value{}); inner != nil {
			schema, asked = schema.set("additionalProperties", inner), true
		}
		if properties != nil && asked {
			schema = schema.set("properties", properties)
		}
	}
	return schema, false
}

func (b *builder) completeRef(t *registry.Type, v reflect.Value) (schema object, incomplete bool) {
	name := ""
	if v.IsValid() && !v.IsZero() {
		name = t.Format(v)
	}
	standard := b.reg.Lookup(t.Kind, name)
	var rules []any
	for _, d := range b.of(t.Kind) {
		c := b.completion(d)
		if c.incomplete {
			rules = append(rules, object{{"not", object{{"const", d.Name}}}})
		}
		if c.schema != nil || !c.done {
			c.used = true
			rules = append(rules, object{{"if", object{{"type", "object"}}}, {"then", when(d, ref(definition(d)+".complete"))}})
		}
		if d == standard {
			incomplete = c.incomplete
		}
	}
	// Without use it is the default that is spoken to, if there is one.
	unused := object{{"type", "object"}, {"not", object{{"required", []any{"use"}}}}}
	switch {
	case standard == nil:
		rules = append(rules, object{{"if", object{{"type", "object"}}}, {"then", object{{"required", []any{"use"}}}}})
	case b.completion(standard).schema != nil:
		rules = append(rules, object{{"if", unused}, {"then", object{{"allOf", []any{ref(definition(standard)), ref(definition(standard) + ".complete")}}}}})
	default:
		rules = append(rules, object{{"if", unused}, {"then", ref(definition(standard))}})
	}
	return object{{"allOf", rules}}, incomplete
}
