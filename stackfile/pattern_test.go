package stackfile

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePattern(t *testing.T) {
	lit := func(s string) segment { return segment{segmentLiteral, s} }
	one := func(s string) segment { return segment{segmentOne, s} }
	rest := func(s string) segment { return segment{segmentRest, s} }
	slash := segment{kind: segmentSlash}
	tests := []struct {
		name, in string
		want     pattern
		// canonical is what String says, if that is not in.
		canonical string
	}{
		{"root subtree", "/", pattern{"", "", []segment{rest("")}}, ""},
		{"root only", "/{$}", pattern{"", "", []segment{slash}}, ""},
		{"exact path", "/a/b", pattern{"", "", []segment{lit("a"), lit("b")}}, ""},
		{"subtree", "/a/", pattern{"", "", []segment{lit("a"), rest("")}}, ""},
		{"trailing slash only", "/a/{$}", pattern{"", "", []segment{lit("a"), slash}}, ""},
		{"one segment", "/{id}/edit", pattern{"", "", []segment{one("id"), lit("edit")}}, ""},
		{"named rest", "/f/{path...}", pattern{"", "", []segment{lit("f"), rest("path")}}, ""},
		{"identifier beyond ASCII", "/{größe_2}", pattern{"", "", []segment{one("größe_2")}}, ""},
		{"method", "GET /a", pattern{"GET", "", []segment{lit("a")}}, ""},
		{"method of an extension", "M-SEARCH /", pattern{"M-SEARCH", "", []segment{rest("")}}, ""},
		{"much space after the method", "PUT \t /a", pattern{"PUT", "", []segment{lit("a")}}, "PUT /a"},
		{"host", "example.org/", pattern{"", "example.org", []segment{rest("")}}, ""},
		{"method and host", "POST api.example.org/upload/{id}", pattern{"POST", "api.example.org", []segment{lit("upload"), one("id")}}, ""},
		{"host in mixed case", "WWW.Example.ORG/", pattern{"", "www.example.org", []segment{rest("")}}, "www.example.org/"},
		{"host with final dot", "example.org./", pattern{"", "example.org", []segment{rest("")}}, "example.org/"},
		{"hosts below one", "*.Example.org/", pattern{"", ".example.org", []segment{rest("")}}, "*.example.org/"},
		{"host with underscore", "my_app/", pattern{"", "my_app", []segment{rest("")}}, ""},
		{"IPv4", "127.0.0.1/", pattern{"", "127.0.0.1", []segment{rest("")}}, ""},
		{"IPv6", "[::1]/", pattern{"", "[::1]", []segment{rest("")}}, ""},
		{"IPv6 written long", "[2001:DB8:0:0::1]/", pattern{"", "[2001:db8::1]", []segment{rest("")}}, "[2001:db8::1]/"},
		{"escaped", "/%61/my%20files", pattern{"", "", []segment{lit("a"), lit("my files")}}, "/a/my%20files"},
		{"escaped meanings", "/%7Bid%7D/%2A/a%3Fb%23c/100%25", pattern{"", "", []segment{lit("{id}"), lit("*"), lit("a?b#c"), lit("100%")}}, ""},
		{"escaped octets", "/%00%ff%c2%a0", pattern{"", "", []segment{lit("\x00\xff\u00a0")}}, "/%00%FF%C2%A0"},
		{"letters beyond ASCII", "/caf%C3%A9/日本", pattern{"", "", []segment{lit("café"), lit("日本")}}, "/café/日本"},
		{"dots within a segment", "/a..b/...", pattern{"", "", []segment{lit("a..b"), lit("...")}}, ""},
		{"colon and at sign", "/a:b@c", pattern{"", "", []segment{lit("a:b@c")}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parsePattern(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(pattern{}, segment{})); diff != "" {
				t.Errorf("parsePattern(%q): (-want +got)\n%s", tt.in, diff)
			}
			want := tt.canonical
			if want == "" {
				want = tt.in
			}
			if got.String() != want {
				t.Errorf("String() = %q, want %q", got, want)
			}
		})
	}
}

