package graph

import (
	_ "embed"
	"fmt"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stackd/stackd/registry/inspect"
)

// Measures of the picture, in pixels. The fonts are the reader's own, so widths of text are
// estimates on the generous side.
const (
	margin     = 24
	titleChar  = 8.7 // a character of a slot's name
	pillChar   = 8.2 // one of a pattern
	smallChar  = 7.3 // one of a setting
	lineHeight = 17
	padding    = 12
	rowGap     = 10
	level      = 54 // from one branching to the next
	serverHigh = 34
	pillHigh   = 26
	leastLane  = 84
	mostLane   = 290
	mostTitle  = 300
	mostLines  = 5 // of settings; more are counted
)

//go:embed graph.css
var css string

// picture is a drawing under way.
type picture struct {
	strings.Builder
	chart
	laneX, laneWide []float64
	slabX           float64
	wide            float64
	rowY, rowHigh   []float64
}

// SVG draws a stack as an SVG image. It looks right on light and dark pages, and refers to nothing outside of
// itself.
func SVG(o inspect.Outline) []byte {
	p := &picture{chart: newChart(o)}
	p.layOut()
	p.draw()
	return []byte(p.String())
}

// fit cuts a text that is wider than the room for it.
func fit(s string, char, room float64) string {
	if most := int(room / char); utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:max(most-1, 1)]) + "…"
	}
	return s
}

func width(s string, char float64) float64 { return float64(utf8.RuneCountInString(s)) * char }

// few are the first of many lines.
func few(lines []string) []string {
	if len(lines) > mostLines {
		return append(append([]string{}, lines[:mostLines-1]...), fmt.Sprintf("and %d more", len(lines)-mostLines+1))
	}
	return lines
}

func (r row) title() string {
	if r.component != r.name {
		return r.name + " · " + r.component
	}
	return r.name
}

// layOut gives everything its place.
func (p *picture) layOut() {
	title := 120.0
	for _, r := range p.rows {
		title = max(title, width(r.title(), titleChar))
		for _, s := range few(r.settings) {
			title = max(title, width(s, smallChar))
		}
	}
	title = min(title, mostTitle)
	p.slabX = margin
	x := p.slabX + padding + title + 2*padding
	for _, l := range p.lanes {
		w := width(l.label, pillChar) + 24
		for _, ch := range l.changes {
			for _, line := range few(ch.lines()) {
				w = max(w, width(line, smallChar)+20)
			}
		}
		w = min(max(w, leastLane), mostLane)
		p.laneX = append(p.laneX, x+w/2)
		p.laneWide = append(p.laneWide, w)
		x += w + padding
	}
	p.wide = max(x+margin, 360)

	depth := 0
	for _, l := range p.lanes {
		depth = max(depth, l.depth)
	}
	y := p.top() + float64(depth)*level + level
	for i, r := range p.rows {
		lines := 1 + len(few(r.settings))
		for _, l := range p.lanes {
			lines = max(lines, len(few(l.changes[i].lines())))
		}
		high := float64(lines*lineHeight + 2*padding)
		p.rowY = append(p.rowY, y)
		p.rowHigh = append(p.rowHigh, high)
		y += high + rowGap
	}
}

// top is where the first lane begins.
func (p *picture) top() float64 { return margin + float64(max(len(p.servers), 1))*(serverHigh+8) + 4 }

// bottom is where the picture ends.
func (p *picture) bottom() float64 {
	last := len(p.rows) - 1
	y := p.rowY[last] + p.rowHigh[last] + margin
	if p.left > 0 {
		y += lineHeight
	}
	return y
}

func (p *picture) printf(format string, args ...any) { _, _ = fmt.Fprintf(p, format+"\n", args...) }

// text writes a text, cut to the room that there is; all of it is shown to who points at it.
func (p *picture) text(class string, x, y float64, s string, char, room float64) {
	short := fit(s, char, room)
	if short != s {
		p.printf(`<text class="%s" x="%.1f" y="%.1f">%s<title>%s</title></text>`, class, x, y, html.EscapeString(short), html.EscapeString(s))
		return
	}
	p.printf(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, x, y, html.EscapeString(s))
}

