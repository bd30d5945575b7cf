package stackfile

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/stackd/stackd/registry"
)

// Print returns a stack file that says what the plan does, and nothing else: what the file extends and
// includes, aliases and references are written out, every setting has its value, and a comment marks
// those that nobody wrote. In the same folder it loads to the same plan.
//
// Secrets stay references, as ${env:NAME}, where they were written so. One that stands in the file in clear
// is withheld, which a comment says; the printed file loads all the same.
func (p *Plan) Print() ([]byte, error) {
	w := &printer{effects: p.spare(), main: p.layers.source, secrets: p.layers.problems.secrets}
	top := &yaml.Node{Kind: yaml.MappingNode}
	servers := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range p.servers {
		servers.Content = append(servers.Content, w.entry(s, s.def.Name, false))
	}
	if len(p.servers) > 0 {
		put(top, "servers", servers)
	}
	put(top, "processes", w.processes(p.processes))
	put(top, "deadlines", settingsNode(p.deadlines, DefaultDeadlines()))
	put(top, "reload", settingsNode(p.reload, DefaultReload()))
	put(top, "check", settingsNode(p.checks, Checks{}))
	put(top, "control", w.control(p.control))
	put(top, "pid_file", w.note(p.pidFile))
	put(top, "address_file", w.note(p.addressFile))
	if n := p.none.onReload; n != nil {
		put(top, onReloadKey, w.node(n, nil))
	}
	if vars := p.none.vars; vars != nil && vars.form == mapping && len(vars.pairs) > 0 {
		put(top, "vars", w.node(vars, nil))
	}
	stack := &yaml.Node{Kind: yaml.SequenceNode}
	for _, f := range p.none.effects {
		stack.Content = append(stack.Content, w.entry(f.checked, f.slot.name, f.off))
	}
	put(top, "stack", stack)
	if len(w.overrides) > 0 {
		urls := &yaml.Node{Kind: yaml.MappingNode}
		for index, o := range w.overrides {
			put(urls, o.key, w.override(index))
		}
		put(top, "urls", urls)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s with everything written out. What nobody wrote is marked.\n", p.name)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(top); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// printer writes nodes of YAML.
type printer struct {
	*effects
	main    *source
	secrets *secrets
}

// put adds a pair to a map.
func put(to *yaml.Node, key string, value *yaml.Node) {
	to.Content = append(to.Content, keyNode(key), value)
}

// textNode is a text, which must not become anything else when it is read. A dollar in it is just that.
func textNode(s string) *yaml.Node { return keyNode(strings.ReplaceAll(s, "$", "$$")) }

// keyNode is a text in which nothing is replaced, as in a key.
func keyNode(s string) *yaml.Node {
	n := plainScalar("!!str", s)
	if s == "<<" || strings.Contains(s, "\t") || strings.Contains(s, "\n") && strings.TrimSpace(s) != s {
		n.Style = yaml.DoubleQuotedStyle // the library takes these for something else
	}
	return n
}

func plainScalar(tag, s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: s}
}

// entry writes a server, or a slot.
func (w *printer) entry(p *planned, name string, off bool) *yaml.Node {
	n := w.component(p)
	if n.Kind == yaml.ScalarNode && (off || name != p.def.Name) {
		n = &yaml.Node{Kind: yaml.MappingNode}
		put(n, "use", textNode(p.def.Name))
	}
	if name != p.def.Name {
		n.Content = slices.Insert(n.Content, 2, keyNode("as"), keyNode(name))
	}
	if off {
		put(n, "off", plainScalar("!!bool", "true"))
	}
	return n
}

// component writes a component by its name, or with its settings.
func (w *printer) component(p *planned) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	put(n, "use", textNode(p.def.Name))
	v := reflect.ValueOf(p.cfg).Elem()
	for _, f := range p.def.Settings.Fields {
		if value := w.value(p, f.Type, v.Field(f.Index), f.Name, false); value != nil {
			put(n, f.Name, value)
		}
	}
	if len(n.Content) == 2 {
		return n.Content[1]
	}
	return n
}

