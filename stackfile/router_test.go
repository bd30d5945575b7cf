package stackfile

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// describe writes the regions as text: each pattern, and what covers it.
func describe(patterns []pattern, areas []region) []string {
	var lines []string
	for _, area := range areas {
		var set []string
		for _, i := range area.set {
			set = append(set, patterns[i].String())
		}
		lines = append(lines, area.pattern.String()+" = "+strings.Join(set, " + "))
	}
	return lines
}

func TestRegions(t *testing.T) {
	tests := []struct {
		name     string
		patterns []string
		want     []string
	}{
		{"none", nil, nil},
		{"nested", []string{"/a/b/", "/", "/a/"}, []string{
			"/ = /",
			"/a/ = / + /a/",
			"/a/b/ = / + /a/ + /a/b/",
		}},
		{"apart", []string{"/b/", "/a"}, []string{
			"/a = /a",
			"/b/ = /b/",
		}},
		{"crossing wildcards", []string{"/a/{x}", "/{y}/b"}, []string{
			"/{y}/b = /{y}/b",
			"/a/{x} = /a/{x}",
			"/a/b = /{y}/b + /a/{x}",
		}},
		{"a method across paths", []string{"GET /", "/a/", "/b"}, []string{
			"GET / = GET /",
			"/a/ = /a/",
			"GET /a/ = GET / + /a/",
			"/b = /b",
			"GET /b = GET / + /b",
		}},
		{"a host across paths", []string{"example.org/", "/a/"}, []string{
			"/a/ = /a/",
			"example.org/ = example.org/",
			"example.org/a/ = /a/ + example.org/",
		}},
		{"GET and HEAD", []string{"HEAD /", "GET /a", "POST /a"}, []string{
			"HEAD / = HEAD /",
			"GET /a = GET /a",
			"HEAD /a = HEAD / + GET /a",
			"POST /a = POST /a",
		}},
		{"three at once", []string{"/{x}/{y}/c", "/{x}/b/{z}", "/a/{y}/{z}"}, []string{
			"/{x}/{y}/c = /{x}/{y}/c",
			"/{x}/b/{z} = /{x}/b/{z}",
			"/{x}/b/c = /{x}/{y}/c + /{x}/b/{z}",
			"/a/{y}/{z} = /a/{y}/{z}",
			"/a/{y}/c = /{x}/{y}/c + /a/{y}/{z}",
			"/a/b/{z} = /{x}/b/{z} + /a/{y}/{z}",
			"/a/b/c = /{x}/{y}/c + /{x}/b/{z} + /a/{y}/{z}",
		}},
		{"alike but for names", []string{"/{y}", "/{x}"}, []string{
			"/{x} = /{x} + /{y}",
		}},
		{"a host below another", []string{"w.example.org/", "*.example.org/a/", "/a/b/"}, []string{
			"/a/b/ = /a/b/",
			"*.example.org/a/ = *.example.org/a/",
			"*.example.org/a/b/ = /a/b/ + *.example.org/a/",
			"w.example.org/ = w.example.org/",
			"w.example.org/a/ = *.example.org/a/ + w.example.org/",
			"w.example.org/a/b/ = /a/b/ + *.example.org/a/ + w.example.org/",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			patterns := parseAll(t, tt.patterns)
			// The order of the patterns must make no difference.
			for range 2 {
				areas, err := regions(patterns)
				if err != nil {
					t.Fatal(err)
				}
				got := describe(patterns, areas)
				slices.Sort(got)
				want := slices.Sorted(slices.Values(tt.want))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				slices.Reverse(patterns)
			}
		})
	}
}

func TestRegionsInOneOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := worldPatterns([]string{"", "GET "}, []string{"", "*.a", "b.a"}, []string{"a", "b", "{x}"}, 2)
	random.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	patterns := parseAll(t, texts[:60])
	areas, err := regions(patterns)
	if err != nil {
		t.Fatal(err)
	}
	want := describe(patterns, areas)
	for range 5 {
		random.Shuffle(len(patterns), func(i, j int) { patterns[i], patterns[j] = patterns[j], patterns[i] })
		areas, err := regions(patterns)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, describe(patterns, areas)); diff != "" {
			t.Fatalf("(-first order +another order)\n%s", diff)
		}
	}
}

