package stackfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/stackd/stackd/registry"
)

// What the stacks within a stack may cost.
const (
	maxMounted      = 64 // in all
	maxMountedDepth = 8
)

// mount is a stack that a setting holds.
type mount struct {
	// path is the setting's, within the component.
	path string
	plan *Plan
}

// MountedKeys are the keys of a stack that is written where it is mounted.
func MountedKeys() []string {
	return []string{"extends", "include", onReloadKey, "vars", "stack", "urls"}
}

// mounted returns the plan of the stack that a setting names or writes out, or nil after adding
// problems. Within is the path of the setting, which the instances of that stack begin theirs with.
func (l *loader) mounted(ctx context.Context, n *node, within string) *Plan {
	key := within + " " + n.sum()
	if n.form == scalar {
		_, path := n.pos.source.named(n.text)
		key = within + " " + path
	}
	if known, ok := l.files.mounted[key]; ok {
		return known
	}
	if l.files.mounted == nil {
		l.files.mounted = make(map[string]*Plan)
	}
	l.files.mounted[key] = nil // until it is done, and for one with problems
	switch {
	case len(l.files.mounted) == maxMounted+1:
		l.problems.add(n.pos, []string{n.where}, "more than %d stacks are mounted; there must be fewer", maxMounted)
		return nil
	case len(l.files.mounted) > maxMounted:
		return nil
	case len(l.around) == maxMountedDepth:
		l.problems.add(n.pos, []string{n.where}, "stacks are mounted within each other more than %d deep; is this one within itself?", maxMountedDepth)
		return nil
	}
	top, legal, source := n, MountedKeys(), n.pos.source
	if n.form == scalar {
		name, path := n.pos.source.named(n.text)
		d, err := l.files.open(name, path, "stack:")
		switch {
		case err != nil:
			l.problems.add(n.pos, []string{n.where}, "%s can't be read: %s", name, err)
			return nil
		case d.top == nil:
			return nil
		}
		top, legal, source = d.top, Keys(), d.source
		around := slices.Compact(append(slices.Clone(l.around), l.source))
		if i := slices.Index(around, source); i >= 0 {
			l.problems.add(n.pos, []string{n.where}, "%s mounts %s; a stack can't be mounted within itself", l.source.name, way(around[i:], ", which mounts "))
			return nil
		}
	}
	inner := &loader{
		registry: l.registry, options: l.options, files: l.files, source: source, merger: l.merger, problems: l.problems,
		within: within, around: append(slices.Clip(l.around), l.source), linter: l.linter, linterAt: l.linterAt,
	}
	if top = inner.whole(top, legal); top == nil {
		return nil
	}
	// A plan costs about three times what the nodes do that it is made of, each time.
	if l.files.values += 3 * top.size(); l.files.values > maxNodes {
		l.problems.add(n.pos, []string{n.where}, "with this stack there are more than %d values in all that is mounted; there must be fewer", maxNodes)
		return nil
	}
	plan := &Plan{name: source.name, sum: top.sum()}
	inner.lay(ctx, plan, top)
	l.files.mounted[key] = plan
	return plan
}

// size counts the values.
func (n *node) size() int {
	size := 1
	for _, p := range n.pairs {
		size += p.value.size()
	}
	for _, item := range n.items {
		size += item.size()
	}
	return size
}

// sum tells what was written from anything else, and from the same at another place.
func (n *node) sum() string {
	h := sha256.New()
	n.digest(h)
	return hex.EncodeToString(h.Sum(nil))
}

func (n *node) digest(h hash.Hash) {
	fmt.Fprintf(h, "%d %q %d:%d %q %q", n.form, n.pos.source.name, n.pos.line, n.pos.column, n.tag.String(), n.text)
	for _, p := range n.pairs {
		fmt.Fprintf(h, "%q %d:", p.key, p.keyPos.line)
		p.value.digest(h)
	}
	for _, item := range n.items {
		item.digest(h)
	}
	h.Write([]byte(";"))
}

// all calls f for p, all that it refers to, and the instances of the stacks that it mounts, the
// inner ones first.
func (p *planned) all(f func(*planned)) {
	for _, ref := range p.refs {
		ref.all(f)
	}
	for _, m := range p.mounts {
		m.plan.instances(f)
	}
	f(p)
}

// stack decodes a setting that holds a stack.
func (c *decoding) stack(n *node, v *registry.Stack, path string) {
	name := "(a stack of its own)"
	switch {
	case n.form == scalar && n.text != "":
		_, name = n.pos.source.named(n.text)
	case n.form == mapping:
	case n.form == scalar:
		return // as if it weren't there
	default:
		c.add(n, path, " is %s; it must be the path of a stack file, or a map with stack:", n.is())
		return
	}
	v.Choose(name)
	if c.mounted == nil {
		return
	}
	plan := c.mounted(n, c.planned.full()+"."+path+"/")
	if plan == nil {
		c.failed, c.bad[path] = true, true
		return
	}
	c.planned.mounts = append(c.planned.mounts, mount{path, plan})
}