func (p *picture) draw() {
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-labelledby="title desc">`, p.wide, p.bottom(), p.wide, p.bottom())
	p.printf(`<title id="title">The stack of %s</title>`, html.EscapeString(p.title))
	p.printf(`<desc id="desc">%s</desc>`, html.EscapeString(p.inWords()))
	p.printf("<style>\n%s</style>", css)
	p.printf(`<rect class="page" width="100%%" height="100%%" rx="12"/>`)
	for i, r := range p.rows {
		class := "slab"
		if r.app {
			class += " app"
		}
		if r.off {
			class += " off"
		}
		p.printf(`<rect class="%s" x="%d" y="%.1f" width="%.1f" height="%.1f" rx="10"/>`, class, margin, p.rowY[i], p.wide-2*margin, p.rowHigh[i])
	}
	for i := range slices.Backward(p.lanes) {
		p.way(i)
	}
	p.drawServers()
	for i := range p.lanes {
		p.head(i)
	}
	for i, r := range p.rows {
		room := p.laneX[0] - p.laneWide[0]/2 - p.slabX - 2*padding
		y := p.rowY[i] + padding + 13
		p.text("name", p.slabX+padding, y, r.title(), titleChar, room)
		for n, s := range few(r.settings) {
			p.text("setting", p.slabX+padding, y+float64((n+1)*lineHeight), s, smallChar, room)
		}
		for n := range p.lanes {
			p.chip(n, i)
		}
	}
	if p.left > 0 {
		p.printf(`<text class="setting" x="%d" y="%.1f">and %d overrides more</text>`, margin, p.bottom()-margin+4, p.left)
	}
	p.printf("</svg>")
}

// colour is the class of a lane's colour.
func colour(lane int) string {
	if lane == 0 {
		return "base"
	}
	return fmt.Sprintf("c%d", (lane-1)%6)
}

// branch is where lane i leaves the one that it branches off from.
func (p *picture) branch(i int) float64 {
	return p.top() + float64(p.lanes[i].depth)*level - level/2 + 8
}

// way draws the line of a lane, from where it begins down to the app.
func (p *picture) way(i int) {
	last := len(p.rows) - 1
	end := p.rowY[last] + p.rowHigh[last]/2
	x := p.laneX[i]
	if i == 0 {
		p.printf(`<path class="way base" d="M%.1f %.1fV%.1f"/>`, x, float64(margin+serverHigh), end)
	} else {
		const bend = 12
		y := p.branch(i)
		p.printf(`<path class="way %s" d="M%.1f %.1fH%.1fq%d 0 %d %dV%.1f"/>`, colour(i), p.laneX[p.lanes[i].parent], y, x-bend, bend, bend, bend, end)
	}
	if _, changed := p.lanes[i].changes[last]; !changed {
		p.printf(`<circle class="end %s" cx="%.1f" cy="%.1f" r="6"/>`, colour(i), x, end)
	}
}

// head writes what a lane is for.
func (p *picture) head(i int) {
	l := p.lanes[i]
	y := p.top() + float64(l.depth)*level
	if i == 0 {
		y = p.top() + 2
	}
	w := min(width(l.label, pillChar)+22, p.laneWide[i])
	p.printf(`<rect class="pill %s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="13"/>`, colour(i), p.laneX[i]-w/2, y, w, pillHigh)
	p.text("pattern", p.laneX[i], y+pillHigh/2+4.5, l.label, pillChar, w-14)
}

func (p *picture) drawServers() {
	x := p.laneX[0]
	for i, s := range p.servers {
		y := margin + float64(i)*(serverHigh+8)
		w := min(width(s, titleChar)+28, p.wide-2*margin)
		left := min(max(x-w/2, margin), p.wide-margin-w)
		p.printf(`<rect class="server" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="8"/>`, left, y, w, serverHigh)
		p.text("name middle", left+w/2, y+serverHigh/2+5, s, titleChar, w-16)
	}
}

// chip draws what is different for lane n in row i.
func (p *picture) chip(n, i int) {
	l := p.lanes[n]
	ch, changed := l.changes[i]
	x, y, high := p.laneX[n], p.rowY[i], p.rowHigh[i]
	if !changed {
		if p.rows[i].off { // it isn't met here
			p.printf(`<rect class="chip none" x="%.1f" y="%.1f" width="44" height="22" rx="11"/>`, x-22, y+high/2-11)
			p.text("word middle faint", x, y+high/2+4.5, "off", smallChar, 44)
		} else if !p.rows[i].app {
			p.printf(`<circle class="stop %s" cx="%.1f" cy="%.1f" r="4.5"/>`, colour(n), x, y+high/2)
		}
		return
	}
	lines := few(ch.lines())
	w := 36.0
	for _, line := range lines {
		w = max(w, width(line, smallChar)+20)
	}
	w = min(w, p.laneWide[n])
	tall := float64(len(lines)*lineHeight + 8)
	class := "chip " + colour(n)
	if ch.word == "off" {
		class = "chip none"
	}
	if ch.inherited {
		class += " inherited"
	}
	p.printf(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="7"/>`, class, x-w/2, y+(high-tall)/2, w, tall)
	for k, line := range lines {
		kind := "setting middle"
		if k == 0 && ch.word != "" {
			kind = "word middle"
		}
		if ch.inherited || ch.word == "off" {
			kind += " faint"
		}
		p.text(kind, x, y+(high-tall)/2+16+float64(k*lineHeight), line, smallChar, w-12)
	}
}

// inWords says what the picture shows, for those who don't see it.
func (p *picture) inWords() string {
	var names []string
	for _, r := range p.rows {
		if r.name != "vars" {
			names = append(names, r.name)
		}
	}
	words := []string{"Requests come by", strings.Join(p.servers, ", "), "and pass", strings.Join(names, ", ") + "."}
	for _, l := range p.lanes[1:] {
		words = append(words, "For", l.label, "it is different:")
		for i, r := range p.rows {
			if ch, ok := l.changes[i]; ok && !ch.inherited {
				words = append(words, r.name, "("+strings.Join(ch.lines(), ", ")+")")
			}
		}
		words[len(words)-1] += "."
	}
	return strings.Join(words, " ")
}
