package stackfile

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stackd/stackd/registry"
)

// Options are what a load depends on beside the file. The zero value is right for a server.
type Options struct {
	// Processes is how many processes shall run the stack at the same time, on this machine
	// or behind the same balancer; 0 means as many as the file says. Components that keep state in their process
	// are a problem for more than one.
	Processes int
	// Env looks up environment variables; nil means those of this process.
	Env func(name string) (string, bool)
	// Purpose says in a few words what a component is for, to those who inspect the stack while it runs;
	// nil says nothing.
	Purpose func(*registry.Definition) string
	// Content, if it isn't nil, is taken for what the stack file has in it, which isn't read then. Its
	// path still says what it is called, and what paths in it are relative to.
	Content []byte
	// Unsaved, if it isn't nil, is asked for each file before that is read: an editor may have another text of it than the
	// disk. It is given an absolute path.
	Unsaved func(path string) (text []byte, ok bool)
	// Dir is the folder from which a relative path of the stack file is taken; empty for that in which the process works.
	Dir string
	// Tests says that the tests in the file beside the stack file are wanted, too.
	Tests bool
	// Allowed says that [Check] returns the warnings that comments allow, too.
	Allowed bool
	// Before is the stack that was built of the file when it was loaded last, or nil. What is written there as it
	// was need not be worked out anew. The outcome is the same.
	Before *Stack
	// Files, if it isn't nil, is taken for what is on disk.
	Files *Files
}

// Deadlines bound the stages of a server's life. They are the stack file's deadlines:.
type Deadlines struct {
	// Check is how long it may take to read and check the stack file when it has changed. A reload
	// that takes longer is given up, and the old stack serves on.
	Check time.Duration `yaml:"check" validate:"min=1s"`
	// Build is how long a new stack may take to build. One that takes longer is given up,
	// and the old one serves on.
	Build time.Duration `yaml:"build" validate:"min=1s"`
	// Listen is how long it may take to open new addresses and to start the servers there.
	Listen time.Duration `yaml:"listen" validate:"min=1s"`
	// Drain is how long the requests of the old stack may take to end after a reload. Then they
	// are cancelled.
	Drain time.Duration `yaml:"drain" validate:"min=0s"`
	// Close is how long the components of the old stack may take to close. When they take longer, the log
	// says which, and stackd status shows it; they are waited for all the same.
	Close time.Duration `yaml:"close" validate:"min=0s"`
	// Stop is how long all requests may take to end when the server stops. Then their
	// connections are closed.
	Stop time.Duration `yaml:"stop" validate:"min=0s"`
}

// DefaultDeadlines are those of a stack file that states none.
func DefaultDeadlines() Deadlines {
	return Deadlines{
		Check: 10 * time.Second, Build: time.Minute, Listen: 10 * time.Second,
		Drain: 30 * time.Second, Close: 10 * time.Second, Stop: 30 * time.Second,
	}
}

// Keys are the keys of a stack file, in the order in which they are usually written.
func Keys() []string {
	return []string{"extends", "include", "servers", "processes", "deadlines", "reload", "check", "control", "pid_file", "address_file", "on_reload", "vars", "stack", "urls", "tests"}
}

// Load reads and checks the stack file at path, which names components of reg. It
// returns a plan, or [Problems]. The files and folders it returns in either case are those that
// the outcome depended on, absolute, the stack file first: when one of them
// changes, a new Load may tell something else.
func Load(ctx context.Context, reg *registry.Registry, path string, o Options) (plan *Plan, dependsOn []string, err error) {
	plan, files, ps := load(ctx, reg, path, o)
	if err := ps.err(); err != nil {
		return nil, files.names, err
	}
	if err := ctx.Err(); err != nil {
		return nil, files.names, fmt.Errorf("%s: the load was given up: %w", path, context.Cause(ctx))
	}
	return plan, files.names, nil
}

