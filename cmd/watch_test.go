package cmd

import (
	"fmt"
	"strings"
	"testing"
)

// TestFrame proves that a frame fits its terminal, and leaves nothing of the one before.
func TestFrame(t *testing.T) {
	var text strings.Builder
	for i := range 30 {
		fmt.Fprintf(&text, "line %d %s\n", i, strings.Repeat("x", 100))
	}
	for _, tt := range []struct {
		name          string
		text          string
		columns, rows int
		lines         int
		last          string
	}{
		{"all", "a\nb\n", 80, 24, 2, "b"},
		{"nothing", "", 80, 24, 1, ""},
		{"as high as the terminal", strings.Repeat("a\n", 24), 80, 24, 24, "a"},
		{"one line too many", strings.Repeat("a\n", 25), 80, 24, 24, "and 2 other lines for which there is no room"},
		{"too large", text.String(), 80, 24, 24, "and 7 other lines for which there is no room"},
		{"in a small terminal", text.String(), 20, 3, 3, "and 28 other lines …"},
		{"in one row", text.String(), 20, 1, 1, "and 30 other lines …"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := frame(tt.text, tt.columns, tt.rows)
			body, begins := strings.CutPrefix(got, beginFrame)
			body, ends := strings.CutSuffix(body, endFrame)
			if !begins || !ends || strings.Contains(got, "\x1b[2J") {
				t.Fatalf("the frame is %q", got)
			}
			lines := strings.Split(body, "\n")
			if len(lines) != tt.lines || strings.TrimSuffix(lines[len(lines)-1], endLine) != tt.last {
				t.Errorf("it has %d lines, the last is %q", len(lines), lines[len(lines)-1])
			}
			for _, line := range lines {
				shown, cleared := strings.CutSuffix(line, endLine)
				if n := len([]rune(shown)); n > tt.columns || cleared != (n < tt.columns) {
					t.Errorf("the line %q has %d columns", line, n)
				}
			}
		})
	}
}
