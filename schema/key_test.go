package schema_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stackd/stackd/schema"
	"github.com/stackd/stackd/stackfile"
)

// Each key of a stack file has a page that fits a terminal, and tells of its settings.
func TestKey(t *testing.T) {
	for _, key := range stackfile.Keys() {
		t.Run(key, func(t *testing.T) {
			text := schema.Key(key)
			if !strings.HasPrefix(text, key+" (key of the stack file)\n\n") || len(text) < 120 || !strings.HasSuffix(text, "\n") {
				t.Errorf("the page is %q", text)
			}
			for line := range strings.Lines(text) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
					t.Errorf("%d columns; at most 80 fit: %s", n, line)
				}
				if strings.Contains(line, "](#") || strings.Contains(line, "```") {
					t.Errorf("there is Markdown in it: %s", line)
				}
			}
		})
	}
	if text := schema.Key("deadlines"); !strings.Contains(text, "\n  drain: 30s\n") {
		t.Errorf("deadlines doesn't tell of drain:\n%s", text)
	}
	if schema.Key("colour") != "" {
		t.Error("there is a page for no key")
	}
}