// load is Load, with all that it knows. What is told of faults is told by a load that has taken nothing over: then it
// can't depend on what was there before.
func load(ctx context.Context, reg *registry.Registry, path string, o Options) (*Plan, *library, *problems) {
	var before *Plan
	if o.Before != nil {
		if running := o.Before.inspector.own.Load(); running != nil {
			before = running.Plan
		}
		o.Before = nil // or each plan would keep all that were before it
	}
	plan, files, ps := loadAfter(ctx, reg, path, o, before, nil)
	if before != nil && len(ps.list) > 0 {
		// A pipe can be read once.
		plan, files, ps = loadAfter(ctx, reg, path, o, nil, files.disk.now.read)
	}
	return plan, files, ps
}

// loadAfter is load after a plan; nil for none. Had is what was read already.
func loadAfter(ctx context.Context, reg *registry.Registry, path string, o Options, before *Plan, had map[string][]byte) (*Plan, *library, *problems) {
	name := path
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	ps := &problems{secrets: secretsOf(reg)}
	files := &library{env: o.Env, problems: ps, noted: make(map[string]bool), known: make(map[string]*document), given: o.Content, disk: disk{were: o.Files, now: newFiles(), had: had, unsaved: o.Unsaved}}
	if before != nil && before.layers.registry == reg {
		files.before = before.layers.files.known
	}
	d, err := files.open(name, path, "servers: and stack:")
	if err != nil {
		ps.add(pos{source: &source{name: name, main: true}, line: 1, column: 1}, nil, "the stack file can't be read: %s", err)
		return nil, files, ps
	}
	if d.top == nil {
		return nil, files, ps
	}
	l := &loader{registry: reg, options: o, before: before, files: files, source: d.source, merger: merger{registry: reg}, problems: ps}
	defer func() { l.before = nil }()
	plan := l.load(ctx, d.top)
	return plan, files, ps
}

// loader is the load of one stack.
type loader struct {
	registry *registry.Registry
	options  Options
	files    *library
	source   *source
	merger   merger
	problems *problems
	before   *Plan // what was loaded before; nil for nothing
	// urlsNode is what stands under urls: after all, and again says that it is what stood there before, and that the slots
	// are those of then but for their settings. Kept are then the slots that are as they were.
	urlsNode *node
	again    bool
	kept     []bool
	// within is the setting that holds the stack, and around are the files whose stacks it is mounted
	// in, the outermost first; empty for one that isn't mounted.
	within string
	around []*source

	slots     []*slot
	overrides []*override
	// onReloads is what the file says of requests under way; nil for nothing.
	onReloads *node
	// linter is what is put between slots, as check: says at linterAt; nil for nothing.
	linter   *registry.Definition
	linterAt pos
	// partial says that an entry of the stack wasn't understood, so that slots are missing.
	partial bool
	// guessed are the keys that misspelt ones were probably meant to be.
	guessed []string
	// former is what an extended file said, by what came of it when the file that extends it was laid over that.
	former map[*node]pair
}

// slot is one entry of the stack as it was written.
type slot struct {
	name string
	def  *registry.Definition
	off  bool
	// node is the entry, nil for a bare name, and at where it begins.
	node *node
	at   pos
}

// override is one entry under urls.
type override struct {
	key     string
	at      pos
	pattern pattern
	vars    *node
	// onReload is what it says of requests under way; nil for nothing.
	onReload *node
	slots    []*slotOverride
}

// speaks returns what the override says to a slot, or nil.
func (o *override) speaks(s *slot) *slotOverride {
	for _, so := range o.slots {
		if so.slot == s {
			return so
		}
	}
	return nil
}

// slotOverride is what an override says to one slot.
type slotOverride struct {
	slot *slot
	at   pos
	def  *registry.Definition // another component, or nil
	off  *bool                // switched on or off, or nil
	// node has the settings; nil for none. Said is all that stands there.
	node, said *node
}

