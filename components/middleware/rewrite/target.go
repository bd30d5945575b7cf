package rewrite

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// target is a rule that is ready for use.
type target struct {
	match       *regexp.Regexp
	path, query string // templates
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

// references returns the names and numbers that a template refers to.
func references(template string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(template, -1) {
		if name := m[1] + m[2]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// reference is how regexp.Expand knows one; a dollar that is doubled is one too.
var reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

// rewritten returns r, or a copy of it with the URL that the first rule makes of it.
func rewritten(all []target, r *http.Request) *http.Request {
	for _, t := range all {
		found := t.match.FindStringSubmatchIndex(r.URL.Path)
		if found == nil {
			continue
		}
		to := *r.URL
		to.Path = clean(string(t.match.ExpandString(nil, t.path, r.URL.Path, found)))
		to.RawPath = ""
		if t.query != "" {
			text, at := encoded(r.URL.Path, found)
			to.RawQuery = string(t.match.ExpandString(nil, t.query, text, at))
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

// encoded returns a text with what was found in another, encoded for a query, and where it is there.
func encoded(text string, found []int) (string, []int) {
	var b strings.Builder
	at := make([]int, len(found))
	for i := 0; i < len(found); i += 2 {
		at[i], at[i+1] = -1, -1
		if found[i] >= 0 {
			at[i] = b.Len()
			b.WriteString(url.QueryEscape(text[found[i]:found[i+1]]))
			at[i+1] = b.Len()
		}
	}
	return b.String(), at
}
