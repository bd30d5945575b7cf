package schema_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
)

// whatever is part of a JSON document.
type whatever = map[string]any

// TestEditor looks for what an editor shows and completes by: in each place where a component may stand the
// names of all, with what they are for, and for each the settings that it has; for each setting what it means, its
// default, and the words that it may be.
func TestEditor(t *testing.T) {
	reg := registry.Compiled()
	var top struct{ Definitions map[string]whatever }
	if err := json.Unmarshal(schema.JSONSchema(reg), &top); err != nil {
		t.Fatal(err)
	}
	for place, kinds := range map[string][]registry.Kind{
		"entry.server": {registry.KindServer}, "entry.stack": {registry.KindMiddleware, registry.KindApp}, "entry.slot": {registry.KindMiddleware, registry.KindApp},
	} {
		t.Run(place, func(t *testing.T) {
			var names []any
			for _, d := range reg.All() {
				if !slices.Contains(kinds, d.Kind) {
					continue
				}
				names = append(names, d.Name)
				definition := "#/definitions/" + string(d.Kind) + "." + d.Name
				if !chooses(top.Definitions[place]["then"], d.Name, definition) {
					t.Errorf("with use: %s there must be the settings of %s", d.Name, definition)
				}
			}
			entry, _ := top.Definitions[place]["then"].(whatever)
			use := find(entry, "properties", "use")
			named, _ := use["anyOf"].([]any)[0].(whatever)
			if diff := cmp.Diff(names, named["enum"]); diff != "" {
				t.Errorf("use completes others than there are: -want +got\n%s", diff)
			}
			about, _ := named["enumDescriptions"].([]any)
			if len(about) != len(names) || slices.Contains(about, any("")) {
				t.Errorf("what they are for is %q", about)
			}
		})
	}
	for _, d := range reg.All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			s := top.Definitions[string(d.Kind)+"."+d.Name]
			if text, _ := s["description"].(string); text == "" {
				t.Error("the component has no description")
			}
			told(t, s, d.Settings, reflect.ValueOf(d.Default()).Elem(), "")
		})
	}
}

// chooses reports whether a part of a schema asks for what a definition says when use is a name.
func chooses(part any, name, definition string) bool {
	switch part := part.(type) {
	case []any:
		return slices.ContainsFunc(part, func(p any) bool { return chooses(p, name, definition) })
	case whatever:
		if condition, ok := part["if"].(whatever); ok {
			then, err := json.Marshal(part["then"])
			return err == nil && find(condition, "properties", "use")["const"] == name && strings.Contains(string(then), `"`+definition+`"`)
		}
		return chooses(part["allOf"], name, definition)
	}
	return false
}

func find(in whatever, path ...string) whatever {
	for _, p := range path {
		in, _ = in[p].(whatever)
	}
	return in
}

// told holds a schema against the settings that it is of.
func told(t *testing.T, s whatever, of *registry.Type, v reflect.Value, path string) {
	t.Helper()
	for _, f := range of.Fields {
		name := path + f.Name
		p := find(s, "properties", f.Name)
		if text, _ := p["description"].(string); text == "" {
			t.Errorf("%s has no description", name)
		}
		required := slices.ContainsFunc(f.Rules, func(r registry.Rule) bool { return r.Name == "required" })
		value := v.Field(f.Index)
		standard, there := p["default"]
		switch {
		case f.Type.Form == registry.FormStruct:
			told(t, p, f.Type, value, name+".")
			continue
		case f.Type.Form == registry.FormSecret, required && value.IsZero(), f.Type.Form == registry.FormRef && value.IsZero():
			if there {
				t.Errorf("%s has the default %v; it must have none", name, standard)
			}
		case !there:
			t.Errorf("%s has no default", name)
		case f.Type.Form == registry.FormString && standard != value.String():
			t.Errorf("%s has the default %v; it must be %q", name, standard, value)
		case f.Type.Form == registry.FormBool && standard != value.Bool():
			t.Errorf("%s has the default %v; it must be %v", name, standard, value)
		}
		for _, r := range f.Rules {
			if r.Name != "oneof" {
				continue
			}
			encoded, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			for word := range strings.FieldsSeq(r.Arg) {
				if !strings.Contains(string(encoded), `"enum":`) || !strings.Contains(string(encoded), `"`+word+`"`) {
					t.Errorf("%s doesn't complete %s", name, word)
				}
			}
		}
	}
}