func (l *loader) load(ctx context.Context, top *node) *Plan {
	top = l.whole(top, Keys())
	l.files.before = nil // what is mounted is read as a whole
	if top == nil {
		return nil
	}
	plan := &Plan{name: l.source.name, deadlines: DefaultDeadlines(), reload: DefaultReload(), files: l.files.disk.now}
	decodeSettings(l, "deadlines", top.get("deadlines"), &plan.deadlines, "{drain: 30s, stop: 30s}")
	decodeSettings(l, "reload", top.get("reload"), &plan.reload, "{poll: 2s}")
	l.checks(top.get("check"), plan)
	plan.control = l.control(top.get("control"))
	l.notes(top, plan)
	plan.processes = l.processes(top.get("processes"))
	plan.servers = l.servers(ctx, top)
	if l.lay(ctx, plan, top) {
		l.calls(plan)
		l.shared(plan)
	}
	plan.tests = l.tests(top.get("tests"))
	if l.options.Tests {
		plan.tests = append(plan.tests, l.besides()...)
	}
	return plan
}

// lay plans the stack, and reports whether there is something to plan.
func (l *loader) lay(ctx context.Context, plan *Plan, top *node) bool {
	l.onReloads = l.onReload(top.get(onReloadKey))
	l.vars(top.get("vars"), "")
	l.stack(top)
	l.urls(top.get("urls"))
	if len(l.slots) == 0 || ctx.Err() != nil {
		return false
	}
	e := &effects{loader: l, memo: make(map[string]*effect), memoVar: make(map[string]*node), leaves: make(map[int][]leaf), sorted: make(map[int][]leaf), decoder: &decoder{
		registry: l.registry, problems: l.problems, dir: l.source.dir, slots: l.slotWith, within: l.within,
		mounted: func(n *node, within string) *Plan { return l.mounted(ctx, n, within) },
	}}
	if l.within == "" {
		e.made = make(map[string]map[string]*effect)
	}
	e.routes(ctx, plan, top.get("vars"))
	plan.made = e.made
	l.watch(plan)
	return true
}

// decodeSettings decodes settings of the runtime's, which stand under a key. Into has their defaults.
func decodeSettings[C any](l *loader, key string, n *node, into *C, example string) {
	if n == nil || n.isNull() || n.form == broken {
		return
	}
	// They are decoded like those of a component, which is never built.
	component := registry.Server[C]{
		Name: key, Default: *into, Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build: func(*registry.Env, C) (registry.ServeFunc, error) { return nil, nil },
	}
	reg, err := registry.New(component)
	if err != nil {
		panic("stackfile: " + err.Error())
	}
	d := &decoder{registry: l.registry, problems: l.problems, dir: l.source.dir, slots: func(pos, string, string) string { return "" }}
	if n.form != mapping {
		l.problems.add(n.pos, nil, "%s is %s; it must be a map such as %s", key, n.is(), example)
		return
	}
	if p := d.plan(key, reg.Lookup(registry.KindServer, key), n, n.pos, ""); p != nil {
		*into = *p.cfg.(*C)
	}
}

func (l *loader) vars(n *node, where string) {
	if n != nil && n.form != mapping && n.form != broken && !n.isNull() {
		l.problems.add(n.pos, []string{where}, "vars is %s; it must be a map%s", n.is(), missingSpace(n))
	}
}

// entry is what servers and stack are lists of.
type entry struct {
	def  *registry.Definition
	as   string
	off  bool
	node *node
	at   pos
}

