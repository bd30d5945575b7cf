package stackfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/inspect"
)

// Test is an entry of tests: a request, what must come of it, and the requests that follow.
type Test struct {
	// Name is what messages call the test. If it is left out that is the request.
	Name string `yaml:"name"`
	// Ask is the request: a URL such as /admin/ or https://example.org/, with the method before it if that isn't GET.
	Ask string `yaml:"ask" validate:"required"`
	// From is the IP address of the client. If it is left out the client is on this machine.
	From string `yaml:"from"`
	// Headers are those of the request. Host is the host that it is for.
	Headers map[string]string `yaml:"headers"`
	// Cookies are sent with the request.
	Cookies map[string]string `yaml:"cookies"`
	// Body is that of the request.
	Body string `yaml:"body"`
	// Form is a body of fields, as a page sends it.
	Form map[string]string `yaml:"form"`
	// Stubs are answers that stand in the place of slots, by their names, or of what they refer to.
	Stubs map[string]Stub `yaml:"stubs" validate:"dive"`
	// Expect is what must come of it.
	Expect Expectation `yaml:"expect"`
	// Then are the requests that follow, with the cookies that were set before.
	Then []Step `yaml:"then" validate:"dive"`
}

// Step is one request of a test.
type Step struct {
	// Ask is the request, as in the first one.
	Ask string `yaml:"ask" validate:"required"`
	// From is the IP address of the client.
	From string `yaml:"from"`
	// Headers are those of the request.
	Headers map[string]string `yaml:"headers"`
	// Cookies are sent with the request, beside those that were set before.
	Cookies map[string]string `yaml:"cookies"`
	// Body is that of the request.
	Body string `yaml:"body"`
	// Form is a body of fields, as a page sends it.
	Form map[string]string `yaml:"form"`
	// Expect is what must come of it.
	Expect Expectation `yaml:"expect"`
}

// Expectation is what must come of a request.
type Expectation struct {
	// Status is that of the answer; 200 if it is left out.
	Status int `yaml:"status" validate:"omitempty,min=200,max=599"`
	// Headers are what must hold for headers of the answer, by name.
	Headers map[string]Match `yaml:"headers"`
	// Body is what must hold for the body of the answer.
	Body Match `yaml:"body"`
	// Answered is the slot that the request came to last.
	Answered string `yaml:"answered"`
	// Ran are slots that the request must have come to.
	Ran []string `yaml:"ran"`
	// Skipped are slots that the request must not have come to.
	Skipped []string `yaml:"skipped"`
	// Settings are effective settings, by slot and name, written as stackd explain shows them; use is the component.
	Settings map[string]map[string]string `yaml:"settings"`
	// Vars are effective vars, by name. One within another has a name such as menu.top.
	Vars map[string]string `yaml:"vars"`
}

// Match is what must hold for a text. A plain text in its place is what must be equal.
type Match struct {
	// Equals is the whole text. Line breaks at its end don't count.
	Equals string `yaml:"equals"`
	// Contains are texts that must occur.
	Contains []string `yaml:"contains"`
	// Lacks are texts that must not occur.
	Lacks []string `yaml:"lacks"`
	// Matches are regular expressions, in the syntax of Go, that must be found.
	Matches []string `yaml:"matches"`
	// JSON is a value that the text must be in JSON. In maps there may be more than is written here.
	JSON string `yaml:"json"`
	// Absent says that there must be no such header, or an empty body.
	Absent bool `yaml:"absent"`
}

// Stub is an answer without anything behind it.
type Stub struct {
	// Status is that of the answer; 200 if it is left out.
	Status int `yaml:"status" validate:"omitempty,min=200,max=599"`
	// Headers are those of the answer.
	Headers map[string]string `yaml:"headers"`
	// Body is that of the answer.
	Body string `yaml:"body"`
}

// Steps returns the requests of a test, in their order.
func (t Test) Steps() []Step { return append([]Step{t.first()}, t.Then...) }

func (t Test) first() Step {
	return Step{Ask: t.Ask, From: t.From, Headers: t.Headers, Cookies: t.Cookies, Body: t.Body, Form: t.Form, Expect: t.Expect}
}

// Validate checks the first request.
func (t Test) Validate() error { return t.first().Validate() }

