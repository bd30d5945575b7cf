// Package markdown makes pages of texts written in Markdown.
//
// A text is a file such as site/guide.md:
//
//	---
//	title: The guide
//	---
//	# Welcome
//
//	A *text* with a [link](https://example.org/).
//
// The finder maps it to this factory by its extension, and with .md among its extensions and index
// among its names the URLs /guide and / do without one:
//
//	stack:
//	  - use: finder
//	    root: site
//	    extensions: [.html, .md]
//	    factories:
//	      .html: {use: template, layouts: layouts, layout: base.html}
//	      .md:
//	        use: markdown
//	        page: {use: template, layouts: layouts, layout: base.html}
//
// The language is CommonMark with GitHub's tables, task lists, struck out text and plain links,
// and with footnotes. Each heading has an id made of its text, for links to it.
//
// # In the site's layout
//
// The setting page names the factory that makes the page of the converted text, and so
// the layouts are those that the site has for its other pages. The text fills the block "main"
// of the layout. The title in the front matter, or else the first heading of the first level, fills
// the block "title", and a list of links to the headings of the second and third level the
// block "contents", where there are any. A text can't contain actions: braces in it are braces.
//
// Without page, the text becomes a plain document of its own, with an ETag and the time of the file.
//
// # Front matter
//
// A text may begin with settings of its own between two lines of three hyphens: a name and a text
// on each line, as YAML writes them.
//
//	---
//	title: "Prices: an overview"
//	description: What it costs
//	tags: [shop, prices]
//	layout: wide.html
//	---
//
// Each one fills the block of its name in the layout ({{block "description" .}}{{end}}); layout
// takes another one. A text may stand in quotes, and must where it begins with a bracket and isn't a list;
// the entries of a list are joined by commas. Names are letters, digits, hyphens and
// underscores. Lines that begin with "#" are left out. Anything else is an error that names the line.
//
// # HTML in a text
//
// HTML in a text is left out, and so are links that run scripts, unless unsafe_html is on.
//
// A text is converted once for each version of its file.
package markdown

import (
	"fmt"
	"io/fs"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"

	"github.com/stackd/stackd/registry"
	"github.com/stackd/stackd/registry/resource"
)

func init() { registry.Register(Component) }

// Component is the markdown factory.
var Component = registry.Factory[Config]{
	Name:    "markdown",
	Default: Config{MaxSource: 4 << 20},
	Traits:  registry.Traits{Processes: registry.ProcessSafe, Calls: registry.Blocking},
	Build:   build,
}

// Config says what becomes of a text.
type Config struct {
	// Page is the factory that makes the page, such as {use: template, layouts: layouts,
	// layout: base.html}. Without one, a text is a plain document of its own.
	Page registry.Ref[resource.Factory] `yaml:"page"`
	// UnsafeHTML passes on the HTML in a text as it is, scripts included. It is for texts
	// whose authors may do anything on the site.
	UnsafeHTML bool `yaml:"unsafe_html"`
	// MaxSource is the longest file that is converted.
	MaxSource registry.Size `yaml:"max_source" validate:"min=1"`
}

// Warnings says what passing on the authors' HTML means.
func (c Config) Warnings(registry.Site) []registry.Warning {
	if !c.UnsafeHTML {
		return nil
	}
	return []registry.Warning{{
		Concern: registry.Unsafe, Setting: "unsafe_html",
		Problem: "is true, so that whoever writes a page can run scripts in its readers' browsers; it should be false unless all authors may",
	}}
}

func build(_ *registry.Env, cfg Config) (resource.Factory, error) {
	f := &factory{max: int64(cfg.MaxSource)}
	options := []goldmark.Option{
		goldmark.WithExtensions(extension.GFM, extension.Footnote),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	}
	if cfg.UnsafeHTML {
		options = append(options, goldmark.WithRendererOptions(html.WithUnsafe()))
	}
	f.converter = goldmark.New(options...)
	if !cfg.Page.IsZero() {
		f.page = cfg.Page.Get()
	}
	return f, nil
}

// factory converts texts, and has another one make pages of them, if there is one.
type factory struct {
	converter goldmark.Markdown
	page      resource.Factory
	max       int64
}

func (f *factory) Make(file *resource.File) (resource.App, error) {
	if size := file.Info.Size(); size > f.max {
		return resource.App{}, fmt.Errorf("%s has %d bytes; it must have at most max_source, %d", file.Name, size, f.max)
	}
	source, err := fs.ReadFile(file.FS, file.Name)
	if err != nil {
		return resource.App{}, err
	}
	t, err := f.convert(file, source)
	if err != nil {
		return resource.App{}, err
	}
	if f.page == nil {
		return t.document(file)
	}
	return f.page.Make(t.template(file))
}
