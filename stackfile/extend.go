package stackfile

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
)

// whole returns the top of a stack file with all that the file includes and extends, or nil after a
// problem that leaves open what it comes to. Legal are the keys that it may have; around are the
// files that extend it, each the one after it.
func (l *loader) whole(top *node, legal []string, around ...*source) *node {
	l.keys(top, legal)
	extends := top.pair("extends")
	if extends != nil {
		l.files.before = nil
	}
	over := l.including(top)
	if extends == nil || extends.value.isNull() {
		return over
	}
	base := l.base(extends.value, append(around, top.pos.source))
	if base == nil || over == nil {
		return nil
	}
	return l.extend(base, over)
}

// keys says which keys of a file it may not have.
func (l *loader) keys(top *node, legal []string) {
	for _, pair := range top.pairs {
		if slices.Contains(legal, pair.key) {
			continue
		}
		hint := l.ofServer(pair.key, legal)
		if hint == "" && len(l.registry.Named(pair.key)) > 0 && slices.Contains(legal, "stack") {
			hint = "; components are entries of servers: and stack:"
		}
		if hint == "" && strings.Contains(pair.key, "/") && slices.Contains(legal, "urls") {
			hint = "; a pattern stands under urls:"
		}
		if hint == "" {
			hint = DidYouMean(pair.key, legal)
		}
		l.guessed = append(l.guessed, hint)
		if hint == "" {
			hint = "; there is " + oneOf(legal)
		}
		l.problems.add(pair.keyPos, nil, "unknown key %q%s", pair.key, hint)
	}
}

