// Package template renders pages written in HTML with the actions of Go's html/template.
//
// A page is a file such as site/hello.html:
//
//	<h1>Hello</h1>
//	<p>{{.Request.Host}} has shown you {{.Session.Add "count" 1}} pages.</p>
//
// The finder maps it to this factory by its extension:
//
//	stack:
//	  - use: finder
//	    root: site
//	    factories:
//	      .html: {use: template, layouts: layouts, layout: base.html}
//
// The language is described at [html/template] and [text/template]. Whatever a page
// writes is escaped for the place in the HTML where it stands; in a script element it is
// written as JSON.
//
// # Layouts
//
// The files in the layouts folder, and in folders in it, are shared by all pages. A page
// includes one by its name there ({{template "parts/nav.html" .}}), and what they define
// by the name of the definition. The factory's layout is the one that pages are put into:
//
//	<title>{{block "title" .}}Our site{{end}}</title>
//	{{template "parts/nav.html" .}}
//	<main>{{block "main" .}}{{end}}</main>
//
// A page says what goes into the blocks that it wants to fill:
//
//	{{define "title"}}About us{{end}}
//	<p>This is the main block, as nothing else was said.</p>
//
// What stands outside of the definitions is the block "main"; a page may define "main"
// instead, and then has nothing but space and comments outside. A definition of the page wins over
// one of the layout, and that over those of the other shared files, of which the last one
// by name wins.
//
// A page takes another layout with {{define "layout"}}plain.html{{end}}, and none with
// {{define "layout"}}{{end}}: then its block "main" is all there is.
//
// A changed layout is noticed after revalidate at the latest, a changed page when the finder
// notices it. A layouts folder which is exchanged for another one, as a symbolic link to the current release is, is
// noticed as a changed layout is. Files whose name begins with "." or "#" or ends with "~" are left alone. Keep
// the folder out of the finder's root, or layouts are pages too.
//
// # What a page has at hand
//
//   - .Path: the path of the URL, and .PathInfo, what follows the page's own name in it
//     (see the setting path_info).
//   - .Prefix: what stands before .Path in the visitor's URL, if this stack is mounted in another: {{.Prefix}}/help
//     links to a page of this site wherever that is.
//   - .Query: the URL's query: {{.Query.Get "q"}}.
//   - .Form: the fields of the body of a POST, as .Query. Uploaded files are not kept.
//   - .Request: the rest of the request: .Method, .Host, .Proto, .RemoteAddr, .URL,
//     .Header, as in {{.Request.Header.Get "User-Agent"}}, and {{.Request.Cookie "name"}}.
//     These are copies.
//   - .Vars: the stack file's vars for this URL: {{.Vars.theme}}.
//   - .Session: the visitor's session, false in an if where the URL has none. {{.Session.Get "name"}},
//     {{.Session.Set "name" "value"}}, {{.Session.Add "count" 1}}, which adds to a whole
//     number and gives the sum, {{.Session.Delete "name"}}, {{.Session.Keys}}, {{.Session.Renew}},
//     {{.Session.Destroy}}. Without a session, Get gives nothing and Keys none, Delete and Destroy
//     do nothing, and the others fail.
//   - .Route: how the stack was put together for this URL: .Route.Patterns and .Route.Slots,
//     each with .Name, .Component, .Kind, .Off, .Origin and .Settings, which have .Name,
//     .Value and .Origin. False in an if outside of a stack.
//   - .Now: when the request came.
//
// Inside of range and with these are $.Path and so on. Three actions work on the
// response, whatever was written before:
//
//   - {{.Status 404}} sets its status, from 200 to 599, those without a body excepted.
//   - {{.SetHeader "Name" "value"}} sets a header field. An empty value removes it.
//   - {{.Redirect "/elsewhere"}} ends the page and sends the visitor there, with 303.
//
// And beside the functions of [text/template]:
//
//   - default "light" .Vars.theme: the second, or the first if that is empty.
//   - join ", " .List, lower .Text, upper .Text.
//   - date "2 Jan 2006" .Now: a time in the layout of [time.Layout].
//   - fail "message": ends the page with an error.
//
// # Errors
//
// A page is rendered whole before a byte of it is sent, with its length. One that fails sends nothing, nor
// does it set any header field; the catcher makes the response. The error knows the lines of the page or
// layout where it happened, and through which templates it came there. The
// fields of a form that is longer than max_form are refused with 413, and malformed
// ones with 400, when the page asks for them. A page that gets longer than max_output, or whose
// visitor has gone away, ends at its next output or turn of a loop.
//
// Pages answer GET, HEAD and POST.
package template

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/expect"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the template factory.
var Component = registry.Factory[Config]{
	Name: "template",
	Default: Config{
		Revalidate: time.Second,
		Type:       "text/html; charset=utf-8",
		MaxForm:    1 << 20,
		MaxOutput:  16 << 20,
	},
	Traits: registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:  build,
}

// Config says where layouts are, and sets limits.
type Config struct {
	// Layouts is the folder of the files that all pages share. Empty means that there
	// are none.
	Layouts registry.Path `yaml:"layouts"`
	// Layout is the file in layouts that pages are put into unless they name another
	// one, such as base.html. Empty means none.
	Layout string `yaml:"layout"`
	// Revalidate is how long layouts are used before the folder is looked at again. With
	// 0s it is looked at for each request.
	Revalidate time.Duration `yaml:"revalidate" validate:"min=0s"`
	// Type is the Content-Type of pages.
	Type string `yaml:"type" validate:"required"`
	// PathInfo lets URLs go on behind the name of a page, as in /wiki.html/Some/Topic;
	// the page finds the rest in .PathInfo. Otherwise such a URL is not found.
	PathInfo bool `yaml:"path_info"`
	// MaxForm is the longest body of a form that a page reads.
	MaxForm registry.Size `yaml:"max_form" validate:"min=1"`
	// MaxOutput is the longest page that is sent. It is held in memory before.
	MaxOutput registry.Size `yaml:"max_output" validate:"min=1"`
}

// Validate says that a layout needs a folder.
func (c Config) Validate() error {
	if c.Layout != "" && c.Layouts == "" {
		return &registry.SettingError{Setting: "layouts", Problem: "is missing; it must be the folder that the layout is in"}
	}
	return nil
}

// Expects says that the folder of layouts must be there, if one is named.
func (c Config) Expects() []expect.Expectation {
	return []expect.Expectation{expect.Folder("layouts", string(c.Layouts))}
}

func build(env *registry.Env, cfg Config) (resource.Factory, error) {
	lib := &library{revalidate: cfg.Revalidate, folder: string(cfg.Layouts)}
	if cfg.Layouts != "" {
		if err := lib.open(); err != nil {
			return nil, fmt.Errorf("layouts: %w", err)
		}
		env.OnClose(func() error { return lib.root.Close() })
	}
	return &factory{
		cfg:     cfg,
		library: lib,
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}, nil
}

// factory makes pages that share their layouts.
type factory struct {
	cfg     Config
	library *library
	buffers sync.Pool
}

func (f *factory) Make(file *resource.File) (resource.App, error) {
	p, err := newPage(f, file)
	if err != nil {
		return resource.App{}, err
	}
	// What is wrong with the page is better said now than to the first visitor only.
	if _, err := p.current(); err != nil {
		return resource.App{}, err
	}
	return resource.App{Handler: p, Methods: []string{"GET", "HEAD", "POST"}, PathInfo: f.cfg.PathInfo}, nil
}

var errTooLong = errors.New("the page is longer than max_output")
