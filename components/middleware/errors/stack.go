package errors

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/stackd/stackd/registry/failure"
)

// group is a run of frames of the same origin.
type group struct {
	Origin origin  `json:"origin"`
	Frames []frame `json:"frames"`
}

// origin says whose a frame is.
type origin string

const (
	// fromError is a place that the error brought along.
	fromError origin = "error"
	// fromCode is the site's, an app's or a middleware's code.
	fromCode origin = "code"
	// fromLibrary is Go's standard library.
	fromLibrary origin = "library"
	// fromServer is whatever called the catcher.
	fromServer origin = "server"
)

// Folded says that the group is seldom worth a look.
func (g group) Folded() bool { return g.Origin == fromLibrary || g.Origin == fromServer }

// Title says what is folded.
func (g group) Title() string {
	frames := "frames"
	if len(g.Frames) == 1 {
		frames = "frame"
	}
	of := "of Go's standard library"
	if g.Origin == fromServer {
		of = "of the server around"
	}
	return fmt.Sprintf("%d %s %s", len(g.Frames), frames, of)
}

// frame is one place of the stack, and the source around it.
type frame struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column,omitempty"`
	Source   []line `json:"source,omitempty"`
}

// Place is where it is, as editors and terminals understand it.
func (f frame) Place() string {
	place := f.File
	if f.Line > 0 {
		place += fmt.Sprintf(":%d", f.Line)
	}
	if f.Column > 0 {
		place += fmt.Sprintf(":%d", f.Column)
	}
	return place
}

// Short is Place with only the last folder of the path.
func (f frame) Short() string {
	f.File = shortPath(f.File)
	return f.Place()
}

// line is one line of source.
type line struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
	Here   bool   `json:"here,omitempty"`
}

// withSource is for how many frames of code the source is read.
const withSource = 8

// groupsOf makes the stack of a failure readable: it puts frames of the same origin
// together, and adds the source around the lines.
func groupsOf(f failure.Failure, around int) []group {
	var groups []group
	brought := len(framesOf(f.Err))
	self := reflect.TypeFor[catcher]().PkgPath() + ".(*catcher)"
	root := libraryRoot()
	outside, sources := false, 0
	for i, place := range f.Stack {
		shown := frame{Function: place.Function, File: place.File, Line: place.Line, Column: place.Column}
		var from origin
		switch outside = outside || strings.HasPrefix(place.Function, self); {
		case i < brought:
			from = fromError
			shown.Source = sourceOf(place, around)
		case outside:
			from = fromServer
		case isLibrary(root, place):
			from = fromLibrary
		default:
			from = fromCode
			if sources < withSource {
				shown.Source = readSource(place, around)
				sources++
			}
		}
		if len(groups) == 0 || groups[len(groups)-1].Origin != from {
			groups = append(groups, group{Origin: from})
		}
		last := &groups[len(groups)-1]
		last.Frames = append(last.Frames, shown)
	}
	return groups
}

// libraryRoot is the folder that the sources of Go's standard library had when this binary
// was built, told by a function known to be in it; empty for one built with -trimpath.
func libraryRoot() string {
	f := runtime.FuncForPC(reflect.ValueOf(http.Error).Pointer())
	file, _ := f.FileLine(f.Entry())
	return strings.TrimSuffix(file, "net/http/server.go")
}

// isLibrary reports whether a place is in Go's standard library, whose folder was root.
func isLibrary(root string, place failure.Frame) bool {
	if root != "" {
		return strings.HasPrefix(place.File, root)
	}
	// Paths begin with the package's now, and a module's with a host.
	first, _, _ := strings.Cut(place.File, "/")
	return !strings.Contains(first, ".") && !strings.HasPrefix(place.Function, "main.")
}

// sourceOf takes the lines around a place from what the error brought.
func sourceOf(place failure.Frame, around int) []line {
	var lines []line
	for i, text := range place.Source {
		if n := place.First + i; n >= place.Line-around && n <= place.Line+around {
			lines = append(lines, newLine(n, text, place.Line))
		}
	}
	return lines
}

// readSource reads the lines around a place in a Go file, if the file is there.
func readSource(place failure.Frame, around int) []line {
	if !filepath.IsAbs(place.File) || filepath.Ext(place.File) != ".go" {
		return nil
	}
	f, err := os.Open(place.File)
	if err != nil {
		return nil // the program runs elsewhere than it was built
	}
	defer f.Close()
	var lines []line
	scanner := bufio.NewScanner(io.LimitReader(f, 4<<20))
	for n := 1; n <= place.Line+around && scanner.Scan(); n++ {
		if n >= place.Line-around {
			lines = append(lines, newLine(n, scanner.Text(), place.Line))
		}
	}
	return lines
}

func newLine(n int, text string, here int) line {
	const width = 300
	if len(text) > width {
		text = strings.ToValidUTF8(text[:width], "") + "…"
	}
	return line{Number: n, Text: scrub(strings.ReplaceAll(text, "\t", "    ")), Here: n == here}
}
