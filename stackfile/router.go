package stackfile

import (
	"cmp"
	"fmt"
	"iter"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
)

// A region is a set of requests that the same patterns match, save those
// requests that a smaller region within it takes out.
type region struct {
	// pattern matches the requests of the region and of those within it.
	pattern pattern
	// set has the indexes of all patterns that cover the region, in the order
	// of [pattern.compare], general to specific.
	set []int
}

// maxMeets is how many regions there may be beside the patterns themselves.
const maxMeets = 200_000

// regions returns the patterns and all their meets, each once, with the patterns
// that cover it. Whatever a request is, the patterns that match it are the set
// of one of these regions, or none; the empty set is not among the regions.
//
// The reverse is not promised: where smaller regions take out every request of a
// region, as "/a/{$}", "/a/{x}" and "/a/{x}/" do to "/a/", no request has its
// set.
//
// The regions come in an order that does not depend on that of the patterns.
// More than 200,000 meets are an error, which names two of the patterns to blame.
func regions(patterns []pattern) ([]region, error) {
	order := make([]int, len(patterns))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return patterns[i].compare(patterns[j]) })

	// The regions of the first k patterns are closed under meet before the next
	// pattern comes. It is more specific than those or stands beside them, so
	// that few of them overlap it.
	c := closure{places: forest[*place]{}, patterns: patterns, blame: make([]int, len(patterns))}
	var overlapping []int
	meets := 0
	for _, i := range order {
		p := patterns[i]
		overlapping = overlapping[:0]
		for host := range widerHosts(p.host) {
			c.places[host].overlapping(p.segments, func(at **place) {
				if *at == nil {
					return
				}
				for _, l := range (*at).regions {
					overlapping = append(overlapping, l.index)
				}
			})
		}
		c.add(p, i)
		for _, r := range overlapping {
			m, ok := meet(c.found[r].pattern, p)
			if !ok || !c.add(m, i) {
				continue
			}
			c.blame[i]++
			c.blame[c.found[r].last]++
			if meets++; meets > maxMeets {
				return nil, c.tooMany()
			}
		}
		at := c.at(p)
		at.given = append(at.given, located{p.method, i})
	}

	rank := make([]int, len(patterns))
	for r, i := range order {
		rank[i] = r
	}
	all := make([]region, len(c.found))
	for n, f := range c.found {
		var set []int
		for host := range widerHosts(f.pattern.host) {
			c.places[host].covering(f.pattern.segments, func(at **place) {
				if *at == nil {
					return
				}
				for _, l := range (*at).given {
					if methodCovers(l.method, f.pattern.method) {
						set = append(set, l.index)
					}
				}
			})
		}
		slices.SortFunc(set, func(i, j int) int { return cmp.Compare(rank[i], rank[j]) })
		all[n] = region{f.pattern, set}
	}
	return all, nil
}

// A closure grows into the regions of some patterns.
type closure struct {
	patterns []pattern
	found    []foundRegion
	places   forest[*place]
	// blame counts for each pattern the regions that it made by meeting another.
	blame []int
}

// A foundRegion is a region of which the set is still unknown.
type foundRegion struct {
	pattern pattern
	last    int // the pattern that made it
}

// A place is a host and path, with the regions and the patterns that have them.
type place struct{ regions, given []located }

// A located is an index of something that has a method, kept where its host and
// path are.
type located struct {
	method string
	index  int
}

// add takes a region in and reports whether it is new.
func (c *closure) add(p pattern, last int) bool {
	at := c.at(p)
	if slices.ContainsFunc(at.regions, func(l located) bool { return l.method == p.method }) {
		return false
	}
	at.regions = append(at.regions, located{p.method, len(c.found)})
	c.found = append(c.found, foundRegion{p, last})
	return true
}

// at returns the place of a pattern, and makes it if it is new.
func (c *closure) at(p pattern) *place {
	at := c.places.at(p)
	if *at == nil {
		*at = new(place)
	}
	return *at
}

// tooMany names the two patterns that made the most regions.
func (c *closure) tooMany() error {
	worst := make([]int, len(c.patterns))
	for i := range worst {
		worst[i] = i
	}
	slices.SortFunc(worst, func(i, j int) int {
		return cmp.Or(cmp.Compare(c.blame[j], c.blame[i]), c.patterns[i].compare(c.patterns[j]))
	})
	return fmt.Errorf("the patterns overlap in more than %d ways, %q and %q most of all; write patterns that overlap less",
		maxMeets, c.patterns[worst[0]], c.patterns[worst[1]])
}

