package schema

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/stackfile"
)

// dialect is draft-07 of JSON Schema: what yaml-language-server, which is behind most editors' YAML support,
// checks and completes by. Later drafts it knows in part, and nothing that is new in them is needed here. In
// draft-07 nothing counts that stands beside a $ref, so each $ref has an object of its own.
//
// Two keywords are not of the dialect, which leaves those that it doesn't know alone: enumDescriptions, which editors
// show beside suggestions, and patternErrorMessage, which they show in place of a pattern.
const dialect = "http://json-schema.org/draft-07/schema#"

// JSONSchema returns the JSON Schema (draft-07) of stack files with the components of reg, for
// editors: they complete and check what is written, and show what it means.
//
// It refuses nothing that the loader accepts, and is no replacement for it: rules across
// settings, which slots there are, and conflicts between patterns are beyond it. One thing it is stricter
// about: under urls, a slot named like a middleware is taken to hold a middleware, and one
// named like an app an app.
func JSONSchema(reg *registry.Registry) []byte { return proseOf(reg.All()...).JSONSchema(reg) }

// JSONSchema is the function of that name, with this prose.
func (p Prose) JSONSchema(reg *registry.Registry) []byte {
	b := &builder{prose: p, reg: reg, complete: make(map[*registry.Definition]*completion)}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(b.file()); err != nil {
		panic("schema: " + err.Error()) // it consists of maps, lists, texts and numbers
	}
	return out.Bytes()
}

type builder struct {
	prose Prose
	reg   *registry.Registry
	// complete has what is asked of a component's settings where nothing is merged under them.
	complete map[*registry.Definition]*completion
}

func ref(name string) object { return object{{"$ref", "#/definitions/" + name}} }

// anyOf accepts what one of the schemas does: nothing, when there is none.
func anyOf(all ...any) object {
	if len(all) == 0 {
		return object{{"not", object{}}}
	}
	return object{{"anyOf", all}}
}

// Names of definitions that don't belong to a component.
const (
	defExpansion = "expansion"
	defSwitch    = "switch"
	defServer    = "entry.server"
	defStack     = "entry.stack"
	defSlot      = "entry.slot"
	defOverride  = "override"
	defMounted   = "mounted"
)

func definition(d *registry.Definition) string { return string(d.Kind) + "." + d.Name }

func (b *builder) file() object {
	defs := object{
		{defExpansion, object{
			{"description", "A text with ${env:NAME}, ${env:NAME:-default}, ${file:path}, or $$ for a dollar."},
			{"type", "string"},
			{"pattern", `\$(\$|\{(env|file):[^}]+\})`},
		}},
		{defSwitch, anyOf(
			object{{"type", "boolean"}},
			object{{"enum", []any{"on", "off", "yes", "no"}}},
			inAnyCase("true", "on", "yes", "false", "off", "no"),
			ref(defExpansion),
		)},
		{defServer, b.entry("The server to run.", true, registry.KindServer)},
		{defStack, b.entry("The middleware or app that stands here.", true, registry.KindMiddleware, registry.KindApp)},
		{defSlot, b.entry("The middleware or app that stands here, with what differs from the file that is extended.", false, registry.KindMiddleware, registry.KindApp)},
		{defOverride, b.override()},
		{defMounted, b.mounted()},
	}
	for _, d := range b.reg.All() {
		defs = defs.set(definition(d), b.component(d))
	}
	for _, kind := range registry.Kinds() {
		if len(b.of(kind)) > 0 {
			defs = defs.set("reference."+string(kind), b.reference(kind))
		}
	}
	for _, d := range b.reg.All() {
		if c := b.completion(d); c.used || c.schema != nil {
			defs = defs.set(definition(d)+".complete", nonNil(c.schema))
		}
	}
	return object{
		{"$schema", dialect},
		{"title", "stack file"},
		{"type", "object"},
		{"properties", b.keys()},
		{"additionalProperties", false},
		// Whether servers must be there depends on what the file is for: one that is mounted needs none,
		// and one that is included has urls alone, one with tests these.
		{"anyOf", []any{object{{"required", []any{"stack"}}}, object{{"required", []any{"extends"}}}, object{{"required", []any{"urls"}}}, object{{"required", []any{"tests"}}}}},
		// What a file says of a slot of the file that it extends need not be all.
		{"if", object{{"required", []any{"extends"}}}},
		{"then", object{{"properties", object{{"stack", object{{"items", ref(defSlot)}}}}}}},
		{"else", object{{"properties", object{{"stack", object{{"items", ref(defStack)}}}}}}},
		{"definitions", defs},
	}
}

