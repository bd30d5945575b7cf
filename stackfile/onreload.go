package stackfile

import "github.com/stackd/stackd/registry/inspect"

// OnReload says what becomes of a request under way when a reload changes what it meets, such as a download or a
// WebSocket. It is the stack file's on_reload.
type OnReload string

const (
	// OnReloadDrain gives it until the deadline.
	OnReloadDrain OnReload = "drain"
	// OnReloadKeep lets it go on until it ends by itself.
	OnReloadKeep OnReload = "keep"
	// OnReloadClose ends it at once.
	OnReloadClose OnReload = "close"
)

// onReloadKey is the key, of the file and of an override.
const onReloadKey = "on_reload"

// OnReloads are what on_reload may say, the default first.
func OnReloads() []OnReload { return []OnReload{OnReloadDrain, OnReloadKeep, OnReloadClose} }

// onReload checks what stands under the key, and returns it; nil if that is nothing.
func (l *loader) onReload(n *node, where ...string) *node {
	if n == nil || n.form == broken {
		return nil
	}
	if n.isNull() {
		return n
	}
	var legal []string
	for _, o := range OnReloads() {
		if n.form == scalar && n.text == string(o) {
			return n
		}
		legal = append(legal, string(o))
	}
	hint := missingSpace(n)
	if n.form == scalar && hint == "" {
		hint = DidYouMean(n.text, legal)
	}
	l.problems.add(n.pos, where, "%s is %s; it must be %s%s", onReloadKey, n.is(), oneOf(legal), hint)
	return nil
}

// reloading returns what a checked node says, which may be nil; empty for nothing.
func (n *node) reloading() OnReload {
	switch {
	case n == nil:
		return ""
	case n.isNull():
		return OnReloadDrain // null restores the default
	}
	return OnReload(n.text)
}

// onReloadOf tells what is said of requests under the overrides in set, with what it was before.
func (p *Plan) onReloadOf(set []int) inspect.Setting {
	former := func(n *node) inspect.Former {
		if n == nil {
			return inspect.Former{Value: string(OnReloadDrain)}
		}
		return inspect.Former{Value: string(n.reloading()), Origin: n.pos.String()}
	}
	said := p.none.onReload
	var steps []map[string]inspect.Former
	step := func(n *node) {
		for _, was := range p.layers.formers(n) {
			steps = append(steps, map[string]inspect.Former{onReloadKey: former(was.value)})
		}
		steps = append(steps, map[string]inspect.Former{onReloadKey: former(n)})
	}
	step(said)
	for _, o := range set {
		if over := p.layers.overrides[o].onReload; over != nil {
			step(over)
		}
	}
	is := steps[len(steps)-1][onReloadKey]
	return inspect.Setting{Name: onReloadKey, Value: is.Value, Origin: is.Origin, Overrode: before(onReloadKey, steps)}
}