func TestParsePatternErrors(t *testing.T) {
	long := strings.Repeat("a.", 127)
	tests := []struct{ name, in, want string }{
		{"empty", "", `it is empty; write a path such as /admin/`},
		{"not UTF-8", "/\xff", `it is not UTF-8`},
		{"leading space", " /a", `it begins with white space`},
		{"no slash", "admin", `it has no slash; write "/admin" for a path or "admin/" for a host`},
		{"method without slash", "GET", `it has no slash; write "GET /" for a method, "/GET" for a path or "GET/" for a host`},
		{"method and nothing", "GET ", `it has no path; write "GET /"`},
		{"method and no slash", "GET a", `it has no slash; write "/a" for a path or "a/" for a host`},
		{"scheme", "https://example.org/a", `it has a scheme; write "example.org/a"`},
		{"scheme and host", "https://example.org", `it has a scheme; write "example.org/"`},
		{"method in lower case", "get /a", `the method "get" is not in upper case; write GET`},
		{"method not a token", "GET,HEAD /a", `the method "GET,HEAD" has the character ','; write a method such as GET`},
		{"wildcard in the host", "{id}/a", `the host "{id}" has a wildcard; write "/{id}" if it is a path, or *.example.org for the hosts below one`},
		{"port", "example.org:8080/", `the host "example.org:8080" has a port; hosts are compared without it, so write "example.org"`},
		{"star alone", "*/a", `the host "*" stands for every host; leave it out`},
		{"star inside", "a.*.org/", `the host "a.*.org" has a "*" that is not its first label; write *.example.org`},
		{"star in a label", "*a.org/", `the host "*a.org" has a "*" that is not its first label; write *.example.org`},
		{"star above nothing", "*./", `the host "*." has a "*" that is not its first label; write *.example.org`},
		{"empty label", "a..org/", `the host "a..org" has an empty label; write a name such as example.org`},
		{"leading dot", ".example.org/", `the host ".example.org" has an empty label; write a name such as example.org`},
		{"host beyond ASCII", "bücher.example/", `the host "bücher.example" is not ASCII; write its xn-- form, which is what a browser sends`},
		{"user in the host", "me@example.org/", `the host "me@example.org" has the character '@'; a host is letters, digits, hyphens and dots`},
		{"host too long", long + "org/", `the host "` + long + `org" has 257 characters; a host has at most 253`},
		{"IPv6 not closed", "[::1/", `the host "[::1" has no "]" after the address; write [::1]`},
		{"IPv6 with port", "[::1]:80/", `the host "[::1]:80" has a port; hosts are compared without it, so write "[::1]"`},
		{"IPv6 with zone", "[fe80::1%eth0]/", `the host "[fe80::1%eth0]" has a zone, which no client sends; write "[fe80::1]"`},
		{"IPv6 that is none", "[127.0.0.1]/", `the host "[127.0.0.1]" is not an IPv6 address; write [::1]`},
		{"query", "/a?b=c", `the path "/a?b=c" has a query, which no pattern can match; write "/a", or %3F for a literal "?"`},
		{"fragment", "/a#b", `the path "/a#b" has a fragment, which no pattern can match; write "/a", or %23 for a literal "#"`},
		{"double slash", "/a//b", `the path "/a//b" is not clean; write "/a/b"`},
		{"dot", "/a/./b", `the path "/a/./b" is not clean; write "/a/b"`},
		{"final dot", "/a/.", `the path "/a/." is not clean; write "/a/"`},
		{"dots", "/a/../b/", `the path "/a/../b/" is not clean; write "/b/"`},
		{"dots in disguise", "/a/%2e%2E", `the segment "%2e%2E" is ".." in disguise, which no clean path has`},
		{"slash in disguise", "/a%2Fb", `the segment "a%2Fb" has an escaped slash; paths are compared after unescaping, so write a slash`},
		{"broken escape", "/100%", `the segment "100%" has a "%" that is no escape; write %25 for a percent sign`},
		{"space", "/my files", `the segment "my files" has the character ' '; write %20`},
		{"space behind the path", "GET /a ", `the segment "a " has the character ' '; write %20`},
		{"control character", "/a\x01", `the segment "a\x01" has the character '\x01'; write %01`},
		{"star", "/admin/*", `the segment "*" has a "*"; write {name} for one whole segment, a final slash for all below, or %2A for a star`},
		{"brace not closed", "/{id/a", `the segment "{id" has a "{" that is not closed; write {name}, or %7B for a literal brace`},
		{"brace not opened", "/id}", `the segment "id}" has a "}" that was not opened; write {name}, or %7D for a literal brace`},
		{"braces the wrong way round", "/}{", `the segment "}{" has a "}" that was not opened; write {name}, or %7D for a literal brace`},
		{"wildcard with suffix", "/{id}.json", `the segment "{id}.json" has more than its wildcard; a wildcard is a whole segment`},
		{"wildcard with prefix", "/v{id}", `the segment "v{id}" has more than its wildcard; a wildcard is a whole segment`},
		{"two wildcards in one", "/{a}{b}", `the segment "{a}{b}" has more than its wildcard; a wildcard is a whole segment`},
		{"no name", "/{}", `the wildcard "{}" has no name; write {name}`},
		{"rest without name", "/{...}", `the wildcard "{...}" has no name; write {name...}`},
		{"bad name", "/x/{a b}", `the wildcard "{a b}" is not a Go identifier; write {name}`},
		{"bad name behind a host", "example.org/{a b}", `the wildcard "{a b}" is not a Go identifier; write {name}`},
		{"name begins with a digit", "/{1st...}", `the wildcard "{1st...}" is not a Go identifier; write {name...}`},
		{"name twice", "/{id}/x/{id}", `the wildcard name "id" is twice in the path "/{id}/x/{id}"; give each wildcard its own`},
		{"rest not last", "/{a...}/b", `"{a...}" is not the last segment of the path "/{a...}/b"; nothing may follow it`},
		{"rest and slash", "/{a...}/", `"{a...}" is not the last segment of the path "/{a...}/"; nothing may follow it`},
		{"slash not last", "/{$}/b", `"{$}" is not the last segment of the path "/{$}/b"; nothing may follow it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := parsePattern(tt.in)
			if err == nil {
				t.Fatalf("parsePattern(%q) = %q, want an error", tt.in, p)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("parsePattern(%q): (-want +got)\n%s", tt.in, diff)
			}
		})
	}
}

func TestPatternExample(t *testing.T) {
	tests := []struct{ in, want string }{
		{"/", "/"},
		{"/{$}", "/"},
		{"/a/{x}/b", "/a/x/b"},
		{"/a/{rest...}", "/a/"},
		{"GET api.example.org/upload/{id}", "GET api.example.org/upload/x"},
		{"*.example.org/my%20files", "x.example.org/my%20files"},
		{"[::1]/a/", "[::1]/a/"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			if got := mustParse(t, tt.in).example(); got != tt.want {
				t.Errorf("example() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMoreSpecific(t *testing.T) {
	const (
		more    = "more specific"
		less    = "less specific"
		neither = "neither"
	)
	tests := []struct{ a, b, want string }{
		{"/a/", "/", more},
		{"/a", "/a/", neither}, // no request in common
		{"/a/{$}", "/a/", more},
		{"/a/b", "/a/{x}", more},
		{"/a/{x}", "/{x}/b", neither},
		{"/a/{x}", "/a/{y}", neither},
		{"/a/{x...}", "/a/", neither},
		{"GET /a", "/a", more},
		{"HEAD /a", "GET /a", more},
		{"GET /", "/a", neither},
		{"GET /a/", "POST /a/b", neither},
		{"example.org/", "/a/b", more},
		{"example.org/", "GET /a/b", more},
		{"*.example.org/", "/a/b", more},
		{"*.b.example.org/", "*.example.org/a", more},
		{"a.example.org/", "*.example.org/a", more},
		{"x.a.b/", "*.a.b/a", more},
		{"example.org/", "*.example.org/", neither},
		{"example.org/a/", "example.net/", neither},
	}
	for _, tt := range tests {
		t.Run(tt.a+" and "+tt.b, func(t *testing.T) {
			a, b := mustParse(t, tt.a), mustParse(t, tt.b)
			got := neither
			switch {
			case a.moreSpecific(b) && b.moreSpecific(a):
				t.Fatalf("%q and %q are each more specific than the other", a, b)
			case a.moreSpecific(b):
				got = more
			case b.moreSpecific(a):
				got = less
			}
			if got != tt.want {
				t.Errorf("%q is to %q: %s, want %s", a, b, got, tt.want)
			}
		})
	}
}

func TestMeet(t *testing.T) {
	tests := []struct {
		a, b string
		want string // empty if they do not meet
	}{
		{"/", "/a", "/a"},
		{"/a", "/a/", ""},
		{"/{x}", "/{$}", ""},
		{"/{x}", "/a", "/a"},
		{"/a/{x}", "/{y}/b", "/a/b"},
		{"/a/{x}/", "/{y}/b", ""},
		{"/a/{x}/", "/{y}/b/", "/a/b/"},
		{"/a/{x...}", "/{y}/b/{$}", "/a/b/{$}"},
		{"/a/{x...}", "/{y}/", "/a/{x...}"},
		{"GET /a/", "/{x}/b", "GET /a/b"},
		{"GET /a/", "HEAD /{x}/b", "HEAD /a/b"},
		{"GET /", "POST /", ""},
		{"example.org/", "GET /a", "GET example.org/a"},
		{"*.example.org/a/", "GET w.example.org/", "GET w.example.org/a/"},
		{"*.example.org/a/", "GET *.w.example.org/", "GET *.w.example.org/a/"},
		{"*.example.org/", "example.org/", ""},
		{"a.org/", "b.org/", ""},
		{"/{a}/{b...}", "GET /x/{a}/{b}", "GET /x/{a}/{b}"},
		{"/{x}/{a}", "GET /{a}/{b...}", "GET /{a}/{a2}"},
		{"/{x}/{a}/{a2}", "GET /{a}/{b...}", "GET /{a}/{a2}/{a22}"},
		{"/{x}/{y}/{a}", "GET /{a}/{a2}/{b...}", "GET /{a}/{a2}/{a3}"},
	}
	for _, tt := range tests {
		t.Run(tt.a+" and "+tt.b, func(t *testing.T) {
			a, b := mustParse(t, tt.a), mustParse(t, tt.b)
			for _, order := range [][2]pattern{{a, b}, {b, a}} {
				got := ""
				if m, ok := meet(order[0], order[1]); ok {
					got = m.String()
					mustParse(t, got)
				}
				if order[0].compare(a) == 0 && got != tt.want {
					t.Errorf("meet(%q, %q) = %q, want %q", order[0], order[1], got, tt.want)
				}
				if (got == "") != (tt.want == "") {
					t.Errorf("meet(%q, %q) = %q, want %q up to names", order[0], order[1], got, tt.want)
				}
			}
		})
	}
}

// TestRelations compares, for every two patterns of a small world, what the
// relations say with what the patterns match in that world. The world has a
// method, a host and a segment that no pattern names, so that a pattern covers
// another in the world only if it does so everywhere.
func TestRelations(t *testing.T) {
	w := newWorld()
	var patterns []pattern
	for _, text := range worldPatterns(
		[]string{"", "GET ", "HEAD ", "POST "},
		[]string{"", "a", "*.a", "b.a", "*.b.a"},
		[]string{"a", "b", "{x}"},
		2,
	) {
		patterns = append(patterns, mustParse(t, text))
	}
	matches := make([]requestSet, len(patterns))
	for i, p := range patterns {
		matches[i] = w.matches(p.String())
		if len(matches[i]) == 0 {
			t.Fatalf("%q matches nothing in the world; the test would prove nothing", p)
		}
	}
	for i, p := range patterns {
		for j, q := range patterns {
			if got, want := p.covers(q), matches[j].within(matches[i]); got != want {
				t.Fatalf("%q covers %q: %t, want %t", p, q, got, want)
			}
			m, ok := meet(p, q)
			both := matches[i].and(matches[j])
			if ok != !both.empty() {
				t.Fatalf("meet(%q, %q): %t, want %t", p, q, ok, !both.empty())
			}
			if ok && !slices.Equal(w.matches(m.String()), both) {
				t.Fatalf("meet(%q, %q) = %q, which does not match what both match", p, q, m)
			}
			if p.moreSpecific(q) {
				if q.moreSpecific(p) {
					t.Fatalf("%q and %q are each more specific than the other", p, q)
				}
				if p.compare(q) <= 0 {
					t.Fatalf("%q is more specific than %q but does not come after it", p, q)
				}
			}
			if p.host == q.host {
				if got, want := p.moreSpecific(q), matches[i].within(matches[j]) && !matches[j].within(matches[i]); got != want {
					t.Fatalf("%q is more specific than %q: %t, want %t", p, q, got, want)
				}
			}
			if p.compare(q) != -q.compare(p) || (p.compare(q) == 0) != (i == j) {
				t.Fatalf("%q compares to %q as %d, and back as %d", p, q, p.compare(q), q.compare(p))
			}
		}
	}
	slices.SortFunc(patterns, pattern.compare)
	for i, p := range patterns {
		for _, q := range patterns[i+1:] {
			if p.compare(q) >= 0 || p.moreSpecific(q) {
				t.Fatalf("%q stands before %q when sorted", p, q)
			}
		}
	}
}

// TestServeMux holds the patterns against net/http: where the grammar is the
// same, a pattern matches what a ServeMux with that pattern alone serves.
func TestServeMux(t *testing.T) {
	w := newWorld()
	hosts := []string{"", "a", "b.a", "b.a:80", "[::1]:80"}
	texts := worldPatterns(
		[]string{"", "GET ", "HEAD ", "POST "},
		[]string{"", "b.a", "[::1]"},
		[]string{"a", "{x}"},
		2,
	)
	texts = append(texts, "/my%20files/{x}", "/%7Bx%7D", "/caf%C3%A9", "/100%25")
	paths := append(w.cleanPaths(), "/my files/a", "/{x}", "/café", "/100%", "/%")
	for _, text := range texts {
		served := false
		mux := http.NewServeMux()
		mux.HandleFunc(text, func(http.ResponseWriter, *http.Request) { served = true })
		// ServeMux takes an IPv6 address without its brackets out of a host
		// with a port, and compares that with the pattern as it is written.
		if unbracketed := strings.NewReplacer("[", "", "]", "").Replace(text); unbracketed != text {
			mux = http.NewServeMux()
			mux.HandleFunc(unbracketed, func(http.ResponseWriter, *http.Request) { served = true })
		}
		find := routerOf(t, text)
		for _, method := range w.methods {
			for _, host := range hosts {
				for _, path := range paths {
					r := &http.Request{Method: method, Host: host, URL: &url.URL{Path: path}}
					served = false
					mux.ServeHTTP(httptest.NewRecorder(), r)
					if got := find(method, host, path) != ""; got != served {
						t.Fatalf("%q matches %s %s%s: %t, ServeMux says %t", text, method, host, path, got, served)
					}
				}
			}
		}
	}
}

// FuzzPattern: whatever a pattern is, parsing it does not panic; one that is
// accepted is read back from its canonical form as the same, is good enough for
// ServeMux, and matches its own example.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{
		"/", "GET /a/{x}/{$}", "*.example.org/{rest...}", "[2001:db8::1]/a%20b", "/%7b%7D%25%2a%00%ff", "get /", "/a//b", "/{a b}", "/{a}{b}", "CONNECT /{é}", "x//", "/*",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		again, err := parsePattern(p.String())
		if err != nil {
			t.Fatalf("parsePattern(%q) = %q, which is refused: %v", s, p, err)
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("parsePattern(%q) = %#v, but %q is %#v", s, p, p, again)
		}
		http.NewServeMux().Handle(p.String(), http.NotFoundHandler())

		method, target, ok := strings.Cut(p.example(), " ")
		if !ok {
			method, target = "PURGE", method
		}
		if p.host == "" {
			target = "example.org" + target
		}
		u, err := url.Parse("http://" + target)
		if err != nil {
			t.Fatalf("the example %q of %q: %v", p.example(), p, err)
		}
		if routerOf(t, s)(method, u.Host, u.Path) == "" {
			t.Errorf("%q does not match its example %q", p, p.example())
		}
	})
}

// routerOf returns the find of a router over one pattern, which returns the
// pattern if it matches.
func routerOf(t testing.TB, text string) func(method, host, path string) string {
	t.Helper()
	patterns := []pattern{mustParse(t, text)}
	areas, err := regions(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return newRouter(patterns, areas, []string{text}, "").find
}

func mustParse(t testing.TB, s string) pattern {
	t.Helper()
	p, err := parsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// worldPatterns returns all patterns of up to depth of the segments, with each
// end that there is, behind each of the methods and hosts.
func worldPatterns(methods, hosts, segments []string, depth int) []string {
	stems := []string{""}
	paths := []string{"/", "/{$}"}
	for level := range depth {
		var longer []string
		for _, stem := range stems {
			for _, s := range segments {
				if strings.HasPrefix(s, "{") {
					s = fmt.Sprintf("{x%d}", level)
				}
				longer = append(longer, stem+"/"+s)
			}
		}
		stems = longer
		for _, stem := range stems {
			paths = append(paths, stem, stem+"/", stem+"/{$}")
		}
	}
	var all []string
	for _, method := range methods {
		for _, host := range hosts {
			for _, path := range paths {
				all = append(all, method+host+path)
			}
		}
	}
	return all
}

// A world is a small set of requests, and tells which of them a pattern matches.
// It knows patterns by their text alone, as regular expressions.
type world struct {
	methods, hosts, paths []string
	known                 map[string]requestSet
}

// A requestSet has a bit for each request of a world.
type requestSet []uint64

func newWorld() *world {
	w := &world{
		methods: []string{"GET", "HEAD", "POST", "PURGE"},
		hosts: []string{
			"", "a", "A.", "b.a", "B.a:80", "c.a", "c.b.a", "d.c.b.A.:8080", "ba", "a.b", ".a", "..a", "[::1]", "[::1]:80", "[::2]",
			"x.y.z.x.y.z.x.y.z.b.a", "x.y.z.x.y.z.x.y.zb.a",
		},
		paths: []string{"/"},
		known: map[string]requestSet{},
	}
	stems := []string{""}
	for range 3 {
		var longer []string
		for _, stem := range stems {
			for _, s := range []string{"a", "b", "c"} {
				longer = append(longer, stem+"/"+s)
			}
		}
		stems = longer
		for _, stem := range stems {
			w.paths = append(w.paths, stem, stem+"/")
		}
	}
	w.paths = append(w.paths, "", "*", "//", "//a", "/a//", "/a//b", "/a/b/c/a/b")
	return w
}

func (w *world) cleanPaths() []string {
	return slices.DeleteFunc(slices.Clone(w.paths), func(p string) bool {
		return !strings.HasPrefix(p, "/") || strings.Contains(p, "//")
	})
}

// each calls visit with every request and its place in a requestSet.
func (w *world) each(visit func(i int, method, host, path string)) {
	i := 0
	for _, method := range w.methods {
		for _, host := range w.hosts {
			for _, path := range w.paths {
				visit(i, method, host, path)
				i++
			}
		}
	}
}

var patternParts = regexp.MustCompile(`\A(?:(\S+) )?([^/]*)(/.*)\z`)

func (w *world) matches(text string) requestSet {
	if set, ok := w.known[text]; ok {
		return set
	}
	parts := patternParts.FindStringSubmatch(text)
	method, host, rest := parts[1], parts[2], parts[3]
	if suffix, ok := strings.CutPrefix(host, "*"); ok {
		host = ".+" + regexp.QuoteMeta(suffix)
	} else {
		host = regexp.QuoteMeta(host)
	}
	var path strings.Builder
	for s := range strings.SplitSeq(rest[1:], "/") {
		path.WriteByte('/')
		switch {
		case s == "" || strings.HasSuffix(s, "...}"):
			path.WriteString(".*")
		case s == "{$}":
		case strings.HasPrefix(s, "{"):
			path.WriteString("[^/]+")
		default:
			path.WriteString(regexp.QuoteMeta(s))
		}
	}
	hostMatch := regexp.MustCompile(`\A(?i:` + host + `)\z`)
	pathMatch := regexp.MustCompile(`(?s)\A` + path.String() + `\z`)

	hosts, paths := map[string]bool{}, map[string]bool{}
	for _, h := range w.hosts {
		name, _, err := net.SplitHostPort(h)
		switch {
		case err != nil:
			name = h
		case strings.Contains(name, ":"):
			name = "[" + name + "]"
		}
		hosts[h] = parts[2] == "" || hostMatch.MatchString(strings.TrimSuffix(name, "."))
	}
	for _, p := range w.paths {
		paths[p] = pathMatch.MatchString(p)
	}
	set := make(requestSet, (len(w.methods)*len(w.hosts)*len(w.paths)+63)/64)
	w.each(func(i int, m, h, p string) {
		if (method == "" || method == m || method == "GET" && m == "HEAD") && hosts[h] && paths[p] {
			set[i/64] |= 1 << (i % 64)
		}
	})
	w.known[text] = set
	return set
}

func (s requestSet) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

func (s requestSet) and(t requestSet) requestSet {
	both := make(requestSet, len(s))
	for i := range s {
		both[i] = s[i] & t[i]
	}
	return both
}

func (s requestSet) empty() bool {
	return !slices.ContainsFunc(s, func(word uint64) bool { return word != 0 })
}

func (s requestSet) within(t requestSet) bool {
	for i := range s {
		if s[i]&^t[i] != 0 {
			return false
		}
	}
	return true
}