// entry reads one, as a bare name or a map. It returns false after adding a problem.
func (l *loader) entry(n *node, kinds ...registry.Kind) (entry, bool) {
	e := entry{at: n.pos}
	name := ""
	switch n.form {
	case broken:
		return e, false
	case scalar:
		if name = n.text; n.isNull() {
			l.problems.add(n.pos, nil, "the entry is empty; it must be the name of %s", aKind(kinds...))
			return e, false
		}
		if hint := missingSpace(n); hint != "" {
			l.problems.add(n.pos, nil, "the entry is %q; it must be a name or a map%s", n.text, hint)
			return e, false
		}
	case list:
		l.problems.add(n.pos, nil, "the entry is a list; it must be the name of %s, or a map with use:", aKind(kinds...))
		return e, false
	case mapping:
		e.node = n
		use := n.get("use")
		if use == nil {
			l.noUse(n, kinds)
			return e, false
		}
		if !l.named(use, nil, kinds...) {
			return e, false
		}
		name, e.at = use.text, n.pos
	}
	for _, kind := range kinds {
		if d := l.registry.Lookup(kind, name); d != nil {
			e.def = d
		}
	}
	if e.def == nil {
		at := n.pos
		if use := n.get("use"); use != nil {
			at = use.pos
		}
		l.problems.add(at, nil, "%s", unknownComponent(l.registry, name, kinds...))
		return e, false
	}
	e.as = name
	if as := n.get("as"); as != nil {
		if as.form != scalar || !validSlot(as.text) {
			if as.form != broken {
				l.problems.add(as.pos, []string{name}, "as is %s; it must be lower case letters, digits and underscores, and begin with a letter", as.is())
			}
			return e, false
		}
		e.as = as.text
	}
	if off := n.get("off"); off != nil {
		on, ok := l.switched(off, e.as)
		if !ok {
			return e, false
		}
		e.off = on
	}
	return e, true
}

// named reports whether use: names something, and adds a problem if it doesn't.
func (l *loader) named(use *node, where []string, kinds ...registry.Kind) bool {
	switch {
	case use.form == broken:
		return false
	case use.form != scalar:
		l.problems.add(use.pos, where, "use is %s; it must be the name of %s", use.is(), aKind(kinds...))
		return false
	case use.text == "" || use.isNull():
		l.problems.add(use.pos, where, "use is empty; it must be the name of %s", aKind(kinds...))
		return false
	}
	return true
}

// switched reads an off:, and adds a problem if it can't.
func (l *loader) switched(off *node, where ...string) (value, ok bool) {
	value, ok = switchOf(off)
	if !ok && off.form != broken {
		l.problems.add(off.pos, where, "off is %s; it must be true or false", off.is())
	}
	return value, ok
}

// noUse says that a map names no component, and guesses what was meant.
func (l *loader) noUse(n *node, kinds []registry.Kind) {
	if len(n.pairs) > 0 && len(l.registry.Named(n.pairs[0].key)) > 0 {
		l.problems.add(n.pos, nil, "the entry names no component; write {use: %s, …} with the settings beside it", n.pairs[0].key)
		return
	}
	hint := ""
	for _, p := range n.pairs {
		if hint = DidYouMean(p.key, []string{"use"}); hint != "" {
			break
		}
		if slices.ContainsFunc(kinds, func(k registry.Kind) bool { return p.value.form == scalar && l.registry.Lookup(k, p.value.text) != nil }) {
			hint = fmt.Sprintf(", such as use: %s", p.value.text)
			break
		}
	}
	l.problems.add(n.pos, nil, "the entry names no component; it must have use: and the name of %s%s", aKind(kinds...), hint)
}

