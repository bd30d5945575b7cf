package template

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	html "html/template"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"text/template/parse"

	"github.com/stackd/stackd/registry/failure"
	"github.com/stackd/stackd/registry/resource"
)

// page answers the requests for one file.
type page struct {
	factory *factory
	source  source
	ready   atomic.Pointer[rendition]
}

// rendition is a page put together with one edition of the layouts.
type rendition struct {
	edition *edition
	set     *html.Template
	entry   string // the template to begin with
	sources map[string]source
	calls   map[string][]call
}

func newPage(f *factory, file *resource.File) (*page, error) {
	text, err := fs.ReadFile(file.FS, file.Name)
	if err != nil {
		return nil, err
	}
	// The slash tells a page from a shared file of that name.
	p := &page{factory: f, source: source{name: "/" + file.Name, file: file.Name, text: string(text)}}
	if file.Root != "" {
		p.source.file = filepath.Join(file.Root, filepath.FromSlash(file.Name))
	}
	return p, nil
}

// current returns the page with the layouts of now.
func (p *page) current() (*rendition, error) {
	e, err := p.factory.library.current()
	if err != nil {
		return nil, err
	}
	if ready := p.ready.Load(); ready != nil && ready.edition == e {
		return ready, nil
	}
	ready, err := p.assemble(e)
	if err != nil {
		return nil, err
	}
	p.ready.Store(ready)
	return ready, nil
}

func (p *page) assemble(e *edition) (*rendition, error) {
	rd := &rendition{edition: e, sources: e.sources(), calls: make(map[string][]call)}
	rd.sources[p.source.name] = p.source
	body, trees, err := p.source.parse()
	if err != nil {
		return nil, trace(err, rd.sources, nil)
	}
	layout := p.factory.cfg.Layout
	own := trees["layout"]
	if own != nil {
		layout = strings.TrimSpace(own.Root.String())
		delete(trees, "layout")
	}
	if rd.set, err = e.set(layout); err != nil {
		if own != nil && errors.Is(err, errNoLayout) {
			location, _ := own.ErrorContext(own.Root)
			err = trace(fmt.Errorf("template: %s: %w", location, err), rd.sources, nil)
		}
		return nil, err
	}
	switch {
	case layout == "" && trees["main"] != nil && parse.IsEmptyTree(body.Root):
		rd.entry = "main"
	case layout == "":
		rd.entry = p.source.name
		trees[rd.entry] = body
	case trees["main"] == nil:
		rd.entry = layout
		trees["main"] = body
	case !parse.IsEmptyTree(body.Root):
		return nil, p.stray(body)
	default:
		rd.entry = layout
	}
	if err := addTrees(rd.set, trees); err != nil {
		return nil, err
	}
	for _, t := range rd.set.Templates() {
		if t.Tree != nil {
			rd.prepare(t.Name(), t.Tree)
		}
	}
	return rd, nil
}

// stray is the error of a page that defines main and has something outside too.
func (p *page) stray(body *parse.Tree) error {
	for _, n := range body.Root.Nodes {
		if !parse.IsEmptyTree(n) {
			location, _ := body.ErrorContext(n)
			err := fmt.Errorf("template: %s: this stands outside of the definitions; it must be in one, since the page defines %q", location, "main")
			return trace(err, map[string]source{p.source.name: p.source}, nil)
		}
	}
	return nil // not reached: a list is empty when all in it is
}

// prepare notes which templates this one calls, and makes its loops stop with the request.
func (rd *rendition) prepare(name string, tree *parse.Tree) {
	walk(tree.Root, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.TemplateNode:
			location, _ := tree.ErrorContext(n)
			c, _, _ := locate("template: "+location+": ", rd.sources)
			c.caller = name
			rd.calls[n.Name] = append(rd.calls[n.Name], c)
		case *parse.RangeNode:
			// An empty text is written at each turn, and the writer knows when the request has
			// ended: {{range 1000000000}}{{end}} would write nothing by itself.
			turn := &parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos}
			n.List.Nodes = append([]parse.Node{turn}, n.List.Nodes...)
		}
	})
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rd, err := p.current()
	if err != nil {
		failure.Report(r, err)
		return
	}
	cfg := &p.factory.cfg
	buf := p.factory.buffers.Get().(*bytes.Buffer)
	defer p.factory.recycle(buf)
	d := newData(w, r, int64(cfg.MaxForm))

	err = rd.set.ExecuteTemplate(&output{ctx: r.Context(), buf: buf, max: int(cfg.MaxOutput)}, rd.entry, d)
	to, redirected := errors.AsType[*redirect](err)
	if err != nil && !redirected {
		failure.Report(r, trace(err, rd.sources, rd.calls))
		return
	}
	h := w.Header()
	if !redirected {
		h.Set("Content-Type", cfg.Type)
		h.Set("X-Content-Type-Options", "nosniff")
	}
	for name, values := range d.header {
		if values == nil {
			h.Del(name)
		} else {
			h[name] = values
		}
	}
	if redirected {
		http.Redirect(w, r, to.to, http.StatusSeeOther)
		return
	}
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(d.status)
	if r.Method != http.MethodHead {
		w.Write(buf.Bytes())
	}
}

// recycle keeps the buffer for another request unless it grew large.
func (f *factory) recycle(buf *bytes.Buffer) {
	if buf.Cap() <= 1<<20 {
		buf.Reset()
		f.buffers.Put(buf)
	}
}

// output collects a page as long as it isn't too long and somebody waits for it.
type output struct {
	ctx context.Context
	buf *bytes.Buffer
	max int
}

func (o *output) Write(p []byte) (int, error) {
	if o.ctx.Err() != nil {
		return 0, context.Cause(o.ctx)
	}
	if o.buf.Len()+len(p) > o.max {
		return 0, fmt.Errorf("%w, %d bytes", errTooLong, o.max)
	}
	return o.buf.Write(p)
}
