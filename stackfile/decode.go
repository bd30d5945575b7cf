package stackfile

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
)

// planned is an instance to be: a component with its effective settings and the
// instances that it refers to.
type planned struct {
	// path is where it stands: the slot's name, and then the setting that refers to it,
	// such as "session.store".
	path string
	def  *registry.Definition
	// cfg is a pointer to the settings, whose references aren't bound yet.
	cfg any
	// refs are the instances referred to, in the order of the settings.
	refs []*planned
	// at is where a problem with the whole of it is shown, and where the override.
	at      pos
	where   string
	origins origins
	// mounts are the stacks that it holds, and within the setting that holds the stack that it
	// stands in.
	mounts []mount
	within string
	// secrets are where secrets were written.
	secrets []*node
	// hashed is what identity returns, once somebody asked.
	hashed string
	once   sync.Once
}

// full is where it stands, seen from the outermost stack.
func (p *planned) full() string { return p.within + p.path }

// title is full, and which component that is.
func (p *planned) title() string { return fmt.Sprintf("%s (%s %s)", p.full(), p.def.Kind, p.def.Name) }

// inner reports whether a setting of another component refers to p.
func (p *planned) inner() bool { return strings.Contains(p.path, ".") }

// settingsOf returns what a user would call the settings' owner in a message.
func (p *planned) settingsOf() string { return p.def.Name }

// decoder turns settings nodes into the components' own settings.
type decoder struct {
	registry *registry.Registry
	problems *problems
	dir      string
	// slots says which slot has a setting of that name, for a hint at a place.
	slots func(at pos, setting, not string) string
	// mounted plans a stack that a setting holds; nil when only its name is wanted.
	mounted func(n *node, within string) *Plan
	// within is the setting that holds the stack, empty for one that isn't mounted.
	within string
}

// plan decodes n over the defaults of def. Keys named in skip are the entry's own. It
// adds problems, and returns the instance as far as it goes, or nil when it found any.
func (d *decoder) plan(path string, def *registry.Definition, n *node, at pos, where string, skip ...string) *planned {
	p := &planned{path: path, def: def, cfg: def.Default(), at: at, where: where, within: d.within}
	c := &decoding{decoder: d, planned: p, bad: make(map[string]bool)}
	if n != nil && n.form == mapping {
		c.fields(def.Settings, n, reflect.ValueOf(p.cfg).Elem(), "", skip)
	}
	absolute(def.Settings, reflect.ValueOf(p.cfg).Elem(), d.dir)
	c.references()
	check := def.Check
	if c.failed {
		check = def.Constraints // Validate would see settings that couldn't be read
	}
	for _, wrong := range check(p.cfg) {
		c.setting(wrong)
	}
	if c.failed {
		return nil
	}
	return p
}

// decoding is the decoding of one instance.
type decoding struct {
	*decoder
	planned *planned
	refs    map[string]*node // the node of each reference, by path
	failed  bool
	bad     map[string]bool // settings that couldn't be read, by path
}

func (c *decoding) add(n *node, path, format string, args ...any) {
	c.failed, c.bad[path] = true, true
	c.problems.add(n.pos, []string{n.where, c.planned.path}, path+format, args...)
}