// ofServer returns a hint that a key is a setting of servers, if these may stand beside it.
func (l *loader) ofServer(key string, legal []string) string {
	if !slices.Contains(legal, "servers") {
		return ""
	}
	name := ""
	for _, d := range l.registry.All() {
		if d.Kind == registry.KindServer && d.Settings.Field(key) != nil && (name == "" || d.Name == "http") {
			name = d.Name // most likely http, if it has that
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; it is a setting of a server: write servers: [{use: %s, %s: …}]", name, key)
}

// base returns what the file extends that n names. Around are the files on the way there.
func (l *loader) base(n *node, around []*source) *node {
	if !l.path(n, "extends", "a stack file") {
		return nil
	}
	name, path := n.pos.source.named(n.text)
	d, err := l.files.open(name, path, "stack: or something else of a stack file")
	if err != nil {
		l.problems.add(n.pos, nil, "extends: %s can't be read: %s", name, err)
		return nil
	}
	if i := slices.Index(around, d.source); i >= 0 {
		l.problems.add(n.pos, nil, "extends: %s extends %s; a file can't extend itself", around[len(around)-1].name, way(around[i:], ", which extends "))
		return nil
	}
	if d.top == nil {
		return nil
	}
	whole := l.whole(d.top, Keys(), around...)
	if whole != nil { // whose tests are its own
		whole.pairs = slices.DeleteFunc(slices.Clone(whole.pairs), func(p pair) bool { return p.key == "tests" })
	}
	return whole
}

// way names files, each of which does something to the next.
func way(files []*source, does string) string {
	names := make([]string, len(files))
	for i, s := range files {
		names[i] = s.name
	}
	return strings.Join(names, does)
}

// path reports whether n is the path of something, and adds a problem if it isn't.
func (l *loader) path(n *node, key, what string) bool {
	switch {
	case n.form == broken:
		return false
	case n.form != scalar || n.isNull() || n.text == "" || strings.ContainsRune(n.text, 0):
		l.problems.add(n.pos, nil, "%s is %s; it must be the path of %s", key, n.is(), what)
		return false
	}
	return true
}

// including returns a file with the urls of the files that it includes, or nil after a problem with one
// of those.
func (l *loader) including(top *node) *node {
	whole := &node{form: mapping, pos: top.pos}
	for _, p := range top.pairs {
		if p.key != "extends" && p.key != "include" && p.key != "urls" {
			whole.pairs = append(whole.pairs, p)
		}
	}
	urls := top.pair("urls")
	files, ok := l.included(top.get("include"))
	if urls == nil && len(files) > 0 {
		urls = &pair{key: "urls", keyPos: files[0].top.pos, value: &node{form: mapping, pos: files[0].top.pos}}
	}
	if urls != nil {
		all := *urls
		if all.value.isNull() && len(files) > 0 {
			all.value = &node{form: mapping, pos: all.value.pos}
		}
		if all.value.form == mapping {
			all.value = l.patterns(all.value, files)
		}
		whole.pairs = append(whole.pairs, all)
	}
	if !ok {
		return nil
	}
	return whole
}

// patterns returns urls with those of the files. What matches the same URLs stands there once.
func (l *loader) patterns(urls *node, files []*document) *node {
	if known := l.urlsBefore(); known != nil && known.consists(urls, files) {
		return known
	}
	all := &node{form: mapping, pos: urls.pos, pairs: make([]pair, 0, len(urls.pairs))}
	same := make(map[string]pair, len(urls.pairs))
	add := func(p pair) {
		key := p.key
		if pat, err := parsePattern(p.key); err == nil {
			key = pat.language()
		}
		switch first, twice := same[key]; {
		case twice && first.key == p.key:
			l.problems.add(p.keyPos, nil, "the pattern %q stands on %s, too; write what differs under one of them", p.key, first.keyPos.seenFrom(p.keyPos))
		case twice:
			l.problems.add(p.keyPos, nil, "the pattern %q matches the same URLs as %q on %s; write what differs under one of them", p.key, first.key, first.keyPos.seenFrom(p.keyPos))
		default:
			same[key] = p
			all.pairs = append(all.pairs, p)
		}
	}
	for _, p := range urls.pairs {
		add(p)
	}
	for _, d := range files {
		for _, p := range d.top.get("urls").pairs {
			add(p)
		}
	}
	return all
}

// included returns the files that include: names, each once, and whether all was well.
func (l *loader) included(n *node) (files []*document, ok bool) {
	switch {
	case n == nil || n.isNull():
		return nil, true
	case n.form == scalar:
		n = &node{form: list, pos: n.pos, items: []*node{n}}
	case n.form == mapping:
		l.problems.add(n.pos, nil, "include is a map; it must be a list of paths such as urls.d/*.yaml")
		return nil, false
	}
	ok = n.form == list
	for _, item := range n.items {
		paths, found := l.matching(item)
		ok = ok && found
		for _, written := range paths {
			name, path := item.pos.source.named(written)
			d, err := l.files.open(name, path, "urls:")
			switch {
			case err != nil:
				l.problems.add(item.pos, nil, "include: %s can't be read: %s", name, err)
				ok = false
			case slices.Contains(files, d):
			case d.top == nil || !l.hasURLs(d.top):
				ok = false
			default:
				files = append(files, d)
			}
		}
	}
	return files, ok
}

// hasURLs reports whether the top of a file is one to be included, and adds problems if it isn't.
func (l *loader) hasURLs(top *node) bool {
	for _, p := range top.pairs {
		if p.key != "urls" && slices.Contains(Keys(), p.key) {
			l.problems.add(p.keyPos, nil, "a file that is included has %s:; it must have urls: alone", p.key)
			return false
		}
	}
	l.keys(top, []string{"urls"})
	urls := top.get("urls")
	switch {
	case urls == nil:
		if len(top.pairs) == 0 {
			l.problems.add(top.pos, nil, "urls: is missing; a file that is included must have it")
		}
		return false
	case urls.form != mapping:
		l.urls(urls) // says what it must be
		if urls.isNull() {
			l.problems.add(urls.pos, nil, "urls is empty; it must be a map of patterns such as /admin/:")
		}
		return false
	}
	return true
}

// matching returns the paths that an entry of include: stands for, in order, and whether all was well.
func (l *loader) matching(n *node) (paths []string, ok bool) {
	if !l.path(n, "include", "a file, such as urls.d/admin.yaml or urls.d/*.yaml") {
		return nil, false
	}
	const special = `*?[\`
	folder, file := filepath.Split(n.text)
	switch _, err := filepath.Match(file, ""); {
	case strings.ContainsAny(folder, special):
		l.problems.add(n.pos, nil, `include is %q; only the name of the file may have *, ? and [ in it, and no folder's`, n.text)
		return nil, false
	case !strings.ContainsAny(file, special):
		return []string{n.text}, true
	case err != nil:
		l.problems.add(n.pos, nil, "include is %q; every [ in it must be closed with ]", n.text)
		return nil, false
	}
	name, path := n.pos.source.named(cmp.Or(folder, "."))
	l.files.note(path) // a new file may match
	files, err := l.files.disk.folder(path)
	if err != nil {
		l.problems.add(n.pos, nil, "include: the folder %s can't be read: %s", name, plainError(err))
		return nil, false
	}
	for _, found := range files {
		// An editor's own files begin with a dot.
		if match, _ := filepath.Match(file, found); match && (found[0] != '.' || file[0] == '.') {
			paths = append(paths, folder+found)
		}
	}
	return paths, true
}

// extend lays one file over another, both whole.
func (l *loader) extend(base, over *node) *node {
	byName := make(map[string]*registry.Definition)
	merged := byKey(base, over, func(b, o pair) *node {
		switch b, o := b.value, o.value; {
		case o.form == broken:
			return o
		case b.form == broken:
			return b
		}
		switch b.key {
		case "vars", "deadlines", "reload", "check":
			return l.replaces(b, mergeFree(b.value, o.value))
		case onReloadKey:
			return l.replaces(b, o.value)
		case "stack":
			return l.extendStack(b.value, o.value)
		}
		return o.value
	})
	if stack := merged.get("stack"); stack != nil {
		for _, n := range stack.items {
			name, def := l.standing(n)
			byName[name] = def
		}
	}
	b, o := base.get("urls"), over.get("urls")
	if b != nil && o != nil && b.form == mapping && o.form == mapping {
		merged.pair("urls").value = l.extendURLs(b, o, byName)
	}
	return merged
}

// standing returns the slot that an entry of a stack stands for, and its component; "" and nil when
// that is unclear.
func (l *loader) standing(n *node) (name string, def *registry.Definition) {
	if n.form != scalar && n.form != mapping {
		return "", nil
	}
	use := useOf(n)
	def = cmp.Or(l.registry.Lookup(registry.KindMiddleware, use), l.registry.Lookup(registry.KindApp, use))
	if as := n.get("as"); as != nil && as.form == scalar {
		return as.text, def
	}
	return use, def
}

// replaces notes what was there before n, for explain, and returns n.
func (l *loader) replaces(was pair, n *node) *node {
	if n != was.value && was.value.form != broken {
		if l.former == nil {
			l.former = make(map[*node]pair)
		}
		l.former[n] = was
	}
	return n
}

// formers returns what n has replaced in the files that are extended, the first first.
func (l *loader) formers(n *node) []pair {
	var all []pair
	for was, ok := l.former[n]; ok; was, ok = l.former[was.value] {
		all = append(all, was)
	}
	slices.Reverse(all)
	return all
}

// extendStack lays the stack of a file over that of the file that it extends, whose order stands. A new entry
// comes behind the one that stands before it, or else before the one behind it. An app that is
// another slot takes the place of the app.
func (l *loader) extendStack(base, over *node) *node {
	if base.form != list || over.form != list {
		return over
	}
	merged := &node{form: list, pos: over.pos, items: slices.Clone(base.items)}
	var (
		first   []*node // new entries before any other
		said    = make(map[string]bool)
		last    = -1 // where the entry before stands
		replace = func(name string, def *registry.Definition) int {
			return slices.IndexFunc(merged.items, func(b *node) bool {
				slot, was := l.standing(b)
				return name != "" && slot == name || def != nil && was != nil && def.Kind == registry.KindApp && was.Kind == registry.KindApp
			})
		}
	)
	for _, n := range over.items {
		name, def := l.standing(n)
		at := -1
		if !said[name] {
			at = replace(name, def)
		}
		said[name] = true
		switch {
		case at >= 0:
			b := merged.items[at]
			if at < last {
				before, _ := l.standing(merged.items[last])
				l.problems.add(n.pos, nil, "%s stands behind %s here, and before it in what is extended (%s); the order there stands", name, before, b.pos.seenFrom(n.pos))
			}
			if slot, _ := l.standing(b); slot == name {
				n = l.replaces(pair{keyPos: b.pos, value: b}, l.extendEntry(b, n))
			}
			merged.items[at] = n
			merged.items = slices.Insert(merged.items, at, first...)
			last, first = max(last, at)+len(first), nil
		case last >= 0:
			last++
			merged.items = slices.Insert(merged.items, last, n)
		default:
			first = append(first, n)
		}
	}
	if len(first) > 0 && len(base.items) > 0 {
		name, _ := l.standing(first[0])
		slot, _ := l.standing(base.items[0])
		l.problems.add(first[0].pos, nil, "%s is new, and nothing here says where it stands among the entries of what is extended (%s); name one of those before or behind it, such as %s",
			cmp.Or(name, "the entry"), base.pos.seenFrom(first[0].pos), slot)
	}
	merged.items = append(first, merged.items...)
	return merged
}

// extendEntry lays an entry over the one of the same slot. Another component begins from its own
// defaults.
func (l *loader) extendEntry(base, over *node) *node {
	if over.form == scalar && useOf(base) == over.text {
		return base // its name alone says only where it stands
	}
	if base.form == scalar {
		base = &node{form: mapping, pos: base.pos, pairs: []pair{{key: "use", keyPos: base.pos, value: base}}}
	}
	if over.form == scalar {
		over = &node{form: mapping, pos: over.pos, pairs: []pair{{key: "use", keyPos: over.pos, value: over}}}
	}
	_, def := l.standing(over)
	return l.laySlot(base, over, def)
}

// laySlot lays what a file says of a slot over what the file that it extends says of it. Def is what
// stands there, if that is known.
func (l *loader) laySlot(base, over *node, def *registry.Definition) *node {
	was, is := useOf(base), useOf(over)
	if is != "" && was != is && (was != "" || def == nil || def.Name != is) {
		kept := &node{form: mapping, pos: base.pos, where: base.where}
		for _, key := range []string{"as", "off"} {
			if p := base.pair(key); p != nil {
				kept.pairs = append(kept.pairs, *p)
			}
		}
		base = kept
	}
	if is != "" || was != "" {
		def = cmp.Or(
			l.registry.Lookup(registry.KindMiddleware, cmp.Or(is, was)),
			l.registry.Lookup(registry.KindApp, cmp.Or(is, was)),
		)
	}
	return l.merger.maps(base, over, func(key string) *registry.Type {
		if def != nil {
			if f := def.Settings.Field(key); f != nil {
				return f.Type
			}
		}
		return nil
	})
}

// extendURLs lays the overrides of a file over those of the file that it extends: where two are for the
// same URLs, slot by slot.
func (l *loader) extendURLs(base, over *node, slots map[string]*registry.Definition) *node {
	merged := &node{form: mapping, pos: over.pos, pairs: slices.Clone(base.pairs)}
	at := make(map[string]int, len(base.pairs))
	language := func(key string) string {
		if pat, err := parsePattern(key); err == nil {
			return pat.language()
		}
		return key
	}
	for i, p := range base.pairs {
		at[language(p.key)] = i
	}
	for _, o := range over.pairs {
		i, both := at[language(o.key)]
		if !both {
			merged.pairs = append(merged.pairs, o)
			continue
		}
		b := base.pairs[i].value
		if b.form == mapping && o.value.form == mapping {
			o.value = byKey(b, o.value, func(b, o pair) *node {
				from, to := switched(b.value), switched(o.value)
				switch {
				case o.key == "vars":
					return l.replaces(b, mergeFree(b.value, o.value))
				case from.form != mapping || to.form != mapping:
					return l.replaces(b, o.value)
				}
				return l.replaces(b, l.laySlot(from, to, slots[o.key]))
			})
		}
		merged.pairs[i] = o
	}
	return merged
}

// switched returns the map that is as good as on or off; n itself if that is something else.
func switched(n *node) *node {
	on, ok := switchOf(n)
	if !ok {
		return n
	}
	off := &node{form: scalar, pos: n.pos, where: n.where, text: map[bool]string{true: "false", false: "true"}[on], tag: tagBool}
	return &node{form: mapping, pos: n.pos, where: n.where, pairs: []pair{{key: "off", keyPos: n.pos, value: off}}}
}