// widerHosts yields the host of a pattern and all that cover it, the narrowest
// first.
func widerHosts(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(host) {
			if (i == 0 || host[i] == '.') && !yield(host[i:]) {
				return
			}
		}
		yield("")
	}
}

// A forest has one tree of paths for each host that patterns name.
type forest[E any] map[string]*tree[E]

// at returns the place of a pattern's host and path.
func (f forest[E]) at(p pattern) *E {
	t := f[p.host]
	if t == nil {
		t = new(tree[E])
		f[p.host] = t
	}
	return t.at(p.segments)
}

// A tree keeps things by path, one level for each segment. A node is where some
// segments lead; the nil node is where nothing is kept. Nodes are read by any
// number of goroutines once nobody writes.
type tree[E any] struct {
	literals literals[E]
	wild     *tree[E] // where "{name}" leads
	// ends is nil where no path ends: deep paths have many such nodes.
	ends *ends[E]
}

// ends are what is kept for paths that end at a node.
type ends[E any] struct {
	exact E // for the path itself
	slash E // for one with "/{$}" behind it
	rest  E // for one with "/" or "/{name...}" behind it
}

// end returns what is kept for paths that end here, and makes it if it is new.
func (t *tree[E]) end() *ends[E] {
	if t.ends == nil {
		t.ends = new(ends[E])
	}
	return t.ends
}

// at returns the place of a path and makes it if it is new.
func (t *tree[E]) at(segments []segment) *E {
	for _, s := range segments {
		switch s.kind {
		case segmentRest:
			return &t.end().rest
		case segmentSlash:
			return &t.end().slash
		case segmentOne:
			if t.wild == nil {
				t.wild = new(tree[E])
			}
			t = t.wild
		case segmentLiteral:
			t = t.literals.add(s.text)
		}
	}
	return &t.end().exact
}

// overlapping visits the places of all paths that the segments overlap.
func (t *tree[E]) overlapping(segments []segment, visit func(*E)) {
	if t == nil {
		return
	}
	if len(segments) == 0 {
		if t.ends != nil {
			visit(&t.ends.exact)
		}
		return
	}
	if t.ends != nil {
		visit(&t.ends.rest)
	}
	switch s := segments[0]; s.kind {
	case segmentRest:
		if t.ends != nil {
			visit(&t.ends.slash)
		}
		for _, l := range t.literals.list {
			l.next.all(visit)
		}
		t.wild.all(visit)
	case segmentSlash:
		if t.ends != nil {
			visit(&t.ends.slash)
		}
	case segmentOne:
		for _, l := range t.literals.list {
			l.next.overlapping(segments[1:], visit)
		}
		t.wild.overlapping(segments[1:], visit)
	case segmentLiteral:
		t.literals.find(s.text).overlapping(segments[1:], visit)
		t.wild.overlapping(segments[1:], visit)
	}
}

// covering visits the places of all paths that cover the segments.
func (t *tree[E]) covering(segments []segment, visit func(*E)) {
	if t == nil {
		return
	}
	if len(segments) == 0 {
		if t.ends != nil {
			visit(&t.ends.exact)
		}
		return
	}
	if t.ends != nil {
		visit(&t.ends.rest)
	}
	switch s := segments[0]; s.kind {
	case segmentRest:
	case segmentSlash:
		if t.ends != nil {
			visit(&t.ends.slash)
		}
	case segmentOne:
		t.wild.covering(segments[1:], visit)
	case segmentLiteral:
		t.literals.find(s.text).covering(segments[1:], visit)
		t.wild.covering(segments[1:], visit)
	}
}

// all visits all places.
func (t *tree[E]) all(visit func(*E)) {
	if t == nil {
		return
	}
	if t.ends != nil {
		visit(&t.ends.exact)
		visit(&t.ends.slash)
		visit(&t.ends.rest)
	}
	for _, l := range t.literals.list {
		l.next.all(visit)
	}
	t.wild.all(visit)
}

// literals are the ways on by a segment's text.
type literals[E any] struct {
	list []literal[E]
	// index is of the list, once that is too long to look through.
	index map[string]*tree[E]
}

type literal[E any] struct {
	text string
	next *tree[E]
}

// fewLiterals is how many texts are compared faster than one is hashed.
const fewLiterals = 6

func (l *literals[E]) find(text string) *tree[E] {
	if l.index != nil {
		return l.index[text]
	}
	for i := range l.list {
		if l.list[i].text == text {
			return l.list[i].next
		}
	}
	return nil
}