// value writes the setting of p at a path; nil for one that can't be written, since it has no value. Listed says
// that it is the entry of a list.
func (w *printer) value(p *planned, t *registry.Type, v reflect.Value, path string, listed bool) *yaml.Node {
	origin := p.origins.at(path)
	var n *yaml.Node
	switch t.Form {
	case registry.FormStruct:
		n = &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range t.Fields {
			if value := w.value(p, f.Type, v.Field(f.Index), path+"."+f.Name, false); value != nil {
				put(n, f.Name, value)
			}
		}
		return n
	case registry.FormMap:
		n = &yaml.Node{Kind: yaml.MappingNode}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			if value := w.value(p, t.Elem, v.MapIndex(k), path+"["+k.String()+"]", false); value != nil {
				put(n, k.String(), value)
			}
		}
		if len(n.Content) > 0 {
			return n // its entries say where they come from
		}
	case registry.FormList:
		n = &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			item := w.value(p, t.Elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i), true)
			if item == nil {
				return nil // a default that can't be shown
			}
			n.Content = append(n.Content, item)
		}
		for _, item := range n.Content {
			item.LineComment = ""
		}
		if isShort(n) {
			n.Style = yaml.FlowStyle
		}
	case registry.FormRef:
		i := slices.IndexFunc(p.refs, func(ref *planned) bool { return ref.path == p.path+"."+path })
		if i < 0 {
			return nil // it refers to nothing
		}
		if n = w.component(p.refs[i]); origin == nil && n.Kind == yaml.MappingNode && !listed {
			// An override that names the component would find it named here, and keep the settings.
			n.Content = n.Content[2:]
			n.HeadComment = "use: " + p.refs[i].def.Name + ", the default"
			return n
		}
	case registry.FormStack:
		if origin == nil {
			return nil // there is none
		}
		return w.node(origin, t)
	case registry.FormSecret:
		if origin == nil {
			return nil // a default is known to the component alone
		}
		return w.secret(origin)
	case registry.FormPath:
		n = textNode(near(v.String(), w.main.dir))
	case registry.FormAddress:
		if v.String() == "" {
			return nil
		}
		n = w.address(registry.Address(v.String()))
	case registry.FormNetwork:
		if v.String() == "" {
			return nil
		}
		n = textNode(v.String())
	case registry.FormString:
		if n = textNode(v.String()); origin != nil && origin.form == scalar && w.betrays(v.String()) {
			return w.secret(origin)
		}
	case registry.FormBool:
		n = plainScalar("!!bool", t.Format(v))
	default: // numbers, durations and sizes
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: t.Format(v)}
	}
	w.mark(n, origin)
	return n
}

// mark says where a value comes from, if that isn't the stack file itself.
func (w *printer) mark(n *yaml.Node, origin *node) {
	comment := ""
	switch {
	case origin == nil:
		comment = "default"
	case origin.pos.source != w.main:
		comment = origin.pos.String()
	}
	switch {
	case comment == "":
	case n.Kind == yaml.ScalarNode || n.Style == yaml.FlowStyle || len(n.Content) == 0:
		n.LineComment = comment
	default:
		n.HeadComment = comment
	}
}

// isShort reports whether a list fits on a line.
func isShort(n *yaml.Node) bool {
	length := 0
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, "\n") {
			return false
		}
		length += len(item.Value) + 4
	}
	return length < 60
}

func (w *printer) address(a registry.Address) *yaml.Node {
	network, path := a.Network()
	if network == "unix" {
		return textNode("unix:" + near(path, w.main.dir))
	}
	return textNode(string(a))
}

// settingsNode writes settings of the runtime's.
func settingsNode[C any](has, usually C) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	v, usual := reflect.ValueOf(has), reflect.ValueOf(usually)
	for _, f := range registry.Describe[C]().Fields {
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Type.Format(v.Field(f.Index))}
		if v.Field(f.Index).Equal(usual.Field(f.Index)) {
			value.LineComment = "default"
		}
		put(n, f.Name, value)
	}
	return n
}

func (w *printer) control(c Control) *yaml.Node {
	if c.Address != "" {
		return w.address(c.Address)
	}
	n := plainScalar("", c.String())
	if !c.Off {
		n.LineComment = "default"
	}
	return n
}

func (w *printer) note(n Note) *yaml.Node {
	if n.Path != "" {
		return textNode(n.written(w.main.dir))
	}
	off := plainScalar("", n.written(""))
	if n.at == nil {
		off.LineComment = "default"
	}
	return off
}

func (w *printer) processes(p Processes) *yaml.Node {
	n := plainScalar("", p.String())
	if p.at == nil {
		n.LineComment = "default"
	}
	return n
}

// override writes what an override says; nothing but what it says, since the rest follows.
func (w *printer) override(index int) *yaml.Node {
	o := w.overrides[index]
	all := &yaml.Node{Kind: yaml.MappingNode}
	for _, so := range o.slots {
		if so.node == nil {
			put(all, so.slot.name, plainScalar("", switchWord(*so.off)))
			continue
		}
		def := w.addressed(so.slot, index)
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, p := range so.node.pairs {
			var t *registry.Type
			if p.key != "use" && p.key != "off" {
				t = w.inner(def.Settings, p.key)
			}
			put(n, p.key, w.node(p.value, t))
		}
		put(all, so.slot.name, n)
	}
	if o.onReload != nil {
		put(all, onReloadKey, w.node(o.onReload, nil))
	}
	if o.vars != nil {
		put(all, "vars", w.node(o.vars, nil))
	}
	return all
}