// setting adds what the check of the settings found, where the setting was written.
func (c *decoding) setting(wrong registry.SettingError) {
	c.failed = true
	path := wrong.Setting
	if c.bad[path] {
		return // it was left at its default, and a problem says why
	}
	text := strings.TrimSpace(wrong.Setting + " " + wrong.Problem)
	for path != "" {
		if n := c.planned.origins.at(path); n != nil {
			c.problems.add(n.pos, []string{n.where, c.planned.path}, "%s", text)
			return
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	c.problems.add(c.planned.at, []string{c.planned.where, c.planned.path}, "%s", text)
}

// fields decodes the keys of a map into a struct.
func (c *decoding) fields(t *registry.Type, n *node, v reflect.Value, path string, skip []string) {
	for _, p := range n.pairs {
		if slices.Contains(skip, p.key) {
			continue
		}
		f := t.Field(p.key)
		if f == nil {
			c.unknown(t, n, p, path, skip)
			continue
		}
		c.value(f.Type, p.value, v.Field(f.Index), strings.TrimPrefix(path+"."+f.Name, "."))
	}
}

// unknown says that a key of n isn't a setting, and what might have been meant.
func (c *decoding) unknown(t *registry.Type, n *node, p pair, path string, skip []string) {
	c.failed = true
	names := slices.Clone(skip)
	for _, f := range t.Fields {
		names = append(names, f.Name)
	}
	owner := c.planned.settingsOf()
	if path != "" {
		owner += "'s " + path
	}
	hint := c.referred(t, n, p.key)
	if hint == "" {
		hint = deeper(t, p.key)
	}
	if hint == "" {
		hint = DidYouMean(p.key, names)
	}
	if hint == "" && slices.Contains(skip, "off") && slices.Contains([]string{"enabled", "enable", "disabled", "disable", "on", "active"}, p.key) {
		hint = "; what switches a slot is off: true or off: false"
	}
	if hint == "" && path == "" {
		hint = c.slots(p.keyPos, p.key, c.planned.path)
	}
	if hint == "" && path != "" && c.planned.def.Settings.Field(p.key) != nil {
		hint = fmt.Sprintf("; %s itself has, one level up", c.planned.def.Name)
	}
	if hint == "" && path == "" && c.planned.inner() {
		hint = c.others(p.key)
	}
	if hint == "" {
		hint = c.elsewhere(p, slices.Contains(skip, "as"))
	}
	if hint == "" {
		switch {
		case len(t.Fields) == 0:
			hint = "; it has no settings"
		case len(t.Fields) <= 8:
			hint = "; it has " + strings.Join(names[len(skip):], ", ")
		}
	}
	where := []string{p.value.where, c.planned.path}
	if path == "" && strings.HasSuffix(c.planned.path, owner) {
		where = where[:1] // "errors: errors has no setting" says it twice
	}
	c.problems.add(p.keyPos, where, "%s has no setting %q%s", owner, p.key, hint)
}

// elsewhere returns a hint where a key belongs that no component has for a setting. Entry says that it stands in an
// entry of the stack, or of the servers.
func (c *decoding) elsewhere(p pair, entry bool) string {
	switch {
	case slices.Contains(Keys(), p.key):
		return "; it is a key of the file, and stands at the left margin"
	case strings.HasPrefix(p.key, "/"):
		return "; a pattern stands under urls:"
	}
	for _, d := range c.registry.Named(p.key) {
		if entry && (d.Kind == registry.KindMiddleware || d.Kind == registry.KindApp) {
			if p.value.where != "" { // under a pattern
				return fmt.Sprintf("; it is %s: write it beside %s", aKind(d.Kind), c.planned.path)
			}
			return fmt.Sprintf("; it is %s, and an entry of its own in stack:", aKind(d.Kind))
		}
	}
	return ""
}

// referred returns a hint that the key is a setting of a component that n names beside it.
func (c *decoding) referred(t *registry.Type, n *node, key string) string {
	for _, f := range t.Fields {
		name := n.get(f.Name)
		if f.Type.Form != registry.FormRef || name == nil {
			continue
		}
		kind := reflect.New(f.Type.Go).Interface().(registry.Reference).Kind()
		if def := c.registry.Lookup(kind, useOf(name)); def != nil && def.Settings.Field(key) != nil {
			return fmt.Sprintf("; %[1]s has: write %[2]s: {use: %[1]s, %[3]s: …}", def.Name, f.Name, key)
		}
	}
	return ""
}

// deeper returns a hint that the key is a setting one level down.
func deeper(t *registry.Type, key string) string {
	for _, f := range t.Fields {
		if f.Type.Form == registry.FormStruct && f.Type.Field(key) != nil {
			return fmt.Sprintf("; %[1]s has, one level down: write %[1]s: {%[2]s: …}", f.Name, key)
		}
	}
	return ""
}

// others returns a hint that another component of the same kind has a setting.
func (c *decoding) others(setting string) string {
	for _, d := range c.registry.All() {
		if d.Kind == c.planned.def.Kind && d != c.planned.def && d.Settings.Field(setting) != nil {
			return fmt.Sprintf("; %s has: write use: %s beside it", d.Name, d.Name)
		}
	}
	return ""
}

// value decodes n into v, which holds the default. Null leaves it.
func (c *decoding) value(t *registry.Type, n *node, v reflect.Value, path string) {
	if n.form == broken {
		c.failed, c.bad[path] = true, true
		return
	}
	if n.isNull() {
		return
	}
	if t.Form != registry.FormRef {
		c.planned.origins.set(path, n)
	}
	if t.Form == registry.FormSecret {
		c.planned.secrets = append(c.planned.secrets, n)
		c.problems.secret(n)
	}
	switch t.Form {
	case registry.FormRef:
		c.reference(n, v, path)
	case registry.FormStack:
		c.stack(n, v.Addr().Interface().(*registry.Stack), path)
	case registry.FormStruct:
		if n.form != mapping {
			c.wrong(t, n, path)
			return
		}
		c.fields(t, n, v, path, nil)
	case registry.FormMap:
		c.entries(t, n, v, path)
	case registry.FormList:
		c.items(t, n, v, path)
	default:
		if n.form != scalar {
			c.wrong(t, n, path)
			return
		}
		if problem := setScalar(t, n, v); problem != "" {
			c.add(n, path, " is %s; %s", n.is(), problem)
			return
		}
		absolute(t, v, n.pos.source.dir) // where it was written, which may be another file
	}
}

// wrong says that n isn't what a setting of type t must be.
func (c *decoding) wrong(t *registry.Type, n *node, path string) {
	c.add(n, path, " is %s; it must be %s%s", n.is(), t.Noun(), missingSpace(n))
}

func (c *decoding) entries(t *registry.Type, n *node, v reflect.Value, path string) {
	if n.form != mapping {
		c.wrong(t, n, path)
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(t.Go))
	}
	for _, p := range n.pairs {
		key := reflect.ValueOf(p.key)
		value := reflect.New(t.Elem.Go).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			value.Set(old)
		} else if p.value.isNull() {
			continue // the default of an entry is that there is none
		}
		c.value(t.Elem, p.value, value, path+"["+p.key+"]")
		v.SetMapIndex(key, value)
	}
}

