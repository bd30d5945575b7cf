package inspect

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// explanation has one of everything.
var explanation = Explanation{
	Method: "GET", Host: "example.org", Path: "/a\x1b[2J",
	Patterns: []Pattern{{"/a/", "stack.yaml:20"}},
	Vars:     []Setting{{Name: "theme", Value: "dark", Origin: "stack.yaml:21", Overrode: []Former{{"light", "stack.yaml:2"}}}},
	Slots: []Slot{
		{Name: "errors", Component: "errors", Kind: "middleware", On: true, Origin: "stack.yaml:4"},
		{
			Name: "login", Component: "auth_basic", Kind: "middleware", On: true, Origin: "stack.yaml:5", Switched: "stack.yaml:22", Overrode: []Former{{"off", "stack.yaml:5"}},
			Settings: []Setting{{Name: "realm", Value: "x", Overrode: []Former{{"y", "stack.yaml:5"}}}},
		},
		{Name: "session", Component: "session", Kind: "middleware", Origin: "stack.yaml:6", Switched: "stack.yaml:23", Settings: []Setting{{Name: "lifetime", Value: "12h"}}},
		{Name: "finder", Component: "proxy", Kind: "app", On: true, Origin: "stack.yaml:24", Overrode: []Former{{"finder", "stack.yaml:7"}}},
	},
	Found: &Found{File: "site/a.html", Factory: "template", PathInfo: "/b", Note: "more"},
}

const text = "GET example.org/a\uFFFD[2J" + `

overrides, general to specific:
  /a/                   stack.yaml:20

vars:
  theme: dark           stack.yaml:21
    overrode light      stack.yaml:2

stack, outermost first:
  errors                stack.yaml:4
  login (auth_basic): on  stack.yaml:22
    overrode off        stack.yaml:5
    realm: x            default
      overrode y        stack.yaml:5
  session: off          stack.yaml:23
  finder (proxy)        stack.yaml:24
    overrode finder     stack.yaml:7

what it finds:
  file: site/a.html
  factory: template
  path info: /b
  more
`

func TestString(t *testing.T) {
	squeezed := func(s string) string { // the width of the columns is for the eye
		for strings.Contains(s, "   ") {
			s = strings.ReplaceAll(s, "   ", "  ")
		}
		return s
	}
	if diff := cmp.Diff(squeezed(text), squeezed(explanation.String())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	none := Explanation{Method: "GET", Path: "/"}.String()
	if !strings.Contains(none, "no override under urls: matches") || strings.Contains(none, "vars") {
		t.Errorf("without an override:\n%s", none)
	}
}

func TestColumns(t *testing.T) {
	column := -1
	for line := range strings.Lines(explanation.String()) {
		if at := strings.Index(line, "stack.yaml:"); at >= 0 {
			if column >= 0 && at != column {
				t.Errorf("the places don't stand below each other:\n%s", explanation)
			}
			column = at
		}
		if len(line) > 81 {
			t.Errorf("the line is too long: %s", line)
		}
	}
}

// TestJSON proves that nothing is lost on the way.
func TestJSON(t *testing.T) {
	data, err := json.Marshal(explanation)
	if err != nil {
		t.Fatal(err)
	}
	var back Explanation
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(explanation, back); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestParseURL(t *testing.T) {
	for _, test := range []struct{ url, host, path string }{
		{"/", "", "/"},
		{"/a/b", "", "/a/b"},
		{"/a%20b?c=d#e", "", "/a b"},
		{"example.org", "example.org", "/"},
		{"example.org/a", "example.org", "/a"},
		{"example.org:8080/a", "example.org:8080", "/a"},
		{"localhost:8080", "localhost:8080", "/"},
		{"[::1]:8080/a", "[::1]:8080", "/a"},
		{"https://example.org/a?b", "example.org", "/a"},
		{"https://user:pw@example.org", "example.org", "/"},
		{"//example.org/a", "example.org", "/a"},
	} {
		t.Run(test.url, func(t *testing.T) {
			host, path, err := ParseURL(test.url)
			if err != nil || host != test.host || path != test.path {
				t.Errorf("it is %q and %q, %v; want %q and %q", host, path, err, test.host, test.path)
			}
		})
	}
	for _, bad := range []string{"", "://", "%zz/", "/%zz", "https:///a b\x00"} {
		t.Run("bad "+bad, func(t *testing.T) {
			if host, path, err := ParseURL(bad); err == nil || !strings.Contains(err.Error(), "is not a URL") {
				t.Errorf("it is %q and %q, %v; want an error that says so", host, path, err)
			}
		})
	}
}
