package lsp

import (
	"strings"
	"unicode/utf8"
)

// byteOrderMark is what some editors begin a file with. YAML doesn't count it.
const byteOrderMark = "\uFEFF"

// position is a place as an editor has it: both count from 0, the characters in UTF-16 code units unless it was agreed
// that they are bytes.
type position struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

// span is what stands between two positions.
type span struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

// lines are where the lines of a text begin.
type lines struct {
	text  string
	begin []int
	bytes bool // positions count bytes
}

// editorLines are the lines as an editor counts them.
func editorLines(text string, bytes bool) lines { return linesOf(text, "\r\n", bytes) }

// yamlLines are the lines as YAML counts them, and so problems of stack files.
func yamlLines(text string) lines { return linesOf(text, "\r\n\u0085\u2028\u2029", false) }

func linesOf(text, ends string, bytes bool) lines {
	l := lines{text, []int{0}, bytes}
	for at := 0; ; {
		end := strings.IndexAny(text[at:], ends)
		if end < 0 {
			return l
		}
		if at += end; strings.HasPrefix(text[at:], "\r\n") {
			at++
		}
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
		l.begin = append(l.begin, at)
	}
}

// line returns a line, without its end, and where it begins. One that there isn't is the first or last.
func (l lines) line(n int) (text string, begin int) {
	n = min(max(n, 0), len(l.begin)-1)
	begin = l.begin[n]
	text = l.text[begin:]
	if n+1 < len(l.begin) {
		text = strings.TrimRight(l.text[begin:l.begin[n+1]], "\r\n\u0085\u2028\u2029")
	}
	return text, begin
}

// character returns where the character with that number, from 0, begins; for one that there isn't that is the end.
func (l lines) character(line, n int) int {
	text, begin := l.line(line)
	for i := range text {
		if n <= 0 {
			return begin + i
		}
		n--
	}
	return begin + len(text)
}

// offset returns where a position is in the text; the nearest place for one that isn't in it.
func (l lines) offset(p position) int {
	text, begin := l.line(p.Line)
	if p.Line >= len(l.begin) {
		return len(l.text)
	}
	units := 0
	for i, r := range text {
		if units >= p.Character {
			return begin + i
		}
		units += l.units(r, text[i:])
	}
	return begin + len(text)
}

func (l lines) units(r rune, rest string) int {
	_, size := utf8.DecodeRuneInString(rest)
	switch {
	case l.bytes:
		return size
	case r > 0xFFFF:
		return 2
	}
	return 1
}

// position returns the position of a place in the text.
func (l lines) position(offset int) position {
	n := 0
	for low, high := 0, len(l.begin); low < high; {
		if n = (low + high) / 2; l.begin[n] > offset {
			high = n
			n--
		} else {
			low = n + 1
		}
	}
	text, begin := l.line(n)
	p := position{Line: n}
	for i, r := range text {
		if begin+i >= offset {
			break
		}
		p.Character += l.units(r, text[i:])
	}
	return p
}

func (l lines) span(begin, end int) span { return span{l.position(begin), l.position(end)} }
