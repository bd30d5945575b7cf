package stackfile

import (
	"cmp"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
)

// Plan is a checked stack file. It never changes, and is safe for concurrent use.
type Plan struct {
	name string
	// sum tells what a stack that is mounted was made of.
	sum       string
	deadlines Deadlines
	reload    Reload
	checks    Checks
	control   Control
	processes Processes
	files     *Files
	servers   []*planned
	tests     []Case

	pidFile, addressFile Note
	keys                 []string // of the overrides, as written
	patterns             []pattern
	areas                []region
	routes               []*route // of the areas
	none                 *route   // of the requests that no pattern matches

	// linters stand between slots, where check: wants it: watched has them in order. Around is what the outermost slot
	// has around it.
	linters map[joint]*planned
	watched []*planned
	around  string

	// ways lead to the routes; plans with the same overrides have them in common.
	ways *ways
	// router is for explaining, and made when it is asked first.
	routing sync.Once
	router  *router[*route]
	// made are the effects by slot and by the overrides that speak to it, for the plan that is loaded with this one before
	// it.
	made map[string]map[string]*effect
	// layers are what the routes were made of.
	layers *effects
}

// Deadlines returns the stack file's deadlines.
func (p *Plan) Deadlines() Deadlines { return p.deadlines }

// The settings of a server that are the program's, which opens its sockets.
const (
	listenSetting = "listen"
	modeSetting   = "mode"
)

// listen returns the addresses in a server's setting of that name, and the mode of unix
// sockets, as far as the server has them.
func (p *planned) listen() (addresses []registry.Address, mode string) {
	v := reflect.ValueOf(p.cfg).Elem()
	addresses = []registry.Address{""}
	if f := p.def.Settings.Field(listenSetting); f != nil {
		switch listen := v.Field(f.Index).Interface().(type) {
		case registry.Address:
			addresses = []registry.Address{listen}
		case []registry.Address:
			addresses = listen
		}
	}
	if f := p.def.Settings.Field(modeSetting); f != nil && f.Type.Form == registry.FormString {
		mode = v.Field(f.Index).String()
	}
	return addresses, mode
}

// instances calls f for every instance that the stack needs, inner ones first, in the order of the
// stack, and those of mounted stacks before what mounts them. The linters between the slots come at the end.
func (p *Plan) instances(f func(*planned)) {
	seen := make(map[*planned]bool)
	for _, r := range append([]*route{p.none}, p.routes...) {
		if r == nil {
			continue
		}
		for _, e := range r.effects {
			if e.instance == nil || seen[e.instance] {
				continue
			}
			seen[e.instance] = true
			e.instance.all(func(inner *planned) { f(inner) })
		}
	}
	for _, linter := range p.watched {
		f(linter)
	}
}

// find returns the route of a request.
func (p *Plan) find(method, host, path string) *route {
	p.routing.Do(func() { p.router = withValues(p.layout(), p.routes, p.none) })
	return p.router.find(method, host, matched(path))
}

// ways are the layout of the routers over some patterns, which is made when it is asked first.
type ways struct {
	once   sync.Once
	layout layout
}

func (p *Plan) layout() layout {
	p.ways.once.Do(func() { p.ways.layout = newLayout(p.patterns, p.areas) })
	return p.ways.layout
}

// shownSettings returns the settings of an instance as they are shown to people, those
// of the instances it refers to among them.
func shownSettings(p *planned, prefix string) []environ.Setting {
	var shown []environ.Setting
	inner := make(map[string]*planned)
	for _, ref := range p.refs {
		inner[strings.TrimPrefix(ref.path, p.path+".")] = ref
	}
	var walk func(t *registry.Type, v reflect.Value, path string)
	walk = func(t *registry.Type, v reflect.Value, path string) {
		origin := func() string {
			if n := p.origins.at(path); n != nil {
				return n.pos.String()
			}
			return ""
		}
		switch {
		case t.Form == registry.FormStruct:
			for _, f := range t.Fields {
				walk(f.Type, v.Field(f.Index), strings.TrimPrefix(path+"."+f.Name, "."))
			}
			return
		case t.Form == registry.FormMap && v.Len() > 0:
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, k := range keys {
				walk(t.Elem, v.MapIndex(k), path+"["+k.String()+"]")
			}
			return
		case t.Form == registry.FormList && t.Elem.Form == registry.FormRef:
			shown = append(shown, environ.Setting{Name: prefix + path, Value: t.Format(v), Origin: origin()})
			for i := range v.Len() {
				if ref := inner[fmt.Sprintf("%s[%d]", path, i)]; ref != nil {
					shown = append(shown, shownSettings(ref, fmt.Sprintf("%s%s[%d].", prefix, path, i))...)
				}
			}
			return
		}
		value := t.Format(v)
		if t.Form == registry.FormPath {
			value = v.String()
		}
		if t.Form == registry.FormPath || t.Form == registry.FormStack && filepath.IsAbs(value) {
			value = near(value, cmp.Or(p.origins.at(path), &node{pos: p.at}).pos.source.dir)
		}
		shown = append(shown, environ.Setting{Name: prefix + path, Value: value, Origin: origin()})
		if ref := inner[path]; ref != nil {
			shown = append(shown, shownSettings(ref, prefix+path+".")...)
		}
	}
	walk(p.def.Settings, reflect.ValueOf(p.cfg).Elem(), "")
	return shown
}

// near returns a path as it would be written in a file of that folder: relative, if it is
// below the folder.
func near(path, dir string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) && path != "" {
		return rel
	}
	return path
}