func (l *literals[E]) add(text string) *tree[E] {
	if t := l.find(text); t != nil {
		return t
	}
	t := new(tree[E])
	l.list = append(l.list, literal[E]{text, t})
	switch {
	case l.index != nil:
		l.index[text] = t
	case len(l.list) > fewLiterals:
		l.index = make(map[string]*tree[E], 2*len(l.list))
		for _, known := range l.list {
			l.index[known.text] = known.next
		}
	}
	return t
}

// A router finds the value of the region that a request belongs to. It does not
// change once it is built, and any number of goroutines may use it.
//
// Each pattern has a random number. The router walks to the patterns that match a
// request, adds up their numbers by exclusive or, and looks the sum up among those
// of the regions' sets, which the builder made sure are all different.
type router[T any] struct {
	layout
	values sumTable[T]
	none   T
}

// A layout is what a router is but for its values.
type layout struct {
	// methods are those that patterns name. A method's number is its index and one more; few are
	// named, so that looking at each is faster than a map.
	methods []string
	// hosts has the way in for each host that a pattern names, written as
	// there.
	hosts map[string]*entrance
	// anyHost is the way in for all other hosts.
	anyHost *entrance
	// longest is the length of the longest of the hosts.
	longest int
	// sums are those of the regions.
	sums []uint64
}

// An entrance is where requests for one host, or those below it, begin.
type entrance struct {
	paths *tree[sums]
	// wider is the entrance of the next host that covers this one.
	wider *entrance
}

// sums has, for one host and path, the sums of the patterns with that path.
type sums struct {
	any   uint64 // of those without a method
	named []methodSum
}

// A methodSum is the sum of the patterns with a method that match this one.
type methodSum struct {
	method int
	sum    uint64
}

// of returns the sum of the patterns that match a method.
func (s *sums) of(method int) uint64 {
	sum := s.any
	for i := range s.named {
		if s.named[i].method == method {
			sum ^= s.named[i].sum
		}
	}
	return sum
}

func (s *sums) add(method int, number uint64) {
	if i := slices.IndexFunc(s.named, func(m methodSum) bool { return m.method == method }); i >= 0 {
		s.named[i].sum ^= number
		return
	}
	s.named = append(s.named, methodSum{method, number})
}

// newRouter builds the router over the patterns, where values[i] is the value of
// areas[i], which are the [regions] of the patterns, and none is the value of
// the requests that no pattern matches.
func newRouter[T any](patterns []pattern, areas []region, values []T, none T) *router[T] {
	return withValues(newLayout(patterns, areas), values, none)
}

// withValues returns the router of a layout.
func withValues[T any](l layout, values []T, none T) *router[T] {
	r := &router[T]{layout: l, values: newSumTable[T](len(values)), none: none}
	for i, sum := range l.sums {
		r.values.add(sum, values[i])
	}
	return r
}

// newLayout lays out the patterns, whose [regions] the areas are.
func newLayout(patterns []pattern, areas []region) layout {
	numbers, ofAreas := numberPatterns(len(patterns), areas)
	l := layout{sums: ofAreas}
	trees := forest[sums]{"": new(tree[sums])}
	for i, p := range patterns {
		at := trees.at(p)
		switch p.method {
		case "":
			at.any ^= numbers[i]
		case "GET":
			at.add(l.methodNumber("GET"), numbers[i])
			at.add(l.methodNumber("HEAD"), numbers[i])
		default:
			at.add(l.methodNumber(p.method), numbers[i])
		}
	}
	l.enter(trees)
	return l
}

// enter makes an entrance to each tree.
func (l *layout) enter(trees forest[sums]) {
	hosts := make(map[string]*entrance, len(trees))
	for host, paths := range trees {
		hosts[host] = &entrance{paths: paths}
		l.longest = max(l.longest, len(host))
	}
	for host, e := range hosts {
		for wider := range widerHosts(host) {
			if wider != host && hosts[wider] != nil {
				e.wider = hosts[wider]
				break
			}
		}
	}
	l.anyHost = hosts[""]
	delete(hosts, "")
	l.hosts = hosts
}

// methodNumber returns the number of a method that a pattern names.
func (l *layout) methodNumber(method string) int {
	if !slices.Contains(l.methods, method) {
		l.methods = append(l.methods, method)
	}
	return slices.Index(l.methods, method) + 1
}

// seeds is how many times [numberPatterns] tries. Two of the most regions there
// can be have one sum with a chance of about one in a billion.
const seeds = 16