// Validate checks the request.
func (s Step) Validate() error {
	var errs []error
	if _, url := s.Request(); s.Ask != "" {
		if _, _, err := inspect.ParseURL(url); err != nil || strings.ContainsAny(url, " \t") {
			errs = append(errs, &registry.SettingError{Setting: "ask", Problem: fmt.Sprintf("is %q; it must be a URL such as /admin/, or POST /admin/", s.Ask)})
		}
	}
	if _, err := netip.ParseAddr(s.From); s.From != "" && err != nil {
		errs = append(errs, &registry.SettingError{Setting: "from", Problem: fmt.Sprintf("is %q; it must be an IP address such as 192.0.2.7", s.From)})
	}
	if s.Body != "" && len(s.Form) > 0 {
		errs = append(errs, &registry.SettingError{Setting: "form", Problem: "is given beside a body; only one of them must be"})
	}
	return errors.Join(errs...)
}

// Request returns the method and the URL that are asked for.
func (s Step) Request() (method, url string) {
	if method, url, ok := strings.Cut(s.Ask, " "); ok && method != "" && method == strings.ToUpper(method) {
		return method, strings.TrimSpace(url)
	}
	return http.MethodGet, s.Ask
}

// Validate checks the regular expressions.
func (m Match) Validate() error {
	var errs []error
	for i, text := range m.Matches {
		if _, err := regexp.Compile(text); err != nil {
			errs = append(errs, &registry.SettingError{
				Setting: fmt.Sprintf("matches[%d]", i), Problem: fmt.Sprintf("is %q; it must be a regular expression: %s", text, strings.TrimPrefix(err.Error(), "error parsing regexp: ")),
			})
		}
	}
	return errors.Join(errs...)
}

// Case is a test of a stack file.
type Case struct {
	Test
	at      pos
	origins origins
}

// Title is what messages call the test.
func (c Case) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Ask
}

// Written reports whether a setting of the test was written, such as "expect.status" or "then[0].expect.body.equals".
func (c Case) Written(setting string) bool { return c.origins.at(setting) != nil }

// Place returns where a setting of the test was written; for one that wasn't, where what should have it was.
func (c Case) Place(setting string) (file string, line int) {
	for setting != "" {
		if n := c.origins.at(setting); n != nil {
			return n.pos.source.name, int(n.pos.line)
		}
		setting = setting[:max(strings.LastIndexAny(setting, ".["), 0)]
	}
	return c.at.source.name, int(c.at.line)
}

// Tests returns the tests of the stack file, in their order; with [Options.Tests], also those of the file beside it.
func (p *Plan) Tests() []Case { return p.tests }

// Redact takes out of a text the secrets that stand in the stack's files.
func (p *Plan) Redact(text string) string {
	return p.layers.problems.secrets.redact(text)
}

// testSuffix is how the name of a file ends that has the tests of the stack file beside it.
const testSuffix = ".test.yaml"

// StackOf returns the stack file that a file with tests is for, or name itself if that is none: "site.yaml" for
// "site.test.yaml".
func StackOf(name string) string {
	stem, ok := strings.CutSuffix(name, testSuffix)
	if !ok {
		return name
	}
	if _, err := os.Stat(stem + ".yml"); err == nil {
		return stem + ".yml"
	}
	return stem + ".yaml"
}

// besides returns the tests in the file beside the stack file, if there is one.
func (l *loader) besides() []Case {
	stem := strings.TrimSuffix(l.source.name, filepath.Ext(l.source.name))
	name, path := l.source.named(filepath.Base(stem) + testSuffix)
	d, err := l.files.open(name, path, "tests:")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		l.problems.add(l.source.at(1, 1), nil, "the tests in %s can't be read: %s", name, err)
		return nil
	}
	if d.top == nil {
		return nil
	}
	l.keys(d.top, []string{"tests"})
	return l.tests(d.top.get("tests"))
}

