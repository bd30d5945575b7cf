package errorpages

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxPage is how long a file may be.
const maxPage = 1 << 20

// pages are the pages by the status that they are for.
type pages map[int]*template.Template

// data is what a page knows.
type data struct {
	Status     int
	StatusText string
	Incident   string
}

var (
	named = regexp.MustCompile(`^[45]([0-9][0-9]|xx)\.html$`)
	// mistaken are the names of files that somebody takes for pages.
	mistaken = regexp.MustCompile(`^(?i)[0-9x]{3}\.x?html?$`)
)

// load reads the pages of a folder. DependsOn is told of the folder and of each page before it is read.
func load(folder string, dependsOn func(path string)) (pages, error) {
	dependsOn(folder)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close() // it was only read
	if err != nil {
		return nil, err
	}
	all := make(pages)
	for _, name := range slices.Sorted(slices.Values(names)) { // 404.html before 4xx.html
		if !named.MatchString(name) {
			if mistaken.MatchString(name) {
				return nil, fmt.Errorf("%s is not the name of a page; it must be like 404.html, 4xx.html or 5xx.html", filepath.Join(folder, name))
			}
			continue
		}
		page, err := read(root, name, func() { dependsOn(filepath.Join(folder, name)) })
		if err == nil {
			err = all.add(page, strings.TrimSuffix(name, ".html"))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no page; it must have one at least, named like 404.html, 4xx.html or 5xx.html", folder)
	}
	return all, nil
}

func read(root *os.Root, name string, begin func()) (*template.Template, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file; it must be", name) // opening a pipe would wait
	}
	begin()
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPage+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPage {
		return nil, fmt.Errorf("%s is longer than 1 MiB; it must not be", name)
	}
	return template.New(name).Parse(string(text))
}

// add makes a page that of 404, or of those like 4xx that have none. Each is tried, with and without an incident.
func (p pages) add(page *template.Template, statuses string) error {
	for status := 400; status < 600; status++ {
		text := strconv.Itoa(status)
		if text != statuses && text[:1]+"xx" != statuses || p[status] != nil {
			continue
		}
		p[status] = page
		for _, incident := range []string{"", "abcdefghjk"} {
			if _, err := render(page, status, incident); err != nil {
				return err
			}
		}
	}
	return nil
}

func render(page *template.Template, status int, incident string) ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, data{status, http.StatusText(status), incident})
	return b.Bytes(), err
}
