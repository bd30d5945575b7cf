package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/stackd/stackd/stackfile"
)

// report is what a check of several files came to.
type report struct {
	files    []checked
	errors   int
	warnings int
	// terminal says that people read it.
	terminal bool
}

// checked is one file of a report.
type checked struct {
	name     string
	problems stackfile.Problems
}

func (r *report) add(name string, found stackfile.Problems) {
	r.files = append(r.files, checked{name, found})
	errors, warnings := counted(found)
	r.errors += errors
	r.warnings += warnings
}

// counted returns how many there are of both, without what is allowed.
func counted(ps stackfile.Problems) (errors, warnings int) {
	for _, p := range ps {
		switch {
		case p.Allowed != "":
		case p.Severity == stackfile.Warning:
			warnings++
		default:
			errors++
		}
	}
	return errors, warnings
}

// all returns the problems of all files. One that several files include is told once.
func (r *report) all() stackfile.Problems {
	var all stackfile.Problems
	seen := make(map[string]bool)
	for _, f := range r.files {
		for _, p := range f.problems {
			if line := p.String(); !seen[line] {
				seen[line] = true
				all = append(all, p)
			}
		}
	}
	return all
}

// formats are the ways to write a report.
func formats() []string { return []string{"text", "json", "github", "sarif"} }

// write writes the report. With strict, warnings are as bad as problems.
func (r *report) write(w io.Writer, format string, strict bool) error {
	var text string
	switch format {
	case "json":
		return r.json(w)
	case "sarif":
		return r.sarif(w)
	case "github":
		text = r.github()
	default:
		text = r.text(strict)
	}
	_, err := io.WriteString(w, text)
	return err
}

// text returns the report for people: for each file its problems, or that it is good.
func (r *report) text(strict bool) string {
	var b strings.Builder
	for _, f := range r.files {
		for _, p := range f.problems {
			b.WriteString(p.String() + "\n")
			if r.terminal {
				b.WriteString(p.Excerpt())
			}
		}
		switch errors, warnings := counted(f.problems); {
		case errors > 0 || strict && warnings > 0:
		case warnings > 0:
			fmt.Fprintf(&b, "%s: good, with %s\n", f.name, count(warnings, "warning"))
		default:
			fmt.Fprintf(&b, "%s: good\n", f.name)
		}
	}
	if r.terminal {
		fmt.Fprintf(&b, "%s, %s, %s\n", count(len(r.files), "file"), count(r.errors, "problem"), count(r.warnings, "warning"))
	}
	return b.String()
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// json writes the report for programs.
func (r *report) json(w io.Writer) error {
	type problem struct {
		File     string             `json:"file"`
		Line     int                `json:"line"`
		Column   int                `json:"column"`
		Severity stackfile.Severity `json:"severity"`
		Rule     string             `json:"rule"`
		Text     string             `json:"text"`
		Source   string             `json:"source"`
	}
	type file struct {
		Name     string `json:"name"`
		Errors   int    `json:"errors"`
		Warnings int    `json:"warnings"`
	}
	out := struct {
		Files    []file    `json:"files"`
		Problems []problem `json:"problems"`
		Errors   int       `json:"errors"`
		Warnings int       `json:"warnings"`
	}{Problems: []problem{}, Errors: r.errors, Warnings: r.warnings}
	for _, f := range r.files {
		errors, warnings := counted(f.problems)
		out.Files = append(out.Files, file{f.name, errors, warnings})
	}
	for _, p := range r.all() {
		out.Problems = append(out.Problems, problem{p.File, p.Line, p.Column, p.Severity, p.Rule, p.Text, p.Source})
	}
	return indented(w, out)
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// github returns the report as workflow commands, which GitHub shows beside the lines of a pull request.
func (r *report) github() string {
	var (
		message  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
		property = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	)
	var b strings.Builder
	for _, p := range r.all() {
		fmt.Fprintf(&b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", p.Severity, property.Replace(p.File), p.Line, p.Column,
			property.Replace("stackd: "+p.Rule), message.Replace(p.Text))
	}
	return b.String()
}