func (c *decoding) items(t *registry.Type, n *node, v reflect.Value, path string) {
	if n.form == scalar && t.Elem.Form < registry.FormRef {
		v.Set(reflect.MakeSlice(t.Go, 1, 1)) // one plain value stands for the list of it
		c.value(t.Elem, n, v.Index(0), path)
		c.bad[path+"[0]"] = c.bad[path]
		return
	}
	if n.form != list {
		c.wrong(t, n, path)
		return
	}
	v.Set(reflect.MakeSlice(t.Go, len(n.items), len(n.items)))
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.isNull() {
			c.wrong(t.Elem, item, at) // there is no default to restore
			continue
		}
		c.value(t.Elem, item, v.Index(i), at)
	}
}

// reference decodes the name of a component, and keeps its settings for later.
func (c *decoding) reference(n *node, v reflect.Value, path string) {
	ref := v.Addr().Interface().(registry.Reference)
	name := useOf(n)
	switch {
	case n.form == list:
		c.add(n, path, " is a list; it must be the name of %s", aKind(ref.Kind()))
		return
	case n.form == scalar && name == "":
		c.add(n, path, " is empty; it must be the name of %s", aKind(ref.Kind()))
		return
	case n.form == mapping && n.get("use") != nil && name == "":
		use := n.get("use")
		if use.form == broken {
			c.failed, c.bad[path] = true, true
			return
		}
		is := "empty"
		if use.form != scalar {
			is = use.is()
		}
		c.add(use, path, ": use is %s; it must be the name of %s", is, aKind(ref.Kind()))
		return
	case name == "":
		name = ref.Name()
	}
	if name == "" {
		c.add(n, path, " names no component; it must have use: and the name of %s", aKind(ref.Kind()))
		return
	}
	at := n
	if use := n.get("use"); use != nil {
		at = use
	}
	if c.registry.Lookup(ref.Kind(), name) == nil {
		c.add(at, path, ": %s", unknownComponent(c.registry, name, ref.Kind()))
		return
	}
	if n.form == scalar {
		c.planned.origins.set(path, n)
	} else if use := n.get("use"); use != nil {
		c.planned.origins.set(path, use)
	}
	ref.Choose(name)
	if c.refs == nil {
		c.refs = make(map[string]*node)
	}
	c.refs[path] = n
}

