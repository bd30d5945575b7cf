package schema_test

import (
	"strings"
	"testing"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// TestPage asks for the page of each component and key. It has the settings, and no link that leads nowhere.
func TestPage(t *testing.T) {
	check := func(t *testing.T, page, begins string) {
		t.Helper()
		if !strings.HasPrefix(page, begins) || strings.Contains(page, "](#") || strings.Contains(page, "<a id") {
			t.Errorf("the page must begin with %s, and be about nothing outside of it:\n%s", begins, page)
		}
	}
	for _, d := range registry.Compiled().All() {
		t.Run(string(d.Kind)+" "+d.Name, func(t *testing.T) {
			page := schema.Page(d, "")
			check(t, page, "**"+d.Name+"** ("+string(d.Kind)+")\n\n")
			for _, f := range d.Settings.Fields {
				about := schema.Page(d, f.Name)
				check(t, about, "**`"+f.Name+"`**: ")
				if !strings.Contains(page, about) {
					t.Errorf("the page says nothing of %s", f.Name)
				}
			}
		})
	}
	for _, key := range stackfile.Keys() {
		t.Run("key "+key, func(t *testing.T) { check(t, schema.KeyPage(key, ""), "**"+key+"** (key of the stack file)\n\n") })
	}
	session := registry.Compiled().Lookup(registry.KindMiddleware, "session")
	for _, tt := range []struct{ name, page, want string }{
		{"a setting", schema.Page(session, "lifetime"), "**`lifetime`**: duration, at least 1s; by default `12h`\n\n`lifetime` is how long"},
		{"one within another", schema.Page(session, "cookie.name"), "**`cookie.name`**: text, not empty; by default `session`\n\n"},
		{"one that must be written", schema.KeyPage("tests", "ask"), "**`ask`**: text; **required**\n\n"},
		{"one under a key", schema.KeyPage("deadlines", "drain"), "**`drain`**: duration; by default `30s`\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.page, tt.want) })
	}
	if schema.Page(session, "colour") != "" || schema.KeyPage("colour", "") != "" || schema.KeyPage("deadlines", "colour") != "" {
		t.Error("there is a page for what there isn't")
	}
}
