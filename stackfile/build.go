package stackfile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/registry/response"
)

// Stack is a built plan: a handler, and the servers that shall run it. It is safe for
// concurrent use, and never changes.
type Stack struct {
	// Servers are those of the plan, in its order, once for each address.
	Servers []Server

	chains    chains
	inspector *inspector
	depot     *depot
	// held are the instances that this stack uses, in the order in which they were
	// built.
	held    []*instance
	changes Changes
	once    sync.Once
	closing atomic.Pointer[instance] // what Close waits for
	// next is the stack that was built last with this one before it. The depot's mutex guards it.
	next *Stack
}

// Server is a built server.
type Server struct {
	// Name is the component's name, and Slot that of its entry.
	Name, Slot string
	// Address is where it listens, and Mode the permissions of a unix socket.
	Address registry.Address
	Mode    fs.FileMode
	// ID is the same for servers that need not be told apart: a reload that finds the same
	// ID lets the server run on.
	ID string
	// Serve runs it.
	Serve registry.ServeFunc

	hold func() (release func())
}

// Hold keeps what Serve uses open until what it returns is called. The stack must not be closed yet.
func (s Server) Hold() (release func()) { return s.hold() }

// Servers returns the servers as they are when nothing is built: they have no ID, and no Serve.
func (p *Plan) Servers() []Server {
	var all []Server
	for _, server := range p.servers {
		all = append(all, server.stands()...)
	}
	return all
}

// stands returns where a server listens, one for each address.
func (p *planned) stands() []Server {
	addresses, mode := p.listen()
	bits, _ := strconv.ParseUint(mode, 8, 32)
	all := make([]Server, len(addresses))
	for i, address := range addresses {
		all[i] = Server{Name: p.def.Name, Slot: p.path, Address: address, Mode: fs.FileMode(bits)}
	}
	return all
}

// chain is what answers the requests of one set of overrides.
type chain struct {
	handler http.Handler
	// links are the instances that it consists of, outermost first.
	links []*instance
	// onReload is what the stack file says of these requests; empty for nothing.
	onReload OnReload

	// base is what the requests begin with, and vars are those in it. They are made for the first request: of ten
	// thousand chains hardly any is asked before the next reload, and a request pays it once. Then the chain, which a
	// request may keep for long, forgets what they were made of.
	beginning sync.Once
	base      *environ.Base
	vars      map[string]any
	plan      *Plan
	route     *route
	inspector *inspector
}

// begin makes the base and the vars, if nobody has, and returns the base.
func (c *chain) begin() *environ.Base {
	c.beginning.Do(func() {
		c.base, c.vars = new(environ.Base), plainVars(c.route.vars)
		inspect.Key.Preset(c.base, inspect.Stack(c.inspector))
		environ.Matched.Preset(c.base, c.plan.shown(c.route))
		environ.Vars.Preset(c.base, c.vars)
		c.plan, c.route, c.inspector = nil, nil, nil
	})
	return c.base
}

// composed is what the chains with the same instances have in common.
type composed struct {
	handler http.Handler
	links   []*instance
}

// depot is what a stack and its successors have in common.
type depot struct {
	mu   sync.Mutex // guards the users of all instances, too
	made int        // instances so far
	// stacks counts those so far, and runs is what those ask that are over.
	stacks int
	runs   atomic.Pointer[inspected]
	// places are the numbers of slots, for environ.Place, and slots their names by the number less one.
	places map[string]uint32
	slots  []string
}

// instance is a built component that stacks share. It knows nothing of the plan that it was built of, which
// others outlive it with.
type instance struct {
	identity string
	place    string // in the stack
	title    string // what people call it
	built    *registry.Instance
	log      *slog.Logger
	mounting *mounting // nil for one that mounts no stack
	rewrites bool      // it may change the URL
	// number tells it from others of its depot, also from one with the same settings that
	// was built of files which have changed since.
	number int
	// refs are what it was bound to: the instances of planned.refs, and those of the stacks that it
	// mounts.
	refs []*instance
	// users counts the stacks and requests that hold it; one without is closed. The depot's mutex guards it.
	users int
}

// Build builds what the plan says. What prev, the stack that runs now, has already is taken
// over with its state; prev may be nil. On an error, which is [Problems] or ctx's, what
// was built for this stack is closed and prev is as it was.
//
// Ctx bounds the building. A component that doesn't return in time is waited for in the
// background and closed.
func (p *Plan) Build(ctx context.Context, log *slog.Logger, prev *Stack) (*Stack, error) {
	return p.assemble(ctx, log, prev, nil)
}

