package schema

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// markdownLink is a link, whose text is in the first group.
var markdownLink = regexp.MustCompile(`\[([^\]]+)\]\(#[^)]*\)`)

// Key returns what there is to know about a key of the stack file, as text for a terminal. It is empty when there is
// no such key.
func Key(key string) string {
	section := markdownLink.ReplaceAllString(keySection(key), "$1")
	if section == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(key + " (key of the stack file)\n\n")
	text, first, rest := "", "", "" // of the paragraph or entry that is being read
	end := func() {
		if text != "" {
			hanging(&b, first, rest, text)
		}
		text = ""
	}
	code := false
	for line := range strings.Lines(section) {
		line = strings.TrimRight(line, "\n")
		words := strings.TrimSpace(strings.ReplaceAll(line, "`", ""))
		switch {
		case strings.HasPrefix(line, "```"):
			end()
			code = !code
		case code:
			writeCode(&b, strings.TrimRight("      "+line, " "))
		case words == "":
			end()
			b.WriteByte('\n')
		case strings.HasPrefix(line, "    ") && text == "":
			b.WriteString("  " + line + "\n")
		case strings.HasPrefix(line, "- "):
			end()
			text, first, rest = words[len("- "):], "  - ", "    "
		case text == "":
			text, first, rest = words, "  ", "  "
		default:
			text += " " + words
		}
	}
	end()
	for _, r := range keyRows(key) {
		b.WriteByte('\n')
		embedded().setting(&b, r)
	}
	return b.String()
}

// writeCode writes a line of code; what it is said to mean stands above it when both don't fit.
func writeCode(b *strings.Builder, line string) {
	code, comment, ok := strings.Cut(line, "  #")
	if ok && utf8.RuneCountInString(line) > width {
		indent := line[:len(line)-len(strings.TrimLeft(line, " -"))]
		b.WriteString(strings.ReplaceAll(indent, "-", " ") + "#" + comment + "\n")
		line = strings.TrimRight(code, " ")
	}
	b.WriteString(line + "\n")
}