// numberPatterns gives n patterns numbers such that all areas have different
// sums, and returns the sum of each area. The same patterns always get the same
// numbers.
func numberPatterns(n int, areas []region) (numbers, sums []uint64) {
	for seed := range uint64(seeds) {
		random := rand.NewPCG(seed, 0)
		numbers = make([]uint64, n)
		for i := range numbers {
			numbers[i] = random.Uint64()
		}
		if sums, ok := sumAreas(numbers, areas); ok {
			return numbers, sums
		}
	}
	panic("stackfile: two regions have the same patterns")
}

// sumAreas returns the sum of each area's patterns' numbers, and false if two
// areas have the same sum or one that of no pattern.
func sumAreas(numbers []uint64, areas []region) ([]uint64, bool) {
	sums := make([]uint64, len(areas))
	taken := make(map[uint64]bool, len(areas))
	for i, area := range areas {
		for _, p := range area.set {
			sums[i] ^= numbers[p]
		}
		if taken[sums[i]] || sums[i] == 0 {
			return nil, false
		}
		taken[sums[i]] = true
	}
	return sums, true
}

// A sumTable maps the sums of regions to their values. Sums are as random as a
// hash, so the table takes them for one; a cell with the sum 0, that of no
// pattern, is free, and at least half of the cells are.
type sumTable[T any] []sumCell[T]

type sumCell[T any] struct {
	sum   uint64
	value T
}

// newSumTable returns a table for up to n sums.
func newSumTable[T any](n int) sumTable[T] {
	return make(sumTable[T], 2<<bits.Len(uint(n)))
}

func (t sumTable[T]) add(sum uint64, value T) {
	i := sum & uint64(len(t)-1)
	for t[i].sum != 0 {
		i = (i + 1) & uint64(len(t)-1)
	}
	t[i] = sumCell[T]{sum, value}
}

func (t sumTable[T]) find(sum uint64) (value T, ok bool) {
	i := sum & uint64(len(t)-1)
	for t[i].sum != sum {
		if t[i].sum == 0 {
			return value, false
		}
		i = (i + 1) & uint64(len(t)-1)
	}
	return t[i].value, sum != 0
}

// find returns the value for a request: its method, its host as the client sent
// it, and its unescaped path, which the caller has cleaned. It does not allocate.
// A path that does not begin with a slash matches no pattern.
func (r *router[T]) find(method, host, path string) T {
	if path == "" || path[0] != '/' {
		return r.none
	}
	number := slices.Index(r.methods, method) + 1
	var sum uint64
	for e := r.entrance(host); e != nil; e = e.wider {
		sum ^= sumPath(e.paths, number, path)
	}
	if v, ok := r.values.find(sum); ok {
		return v
	}
	return r.none
}

// sumPath adds up the patterns in the tree that match. The path is empty or
// begins with a slash.
func sumPath(t *tree[sums], method int, path string) uint64 {
	var sum uint64
	for path != "" {
		text := path[1:]
		if t.ends != nil {
			sum ^= t.ends.rest.of(method)
			if text == "" {
				sum ^= t.ends.slash.of(method)
			}
		}
		if text == "" {
			return sum
		}
		path = ""
		if i := strings.IndexByte(text, '/'); i >= 0 {
			text, path = text[:i], text[i:]
		}
		next := t.literals.find(text)
		if t.wild != nil && text != "" {
			if next == nil {
				next = t.wild
			} else {
				sum ^= sumPath(t.wild, method, path)
			}
		}
		if next == nil {
			return sum
		}
		t = next
	}
	if t.ends != nil {
		sum ^= t.ends.exact.of(method)
	}
	return sum
}

// entrance returns the way in for the narrowest host of a pattern that the host
// of a request is or is below.
func (l *layout) entrance(host string) *entrance {
	if len(l.hosts) == 0 || host == "" {
		return l.anyHost
	}
	if host[0] == '[' {
		host = host[:strings.IndexByte(host, ']')+1]
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")

	// The names are folded to lower case on the stack. Of a host that is longer
	// than any pattern's the end is enough, to look for what it is below.
	var buf [longestHost + 1]byte
	end := host[max(0, len(host)-l.longest):]
	folded := buf[:copy(buf[:], end)]
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + ('a' - 'A')
		}
	}
	whole := len(end) == len(host)
	for i, c := range folded {
		// A host that begins with a dot is below nothing there.
		if (i == 0 && whole) == (c == '.') {
			continue
		}
		if e := l.hosts[string(folded[i:])]; e != nil {
			return e
		}
	}
	return l.anyHost
}
