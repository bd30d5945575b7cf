package stackfile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pattern says which requests an override is for. Its grammar is that of
// [net/http.ServeMux], "[METHOD ][host]/path", and one thing more: a host may
// begin with "*.", which stands for one label or several.
//
// A pattern is a value that never changes once it is made.
type pattern struct {
	// method is empty for every method. GET stands for HEAD, too.
	method string
	// host is empty for every host, begins with a dot for every host that has
	// it as a suffix, and is otherwise the host itself: lower case, no port,
	// no final dot, an IPv6 address in brackets.
	host string
	// segments is never empty.
	segments []segment
}

// A segment is what a pattern asks of the path between one slash and the next.
type segment struct {
	kind segmentKind
	// text is a literal's unescaped text or a wildcard's name. A wildcard
	// without a name is the one that a pattern's final slash stands for.
	text string
}

// A segmentKind is ordered from the general to the specific, as far as one
// kind can cover another.
type segmentKind uint8

const (
	segmentRest    segmentKind = iota // "{name...}" or a final slash: the rest, which may be empty
	segmentOne                        // "{name}": one segment, not empty
	segmentSlash                      // "{$}": nothing more after the slash
	segmentLiteral                    // this text
)

// parsePattern reads a pattern. It is stricter than ServeMux where ServeMux
// would accept what can never match or is hardly meant: unclean paths, hosts
// with a port, methods in lower case, "*", "?" and "#" in the path. Its errors
// call the pattern "it".
func parsePattern(s string) (pattern, error) {
	if s == "" {
		return pattern{}, errors.New("it is empty; write a path such as /admin/")
	}
	if len(s) > longestPattern {
		return pattern{}, fmt.Errorf("it has %d bytes; a pattern has at most %d", len(s), longestPattern)
	}
	if !utf8.ValidString(s) {
		return pattern{}, errors.New("it is not UTF-8")
	}
	var p pattern
	rest := s
	// White space after the first slash belongs to the path.
	if i := strings.IndexAny(s, " \t"); i >= 0 && !strings.Contains(s[:i], "/") {
		if i == 0 {
			return pattern{}, errors.New("it begins with white space")
		}
		p.method, rest = s[:i], strings.TrimLeft(s[i:], " \t")
		if err := checkMethod(p.method); err != nil {
			return pattern{}, err
		}
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		switch {
		case rest == "":
			return pattern{}, fmt.Errorf("it has no path; write %q", p.method+" /")
		case p.method == "" && checkMethod(rest) == nil:
			return pattern{}, fmt.Errorf("it has no slash; write %q for a method, %q for a path or %q for a host",
				rest+" /", "/"+rest, rest+"/")
		default:
			return pattern{}, fmt.Errorf("it has no slash; write %q for a path or %q for a host", "/"+rest, rest+"/")
		}
	}
	if scheme := rest[:slash]; strings.HasSuffix(scheme, ":") && strings.HasPrefix(rest[slash:], "//") {
		host, path, _ := strings.Cut(rest[slash+2:], "/")
		return pattern{}, fmt.Errorf("it has a scheme; write %q", host+"/"+path)
	}
	var err error
	if p.host, err = parseHost(rest[:slash]); err != nil {
		return pattern{}, err
	}
	p.segments, err = parsePath(rest[slash:])
	if err != nil {
		return pattern{}, err
	}
	return p, nil
}

// What no pattern for real URLs needs, and what would make the tables of a router large.
const (
	longestPattern = 2000
	mostSegments   = 64
)

// checkMethod reports what is wrong with a method (RFC 9110, section 9.1).
func checkMethod(method string) error {
	for _, c := range method {
		if !isTokenRune(c) {
			return fmt.Errorf("the method %q has the character %q; write a method such as GET", method, c)
		}
	}
	if upper := strings.ToUpper(method); upper != method {
		return fmt.Errorf("the method %q is not in upper case; write %s", method, upper)
	}
	return nil
}

// isTokenRune reports whether a token may hold c (RFC 9110, section 5.6.2).
func isTokenRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// longestHost is how long a host name can be (RFC 1035, section 2.3.4).
const longestHost = 253

