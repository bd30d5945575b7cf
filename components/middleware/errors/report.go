package errors

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry/environ"
	"github.com/stackd/stackd/registry/failure"
)

// report is what a developer sees. Every text in it is redacted.
type report struct {
	Error   string           `json:"error"`
	Panic   bool             `json:"panic"`
	Chain   []link           `json:"chain,omitempty"`
	Also    []string         `json:"also,omitempty"` // the request's other failures
	Stack   []group          `json:"stack"`
	Details []failure.Detail `json:"details,omitempty"`
	Method  string           `json:"method"`
	URL     string           `json:"url"`
	Proto   string           `json:"proto"`
	Remote  string           `json:"remote"`
	Header  []pair           `json:"header"`
	Form    []pair           `json:"form,omitempty"`
	Vars    []pair           `json:"vars,omitempty"`
	Route   *environ.Route   `json:"route,omitempty"`
	// Text is all of this as text.
	Text string `json:"-"`
}

// link is an error that is wrapped in the one before it, or joined to it.
type link struct {
	Depth int    `json:"depth"`
	Type  string `json:"type"`
	Text  string `json:"text"`
}

// pair is a name with a value.
type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// longest is how many bytes of a text are shown.
const longest = 16 << 10

// show makes a text fit for showing.
func show(text string) string {
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "\n… cut off"
	}
	return scrub(text)
}

func (q *request) newReport(a answer, incidents []*failure.Incident) *report {
	first := incidents[0].Failure
	r := &report{
		Error:  show(textOf(first.Err)),
		Panic:  first.Panic,
		Chain:  chainOf(first.Err),
		Stack:  groupsOf(first, q.sourceLines),
		Method: q.r.Method,
		URL:    redactURL(q.r.URL, secretValues),
		Proto:  q.r.Proto,
		Remote: q.r.RemoteAddr,
		Header: append([]pair{{"Host", q.r.Host}}, pairsOf(redactHeader(q.r.Header))...),
		Form:   formOf(q.r.PostForm),
		Route:  environ.Matched.Get(q.r),
	}
	for _, i := range incidents[1:] {
		r.Also = append(r.Also, show(textOf(i.Failure.Err)))
	}
	if d, ok := errors.AsType[failure.Detailed](first.Err); ok {
		for _, detail := range d.Details() {
			r.Details = append(r.Details, failure.Detail{Title: detail.Title, Text: show(detail.Text)})
		}
	}
	vars := environ.Vars.Get(q.r)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		r.Vars = append(r.Vars, pair{name, show(format(redactValue(name, vars[name])))})
	}
	r.Text = r.text(a)
	return r
}

// format writes a variable: a text as it is, others as JSON.
func format(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v) // it has no form in JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// chainOf lists what err wraps, itself first. A wrapper that adds no text is left out.
func chainOf(err error) []link {
	var chain []link
	var walk func(err error, depth int)
	walk = func(err error, depth int) {
		var inner []error
		switch w := err.(type) { //nolint:errorlint // it is the chain itself that is walked
		case interface{ Unwrap() error }:
			if e := w.Unwrap(); e != nil {
				inner = []error{e}
			}
		case interface{ Unwrap() []error }:
			inner = w.Unwrap()
		}
		text := textOf(err)
		if len(inner) != 1 || textOf(inner[0]) != text {
			chain = append(chain, link{depth, fmt.Sprintf("%T", err), show(text)})
			depth++
		}
		for _, e := range inner {
			if e != nil && len(chain) < 50 {
				walk(e, depth)
			}
		}
	}
	walk(err, 0)
	return chain
}

func pairsOf(values map[string][]string) []pair {
	var pairs []pair
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			pairs = append(pairs, pair{name, show(value)})
		}
	}
	return pairs
}

// formOf shows a form that an app parsed.
func formOf(form url.Values) []pair {
	shown := make(map[string][]string, len(form))
	for name, values := range form {
		shown[name] = redactAll(name, values)
	}
	return pairsOf(shown)
}

// text writes the report for a terminal or a mail.
func (r *report) text(a answer) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, "\n%s\n%s\n", title, strings.Repeat("-", len(title))) }
	pairs := func(title string, pairs []pair) {
		if len(pairs) == 0 {
			return
		}
		section(title)
		for _, p := range pairs {
			fmt.Fprintf(&b, "%s: %s\n", p.Name, p.Value)
		}
	}
	fmt.Fprintf(&b, "%d %s, incident %s\n%s %s\n\n%s\n", a.Status, a.Title, a.Incident, r.Method, r.URL, r.Error)
	if len(r.Chain) > 1 {
		section("Error")
		for _, l := range r.Chain {
			fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", l.Depth), l.Type, l.Text)
		}
	}
	for _, also := range r.Also {
		section("Also failed")
		b.WriteString(also + "\n")
	}
	section("Stack, innermost first")
	for _, g := range r.Stack {
		for _, f := range g.Frames {
			fmt.Fprintf(&b, "%s\n    %s\n", f.Function, f.Place())
			for _, l := range f.Source {
				mark := " "
				if l.Here {
					mark = ">"
				}
				fmt.Fprintf(&b, "    %s %5d  %s\n", mark, l.Number, l.Text)
			}
		}
	}
	for _, d := range r.Details {
		section(d.Title)
		b.WriteString(strings.TrimSuffix(d.Text, "\n") + "\n")
	}
	pairs("Request, "+r.Proto+" from "+r.Remote, r.Header)
	pairs("Form", r.Form)
	pairs("Vars", r.Vars)
	if r.Route != nil {
		section("Stack for this URL, outermost first")
		for _, pattern := range r.Route.Patterns {
			fmt.Fprintf(&b, "urls: %s\n", pattern)
		}
		for _, s := range r.Route.Slots {
			off := ""
			if s.Off {
				off = ", off"
			}
			fmt.Fprintf(&b, "%s (%s %s%s) %s\n", s.Name, s.Kind, s.Component, off, s.Origin)
			for _, setting := range s.Settings {
				origin := setting.Origin
				if origin == "" {
					origin = "default"
				}
				fmt.Fprintf(&b, "    %s: %s  (%s)\n", setting.Name, setting.Value, origin)
			}
		}
	}
	return b.String()
}

// shortPath is the end of a path, which tells files apart for whoever knows them.
func shortPath(path string) string {
	return filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
}
