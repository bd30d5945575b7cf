package trial

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
	"github.com/stackd/stackd/stackfile"
)

// compare holds what became of a request against what was expected.
func (t *trial) compare(i int, step stackfile.Step, v *visit) {
	e := step.Expect
	if want := cmp.Or(e.Status, http.StatusOK); v.status != want {
		t.fail(i, "expect.status", excerpt(string(v.body)), "%s: the status is %d; it must be %d", step.Ask, v.status, want)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		values := v.header.Values(name)
		t.match(i, step, "expect.headers["+name+"]", "the header "+name, strings.Join(values, ", "), len(values) > 0, e.Headers[name])
	}
	t.match(i, step, "expect.body", "the body", string(v.body), len(v.body) > 0, e.Body)
	t.way(i, step, v.slots)
	t.effective(i, step)
}

// match holds a text against what must hold for it.
func (t *trial) match(i int, step stackfile.Step, setting, what, text string, there bool, m stackfile.Match) {
	fail := func(under, detail, format string, args ...any) {
		t.fail(i, setting+"."+under, detail, "%s: %s "+format, append([]any{step.Ask, what}, args...)...)
	}
	body := setting == "expect.body"
	detail := ""
	if body {
		detail = excerpt(text)
	}
	switch {
	case m.Absent && there && body:
		fail("absent", detail, "has %d bytes; it must be empty", len(text))
	case m.Absent && there:
		fail("absent", "", "is %q; it must not be there", text)
	case m.Absent:
	case !there && !body:
		t.fail(i, setting, "", "%s: %s is not there; it must be", step.Ask, what)
		return
	}
	is, must := strings.TrimRight(text, "\r\n"), strings.TrimRight(m.Equals, "\r\n")
	switch {
	case !t.test.Written(t.test.Path(i, setting)+".equals") || is == must:
	case strings.Contains(is+must, "\n"):
		fail("equals", difference(must+"\n", printable(is)+"\n"), "is another one")
	default:
		fail("equals", "", "is %q; it must be %q", is, must)
	}
	for n, part := range m.Contains {
		if !strings.Contains(text, part) {
			fail(fmt.Sprintf("contains[%d]", n), detail, "%slacks %q", shown(body, text), part)
		}
	}
	for n, part := range m.Lacks {
		if strings.Contains(text, part) {
			fail(fmt.Sprintf("lacks[%d]", n), detail, "%shas %q in it; it must not", shown(body, text), part)
		}
	}
	for n, pattern := range m.Matches {
		if !regexp.MustCompile(pattern).MatchString(text) {
			fail(fmt.Sprintf("matches[%d]", n), detail, "%sdoes not match %s", shown(body, text), pattern)
		}
	}
	if m.JSON == "" {
		return
	}
	var got, want any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		fail("json", detail, "is not JSON: %s", err)
		return
	}
	if err := json.Unmarshal([]byte(m.JSON), &want); err != nil {
		fail("json", "", "can't be compared: %s", err)
		return
	}
	if !within(want, got) {
		fail("json", difference(indented(want), indented(common(want, got))), "is another value")
	}
}

// shown quotes a header's value; a body is shown below.
func shown(body bool, text string) string {
	if body {
		return ""
	}
	return "is " + strconv.Quote(text) + "; it "
}

// within reports whether got is want, with more in its maps at most.
func within(want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for key, value := range want {
			is, there := got[key]
			ok = ok && there && within(value, is)
		}
		return ok
	case []any:
		got, ok := got.([]any)
		return ok && slices.EqualFunc(want, got, within)
	}
	return want == got
}

// common returns got without what want says nothing about.
func common(want, got any) any {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			same := make(map[string]any)
			for key, value := range got {
				if wanted, there := want[key]; there {
					same[key] = common(wanted, value)
				}
			}
			return same
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			same := make([]any, len(got))
			for i := range got {
				same[i] = common(want[i], got[i])
			}
			return same
		}
	}
	return got
}

// difference shows what of a text is another one.
func difference(must, is string) string {
	_, hunks, _ := strings.Cut(string(diff.Diff("expected", []byte(must), "answered", []byte(is))), "\n")
	return hunks
}