// tests decodes a list of tests.
func (l *loader) tests(n *node) []Case {
	switch {
	case n == nil || n.isNull() || n.form == broken:
		return nil
	case n.form != list:
		l.problems.add(n.pos, nil, "tests is %s; it must be a list, each entry on a line of its own that begins with a dash%s", n.is(), missingSpace(n))
		return nil
	}
	def := settingsOf(Test{}, "test")
	d := &decoder{registry: l.registry, problems: l.problems, dir: l.source.dir, slots: func(pos, string, string) string { return "" }}
	var cases []Case
	for i, item := range n.items {
		if item.form != mapping {
			if item.form != broken {
				l.problems.add(item.pos, nil, "the test is %s; it must be a map, such as {ask: /admin/, expect: {status: 401}}", item.is())
			}
			continue
		}
		p := d.plan(fmt.Sprintf("tests[%d]", i), def, explicit(item), item.pos, "")
		if p == nil {
			continue
		}
		c := Case{Test: *p.cfg.(*Test), at: item.pos, origins: p.origins}
		l.testSlots(c)
		cases = append(cases, c)
	}
	return cases
}

// settingsOf returns what decodes a struct as the settings of a component are, which is never built.
func settingsOf[C any](standard C, name string) *registry.Definition {
	component := registry.Server[C]{
		Name: name, Default: standard, Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.NonBlocking},
		Build: func(*registry.Env, C) (registry.ServeFunc, error) { return nil, nil },
	}
	reg, err := registry.New(component)
	if err != nil {
		panic("stackfile: " + err.Error())
	}
	return reg.Lookup(registry.KindServer, name)
}

// testSlots checks the names of slots in a test.
func (l *loader) testSlots(c Case) {
	if l.partial {
		return
	}
	var names []string
	for _, s := range l.slots {
		names = append(names, s.name)
	}
	check := func(setting, name string) {
		outer, _, _ := strings.Cut(name, ".") // it may be something within the slot
		if name == "" || slices.Contains(names, outer) {
			return
		}
		hint := DidYouMean(outer, names)
		if hint == "" {
			hint = "; there is " + oneOf(names)
		}
		at := c.at
		if n := c.origins.at(setting); n != nil {
			at = n.pos
		}
		l.problems.add(at, []string{setting}, "the stack has no slot %q%s", name, hint)
	}
	for i, step := range c.Steps() {
		e, at := step.Expect, stepPath(i)+"expect."
		check(at+"answered", e.Answered)
		for i, name := range e.Ran {
			check(fmt.Sprintf("%sran[%d]", at, i), name)
		}
		for i, name := range e.Skipped {
			check(fmt.Sprintf("%sskipped[%d]", at, i), name)
		}
		for name := range e.Settings {
			check(at+"settings["+name+"]", name)
		}
	}
	for name := range c.Stubs {
		check("stubs["+name+"]", name)
	}
}

// stepPath is what the paths of the settings of a step begin with.
func stepPath(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprintf("then[%d].", i-1)
}

// Path returns the path of a setting of a step, such as "then[0].expect.status".
func (c Case) Path(step int, setting string) string { return stepPath(step) + setting }

// explicit writes out what a test may say in short: a text for what is equal to it, and any value for JSON.
func explicit(test *node) *node {
	expect := func(step *node) *node {
		return step.with("expect", func(e *node) *node {
			return e.with("body", explicitMatch).with("headers", func(headers *node) *node { return headers.each(explicitMatch) })
		})
	}
	return expect(test).with("then", func(then *node) *node { return then.each(expect) })
}

func explicitMatch(n *node) *node {
	if n.form == scalar && !n.isNull() {
		return &node{form: mapping, pos: n.pos, pairs: []pair{{key: "equals", keyPos: n.pos, value: n}}}
	}
	return n.with("json", func(value *node) *node {
		text, err := json.Marshal(plain(value))
		if err != nil || value.form == broken {
			return value
		}
		return &node{form: scalar, pos: value.pos, tag: tagText, text: string(text)}
	})
}

// with returns a map whose value for a key is what f makes of it.
func (n *node) with(key string, f func(*node) *node) *node {
	i := slices.IndexFunc(n.pairs, func(p pair) bool { return p.key == key })
	if i < 0 {
		return n
	}
	changed := *n
	changed.pairs = slices.Clone(n.pairs)
	changed.pairs[i].value = f(n.pairs[i].value)
	return &changed
}

// each returns a map or list with what f makes of its values.
func (n *node) each(f func(*node) *node) *node {
	changed := *n
	changed.pairs, changed.items = slices.Clone(n.pairs), slices.Clone(n.items)
	for i, p := range n.pairs {
		changed.pairs[i].value = f(p.value)
	}
	for i, item := range n.items {
		changed.items[i] = f(item)
	}
	return &changed
}