// validSlot is the grammar of component names.
func validSlot(s string) bool {
	for i, c := range s {
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// entries returns the list under a key that must be there and must not be empty.
func (l *loader) entries(top *node, key, example string) []*node {
	n := top.get(key)
	switch {
	case n == nil && slices.Contains(l.guessed, DidYouMean(key, []string{key})):
		// said already
	case n == nil:
		l.problems.add(top.pos, nil, "%s: is missing; it must be there, such as %s", key, example)
	case n.isNull() || n.form == list && len(n.items) == 0:
		l.problems.add(n.pos, nil, "%s is empty; it must have an entry, such as %s", key, example)
	case n.form == broken:
	case n.form != list:
		l.problems.add(n.pos, nil, "%s is %s; it must be a list, each entry on a line of its own that begins with a dash%s", key, n.is(), missingSpace(n))
	default:
		return n.items
	}
	return nil
}

func (l *loader) servers(ctx context.Context, top *node) []*planned {
	d := &decoder{
		registry: l.registry, problems: l.problems, dir: l.source.dir,
		slots:   func(at pos, setting, _ string) string { return l.entryWith(top.get("stack"), at, setting) },
		mounted: func(n *node, within string) *Plan { return l.mounted(ctx, n, within) },
	}
	var servers []*planned
	taken := make(map[registry.Address]pos)
	items := l.entries(top, "servers", `servers: [{use: http, listen: "127.0.0.1:8080"}]`)
	off := len(items) > 0
	for _, n := range items {
		e, ok := l.entry(n, registry.KindServer)
		if !ok {
			off = false
			continue
		}
		off = off && e.off
		// One that is off is checked like any other: it may be switched on tomorrow.
		p := d.plan(e.as, e.def, e.node, e.at, "", entryKeys()...)
		if p == nil || e.off {
			continue
		}
		addresses, _ := p.listen()
		for _, listen := range addresses {
			if first, twice := taken[listen]; twice && listen != "" && !strings.HasSuffix(string(listen), ":0") {
				l.problems.add(e.at, []string{e.as}, "the server on %s listens on %s already; each address must stand once", first.seenFrom(e.at), listen)
			}
			taken[listen] = e.at
		}
		servers = append(servers, p)
	}
	if off {
		l.problems.add(items[0].pos, nil, "every server is off; one must be on")
	}
	return servers
}

// maxEntries is how many entries a stack may have. Each request passes them all.
const maxEntries = 128

func (l *loader) stack(top *node) {
	items := l.entries(top, "stack", "stack: [errors, {use: finder, root: site}]")
	names := make(map[string]*slot)
	l.partial = len(items) == 0
	if len(items) > maxEntries {
		l.problems.add(items[maxEntries].pos, nil, "the stack has %d entries; it must have at most %d", len(items), maxEntries)
		l.partial = true
		return
	}
	for _, n := range items {
		e, ok := l.entry(n, registry.KindMiddleware, registry.KindApp)
		if !ok {
			l.partial = true
			continue
		}
		if slices.Contains(overrideKeys(), e.as) {
			l.problems.add(e.at, nil, "a slot can't be called %s, which is something else under urls; give it another name with as:", e.as)
			l.partial = true
			continue
		}
		s := &slot{name: e.as, def: e.def, off: e.off, node: e.node, at: e.at}
		if first := names[s.name]; first != nil {
			l.problems.add(s.at, nil, "%q stands twice in the stack; the first is on %s; give one of them another name with as:", s.name, first.at.seenFrom(s.at))
			l.partial = true
			continue
		}
		names[s.name] = s
		l.slots = append(l.slots, s)
	}
	if l.partial {
		return
	}
	last := len(l.slots) - 1
	for i, s := range l.slots {
		switch app := s.def.Kind == registry.KindApp; {
		case app && i < last:
			l.problems.add(s.at, nil, "%s is an app, and what stands after it never runs; an app must be the last entry", s.name)
		case !app && i == last:
			l.problems.add(s.at, nil, "%s is a middleware, and nothing after it answers; the last entry must be an app, such as %s", s.name, oneOf(l.names(registry.KindApp)))
		case app && s.off:
			l.problems.add(s.at, nil, "%s is the app that answers; it must not be off", s.name)
		}
	}
}

func (l *loader) names(kind registry.Kind) []string {
	var names []string
	for _, d := range l.registry.All() {
		if d.Kind == kind {
			names = append(names, d.Name)
		}
	}
	return names
}

// slotWith returns a hint, to be read at a place, that another slot has a setting of that name.
func (l *loader) slotWith(at pos, setting, not string) string {
	for _, s := range l.slots {
		if s.name != not && s.def.Settings.Field(setting) != nil {
			return fmt.Sprintf("; %s (%s) has", s.name, s.at.seenFrom(at))
		}
	}
	return ""
}

// entryWith is slotWith for what is read before the slots are. Stack may be nil, and of a long one the beginning
// is looked at.
func (l *loader) entryWith(stack *node, at pos, setting string) string {
	if stack == nil {
		return ""
	}
	for _, n := range stack.items[:min(len(stack.items), 100)] {
		if name, def := l.standing(n); def != nil && def.Settings.Field(setting) != nil {
			return fmt.Sprintf("; %s (%s) has", name, n.pos.seenFrom(at))
		}
	}
	return ""
}

// maxMethods is how many methods the patterns of a stack may name. Each request looks at all of them.
const maxMethods = 100

func (l *loader) urls(n *node) {
	if n == nil || n.isNull() || n.form == broken {
		return
	}
	if n.form != mapping {
		l.problems.add(n.pos, nil, "urls is %s; it must be a map of patterns such as /admin/:%s", n.is(), missingSpace(n))
		return
	}
	l.urlsNode = n
	if l.again = l.takes(n); l.again {
		return
	}
	if l.files.shared && l.within == "" {
		n = n.moved(0) // the plan before has those nodes, and a request may be reading them
	}
	methods := map[string]bool{"": true}
	for _, p := range n.pairs {
		pat, err := parsePattern(p.key)
		if err == nil && !methods[pat.method] && len(methods) > maxMethods { // one of them is none
			err = fmt.Errorf("it names a method beside %d others; a stack must have no more than these", maxMethods)
		}
		if err != nil {
			l.problems.add(p.keyPos, nil, "the pattern %q: %s", p.key, err)
			continue
		}
		methods[pat.method] = true
		mark(p.value, p.key)
		o := &override{key: p.key, at: p.keyPos, pattern: pat}
		l.override(o, p.value)
		l.overrides = append(l.overrides, o)
	}
	slices.SortStableFunc(l.overrides, func(a, b *override) int {
		return cmp.Or(a.pattern.compare(b.pattern), a.at.compare(b.at))
	})
}

// override reads what stands under one pattern.
func (l *loader) override(o *override, n *node) {
	if n.form == broken {
		return
	}
	if n.isNull() {
		l.problems.add(o.at, []string{o.key}, "the override is empty; it must say what differs, such as {vars: {theme: dark}}, or be left out")
		return
	}
	if n.form != mapping {
		l.problems.add(n.pos, []string{o.key}, "the override is %s; it must be a map of slots%s", n.is(), missingSpace(n))
		return
	}
	for _, p := range n.pairs {
		if p.key == "vars" {
			l.vars(p.value, o.key)
			o.vars = p.value
			continue
		}
		if p.key == onReloadKey {
			o.onReload = l.onReload(p.value, o.key)
			continue
		}
		i := slices.IndexFunc(l.slots, func(s *slot) bool { return s.name == p.key })
		if i < 0 {
			if !l.partial {
				l.unknownSlot(o, p)
			}
			continue
		}
		if so, ok := l.slotOverride(o, l.slots[i], p); ok {
			o.slots = append(o.slots, so)
		}
	}
}

// unknownSlot says that an override speaks to a slot that isn't there.
func (l *loader) unknownSlot(o *override, p pair) {
	legal := overrideKeys()
	for _, s := range l.slots {
		legal = append(legal, s.name)
	}
	hint := l.elsewhere(o, p.key)
	if hint == "" {
		hint = DidYouMean(p.key, legal)
	}
	if hint == "" {
		for _, s := range l.slots {
			if s.def.Settings.Field(p.key) != nil {
				hint = fmt.Sprintf("; it is a setting of %s: write %s: {%s: …}", s.name, s.name, p.key)
				break
			}
		}
	}
	if hint == "" && (l.registry.Lookup(registry.KindMiddleware, p.key) != nil || l.registry.Lookup(registry.KindApp, p.key) != nil) {
		hint = fmt.Sprintf("; an override can't add one: place it in stack: with {use: %s, off: true} and switch it on here", p.key)
	}
	if others := l.registry.Named(p.key); hint == "" && len(others) == 1 {
		hint = fmt.Sprintf("; it is %s%s", aKind(others[0].Kind), strings.Replace(belongs(l.registry, others), "; it", ", and", 1))
	}
	if hint == "" {
		hint = "; there is " + oneOf(legal)
	}
	l.problems.add(p.keyPos, []string{o.key}, "the stack has no slot %q%s", p.key, hint)
}

// elsewhere returns a hint where a key that stands under a pattern belongs, if it is one of the language's own.
func (l *loader) elsewhere(o *override, key string) string {
	switch {
	case slices.Contains(Keys(), key):
		return "; it is a key of the file, and stands at the left margin"
	case slices.Contains(entryKeys(), key):
		return fmt.Sprintf("; it is said of a slot: write %s: {%s: …}", l.slots[0].name, key)
	case strings.Contains(key, "/"):
		return "; a pattern can't stand below another: write it beside " + o.key
	}
	return ""
}

// entryKeys are the keys of an entry that are none of its component's settings.
func entryKeys() []string { return []string{"use", "as", "off"} }

// overrideKeys are the keys of an override that are no slots.
func overrideKeys() []string { return []string{"vars", onReloadKey} }

func (l *loader) slotOverride(o *override, s *slot, p pair) (*slotOverride, bool) {
	so := &slotOverride{slot: s, at: p.keyPos, said: p.value}
	n := p.value
	where := []string{o.key, s.name}
	switch {
	case n.form == broken:
		return nil, false
	case n.form == list || n.isNull():
		l.problems.add(n.pos, where, "the override is %s; it must be on, off, or a map of settings", map[bool]string{true: "empty", false: "a list"}[n.isNull()])
		return nil, false
	case n.form == scalar:
		on, ok := switchOf(n)
		if !ok {
			hint := missingSpace(n)
			for _, f := range s.def.Settings.Fields {
				if f.Type.Form == registry.FormRef && l.registry.Lookup(f.Type.Kind, n.text) != nil {
					hint = fmt.Sprintf("; write {%s: %s}", f.Name, n.text)
				}
			}
			if l.registry.Lookup(s.def.Kind, n.text) != nil {
				hint = fmt.Sprintf("; to put another component here, write {use: %s}", n.text)
			}
			for _, f := range s.def.Settings.Fields {
				if slices.ContainsFunc(f.Rules, func(r registry.Rule) bool { return r.Name == "oneof" && slices.Contains(strings.Fields(r.Arg), n.text) }) {
					hint = fmt.Sprintf("; write {%s: %s}", f.Name, n.text)
				}
			}
			l.problems.add(n.pos, where, "the override is %q; it must be on, off, or a map of settings%s", n.text, hint)
			return nil, false
		}
		off := !on
		so.off = &off
	default:
		so.node = n
		if as := n.get("as"); as != nil {
			l.problems.add(as.pos, where, "an override can't rename a slot; as must stand in stack:")
			return nil, false
		}
		if use := n.get("use"); use != nil {
			if !l.named(use, where, s.def.Kind) {
				return nil, false
			}
			name := useOf(n)
			if so.def = l.registry.Lookup(s.def.Kind, name); so.def == nil {
				l.problems.add(use.pos, where, "%s", unknownComponent(l.registry, name, s.def.Kind))
				return nil, false
			}
		}
		if sw := n.get("off"); sw != nil {
			off, ok := l.switched(sw, where...)
			if !ok {
				return nil, false
			}
			so.off = &off
		}
	}
	if so.off != nil && *so.off && s.def.Kind == registry.KindApp {
		l.problems.add(n.pos, where, "it is the app that answers; it must not be off; put another here with use:")
		return nil, false
	}
	return so, true
}

// language returns the same text for patterns that match the same requests.
func (p pattern) language() string {
	return p.write("*", func(s segment) string {
		if s.kind == segmentLiteral {
			return s.String()
		}
		return fmt.Sprintf("{%d}", s.kind)
	})
}