func TestRegionsTooMany(t *testing.T) {
	// Each pattern has one literal of its own, so that any of them overlap.
	const depth = 20
	var patterns []pattern
	for i := range depth {
		var b strings.Builder
		for j := range depth {
			if i == j {
				b.WriteString("/a")
			} else {
				fmt.Fprintf(&b, "/{x%d}", j)
			}
		}
		patterns = append(patterns, mustParse(t, b.String()))
	}
	patterns = append(patterns, mustParse(t, "/harmless"), mustParse(t, "example.org/"))
	_, err := regions(patterns)
	if err == nil {
		t.Fatal("no error")
	}
	var a, b string
	if n, scanErr := fmt.Sscanf(err.Error(), "the patterns overlap in more than 200000 ways, %q and %q most of all; write patterns that overlap less", &a, &b); n != 2 {
		t.Fatalf("%v (%v)", err, scanErr)
	}
	if a == b || !strings.Contains(a, "/a/") || !strings.Contains(b, "/a/") {
		t.Errorf("%v: want two of the patterns that cross", err)
	}
}

func TestRouterHosts(t *testing.T) {
	find := routerOver(t, "/", "example.org/", "*.example.org/", "*.b.example.org/", "w.b.example.org/", "[2001:db8::1]/")
	const (
		exact = "/ example.org/"
		below = "/ *.example.org/"
	)
	tests := []struct{ host, want string }{
		{"", "/"},
		{"example.org", exact},
		{"example.org:8080", exact},
		{"example.org:", exact},
		{"example.org.", exact},
		{"Example.ORG.:8080", exact},
		{"a.example.org", below},
		{"A.B.Example.Org:80", "/ *.example.org/ *.b.example.org/"},
		{"w.b.example.org", "/ *.example.org/ *.b.example.org/ w.b.example.org/"},
		{"x.w.b.example.org", "/ *.example.org/ *.b.example.org/"},
		{"a.c.example.org", below},
		{"xexample.org", "/"},
		{".example.org", "/"},
		{"example.com", "/"},
		{strings.Repeat("a", 1000) + ".example.org", below},
		{strings.Repeat("a.", 1000) + "b.example.org", "/ *.example.org/ *.b.example.org/"},
		{strings.Repeat("a", 1000) + "example.org", "/"},
		{"[2001:db8::1]", "/ [2001:db8::1]/"},
		{"[2001:DB8::1]:443", "/ [2001:db8::1]/"},
		{"[2001:db8::1", "/"},
		{"2001:db8::1", "/"},
		{":80", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			if got := find("GET", tt.host, "/x"); got != tt.want {
				t.Errorf("find(%q) = %q, want %q", tt.host, got, tt.want)
			}
		})
	}
}

func TestRouterHostLongerThanAnyPattern(t *testing.T) {
	find := routerOver(t, "*.example.org/")
	for _, host := range []string{"a.example.org", "a.b.example.org", strings.Repeat("a", 300) + ".example.org"} {
		if got := find("GET", host, "/"); got != "*.example.org/" {
			t.Errorf("find(%q) = %q", host, got)
		}
	}
}