// mounted is a stack that is written where it is mounted. An override may say a part of it.
func (b *builder) mounted() object {
	keys := b.keys()
	properties := object{}
	for _, k := range keys {
		switch {
		case !slices.Contains(stackfile.MountedKeys(), k.name):
		case k.name == "stack":
			properties = append(properties, member{k.name, append(k.value.(object), member{"items", ref(defSlot)})})
		default:
			properties = append(properties, k)
		}
	}
	return object{
		{"description", "A stack of its own, written where it is mounted."},
		{"type", "object"},
		{"properties", properties},
		{"additionalProperties", false},
	}
}

// note is the path of a file that stackd writes.
func (b *builder) note() object {
	return object{
		{"anyOf", []any{
			object{{"type", "null"}},
			object{{"const", false}},
			object{
				{"type", "string"},
				{"pattern", "[^/]$"},
				{"patternErrorMessage", "It must be off, or the path of a file such as run/stackd.pid."},
				{"not", inAnyCase("true", "on", "yes")},
			},
		}},
	}
}

// keys are the properties of the file itself.
func (b *builder) keys() object {
	schemas := map[string]object{
		"servers":   {{"type", "array"}, {"minItems", 1}, {"items", ref(defServer)}},
		"deadlines": nullable(b.structure(registry.Describe[stackfile.Deadlines](), deadlineRows(), "")),
		"reload":    nullable(b.structure(registry.Describe[stackfile.Reload](), reloadRows(), "")),
		"check":     nullable(b.structure(registry.Describe[stackfile.Checks](), checkRows(), "")),
		"processes": {
			{"anyOf", []any{
				object{{"type", "null"}},
				object{{"type", "integer"}, {"minimum", 1}, {"maximum", 1024}},
				object{{"const", "auto"}},
				ref(defExpansion),
			}},
		},
		"control": {
			{"anyOf", []any{
				object{{"type", "null"}},
				ref(defSwitch),
				object{{"type", "string"}, {"pattern", "^unix:."}, {"patternErrorMessage", "It must be off, or a unix socket such as unix:run/control.sock."}},
			}},
		},
		"on_reload":    onReload(),
		"pid_file":     b.note(),
		"address_file": b.note(),
		"vars":         {{"type", []any{"object", "null"}}},
		"stack":        {{"type", "array"}, {"minItems", 1}},
		"extends":      {{"type", []any{"string", "null"}}},
		"include": {
			{"type", []any{"array", "string", "null"}},
			{"items", object{{"type", "string"}, {"minLength", 1}}},
		},
		"urls": {
			{"type", []any{"object", "null"}},
			// The coarse form of a pattern: an upper case method, a host, and a path.
			{"propertyNames", object{
				{"pattern", `^([^a-z/\s]+[ \t]+)?[^/\s]*/([^/?#]+/)*[^/?#]*$`},
				{"patternErrorMessage", "It must be a pattern such as /admin/, POST /upload/{id} or *.example.org/."},
			}},
			{"additionalProperties", ref(defOverride)},
		},
		"tests": {
			{"type", []any{"array", "null"}},
			{"items", b.structure(registry.Describe[stackfile.Test](), testRows(), "").set("required", []any{"ask"})},
		},
	}
	var o object
	for _, key := range stackfile.Keys() {
		about, _, _ := strings.Cut(keySection(key), "\n\n")
		about = strings.ReplaceAll(strings.ReplaceAll(about, "`", ""), "\n", " ")
		o = o.set(key, append(object{{"description", about}}, schemas[key]...))
	}
	return o
}

