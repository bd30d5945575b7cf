package markdown

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	html "html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"github.com/stackd/stackd/registry/resource"
)

// page is a converted text.
type page struct {
	front    []entry
	title    string
	contents []heading
	main     string // HTML
}

// heading is one entry of the table of contents.
type heading struct {
	level    int
	id, text string
}

func (f *factory) convert(file *resource.File, source []byte) (*page, error) {
	front, body, err := split(file, string(source))
	if err != nil {
		return nil, err
	}
	p := &page{front: front}
	markdown := []byte(body)
	root := f.converter.Parser().Parse(text.NewReader(markdown))
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok {
			continue
		}
		words := plain(h, markdown)
		if h.Level == 1 && p.title == "" {
			p.title = words
		}
		if id, ok := h.AttributeString("id"); ok && (h.Level == 2 || h.Level == 3) {
			if id, ok := id.([]byte); ok {
				p.contents = append(p.contents, heading{h.Level, string(id), words})
			}
		}
	}
	for _, e := range front {
		switch e.name {
		case "title":
			p.title = e.value
		case "main", "contents":
			return nil, newFault(file, string(source), e.line, e.name+" is made of the text; the front matter must not set it")
		case "layout":
			if strings.ContainsAny(e.value, "{}") {
				return nil, newFault(file, string(source), e.line, "the layout is "+strconv.Quote(e.value)+"; it must be the name of a file")
			}
		}
	}
	var out bytes.Buffer
	if err := f.converter.Renderer().Render(&out, markdown, root); err != nil {
		return nil, err
	}
	p.main = out.String()
	return p, nil
}

// plain returns the words in a node, without what marks them up.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	// The walker returns the error of the function, which has none.
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			switch n := n.(type) {
			case *ast.Text:
				b.Write(n.Value(source))
				if n.SoftLineBreak() || n.HardLineBreak() {
					b.WriteByte(' ')
				}
			case *ast.String:
				b.Write(n.Value)
			case *ast.AutoLink:
				b.Write(n.Label(source))
			}
		}
		return ast.WalkContinue, nil
	})
	return strings.TrimSpace(b.String())
}

// template writes the text as a page for the template factory, with each setting of the front matter on
// the line where it stood, so that errors name the right one.
func (p *page) template(file *resource.File) *resource.File {
	var b strings.Builder
	line := 1
	titled := false
	for _, e := range p.front {
		// In a comment lines count, and don't show.
		b.WriteString("{{/*" + strings.Repeat("\n", e.line-line) + "*/}}")
		line = e.line
		titled = titled || e.name == "title"
		if e.name == "layout" {
			b.WriteString(`{{define "layout"}}` + e.value + `{{end}}`)
		} else {
			define(&b, e.name, action(e.value))
		}
	}
	if !titled && p.title != "" {
		define(&b, "title", action(p.title))
	}
	if len(p.contents) > 0 {
		var list strings.Builder
		list.WriteString("<ul class=\"contents\">\n")
		for _, h := range p.contents {
			list.WriteString(`<li class="level` + strconv.Itoa(h.level) + `"><a href="#` + html.HTMLEscapeString(h.id) + `">` + html.HTMLEscapeString(h.text) + "</a></li>\n")
		}
		list.WriteString("</ul>\n")
		define(&b, "contents", inert(list.String()))
	}
	b.WriteString(inert(p.main)) // outside of definitions it is the block main, or the page where there is no layout
	made := *file
	made.FS = &overlay{FS: file.FS, name: file.Name, text: b.String(), info: file.Info}
	return &made
}

func define(b *strings.Builder, name, content string) {
	b.WriteString(`{{define ` + strconv.Quote(name) + `}}` + content + `{{end}}`)
}

// action has a text written, escaped for the place where it comes to stand.
func action(text string) string { return `{{` + strconv.Quote(text) + `}}` }

// inert is HTML in which no brace begins an action. Where one might, there stands a comment behind each, since within a script
// braces can't be written in another way.
func inert(text string) string {
	if !strings.Contains(text, "{{") && !strings.HasSuffix(text, "{") {
		return text
	}
	return strings.ReplaceAll(text, "{", "{ {{- /**/}}")
}

// plainDocument is what a text becomes without a layout.
var plainDocument = html.Must(html.New("").Parse(`<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 44rem; margin: 0 auto; padding: 2rem 1.25rem; font: 1.05rem/1.6 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; }
img { max-width: 100%; }
pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; }
pre { padding: .8rem 1rem; overflow-x: auto; border: 1px solid #8884; border-radius: 6px; }
blockquote { margin-left: 0; padding-left: 1rem; border-left: 3px solid #8886; }
table { border-collapse: collapse; } td, th { padding: .3rem .8rem; border: 1px solid #8884; }
</style>
</head>
<body>
{{.Main}}</body>
</html>
`))

// document makes a page that needs nothing else.
func (p *page) document(file *resource.File) (resource.App, error) {
	var out bytes.Buffer
	err := plainDocument.Execute(&out, struct {
		Title string
		Main  html.HTML
	}{p.title, html.HTML(p.main)})
	if err != nil {
		return resource.App{}, err
	}
	hash := sha256.Sum256(out.Bytes())
	tag := []string{`"` + base64.RawURLEncoding.EncodeToString(hash[:12]) + `"`}
	modified := file.Info.ModTime()
	return resource.App{
		Methods: []string{http.MethodGet, http.MethodHead},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("X-Content-Type-Options", "nosniff")
			h["Etag"] = tag
			http.ServeContent(w, r, "", modified, bytes.NewReader(out.Bytes()))
		}),
	}, nil
}
