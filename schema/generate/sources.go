package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stackd/stackd/schema"
)

// sources are the Go files of a package, as the go command lists them.
type sources struct {
	ImportPath, Name, Dir string
	GoFiles, Imports      []string
}

// places tells where each documented thing stands, as "file:line": packages by "path.", fields by
// "path.Config.MaxSize".
type places map[string]string

// list asks the go command where packages are.
func list(packages []string) ([]sources, error) {
	var stdout, stderr bytes.Buffer
	c := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Dir,GoFiles,Imports", "--"}, packages...)...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	var found []sources
	for d := json.NewDecoder(&stdout); ; {
		var s sources
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		found = append(found, s)
	}
}

// read returns what the comments of the package say, and adds where they stand, or should
// stand.
func (s sources) read(at places) (schema.Package, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range s.GoFiles {
		path := filepath.Join(s.Dir, name)
		// Positions are told to somebody who looks at them from where the command runs.
		shown := path
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, path); err == nil {
				shown = rel
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return schema.Package{}, err
		}
		f, err := parser.ParseFile(fset, shown, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return schema.Package{}, err
		}
		files = append(files, f)
	}
	return collect(fset, files, s.ImportPath, at)
}

// collect returns what the comments of parsed files say.
func collect(fset *token.FileSet, files []*ast.File, importPath string, at places) (schema.Package, error) {
	p, err := doc.NewFromFiles(fset, files, importPath, doc.AllDecls|doc.PreserveAST)
	if err != nil {
		return schema.Package{}, err
	}
	c := &collector{doc: p, fset: fset, path: importPath, at: at, fields: make(map[string]string)}
	for _, f := range files {
		if at[importPath+"."] == "" || f.Doc != nil {
			at[importPath+"."] = c.place(f.Package)
		}
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok {
					c.structFields(t.Name.Name, t.Type)
				}
			}
		}
	}
	text := schema.Package{Fields: c.fields}
	body, found := strings.CutPrefix(p.Doc, "Package "+p.Name+" ")
	if found {
		text.Synopsis = strings.TrimSuffix(p.Synopsis(body), ".")
	}
	text.Doc = c.resolve(body)
	return text, nil
}

type collector struct {
	doc    *doc.Package
	fset   *token.FileSet
	path   string
	at     places
	fields map[string]string
}

func (c *collector) place(pos token.Pos) string {
	p := c.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// structFields collects the comments of the settings in a struct, and in structs in it
// that have no name.
func (c *collector) structFields(key string, typ ast.Expr) {
	for {
		switch t := typ.(type) {
		case *ast.ArrayType:
			typ = t.Elt
			continue
		case *ast.MapType:
			typ = t.Value
			continue
		}
		break
	}
	st, ok := typ.(*ast.StructType)
	if !ok {
		return
	}
	for _, f := range st.Fields.List {
		if f.Tag == nil || !strings.Contains(f.Tag.Value, `yaml:"`) {
			continue
		}
		for _, name := range f.Names {
			inner := key + "." + name.Name
			c.at[c.path+"."+inner] = c.place(name.Pos())
			if text := strings.TrimSpace(c.resolve(f.Doc.Text())); text != "" {
				c.fields[inner] = text
			}
			c.structFields(inner, f.Type)
		}
	}
}

// resolve returns the comment with its links to Go's documentation written out, since who
// reads it elsewhere doesn't know what the package imports.
func (c *collector) resolve(text string) string {
	d := c.doc.Parser().Parse(text)
	for _, block := range d.Content {
		c.links(d, block)
	}
	return strings.TrimSpace(string(c.doc.Printer().Comment(d)))
}

func (c *collector) links(d *comment.Doc, block comment.Block) {
	switch b := block.(type) {
	case *comment.Paragraph:
		c.replace(d, b.Text)
	case *comment.Heading:
		c.replace(d, b.Text)
	case *comment.List:
		for _, item := range b.Items {
			for _, inner := range item.Content {
				c.links(d, inner)
			}
		}
	}
}

func (c *collector) replace(d *comment.Doc, texts []comment.Text) {
	for i, t := range texts {
		link, ok := t.(*comment.DocLink)
		if !ok {
			continue
		}
		if link.ImportPath == "" {
			link.ImportPath = c.path
		}
		url := link.DefaultURL("https://pkg.go.dev")
		var name strings.Builder
		for _, part := range link.Text {
			if plain, ok := part.(comment.Plain); ok {
				name.WriteString(string(plain))
			}
		}
		texts[i] = &comment.Link{Text: link.Text, URL: url}
		def := &comment.LinkDef{Text: name.String(), URL: url, Used: true}
		for _, known := range d.Links {
			if known.Text == def.Text {
				def = nil
				break
			}
		}
		if def != nil {
			d.Links = append(d.Links, def)
		}
	}
}