// of returns the components of some kinds.
func (b *builder) of(kinds ...registry.Kind) []*registry.Definition {
	return slices.DeleteFunc(b.reg.All(), func(d *registry.Definition) bool { return !slices.Contains(kinds, d.Kind) })
}

// named returns what a component may be called, with what each is for, as editors show it beside a
// suggestion.
func (b *builder) named(all []*registry.Definition) object {
	if len(all) == 0 {
		return anyOf()
	}
	values, about := []any{}, []any{}
	for _, d := range all {
		values, about = append(values, d.Name), append(about, b.prose[d.Package].Synopsis)
	}
	return object{{"enum", values}, {"enumDescriptions", about}}
}

// bare returns the components that need no settings.
func (b *builder) bare(all []*registry.Definition) []*registry.Definition {
	return slices.DeleteFunc(slices.Clone(all), func(d *registry.Definition) bool { return b.completion(d).incomplete })
}

// when returns what is asked of a map that uses d.
func when(d *registry.Definition, then ...any) object {
	return object{
		{"if", object{{"properties", object{{"use", object{{"const", d.Name}}}}}, {"required", []any{"use"}}}},
		{"then", object{{"allOf", then}}},
	}
}

// entry is an element of servers or stack. Whole says that nothing else is said of it elsewhere.
func (b *builder) entry(about string, whole bool, kinds ...registry.Kind) object {
	all := b.of(kinds...)
	var rules []any
	for _, d := range all {
		then := []any{ref(definition(d))}
		if whole && b.completion(d).schema != nil {
			then = append(then, ref(definition(d)+".complete"))
		}
		rules = append(rules, when(d, then...))
	}
	settings := object{
		{"type", "object"},
		{"properties", object{
			{"use", described(about, b.named(all), ref(defExpansion))},
			{"as", described("The name of the slot, when it is not the component's: one that stands twice needs it.",
				object{
					{"type", "string"},
					{"pattern", "^[a-z][a-z0-9_]*$"},
					{"patternErrorMessage", "It must be lower case letters, digits and underscores, and begin with a letter."},
				}, ref(defExpansion))},
			{"off", described("Leave it out, until an override under urls says on.", ref(defSwitch))},
		}},
		{"required", []any{"use"}},
	}
	if len(rules) > 0 {
		settings = settings.set("allOf", rules)
	}
	if whole {
		all = b.bare(all)
	}
	return nameOr(settings, b.named(all), ref(defExpansion))
}

// nameOr is a map, or else something shorter. As an anyOf it would mean the same, but then an editor shows for a fault in
// the map that it should have been something else.
func nameOr(settings object, short ...any) object {
	return object{{"if", object{{"type", "object"}}}, {"then", settings}, {"else", anyOf(short...)}}
}

func described(about string, all ...any) object {
	return append(object{{"description", about}}, anyOf(all...)...)
}

// onReload is what the key of that name may say.
func onReload() object {
	var legal []any
	for _, o := range stackfile.OnReloads() {
		legal = append(legal, string(o))
	}
	return anyOf(object{{"enum", append(legal, nil)}}, ref(defExpansion))
}

// override is what stands under a pattern.
func (b *builder) override() object {
	properties := object{{"vars", object{
		{"description", "Vars for these URLs, merged over the others by key."}, {"type", []any{"object", "null"}},
	}}, {"on_reload", append(object{{"description", "What becomes of requests for these URLs that are under way when a reload changes what they meet."}}, onReload()...)}}
	for _, d := range b.of(registry.KindMiddleware, registry.KindApp) {
		properties = properties.set(d.Name, b.slot(b.prose[d.Package].Synopsis, []*registry.Definition{d}, d.Kind))
	}
	return object{
		{"type", "object"},
		{"properties", properties},
		{"additionalProperties", b.slot("", nil, registry.KindMiddleware, registry.KindApp)},
	}
}

// slot is what an override says to a slot. First is what most likely stands there.
func (b *builder) slot(about string, first []*registry.Definition, kinds ...registry.Kind) object {
	all := first
	for _, d := range b.of(kinds...) {
		if !slices.Contains(first, d) {
			all = append(all, d)
		}
	}
	use := described("Another component, with its own defaults.", b.named(b.of(kinds...)), ref(defExpansion))
	settings := append(b.choice(all, use), member{"properties", object{{"as", false}, {"off", ref(defSwitch)}}})
	onOff := ref(defSwitch)
	if len(kinds) == 1 && kinds[0] == registry.KindApp {
		onOff = stayOn()
	}
	s := nameOr(settings, onOff)
	if about != "" {
		s = append(object{{"description", about}}, s...)
	}
	return s
}