// parseHost returns the host in the form that [pattern] keeps.
func parseHost(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if strings.Contains(s, "{") {
		return "", fmt.Errorf("the host %q has a wildcard; write %q if it is a path, or *.example.org for the hosts below one", s, "/"+s)
	}
	if strings.HasPrefix(s, "[") {
		return parseHostIPv6(s)
	}
	if name, _, ok := strings.Cut(s, ":"); ok {
		return "", fmt.Errorf("the host %q has a port; hosts are compared without it, so write %q", s, name)
	}
	if s == "*" {
		return "", errors.New(`the host "*" stands for every host; leave it out`)
	}
	name, below := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(s, ".")), "*.")
	if strings.Contains(name, "*") {
		return "", fmt.Errorf(`the host %q has a "*" that is not its first label; write *.example.org`, s)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return "", fmt.Errorf("the host %q has an empty label; write a name such as example.org", s)
		}
		for _, c := range label {
			if c >= utf8.RuneSelf {
				return "", fmt.Errorf("the host %q is not ASCII; write its xn-- form, which is what a browser sends", s)
			}
			if !isLower(c) && !isDigit(c) && c != '-' && c != '_' {
				return "", fmt.Errorf("the host %q has the character %q; a host is letters, digits, hyphens and dots", s, c)
			}
		}
	}
	if below {
		name = "." + name
	}
	if len(name) > longestHost {
		return "", fmt.Errorf("the host %q has %d characters; a host has at most %d", s, len(name), longestHost)
	}
	return name, nil
}

func isLower(c rune) bool { return 'a' <= c && c <= 'z' }

func isDigit(c rune) bool { return '0' <= c && c <= '9' }

// parseHostIPv6 reads a host that begins with a bracket.
func parseHostIPv6(s string) (string, error) {
	inside, after, closed := strings.Cut(s[1:], "]")
	if !closed {
		return "", fmt.Errorf(`the host %q has no "]" after the address; write [::1]`, s)
	}
	if after != "" {
		return "", fmt.Errorf("the host %q has a port; hosts are compared without it, so write %q", s, "["+inside+"]")
	}
	addr, err := netip.ParseAddr(inside)
	if err != nil || !addr.Is6() {
		return "", fmt.Errorf("the host %q is not an IPv6 address; write [::1]", s)
	}
	if addr.Zone() != "" {
		return "", fmt.Errorf("the host %q has a zone, which no client sends; write %q", s, "["+addr.WithZone("").String()+"]")
	}
	return "[" + addr.String() + "]", nil
}

// parsePath reads the path of a pattern, which begins with a slash.
func parsePath(s string) ([]segment, error) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		what, escape := "query", "%3F"
		if s[i] == '#' {
			what, escape = "fragment", "%23"
		}
		return nil, fmt.Errorf("the path %q has a %s, which no pattern can match; write %q, or %s for a literal %q",
			s, what, s[:i], escape, s[i:i+1])
	}
	if clean := cleanPath(s); clean != s {
		return nil, fmt.Errorf("the path %q is not clean; write %q", s, clean)
	}
	if n := strings.Count(s, "/"); n > mostSegments {
		return nil, fmt.Errorf("the path has %d segments; a pattern has at most %d", n, mostSegments)
	}
	var segments []segment
	for text := range strings.SplitSeq(s[1:], "/") {
		if n := len(segments); n > 0 && (segments[n-1].kind == segmentRest || segments[n-1].kind == segmentSlash) {
			return nil, fmt.Errorf("%q is not the last segment of the path %q; nothing may follow it", segments[n-1], s)
		}
		seg, err := parseSegment(text)
		if err != nil {
			return nil, err
		}
		if seg.isNamed() && hasName(segments, seg.text) {
			return nil, fmt.Errorf("the wildcard name %q is twice in the path %q; give each wildcard its own", seg.text, s)
		}
		segments = append(segments, seg)
	}
	return segments, nil
}

// cleanPath is the path that a request for s comes to.
func cleanPath(s string) string {
	clean := path.Clean(s)
	if clean != "/" && (strings.HasSuffix(s, "/") || strings.HasSuffix(s, "/.") || strings.HasSuffix(s, "/..")) {
		clean += "/"
	}
	return clean
}