// unknownComponent says that there is no component of that name and kind.
func unknownComponent(r *registry.Registry, name string, kinds ...registry.Kind) string {
	var names []string
	for _, d := range r.All() {
		if slices.Contains(kinds, d.Kind) {
			names = append(names, d.Name)
		}
	}
	if others := r.Named(name); len(others) > 0 {
		var is []string
		for _, d := range others {
			is = append(is, aKind(d.Kind))
		}
		hint := ""
		if kinds[0] == registry.KindServer || len(kinds) > 1 { // an entry of servers: or stack:
			hint = belongs(r, others)
		}
		return fmt.Sprintf("%q is %s; it must be %s%s", name, oneOf(is), aKind(kinds...), hint)
	}
	hint := DidYouMean(name, names)
	if hint == "" {
		hint = "; there is " + oneOf(names)
		if len(names) == 0 {
			hint = "; none is compiled into this program"
		}
	}
	return fmt.Sprintf("unknown %s %q%s", strings.TrimPrefix(strings.TrimPrefix(aKind(kinds...), "a "), "an "), name, hint)
}

// belongs returns a hint where components of a kind are named.
func belongs(r *registry.Registry, components []*registry.Definition) string {
	kind := components[0].Kind
	switch {
	case len(components) > 1:
		return ""
	case kind == registry.KindServer:
		return "; it belongs into servers:"
	case kind == registry.KindMiddleware || kind == registry.KindApp:
		return "; it belongs into stack:"
	}
	var places []string
	for _, d := range r.All() {
		for _, f := range d.Settings.Fields {
			t := f.Type
			for t.Elem != nil {
				t = t.Elem
			}
			if t.Form == registry.FormRef && t.Kind == kind {
				places = append(places, fmt.Sprintf("%s: of %s", f.Name, d.Name))
			}
		}
	}
	if len(places) == 0 || len(places) > 3 {
		return ""
	}
	return "; it belongs into " + oneOf(places)
}

// aKind names kinds with their article: an app, a middleware or app.
func aKind(kinds ...registry.Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	article := "a "
	if kinds[0] == registry.KindApp {
		article = "an "
	}
	return article + oneOf(words)
}

// references plans the instances that the settings refer to.
func (c *decoding) references() {
	_ = c.planned.def.References(c.planned.cfg, func(path string, ref registry.Reference) error {
		def := c.registry.Lookup(ref.Kind(), ref.Name())
		if def == nil { // a default of this component that isn't compiled in
			c.failed = true
			c.problems.add(c.planned.at, []string{c.planned.where, c.planned.path}, "%s: %s", path, unknownComponent(c.registry, ref.Name(), ref.Kind()))
			return nil
		}
		n, at, where := c.refs[path], c.planned.at, c.planned.where
		if n != nil {
			at, where = n.pos, n.where
		}
		if c.bad[path] {
			return nil
		}
		inner := c.plan(c.planned.path+"."+path, def, n, at, where, "use")
		if inner == nil {
			c.failed = true
			return nil
		}
		c.planned.refs = append(c.planned.refs, inner)
		return nil
	})
}