// stayOn is the switch of an app, which can't be off.
func stayOn() object {
	return anyOf(
		object{{"enum", []any{true, "on", "yes"}}},
		inAnyCase("true", "on", "yes"),
		ref(defExpansion),
	)
}

// neverOff is the same for the key off.
func neverOff() object {
	return anyOf(
		object{{"enum", []any{false, "off", "no"}}},
		inAnyCase("false", "off", "no"),
		ref(defExpansion),
	)
}

// choice is a map with the settings of one of several components: of that which use names, or, without
// use, of any, since what stands there is said elsewhere.
func (b *builder) choice(all []*registry.Definition, use object) object {
	var rules, each []any
	for _, d := range all {
		rules = append(rules, when(d, ref(definition(d))))
		each = append(each, ref(definition(d)))
	}
	rules = append(rules, object{
		{"if", object{{"not", object{{"required", []any{"use"}}}}}},
		{"then", anyOf(each...)},
	}, object{{"properties", object{{"use", use}}}})
	return object{{"type", "object"}, {"allOf", rules}}
}

// reference is a setting that names a component.
func (b *builder) reference(kind registry.Kind) object {
	all := b.of(kind)
	use := described("The "+string(kind)+" to use.", b.named(all), ref(defExpansion))
	settings := b.choice(all, use)
	switch kind {
	case registry.KindServer, registry.KindMiddleware, registry.KindApp:
		// Their settings have these where they are entries.
		settings = settings.set("properties", object{{"as", false}, {"off", false}})
	}
	// Not nameOr: as the value of a setting, editors would not suggest the names.
	return anyOf(b.named(all), ref(defExpansion), settings)
}

// component is a map with the settings of a component, not all of which need to be there.
func (b *builder) component(d *registry.Definition) object {
	s := b.structure(d.Settings, componentRows(d), "")
	properties := object{{"use", true}}
	switch d.Kind {
	case registry.KindServer, registry.KindMiddleware:
		properties = properties.set("as", true).set("off", true)
	case registry.KindApp:
		properties = properties.set("as", true).set("off", neverOff())
	}
	for i, m := range s {
		if m.name == "properties" {
			s[i].value = append(properties, m.value.(object)...)
		}
	}
	if about := b.prose[d.Package].Synopsis; about != "" {
		s = append(object{{"description", upperFirst(about) + "."}}, s...)
	}
	return append(object{{"title", d.Name}}, s...)
}

// structure is a map with the settings of a struct, whose rows are those that begin with path.
func (b *builder) structure(t *registry.Type, rows []row, path string) object {
	properties := object{}
	for _, f := range t.Fields {
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == path+f.Name })
		properties = properties.set(f.Name, b.setting(rows[i], rows))
	}
	return object{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
}

// setting is one setting, with what an editor shows for it.
func (b *builder) setting(r row, rows []row) object {
	plainWords := func(s string) string { return s }
	var parts []string
	if text, named := b.prose.about(r); text != "" {
		if named {
			text = r.name[strings.LastIndexByte(r.name, '.')+1:] + text
		}
		parts = append(parts, plain(parse(text)))
	}
	if !r.group() {
		parts = append(parts, upperFirst(r.words(plainWords, kindNoun))+".")
	}
	o := object{}
	if len(parts) > 0 {
		o = o.set("description", strings.Join(parts, "\n\n"))
	}
	if r.value.IsValid() && !r.group() && !r.missing() {
		if standard, ok := written(r.typ, r.value); ok {
			o = o.set("default", standard)
		}
	}
	if r.pkg == reflect.TypeFor[stackfile.Match]().PkgPath() && r.key == "Match.JSON" {
		return o // any value
	}
	return append(o, b.value(r.typ, r.rules, rows, r.name)...)
}