// parseSegment reads what is between two slashes. The empty text stands after a
// final slash.
func parseSegment(s string) (segment, error) {
	switch {
	case s == "":
		return segment{kind: segmentRest}, nil
	case s == "{$}":
		return segment{kind: segmentSlash}, nil
	case strings.ContainsAny(s, "{}"):
		return parseWildcard(s)
	case strings.Contains(s, "*"):
		return segment{}, fmt.Errorf(`the segment %q has a "*"; write {name} for one whole segment, a final slash for all below, or %%2A for a star`, s)
	}
	for _, c := range s {
		if !isPlainRune(c) {
			return segment{}, fmt.Errorf("the segment %q has the character %q; write %s", s, c, url.PathEscape(string(c)))
		}
	}
	text, err := url.PathUnescape(s)
	if err != nil {
		return segment{}, fmt.Errorf("the segment %q has a %q that is no escape; write %%25 for a percent sign", s, "%")
	}
	if strings.Contains(text, "/") {
		return segment{}, fmt.Errorf("the segment %q has an escaped slash; paths are compared after unescaping, so write a slash", s)
	}
	if text == "." || text == ".." {
		return segment{}, fmt.Errorf("the segment %q is %q in disguise, which no clean path has", s, text)
	}
	return segment{kind: segmentLiteral, text: text}, nil
}

// isPlainRune reports whether c may stand in a pattern without an escape, as
// far as it has no meaning there.
func isPlainRune(c rune) bool {
	return unicode.IsGraphic(c) && !unicode.IsSpace(c)
}

// parseWildcard reads a segment that has a brace.
func parseWildcard(s string) (segment, error) {
	switch begin, end := strings.IndexByte(s, '{'), strings.IndexByte(s, '}'); {
	case end < 0:
		return segment{}, fmt.Errorf(`the segment %q has a "{" that is not closed; write {name}, or %%7B for a literal brace`, s)
	case begin < 0 || end < begin:
		return segment{}, fmt.Errorf(`the segment %q has a "}" that was not opened; write {name}, or %%7D for a literal brace`, s)
	case begin > 0 || end < len(s)-1:
		return segment{}, fmt.Errorf("the segment %q has more than its wildcard; a wildcard is a whole segment", s)
	}
	kind, form := segmentOne, "{name}"
	name, rest := strings.CutSuffix(s[1:len(s)-1], "...")
	if rest {
		kind, form = segmentRest, "{name...}"
	}
	if name == "" {
		return segment{}, fmt.Errorf("the wildcard %q has no name; write %s", s, form)
	}
	for i, c := range name {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return segment{}, fmt.Errorf("the wildcard %q is not a Go identifier; write %s", s, form)
		}
	}
	return segment{kind: kind, text: name}, nil
}

// isNamed reports whether the segment is a wildcard with a name.
func (s segment) isNamed() bool {
	return (s.kind == segmentOne || s.kind == segmentRest) && s.text != ""
}

// String writes the segment as a pattern has it.
func (s segment) String() string {
	switch {
	case s.kind == segmentSlash:
		return "{$}"
	case s.kind == segmentOne:
		return "{" + s.text + "}"
	case s.kind == segmentRest && s.text != "":
		return "{" + s.text + "...}"
	default:
		return escapeLiteral(s.text)
	}
}