func TestRouterPaths(t *testing.T) {
	find := routerOver(t, "/", "/{$}", "/a", "/a/", "/a/{$}", "/{x}/b", "/a/{x}", "/a/b/{rest...}", "GET /a/", "HEAD /a/b", "/my%20files/")
	tests := []struct{ method, path, want string }{
		{"PUT", "/", "/ /{$}"},
		{"PUT", "/a", "/ /a"},
		{"PUT", "/a/", "/ /a/ /a/{$}"},
		{"PUT", "/a/b", "/ /{x}/b /a/ /a/{x}"},
		{"GET", "/a/b", "/ /{x}/b /a/ GET /a/ /a/{x}"},
		{"HEAD", "/a/b", "/ /{x}/b /a/ GET /a/ /a/{x} HEAD /a/b"},
		{"get", "/a/b", "/ /{x}/b /a/ /a/{x}"},
		{"PUT", "/a/c", "/ /a/ /a/{x}"},
		{"PUT", "/a/b/", "/ /a/ /a/b/{rest...}"},
		{"PUT", "/a/b/c/d", "/ /a/ /a/b/{rest...}"},
		{"PUT", "/c/b", "/ /{x}/b"},
		{"PUT", "/c/b/", "/"},
		{"PUT", "/A", "/"},
		{"PUT", "/my files/x", "/ /my%20files/"},
		{"PUT", "/my%20files/x", "/"},
		{"PUT", "//b", "/"},
		{"OPTIONS", "*", "nothing"},
		{"CONNECT", "", "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			if got := find(tt.method, "example.org", tt.path); got != tt.want {
				t.Errorf("find = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRouterWithoutPatterns(t *testing.T) {
	if got := newRouter(nil, nil, nil, 7).find("GET", "example.org", "/"); got != 7 {
		t.Errorf("find = %d, want 7", got)
	}
}

// TestRouterConcurrent has many goroutines find at once, for the race detector.
func TestRouterConcurrent(t *testing.T) {
	patterns := manyPatterns(t, 200)
	r, requests := bigRouter(t, patterns)
	naive := naiveFind(t, patterns)
	want := make([]int, len(requests))
	for i, q := range requests {
		want[i] = naive(q)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, q := range requests {
				if got := r.find(q.method, q.host, q.path); got != want[i] {
					t.Errorf("find(%s %s%s) = %d, want %d", q.method, q.host, q.path, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestSumAreas(t *testing.T) {
	tests := []struct {
		name    string
		numbers []uint64
		areas   []region
		want    []uint64
	}{
		{"all different", []uint64{1, 2}, []region{{set: []int{0}}, {set: []int{1}}, {set: []int{0, 1}}}, []uint64{1, 2, 3}},
		{"two alike", []uint64{1, 1}, []region{{set: []int{0}}, {set: []int{1}}}, nil},
		{"like no pattern", []uint64{1, 1}, []region{{set: []int{0}}, {set: []int{0, 1}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := sumAreas(tt.numbers, tt.areas)
			if ok != (tt.want != nil) {
				t.Errorf("ok = %t", ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	r, requests := bigRouter(t, manyPatterns(t, 1000))
	for _, q := range requests {
		for _, host := range []string{q.host, strings.ToUpper(q.host) + ":8080", strings.Repeat("Long.", 100) + q.host} {
			if n := testing.AllocsPerRun(5, func() { r.find(q.method, host, q.path) }); n != 0 {
				t.Fatalf("find(%s %s%s) allocates %v times", q.method, host, q.path, n)
			}
		}
	}
}

// FuzzRouter makes a few patterns out of the input, few enough in kind to
// overlap often, and holds their regions and router against a model that tries
// every pattern on every request of a small world.
func FuzzRouter(f *testing.F) {
	texts := worldPatterns(
		[]string{"", "GET ", "HEAD ", "POST "},
		[]string{"", "a", "*.a", "b.a", "*.b.a", "c.b.a", "[::1]"},
		[]string{"a", "b", "{x}"},
		3,
	)
	w := newWorld()
	f.Add([]byte{0, 0, 0, 1, 0, 2, 0, 3})
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		seed := make([]byte, 2+2*random.IntN(10))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var chosen []string
		for ; len(data) >= 2 && len(chosen) < 12; data = data[2:] {
			chosen = append(chosen, texts[(int(data[0])<<8|int(data[1]))%len(texts)])
		}
		patterns := parseAll(t, chosen)
		areas, err := regions(patterns)
		if err != nil {
			t.Fatal(err)
		}
		values := make([]int, len(areas))
		bySet := map[string]int{}
		for i, area := range areas {
			values[i] = i
			if !slices.IsSortedFunc(area.set, func(i, j int) int { return patterns[i].compare(patterns[j]) }) {
				t.Fatalf("%s: not from general to specific", describe(patterns, areas)[i])
			}
			key := fmt.Sprint(slices.Sorted(slices.Values(area.set)))
			if _, twice := bySet[key]; twice {
				t.Fatalf("%s: a second time", describe(patterns, areas)[i])
			}
			bySet[key] = i
			all := w.matches(area.pattern.String())
			met := w.matches(chosen[area.set[0]])
			for _, p := range area.set[1:] {
				met = met.and(w.matches(chosen[p]))
			}
			if !slices.Equal(all, met) {
				t.Fatalf("%s: the region is not what its patterns match", describe(patterns, areas)[i])
			}
		}
		r := newRouter(patterns, areas, values, -1)
		matches := make([]requestSet, len(chosen))
		for i, text := range chosen {
			matches[i] = w.matches(text)
		}
		var set []int
		keys := map[uint64]int{0: -1}
		w.each(func(i int, method, host, path string) {
			var bits uint64
			set = set[:0]
			for p := range matches {
				if matches[p].has(i) {
					set = append(set, p)
					bits |= 1 << p
				}
			}
			want, known := keys[bits]
			if !known {
				if want, known = bySet[fmt.Sprint(set)]; !known {
					t.Fatalf("%s %s%s: no region has the set %v of\n%s", method, host, path, set, strings.Join(chosen, "\n"))
				}
				keys[bits] = want
			}
			if got := r.find(method, host, path); got != want {
				t.Fatalf("find(%q, %q, %q) = %d, want %d of\n%s", method, host, path, got, want, strings.Join(describe(patterns, areas), "\n"))
			}
		})
	})
}

// BenchmarkFind tells how long it takes to find the overrides of a URL.
func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, requests := bigRouter(b, manyPatterns(b, n))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := &requests[i]
				r.find(q.method, q.host, q.path)
				if i++; i == len(requests) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkRegions10000(b *testing.B) {
	patterns := manyPatterns(b, 10_000)
	var areas []region
	for b.Loop() {
		var err error
		areas, err = regions(patterns)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(areas)), "regions")
}

func BenchmarkNewRouter10000(b *testing.B) {
	patterns := manyPatterns(b, 10_000)
	areas, err := regions(patterns)
	if err != nil {
		b.Fatal(err)
	}
	values := make([]int, len(areas))
	for b.Loop() {
		newRouter(patterns, areas, values, -1)
	}
}

// manyPatterns makes up n patterns like those of a big site: mostly subtrees and
// single pages at all depths, among them some for a method, on a host, or with a
// wildcard. A site of more than 10,000 has more sections, as deep as those of others.
func manyPatterns(t testing.TB, n int) []pattern {
	random := rand.New(rand.NewPCG(5, 6))
	sections := 100
	if n > 10_000 {
		sections = n / 20
	}
	texts := []string{"/", "GET /section1/", "/{lang}/about", "*.example.org/section2/", "w3.example.org/section2/"}
	known := map[string]bool{}
	for _, text := range texts {
		known[text] = true
	}
	for len(texts) < n {
		var b strings.Builder
		kind := random.IntN(100)
		if kind < 10 {
			b.WriteString([]string{"GET ", "POST ", "PUT ", "DELETE "}[random.IntN(4)])
		}
		if kind < 5 || kind > 95 {
			b.WriteString([]string{"*.example.org", "example.org", fmt.Sprintf("w%d.example.org", random.IntN(20))}[random.IntN(3)])
		}
		fmt.Fprintf(&b, "/section%d", random.IntN(sections))
		for level := range random.IntN(4) {
			if random.IntN(20) == 0 {
				fmt.Fprintf(&b, "/{x%d}", level)
			} else {
				fmt.Fprintf(&b, "/part%d", random.IntN(200))
			}
		}
		if random.IntN(3) > 0 {
			b.WriteByte('/')
		}
		if text := b.String(); !known[text] {
			known[text] = true
			texts = append(texts, text)
		}
	}
	random.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return parseAll(t, texts)
}

// A request is a question to a router.
type request struct{ method, host, path string }

// bigRouter builds a router of which the values are the numbers of the regions,
// and makes up requests for it: one for each of a thousand patterns, and one for a
// path below that.
func bigRouter(t testing.TB, patterns []pattern) (*router[int], []request) {
	areas, err := regions(patterns)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]int, len(areas))
	for i := range areas {
		values[i] = i
	}
	var requests []request
	for _, p := range patterns[:min(len(patterns), 1000)] {
		method, target, ok := strings.Cut(p.example(), " ")
		if !ok {
			method, target = "GET", method
		}
		if p.host == "" {
			target = "www.example.org" + target
		}
		u, err := url.Parse("http://" + target)
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, request{method, u.Host, u.Path}, request{method, u.Host, strings.TrimSuffix(u.Path, "/") + "/below/page.html"})
	}
	return newRouter(patterns, areas, values, -1), requests
}

// naiveFind returns what tells the region of a request by trying every pattern: what
// matches a request is here what covers the pattern of that one request.
func naiveFind(t testing.TB, patterns []pattern) func(request) int {
	areas, err := regions(patterns)
	if err != nil {
		t.Fatal(err)
	}
	bySet := map[string]int{"[]": -1}
	for i, area := range areas {
		bySet[fmt.Sprint(area.set)] = i
	}
	return func(q request) int {
		one := pattern{method: q.method, host: q.host}
		for s := range strings.SplitSeq(q.path[1:], "/") {
			if s == "" {
				one.segments = append(one.segments, segment{kind: segmentSlash})
			} else {
				one.segments = append(one.segments, segment{segmentLiteral, s})
			}
		}
		var set []int
		for i, p := range patterns {
			if p.covers(one) {
				set = append(set, i)
			}
		}
		slices.SortFunc(set, func(i, j int) int { return patterns[i].compare(patterns[j]) })
		found, ok := bySet[fmt.Sprint(set)]
		if !ok {
			t.Fatalf("no region has the set of %v", q)
		}
		return found
	}
}

// routerOver returns the find of a router of which each value is the patterns of
// the region, in their order, with blanks between.
func routerOver(t testing.TB, texts ...string) func(method, host, path string) string {
	t.Helper()
	patterns := parseAll(t, texts)
	areas, err := regions(patterns)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]string, len(areas))
	for i, area := range areas {
		var set []string
		for _, p := range area.set {
			set = append(set, patterns[p].String())
		}
		values[i] = strings.Join(set, " ")
	}
	return newRouter(patterns, areas, values, "nothing").find
}

func parseAll(t testing.TB, texts []string) []pattern {
	t.Helper()
	patterns := make([]pattern, len(texts))
	for i, text := range texts {
		patterns[i] = mustParse(t, text)
	}
	return patterns
}