func (p *Plan) assemble(ctx context.Context, log *slog.Logger, prev *Stack, how *Rehearsal) (*Stack, error) {
	s := &Stack{depot: new(depot)}
	many := 0
	if prev != nil {
		many = len(prev.held)
	}
	b := &builder{
		plan: p, rehearsal: how, stack: s, log: log, chains: make(map[string]*composed),
		built: make(map[*planned]*instance, many), mounted: make(map[*Plan]chains), numbers: make(map[*Plan]int), held: make(map[string]*instance, many), before: make(map[string]*instance, many),
	}
	if prev != nil {
		s.depot = prev.depot
		for _, i := range prev.held {
			b.before[i.identity] = i
		}
	}
	done := make(chan error, 1)
	go func() { done <- b.build(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			s.Close()
			return nil, err
		}
		if prev != nil {
			s.retire(prev)
		}
		return s, nil
	case <-ctx.Done():
		go func() {
			if err := <-done; err != nil {
				log.Debug("the build that was given up has ended", "error", err)
			}
			s.Close()
		}()
		return nil, fmt.Errorf("%s: the stack was not built in time, waiting for %s: %w", p.name, b.current(), context.Cause(ctx))
	}
}

// retire notes what the stack before has and this one hasn't.
func (s *Stack) retire(prev *Stack) {
	s.depot.mu.Lock()
	prev.next = s
	s.depot.mu.Unlock()
	has := make(map[*instance]bool, len(s.held))
	for _, i := range s.held {
		has[i] = true
	}
	for _, i := range prev.held {
		if !has[i] {
			s.changes.Retired = append(s.changes.Retired, i.place)
		}
	}
}

// Close gives back what the stack holds. What no other stack holds, and no request, is closed, in the reverse
// of the order in which it was built. No request may be using the stack any more, save those that stay or are kept;
// see [Succession]. A second call does nothing.
func (s *Stack) Close() {
	s.once.Do(func() {
		s.depot.mu.Lock()
		next := s.next
		s.depot.mu.Unlock()
		if next != nil {
			s.inspector.over(next.inspector)
		}
		s.depot.release(s.held, s.closing.Store)
	})
}

// Closing names the component that Close waits for now, or that it has waited for last.
func (s *Stack) Closing() string {
	if i := s.closing.Load(); i != nil {
		return i.title
	}
	return ""
}

// release gives back instances that are held, the last first. What nobody holds any more is closed, and told before.
func (d *depot) release(held []*instance, closing func(*instance)) {
	for _, i := range slices.Backward(held) {
		d.mu.Lock()
		i.users--
		last := i.users == 0
		d.mu.Unlock()
		if !last {
			continue
		}
		closing(i)
		if err := i.built.Close(); err != nil {
			i.log.Error("closing it went wrong", "error", err)
		}
	}
}

// Changes tell what a build came to: the instances that it made, those that it took over from the stack
// before, and those of that stack that it has no use for, by their place in the stack.
type Changes struct{ Built, Carried, Retired []string }

// Changes returns what building the stack came to.
func (s *Stack) Changes() Changes { return s.changes }

// Depends returns the files and folders that the components were built from.
func (s *Stack) Depends() []string {
	var all []string
	for _, i := range s.held {
		all = append(all, i.built.Depends()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ServeHTTP answers a request by the chain of the overrides that match it.
func (s *Stack) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.chains.ServeHTTP(w, r) }

// chains are those of all requests of a stack, also of one that is mounted.
type chains struct{ router *router[*chain] }

func (s chains) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if problem := checkPath(r.URL.Path); problem != "" {
		http.Error(w, "400 bad request: "+problem, http.StatusBadRequest)
		return
	}
	c := s.find(target{r.Method, r.Host, r.URL.Path})
	c.handler.ServeHTTP(w, c.begin().Open(r))
}

// checkPath says what is wrong with a decoded path. Overrides are about paths, so one that
// names its target in a roundabout way could get round them; no client sends one.
func checkPath(path string) string {
	if path == "" || path[0] != '/' {
		return "the path must begin with a slash"
	}
	segment := 0 // where the present one begins
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if s := path[segment:i]; s == "." || s == ".." {
				return `the path must not have "." or ".." in it`
			}
			segment = i + 1
			continue
		}
		if path[i] < ' ' || path[i] == 0x7f {
			return "the path must not have control characters in it"
		}
	}
	return ""
}

// matched is the path that overrides are matched with. Slashes in a row are one, as they are for most who get the path
// then: what is on for /admin/ is on for //admin/.
func matched(path string) string {
	if strings.Contains(path, "//") {
		return cleanPath(path)
	}
	return path
}

