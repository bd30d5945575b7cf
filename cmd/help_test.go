package cmd

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelp holds that what each command says of itself fits a terminal of 80 columns.
func TestHelp(t *testing.T) {
	root := (&program{}).root()
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		if c.Parent() != nil && c.Parent().Name() == "completion" { // their words are cobra's
			return
		}
		var text bytes.Buffer
		c.SetOut(&text)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		for _, c := range c.Commands() {
			each(c)
		}
	}
	each(root)
}