func indented(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return b.String()
}

// way looks at the slots that a request came to.
func (t *trial) way(i int, step stackfile.Step, slots []string) {
	came := func(name string) bool {
		return slices.ContainsFunc(slots, func(slot string) bool { return at(slot, name) })
	}
	way := strings.Join(slots, ", ")
	if name := step.Expect.Answered; name != "" && (len(slots) == 0 || !at(slots[len(slots)-1], name)) {
		last := "nothing"
		if len(slots) > 0 {
			last = slots[len(slots)-1]
		}
		t.fail(i, "expect.answered", "", "%s: it came to %s last (%s); it must be %s", step.Ask, last, cmp.Or(way, "no slot"), name)
	}
	for n, name := range step.Expect.Ran {
		if !came(name) {
			t.fail(i, fmt.Sprintf("expect.ran[%d]", n), "", "%s: it did not come to %s, only to %s; it must", step.Ask, name, cmp.Or(way, "no slot"))
		}
	}
	for n, name := range step.Expect.Skipped {
		if came(name) {
			t.fail(i, fmt.Sprintf("expect.skipped[%d]", n), "", "%s: it came to %s; it must not", step.Ask, name)
		}
	}
}

// at reports whether a slot is that of the name, or within the stack that it mounts.
func at(slot, name string) bool { return slot == name || strings.HasPrefix(slot, name+".") }

// effective looks at the settings and vars for the URL.
func (t *trial) effective(i int, step stackfile.Step) {
	if len(step.Expect.Settings) == 0 && len(step.Expect.Vars) == 0 {
		return
	}
	e, err := t.plan.ExplainURL(step.Request())
	if err != nil {
		t.fail(i, "expect", "", "%s: %s", step.Ask, err)
		return
	}
	check := func(setting, what, want string, all []inspect.Setting, name string) {
		n := slices.IndexFunc(all, func(s inspect.Setting) bool { return s.Name == name })
		switch {
		case n < 0:
			t.fail(i, setting, "", "%s: %s is not there; stackd explain shows what is", step.Ask, what)
		case !same(want, all[n].Value):
			origin := cmp.Or(all[n].Origin, "the default")
			t.fail(i, setting, "", "%s: %s is %s (%s); it must be %s", step.Ask, what, all[n].Value, origin, want)
		}
	}
	for _, slot := range slices.Sorted(maps.Keys(step.Expect.Settings)) {
		settings := step.Expect.Settings[slot]
		n := slices.IndexFunc(e.Slots, func(s inspect.Slot) bool { return s.Name == slot })
		if n < 0 {
			t.fail(i, "expect.settings["+slot+"]", "", "%s: the stack has no slot %s of its own", step.Ask, slot)
			continue
		}
		all := append([]inspect.Setting{{Name: "use", Value: e.Slots[n].Component, Origin: e.Slots[n].Origin}}, e.Slots[n].Settings...)
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			check("expect.settings["+slot+"]["+name+"]", slot+"'s "+name, settings[name], all, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(step.Expect.Vars)) {
		check("expect.vars["+name+"]", "the var "+name, step.Expect.Vars[name], e.Vars, name)
	}
}

// same reports whether two texts write the same value.
func same(a, b string) bool {
	if text, err := strconv.Unquote(b); err == nil {
		b = text
	}
	if a == b {
		return true
	}
	if x, err := time.ParseDuration(a); err == nil {
		y, err := time.ParseDuration(b)
		return err == nil && x == y
	}
	if x, err := registry.ParseSize(a); err == nil {
		y, err := registry.ParseSize(b)
		return err == nil && x == y
	}
	return false
}

// excerpt returns the beginning of a body, for a terminal.
func excerpt(body string) string {
	const lines, width = 20, 160
	var b strings.Builder
	n := 0
	for line := range strings.Lines(strings.TrimRight(body, "\r\n")) {
		if n++; n > lines {
			b.WriteString("…\n")
			break
		}
		line = printable(strings.TrimRight(line, "\r\n"))
		if utf8.RuneCountInString(line) > width {
			line = string([]rune(line)[:width-1]) + "…"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// printable takes out of lines what would speak to a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}