// builder builds one stack.
type builder struct {
	plan *Plan
	// rehearsal says how to build a stack that isn't to be served; nil for others.
	rehearsal *Rehearsal
	stack     *Stack
	log       *slog.Logger
	chains    map[string]*composed
	// mounted are the stacks within the stack that are built.
	mounted map[*Plan]chains
	// numbers tell stacks within the stack apart, in the keys of chains.
	numbers map[*Plan]int
	built   map[*planned]*instance
	// held and before are the instances of this stack and of that before it, by key.
	held, before map[string]*instance
	key          []byte // of the chain that is composed now

	now atomic.Pointer[planned] // what is being built
}

func (b *builder) current() string {
	if p := b.now.Load(); p != nil {
		return p.title()
	}
	return ""
}

func (b *builder) build(ctx context.Context) error {
	ps := problems{texts: b.plan.layers.problems.texts, secrets: b.plan.layers.problems.secrets}
	b.stack.inspector = b.plan.inspector(b.stack.depot)
	b.plan.instances(func(p *planned) { b.open(ctx, p, &ps) })
	servers := b.plan.servers
	if b.rehearsal != nil {
		servers = nil
	}
	for _, server := range servers {
		server.all(func(p *planned) { b.open(ctx, p, &ps) })
	}
	if err := ps.err(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, server := range servers {
		for _, s := range server.stands() {
			s.ID = fmt.Sprintf("%s %d", server.identity(), b.built[server].number)
			s.Serve = b.built[server].built.Product.(registry.ServeFunc)
			s.hold = b.stack.depot.holder(b.built[server])
			b.stack.Servers = append(b.stack.Servers, s)
		}
	}
	b.stack.chains = b.compose(b.plan)
	return nil
}

// compose makes the chains of a stack, whose instances are built.
func (b *builder) compose(p *Plan) chains {
	all := make([]*chain, len(p.routes))
	for i, r := range p.routes {
		all[i] = b.chain(p, r)
	}
	none := b.chain(p, p.none)
	if p != b.plan { // what mounts the stack may outlive the plan
		for _, c := range append(all, none) {
			c.begin()
		}
	}
	return chains{withValues(p.layout(), all, none)}
}

// mount returns what serves a stack that a setting holds, whose instances are built.
func (b *builder) mount(p *Plan) chains {
	known, ok := b.mounted[p]
	if !ok {
		known = b.compose(p)
		b.mounted[p] = known
	}
	return known
}

// open takes an instance over from the stack before, or builds it. What it refers to
// was opened before.
func (b *builder) open(ctx context.Context, p *planned, ps *problems) {
	if b.built[p] != nil || ctx.Err() != nil || b.stand(p) {
		return
	}
	b.now.Store(p)
	needs := slices.Clone(p.refs)
	for _, m := range p.mounts {
		m.plan.instances(func(inner *planned) { needs = append(needs, inner) })
	}
	refs := make([]*instance, len(needs))
	for n, need := range needs {
		if refs[n] = b.built[need]; refs[n] == nil {
			return // the problem is that of the instance referred to
		}
	}
	if known := b.take(p, refs); known != nil {
		b.built[p] = known
		return
	}
	log := b.log.With("slot", p.full(), "component", p.def.Name)
	cfg := p.def.Bind(p.cfg, func(path string) any {
		if n := slices.IndexFunc(p.mounts, func(m mount) bool { return m.path == path }); n >= 0 {
			return b.mount(p.mounts[n].plan)
		}
		n := slices.IndexFunc(p.refs, func(ref *planned) bool { return ref.path == p.path+"."+path })
		return refs[n].built.Product
	})
	// The instance outlives the building, so it isn't bound by its context.
	built, err := p.def.Open(context.WithoutCancel(ctx), cfg, log)
	if err != nil {
		ps.add(p.at, []string{p.where, p.path}, "%s %q can't be built: %s", p.def.Kind, p.def.Name, err)
		return
	}
	i := &instance{identity: p.identity(), place: p.full(), title: p.title(), built: built, log: log, rewrites: p.def.Traits(p.cfg).Rewrites, refs: refs, users: 1}
	if len(p.mounts) > 0 {
		def, cfg := p.def, p.cfg
		i.mounting = &mounting{shell: p.hash(false), refs: refs[:len(p.refs)], inside: func(path string) (string, bool) { return def.Inside(cfg, path) }}
		for _, m := range p.mounts {
			i.mounting.stacks = append(i.mounting.stacks, b.mount(m.plan))
		}
	}
	d := b.stack.depot
	d.mu.Lock()
	d.made++
	i.number = d.made
	d.mu.Unlock()
	b.hold(i)
	b.built[p] = i
	b.stack.changes.Built = append(b.stack.changes.Built, p.full())
}

// take returns the instance that there is for p, in this stack or, when it is still right, in
// that before.
func (b *builder) take(p *planned, refs []*instance) *instance {
	if known := b.held[p.identity()]; known != nil {
		return known
	}
	known := b.before[p.identity()]
	if known == nil || !slices.Equal(known.refs, refs) || known.built.Changed() {
		return nil
	}
	d := b.stack.depot
	d.mu.Lock()
	defer d.mu.Unlock()
	if known.users == 0 {
		return nil // the stack before was closed meanwhile
	}
	known.users++
	b.stack.changes.Carried = append(b.stack.changes.Carried, p.full())
	b.hold(known)
	return known
}

func (b *builder) hold(i *instance) {
	b.held[i.identity] = i
	b.stack.held = append(b.stack.held, i)
}

// chain composes what answers the requests of a route.
func (b *builder) chain(plan *Plan, r *route) *chain {
	c := &chain{onReload: r.onReload.reloading(), plan: plan, route: r, inspector: b.stack.inspector}
	if b.numbers[plan] == 0 {
		b.numbers[plan] = len(b.numbers) + 1
	}
	// A slot may have another index in another stack.
	b.key = binary.AppendUvarint(b.key[:0], uint64(b.numbers[plan]))
	caught, followed := false, len(r.effects)
	for i, e := range r.effects {
		if e.instance == nil {
			continue
		}
		if e.follows {
			followed = min(followed, i)
		}
		b.key = binary.AppendUvarint(b.key, uint64(b.built[e.instance].number))
		for _, provided := range e.instance.def.Traits(e.instance.cfg).Provides {
			caught = caught || provided.Name() == failure.Key.Name()
		}
	}
	if known := b.chains[string(b.key)]; known != nil {
		c.handler, c.links = known.handler, known.links
		return c
	}
	for _, e := range r.effects {
		if e.instance != nil {
			c.links = append(c.links, b.built[e.instance])
		}
	}
	places, watchers := placesOf(r.effects, followed), b.watchers(plan, r)
	for i, e := range slices.Backward(r.effects) {
		if e.instance == nil {
			continue
		}
		switch product := b.built[e.instance].built.Product.(type) {
		case http.Handler:
			c.handler = product
		case registry.Wrap:
			c.handler = product(c.handler)
		}
		if place := places[i]; place != "" {
			p := &passing{place: b.stack.depot.place(place), slot: -1, next: c.handler}
			if i > followed {
				p.slot = i
			}
			c.handler = p
		}
		if watch := watchers[i]; watch != nil {
			c.handler = watch(c.handler)
		}
		if b.rehearsal != nil {
			c.handler = entering{slot: e.instance.full(), tell: b.rehearsal.Entered, next: c.handler}
		}
	}
	if !caught {
		c.handler = lastResort{next: c.handler, log: b.log}
	}
	b.chains[string(b.key)] = &composed{c.handler, c.links}
	return c
}

// plainVars returns vars as apps see them.
func plainVars(n *node) map[string]any {
	vars, _ := plain(n).(map[string]any)
	if vars == nil {
		vars = map[string]any{}
	}
	return vars
}

func plain(n *node) any {
	switch {
	case n == nil || n.isNull():
		return nil
	case n.form == mapping:
		m := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			m[p.key] = plain(p.value)
		}
		return m
	case n.form == list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = plain(item)
		}
		return items
	}
	switch n.tag.String() {
	case "!!bool":
		on, _ := switchOf(n)
		return on
	case "!!int":
		if i, err := strconv.ParseInt(n.text, 0, 64); err == nil {
			return int(i)
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.text, 64); err == nil {
			return f
		}
	}
	return n.text
}

// lastResort stands around a chain without a catcher, so that a failure that is reported
// there is logged, and answered by more than an empty page.
type lastResort struct {
	next http.Handler
	log  *slog.Logger
}

func (l lastResort) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if failure.Key.Get(r) != nil { // that of the stack around this one
		l.next.ServeHTTP(w, r)
		return
	}
	s := &resort{}
	s.Init(w, nil)
	failure.Key.Set(r, s)
	l.next.ServeHTTP(s, r)
	if len(s.failures) == 0 {
		return
	}
	for _, f := range s.failures {
		l.log.ErrorContext(r.Context(), "a request failed, and the stack has no catcher such as errors", "method", r.Method, "path", r.URL.Path, "error", f.Err)
	}
	first := slices.IndexFunc(s.failures, func(f failure.Failure) bool { return !f.Answered })
	if first < 0 {
		return
	}
	if s.Committed() {
		panic(http.ErrAbortHandler)
	}
	status := failure.Status(s.failures[first].Err)
	http.Error(w, http.StatusText(status), status)
}

// resort is lastResort's state for one request.
type resort struct {
	response.Writer
	failures []failure.Failure
}

func (s *resort) Fail(f failure.Failure) { s.failures = append(s.failures, f) }