// absolute makes the paths in a value absolute, relative ones being taken from dir.
func absolute(t *registry.Type, v reflect.Value, dir string) {
	switch t.Form {
	case registry.FormPath:
		v.Set(reflect.ValueOf(v.Interface().(registry.Path).Within(dir)))
	case registry.FormAddress:
		v.Set(reflect.ValueOf(v.Interface().(registry.Address).Within(dir)))
	case registry.FormStruct:
		for _, f := range t.Fields {
			absolute(f.Type, v.Field(f.Index), dir)
		}
	case registry.FormList:
		for i := range v.Len() {
			absolute(t.Elem, v.Index(i), dir)
		}
	case registry.FormMap:
		for iter := v.MapRange(); iter.Next(); {
			value := reflect.New(t.Elem.Go).Elem()
			value.Set(iter.Value())
			absolute(t.Elem, value, dir)
			v.SetMapIndex(iter.Key(), value)
		}
	}
}

// setScalar sets v to what n says, and returns what it must be when it can't.
func setScalar(t *registry.Type, n *node, v reflect.Value) (problem string) {
	must := "it must be " + t.Noun()
	switch t.Form {
	case registry.FormBool:
		on, ok := switchOf(n)
		if !ok {
			return must
		}
		v.SetBool(on)
	case registry.FormInt:
		return setInt(t, n, v)
	case registry.FormFloat:
		f, err := strconv.ParseFloat(n.text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return must
		}
		v.SetFloat(f)
	case registry.FormDuration:
		duration, err := time.ParseDuration(n.text)
		if err != nil {
			if _, err := strconv.ParseFloat(n.text, 64); err == nil && n.text != "0" {
				return "it must have a unit, such as " + n.text + "s or " + n.text + "m"
			}
			return must
		}
		v.SetInt(int64(duration))
	case registry.FormSize:
		size, err := registry.ParseSize(n.text)
		if err != nil {
			return err.Error()
		}
		v.SetInt(int64(size))
	case registry.FormPercent:
		percent, err := registry.ParsePercent(n.text)
		if err != nil {
			return err.Error()
		}
		v.SetFloat(float64(percent))
	case registry.FormAddress:
		if err := registry.Address(n.text).Check(); err != nil {
			return err.Error()
		}
		v.SetString(n.text)
	case registry.FormNetwork:
		if err := registry.Network(n.text).Check(); err != nil {
			return err.Error()
		}
		v.SetString(n.text)
	case registry.FormSecret:
		v.Set(reflect.ValueOf(registry.NewSecret(n.text)))
	case registry.FormPath:
		if strings.ContainsRune(n.text, 0) {
			return "it must not have a NUL"
		}
		v.SetString(n.text)
	default:
		v.SetString(n.text)
	}
	return ""
}

func setInt(t *registry.Type, n *node, v reflect.Value) (problem string) {
	if v.CanUint() {
		u, err := strconv.ParseUint(n.text, 0, 64)
		if err != nil || v.OverflowUint(u) {
			return fmt.Sprintf("it must be a whole number from 0 to %d", uint64(1)<<t.Go.Bits()-1)
		}
		v.SetUint(u)
		return ""
	}
	i, err := strconv.ParseInt(n.text, 0, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("it must be from %d to %d", math.MinInt64, math.MaxInt64)
	case err != nil:
		return "it must be " + t.Noun()
	}
	v.SetInt(i)
	return ""
}

// switchOf reads true, on, yes and their opposites, as YAML 1.1 and people write them.
func switchOf(n *node) (on, ok bool) {
	if n.form != scalar {
		return false, false
	}
	switch strings.ToLower(n.text) {
	case "true", "on", "yes":
		return true, true
	case "false", "off", "no":
		return false, true
	}
	return false, false
}
