package rewrite

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// target is a rule that is ready for use.
type target struct {
	match       *regexp.Regexp
	path, query template
}

func newTarget(match *regexp.Regexp, to string) target {
	t := target{match: match}
	newPath, query, _ := strings.Cut(to, "?")
	t.path, _ = parse(newPath, match)
	t.query, _ = parse(query, match)
	return t
}

// template is a text with places for what was matched.
type template []part

// part is a text, followed by what the parentheses of that number have matched unless it is -1.
type part struct {
	text  string
	group int
}

// reference is how a template refers to parentheses.
var reference = regexp.MustCompile(`\{(\w+)\}`)

// parse reads a template, and returns the first reference to what isn't in match.
func parse(text string, match *regexp.Regexp) (t template, unknown string) {
	end := 0
	for _, at := range reference.FindAllStringSubmatchIndex(text, -1) {
		name := text[at[2]:at[3]]
		group, err := strconv.Atoi(name)
		if err != nil {
			group = match.SubexpIndex(name)
		}
		if group < 0 || group > match.NumSubexp() {
			return nil, text[at[0]:at[1]]
		}
		t = append(t, part{text[end:at[0]], group})
		end = at[1]
	}
	if end < len(text) {
		t = append(t, part{text[end:], -1})
	}
	return t, ""
}

// fill writes a template with what was found in a text, encoded by encode.
func (t template) fill(in string, found []int, encode func(string) string) string {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.text)
		if p.group >= 0 && found[2*p.group] >= 0 {
			b.WriteString(encode(in[found[2*p.group]:found[2*p.group+1]]))
		}
	}
	return b.String()
}

// compile makes an expression that matches nothing less than a whole path, which may be of several
// lines.
func compile(match string) (*regexp.Regexp, error) {
	// Alone first: "a)|(b" is wrong, but wouldn't be in the parentheses.
	if _, err := regexp.Compile(match); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?s:` + match + `)\z`)
}

// rewritten returns r, or a copy of it with the URL that the first rule makes of it.
func rewritten(all []target, r *http.Request) *http.Request {
	for _, t := range all {
		found := t.match.FindStringSubmatchIndex(r.URL.Path)
		if found == nil {
			continue
		}
		to := *r.URL
		to.Path = clean(t.path.fill(r.URL.Path, found, func(s string) string { return s }))
		to.RawPath = ""
		if len(t.query) > 0 {
			to.RawQuery = t.query.fill(r.URL.Path, found, url.QueryEscape)
			if r.URL.RawQuery != "" {
				to.RawQuery += "&" + r.URL.RawQuery
			}
		}
		copied := *r
		copied.URL = &to
		return &copied
	}
	return r
}

// clean makes a path shorter where it leads up or nowhere; a slash at the end stays.
func clean(p string) string {
	cleaned := path.Clean("/" + p)
	if cleaned != "/" && strings.HasSuffix(p, "/") {
		cleaned += "/"
	}
	return cleaned
}