// escapeLiteral escapes what [parseSegment] would not take as itself.
func escapeLiteral(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if !isPlainRune(c) || c == utf8.RuneError && size == 1 || strings.ContainsRune("%{}*?#", c) {
			for _, octet := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", octet)
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// String writes the pattern in its one canonical form, which [parsePattern]
// reads back as the same pattern.
func (p pattern) String() string {
	return p.write("*", segment.String)
}

// example returns a URL without scheme that the pattern matches, behind the
// method if the pattern names one.
func (p pattern) example() string {
	return p.write("x", func(s segment) string {
		switch s.kind {
		case segmentOne:
			return "x"
		case segmentLiteral:
			return s.String()
		default:
			return ""
		}
	})
}

// write joins the parts of the pattern. The label stands before the suffix of
// a host.
func (p pattern) write(label string, write func(segment) string) string {
	var b strings.Builder
	if p.method != "" {
		b.WriteString(p.method)
		b.WriteByte(' ')
	}
	if strings.HasPrefix(p.host, ".") {
		b.WriteString(label)
	}
	b.WriteString(p.host)
	for _, s := range p.segments {
		b.WriteByte('/')
		b.WriteString(write(s))
	}
	return b.String()
}

// covers reports whether p matches every request that q matches.
func (p pattern) covers(q pattern) bool {
	return hostCovers(p.host, q.host) && methodCovers(p.method, q.method) && pathCovers(p.segments, q.segments)
}

func hostCovers(a, b string) bool {
	return a == "" || a == b || a[0] == '.' && strings.HasSuffix(b, a)
}

func methodCovers(a, b string) bool {
	return a == "" || a == b || a == "GET" && b == "HEAD"
}

func pathCovers(a, b []segment) bool {
	for i, s := range a {
		if i == len(b) {
			return false
		}
		if s.kind == segmentRest {
			return true
		}
		if !s.covers(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// covers compares two segments of which s is not the rest.
func (s segment) covers(t segment) bool {
	switch s.kind {
	case segmentOne:
		return t.kind == segmentOne || t.kind == segmentLiteral
	case segmentLiteral:
		return s == t
	default:
		return s.kind == t.kind
	}
}

// moreSpecific reports whether p has the last word over q where both match, by
// the rules of ServeMux: a narrower host wins whatever the paths are; with the
// same host, the pattern wins that matches fewer requests. It tells nothing of
// whether there is a request that both match.
func (p pattern) moreSpecific(q pattern) bool {
	if p.host != q.host {
		return hostCovers(q.host, p.host)
	}
	return q.covers(p) && !p.covers(q)
}

// compare is a total order in which a more specific pattern comes after a more
// general one. Only patterns that are written alike are equal.
func (p pattern) compare(q pattern) int {
	if c := cmp.Compare(hostRank(p.host), hostRank(q.host)); c != 0 {
		return c
	}
	if c := strings.Compare(p.host, q.host); c != 0 {
		return c
	}
	if c := slices.CompareFunc(p.segments, q.segments, segment.compare); c != 0 {
		return c
	}
	if c := cmp.Compare(methodRank(p.method), methodRank(q.method)); c != 0 {
		return c
	}
	if c := strings.Compare(p.method, q.method); c != 0 {
		return c
	}
	return slices.CompareFunc(p.segments, q.segments, func(a, b segment) int { return strings.Compare(a.text, b.text) })
}

// hostRank grows with how narrow a host is.
func hostRank(host string) int {
	switch {
	case host == "":
		return 0
	case host[0] == '.':
		return strings.Count(host, ".")
	default:
		return math.MaxInt
	}
}

// methodRank grows with how narrow a method is.
func methodRank(method string) int {
	switch method {
	case "":
		return 0
	case "HEAD":
		return 2
	default:
		return 1
	}
}

// compare puts the general kinds first. The names of wildcards do not count.
func (s segment) compare(t segment) int {
	if s.kind != t.kind || s.kind != segmentLiteral {
		return cmp.Compare(s.kind, t.kind)
	}
	return strings.Compare(s.text, t.text)
}

// meet returns the pattern that matches exactly the requests that a and b both
// match, and false if there is no such request.
func meet(a, b pattern) (pattern, bool) {
	if b.covers(a) {
		return a, true
	}
	if a.covers(b) {
		return b, true
	}
	var m pattern
	switch {
	case hostCovers(a.host, b.host):
		m.host = b.host
	case hostCovers(b.host, a.host):
		m.host = a.host
	default:
		return pattern{}, false
	}
	switch {
	case methodCovers(a.method, b.method):
		m.method = b.method
	case methodCovers(b.method, a.method):
		m.method = a.method
	default:
		return pattern{}, false
	}
	var ok bool
	m.segments, ok = meetPaths(a.segments, b.segments)
	return m, ok
}

func meetPaths(a, b []segment) ([]segment, bool) {
	met := make([]segment, 0, max(len(a), len(b)))
	for i := range max(len(a), len(b)) {
		switch {
		case i == len(a) || i == len(b):
			return nil, false
		case a[i].kind == segmentRest:
			return distinctNames(append(met, b[i:]...)), true
		case b[i].kind == segmentRest:
			return distinctNames(append(met, a[i:]...)), true
		case a[i].covers(b[i]):
			met = append(met, b[i])
		case b[i].covers(a[i]):
			met = append(met, a[i])
		default:
			return nil, false
		}
	}
	return distinctNames(met), true
}

// distinctNames renames wildcards that came from two patterns under one name.
func distinctNames(segments []segment) []segment {
	for i, s := range segments {
		for n := 2; segments[i].isNamed() && hasName(segments[:i], segments[i].text); n++ {
			segments[i].text = fmt.Sprintf("%s%d", s.text, n)
		}
	}
	return segments
}

func hasName(segments []segment, name string) bool {
	return slices.ContainsFunc(segments, func(s segment) bool { return s.isNamed() && s.text == name })
}