// node writes what was written for a setting of that type; nil is free.
func (w *printer) node(n *node, t *registry.Type) *yaml.Node {
	var y *yaml.Node
	switch {
	case n.form == mapping && t != nil && t.Form == registry.FormStack:
		return w.mounted(n)
	case n.form == mapping:
		y = &yaml.Node{Kind: yaml.MappingNode}
		for _, p := range n.pairs {
			inner := w.inner(t, p.key)
			if t != nil && t.Form == registry.FormRef && p.key == "use" {
				inner = nil
			}
			put(y, p.key, w.node(p.value, inner))
		}
		return y
	case n.form == list:
		y = &yaml.Node{Kind: yaml.SequenceNode}
		var elem *registry.Type
		if t != nil {
			elem = t.Elem
		}
		for _, item := range n.items {
			inner := w.node(item, elem)
			inner.LineComment = ""
			y.Content = append(y.Content, inner)
		}
		if isShort(y) {
			y.Style = yaml.FlowStyle
		}
	case n.isNull():
		y = plainScalar("!!null", "null")
	default:
		if t != nil && t.Form == registry.FormList && t.Elem.Form < registry.FormRef {
			t = t.Elem // one plain value stands for the list of it
		}
		switch {
		case t != nil && t.Form == registry.FormSecret, w.betrays(n.text):
			return w.secret(n)
		case t != nil && (t.Form == registry.FormPath || t.Form == registry.FormStack):
			y = textNode(near(string(registry.Path(n.text).Within(n.pos.source.dir)), w.main.dir))
		case t != nil && t.Form == registry.FormAddress:
			y = w.address(registry.Address(n.text).Within(n.pos.source.dir))
		case slices.Contains([]tag{tagInt, tagFloat, tagBool}, n.tag):
			y = plainScalar(n.tag.String(), n.text)
		default:
			y = textNode(n.text)
		}
	}
	w.mark(y, n)
	return y
}

// mounted writes a stack that is written where it is mounted. It stays as it was written, since an override may say
// something else of a part of it.
func (w *printer) mounted(n *node) *yaml.Node {
	y := &yaml.Node{Kind: yaml.MappingNode}
	path := &registry.Type{Form: registry.FormPath}
	for _, p := range n.pairs {
		switch {
		case p.key == "extends" || p.key == "include" && p.value.form == scalar:
			put(y, p.key, w.node(p.value, path))
		case p.key == "include":
			put(y, p.key, w.node(p.value, &registry.Type{Form: registry.FormList, Elem: path}))
		case p.key == "stack" && p.value.form == list:
			entries := &yaml.Node{Kind: yaml.SequenceNode}
			for _, item := range p.value.items {
				var settings *registry.Type
				if _, def := w.standing(item); def != nil && item.form == mapping {
					settings = def.Settings
				}
				entries.Content = append(entries.Content, w.node(item, settings))
			}
			put(y, p.key, entries)
		default:
			put(y, p.key, w.node(p.value, nil))
		}
	}
	return y
}

// betrays reports whether there is a secret in a text.
func (w *printer) betrays(s string) bool {
	return w.secrets != nil && len(w.secrets.in(s)) > 0
}

// withheld returns what stands for a secret. It is long, since secrets may have to be, and a URL if the secret is.
func withheld(secret string) string {
	const text = "withheld-the-stack-file-has-it-in-clear"
	if scheme, _, ok := strings.Cut(secret, "://"); ok && schemes.MatchString(scheme) {
		return scheme + "://withheld.invalid/" + text
	}
	return text
}

var (
	reference  = regexp.MustCompile(`\$\{(env|file):([^}]*)\}`)
	schemes    = regexp.MustCompile(`^[a-z]{2,10}$`)
	references = regexp.MustCompile(`^(\$\{(env|file):[^}]*\})+$`)
)

// secret writes the references that a secret was written as. What else it was written as is withheld.
func (w *printer) secret(n *node) *yaml.Node {
	if n.form != scalar || n.text == "" {
		return plainScalar("!!str", "") // or a list with secrets in it
	}
	inClear := !references.MatchString(n.written())
	y := plainScalar("!!str", withheld(n.text))
	if !inClear {
		y.Value = reference.ReplaceAllStringFunc(n.written(), func(ref string) string {
			scheme, arg, _ := strings.Cut(ref[2:len(ref)-1], ":")
			switch name, _, fallback := strings.Cut(arg, ":-"); {
			case scheme == "file" && !filepath.IsAbs(arg):
				arg = near(filepath.Join(n.pos.source.dir, arg), w.main.dir)
			case scheme == "env" && fallback:
				arg, inClear = name+":-"+withheld(n.text), true
			}
			return "${" + scheme + ":" + arg + "}"
		})
	}
	w.mark(y, n)
	if inClear {
		y.LineComment = "a secret, which stands in clear in " + n.pos.String()
	}
	return y
}
